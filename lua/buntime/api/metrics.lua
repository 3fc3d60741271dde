--- /api/metrics: the counters, in Prometheus' text format.

local Router = require("buntime.router")
local access = require("buntime.api.access")
local core = require("buntime.core.metrics")

local routes = Router.new()

routes:get("/", access.read("metrics:read"), function(c)
  return c:body(core.page(), 200, { ["content-type"] = "text/plain; version=0.0.4; charset=utf-8" })
end)

return routes
