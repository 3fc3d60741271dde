-- The control plane's Lua, with the runtime's side of it faked.

local json = require("buntime.json")

local MODULES = {
  "buntime.core.control",
  "buntime.core.auth",
  "buntime.core.keys",
  "buntime.core.metrics",
  "buntime.core.packages",
  "buntime.core.replicas",
  "buntime.core.workers",
}
local OURS = {
  "buntime.api",
  "buntime.api.access",
  "buntime.api.docs",
  "buntime.api.health",
  "buntime.api.keys",
  "buntime.api.metrics",
  "buntime.api.packages",
  "buntime.api.plugins",
  "buntime.api.replicas",
  "buntime.api.session",
  "buntime.api.workers",
}

--- Callers, as buntime.core.auth tells of them.
local ROOT = {
  principal = "root",
  role = "admin",
  all = true,
  session = false,
  expires = 0,
  permissions = {},
  namespaces = { "*" },
}
local SCOPED = {
  principal = "key:1",
  id = "1",
  role = "custom",
  all = false,
  session = false,
  expires = 0,
  permissions = { "plugins:read", "plugins:install", "keys:create", "keys:revoke" },
  namespaces = { "@a" },
}

--- What the fakes answer, and what they were asked.
local fake, api

local function status(more)
  local s = { version = "1.2.3", api = "/api", uptime = 5, generation = 1, stopping = false }
  s.missing, s.unmet, s.plugins = json.array(), json.array(), { loaded = 2 }
  for key, value in pairs(more or {}) do
    s[key] = value
  end
  return s
end

local function answer_about(make)
  return function(name)
    if name ~= "@a/b" then
      return nil, "there is no plugin of that name", "PLUGIN_NOT_FOUND"
    end
    return make()
  end
end

local ANSWER = { ok = true, generation = 2, plugins = json.array(), leaks = json.array() }

