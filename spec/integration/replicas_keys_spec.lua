-- Keys and sessions that replicas share over PostgreSQL (DATABASE_URL): real servers, a real database.

local cjson = require("cjson.safe")
local fixtures = require("spec.support.fixtures")
local lfs = require("lfs")
local postgres = require("spec.support.postgres")
local process = require("spec.support.process")
local server = require("spec.support.server")

local ROOT = "root-key-of-the-specs"
local LONG = 40

local pg

local function start(env, more)
  local options = { env = { DATABASE_URL = pg.url }, plugins = { plain = fixtures.hello("plain", "1") } }
  for name, value in pairs(env or {}) do
    options.env[name] = value
  end
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  local s = server.start(options)
  s.root = options.env.RUNTIME_ROOT_KEY
  return s
end

local function start_two()
  return start({ RUNTIME_ROOT_KEY = ROOT }), start({ RUNTIME_ROOT_KEY = ROOT })
end

local function send(s, method, path, key, body, headers)
  headers = headers or {}
  headers["X-API-Key"] = key
  if body then
    headers["Content-Type"] = "application/json"
  end
  return s:request(method, path, { headers = headers, body = body and cjson.encode(body) })
end

local function create(s, maker)
  local res = send(s, "POST", "/api/keys", maker, { name = "k", role = "admin" })
  assert.equal(201, res.status, res.body)
  return res:json().data
end

local function login(s, key)
  local res = send(s, "POST", "/api/admin/session", nil, { key = key })
  assert.equal(200, res.status, res.body)
  return { Cookie = res.headers["set-cookie"]:match("^([^;]+)") }
end

local function revoke(s, by, id)
  return send(s, "DELETE", "/api/keys/" .. id, by)
end

local function principal(s, cookie)
  local res = s:get("/api/admin/session", { headers = cookie })
  return res.status == 200 and res:json().principal
end

local function lists(s, made)
  local res = send(s, "GET", "/api/keys", s.root)
  for _, key in ipairs(res.status == 200 and res:json() or {}) do
    if key.id == made.id then
      return true
    end
  end
  return res.status ~= 200 and "unknown"
end

--- Waits until the key is good there (200) or not (401). Who tries a wrong key ten times has to wait, so the
--- list is looked at.
local function eventually(status, s, made)
  assert.truthy(process.eventually(function()
    return lists(s, made) == (status == 200)
  end, LONG))
  assert.equal(status, send(s, "GET", "/api/keys/meta", made.key).status)
end

local function eventually_is(who, s, cookie)
  assert.truthy(process.eventually(function()
    return principal(s, cookie) == who
  end, LONG))
end

--- The log tells what is wrong, but no secret; then the server is stopped.
local function stop(s, ...)
  local log = s:log()
  s:allow_errors(...)
  s:stop()
  for _, secret in ipairs({ pg.password, ROOT }) do
    assert.is_nil(log:find(secret, 1, true), "a secret is in the log")
  end
end

local AWAY = { "keys cannot be read", "@127.0.0.1", "replicas cannot be reached" }

setup(function()
  pg = postgres.start()
end)
teardown(function()
  pg:stop()
end)
after_each(function()
  server.stop_all()
  if not pg.process:alive() then
    pg:restart() -- a spec failed in between
  end
  pg:psql("drop table if exists buntime_keys, buntime_sessions")
end)

-- Each keyring of these is a replica, in one process.
describe("the keyring over PostgreSQL", function()
  local function run(name)
    local program = server.binary():gsub("[^/]+$", "spec/" .. name)
    local code, out, err = process.run({
      args = { program },
      env = { KEYRING_DATABASE_URL = pg.url },
    }, 100)
    assert.equal(0, code, out .. err)
  end

  it("is what it is over SQLite", function()
    run("test_keyring")
  end)
  it("is one with others over the same database", function()
    run("test_keyring_replicas")
  end)
end)

