local Router = require("buntime.router")
local fetch = require("buntime.fetch")
local task = require("buntime.task")
local timer = require("buntime.timer")

return function()
  local routes = Router.new()

  --- As wrk does: so many at once ask for so many seconds.
  routes:get("/load", function(c)
    local url, count, over = c.req:query("url"), 0, false
    local tasks = {}
    timer.after(tonumber(c.req:query("seconds")), function()
      over = true
    end)
    for i = 1, tonumber(c.req:query("connections")) do
      tasks[i] = task.spawn(function()
        while not over do
          assert(fetch(url))
          count = count + 1
        end
      end)
    end
    task.gather(unpack(tasks))
    return c:json({ count = count })
  end)
  return { routes = routes }
end
