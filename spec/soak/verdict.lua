--- Which failures are excused. Pure.
---
--- A window is a time in which something was away. Requests may fail in it, and in no other way than this:
---
---   server    the server process was killed: no answer, or part of one; asked again, it is right
---   worker    a worker process was killed: a POST to an app may be answered 502 WORKER_CRASHED
---   postgres  503 of the plugin that uses it, which says so; redis the same

local M = {}

--- Seconds that a window is longer: clocks of two processes, answers on their way, and at its end what a
--- client library takes until it has connected again.
local BEFORE = 0.1
local AFTER = { server = 1, worker = 1, postgres = 2, redis = 4 }

--- @class soak.Window
--- @field what "server"|"worker"|"postgres"|"redis"
--- @field from number
--- @field to number

--- @class soak.Failure
--- @field kind string
--- @field began number
--- @field ended number
--- @field what string
--- @field unanswered? boolean
--- @field again? string what was wrong with the second try

local function is_in(windows, what, began, ended)
  for _, window in ipairs(windows) do
    if window.what == what and began <= window.to + AFTER[what] and ended >= window.from - BEFORE then
      return true
    end
  end
  return false
end

local RULES = {
  postgres = function(failure)
    return failure.what:find("^503 away: ") and "postgres"
  end,
  redis = function(failure)
    return failure.what:find("^503 away: ") and "redis"
  end,
  kept_post = function(failure)
    return failure.what:find("^502 .*WORKER_CRASHED") and "worker"
  end,
}

--- @param failure soak.Failure
--- @param windows soak.Window[]
--- @return string? excuse the window
function M.excuse(failure, windows)
  if not failure.unanswered then
    local rule = RULES[failure.kind]
    local what = rule and rule(failure)
    return what and is_in(windows, what, failure.began, failure.ended) and what or nil
  elseif not is_in(windows, "server", failure.began, failure.ended) then
    return nil
  elseif not failure.again then
    return "server"
  end
  --- The second try may have met something else that was away.
  local second = { kind = failure.kind, what = failure.again }
  second.began, second.ended = failure.ended, failure.again_ended
  return M.excuse(second, windows) and "server" or nil
end

return M
