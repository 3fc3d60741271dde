-- Keys, roles, namespaces and sessions of the control plane, against the real server.

local lfs = require("lfs")
local cjson = require("cjson.safe")
local fixtures = require("spec.support.fixtures")
local process = require("spec.support.process")
local server = require("spec.support.server")

local ROOT = "root-key-of-the-specs"

local PLUGINS = {
  shop = fixtures.plugin('name: "@acme/shop"\nbase: /shop\n', fixtures.answers("1")),
  other = fixtures.plugin('name: "@other/thing"\nbase: /other\n', fixtures.answers("1")),
  plain = fixtures.hello("plain", "1"),
  admin = fixtures.plugin(
    "name: admin\nbase: /admin\n",
    [[
local routes = require("buntime.router").new()
return {
  onInit = function(ctx)
    routes:use(ctx.auth.require("plugins:read"))
    local mine = require("buntime.router").new()
    mine:use(ctx.auth.require("admin:own"))
    mine:get("/", function() return "own" end)
    routes:get("/", function(c) return c.var.principal end)
    routes:post("/", function(c) return c.var.principal end)
    routes:get("/cookie", function(c) return c.req:header("cookie") or "none" end)
    routes:route("/own", mine)
  end,
  routes = routes,
}
]]
  ),
}

local function start(env, more)
  local options = { env = env or {}, plugins = PLUGINS }
  for key, value in pairs(more or {}) do
    options[key] = value
  end
  return server.start(options)
end

local function with(key, more)
  local headers = { ["X-API-Key"] = key }
  for name, value in pairs(more or {}) do
    headers[name] = value
  end
  return { headers = headers }
end

local function send(s, method, path, key, body, more)
  local options = with(key, more)
  if body ~= nil then
    options.body = type(body) == "string" and body or cjson.encode(body)
    options.headers["Content-Type"] = "application/json"
  end
  return s:request(method, path, options)
end

local function check_error(res, status, code)
  local body = res:json()
  assert.same({ status, false, code }, { res.status, body and body.success, body and body.code })
  assert.is_string(body.message)
  assert.is_string(body.requestId)
  return body
end

--- The fields of a case that have names.
local function named(case)
  local out = {}
  for key, value in pairs(case) do
    if type(key) == "string" then
      out[key] = value
    end
  end
  return out
end

--- @return table data id, key, keyPrefix, …
local function create(s, maker, fields)
  fields.name = fields.name or "a key"
  local res = send(s, "POST", "/api/keys", maker, fields)
  assert.equal(201, res.status, res.body)
  local body = res:json()
  assert.is_true(body.success)
  return body.data
end

local function keys_of(s, key)
  local res = send(s, "GET", "/api/keys", key)
  assert.equal(200, res.status, res.body)
  return res:json()
end

local function login(s, key, more)
  local res = send(s, "POST", "/api/admin/session", nil, { key = key }, more)
  assert.equal(200, res.status, res.body)
  local cookie = res.headers["set-cookie"]
  return cookie:match("^([^;]+)"), cookie, res:json()
end

local function by_cookie(cookie, more)
  local headers = { Cookie = cookie }
  for name, value in pairs(more or {}) do
    headers[name] = value
  end
  return { headers = headers }
end

