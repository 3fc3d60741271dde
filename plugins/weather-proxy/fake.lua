--- A weather service of our own, for trying the plugin out: it knows every city that is written in letters,
--- and always tells the same of one.

local SKIES = { "clear", "cloudy", "rain", "snow" }

local M = {}

--- @param city string
--- @return table? report
function M.report(city)
  if not city:find("^%a[%a -]*$") then
    return nil
  end
  local sum = 0
  for i = 1, #city do
    sum = sum * 31 % 9973 + city:byte(i)
  end
  return { city = city, celsius = sum % 45 - 10, sky = SKIES[sum % #SKIES + 1] }
end

function M.handler(c)
  local report = M.report(c.req:query("city") or "")
  if not report then
    return c:json({ message = "no such city" }, 404)
  end
  return c:json(report)
end

return M
