--- A cache in the memory of this VM: the least recently used goes first, values may expire, and a value
--- that is missing is made once for all who want it.
---
---     local weather = cache.new({ max = 1000, ttl = 60 })
---     local report, message = weather:fetch(city, function()
---       return load_report(city)
---     end)
---
--- Keys are strings, numbers or booleans; values are anything but nil, and are not copied.

local sys = require("buntime.core.sys")
local task = require("buntime.task")

--- @class buntime.cache
local M = {}

--- @class buntime.Cache
--- @field private _items table<any, table>
local Cache = {}
Cache.__index = Cache

--- @class buntime.CacheOptions
--- @field max? integer Entries; 1000 unless told.
--- @field ttl? number Seconds that an entry lives; for ever unless told.
--- @field max_bytes? integer What keys and values may take together, by `size`.
--- @field size? fun(value: any): number Bytes of a value; unless told an estimate, which walks tables.

local OPTIONS = { max = "number", ttl = "number", max_bytes = "number", size = "function" }

local function check_options(options)
  if type(options) ~= "table" then
    error(("cache.new: argument 1 (options) must be a table, got %s"):format(type(options)), 3)
  end
  for name, value in pairs(options) do
    if not OPTIONS[name] then
      error(("cache.new: the option %q is not known"):format(tostring(name)), 3)
    elseif type(value) ~= OPTIONS[name] or (type(value) == "number" and (value <= 0 or value ~= value)) then
      local wanted = OPTIONS[name] == "number" and "number over 0" or "function"
      error(("cache.new: %s must be a %s, got %s"):format(name, wanted, tostring(value)), 3)
    end
  end
end

local function check_key(name, self, key)
  if getmetatable(self) ~= Cache then
    error(("cache:%s: call it with a colon"):format(name), 3)
  end
  local kind = type(key)
  if (kind ~= "string" and kind ~= "number" and kind ~= "boolean") or key ~= key then
    local problem = "cache:%s: argument 1 (key) must be a string, a number or a boolean, got %s"
    error(problem:format(name, kind), 3)
  end
end

local function check_ttl(name, ttl)
  if ttl ~= nil and (type(ttl) ~= "number" or ttl <= 0 or ttl ~= ttl) then
    local problem = "cache:%s: argument 3 (ttl) must be a number of seconds over 0, got %s"
    error(problem:format(name, tostring(ttl)), 3)
  end
end

--- Bytes, roughly as LuaJIT holds them.
local function estimate(value, seen)
  if type(value) == "string" then
    return #value + 24
  elseif type(value) ~= "table" then
    return 16
  end
  seen = seen or {}
  if seen[value] then
    return 0
  end
  seen[value] = true
  local bytes = 64
  for key, item in pairs(value) do
    bytes = bytes + 24 + (type(key) == "string" and #key or 0) + estimate(item, seen)
  end
  return bytes
end

-- The entries form a ring from the newest to the oldest; the cache's `_ring` lies between them.

local function unlink(item)
  item.newer.older, item.older.newer = item.older, item.newer
end

local function link(ring, item)
  item.older, item.newer = ring.older, ring
  ring.older.newer, ring.older = item, item
end

local function drop(self, item)
  unlink(item)
  self._items[item.key] = nil
  self._count = self._count - 1
  self._bytes = self._bytes - item.bytes
end

--- The entry of a key, if it has not expired.
local function find(self, key)
  local item = self._items[key]
  if item and item.expires and sys.now() >= item.expires then
    drop(self, item)
    return nil
  end
  return item
end

local function store(self, key, value, ttl)
  local old = self._items[key]
  if old then
    drop(self, old)
  end
  local bytes = 0
  if self._max_bytes then
    bytes = estimate(key) + self._size(value)
    if bytes > self._max_bytes then
      return false
    end
  end
  ttl = ttl or self._ttl
  local item = { key = key, value = value, bytes = bytes, expires = ttl and sys.now() + ttl }
  self._items[key] = item
  link(self._ring, item)
  self._count = self._count + 1
  self._bytes = self._bytes + bytes
  while self._count > self._max or (self._max_bytes and self._bytes > self._max_bytes) do
    drop(self, self._ring.newer)
  end
  return true
end

--- The value of a key, or nil.
--- @param key string|number|boolean
--- @return any value
function Cache:get(key)
  check_key("get", self, key)
  local item = find(self, key)
  if not item then
    return nil
  end
  unlink(item)
  link(self._ring, item)
  return item.value
end

--- Keeps a value; nil removes it.
--- @param key string|number|boolean
--- @param value any
--- @param ttl? number Seconds, instead of the cache's.
--- @return boolean kept false for a value that is larger than the whole cache.
function Cache:set(key, value, ttl)
  check_key("set", self, key)
  check_ttl("set", ttl)
  self._flights[key] = nil
  if value == nil then
    if self._items[key] then
      drop(self, self._items[key])
    end
    return true
  end
  return store(self, key, value, ttl)
end

--- @param key string|number|boolean
--- @return boolean existed
function Cache:delete(key)
  check_key("delete", self, key)
  self._flights[key] = nil
  local item = find(self, key)
  if item then
    drop(self, item)
  end
  return item ~= nil
end

--- Removes everything.
function Cache:clear()
  self._items, self._flights = {}, {}
  self._ring = {}
  self._ring.older, self._ring.newer = self._ring, self._ring
  self._count, self._bytes = 0, 0
end

--- How many entries there are; some of them may have expired.
--- @return integer
function Cache:count()
  return self._count
end

--- Keeps what the function returned, unless the key was set, deleted or cleared meanwhile.
local function land(self, key, flight, ttl, value, ...)
  if self._flights[key] == flight then
    self._flights[key] = nil
    if value ~= nil then
      store(self, key, value, ttl)
    end
  end
  return value, ...
end

local function fly(self, key, fn, flight, ttl)
  local function lift(ok, ...)
    if ok then
      return land(self, key, flight, ttl, ...)
    end
    if self._flights[key] == flight then
      self._flights[key] = nil
    end
    error((...), 0)
  end
  return lift(pcall(fn))
end

--- The value of a key; when there is none, what `fn` returns, which is then kept.
---
--- Who asks for the key while `fn` runs waits for it and gets the same: its results, or its error. Neither
--- an error nor a nil is kept, so that the next one tries again. `fn` runs in a task of its own: it goes on
--- when the request that began it is gone.
--- @param key string|number|boolean
--- @param fn fun(): any
--- @param ttl? number Seconds, instead of the cache's.
--- @return any value All that `fn` returned, when it ran.
function Cache:fetch(key, fn, ttl)
  check_key("fetch", self, key)
  check_ttl("fetch", ttl)
  if type(fn) ~= "function" then
    error(("cache:fetch: argument 2 must be a function, got %s"):format(type(fn)), 2)
  end
  local value = self:get(key)
  if value ~= nil then
    return value
  end
  local flight = self._flights[key]
  if not flight then
    flight = {}
    self._flights[key] = flight
    flight.task = task.spawn(fly, self, key, fn, flight, ttl)
  elseif not flight.task then
    error(("cache:fetch: the function for the key %q fetches that key itself"):format(tostring(key)), 2)
  end
  return flight.task:wait()
end

--- @param options? buntime.CacheOptions
--- @return buntime.Cache
function M.new(options)
  options = options == nil and {} or options
  check_options(options)
  local self = setmetatable({
    _max = options.max or 1000,
    _ttl = options.ttl,
    _max_bytes = options.max_bytes,
    _size = options.size or estimate,
  }, Cache)
  self:clear()
  return self
end

return M