local function records(s)
  local list = {}
  for _, line in ipairs(s:log_lines()) do
    if line.audit then
      list[#list + 1] = line
    end
  end
  return list
end

--- Kills the server process; the supervisor starts another.
local function crash(s)
  local starts = s:starts()
  s:allow_errors("the server process died of signal 9")
  assert(process.run({ args = { "kill", "-KILL", tostring(s:pid()) } }, 10))
  assert.truthy(process.eventually(function()
    return s:starts() > starts
  end, 30))
end

--- Another server in the folder of one that was stopped.
local function restart(s, env)
  local files = {}
  for _, name in ipairs({ "keys.db", "keys.db-wal", "keys.db-shm" }) do
    local text = process.read(s.dir .. "/.buntime/" .. name)
    files[".buntime/" .. name] = text
  end
  s:stop()
  return start(env, { files = files })
end

after_each(server.stop_all)

describe("the first key", function()
  it("closes the door behind it, for ever", function()
    local s = start()
    assert.equal(200, s:get("/api/plugins").status)
    assert.same({}, keys_of(s))
    assert.is_nil(lfs.attributes(s.dir .. "/.buntime/keys.db"))
    local body = { name = "x", role = "admin" }
    local proxied = send(s, "POST", "/api/keys", nil, body, { ["X-Real-IP"] = "1.2.3.4" })
    check_error(proxied, 401, "AUTH_REQUIRED")

    local admin = create(s, nil, { role = "admin" })
    assert.truthy(admin.key:find("^btk_[%w_-]+$"))
    assert.equal(47, #admin.key)
    assert.equal(admin.key:sub(1, #admin.keyPrefix), admin.keyPrefix)
    assert.truthy(#admin.keyPrefix <= 12)
    for _, path in ipairs({ "/api/plugins", "/api/keys", "/api/keys/meta", "/api/plugins/plain" }) do
      check_error(s:get(path), 401, "AUTH_REQUIRED")
      assert.equal(200, send(s, "GET", path, admin.key).status, path)
    end
    check_error(s:post("/api/plugins/reload"), 401, "AUTH_REQUIRED")
    check_error(send(s, "POST", "/api/keys", nil, body), 401, "AUTH_REQUIRED")
    for _, path in ipairs({ "/api/health", "/api/health/ready", "/.well-known/buntime", "/plain" }) do
      assert.equal(200, s:get(path).status, path)
    end

    crash(s)
    check_error(s:get("/api/plugins"), 401, "AUTH_REQUIRED")
    assert.equal(200, send(s, "GET", "/api/plugins", admin.key).status)

    local second = create(s, admin.key, { role = "admin" })
    assert.equal(200, send(s, "DELETE", "/api/keys/" .. admin.id, second.key).status)
    check_error(send(s, "DELETE", "/api/keys/" .. second.id, second.key), 409, "SELF_REVOKE")
    s = restart(s, { RUNTIME_ROOT_KEY = ROOT })
    assert.equal(200, send(s, "DELETE", "/api/keys/" .. second.id, ROOT).status)
    assert.same({}, keys_of(s, ROOT))
    s = restart(s) -- no key is left, nor a root key
    for _, key in ipairs({ false, admin.key, second.key, ROOT }) do
      check_error(send(s, "GET", "/api/plugins", key or nil), 401, "AUTH_REQUIRED")
    end
    assert.equal(200, s:get("/plain").status)
    s:stop()
  end)

  it("is kept where only the owner can read it, as a digest", function()
    local s = start()
    local admin = create(s, nil, { role = "admin", name = "the one" })
    local function mode(path)
      return lfs.attributes(s.dir .. "/" .. path).permissions
    end
    assert.equal("rwx------", mode(".buntime"))
    assert.equal("rw-------", mode(".buntime/keys.db"))
    for name in lfs.dir(s.dir .. "/.buntime") do
      if name:find("^keys") then
        assert.equal("rw-------", mode(".buntime/" .. name), name)
        local text = process.read(s.dir .. "/.buntime/" .. name)
        assert.is_nil(text:find(admin.key, 1, true), name)
        assert.is_nil(text:find(admin.key:sub(13), 1, true), name)
      end
    end
    assert.is_nil(s:log():find(admin.key, 1, true))
    s:stop()
  end)

  it("is shown once, and never again", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local res = send(s, "POST", "/api/keys", ROOT, { name = "ci", role = "editor", expiresIn = "1d" })
    assert.equal("no-store", res.headers["cache-control"])
    local made = res:json().data
    assert.same({ "ci", "editor" }, { made.name, made.role })
    local list = send(s, "GET", "/api/keys", made.key)
    check_error(list, 403, "PERMISSION_DENIED")
    list = send(s, "GET", "/api/keys", ROOT)
    assert.is_nil(list.body:find(made.key, 1, true))
    local key = list:json()[1]
    assert.same(
      { made.id, "ci", made.keyPrefix, "editor", "root", { "*" } },
      { key.id, key.name, key.keyPrefix, key.role, key.createdBy, key.namespaces }
    )
    assert.equal(8, #key.permissions)
    assert.truthy(key.createdAt:find("^%d+%-%d+%-%d+T[%d:.]+Z$"))
    assert.truthy(key.expiresAt > key.createdAt)
    assert.truthy(key.lastUsedAt >= key.createdAt) -- its own try to list
    s:stop()
  end)
end)

describe("a damaged store", function()
  it("ends the start, and opens no door", function()
    local code, _, err = server.run({ "serve" }, {
      plugins = PLUGINS,
      files = { [".buntime/keys.db"] = ("not a database, at all. "):rep(100) },
    })
    assert.not_equal(0, code)
    assert.truthy(err:find("keys.db", 1, true), err)
    assert.is_nil(err:find("listening", 1, true))
  end)
end)

-- Roles -------------------------------------------------------------------------------------------

describe("each role", function()
  --- Method, path, permission; what it is answered with when it may.
  local ROUTES = {
    { "GET", "/api/plugins", "plugins:read", 200 },
    { "GET", "/api/plugins/loaded", "plugins:read", 200 },
    { "GET", "/api/plugins/plain", "plugins:read", 200 },
    { "GET", "/api/plugins/plain/config", "plugins:read", 200 },
    { "GET", "/api/plugins/plain/errors", "plugins:read", 200 },
    { "POST", "/api/plugins/reload", "plugins:install", 200 },
    { "POST", "/api/plugins/plain/reload", "plugins:install", 200 },
    { "POST", "/api/plugins/plain/disable", "plugins:config", 200 },
    { "POST", "/api/plugins/plain/enable", "plugins:config", 200 },
    { "GET", "/api/keys", "keys:read", 200 },
    { "GET", "/api/keys/meta", "keys:read", 200 },
    { "POST", "/api/keys", "keys:create", 400 },
    { "DELETE", "/api/keys/none", "keys:revoke", 404 },
    { "GET", "/api/workers", "workers:read", 200 },
    { "GET", "/api/workers/_/none", "workers:read", 404 },
    { "POST", "/api/workers/_/none/1.0.0/enable", "workers:restart", 404 },
    { "POST", "/api/workers/_/none/1.0.0/disable", "workers:restart", 404 },
    { "DELETE", "/api/workers/_/none", "workers:remove", 404 },
    { "DELETE", "/api/workers/_/none/1.0.0", "workers:remove", 404 },
    { "GET", "/api/metrics", "metrics:read", 200 },
    { "GET", "/admin", "plugins:read", 200 },
  }

  local GRANTS = {
    admin = "plugins:read plugins:install plugins:config keys:read keys:create keys:revoke workers:read "
      .. "workers:restart workers:remove metrics:read",
    editor = "plugins:read plugins:install plugins:config workers:read workers:restart workers:remove",
    viewer = "plugins:read keys:read workers:read metrics:read",
    custom = "plugins:config keys:create",
  }

  local function grants(role, permission)
    return (" " .. GRANTS[role] .. " "):find(" " .. permission .. " ", 1, true) ~= nil
  end

  it("may do what it is for, by key and by session", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    for role in pairs(GRANTS) do
      local permissions = role == "custom" and { "plugins:config", "keys:create" } or nil
      local made = create(s, ROOT, { name = role, role = role, permissions = permissions })
      local cookie = login(s, made.key)
      for _, options in ipairs({ with(made.key), by_cookie(cookie) }) do
        for _, route in ipairs(ROUTES) do
          local res = s:request(route[1], route[2], options)
          local what = ("%s: %s %s: %s"):format(role, route[1], route[2], res.body)
          if grants(role, route[3]) then
            assert.equal(route[4], res.status, what)
          else
            assert.equal(403, res.status, what)
            local body = check_error(res, 403, "PERMISSION_DENIED")
            assert.truthy(body.message:find(route[3], 1, true))
          end
        end
        assert.equal(role == "admin" and 200 or 403, s:get("/admin/own", options).status, role)
      end
    end
    assert.equal(200, s:get("/admin/own", with(ROOT)).status)
    s:stop()
  end)

  it("is told of, with what it may do", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local meta = send(s, "GET", "/api/keys/meta", ROOT):json()
    assert.same({ "admin", "editor", "viewer", "custom" }, meta.roles)
    assert.equal(12, #meta.permissions)
    assert.same({ "plugins:read", "workers:read", "keys:read", "metrics:read" }, meta.rolePermissions.viewer)
    check_error(send(s, "DELETE", "/api/keys/meta", ROOT), 405, "METHOD_NOT_ALLOWED")
    s:stop()
  end)
end)

describe("a key that makes keys", function()
  local READS = { "plugins:read" }

  it("gives neither rights nor namespaces that it lacks", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local maker = create(s, ROOT, {
      role = "custom",
      permissions = { "plugins:read", "keys:create", "keys:read", "keys:revoke" },
      namespaces = { "@acme" },
    })
    for _, case in ipairs({
      { 403, "PERMISSION_DENIED", role = "admin" },
      { 403, "PERMISSION_DENIED", role = "editor" },
      { 403, "PERMISSION_DENIED", role = "viewer" },
      { 403, "PERMISSION_DENIED", role = "custom", permissions = { "plugins:install" } },
      { 403, "NAMESPACE_DENIED", role = "custom", permissions = READS, namespaces = { "*" } },
      { 403, "NAMESPACE_DENIED", role = "custom", permissions = READS, namespaces = { "@other" } },
      { 400, "INVALID_ROLE", role = "root" },
      { 400, "UNKNOWN_FIELD", role = "viewer", scopes = { "@acme" } },
      { 400, "INVALID_EXPIRES_IN", role = "viewer", expiresIn = "tomorrow" },
    }) do
      local body = named(case)
      body.name = "x"
      check_error(send(s, "POST", "/api/keys", maker.key, body), case[1], case[2])
    end
    check_error(send(s, "POST", "/api/keys", maker.key, "[]"), 400, "INVALID_NAME")
    check_error(send(s, "POST", "/api/keys", maker.key, "{"), 400, "INVALID_BODY")
    local child = create(s, maker.key, { role = "custom", permissions = { "plugins:read" } })
    local wide = create(s, ROOT, { role = "viewer" })
    local list = keys_of(s, maker.key)
    assert.equal(2, #list) -- the wide one is not its to see
    assert.same({ "@acme" }, list[2].namespaces)
    assert.equal("key:" .. maker.id, list[2].createdBy)
    check_error(send(s, "DELETE", "/api/keys/" .. wide.id, maker.key), 403, "NAMESPACE_DENIED")
    check_error(send(s, "DELETE", "/api/keys/" .. maker.id, maker.key), 409, "SELF_REVOKE")
    check_error(s:delete("/api/keys/" .. maker.id, by_cookie((login(s, maker.key)))), 409, "SELF_REVOKE")
    assert.equal(200, send(s, "DELETE", "/api/keys/" .. child.id, maker.key).status)
    check_error(send(s, "GET", "/api/plugins", child.key), 401, "AUTH_REQUIRED")
    check_error(send(s, "DELETE", "/api/keys/" .. child.id, maker.key), 404, "KEY_NOT_FOUND")
    s:stop()
  end)
end)

describe("a key that expires", function()
  it("is good until then, and its sessions too", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local made = create(s, ROOT, { role = "viewer", expiresIn = "5s" })
    local cookie, _, body = login(s, made.key)
    assert.is_string(body.expiresAt) -- when the key does
    assert.truthy(body.expiresAt < os.date("!%Y-%m-%dT%T", os.time() + 60))
    local _, _, of_root = login(s, ROOT)
    assert.truthy(of_root.expiresAt > os.date("!%Y-%m-%dT%T", os.time() + 11 * 3600))
    assert.truthy(process.eventually(function()
      return s:get("/api/plugins", by_cookie(cookie)).status == 401
    end, 40))
    local refused = check_error(send(s, "GET", "/api/plugins", made.key), 401, "AUTH_REQUIRED")
    assert.truthy(refused.message:find("expired", 1, true))
    check_error(send(s, "POST", "/api/admin/session", nil, { key = made.key }), 401, "AUTH_REQUIRED")
    assert.equal(1, #keys_of(s, ROOT)) -- until it is revoked
    s:stop()
  end)
end)

-- Namespaces --------------------------------------------------------------------------------------

describe("namespaces", function()
  local function names(list)
    local out = {}
    for _, item in ipairs(list) do
      out[#out + 1] = item.name
    end
    table.sort(out)
    return out
  end

  it("limit what is seen and done", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local key = create(s, ROOT, { role = "editor", namespaces = { "@acme" } }).key
    local all = { "@acme/shop", "@other/thing", "admin", "plain" }
    assert.same(all, names(send(s, "GET", "/api/plugins", ROOT):json()))
    for _, path in ipairs({ "/api/plugins", "/api/plugins/loaded" }) do
      assert.same({ "@acme/shop" }, names(send(s, "GET", path, key):json()))
    end
    for _, name in ipairs({ "%40other%2Fthing", "plain", "none", "%40none%2Fx" }) do
      for _, route in ipairs({
        { "GET", "" },
        { "GET", "/config" },
        { "GET", "/errors" },
        { "POST", "/reload" },
        { "POST", "/enable" },
        { "POST", "/disable" },
      }) do
        local path = "/api/plugins/" .. name .. route[2]
        check_error(send(s, route[1], path, key), 403, "NAMESPACE_DENIED")
      end
    end
    check_error(send(s, "POST", "/api/plugins/reload", key), 403, "NAMESPACE_DENIED")
    assert.equal(1, s:get("/api/health"):json().generation) -- nothing happened
    check_error(send(s, "GET", "/api/plugins/%40acme%2Fnone", key), 404, "PLUGIN_NOT_FOUND")
    assert.equal(200, send(s, "GET", "/api/plugins/%40acme%2Fshop", key).status)
    local answer = send(s, "POST", "/api/plugins/%40acme%2Fshop/disable", key):json()
    assert.same({ "@acme/shop" }, names(answer.reload.plugins))
    s:stop()
  end)
end)

describe("a protected app", function()
  local ECHO = [[
return { fetch = function(req)
  local seen = {}
  for _, name in ipairs({ "x-api-key", "authorization", "cookie", "x-other" }) do
    seen[#seen + 1] = req.headers[name] or "-"
  end
  return require("buntime.response").new(table.concat(seen, " "))
end }
]]

  it("wants its permission and its namespace, and does not get the credential", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT }, {
      files = {
        ["apps/@acme/echo/index.lua"] = ECHO,
        ["apps/@acme/echo/manifest.yaml"] = 'name: "@acme/echo"\nvisibility: protected\n',
        ["apps/open/index.lua"] = ECHO,
      },
    })
    local viewer = create(s, ROOT, { role = "viewer", namespaces = { "@acme" } }).key
    local stranger = create(s, ROOT, { role = "viewer", namespaces = { "@other" } }).key
    local powerless = create(s, ROOT, { role = "custom", permissions = { "plugins:read" } }).key
    local PATH = "/@acme/echo/"
    check_error(s:get(PATH), 401, "AUTH_REQUIRED")
    check_error(s:get(PATH, with(stranger)), 403, "NAMESPACE_DENIED")
    check_error(s:get(PATH, with(powerless)), 403, "PERMISSION_DENIED")
    local other = { ["X-Other"] = "o" }
    assert.equal("- - - o", s:get(PATH, with(viewer, other)).body)
    other.Authorization = "Basic"
    assert.equal("- Basic - o", s:get(PATH, with(viewer, other)).body)
    assert.equal("- - - -", s:get(PATH, { headers = { Authorization = "Bearer " .. viewer } }).body)
    assert.equal("- - a=b -", s:get(PATH, by_cookie("a=b; " .. login(s, viewer))).body)
    -- elsewhere these headers are the app's own
    assert.equal("mine - - -", s:get("/open/", with("mine")).body)
    s:stop()
  end)
end)

-- Sessions ----------------------------------------------------------------------------------------

describe("a session", function()
  it("stands for its key", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local made = create(s, ROOT, { name = "me", role = "viewer", namespaces = { "@acme" } })
    local probe = s:get("/api/admin/session")
    assert.equal(200, probe.status)
    assert.is_false(probe:json().authenticated)

    local cookie, full, body = login(s, made.key)
    assert.truthy(full:find("; HttpOnly", 1, true) and full:find("; SameSite=Strict", 1, true))
    assert.truthy(full:find("; Path=/", 1, true))
    assert.is_nil(full:find("Secure", 1, true))
    assert.is_nil(full:find(made.key, 1, true))
    assert.same({ true, "key:" .. made.id, "me", "viewer" }, {
      body.authenticated,
      body.principal,
      body.name,
      body.role,
    })
    local _, secure = login(s, made.key, { ["X-Forwarded-Proto"] = "https" })
    assert.truthy(secure:find("; Secure", 1, true))

    body = s:get("/api/admin/session", by_cookie("a=b; " .. cookie .. "; c=d")):json()
    local told = { body.authenticated, body.principal, body.namespaces }
    assert.same({ true, "key:" .. made.id, { "@acme" } }, told)
    assert.equal("key:" .. made.id, s:get("/admin", by_cookie(cookie)).body)
    assert.equal("none", s:get("/admin/cookie", by_cookie(cookie)).body) -- not a plugin's to see
    assert.equal("a=b; c=d", s:get("/admin/cookie", by_cookie("a=b; " .. cookie .. "; c=d")).body)
    for _, cookies in ipairs({ { "", cookie }, { "a=b", cookie, "c=d" }, { "a=b", "c=d", "", cookie } }) do
      local sent = { headers = { Cookie = cookies } }
      assert.equal("key:" .. made.id, s:get("/admin", sent).body)
      assert.is_nil(s:get("/admin/cookie", sent).body:find("buntime_session", 1, true))
    end
    assert.equal(1, #s:get("/api/plugins", by_cookie(cookie)):json())
    check_error(s:post("/api/plugins/reload", by_cookie(cookie)), 403, "PERMISSION_DENIED")

    local out = s:delete("/api/admin/session", by_cookie(cookie))
    assert.equal(200, out.status)
    assert.is_false(out:json().authenticated)
    assert.truthy(out.headers["set-cookie"]:find("Max-Age=0", 1, true))
    check_error(s:get("/api/plugins", by_cookie(cookie)), 401, "AUTH_REQUIRED")
    check_error(s:get("/admin", by_cookie(cookie)), 401, "AUTH_REQUIRED")
    assert.is_false(s:get("/api/admin/session", by_cookie(cookie)):json().authenticated)
    assert.equal(200, s:delete("/api/admin/session").status)
    s:stop()
  end)

  it("outlives the server process, but not its key", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local made = create(s, ROOT, { role = "admin" })
    local cookie, root = login(s, made.key), login(s, ROOT)
    local gone = login(s, made.key)
    assert.equal(200, s:delete("/api/admin/session", by_cookie(gone)).status)
    local log = s:log()
    for _, secret in ipairs({ cookie, root, gone, made.key, ROOT }) do
      secret = secret:match("=(.+)") or secret
      assert.is_nil(log:find(secret, 1, true))
    end
    crash(s)
    assert.equal(200, s:get("/api/plugins", by_cookie(cookie)).status)
    check_error(s:get("/api/plugins", by_cookie(gone)), 401, "AUTH_REQUIRED")
    assert.equal("root", s:get("/api/admin/session", by_cookie(root)):json().principal)
    assert.equal(200, s:delete("/api/keys/" .. made.id, by_cookie(root)).status)
    check_error(s:get("/api/plugins", by_cookie(cookie)), 401, "AUTH_REQUIRED")
    crash(s)
    check_error(s:get("/api/plugins", by_cookie(cookie)), 401, "AUTH_REQUIRED")
    s = restart(s, { RUNTIME_ROOT_KEY = ROOT .. "2" })
    check_error(s:get("/api/plugins", by_cookie(root)), 401, "AUTH_REQUIRED")
    s:stop()
  end)

  it("is no use to pages of other sites", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local cookie = login(s, ROOT)
    local own = "http://localhost:" .. s.port
    for _, case in ipairs({
      { 200 },
      { 200, Origin = own },
      { 200, ["Sec-Fetch-Site"] = "same-origin" },
      { 403, Origin = "http://evil.example" },
      { 403, Origin = "null" },
      { 403, ["Sec-Fetch-Site"] = "cross-site" },
      { 403, ["Sec-Fetch-Site"] = "same-site" },
    }) do
      local headers = named(case)
      for _, path in ipairs({ "/api/plugins/reload", "/admin" }) do
        local res = s:post(path, by_cookie(cookie, headers))
        assert.equal(case[1], res.status, path .. cjson.encode(headers))
        if case[1] == 403 then
          check_error(res, 403, "CROSS_SITE_REQUEST")
        end
      end
      assert.equal(case[1], send(s, "POST", "/api/admin/session", nil, { key = ROOT }, headers).status)
      if case[1] == 403 then
        assert.equal(403, s:delete("/api/admin/session", by_cookie(cookie, headers)).status)
        assert.equal(200, s:get("/api/plugins", by_cookie(cookie)).status)
      end
    end
    s:stop()
  end)
end)

-- Wrong credentials -------------------------------------------------------------------------------

describe("wrong credentials", function()
  local function exhaust(s, try)
    for _ = 1, 10 do
      check_error(try(), 401, "AUTH_REQUIRED")
    end
    local res = try()
    check_error(res, 429, "TOO_MANY_REQUESTS")
    local seconds = tonumber(res.headers["retry-after"])
    assert.truthy(seconds and seconds > 0 and seconds <= 60)
    check_error(send(s, "GET", "/api/plugins", ROOT), 429, "TOO_MANY_REQUESTS")
    assert.equal(200, s:get("/api/health").status)
    assert.equal(200, s:get("/plain").status)
  end

  for title, try in pairs({
    ["as keys"] = function(s)
      return send(s, "GET", "/api/keys", "btk_wrong")
    end,
    ["at the login"] = function(s)
      return send(s, "POST", "/api/admin/session", nil, { key = "btk_wrong" })
    end,
    ["at the probe"] = function(s)
      return send(s, "GET", "/api/admin/session", "btk_wrong")
    end,
    ["as cookies that are none"] = function(s)
      return s:get("/api/plugins", by_cookie("buntime_session=guess"))
    end,
    ["at a plugin"] = function(s)
      return s:get("/admin", with("btk_wrong"))
    end,
  }) do
    it("have to wait: " .. title, function()
      local s = start({ RUNTIME_ROOT_KEY = ROOT })
      exhaust(s, function()
        return try(s)
      end)
      s:stop()
    end)
  end

  it("are not those that are missing, or sessions that have ended", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local cookie = login(s, ROOT)
    s:delete("/api/admin/session", by_cookie(cookie))
    for _ = 1, 15 do
      check_error(s:get("/api/plugins"), 401, "AUTH_REQUIRED")
      check_error(s:get("/api/plugins", by_cookie(cookie)), 401, "AUTH_REQUIRED")
      assert.equal(200, s:get("/api/admin/session", by_cookie(cookie)).status)
      assert.equal(400, send(s, "POST", "/api/admin/session", nil, {}).status)
    end
    assert.equal(200, send(s, "GET", "/api/plugins", ROOT).status)
    s:stop()
  end)
end)

-- The record --------------------------------------------------------------------------------------

describe("the record", function()
  it("has a line for each change, refused ones too, and no secret", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local expected = {}
    local function expect(status, principal, action, target, result, code, res)
      assert.equal(status, res.status, res.body)
      local body = res:json()
      expected[#expected + 1] = { principal, action, target, result, code or false }
      return body and body.data
    end
    local function call(...)
      return send(s, ...)
    end

    local made = call("POST", "/api/keys", ROOT, { name = "ci", role = "editor", namespaces = { "@acme" } })
    local ci = made:json().data
    expect(201, "root", "keys.create", ci.id, "ok", nil, made)
    local me = "key:" .. ci.id
    local bad = call("POST", "/api/keys", ROOT, { name = "" })
    expect(400, "root", "keys.create", "*", "failed", "INVALID_NAME", bad)
    local viewer = { name = "v", role = "viewer" }
    local denied = call("POST", "/api/keys", ci.key, viewer)
    expect(403, me, "keys.create", "*", "refused", "PERMISSION_DENIED", denied)
    denied = call("POST", "/api/keys", nil, viewer)
    expect(401, "anonymous", "keys.create", "*", "refused", "AUTH_REQUIRED", denied)
    denied = call("POST", "/api/plugins/plain/disable", ci.key)
    expect(403, me, "plugins.disable", "plain", "refused", "NAMESPACE_DENIED", denied)
    denied = call("POST", "/api/plugins/reload", ci.key)
    expect(403, me, "plugins.reload", "*", "refused", "NAMESPACE_DENIED", denied)
    local session = call("POST", "/api/admin/session", nil, { key = ci.key })
    expect(200, me, "session.login", "*", "ok", nil, session)
    local cookie = session.headers["set-cookie"]:match("^[^;]+")
    local reload = s:post("/api/plugins/%40acme%2Fshop/reload", by_cookie(cookie))
    expect(200, me, "plugins.reload", "@acme/shop", "ok", nil, reload)
    denied = call("POST", "/api/admin/session", nil, { key = "btk_no" })
    expect(401, "anonymous", "session.login", "*", "refused", "AUTH_REQUIRED", denied)
    expect(200, me, "session.logout", "*", "ok", nil, s:delete("/api/admin/session", by_cookie(cookie)))
    denied = call("DELETE", "/api/keys/" .. ci.id, ci.key)
    expect(403, me, "keys.revoke", ci.id, "refused", "PERMISSION_DENIED", denied)
    denied = call("DELETE", "/api/keys/" .. ci.id, ROOT, nil, { Origin = "http://evil.example" })
    expect(403, "root", "keys.revoke", ci.id, "refused", "CROSS_SITE_REQUEST", denied)
    expect(200, "root", "keys.revoke", ci.id, "ok", nil, call("DELETE", "/api/keys/" .. ci.id, ROOT))
    local again = call("DELETE", "/api/keys/" .. ci.id, ROOT)
    expect(404, "root", "keys.revoke", ci.id, "failed", "KEY_NOT_FOUND", again)

    local lines = records(s)
    for i, line in ipairs(lines) do
      assert.same(expected[i], { line.principal, line.action, line.target, line.result, line.code or false })
      assert.is_string(line.requestId)
    end
    assert.equal(#expected, #lines)
    for _, secret in ipairs({ ci.key, ROOT, cookie:match("=(.+)"), "btk_no" }) do
      assert.is_nil(s:log():find(secret, 1, true))
    end
    s:stop()
  end)
end)
