--- GET /greet/world → "Hello, world!"

local Response = require("buntime.response")

--- Whatever is kept between requests would be gone with the VM, and nobody else sees it.
local greeted = 0

return {
  fetch = function(req)
    if req.method ~= "GET" and req.method ~= "HEAD" then
      return Response.json({ message = "only GET" }, { status = 405, headers = { allow = "GET, HEAD" } })
    end
    local name = req.path:match("^/([%w_-]+)$") or "stranger"
    greeted = greeted + 1
    return Response.json({
      message = ("%s, %s!"):format(buntime.env.GREETING or "Good day", name),
      greeted = greeted,
    })
  end,
}
