--- @meta buntime.core.redis
--- Implemented in runtime/bind/bind_redis.c. What waits gives `true, values...`, `false, error`, or
--- `nil, message` for misuse; see buntime.sql.

local redis = {}

--- Does not wait.
--- @param url string
--- @param timeout number Seconds, as the next.
--- @param connect number
--- @param queue integer
--- @return boolean? ok
--- @return buntime.Redis|string client
function redis.open(url, timeout, connect, queue) end

--- A client of what the replicas share, and the number of its database; nothing without REDIS_URL.
--- @return buntime.Redis? client
--- @return integer? number
function redis.server() end

--- @param client buntime.Redis
--- @param blocks boolean Whether it wants a connection of its own.
--- @param command string
--- @param ... string|number
--- @return boolean? ok
--- @return any reply
function redis.call(client, blocks, command, ...) end

--- The bytes of a command. Does not wait.
--- @param command string
--- @param ... string|number
--- @return boolean? ok
--- @return string bytes
function redis.encode(command, ...) end

--- @param client buntime.Redis
--- @param commands string[] What `encode` gave.
--- @return boolean? ok
--- @return any[]|buntime.RedisError|string replies
function redis.pipeline(client, commands) end

--- @param client buntime.Redis
--- @param name string
--- @param fn fun(message: string, channel: string)
--- @param restored? fun(name: string)
--- @param pattern boolean
--- @return boolean? ok
--- @return buntime.RedisSubscription|buntime.RedisError|string subscription
function redis.subscribe(client, name, fn, restored, pattern) end

--- @param subscription buntime.RedisSubscription
--- @return boolean subscribed
function redis.stop(subscription) end

--- @param client buntime.Redis
--- @return boolean? ok
--- @return string? message
function redis.close(client) end

--- The metatables of errors and blobs, and the methods of clients and subscriptions.
--- @type table
redis.error = nil
--- @type table
redis.blob = nil
--- @type table
redis.client = nil
--- @type table
redis.subscription = nil

return redis
