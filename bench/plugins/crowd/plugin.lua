--- Many who only listen, and many who are echoed.

local Router = require("buntime.router")

return function()
  local clients = {}
  local routes = Router.new()

  routes:get("/events", function(c)
    return c:sse(function(s)
      clients[s] = true
      s:send("hello")
      pcall(buntime.sleep, 3600)
      clients[s] = nil
    end)
  end)

  routes:get("/broadcast", function(c)
    for client in pairs(clients) do
      client:send("everybody")
    end
    return c:text("sent")
  end)

  routes:ws("/socket", {
    message = function(ws, data, binary)
      ws:send(data, binary)
    end,
  })

  return { routes = routes }
end
