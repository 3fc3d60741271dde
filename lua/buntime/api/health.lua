--- How the server is, for load balancers and people. Open to everybody.
---
---   /       the whole: 503 when not ready; "degraded" when a plugin that is not critical is unwell
---   /live   the loop turns, or there would be no answer
---   /ready  whether requests should be sent here

local Router = require("buntime.router")
local control = require("buntime.core.control")
local json = require("buntime.json")

local routes = Router.new()

--- States of a plugin that somebody should look at.
local UNWELL = { "kept_old", "failed", "skipped", "quarantined" }

local function reasons(status)
  local list = json.array()
  if status.generation == 0 then
    list[#list + 1] = "the plugins are still loading"
  end
  for _, name in ipairs(status.missing) do
    list[#list + 1] = ("the critical plugin %s is not loaded"):format(name)
  end
  for _, part in ipairs(status.unmet) do
    list[#list + 1] = ("RUNTIME_SANDBOX=require: this kernel has no sandbox for %s"):format(part)
  end
  if status.keysUnread then
    list[#list + 1] = "the keys cannot be read from DATABASE_URL yet; only the root key is good"
  end
  if status.stopping then
    list[#list + 1] = "the server is shutting down"
  end
  return list
end

--- What is wrong, but no reason to send requests elsewhere: it would be the same there.
local function add_cares(status, list)
  if status.redisAway then
    list[#list + 1] = "Redis (REDIS_URL) does not answer; what the replicas share by it fails"
  end
end

local function word(status, list)
  if status.stopping then
    return "stopping"
  elseif status.generation == 0 then
    return "starting"
  elseif #list > 0 then
    return "unavailable"
  end
  if status.redisAway then
    return "degraded"
  end
  for _, state in ipairs(UNWELL) do
    if status.plugins[state] then
      return "degraded"
    end
  end
  return "ok"
end

--- @return table answer, integer http
local function describe(status)
  local list = reasons(status)
  local ok = #list == 0
  local answer = {
    ok = ok,
    status = word(status, list),
    version = status.version,
    uptime = status.uptime,
    generation = status.generation,
    reasons = list,
  }
  add_cares(status, list)
  return answer, ok and 200 or 503
end

routes:get("/", function(c)
  local status = control.status()
  local answer, http = describe(status)
  answer.plugins = status.plugins
  return c:json(answer, http)
end)

routes:get("/live", function(c)
  local status = control.status()
  return c:json({ ok = true, status = "ok", version = status.version, uptime = status.uptime })
end)

routes:get("/ready", function(c)
  return c:json(describe(control.status()))
end)

return routes
