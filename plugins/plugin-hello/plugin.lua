local Router = require("buntime.router")

return function()
  local routes = Router.new()

  routes:get("/api/greeting", function(c)
    return c:json({ message = "Hello from Buntime" })
  end)

  return {
    routes = routes,
    onInit = function(ctx)
      ctx.logger.info("hello plugin initialized")
    end,
  }
end
