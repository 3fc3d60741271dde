--- /api/admin/session: logging in with a key for a cookie, so that a page need not keep the key.

local Router = require("buntime.router")
local access = require("buntime.api.access")
local auth = require("buntime.core.auth")
local awaitable = require("buntime.wait")
local core = require("buntime.core.keys")
local json = require("buntime.json")
local timestamp = require("buntime.api.timestamp")

local fail = access.fail
local do_begin, do_logout = awaitable(core.begin), awaitable(core.logout)

local routes = Router.new()

--- Behind a proxy that ends TLS it is the proxy that knows.
local function is_https(c)
  local forwarded = c.req:header("x-forwarded-proto") or ""
  return c.req.scheme == "https" or forwarded:lower():match("^%s*(%a+)") == "https"
end

local function set_cookie(c, token)
  c:cookie(core.cookie, token, {
    path = "/", -- plugins' admin pages are anywhere
    max_age = token and core.session_seconds or nil,
    http_only = true,
    same_site = "Strict",
    secure = is_https(c),
  })
end

--- When a session that begins now ends, unless it is used until then: with its key at the latest.
local function end_of(caller)
  local ends = (os.time() + core.idle_seconds) * 1000
  return caller.expires > 0 and math.min(caller.expires, ends) or ends
end

--- @param expires? number When it ends, unless that is what the caller has.
local function describe(caller, expires)
  expires = expires or caller.expires
  if caller.principal == "anonymous" then
    return { authenticated = false, principal = json.null }
  end
  return {
    authenticated = true,
    principal = caller.principal,
    name = caller.name,
    role = caller.role,
    permissions = caller.permissions,
    namespaces = caller.namespaces,
    expiresAt = expires and expires > 0 and timestamp(expires / 1000) or json.null,
  }
end

routes:get("/", function(c)
  local ok, status, code, message, _, retry_after = auth.check(c.req)
  if not ok then
    return access.refusal(c, status, code, message, retry_after)
  end
  return c:json(describe(status))
end)

local function read_key(c)
  local ok, body = pcall(c.req.json, c.req)
  local key = ok and type(body) == "table" and body.key
  return type(key) == "string" and key ~= "" and key or nil
end

routes:post("/", access.change(nil, "session.login"), function(c)
  local key = read_key(c)
  c.var.principal = "anonymous"
  if not key then
    return fail(c, 400, "INVALID_BODY", 'the body must be {"key":"…"}')
  end
  local ok, caller, code, message, _, retry_after = core.login(c.req, key)
  if not ok then
    local status = caller
    c.var.refused, c.var.code = true, code
    return access.refusal(c, status, code, message, retry_after)
  end
  c.var.principal = caller.principal
  local token
  token, message, code = do_begin(caller.id)
  if not token then
    return fail(c, code == "AUTH_REQUIRED" and 401 or 500, code, message)
  end
  set_cookie(c, token)
  return c:json(describe(caller, end_of(caller)))
end)

routes:delete("/", access.change(nil, "session.logout"), function(c)
  local done, message, code = do_logout(c.req)
  set_cookie(c, nil)
  if done == nil then
    return fail(c, 500, code, "the session is over, but not for good: " .. message)
  end
  return c:json(describe({ principal = "anonymous" }))
end)

return routes
