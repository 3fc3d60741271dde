--- The shared dictionary of replicas, which is in Redis: what buntime.shared has with REDIS_URL.
---
--- A value stands under KEYS .. key, with a letter for its type before it, and who changes it says so on the
--- channel of the key, in one script: so changes are told in the order in which they were made. Arguments
--- have been checked, what fails is `nil, message, code`, and runtime/data/shared_redis.h has the same names.

local core = require("buntime.core.redis")
local crypto = require("buntime.crypto")
local decode = require("buntime.core.shared").decode
local sql = require("buntime.sql")

local KEYS, CHANNEL = "buntime:shared:", "buntime:%d:shared:"

--- What does not fit into a reply could not be read again.
local VALUE_MAX = 64 * 1024 * 1024 - 1024

--- Milliseconds: as in memory, about 31 years are the most.
local TTL_MAX = 1e12

local function script(source)
  return { source = source, digest = crypto.sha1(source) }
end

local SET = script([[
if ARGV[3] then
  redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
else
  redis.call("SET", KEYS[1], ARGV[2])
end
redis.call("PUBLISH", ARGV[1], ARGV[2])
return 1]])

local INCR = script([[
local now, by = redis.call("GET", KEYS[1]), tonumber(ARGV[2])
if now and now:sub(1, 1) ~= "n" then
  return false
end
local sum = ("n%.17g"):format(now and tonumber(now:sub(2)) + by or by)
if now then
  redis.call("SET", KEYS[1], sum, "KEEPTTL")
elseif ARGV[3] then
  redis.call("SET", KEYS[1], sum, "PX", ARGV[3])
else
  redis.call("SET", KEYS[1], sum)
end
redis.call("PUBLISH", ARGV[1], sum)
return sum]])

local DELETE = script([[
if redis.call("DEL", KEYS[1]) == 0 then
  return 0
end
redis.call("PUBLISH", ARGV[1], "")
return 1]])

--- What the server says, or that it could not be asked; anything else (the task was cancelled) is raised.
local function failure(what, ok, problem)
  if ok == nil then
    sql.misuse(what, "%s", problem)
  elseif getmetatable(problem) ~= core.error then
    error(problem, 0)
  end
  return nil, problem.message, problem.code == "OOM" and "SHARED_FULL" or problem.code
end

--- @return string bytes
local function encode(value, json)
  if type(value) == "number" then
    return ("n%.17g"):format(value)
  elseif type(value) == "boolean" then
    return value and "b1" or "b0"
  end
  return (json and "j" or "s") .. value
end

--- @param client buntime.Redis
--- @param number integer Of the database: channels know none, so it is in their names.
return function(client, number)
  local M = {}
  local channel = CHANNEL:format(number)

  --- @return any reply nil for null, and for a failure, which has a message
  local function run(what, program, key, ...)
    local name, on = KEYS .. key, channel .. key
    local ok, reply = core.call(client, false, "EVALSHA", program.digest, 1, name, on, ...)
    if not ok and getmetatable(reply) == core.error and reply.code == "NOSCRIPT" then
      ok, reply = core.call(client, false, "EVAL", program.source, 1, name, on, ...)
    end
    if ok then
      return reply
    end
    return failure(what, ok, reply)
  end

  local function with_ttl(what, program, key, value, ttl)
    if ttl then
      local ms = math.min(math.ceil(ttl * 1000), TTL_MAX)
      return run(what, program, key, value, ("%.0f"):format(ms))
    end
    return run(what, program, key, value)
  end

  local function value_of(key, bytes)
    local value, json = decode(bytes)
    if value == nil then
      local problem = "what Redis has under %q is no value of buntime.shared"
      return nil, problem:format(KEYS .. key), "INVALID_VALUE"
    end
    return value, json
  end

  --- @return string|number|boolean|nil value
  --- @return boolean|string|nil json or a message
  --- @return string? code
  function M.get(key)
    local ok, reply = core.call(client, false, "GET", KEYS .. key)
    if not ok then
      return failure("shared.get", ok, reply)
    elseif reply ~= nil then
      return value_of(key, reply)
    end
  end

  function M.set(key, value, ttl, json)
    local bytes = encode(value, json)
    if #bytes > VALUE_MAX then
      return nil, ("a value has at most %d bytes, got %d"):format(VALUE_MAX, #bytes), "SHARED_FULL"
    end
    local reply, message, code = with_ttl("shared.set", SET, key, bytes, ttl)
    if message then
      return nil, message, code
    end
    return reply == 1
  end

  function M.incr(key, by, ttl)
    local reply, message, code = with_ttl("shared.incr", INCR, key, ("%.17g"):format(by), ttl)
    if message then
      return nil, message, code
    elseif reply == nil then
      return nil, ('the value of "%s" is not a number'):format(key:sub(1, 100)), "NOT_A_NUMBER"
    end
    return (value_of(key, reply))
  end

  function M.delete(key)
    local reply, message, code = run("shared.delete", DELETE, key)
    if message then
      return nil, message, code
    end
    return reply == 1
  end

  return M
end
