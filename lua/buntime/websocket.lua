--- WebSockets: the handshake's answer, and what calls the handlers.

local core = require("buntime.core.websocket")
local errors = require("buntime.error")

local M = {}

--- @class buntime.WebSocketHandlers
--- @field open? fun(ws: buntime.WebSocket, c: buntime.Context) To read what it wants of `c` before it waits.
--- @field message? fun(ws: buntime.WebSocket, data: string, binary: boolean)
--- @field close? fun(ws: buntime.WebSocket, code: integer, reason: string)
--- @field drain? fun(ws: buntime.WebSocket) The plugin was replaced: the socket will be closed with 1012.

--- @class buntime.WebSocketOptions
--- @field max_message? integer|string Bytes, or such as "64kb"; "1mb" unless told.
--- @field ping? number Seconds between pings; a client silent for two is cut. 30 unless told, 0: never.

local UNITS = { [""] = 1, b = 1, kb = 1024, mb = 1024 ^ 2, gb = 1024 ^ 3 }
local HANDLERS = { open = true, message = true, close = true, drain = true }
local OPTIONS = { max_message = true, ping = true }

--- @return integer? bytes
local function parse_size(value)
  if type(value) == "number" then
    return value >= 1 and value or nil
  elseif type(value) ~= "string" then
    return nil
  end
  local number, unit = value:lower():match("^(%d+)(%a*)$")
  local bytes = number and UNITS[unit] and tonumber(number) * UNITS[unit]
  return bytes and bytes >= 1 and bytes or nil
end

local function check_keys(what, given, known, kind)
  for key, value in pairs(given) do
    if not known[key] then
      return ("%s: %q is not known"):format(what, tostring(key))
    elseif kind and type(value) ~= kind then
      return ("%s.%s must be a %s, got %s"):format(what, key, kind, type(value))
    end
  end
end

--- @return string? problem
function M.check_handlers(handlers)
  return check_keys("handlers", handlers, HANDLERS, "function")
end

--- @param options? buntime.WebSocketOptions
--- @return table? limits
--- @return string? problem
function M.limits(options)
  options = options or {}
  local problem = check_keys("options", options, OPTIONS)
  if problem then
    return nil, problem
  end
  local most = parse_size(options.max_message or "1mb")
  if not most then
    return nil, ("options.max_message must be a size, got %s"):format(tostring(options.max_message))
  end
  local ping = options.ping or 30
  if type(ping) ~= "number" or ping < 0 then
    return nil, ("options.ping must be a number of seconds, got %s"):format(tostring(options.ping))
  end
  return { max_message = most, ping = ping }
end

local function refuse(c, status, code, message)
  local headers = { upgrade = "websocket", connection = "Upgrade", ["sec-websocket-version"] = "13" }
  local res = c:body(errors.body(code, message, c.req.id), status, headers)
  res.headers["content-type"] = "application/json"
  return res
end

--- What is wrong with the handshake, or nil.
local function problem_of(c)
  local req = c.req
  if (req:header("upgrade") or ""):lower() ~= "websocket" then
    return refuse(c, 426, "UPGRADE_REQUIRED", "this is a WebSocket")
  elseif req:header("sec-websocket-version") ~= "13" then
    return refuse(c, 426, "UPGRADE_REQUIRED", "only version 13 of WebSocket is spoken here")
  elseif #(req:header("sec-websocket-key") or "") ~= 24 then
    return refuse(c, 400, "BAD_HANDSHAKE", "the handshake has no key of 24 characters")
  end
end

local function dispatcher(c, handlers)
  return function(ws, event, data, more)
    local handler = handlers[event]
    if not handler then
      return
    elseif event == "open" then
      handler(ws, c)
    elseif event == "close" then
      handler(ws, more, data)
    else
      handler(ws, data, more)
    end
  end
end

--- Answers a handshake.
--- @param c buntime.Context
--- @param handlers buntime.WebSocketHandlers
--- @param limits table
--- @return buntime.Response
function M.upgrade(c, handlers, limits)
  local refusal = problem_of(c)
  if refusal then
    return refusal
  end
  local res = c:body(nil)
  res.status = 101
  res.source = core.new(dispatcher(c, handlers), limits.max_message, limits.ping)
  return res
end

return M
