--- The formats that validate.check knows: each is a function that says whether a text has it, and what a
--- message calls it. Requires nothing.

local MONTH_DAYS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_date(text)
  local year, month, day = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)$")
  if not year then
    return false
  end
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  local days = MONTH_DAYS[month]
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then
    days = 29
  end
  return days ~= nil and day >= 1 and day <= days
end

local function is_offset(text)
  if text == "Z" or text == "z" then
    return true
  end
  local hour, minute = text:match("^[+-](%d%d):(%d%d)$")
  return hour ~= nil and tonumber(hour) < 24 and tonumber(minute) < 60
end

local function is_time(text)
  local hour, minute, second, rest = text:match("^(%d%d):(%d%d):(%d%d)(.*)$")
  if not hour or tonumber(hour) > 23 or tonumber(minute) > 59 or tonumber(second) > 60 then
    return false
  end
  return is_offset((rest:gsub("^%.%d+", "")))
end

local function is_date_time(text)
  local date, time = text:match("^(..........)[Tt](.*)$")
  return date ~= nil and is_date(date) and is_time(time)
end

local function is_hostname(text)
  if #text > 253 or text == "" then
    return false
  end
  for label in (text .. "."):gmatch("(.-)%.") do
    if #label > 63 or not label:find("^%w[%w-]*$") or label:sub(-1) == "-" then
      return false
    end
  end
  return true
end

local function is_email(text)
  local name, domain = text:match("^([%w.!#$%%&'*+/=?^_`{|}~-]+)@(.+)$")
  if not name or #name > 64 then
    return false
  end
  return not (name:find("^%.") or name:find("%.$") or name:find("..", 1, true)) and is_hostname(domain)
end

local function is_ipv4(text)
  local parts = { text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
  for _, part in ipairs(parts) do
    if #part > 3 or tonumber(part) > 255 or (#part > 1 and part:sub(1, 1) == "0") then
      return false
    end
  end
  return #parts == 4
end

--- How many 16-bit groups a text of `a:b:c` has, nil when it is none.
local function groups(text)
  local count = 0
  if text == "" then
    return 0
  end
  for part in (text .. ":"):gmatch("(.-):") do
    if not part:find("^%x%x?%x?%x?$") then
      return nil
    end
    count = count + 1
  end
  return count
end

local function is_ipv6(text)
  local head, tail = text:match("^(.*:)([%d.]+%.%d+)$")
  if head then
    if not is_ipv4(tail) then
      return false
    end
    text = head .. "0:0"
  end
  local left, right = text:match("^(.-)::(.*)$")
  if not left then
    return groups(text) == 8
  end
  local a, b = groups(left), groups(right)
  return a ~= nil and b ~= nil and a + b <= 7
end

local function is_uuid(text)
  local shape = "^%x+%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x+$"
  return #text == 36 and text:sub(9, 9) == "-" and text:find(shape) ~= nil
end

local function is_uri(text)
  if not text:find("^%a[%w+.-]*:[%w%-._~:/?#%[%]@!$&'()*+,;=%%]+$") then
    return false
  end
  return not (text:gsub("%%%x%x", "")):find("%", 1, true)
end

return {
  ["date-time"] = { is_date_time, "a date and time such as 2026-01-31T12:00:00Z" },
  date = { is_date, "a date such as 2026-01-31" },
  time = { is_time, "a time such as 12:00:00Z" },
  email = { is_email, "an e-mail address" },
  hostname = { is_hostname, "a host name" },
  ipv4 = { is_ipv4, "an IPv4 address" },
  ipv6 = { is_ipv6, "an IPv6 address" },
  uuid = { is_uuid, "a UUID" },
  uri = { is_uri, "a URI" },
}
