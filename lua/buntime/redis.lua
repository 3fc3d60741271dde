--- Redis.
---
---     local r = redis.connect("redis://localhost:6379")
---     r:call("SET", "greeting", "hello", "EX", 60)
---     local list = r:pipeline(function(p)
---       p:call("INCR", "hits")
---       p:call("GET", "greeting")
---     end)
---     r:subscribe("news", function(message, channel) … end)
---
--- All commands share one connection, on which none waits for the reply of another; those that block
--- (BLPOP, XREAD with BLOCK, WAIT …) get one of their own. A connection that is lost is made again for the
--- next command.
---
--- Arguments are strings, which are bytes, and numbers. Null is nil, and `json.null` in lists; integers
--- beyond 2^53 are `int64_t` of the FFI.

local core = require("buntime.core.redis")
local crypto = require("buntime.crypto")
local sql = require("buntime.sql")
require("buntime.json") -- lists are arrays for it

local settle, misuse = sql.settle, sql.misuse

sql.set_error(core.error)

--- @class buntime.RedisOptions
--- @field timeout? number Seconds from a command to its reply; 5 unless told. Commands that block have no
---   limit.
--- @field connect_timeout? number Seconds; 5 unless told.
--- @field queue? integer Most commands that wait or are on their way; 10000 unless told.

--- What a command that failed raises.
--- @class buntime.RedisError
--- @field code string The first word of what the server said ("WRONGTYPE", "NOSCRIPT", "ERR"), or
---   "CONNECTION_FAILED", "CONNECTION_LOST", "TIMEOUT", "QUEUE_FULL", "RESULT_TOO_LARGE", "CLOSED".
--- @field message string

--- @class buntime.redis
local M = {}

-- Commands -------------------------------------------------------------------------------------------

--- What would change the connection that others share, and what is there instead.
local REFUSED = {
  SUBSCRIBE = "use r:subscribe(channel, fn)",
  PSUBSCRIBE = "use r:psubscribe(pattern, fn)",
  SSUBSCRIBE = "it is not supported",
  UNSUBSCRIBE = "use subscription:stop()",
  PUNSUBSCRIBE = "use subscription:stop()",
  SUNSUBSCRIBE = "it is not supported",
  MULTI = "use r:multi(function(p) … end)",
  EXEC = "use r:multi(function(p) … end)",
  DISCARD = "use r:multi(function(p) … end)",
  WATCH = "use r:eval(script, keys, args)",
  UNWATCH = "use r:eval(script, keys, args)",
  SELECT = "put the number into the URL",
  AUTH = "put user and password into the URL",
  HELLO = "put user and password into the URL",
  QUIT = "use r:close()",
  RESET = "use r:close()",
  MONITOR = "it is not supported",
  SYNC = "it is not supported",
  PSYNC = "it is not supported",
}

--- Commands that wait for something to happen.
local BLOCKS = {
  BLPOP = true,
  BRPOP = true,
  BRPOPLPUSH = true,
  BLMOVE = true,
  BLMPOP = true,
  BZPOPMIN = true,
  BZPOPMAX = true,
  BZMPOP = true,
  WAIT = true,
  WAITAOF = true,
}

--- Commands that do so with BLOCK among their arguments.
local MAY_BLOCK = { XREAD = true, XREADGROUP = true }

local function upper(word)
  return type(word) == "string" and word:upper() or ""
end

local function check_name(what, name, next_word)
  name = upper(name)
  local instead = REFUSED[name]
  if name == "CLIENT" and (upper(next_word) == "REPLY" or upper(next_word) == "TRACKING") then
    name, instead = "CLIENT " .. upper(next_word), "it is not supported"
  end
  if instead then
    misuse(what, "%s would change the connection that others share; %s", name, instead)
  end
end

local function blocks(name, ...)
  name = upper(name)
  if BLOCKS[name] then
    return true
  elseif MAY_BLOCK[name] then
    for i = 1, select("#", ...) do
      local word = upper((select(i, ...)))
      if word == "BLOCK" then
        return true
      elseif word == "STREAMS" then
        return false
      end
    end
  end
  return false
end

--- @class buntime.Redis
local Client = core.client

--- Runs a command and gives its reply: a string, a number, nil for null, or a list.
--- @param command string
--- @param ... string|number
--- @return any reply
function Client:call(command, ...)
  check_name("r:call", command, (...))
  return settle("r:call", core.call(self, blocks(command, ...), command, ...))
end

--- @class buntime.RedisPipeline
local Pipeline = {}
Pipeline.__index = Pipeline

