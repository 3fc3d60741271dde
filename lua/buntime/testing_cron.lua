--- Schedules by a fake clock, see buntime.testing_clock. A schedule without a time zone goes by UTC here, so
--- that a test has the same outcome everywhere, and jitter is none.

local cron = require("buntime.cron")

local NOTHING = {}

--- @param clock buntime.TestClock
--- @return fun(line: string, fn: fun(), options?: buntime.CronOptions): buntime.Job
return function(clock)
  return function(line, fn, options)
    cron._check("cron.schedule", line, fn, options)
    options = options or NOTHING
    local zone = options.timezone or "UTC"
    local first, problem = cron.next(line, clock:time(), zone)
    if not first then
      error("cron.schedule: " .. problem, 2)
    end
    local job = { name = options.name or line, next = first }
    local timer

    local function arm()
      timer = clock:add(job.next - clock:time(), function()
        job.next = cron.next(line, clock:time(), zone)
        arm()
        fn()
      end)
    end

    function job.stop()
      job.next = nil
      return timer:stop()
    end

    arm()
    return job
  end
end