local control = {
  status = function()
    return fake.status
  end,
  plugins = function()
    return fake.plugins
  end,
  loaded = function()
    return fake.loaded
  end,
  plugin = answer_about(function()
    return { name = "@a/b" }
  end),
  config = answer_about(function()
    return { key = { value = 1 } }
  end),
  errors = answer_about(function()
    return { { message = "m", first = 1000000000.25, last = 1000000001 } }
  end),
  reload = function(options)
    fake.reloads[#fake.reloads + 1] = options
    if fake.outcome == "raise" then
      return false, "the client is gone"
    end
    return true, fake.answer or ANSWER, fake.outcome
  end,
  toggle = function(name, enabled)
    fake.toggled = { name, enabled }
    return true, unpack(fake.toggle, 1, 3)
  end,
  audit = function(...)
    fake.audits[#fake.audits + 1] = { ... }
  end,
}

local function worker_change(what)
  return function(...)
    fake.changed = { what, ... }
    return true, unpack(fake.change, 1, 3)
  end
end

local workers = {
  list = function()
    return json.array({ { name = "hello" }, { name = "@a/b" } })
  end,
  get = function(name)
    if name ~= "@a/b" then
      return nil, "there is no app of that name and version", "WORKER_NOT_FOUND"
    end
    return { name = name }
  end,
  toggle = worker_change("toggle"),
  remove = worker_change("remove"),
}

local auth = {
  check = function(_, permission, mutating)
    fake.asked = { permission, mutating }
    return unpack(fake.auth, 1, 6)
  end,
}

local keys = {
  cookie = "buntime_session",
  session_seconds = 60,
  idle_seconds = 30,
  meta = function()
    return {
      roles = {
        { name = "admin", custom = false, permissions = { "keys:create", "plugins:read" } },
        { name = "custom", custom = true, permissions = {} },
      },
      permissions = json.array({ "keys:create", "plugins:read" }),
    }
  end,
  duration = function(text)
    return text == "1h" and 3600000 or nil
  end,
  list = function()
    return fake.keys
  end,
  find = function(id)
    for _, key in ipairs(fake.keys) do
      if key.id == id then
        return key
      end
    end
  end,
  full = function()
    return fake.full
  end,
  create = function(spec)
    fake.created = spec
    if fake.broken then
      return true, nil, "disk full", "KEY_STORE_FAILED"
    end
    return true, { id = "new", key = "btk_secret", prefix = "btk_se" }
  end,
  revoke = function(id)
    fake.revoked = id
    if fake.broken then
      return true, nil, "disk full", "KEY_STORE_FAILED"
    end
    return true, true
  end,
  login = function(_, key)
    fake.key = key
    return unpack(fake.login, 1, 6)
  end,
  begin = function(id)
    fake.begun = id
    if fake.broken then
      return true, nil, "disk full", "KEY_STORE_FAILED"
    end
    return true, "token"
  end,
  problem = function()
    return fake.problem
  end,
  logout = function()
    if fake.broken then
      return true, nil, "disk full", "KEY_STORE_FAILED"
    end
    return true, true
  end,
}

local packages = {
  kept = function()
    return true, { { version = "1.0.0", kept = 1000000000.25 }, { kept = 1000000000 } }
  end,
}

local replicas = {
  alone = function()
    return fake.others == nil
  end,
  list = function()
    local list = json.array({ { id = "me-1", since = 1000000000.25, version = "1.2.3", self = true } })
    for _, other in ipairs(fake.others or {}) do
      list[#list + 1] = { id = other.id, since = 1000000000, version = "1.2.3", self = false }
    end
    return list, not fake.deaf
  end,
  ask = function(text, ms)
    fake.question = { text, ms }
    return true, fake.others
  end,
}

local before = {}

setup(function()
  for _, name in ipairs(MODULES) do
    before[name] = package.loaded[name]
  end
  package.loaded["buntime.core.control"] = control
  package.loaded["buntime.core.auth"] = auth
  package.loaded["buntime.core.keys"] = keys
  package.loaded["buntime.core.metrics"] = { page = function() return "a 1\n" end }
  package.loaded["buntime.core.workers"] = workers
  package.loaded["buntime.core.packages"] = packages
  package.loaded["buntime.core.replicas"] = replicas
  api = require("buntime.api")
end)

teardown(function()
  for _, name in ipairs(OURS) do
    package.loaded[name] = nil
  end
  for _, name in ipairs(MODULES) do
    package.loaded[name] = before[name]
  end
end)

before_each(function()
  fake = {
    status = status(),
    outcome = "ok",
    auth = { true, ROOT },
    toggle = { true },
    change = { true },
    reloads = {},
    audits = {},
    keys = {},
    plugins = json.array(),
    loaded = json.array(),
  }
end)

local function call(method, path, init)
  init = init or {}
  init.method, init.id = method, "r-1"
  return api:request(path, init)
end

local function check_error(res, http, code)
  assert.equal(http, res.status)
  local body = res:json()
  assert.same({ false, code, "r-1" }, { body.success, body.code, body.requestId })
  assert.is_string(body.message)
  return body.message
end

describe("discovery", function()
  it("tells where the control plane is", function()
    fake.status = status({ api = "/_/api" })
    assert.same({ api = "/_/api", version = "1.2.3" }, call("GET", "/.well-known/buntime"):json())
    assert.is_nil(fake.asked)
  end)
end)

describe("health", function()
  for title, case in pairs({
    ["all is well"] = { {}, 200, "ok", {} },
    ["disabled is well"] = { { plugins = { loaded = 1, disabled = 1 } }, 200, "ok", {} },
    ["one kept its old code"] = { { plugins = { kept_old = 1 } }, 200, "degraded", {} },
    ["one failed"] = { { plugins = { loaded = 1, failed = 1 } }, 200, "degraded", {} },
    ["one was skipped"] = { { plugins = { skipped = 1 } }, 200, "degraded", {} },
    ["starting"] = { { generation = 0 }, 503, "starting", { "the plugins are still loading" } },
    ["stopping"] = { { stopping = true }, 503, "stopping", { "the server is shutting down" } },
    ["the kernel lacks what is required"] = {
      { unmet = { "files (Landlock)" } },
      503,
      "unavailable",
      { "RUNTIME_SANDBOX=require: this kernel has no sandbox for files (Landlock)" },
    },
    ["the keys cannot be read"] = {
      { keysUnread = true },
      503,
      "unavailable",
      { "the keys cannot be read from DATABASE_URL yet; only the root key is good" },
    },
    ["a critical one is missing"] = {
      { missing = { "a", "b" }, plugins = { failed = 2 } },
      503,
      "unavailable",
      { "the critical plugin a is not loaded", "the critical plugin b is not loaded" },
    },
  }) do
    it("when " .. title, function()
      fake.status = status(case[1])
      for _, path in ipairs({ "/api/health", "/api/health/ready" }) do
        local res = call("GET", path)
        local body = res:json()
        assert.equal(case[2], res.status)
        assert.equal(case[2] == 200, body.ok)
        assert.equal(case[3], body.status)
        assert.equal(#case[4], #body.reasons)
        assert.same(case[4], { unpack(body.reasons) })
        assert.equal("no-store", res.headers["cache-control"])
      end
      local live = call("GET", "/api/health/live")
      assert.equal(200, live.status)
      assert.is_true(live:json().ok)
      assert.is_nil(fake.asked)
    end)
  end

  it("answers HEAD", function()
    assert.equal(200, call("HEAD", "/api/health/ready").status)
  end)
end)

describe("what is not there", function()
  it("is a 404 in the error shape", function()
    local paths = { "", "/", "/x", "/healthy", "/health/x", "/plugins/a/b", "/plugins/a/reload/b" }
    for _, path in ipairs(paths) do
      check_error(call("GET", "/api" .. path), 404, "NOT_FOUND")
    end
  end)

  it("is a 405 with Allow for another method", function()
    for _, case in ipairs({
      { "POST", "/api/plugins", "GET, HEAD, OPTIONS" },
      { "GET", "/api/plugins/reload", "OPTIONS, POST" },
      { "HEAD", "/api/plugins/reload", "OPTIONS, POST" },
      { "DELETE", "/api/plugins/reload", "OPTIONS, POST" },
      { "POST", "/api/plugins/loaded", "GET, HEAD, OPTIONS" },
      { "GET", "/api/plugins/a/reload", "OPTIONS, POST" },
      { "GET", "/api/plugins/a/enable", "OPTIONS, POST" },
      { "PUT", "/api/plugins/a/disable", "OPTIONS, POST" },
      { "POST", "/api/plugins/a/config", "GET, HEAD, OPTIONS" },
      { "POST", "/api/health", "GET, HEAD, OPTIONS" },
      { "DELETE", "/api/keys/meta", "GET, HEAD, OPTIONS" },
      { "POST", "/api/keys/meta", "GET, HEAD, OPTIONS" },
      { "PUT", "/api/keys", "GET, HEAD, OPTIONS, POST" },
      { "GET", "/api/keys/x", "DELETE, OPTIONS" },
      { "PATCH", "/api/admin/session", "DELETE, GET, HEAD, OPTIONS, POST" },
    }) do
      local res = call(case[1], case[2])
      assert.equal(405, res.status, case[2])
      assert.equal(case[3], res.headers.allow, case[2])
    end
    assert.equal(204, call("OPTIONS", "/api/plugins/reload").status)
    assert.same({}, fake.reloads)
  end)
end)

describe("looking", function()
  it("needs plugins:read", function()
    for _, path in ipairs({ "", "/loaded", "/%40a%2Fb", "/%40a%2Fb/config", "/%40a%2Fb/errors" }) do
      fake.asked = nil
      local res = call("GET", "/api/plugins" .. path)
      assert.equal(200, res.status)
      assert.same({ "plugins:read" }, fake.asked)
      assert.equal("no-store", res.headers["cache-control"])
      fake.auth = { false, 401, "AUTH_REQUIRED", "no", "anonymous", 0 }
      res = call("GET", "/api/plugins" .. path)
      assert.equal("no", check_error(res, 401, "AUTH_REQUIRED"))
      assert.equal('Bearer realm="buntime"', res.headers["www-authenticate"])
      fake.auth = { true, ROOT }
    end
    assert.same({}, fake.audits)
  end)

  it("keeps an empty list a list", function()
    assert.equal("[]", call("GET", "/api/plugins"):text())
    assert.equal("[]", call("GET", "/api/plugins/loaded"):text())
  end)

  it("tells the time of errors", function()
    local fault = call("GET", "/api/plugins/%40a%2Fb/errors"):json()[1]
    assert.equal("2001-09-09T01:46:40.250Z", fault.first)
    assert.equal("2001-09-09T01:46:41.000Z", fault.last)
  end)

  it("names a plugin that it does not know, if it can", function()
    local message = check_error(call("GET", "/api/plugins/nope"), 404, "PLUGIN_NOT_FOUND")
    assert.equal("there is no plugin named nope", message)
    for _, path in ipairs({ "/%ff", "/%ff/config", "/%0a/errors" }) do
      message = check_error(call("GET", "/api/plugins" .. path), 404, "PLUGIN_NOT_FOUND")
      assert.equal("there is no plugin of that name", message)
    end
  end)

  it("says how long to wait", function()
    fake.auth = { false, 429, "TOO_MANY_REQUESTS", "wait", "anonymous", 17 }
    local res = call("GET", "/api/plugins")
    check_error(res, 429, "TOO_MANY_REQUESTS")
    assert.equal("17", res.headers["retry-after"])
  end)
end)

describe("replicas", function()
  local function reload(query)
    return call("POST", "/api/plugins/reload" .. (query or ""))
  end

  before_each(function()
    fake.answer = { ok = true, generation = 2, durationMs = 7, plugins = json.array(), leaks = json.array() }
  end)

  it("are listed", function()
    fake.others = { { id = "you-2" } }
    local since = { "2001-09-09T01:46:40.250Z", "2001-09-09T01:46:40.000Z" }
    assert.same({
      { id = "me-1", since = since[1], version = "1.2.3", self = true },
      { id = "you-2", since = since[2], version = "1.2.3", self = false },
    }, call("GET", "/api/replicas"):json())
    assert.same({ "plugins:read" }, fake.asked)
  end)

  it("are not part of the answer without a database between them", function()
    assert.is_nil(reload():json().replicas)
    assert.is_nil(fake.question)
  end)

  it("are told of a reload, and tell how it went", function()
    fake.others = {
      { id = "b", answer = '{"ok":true,"generation":9,"errors":[],"more":0}' },
      { id = "c", answer = '{"ok":true,"generation":3,"errors":[],"more":0}' },
    }
    local res = reload("?changed=true&strict=true")
    assert.equal(200, res.status)
    assert.same({ "reload cs- ", 10014 }, fake.question)
    assert.same({
      { id = "me-1", ok = true, self = true, generation = 2, errors = {} },
      { id = "b", ok = true, self = false, generation = 9, errors = {} },
      { id = "c", ok = true, self = false, generation = 3, errors = {} },
    }, res:json().replicas)
    assert.is_truthy(res.body:find('"errors":[]', 1, true))
  end)

  it("are told of one plugin, of what was enabled, and not of a dry run", function()
    fake.others = {}
    call("POST", "/api/plugins/%40a%2Fb/reload")
    assert.same("reload - @a/b", fake.question[1])
    call("POST", "/api/plugins/%40a%2Fb/enable")
    assert.same("reload c- ", fake.question[1])
    fake.question, fake.answer.replicas = nil, nil
    assert.is_nil(reload("?dry_run=true"):json().replicas)
    assert.is_nil(fake.question)
  end)

  it("are not told of what was refused here", function()
    fake.others, fake.outcome = {}, "rejected"
    assert.equal(409, reload("?strict=true").status)
    assert.is_nil(fake.question)
  end)

  it("that failed, or do not answer, make the outcome partial", function()
    local failed = '{"ok":false,"generation":1,"errors":[{"name":"p","code":"X","message":"m"}],"more":3}'
    local codes = { [failed] = "X", ["{"] = "BAD_ANSWER", ["[]"] = "BAD_ANSWER", [""] = "NO_ANSWER" }
    for _, errors in ipairs({ "[1]", '[{"code":"X"}]', '[{"name":1,"code":"X","message":"m"}]', "[null]" }) do
      codes[('{"ok":true,"errors":%s}'):format(errors)] = "BAD_ANSWER"
    end
    for answer, code in pairs(codes) do
      fake.answer.ok = true
      fake.others = { { id = "b", answer = answer ~= "" and answer or nil } }
      local res = reload()
      local body = res:json()
      assert.equal(207, res.status)
      assert.is_false(body.ok)
      assert.is_true(body.replicas[1].ok)
      assert.is_false(body.replicas[2].ok)
      assert.equal(code, body.replicas[2].errors[1].code)
      assert.equal(answer == failed and 3 or nil, body.replicas[2].more)
    end
  end)

  it("that cannot be reached are told of", function()
    fake.others, fake.deaf = {}, true
    local res = reload()
    assert.equal(207, res.status)
    assert.equal("REPLICAS_UNREACHABLE", res:json().replicasError.code)
    assert.equal(1000, fake.question[2])
  end)

  it("tell only of what the caller may see", function()
    local errors = '[{"name":"p","code":"X","message":"m"},{"name":"@a/b","code":"Y","message":"m"}]'
    fake.auth = { true, SCOPED }
    fake.others = { { id = "b", answer = '{"ok":false,"errors":' .. errors .. "}" }, { id = "c" } }
    local list = call("POST", "/api/plugins/%40a%2Fb/reload"):json().replicas
    assert.same({ { name = "@a/b", code = "Y", message = "m" } }, list[2].errors)
    assert.equal("NO_ANSWER", list[3].errors[1].code)
  end)
end)

describe("reload", function()
  for outcome, case in pairs({
    ok = { 200, "ok" },
    partial = { 207, "partial" },
    rejected = { 409, "failed", "RELOAD_REJECTED" },
  }) do
    it("answers " .. outcome .. " with the reload object", function()
      fake.outcome = outcome
      local res = call("POST", "/api/plugins/reload")
      assert.equal(case[1], res.status)
      assert.equal(2, res:json().generation)
      assert.truthy(res:text():find('"leaks":[]', 1, true))
      assert.same({ "plugins:install", true }, fake.asked)
      assert.same({ { "root", "plugins.reload", "*", case[2], case[3] } }, fake.audits)
    end)
  end

  for query, flags in pairs({
    [""] = {},
    ["?changed=true"] = { changed = true },
    ["?changed"] = { changed = true },
    ["?changed=1&strict=true&dry_run=true"] = { changed = true, strict = true, dry_run = true },
    ["?changed=false&strict=0"] = {},
  }) do
    it("understands " .. (query == "" and "no query" or query), function()
      assert.equal(200, call("POST", "/api/plugins/reload" .. query).status)
      assert.equal(200, call("POST", "/api/plugins/%40a%2Fb/reload" .. query).status)
      for i, only in ipairs({ false, "@a/b" }) do
        local options = fake.reloads[i]
        assert.equal(only or nil, options.only)
        for _, name in ipairs({ "changed", "strict", "dry_run" }) do
          assert.equal(flags[name] or false, options[name], name)
        end
      end
    end)
  end

  it("refuses a flag that is neither", function()
    local res = call("POST", "/api/plugins/reload?strict=yes")
    assert.equal("strict must be true or false", check_error(res, 400, "INVALID_QUERY"))
    assert.same({}, fake.reloads)
  end)

  it("does not know every name", function()
    fake.outcome = "unknown"
    check_error(call("POST", "/api/plugins/nope/reload"), 404, "PLUGIN_NOT_FOUND")
    assert.same({ "root", "plugins.reload", "nope", "failed", "PLUGIN_NOT_FOUND" }, fake.audits[1])
  end)

  it("is over when the server shuts down", function()
    fake.status = status({ stopping = true })
    for _, path in ipairs({ "reload", "a/reload", "a/enable", "a/disable" }) do
      check_error(call("POST", "/api/plugins/" .. path), 503, "SHUTTING_DOWN")
    end
    assert.same({}, fake.reloads)
    assert.is_nil(fake.toggled)
  end)

  it("keeps a record of who was refused", function()
    fake.auth = { false, 403, "CROSS_SITE_REQUEST", "no", "local", 0 }
    for _, case in ipairs({
      { "reload", "plugins.reload", "*" },
      { "a/reload", "plugins.reload", "a" },
      { "a/enable", "plugins.enable", "a" },
      { "a/disable", "plugins.disable", "a" },
    }) do
      check_error(call("POST", "/api/plugins/" .. case[1]), 403, "CROSS_SITE_REQUEST")
      local record = table.remove(fake.audits)
      assert.same({ "local", case[2], case[3], "refused", "CROSS_SITE_REQUEST" }, record)
    end
    assert.same({}, fake.reloads)
  end)

  it("keeps a record when it breaks, with the traceback in the error", function()
    fake.outcome = "raise"
    local res = call("POST", "/api/plugins/reload")
    assert.equal(500, res.status)
    assert.truthy(res.error:find("the client is gone\nstack traceback:", 1, true))
    assert.same({ { "root", "plugins.reload", "*", "unknown" } }, fake.audits)
  end)
end)

describe("enable and disable", function()
  for word, enabled in pairs({ enable = true, disable = false }) do
    it(word .. " edits the manifest, then reloads what changed", function()
      fake.outcome = "partial"
      local res = call("POST", "/api/plugins/%40a%2Fb/" .. word)
      local body = res:json()
      assert.equal(207, res.status)
      assert.is_true(body.success)
      assert.same({ name = "@a/b", enabled = enabled }, body.data)
      assert.equal(2, body.reload.generation)
      assert.same({ "@a/b", enabled }, fake.toggled)
      assert.same({ { changed = true } }, fake.reloads)
      assert.same({ "plugins:config", true }, fake.asked)
      assert.same({ "root", "plugins." .. word, "@a/b", "partial" }, fake.audits[1])
    end)
  end

  for code, http in pairs({
    PLUGIN_NOT_FOUND = 404,
    MANIFEST_FLOW_STYLE = 409,
    MANIFEST_NOT_EDITABLE = 409,
    MANIFEST_INVALID = 409,
    MANIFEST_NOT_WRITABLE = 500,
    IO = 500,
  }) do
    it("answers " .. code .. " with " .. http, function()
      fake.toggle = { nil, "why", code }
      check_error(call("POST", "/api/plugins/a/enable"), http, code)
      assert.same({}, fake.reloads)
      assert.same({ "root", "plugins.enable", "a", "failed", code }, fake.audits[1])
    end)
  end
end)

describe("namespaces", function()
  it("leave of lists what is in them", function()
    fake.plugins = json.array({ { name = "@a/b" }, { name = "@c/d" }, { name = "e" } })
    fake.loaded = json.array({ { name = "e" } })
    assert.equal(3, #call("GET", "/api/plugins"):json())
    fake.auth = { true, SCOPED }
    assert.same({ { name = "@a/b" } }, call("GET", "/api/plugins"):json())
    assert.equal("[]", call("GET", "/api/plugins/loaded").body)
  end)

  it("are asked before there is anything else", function()
    fake.auth = { true, SCOPED }
    for _, case in ipairs({
      { "GET", "/%40c%2Fd" },
      { "GET", "/e/config" },
      { "GET", "/none/errors" },
      { "POST", "/%40c%2Fd/reload", "plugins.reload", "@c/d" },
      { "POST", "/e/enable", "plugins.enable", "e" },
      { "POST", "/%40ab%2Fc/disable", "plugins.disable", "@ab/c" },
      { "POST", "/reload", "plugins.reload", "*" },
    }) do
      fake.audits = {}
      check_error(call(case[1], "/api/plugins" .. case[2]), 403, "NAMESPACE_DENIED")
      local line = case[3] and { "key:1", case[3], case[4], "refused", "NAMESPACE_DENIED" }
      assert.same({ line }, fake.audits)
    end
    assert.same({}, fake.reloads)
    assert.is_nil(fake.toggled)
    assert.equal(200, call("GET", "/api/plugins/%40a%2Fb").status)
    assert.equal(200, call("POST", "/api/plugins/%40a%2Fb/reload").status)
  end)
end)

describe("making a key", function()
  local function create(body)
    return call("POST", "/api/keys", { json = body })
  end

  it("shows it once", function()
    local res = create({ name = " ci ", role = "custom", permissions = { "plugins:read" }, expiresIn = "1h" })
    assert.equal(201, res.status)
    assert.equal("no-store", res.headers["cache-control"])
    assert.same({
      success = true,
      data = { id = "new", name = "ci", key = "btk_secret", keyPrefix = "btk_se", role = "custom" },
    }, res:json())
    assert.same({
      name = "ci",
      role = "custom",
      permissions = "plugins:read",
      namespaces = "*",
      lifetime = 3600000,
      creator = "root",
    }, fake.created)
    assert.same({ "keys:create", true }, fake.asked)
    assert.same({ { "root", "keys.create", "new", "ok" } }, fake.audits)
  end)

  it("says what is wrong, and records it", function()
    check_error(create({ name = "x", role = "boss" }), 400, "INVALID_ROLE")
    check_error(call("POST", "/api/keys", { body = "{" }), 400, "INVALID_BODY")
    check_error(call("POST", "/api/keys"), 400, "INVALID_BODY")
    assert.same({ "root", "keys.create", "*", "failed", "INVALID_ROLE" }, fake.audits[1])
    assert.is_nil(fake.created)
  end)

  it("gives nothing that the maker lacks", function()
    fake.auth = { true, SCOPED }
    check_error(create({ name = "x", role = "admin" }), 403, "PERMISSION_DENIED")
    local body = { name = "x", role = "custom", permissions = { "plugins:read" }, namespaces = { "*" } }
    check_error(create(body), 403, "NAMESPACE_DENIED")
    assert.same({ "key:1", "keys.create", "x", "refused", "NAMESPACE_DENIED" }, fake.audits[2])
    assert.is_nil(fake.created)
    body.namespaces = nil
    assert.equal(201, create(body).status)
    assert.equal("@a", fake.created.namespaces)
    assert.equal("key:1", fake.created.creator)
  end)

  it("fails when it cannot be kept, or when there are too many", function()
    fake.broken = true
    local body = { name = "x", role = "admin" }
    check_error(create(body), 500, "KEY_STORE_FAILED")
    fake.full = true
    check_error(create(body), 409, "TOO_MANY_KEYS")
  end)
end)

describe("keys", function()
  local function key(id, namespaces)
    return {
      id = id,
      name = "n" .. id,
      keyPrefix = "btk_x",
      role = "admin",
      permissions = {},
      namespaces = namespaces,
      createdBy = "root",
      created = 1000000000250,
      expires = 0,
      used = 0,
    }
  end

  before_each(function()
    fake.keys = { key("1", { "@a" }), key("2", { "@a", "@b" }), key("3", { "@a" }) }
  end)

  it("are listed without the key", function()
    local list = call("GET", "/api/keys"):json()
    assert.equal(3, #list)
    assert.same({
      id = "1",
      name = "n1",
      keyPrefix = "btk_x",
      role = "admin",
      permissions = {},
      namespaces = { "@a" },
      createdAt = "2001-09-09T01:46:40.250Z",
      createdBy = "root",
      expiresAt = json.null,
      lastUsedAt = json.null,
    }, list[1])
    assert.same({ "keys:read" }, fake.asked)
    fake.auth = { true, SCOPED }
    assert.equal(2, #call("GET", "/api/keys"):json())
    fake.keys = {}
    assert.equal("[]", call("GET", "/api/keys").body)
  end)

  it("have roles and permissions, which are told", function()
    assert.same({
      roles = { "admin", "custom" },
      permissions = { "keys:create", "plugins:read" },
      rolePermissions = { admin = { "keys:create", "plugins:read" }, custom = {} },
    }, call("GET", "/api/keys/meta"):json())
  end)

  it("are not listed or missed before they could be read", function()
    fake.problem = "no answer"
    check_error(call("GET", "/api/keys"), 503, "KEYS_UNAVAILABLE")
    check_error(call("DELETE", "/api/keys/9"), 503, "KEYS_UNAVAILABLE")
  end)

  it("are revoked, but not by themselves", function()
    assert.same({ success = true, data = { id = "2" } }, call("DELETE", "/api/keys/2"):json())
    assert.equal("2", fake.revoked)
    assert.same({ "keys:revoke", true }, fake.asked)
    check_error(call("DELETE", "/api/keys/9"), 404, "KEY_NOT_FOUND")
    fake.auth, fake.revoked = { true, SCOPED }, nil
    check_error(call("DELETE", "/api/keys/1"), 409, "SELF_REVOKE")
    check_error(call("DELETE", "/api/keys/2"), 403, "NAMESPACE_DENIED")
    assert.is_nil(fake.revoked)
    fake.broken = true
    check_error(call("DELETE", "/api/keys/3"), 500, "KEY_STORE_FAILED")
    assert.same({
      { "root", "keys.revoke", "2", "ok" },
      { "root", "keys.revoke", "9", "failed", "KEY_NOT_FOUND" },
      { "key:1", "keys.revoke", "1", "failed", "SELF_REVOKE" },
      { "key:1", "keys.revoke", "2", "refused", "NAMESPACE_DENIED" },
      { "key:1", "keys.revoke", "3", "failed", "KEY_STORE_FAILED" },
    }, fake.audits)
  end)
end)

describe("a session", function()
  local PATH = "/api/admin/session"

  it("tells who it is", function()
    fake.auth = { true, { principal = "anonymous", permissions = {}, namespaces = {}, expires = 0 } }
    assert.same({ authenticated = false, principal = json.null }, call("GET", PATH):json())
    assert.same({}, fake.asked) -- no permission
    fake.auth = { true, SCOPED }
    local body = call("GET", PATH):json()
    assert.is_true(body.authenticated)
    assert.same({ "key:1", { "@a" } }, { body.principal, body.namespaces })
    fake.auth = { false, 401, "AUTH_REQUIRED", "no", "anonymous", 0 }
    check_error(call("GET", PATH), 401, "AUTH_REQUIRED")
  end)

  it("is begun with a key, for a cookie", function()
    fake.auth = { true, { principal = "anonymous", permissions = {}, namespaces = {}, expires = 0 } }
    fake.login = { true, SCOPED }
    local res = call("POST", PATH, { json = { key = "btk_x" } })
    assert.equal(200, res.status)
    assert.equal("btk_x", fake.key)
    assert.equal("key:1", res:json().principal)
    assert.equal(SCOPED.id, fake.begun)
    local now = os.date("!%Y-%m-%dT%H:%M:%S")
    assert.truthy(res:json().expiresAt > now)
    assert.truthy(res:json().expiresAt < os.date("!%Y-%m-%dT%T", os.time() + 60))
    assert.equal(
      "buntime_session=token; Max-Age=60; Path=/; HttpOnly; SameSite=Strict",
      res.headers["set-cookie"]
    )
    res = call("POST", PATH, { json = { key = "k" }, headers = { ["X-Forwarded-Proto"] = "https" } })
    assert.truthy(res.headers["set-cookie"]:find("; Secure", 1, true))
    assert.same({ "key:1", "session.login", "*", "ok" }, fake.audits[1])
  end)

  it("is not begun otherwise", function()
    for _, body in ipairs({ {}, { key = 1 }, { key = "" }, "x" }) do
      check_error(call("POST", PATH, { json = body }), 400, "INVALID_BODY")
    end
    fake.login = { false, 401, "AUTH_REQUIRED", "no", "anonymous", 0 }
    local res = call("POST", PATH, { json = { key = "no" } })
    check_error(res, 401, "AUTH_REQUIRED")
    assert.is_nil(res.headers["set-cookie"])
    fake.login = { false, 429, "TOO_MANY_REQUESTS", "wait", "anonymous", 17 }
    assert.equal("17", call("POST", PATH, { json = { key = "no" } }).headers["retry-after"])
    assert.same({ "anonymous", "session.login", "*", "refused", "AUTH_REQUIRED" }, fake.audits[5])
    fake.login, fake.broken = { true, SCOPED }, true
    res = call("POST", PATH, { json = { key = "btk_x" } })
    check_error(res, 500, "KEY_STORE_FAILED")
    assert.is_nil(res.headers["set-cookie"])
    assert.same({ "key:1", "session.login", "*", "failed", "KEY_STORE_FAILED" }, fake.audits[7])
  end)

  it("is ended", function()
    local res = call("DELETE", PATH)
    assert.is_false(res:json().authenticated)
    assert.truthy(res.headers["set-cookie"]:find("buntime_session=;", 1, true))
    assert.same({ "root", "session.logout", "*", "ok" }, fake.audits[1])
    fake.broken = true
    check_error(call("DELETE", PATH), 500, "KEY_STORE_FAILED")
  end)
end)

describe("workers", function()
  it("are listed, and shown by scope and name", function()
    assert.same({ { name = "hello" }, { name = "@a/b" } }, call("GET", "/api/workers"):json())
    assert.same({ "workers:read" }, fake.asked)
    for _, scope in ipairs({ "a", "@a", "%40a" }) do
      assert.same({ name = "@a/b" }, call("GET", "/api/workers/" .. scope .. "/b"):json())
    end
    local message = check_error(call("GET", "/api/workers/_/b"), 404, "WORKER_NOT_FOUND")
    assert.equal("there is no app b", message)
  end)

  it("have versions that are enabled and disabled", function()
    local res = call("POST", "/api/workers/_/b/1.0.0/disable")
    assert.equal(200, res.status)
    assert.same({ name = "b", version = "1.0.0", enabled = false }, res:json().data)
    assert.equal(2, res:json().reload.generation)
    assert.same({ "toggle", "b", "1.0.0", false }, fake.changed)
    assert.same({ changed = true }, fake.reloads[1])
    assert.same({ "workers:restart", true }, fake.asked)
    assert.same({ "root", "workers.disable", "b@1.0.0", "ok" }, fake.audits[1])
    call("POST", "/api/workers/a/b/latest/enable")
    assert.same({ "toggle", "@a/b", "latest", true }, fake.changed)
  end)

  it("are removed whole or by version", function()
    assert.equal(200, call("DELETE", "/api/workers/a/b").status)
    assert.same({ "remove", "@a/b" }, fake.changed)
    assert.same({ "workers:remove", true }, fake.asked)
    call("DELETE", "/api/workers/a/b/1.0.0")
    assert.same({ "remove", "@a/b", "1.0.0" }, fake.changed)
    assert.same({ "root", "workers.remove", "@a/b@1.0.0", "ok" }, fake.audits[2])
  end)

  it("are those of the caller's namespaces", function()
    fake.auth = { true, SCOPED }
    assert.same({ { name = "@a/b" } }, call("GET", "/api/workers"):json())
    check_error(call("GET", "/api/workers/_/b"), 403, "NAMESPACE_DENIED")
    check_error(call("GET", "/api/workers/@c/b"), 403, "NAMESPACE_DENIED")
    check_error(call("DELETE", "/api/workers/_/b"), 403, "NAMESPACE_DENIED")
    check_error(call("POST", "/api/workers/@c/b/1.0.0/disable"), 403, "NAMESPACE_DENIED")
    assert.is_nil(fake.changed)
    assert.same({ "key:1", "workers.disable", "@c/b@1.0.0", "refused", "NAMESPACE_DENIED" }, fake.audits[2])
    assert.equal(200, call("DELETE", "/api/workers/@a/b").status)
  end)

  it("tell what went wrong, and reload nothing then", function()
    local code = "BUILT_IN_WORKER_REMOVE_FORBIDDEN"
    fake.change = { nil, "the app is built in", code }
    check_error(call("DELETE", "/api/workers/_/b"), 403, code)
    assert.same({}, fake.reloads)
    assert.same({ "root", "workers.remove", "b", "failed", code }, fake.audits[1])
    fake.status = status({ stopping = true })
    check_error(call("DELETE", "/api/workers/_/b"), 503, "SHUTTING_DOWN")
  end)
end)

describe("the description", function()
  --- "GET /api/plugins/:name" of every route that there is, and of every one that is told of.
  local function names(list, base)
    local out = {}
    for _, route in ipairs(list) do
      local prefix = route.absolute and "" or base
      out[route.method .. " " .. prefix .. route.path] = true
    end
    return out
  end

  it("has the routes that there are, and no others", function()
    local there = names(require("buntime.describe").list(api), "")
    local told = names(require("buntime.api.operations").list(), "/api")
    assert.same(there, told)
  end)
end)
