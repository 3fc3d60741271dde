--- @meta buntime.core.cron
--- Implemented in runtime/bind/bind_cron.c; buntime.cron makes jobs of these.

local cron = {}

--- @class buntime.CoreJob

--- @param line string
--- @param fn fun()
--- @param name? string
--- @param timezone? string
--- @param overlap boolean
--- @param jitter number Seconds.
--- @return buntime.CoreJob? job
--- @return string? message
function cron.schedule(line, fn, name, timezone, overlap, jitter) end

--- @param line string
--- @param timezone? string
--- @param after number
--- @return number? at
--- @return string? message
function cron.next(line, timezone, after) end

--- @param job buntime.CoreJob
--- @return boolean running Whether it was still to run.
function cron.stop(job) end

--- @param job buntime.CoreJob
--- @return buntime.JobStatus? status nil once it is stopped.
function cron.status(job) end

return cron
