--- @meta buntime.core.shared
--- Implemented in runtime/bind/bind_shared.c; tables are the text of JSON here.

local shared = {}

--- @param key string
--- @return string|number|boolean|nil value
--- @return boolean? json
function shared.get(key) end

--- @param key string
--- @param value string|number|boolean
--- @param ttl? number
--- @param json? boolean
--- @return boolean? ok
--- @return string? message
--- @return string? code
function shared.set(key, value, ttl, json) end

--- @param key string
--- @param by number
--- @param ttl? number
--- @return number? value
--- @return string? message
--- @return string? code
function shared.incr(key, by, ttl) end

--- @param key string
--- @return boolean existed
function shared.delete(key) end

--- A value as it stands in Redis; nothing for bytes that are none.
--- @param bytes string
--- @return string|number|boolean|nil value
--- @return boolean? json
function shared.decode(bytes) end

--- Waits for Redis, where there is one.
--- @param prefix string
--- @param fn fun(key: string, value: any, json: boolean)
--- @param restored? fun(prefix: string)
--- @return boolean? ok
--- @return buntime.Watch|string watch
function shared.watch(prefix, fn, restored) end

--- @class buntime.Watch
local Watch = {}

--- Stops watching; a call that has begun goes on, changes not told yet are not told any more.
--- @return boolean running
function Watch:stop() end

return shared
