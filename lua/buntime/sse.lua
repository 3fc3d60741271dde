--- The text of server-sent events. Pure.

local json = require("buntime.core.json")

local M = {}

--- @class buntime.Event
--- @field data? any Text, which may have several lines; a table is sent as JSON.
--- @field event? string
--- @field id? string|number What the client sends back as Last-Event-ID.
--- @field retry? integer Milliseconds after which the client connects again.

local KNOWN = { data = true, event = true, id = true, retry = true }

--- A field of one line: what would end the line is taken out.
local function line(name, value)
  return name .. ": " .. tostring(value):gsub("[\r\n%z]", "") .. "\n"
end

--- Each line of a text behind `prefix`. A line ends with CR LF, LF or CR.
local function lines(prefix, text)
  text = text:gsub("\r\n", "\n"):gsub("\r", "\n")
  return prefix .. text:gsub("\n", "\n" .. prefix) .. "\n"
end

local function to_text(value)
  local kind = type(value)
  if kind == "table" then
    return json.encode(value)
  elseif kind == "string" or kind == "number" or kind == "boolean" then
    return tostring(value)
  end
end

local function is_text(value)
  return type(value) == "string" or type(value) == "number"
end

local function check(event)
  if type(event) ~= "table" then
    return ("an event is a table or its data, got %s"):format(type(event))
  end
  for key in pairs(event) do
    if not KNOWN[key] then
      return ("%q is not known (known: data, event, id, retry)"):format(tostring(key))
    end
  end
  for _, key in ipairs({ "event", "id" }) do
    if event[key] ~= nil and not is_text(event[key]) then
      return ("%s must be a string, got %s"):format(key, type(event[key]))
    end
  end
  local retry = event.retry
  if retry ~= nil and (type(retry) ~= "number" or retry % 1 ~= 0 or retry < 0 or retry > 2 ^ 53) then
    return "retry must be a whole number of milliseconds"
  end
  if event.data ~= nil and not to_text(event.data) then
    return ("data must be text or a table, got %s"):format(type(event.data))
  end
end

--- @param event buntime.Event|string|number
--- @return string? text
--- @return string? problem
function M.event(event)
  if is_text(event) then
    event = { data = event }
  end
  local problem = check(event)
  if problem then
    return nil, problem
  end
  local out = {}
  if event.event ~= nil then
    out[#out + 1] = line("event", event.event)
  end
  if event.id ~= nil then
    out[#out + 1] = line("id", event.id)
  end
  if event.retry ~= nil then
    out[#out + 1] = ("retry: %d\n"):format(event.retry)
  end
  if event.data ~= nil then
    out[#out + 1] = lines("data: ", to_text(event.data))
  end
  out[#out + 1] = "\n"
  return table.concat(out)
end

--- @param text string
--- @return string
function M.comment(text)
  return lines(": ", text) .. "\n"
end

return M
