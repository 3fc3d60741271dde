--- Functions that run at times of the day, by the clock of a place.
---
---     cron.schedule("30 3 * * mon-fri", tidy_up, { timezone = "Europe/Berlin" })
---     cron.schedule("@hourly", refresh, { name = "refresh", jitter = 60 })
---
--- Each run is a task of its own; an error in it is logged, and the next run comes. A run is left out while
--- the one before it goes on, unless `overlap` is true. A schedule ends with the plugin's instance; the one
--- that a reload puts in its place goes on with it, and no time is run twice or left out.

local core = require("buntime.core.cron")
local sys = require("buntime.core.sys")

--- @class buntime.cron
local M = {}

--- @class buntime.CronOptions
--- @field name? string What logs and the control plane call it; unless told, file and line.
--- @field timezone? string An IANA name such as "Europe/Berlin"; unless told, the machine's.
--- @field overlap? boolean Whether it runs although the run before has not ended.
--- @field jitter? number Up to so many seconds are added to each time, at random.

--- @class buntime.JobStatus
--- @field name string
--- @field line string
--- @field timezone? string
--- @field next number Seconds since 1970.
--- @field running boolean
--- @field runs integer Since the server started, those of instances before included.
--- @field failures integer
--- @field skipped integer Times that were left out because a run went on.
--- @field elsewhere integer Times that another replica ran.
--- @field last? number When the last run began, in seconds since 1970.
--- @field seconds? number How long it took.
--- @field error? string How it failed.

--- @class buntime.Job
--- @field name string
--- @field next? number When it runs next, in seconds since 1970; nil once it is stopped.
--- @field status? buntime.JobStatus
--- @field private _core buntime.CoreJob
local Job = {}

--- Stops the schedule; a run that has begun goes on.
--- @return boolean running Whether it was still to run.
function Job:stop()
  return core.stop(rawget(self, "_core"))
end

local job_meta = {
  __index = function(self, key)
    if Job[key] then
      return Job[key]
    end
    local status = core.status(rawget(self, "_core"))
    if key == "status" then
      return status
    end
    return (key == "next" or key == "name") and status and status[key] or nil
  end,
  __newindex = function(_, key)
    error(("a job has no field %q to assign"):format(tostring(key)), 2)
  end,
}

local OPTIONS = { name = "string", timezone = "string", overlap = "boolean", jitter = "number" }

local function check(name, line, fn, options)
  if type(line) ~= "string" then
    error(("%s: argument 1 (line) must be a string, got %s"):format(name, type(line)), 3)
  elseif type(fn) ~= "function" then
    error(("%s: argument 2 must be a function, got %s"):format(name, type(fn)), 3)
  elseif options ~= nil and type(options) ~= "table" then
    error(("%s: argument 3 (options) must be a table, got %s"):format(name, type(options)), 3)
  end
  for key, value in pairs(options or {}) do
    if not OPTIONS[key] then
      local problem = "%s: the option %q is not known (known: name, timezone, overlap, jitter)"
      error(problem:format(name, tostring(key)), 3)
    elseif type(value) ~= OPTIONS[key] then
      error(("%s: %s must be a %s, got %s"):format(name, key, OPTIONS[key], type(value)), 3)
    end
  end
  local jitter = options and options.jitter or 0
  if jitter < 0 or jitter > 86400 or jitter ~= jitter then
    error(("%s: jitter must be 0 to 86400 seconds, got %s"):format(name, tostring(jitter)), 3)
  end
end

--- Runs `fn` at the times of a line: minute, hour, day of the month, month, day of the week; or `@hourly`
--- `@daily` `@weekly` `@monthly` `@yearly`. docs/reference/cron.md has the rules. A wrong line or time zone
--- raises.
--- @param line string
--- @param fn fun()
--- @param options? buntime.CronOptions
--- @return buntime.Job
function M.schedule(line, fn, options)
  check("cron.schedule", line, fn, options)
  options = options or {}
  local job, problem =
    core.schedule(line, fn, options.name, options.timezone, options.overlap == true, options.jitter or 0)
  if not job then
    error("cron.schedule: " .. problem, 2)
  end
  return setmetatable({ _core = job }, job_meta)
end

--- The first time of a line after a moment.
---
---     cron.next("0 0 1 1 *", 1767225600)   --> 1798761600, if the machine's time zone is UTC
--- @param line string
--- @param after? number Seconds since 1970; now unless told.
--- @param timezone? string
--- @return number? at nil when line or time zone are wrong.
--- @return string? message
--- @return string? code "INVALID_CRON"
function M.next(line, after, timezone)
  if type(line) ~= "string" then
    error(("cron.next: argument 1 (line) must be a string, got %s"):format(type(line)), 2)
  end
  local at, problem = core.next(line, timezone, after or sys.wall())
  if not at then
    return nil, problem, "INVALID_CRON"
  end
  return at
end

--- For buntime.testing_clock: what `schedule` refuses.
M._check = check

return M