describe("two replicas", function()
  it("share keys", function()
    local a, b = start_two()
    local made = create(a, ROOT)
    eventually(200, b, made)
    local second = create(b, made.key)
    eventually(200, a, second)
    local list = send(a, "GET", "/api/keys", ROOT):json()
    assert.same({ made.id, second.id }, { list[1].id, list[2].id })
    assert.equal("key:" .. made.id, list[2].createdBy)

    assert.equal(200, revoke(b, ROOT, made.id).status)
    assert.equal(401, send(b, "GET", "/api/keys/meta", made.key).status)
    eventually(401, a, made)
    assert.equal(404, revoke(a, ROOT, made.id).status)
    assert.equal(200, send(a, "GET", "/api/keys/meta", second.key).status)
    assert.is_nil(lfs.attributes(a.dir .. "/.buntime/keys.db"))
    stop(a)
    stop(b)
  end)

  it("hear of it within a moment", function()
    local a, b = start_two()
    local socket = require("socket")
    local worst = 0
    for _ = 1, 10 do
      local made = create(a, ROOT)
      local began = socket.gettime()
      while lists(b, made) ~= true do
        assert(socket.gettime() < began + LONG, "it was never heard of")
      end
      worst = math.max(worst, socket.gettime() - began)
    end
    assert.is_true(worst < 5, worst .. " s")
    print(("# the other replica knew a key within %.1f ms"):format(worst * 1000))
    stop(a)
    stop(b)
  end)

  it("share sessions", function()
    local a, b = start_two()
    local made = create(a, ROOT)
    local cookie, root = login(a, made.key), login(a, ROOT)
    eventually_is("key:" .. made.id, b, cookie)
    eventually_is("root", b, root)
    local gone = login(b, made.key)
    eventually_is("key:" .. made.id, a, gone)

    assert.equal(200, send(b, "DELETE", "/api/admin/session", nil, nil, cookie).status)
    eventually_is(cjson.null, a, cookie)
    assert.equal("root", principal(a, root))
    assert.equal(200, revoke(a, ROOT, made.id).status)
    eventually_is(cjson.null, b, gone)
    stop(a)
    stop(b)
  end)

  it("each have sessions of their own root key only", function()
    local a, b = start({ RUNTIME_ROOT_KEY = ROOT }), start({ RUNTIME_ROOT_KEY = "another-root-key" })
    local made = create(a, ROOT)
    local root, cookie = login(a, ROOT), login(a, made.key)
    eventually(200, b, made)
    local later = login(b, "another-root-key")
    eventually(200, a, create(b, made.key)) -- so what was before has been heard of
    assert.equal(cjson.null, principal(b, root))
    assert.equal(cjson.null, principal(b, cookie))
    assert.equal(cjson.null, principal(a, later))
    assert.equal("root", principal(a, root))
    stop(a)
    stop(b)
  end)

  it("lose nothing that was acknowledged when one is killed", function()
    local a, b = start_two()
    local made, gone = create(a, ROOT), create(a, ROOT)
    local cookie = login(a, made.key)
    assert.equal(200, revoke(a, ROOT, gone.id).status)
    a.process:kill("KILL")
    a.process:wait(LONG)
    eventually(200, b, made)
    eventually(401, b, gone)
    eventually_is("key:" .. made.id, b, cookie)
    local c = start({ RUNTIME_ROOT_KEY = ROOT }) -- also when nobody else had heard of it
    assert.equal(200, send(c, "GET", "/api/keys/meta", made.key).status)
    assert.equal(401, send(c, "GET", "/api/keys/meta", gone.key).status)
    assert.equal("key:" .. made.id, principal(c, cookie))
    stop(b)
    stop(c)
  end)

  it("go on without the database, and catch up when it is back", function()
    local a, b = start_two()
    local made, gone = create(a, ROOT), create(a, ROOT)
    eventually(200, b, made)
    eventually(200, b, gone)
    pg:kill()
    assert.equal(200, send(b, "GET", "/api/keys/meta", made.key).status)
    assert.equal(200, b:get("/api/health/ready").status)
    local res = send(a, "POST", "/api/keys", ROOT, { name = "k", role = "admin" })
    assert.same({ 500, "KEY_STORE_FAILED" }, { res.status, res:json().code })
    assert.truthy(res.body:find("tester@127.0.0.1:" .. pg.port, 1, true), res.body)
    assert.is_nil(res.body:find(pg.password, 1, true))
    res = send(a, "POST", "/api/admin/session", nil, { key = made.key })
    assert.same({ 500, "KEY_STORE_FAILED" }, { res.status, res:json().code })
    assert.is_nil(res.headers["set-cookie"])
    res = revoke(a, ROOT, gone.id)
    assert.same({ 500, "KEY_STORE_FAILED" }, { res.status, res:json().code })
    assert.equal(401, send(a, "GET", "/api/keys/meta", gone.key).status)
    pg:restart()
    -- What one does before the other listens again is not heard, so it has to be read.
    local late
    assert.truthy(process.eventually(function()
      late = send(a, "POST", "/api/keys", ROOT, { name = "late", role = "admin" })
      return late.status == 201 and revoke(a, ROOT, gone.id).status == 200
    end, LONG))
    eventually(200, b, late:json().data)
    eventually(401, b, gone)
    assert.equal(200, send(b, "GET", "/api/keys/meta", made.key).status)
    stop(a, unpack(AWAY))
    stop(b, unpack(AWAY))
  end)
end)

