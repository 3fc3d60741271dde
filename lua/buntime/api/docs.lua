--- /api/openapi.json and /api/docs: the server described, for programs and for people.
---
--- The page is one file without anything from elsewhere, so that it works with no network; its script and
--- its style are allowed by their digests and nothing else is.

local Router = require("buntime.router")
local control = require("buntime.core.control")
local crypto = require("buntime.crypto")
local openapi = require("buntime.api.openapi")
local page = require("buntime.api.docs_page")

local routes = Router.new()

local function source(text)
  local digest = crypto.sha256(text):gsub("%x%x", function(hex)
    return string.char(tonumber(hex, 16))
  end)
  return ("'sha256-%s'"):format(crypto.base64(digest))
end

local POLICY = table.concat({
  "default-src 'none'",
  "connect-src 'self'",
  "script-src " .. source(page.SCRIPT),
  "style-src " .. source(page.STYLE),
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
}, "; ")

routes:get("/openapi.json", function(c)
  return c:json(openapi.document(control.status(), control.routes()))
end)

routes:get("/docs", function(c)
  return c:html(page.HTML, 200, {
    ["content-security-policy"] = POLICY,
    ["x-content-type-options"] = "nosniff",
    ["referrer-policy"] = "no-referrer",
  })
end)

return routes
