local Router = require("buntime.router")
local cache = require("buntime.cache")
local fake = require("fake")
local upstream = require("upstream")

--- What our client is told when the service cannot be asked.
local STATUS = { UNKNOWN_CITY = 404, TIMEOUT = 504 }

return function(config)
  local reports = cache.new({ max = 1000, ttl = config.keep or 60 })
  local service = config.upstream
  local routes = Router.new()

  routes:get("/fake", fake.handler)

  routes:get("/:city", function(c)
    local city = c.req:param("city"):lower()
    local cached = "hit"
    -- However many ask for a city at once, the service is asked once. A failure is not kept.
    local report, message, code = reports:fetch(city, function()
      cached = "miss"
      return upstream.ask(service, city, config.timeout or 5)
    end)
    if not report then
      return c:json({ code = code, message = message }, STATUS[code] or 502)
    end
    return c:json(report, 200, { ["x-cache"] = cached })
  end)

  return {
    routes = routes,
    onServerStart = function(server)
      service = service or ("http://127.0.0.1:%d%s/fake"):format(server.port, config.base)
    end,
  }
end
