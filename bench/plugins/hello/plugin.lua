local Router = require("buntime.router")

return function()
  local routes = Router.new()
  routes:get("/api/greeting", function(c)
    return c:json({ message = "Hello from Buntime" })
  end)
  routes:post("/api/echo", function(c)
    return c:json(c.req:json())
  end)
  return { routes = routes }
end
