--- A dictionary that all plugins of the server share, and all replicas with REDIS_URL. Without that it
--- lives in the server process: reloads leave it alone, a restart empties it, and no call waits. With it, it
--- lives in Redis: every call waits for that, and may give `nil, message, code` (CONNECTION_FAILED,
--- CONNECTION_LOST, TIMEOUT and whatever else Redis says).
---
---     shared.set("session:" .. id, { user = 42 }, 3600)
---     local hits = shared.incr("hits:" .. ip, 1, 60)   -- counts for a minute from the first
---     shared.watch("config:", function(key, value) … end)
---
--- Keys are strings of 1 to 1,024 bytes. Values are strings, numbers, booleans, and tables that JSON can
--- hold; what comes out is a copy. In memory everything together has 64 MB: what does not fit is refused.

local core = require("buntime.core.shared")
local json = require("buntime.core.json")

--- What gives and takes the values: memory, or Redis.
local store = core
do
  local client, number = require("buntime.core.redis").server()
  if client then
    store = require("buntime.shared_redis")(client, number)
  end
end

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

--- The value, or `nil, message, code`.
local function decoded(value, is_json, code)
  if value ~= nil and is_json then
    return (json.decode(value))
  elseif code then
    return nil, is_json, code
  end
  return value
end

--- The value of a key, or nil.
--- @param key string
--- @return any value
--- @return string? message Of a failure of Redis, as everywhere here.
--- @return string? code
function M.get(key)
  check_key("get", key)
  return decoded(store.get(key))
end

--- @param key string
--- @param value string|number|boolean|table
--- @param ttl? number Seconds until it expires; for ever unless told.
--- @return boolean? ok
--- @return string? message
--- @return string? code "SHARED_FULL", or what Redis says
function M.set(key, value, ttl)
  check_key("set", key)
  check_ttl("set", ttl)
  local kind = type(value)
  if kind == "table" then
    return store.set(key, json.encode(value), ttl, true)
  elseif kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    local problem = "shared.set: argument 2 (value) must be a string, number, boolean or table, got %s"
    error(problem:format(kind), 2)
  end
  return store.set(key, value, ttl)
end

--- Adds to a number; a key that is not there begins at 0.
--- @param key string
--- @param by? number 1 unless told.
--- @param ttl? number Seconds until it expires, from its beginning on: a later call does not prolong it.
--- @return number? value The sum.
--- @return string? message
--- @return string? code "NOT_A_NUMBER", "SHARED_FULL", or what Redis says
function M.incr(key, by, ttl)
  check_key("incr", key)
  check_ttl("incr", ttl)
  if by ~= nil and type(by) ~= "number" then
    error(("shared.incr: argument 2 (by) must be a number, got %s"):format(type(by)), 2)
  end
  return store.incr(key, by or 1, ttl)
end

--- @param key string
--- @return boolean? existed
--- @return string? message
--- @return string? code
function M.delete(key)
  check_key("delete", key)
  return store.delete(key)
end

--- Calls `fn(key, value)` after each change of a key that begins with `prefix`, by whatever plugin of
--- whatever replica; a value of nil means that it was deleted or has expired. The calls come one after the
--- other, in order, each in a task. Ends with the plugin's instance.
---
--- With Redis it waits until Redis has agreed; if that is not there, the watch begins when it is. Changes
--- while the connection was lost are not told: then `restored(prefix)` is called, which may read anew.
--- @param prefix string "" is every key.
--- @param fn fun(key: string, value: any)
--- @param restored? fun(prefix: string)
--- @return buntime.Watch
function M.watch(prefix, fn, restored)
  if type(prefix) ~= "string" then
    error(("shared.watch: argument 1 (prefix) must be a string, got %s"):format(type(prefix)), 2)
  elseif type(fn) ~= "function" then
    error(("shared.watch: argument 2 must be a function, got %s"):format(type(fn)), 2)
  elseif restored ~= nil and type(restored) ~= "function" then
    error(("shared.watch: argument 3 must be a function, got %s"):format(type(restored)), 2)
  end
  local ok, watch = core.watch(prefix, function(key, value, is_json)
    fn(key, decoded(value, is_json))
  end, restored and function(which)
    restored(which)
  end)
  if not ok then
    error(watch, 0)
  end
  return watch
end

return M
