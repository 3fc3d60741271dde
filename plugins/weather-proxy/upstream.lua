--- Asks the weather service.

local fetch = require("buntime.fetch")
local url = require("buntime.url")
local validate = require("buntime.validate")

local REPORT = {
  type = "object",
  required = { "city", "celsius", "sky" },
  properties = {
    city = { type = "string" },
    celsius = { type = "number" },
    sky = { type = "string", enum = { "clear", "cloudy", "rain", "snow" } },
  },
}

local M = {}

--- @param service string its URL
--- @param city string
--- @param timeout number seconds
--- @return table? report
--- @return string? message
--- @return string? code
function M.ask(service, city, timeout)
  local res, message, code = fetch(service .. "?" .. url.query({ city = city }), {
    headers = { accept = "application/json" },
    timeout = timeout,
    max_size = "64kb",
  })
  if not res then
    return nil, message, code
  elseif res.status == 404 then
    return nil, ("there is no weather for %q"):format(city), "UNKNOWN_CITY"
  elseif res.status ~= 200 then
    return nil, ("the weather service answered %d"):format(res.status), "UPSTREAM_FAILED"
  end
  local report = res:json()
  if not validate.check(report, REPORT) then
    return nil, "the weather service answered something else", "UPSTREAM_FAILED"
  end
  return { city = report.city, celsius = report.celsius, sky = report.sky }
end

return M
