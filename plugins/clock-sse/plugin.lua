--- A clock over server-sent events: one timer, any number of pages that look at it.

local Router = require("buntime.router")
local timer = require("buntime.timer")

local PAGE = [[
<!doctype html>
<meta charset="utf-8">
<title>Clock</title>
<h1 id="time">…</h1>
<p><span id="watching">0</span> watching</p>
<script>
  const source = new EventSource("clock/events");
  source.addEventListener("tick", (event) => {
    const tick = JSON.parse(event.data);
    document.getElementById("time").textContent = tick.time;
    document.getElementById("watching").textContent = tick.watching;
  });
</script>
]]

return function(config)
  local period = config.period or 1
  local clients, watching, ticks = {}, 0, 0

  local function tick()
    ticks = ticks + 1
    local event = {
      event = "tick",
      id = ticks,
      data = { time = os.date("!%H:%M:%S"), watching = watching },
    }
    for client in pairs(clients) do
      client:send(event)
    end
  end

  local routes = Router.new()

  routes:get("/", function(c)
    return c:html(PAGE)
  end)

  routes:get("/events", function(c)
    return c:sse(function(s)
      s:send({ event = "hello", data = s.last_event_id or "new", retry = 2000 })
      clients[s] = true
      watching = watching + 1
      -- Waits until the client goes, which raises here.
      pcall(buntime.sleep, 365 * 24 * 3600)
      clients[s] = nil
      watching = watching - 1
    end)
  end)

  return {
    routes = routes,
    onInit = function()
      timer.every(period, tick)
    end,
  }
end
