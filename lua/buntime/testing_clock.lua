--- Fake time.
---
---     local clock = testing.clock()
---     timer.after(60, expire)
---     clock:advance(60)   -- expire() has run
---     clock:restore()
---
--- While there is a clock, `timer.after` and `timer.every` of `buntime.timer`, `cron.schedule` and
--- `buntime.sleep` are its own, `os.time()` is its time, and caches and tokens expire by it.
---
--- Code that kept one of these functions in a local before `testing.clock()` keeps the real one, so
--- make the clock first, or write `timer.after(…)`. A sleep inside `clock:run(fn)` waits for `advance`;
--- inside `routes:request` it moves the clock by itself, so that a request that sleeps can be tested at once;
--- anywhere else likewise.

local buntime = require("buntime")
local cron = require("buntime.cron")
local sys = require("buntime.core.sys")
local timers = require("buntime.timer")

local M = {}

--- The clock in force, and the coroutines that it runs.
local current
local sleepers = setmetatable({}, { __mode = "k" })

--- @class buntime.TestClock
--- @field now number Seconds since the clock was made.
--- @field private _started number What it showed then, in seconds since 1970.
--- @field private _queue table[]
--- @field private _made integer
--- @field private _saved table
local Clock = {}
Clock.__index = Clock

--- @class buntime.TestTimer: buntime.Timer
local Timer = {}
Timer.__index = Timer

--- @return boolean running Whether it was still to fire.
function Timer:stop()
  local running = not self.stopped
  self.stopped = true
  return running
end

local function check(what, seconds, fn)
  if type(seconds) ~= "number" or seconds < 0 or seconds ~= seconds then
    local problem = "%s: seconds must be a number that is not negative, got %s"
    error(problem:format(what, tostring(seconds)), 3)
  elseif fn ~= nil and type(fn) ~= "function" then
    error(("%s: expected a function, got %s"):format(what, type(fn)), 3)
  end
end

--- @private
function Clock:add(seconds, fn, every)
  self._made = self._made + 1
  local t = { at = self.now + seconds, number = self._made, fn = fn, every = every }
  self._queue[#self._queue + 1] = setmetatable(t, Timer)
  return t
end

--- The next to fire until `limit`; of two at the same time, the one made first.
--- @private
function Clock:next_due(limit)
  local best
  for i = #self._queue, 1, -1 do
    local t = self._queue[i]
    if t.stopped then
      table.remove(self._queue, i)
    elseif t.at <= limit and (not best or t.at < best.at or t.at == best.at and t.number < best.number) then
      best = t
    end
  end
  return best
end

--- Moves the clock, and runs what comes due on the way, in order. An error in it is raised.
--- @param seconds number
function Clock:advance(seconds)
  check("clock:advance", seconds)
  local limit = self.now + seconds
  while true do
    local t = self:next_due(limit)
    if not t then
      break
    end
    self.now = math.max(self.now, t.at)
    if t.every then
      t.at = self.now + math.max(t.every, 1e-3)
    else
      t.stopped = true
    end
    t.fn()
  end
  self.now = math.max(self.now, limit)
end

local function sleep(clock, seconds)
  local co = coroutine.running()
  local mode = co and sleepers[co]
  if mode ~= "waits" then
    clock:advance(seconds)
    return
  end
  clock:add(seconds, function()
    M.step(co)
  end)
  coroutine.yield()
end

--- Goes on with a coroutine of `Clock:run`.
function M.step(co, ...)
  local ok, message = coroutine.resume(co, ...)
  if not ok then
    error(debug.traceback(co, tostring(message)), 0)
  end
end

--- Runs a function whose sleeps wait for `advance`.
---
---     clock:run(function()
---       while true do
---         buntime.sleep(60)
---         flush()
---       end
---     end)
---     clock:advance(120)   -- flush() ran twice
--- @param fn fun(...)
--- @param ... any
function Clock:run(fn, ...)
  local co = coroutine.create(fn)
  sleepers[co] = "waits"
  M.step(co, ...)
end

--- What the clock shows, in seconds since 1970.
--- @return number
function Clock:time()
  return self._started + self.now
end

--- How many timers and sleeps are still to come.
--- @return integer
function Clock:pending()
  local count = 0
  for _, t in ipairs(self._queue) do
    count = count + (t.stopped and 0 or 1)
  end
  return count
end

local function install(clock)
  rawset(timers, "after", function(seconds, fn)
    check("timer.after", seconds, fn)
    return clock:add(seconds, fn)
  end)
  rawset(timers, "every", function(seconds, fn)
    check("timer.every", seconds, fn)
    return clock:add(seconds, fn, seconds)
  end)
  rawset(buntime, "sleep", function(seconds)
    check("buntime.sleep", seconds)
    sleep(clock, seconds)
  end)
  rawset(cron, "schedule", require("buntime.testing_cron")(clock))
  local real_time = clock._saved.time
  rawset(os, "time", function(date)
    return date and real_time(date) or math.floor(clock:time())
  end)
  rawset(sys, "now", function()
    return clock:time()
  end)
  rawset(sys, "wall", function()
    return clock:time()
  end)
end

--- Gives real time back. What was still to come is dropped.
function Clock:restore()
  if current ~= self then
    return
  end
  current = nil
  self._queue = {}
  timers.after, timers.every, buntime.sleep = self._saved.after, self._saved.every, self._saved.sleep
  cron.schedule, sys.now, sys.wall = self._saved.schedule, self._saved.now, self._saved.wall
  rawset(os, "time", self._saved.time)
end

--- @param at? number
--- @return buntime.TestClock
function M.new(at)
  if current then
    error("testing.clock: there is a clock already (end the test that made it with clock:restore())", 3)
  end
  local saved = { after = timers.after, every = timers.every, sleep = buntime.sleep }
  saved.schedule, saved.now, saved.wall = cron.schedule, sys.now, sys.wall
  saved.time = os.time
  local started = at or sys.wall()
  current = setmetatable({ now = 0, _started = started, _queue = {}, _made = 0, _saved = saved }, Clock)
  install(current)
  return current
end

return M
