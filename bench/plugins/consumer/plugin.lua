local Router = require("buntime.router")

return function()
  local routes = Router.new()
  local values = { key = "a value of some length" }
  local service

  routes:get("/local", function(c)
    return c:text(values.key)
  end)
  routes:get("/service", function(c)
    return c:text(service.get("key"))
  end)
  return {
    routes = routes,
    onInit = function(ctx)
      service = ctx.getPlugin("@bench/provider")
    end,
  }
end
