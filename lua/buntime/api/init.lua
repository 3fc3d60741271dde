--- The control plane: discovery, health, the plugins, keys and sessions.
---
--- Runs in a VM of its own, on the router that plugins use. Paths come without RUNTIME_API_PREFIX.

local Router = require("buntime.router")
local control = require("buntime.core.control")
local docs = require("buntime.api.docs")
local health = require("buntime.api.health")
local keys = require("buntime.api.keys")
local metrics = require("buntime.api.metrics")
local plugins = require("buntime.api.plugins")
local replicas = require("buntime.api.replicas")
local response = require("buntime.response")
local session = require("buntime.api.session")
local workers = require("buntime.api.workers")

local api = Router.new()

--- What it tells is of this moment, and for whoever asked.
api:use(function(c, next)
  c:header("cache-control", "no-store")
  return next()
end)

api:get("/.well-known/buntime", function(c)
  local status = control.status()
  return c:json({ api = status.api, version = status.version })
end)

api:route("/api", docs)
api:route("/api/health", health)
api:route("/api/metrics", metrics)
api:route("/api/plugins", plugins)
api:route("/api/keys", keys)
api:route("/api/admin/session", session)
api:route("/api/workers", workers)
api:route("/api/replicas", replicas.routes)

api:not_found(function(c)
  return response.error(404, "NOT_FOUND", "The control plane has no such path", c.req.id)
end)

return api
