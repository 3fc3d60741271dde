--- A chat room over WebSockets.

local Router = require("buntime.router")
local json = require("buntime.json")

local ROOM, LONGEST = "chat-websocket:room", 2000

local PAGE = [[
<!doctype html>
<meta charset="utf-8">
<title>Chat</title>
<h1>Chat</h1>
<ul id="messages"></ul>
<form><input name="text" autocomplete="off" autofocus><button>Send</button></form>
<script>
  const name = prompt("Your name?") || "somebody";
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const address = `${scheme}//${location.host}/chat/socket?name=${encodeURIComponent(name)}`;
  const form = document.querySelector("form");
  let socket;

  function connect() {
    socket = new WebSocket(address);
    socket.onmessage = (event) => {
      const { from, text } = JSON.parse(event.data);
      const item = document.createElement("li");
      item.textContent = from + ": " + text;
      document.getElementById("messages").append(item);
    };
    socket.onclose = () => setTimeout(connect, 1000);
  }

  form.onsubmit = (event) => {
    event.preventDefault();
    socket.send(form.text.value);
    form.reset();
  };
  connect();
</script>
]]

--- Pages of other sites may not speak for whoever looks at them.
local function is_foreign(req)
  local origin = req:header("origin")
  return origin and origin:match("^https?://(.+)$") ~= req.authority
end

return function()
  local routes = Router.new()

  local function tell(ws, from, text)
    local line = json.encode({ from = from, text = text })
    ws:send(line)
    ws:publish(ROOM, line)
  end

  routes:get("/", function(c)
    return c:html(PAGE)
  end)

  routes:ws("/socket", {
    open = function(ws, c)
      if is_foreign(c.req) then
        return ws:close(4003, "from another site")
      end
      ws.data = { name = (c.req:query("name") or "somebody"):sub(1, 40) }
      ws:subscribe(ROOM)
      tell(ws, ws.data.name, "is here")
    end,
    message = function(ws, data, binary)
      if not binary and #data > 0 and #data <= LONGEST then
        tell(ws, ws.data.name, data)
      end
    end,
    drain = function(ws)
      ws:close(1012, "the chat was updated")
    end,
  }, { max_message = "16kb" })

  return { routes = routes }
end
