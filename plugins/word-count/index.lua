--- POST /word-count/api/count with a text as the body → lines, words, bytes and the words used most.

local Router = require("buntime.router")
local count = require("count")

local routes = Router.new()

routes:post("/api/count", function(c)
  local top = tonumber(c.req:query("top") or "10")
  if not top or top < 0 or top > 100 or top % 1 ~= 0 then
    return c:json({ message = "top must be a whole number from 0 to 100" }, 400)
  end
  return c:json(count(c.req:text(), top))
end)

return routes
