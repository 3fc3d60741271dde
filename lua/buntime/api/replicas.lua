--- /api/replicas: the servers of this deployment; and reloads that all of them do.
---
--- The control plane reloads here first, and then announces it: what is refused here is not announced.
--- That goes on when the caller goes away, for else the replicas would differ.

local Router = require("buntime.router")
local access = require("buntime.api.access")
local awaitable = require("buntime.wait")
local control = require("buntime.core.control")
local core = require("buntime.core.replicas")
local json = require("buntime.json")
local task = require("buntime.task")
local timestamp = require("buntime.api.timestamp")

local ask, reload_here = awaitable(core.ask), awaitable(control.reload)

local M = {}

--- The others may take this long, and twice as long as it took here.
local WAIT_MS = 10000
--- While they cannot be heard.
local DEAF_MS = 1000

--- What is announced of a reload.
--- @param options buntime.ControlReload
local function question(options)
  local flags = (options.changed and "c" or "") .. (options.strict and "s" or "") .. "-"
  return ("reload %s %s"):format(flags, options.only or "")
end

--- Whether it is a list of what announce.c writes. Anybody on the channel may say anything.
local function is_errors(list)
  if type(list) ~= "table" then
    return false
  end
  for _, one in ipairs(list) do
    local named = type(one) == "table" and (one.name == nil or type(one.name) == "string")
    if not named or type(one.code) ~= "string" or type(one.message) ~= "string" then
      return false
    end
  end
  return true
end

local function number(value)
  return type(value) == "number" and value ~= 0 and value or nil
end

--- The message ends where the answer of the other one did.
local function read_answer(item)
  if not item.answer then
    local message = "it has not answered in time, or is gone"
    return { ok = false, errors = { { code = "NO_ANSWER", message = message } } }
  end
  local ok, answer = pcall(json.decode, item.answer)
  if not ok or type(answer) ~= "table" or not is_errors(answer.errors) then
    return { ok = false, errors = { { code = "BAD_ANSWER", message = "its answer cannot be read" } } }
  end
  return answer
end

--- @param own table The reload object of this replica.
local function tell_own(own)
  local id
  for _, one in ipairs((core.list())) do
    id = one.self and one.id or id
  end
  local errors = json.array({})
  for _, list in ipairs({ own.plugins, own.apps }) do
    for _, item in ipairs(list) do
      if type(item.error) == "table" then
        errors[#errors + 1] = { name = item.name, code = item.error.code, message = item.error.message }
      end
    end
  end
  return { id = id, ok = own.ok, self = true, generation = own.generation, errors = errors }
end

local function tell_other(item)
  local answer = read_answer(item)
  return {
    id = item.id,
    ok = answer.ok == true,
    self = false,
    generation = number(answer.generation),
    errors = json.array(answer.errors),
    more = number(answer.more),
  }
end

local function can_be_heard()
  local _, hears = core.list()
  return hears
end

--- Tells the others, and adds to the answer how it went there.
local function announce(answer, outcome, options)
  local list = json.array({ tell_own(answer) })
  local all_ok = true
  local wait = can_be_heard() and WAIT_MS + 2 * answer.durationMs or DEAF_MS
  for _, item in ipairs(ask(question(options), wait)) do
    local told = tell_other(item)
    list[#list + 1] = told
    all_ok = all_ok and told.ok
  end
  answer.replicas = list
  local hears = can_be_heard()
  if not hears then
    local message = "the database between the replicas cannot be reached, so others may not know of this"
    answer.replicasError = { code = "REPLICAS_UNREACHABLE", message = message }
  end
  if not all_ok or not hears then
    answer.ok = false
    outcome = outcome == "ok" and "partial" or outcome
  end
  return answer, outcome
end

--- Reloads here and on all replicas. Waits.
--- @param options buntime.ControlReload
--- @param reload? fun(): table, string Does just that here; `control.reload` unless told.
--- @return table answer The reload object; with `replicas` when there may be others.
--- @return "ok"|"partial"|"rejected"|"unknown" outcome
function M.reload(options, reload)
  reload = reload or reload_here
  if core.alone() or options.dry_run then
    return reload(options)
  end
  local function everywhere()
    local answer, outcome = reload(options)
    if outcome == "rejected" or outcome == "unknown" then
      return answer, outcome
    end
    return announce(answer, outcome, options)
  end
  return task.spawn(everywhere):wait()
end

local routes = Router.new()

routes:get("/", access.read("plugins:read"), function(c)
  local list = core.list()
  for _, one in ipairs(list) do
    one.since = timestamp(one.since)
  end
  return c:json(list)
end)

M.routes = routes

return M