--- Adds a command.
--- @param command string
--- @param ... string|number
function Pipeline:call(command, ...)
  check_name("p:call", command, (...))
  if blocks(command, ...) then
    misuse("p:call", "%s blocks; use r:call", command)
  end
  self[#self + 1] = settle("p:call", core.encode(command, ...))
end

local function collect(what, fn)
  if type(fn) ~= "function" then
    misuse(what, "expected a function, got %s", type(fn))
  end
  local commands = setmetatable({}, Pipeline)
  fn(commands)
  return commands
end

--- Sends what `fn(p)` adds with `p:call(…)` in one piece, and gives the list of the replies. What the
--- server refused is an error in that list, a table with `code` and `message`; others may come between.
--- @param fn fun(p: buntime.RedisPipeline)
--- @return any[] replies
function Client:pipeline(fn)
  local commands = collect("r:pipeline", fn)
  if #commands == 0 then
    return {}
  end
  return settle("r:pipeline", core.pipeline(self, commands))
end

local function is_error(value)
  return type(value) == "table" and getmetatable(value) == core.error
end

--- As `pipeline`, but nobody comes between (MULTI, EXEC). A command that the server does not accept raises,
--- and none is run.
--- @param fn fun(p: buntime.RedisPipeline)
--- @return any[] replies
function Client:multi(fn)
  local commands = collect("r:multi", fn)
  if #commands == 0 then
    return {}
  end
  table.insert(commands, 1, (settle("r:multi", core.encode("MULTI"))))
  commands[#commands + 1] = settle("r:multi", core.encode("EXEC"))
  local replies = settle("r:multi", core.pipeline(self, commands))
  if not is_error(replies[#replies]) then
    return replies[#replies]
  end
  for _, reply in ipairs(replies) do
    if is_error(reply) then
      error(reply, 0)
    end
  end
end

-- Scripts --------------------------------------------------------------------------------------------

--- Digest by script, forgotten when a program makes ever new ones.
local DIGESTS_MAX = 1000
local digests, digest_count = {}, 0

local function digest(script)
  local known = digests[script]
  if known then
    return known
  elseif digest_count >= DIGESTS_MAX then
    digests, digest_count = {}, 0
  end
  digest_count = digest_count + 1
  digests[script] = crypto.sha1(script)
  return digests[script]
end

--- The arguments after the script, as one list.
local function script_arguments(keys, args)
  local list = { #keys }
  for i = 1, #keys do
    list[#list + 1] = keys[i]
  end
  for i = 1, #args do
    list[#list + 1] = args[i]
  end
  return list
end

--- Runs a script at the server, where nobody comes between. Only its digest is sent when the server knows it.
--- @param script string
--- @param keys? (string|number)[]
--- @param args? (string|number)[]
--- @return any reply
function Client:eval(script, keys, args)
  if type(script) ~= "string" then
    misuse("r:eval", "the script must be a string, got %s", type(script))
  elseif type(keys or {}) ~= "table" or type(args or {}) ~= "table" then
    misuse("r:eval", "keys and arguments must be lists")
  end
  local list = script_arguments(keys or {}, args or {})
  local known = digest(script)
  local ok, reply = pcall(settle, "r:eval", core.call(self, false, "EVALSHA", known, unpack(list)))
  if ok then
    return reply
  elseif not is_error(reply) or reply.code ~= "NOSCRIPT" then
    error(reply, 0)
  end
  return settle("r:eval", core.call(self, false, "EVAL", script, unpack(list)))
end

-- Subscriptions --------------------------------------------------------------------------------------

--- @class buntime.RedisSubscription
local Subscription = core.subscription

local function subscribe(what, client, pattern, name, fn, restored)
  if restored ~= nil and type(restored) ~= "function" then
    misuse(what, "`restored` must be a function, got %s", type(restored))
  end
  return settle(what, core.subscribe(client, name, fn, restored, pattern))
end

--- Calls `fn(message, channel)` for each message, one after the other, each in a task of its own. Waits until
--- the server has agreed. A connection that is lost later is made again; `restored(channel)` then says that
--- messages may have been missed. Goes on until it is stopped or the client is closed.
--- @param channel string
--- @param fn fun(message: string, channel: string)
--- @param restored? fun(channel: string)
--- @return buntime.RedisSubscription
function Client:subscribe(channel, fn, restored)
  return subscribe("r:subscribe", self, false, channel, fn, restored)
end

--- The same for all channels that a pattern fits, such as "news.*".
--- @param pattern string
--- @param fn fun(message: string, channel: string)
--- @param restored? fun(pattern: string)
--- @return buntime.RedisSubscription
function Client:psubscribe(pattern, fn, restored)
  return subscribe("r:psubscribe", self, true, pattern, fn, restored)
end

--- @return boolean subscribed Whether it had not been stopped before.
function Subscription:stop()
  return core.stop(self)
end

--- Closes the client. What still waits raises.
function Client:close()
  settle("r:close", core.close(self))
end

-- Opening --------------------------------------------------------------------------------------------

local OPTIONS = {
  { name = "timeout", default = 5, least = 0.001, most = 1e6 },
  { name = "connect_timeout", default = 5, least = 0.001, most = 1e6 },
  { name = "queue", default = 10000, least = 1, most = 1e6 },
}

--- A client for the URL. Connects to nothing yet, so it does not wait, and a server that is down shows in the
--- first command.
--- @param url string "redis://user:password@host:6379/0", or "unix:///run/redis.sock"
--- @param options? buntime.RedisOptions
--- @return buntime.Redis
function M.connect(url, options)
  if type(url) ~= "string" then
    misuse("redis.connect", "the URL must be a string, got %s", type(url))
  end
  local o = sql.numbers("redis.connect", options, OPTIONS)
  return settle("redis.connect", core.open(url, o.timeout, o.connect_timeout, o.queue))
end

return M