describe("a start", function()
  it("waits for the database: until it is there only the root key is good", function()
    local first = start({ RUNTIME_ROOT_KEY = ROOT })
    local made = create(first, ROOT)
    local cookie = login(first, made.key)
    stop(first)
    pg:kill()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    assert.equal(200, s:get("/plain").status)
    local ready = s:get("/api/health/ready")
    assert.equal(503, ready.status)
    assert.truthy(ready:json().reasons[1]:find("DATABASE_URL", 1, true))
    assert.equal(200, send(s, "GET", "/api/keys/meta", ROOT).status)
    for _, path in ipairs({ "/api/keys", "/api/plugins" }) do
      local res = send(s, "GET", path, made.key)
      assert.same({ 503, "KEYS_UNAVAILABLE" }, { res.status, res:json().code })
    end
    assert.equal(503, send(s, "GET", "/api/keys", ROOT).status) -- there are some
    assert.equal(503, s:get("/api/plugins", { headers = cookie }).status)
    assert.equal(401, send(s, "GET", "/api/plugins", "guess").status)
    local line = s:wait_log("only the root key is good")
    assert.truthy(line.msg:find("cannot connect to tester@127.0.0.1", 1, true), line.msg)
    pg:restart()
    eventually(200, s, made)
    assert.equal("key:" .. made.id, principal(s, cookie))
    assert.equal(200, s:get("/api/health/ready").status)
    assert.truthy(s:wait_log("the keys were read from DATABASE_URL"))
    stop(s, unpack(AWAY))
  end)

  it("lets nobody in before it knows whether there are keys", function()
    local s = start({ DATABASE_URL = pg.url:gsub("/postgres$", "/none") })
    local res = s:get("/api/plugins")
    assert.same({ 401, "AUTH_REQUIRED" }, { res.status, res:json().code })
    local line = s:wait_log("keys cannot be read")
    assert.truthy(line.msg:find('database "none" does not exist', 1, true), line.msg)
    stop(s, unpack(AWAY))
    s = start()
    assert.equal(200, s:get("/api/plugins").status) -- there are none
    stop(s)
  end)

  it("says what is wrong with DATABASE_URL", function()
    for url, message in pairs({
      ["mysql://u:pass-word@h/x"] = "DATABASE_URL: the URL must begin with postgres://",
      ["postgres://u:pass-word@h/x?nonsense=pass-word"] = "DATABASE_URL: the URL is not PostgreSQL's",
    }) do
      local code, out, err = server.run({ "serve" }, { env = { DATABASE_URL = url } })
      assert.equal(1, code)
      assert.truthy((out .. err):find(message, 1, true), out .. err)
      assert.is_nil((out .. err):find("pass-word", 1, true))
    end
    local s = start({ DATABASE_URL = pg.url:gsub(":[^:]*@", ":wrong-word@"), RUNTIME_ROOT_KEY = ROOT })
    local line = s:wait_log("keys cannot be read")
    assert.truthy(line.msg:find("password authentication failed", 1, true), line.msg)
    assert.is_nil(s:log():find("wrong-word", 1, true))
    stop(s, unpack(AWAY))
  end)

  it("says that the user may not make tables", function()
    pg:psql("create role plain login password 'plain-pass'")
    local s = start({ DATABASE_URL = ("postgres://plain:plain-pass@127.0.0.1:%d/postgres"):format(pg.port) })
    local line = s:wait_log("keys cannot be read")
    assert.truthy(line.msg:find("permission denied for schema public", 1, true), line.msg)
    -- Somebody else makes them.
    local other = start()
    stop(other)
    pg:psql("grant select, insert, update, delete on buntime_keys, buntime_sessions to plain")
    assert.truthy(s:wait_log("the keys were read from DATABASE_URL", LONG))
    create(s)
    stop(s, unpack(AWAY))
    pg:psql("drop owned by plain; drop role plain")
  end)

  it("of several at once makes the tables once", function()
    for _ = 1, 3 do
      local all = {}
      for i = 1, 4 do
        all[i] = start({ RUNTIME_ROOT_KEY = ROOT }, { port = postgres.free_port(), wait = false })
      end
      for _, s in ipairs(all) do
        assert.truthy(s:wait_log("listening", LONG))
        assert.equal(200, s:get("/api/health/ready").status)
      end
      local made = create(all[1], ROOT)
      for i, s in ipairs(all) do
        eventually(200, s, made)
        stop(all[i])
      end
      pg:psql("drop table buntime_keys, buntime_sessions")
    end
  end)

  it("keeps closed what a file of keys had closed", function()
    local dir = process.temp_dir()
    local s = start({ DATABASE_URL = false, RUNTIME_STATE_DIR = dir })
    local made = create(s)
    stop(s)
    s = start({ RUNTIME_STATE_DIR = dir })
    assert.equal(401, s:get("/api/plugins").status)
    assert.equal(401, send(s, "GET", "/api/plugins", made.key).status)
    assert.truthy(s:wait_log("keys.db are not read"))
    stop(s)
    process.run({ args = { "rm", "-r", dir } }, 20)
  end)

  it("drops what is over", function()
    local s = start({ RUNTIME_ROOT_KEY = ROOT })
    local first, second, third = create(s, ROOT), create(s, ROOT), create(s, ROOT)
    stop(s)
    pg:psql(("update buntime_keys set revoked = 1 where id in ('%s', '%s')"):format(first.id, second.id))
    pg:psql("insert into buntime_sessions values (sha256('x'), '', 1, 1)")
    s = start({ RUNTIME_ROOT_KEY = ROOT })
    assert.equal("0", pg:psql("select count(*) from buntime_sessions"))
    assert.equal("2", pg:psql("select count(*) from buntime_keys")) -- that there was a key is kept
    assert.equal(200, send(s, "GET", "/api/keys/meta", third.key).status)
    stop(s)
  end)
end)
