--- A dictionary that all plugins of the server share. It lives in the server process: reloads leave it
--- alone, a restart empties it.
---
---     shared.set("session:" .. id, { user = 42 }, 3600)
---     local hits = shared.incr("hits:" .. ip, 1, 60)   -- counts for a minute from the first
---     shared.watch("config:", function(key, value) … end)
---
--- Keys are strings of 1 to 1,024 bytes. Values are strings, numbers, booleans, and tables that JSON can
--- hold; what comes out is a copy. Everything together has 64 MB: what does not fit is refused. No call
--- waits, so that nothing happens between reading and writing unless you wait there.

local core = require("buntime.core.shared")
local json = require("buntime.core.json")

--- @class buntime.shared
local M = {}

local function check_key(name, key)
  if type(key) ~= "string" then
    error(("shared.%s: argument 1 (key) must be a string, got %s"):format(name, type(key)), 3)
  elseif key == "" or #key > 1024 then
    local problem = "shared.%s: argument 1 (key) must have 1 to 1024 bytes, got %d"
    error(problem:format(name, #key), 3)
  end
end

local function check_ttl(name, ttl)
  if ttl ~= nil and (type(ttl) ~= "number" or ttl <= 0 or ttl ~= ttl) then
    local problem = "shared.%s: argument 3 (ttl) must be a number of seconds over 0, got %s"
    error(problem:format(name, tostring(ttl)), 3)
  end
end

local function decoded(value, is_json)
  if is_json then
    return (json.decode(value))
  end
  return value
end

--- The value of a key, or nil.
--- @param key string
--- @return any value
function M.get(key)
  check_key("get", key)
  return decoded(core.get(key))
end

--- @param key string
--- @param value string|number|boolean|table
--- @param ttl? number Seconds until it expires; for ever unless told.
--- @return boolean? ok
--- @return string? message
--- @return string? code "SHARED_FULL"
function M.set(key, value, ttl)
  check_key("set", key)
  check_ttl("set", ttl)
  local kind = type(value)
  if kind == "table" then
    return core.set(key, json.encode(value), ttl, true)
  elseif kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    local problem = "shared.set: argument 2 (value) must be a string, number, boolean or table, got %s"
    error(problem:format(kind), 2)
  end
  return core.set(key, value, ttl)
end

--- Adds to a number; a key that is not there begins at 0.
--- @param key string
--- @param by? number 1 unless told.
--- @param ttl? number Seconds until it expires, from its beginning on: a later call does not prolong it.
--- @return number? value The sum.
--- @return string? message
--- @return string? code "NOT_A_NUMBER" or "SHARED_FULL"
function M.incr(key, by, ttl)
  check_key("incr", key)
  check_ttl("incr", ttl)
  if by ~= nil and type(by) ~= "number" then
    error(("shared.incr: argument 2 (by) must be a number, got %s"):format(type(by)), 2)
  end
  return core.incr(key, by or 1, ttl)
end

--- @param key string
--- @return boolean existed
function M.delete(key)
  check_key("delete", key)
  return core.delete(key)
end

--- Calls `fn(key, value)` after each change of a key that begins with `prefix`, by whatever plugin; a value
--- of nil means that it was deleted or has expired. The calls come one after the other, in order, each in a
--- task. Ends with the plugin's instance.
--- @param prefix string "" is every key.
--- @param fn fun(key: string, value: any)
--- @return buntime.Watch
function M.watch(prefix, fn)
  if type(prefix) ~= "string" then
    error(("shared.watch: argument 1 (prefix) must be a string, got %s"):format(type(prefix)), 2)
  elseif type(fn) ~= "function" then
    error(("shared.watch: argument 2 must be a function, got %s"):format(type(fn)), 2)
  end
  local watch = core.watch(prefix, function(key, value, is_json)
    fn(key, decoded(value, is_json))
  end)
  return watch
end

return M
