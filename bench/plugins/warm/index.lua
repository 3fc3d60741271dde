local Router = require("buntime.router")
local routes = Router.new()

routes:get("/api/greeting", function(c)
  return c:json({ message = "Hello from Buntime" })
end)

return routes
