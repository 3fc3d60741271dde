--- Headers that make browsers careful.
---
---     routes:use(secure_headers())
---     routes:use(secure_headers({ ["content-security-policy"] = "default-src 'self'" }))

local core = require("buntime.core.request")

local DEFAULTS = {
  ["x-content-type-options"] = "nosniff",
  ["x-frame-options"] = "SAMEORIGIN",
  ["referrer-policy"] = "no-referrer",
  ["cross-origin-opener-policy"] = "same-origin",
  ["cross-origin-resource-policy"] = "same-origin",
  ["strict-transport-security"] = "max-age=15552000; includeSubDomains",
}

--- @param overrides? table<string, string|false> By header name; false leaves one out.
--- @return buntime.Middleware
local function secure_headers(overrides)
  local headers = {}
  for name, value in pairs(DEFAULTS) do
    headers[name] = value
  end
  for name, value in pairs(overrides or {}) do
    local key, text = core.check_header(name, value or "")
    if not key then
      error("secure_headers: " .. text, 2)
    end
    headers[key] = value and text or nil
  end

  return function(c, next)
    for name, value in pairs(headers) do
      -- Over plain HTTP browsers ignore this one, and it would be wrong behind a development server.
      if name ~= "strict-transport-security" or c.req.scheme == "https" then
        c:header(name, value)
      end
    end
    next()
  end
end

return secure_headers
