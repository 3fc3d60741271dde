-- Several servers of one deployment, with a real Redis or a real PostgreSQL between them.

local socket = require("socket")

local archives = require("spec.support.archives")
local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local postgres = require("spec.support.postgres")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

--- A little more than a replica that is not heard any more stays on the roster.
local GONE_SECONDS = 30

local function hello(text)
  return fixtures.plugin("name: hello\nbase: /hello\n", ([[
    local routes = require("buntime.router").new()
    routes:get("/", function(c) return c:text(%q) end)
    return { routes = routes }
  ]]):format(text))
end

--- @param env table
--- @param options? server.Options
local function start(env, options)
  options = options or {}
  options.env = env
  return server.start(options)
end

--- Servers that share a folder of plugins, which is the first one's.
local function start_sharing(count, env, plugins)
  local list = { start(env, { plugins = plugins }) }
  for i = 2, count do
    list[i] = start(env, { dirs = { list[1].dir .. "/plugins" } })
  end
  return list
end

--- The replicas that a server knows of, by id; itself too.
local function roster(s, headers)
  local list, ids = s:get("/api/replicas", { headers = headers }):json(), {}
  for _, one in ipairs(list) do
    ids[one.id] = one
  end
  return ids, #list, list[1].id
end

local function wait_for_roster(list, count, headers)
  for _, s in ipairs(list) do
    assert(process.eventually(function()
      return select(2, roster(s, headers)) == count
    end, GONE_SECONDS), "the replicas do not find each other")
  end
end

local function stop(list)
  for _, s in ipairs(list) do
    s:stop()
  end
end

--- How it went on each replica, by id.
local function by_id(answer)
  local ids = {}
  for _, one in ipairs(answer.replicas) do
    ids[one.id] = one
  end
  return ids
end

local db, pg
local patience = http.TIMEOUT

setup(function()
  http.TIMEOUT = 30 -- a reload waits for those who do not answer
  db = redis.start()
  pg = postgres.start()
end)
teardown(function()
  http.TIMEOUT = patience
  db:stop()
  pg:stop()
end)
after_each(server.stop_all)

describe("a replica", function()
  it("is alone without a database", function()
    server.with({ plugins = { hello = hello("one") } }, function(s)
      local _, count, id = roster(s)
      assert.equal(1, count)
      assert.is_truthy(id:find("^[%w.-]+%-%x%x%x%x%x%x%x%x$"))
      assert.is_nil(s:reload():json().replicas)
      assert.is_nil(s:get("/api/metrics").body:find("buntime_replicas", 1, true))
    end)
  end)

  it("knows the others, until they leave", function()
    local list = start_sharing(2, { REDIS_URL = db.url }, { hello = hello("one") })
    wait_for_roster(list, 2)
    local ids, _, own = roster(list[1])
    local _, _, other = roster(list[2])
    assert.is_true(ids[own].self)
    assert.is_false(ids[other].self)
    assert.equal(ids[own].version, ids[other].version)
    assert.is_truthy(ids[other].since:find("^%d%d%d%d%-%d%d%-%d%dT"))
    local page = list[1]:get("/api/metrics").body
    assert.is_truthy(page:find("\nbuntime_replicas 2\n", 1, true))
    assert.is_truthy(page:find("\nbuntime_replicas_reachable 1\n", 1, true))
    list[2]:stop()
    wait_for_roster({ list[1] }, 1)
    assert.is_truthy(list[1]:wait_log("has left"))
    list[1]:stop()
  end)

  it("hears nothing of what is on another database of the Redis", function()
    local a = start({ REDIS_URL = db.url })
    local b = start({ REDIS_URL = db.url:gsub("/0$", "/1") })
    local c = start({ REDIS_URL = db.url })
    wait_for_roster({ a, c }, 2)
    assert.equal(1, (select(2, roster(b))))
    stop({ a, b, c })
  end)

  it("ignores what is no message, and says so once", function()
    local s = start({ REDIS_URL = db.url })
    for _ = 1, 3 do
      assert.equal("1", db:cli("PUBLISH", "buntime:bus:0", "nonsense"))
    end
    assert.equal("1", db:cli("PUBLISH", "buntime:bus:0", "buntime1 x-1 hello nonsense"))
    assert.equal("1", db:cli("PUBLISH", "buntime:bus:0", "buntime1 x-1 hello here 5 1.0"))
    wait_for_roster({ s }, 2)
    local count = 0
    for _, line in ipairs(s:errors()) do
      count = count + (line.code == "BUS_MESSAGE" and 1 or 0)
    end
    assert.equal(1, count)
    s:allow_errors("no message of this version")
    s:stop()
  end)
end)

--- The same over either database.
local function check_reloads(env)
  local list = start_sharing(3, env, { hello = hello("one") })
  local a, b, c = unpack(list)
  wait_for_roster(list, 3)
  for _, s in ipairs(list) do
    assert.equal("one", s:get("/hello/").body)
  end

  a:write("hello/plugin.lua", hello("two")["plugin.lua"])
  local res = b:reload()
  assert.equal(200, res.status, res.body)
  assert.equal(3, #res:json().replicas)
  for _, one in ipairs(res:json().replicas) do
    assert.same({ true, {} }, { one.ok, one.errors })
  end
  for _, s in ipairs(list) do
    assert.equal("two", s:get("/hello/").body)
    assert.equal(2, s:get("/api/health"):json().generation) -- none has reloaded twice
  end

  -- One plugin, also when only what changed is asked for.
  a:write("hello/plugin.lua", hello("three")["plugin.lua"])
  res = c:post("/api/plugins/hello/reload?changed=true")
  assert.equal(200, res.status, res.body)
  for _, s in ipairs(list) do
    assert.equal("three", s:get("/hello/").body)
  end
  stop(list)
end

describe("a reload", function()
  it("is one of all replicas", function()
    check_reloads({ REDIS_URL = db.url })
  end)

  it("is one of all replicas with PostgreSQL alone", function()
    check_reloads({ DATABASE_URL = pg.url })
  end)

  it("names the replica that it fails on, and why", function()
    local env = { REDIS_URL = db.url, SPEC_SECRET = "x" }
    local a = start(env, { plugins = { hello = hello("one") } })
    local b = start(env, { plugins = { hello = hello("one") } })
    wait_for_roster({ a, b }, 2)
    a:write("hello/plugin.lua", hello("two")["plugin.lua"])
    b:write("hello/plugin.lua", "return {")
    local res = a:reload()
    local _, _, own = roster(a)
    local _, _, other = roster(b)
    assert.equal(207, res.status)
    assert.is_false(res:json().ok)
    local told = by_id(res:json())
    assert.is_true(told[own].ok)
    assert.is_false(told[other].ok)
    assert.equal("hello", told[other].errors[1].name)
    assert.is_truthy(told[other].errors[1].message:find("plugin.lua:1", 1, true))
    assert.equal("two", a:get("/hello/").body)
    assert.equal("one", b:get("/hello/").body)
    b:allow_errors("plugin.lua")
    stop({ a, b })
  end)

  it("is announced by SIGHUP, enabling and disabling too", function()
    local list = start_sharing(2, { REDIS_URL = db.url }, { hello = hello("one") })
    local a, b = unpack(list)
    wait_for_roster(list, 2)
    a:write("hello/plugin.lua", hello("two")["plugin.lua"])
    a.process:kill("HUP")
    assert.is_truthy(process.eventually(function()
      return b:get("/hello/").body == "two"
    end, 20))
    assert.equal(200, b:post("/api/plugins/hello/disable").status)
    assert.equal(404, a:get("/hello/").status)
    local res = a:post("/api/plugins/hello/enable")
    assert.equal(2, #res:json().reload.replicas)
    assert.equal("two", b:get("/hello/").body)
    stop(list)
  end)
end)

--- What has to wait for a file to go away, at its init.
local function slow(file)
  return fixtures.plugin("name: slow\nbase: /slow\n", ([[
    local sleep = require("buntime").sleep
    return { onInit = function()
      local function exists()
        local file = io.open(%q)
        return file and file:close()
      end
      while exists() do
        sleep(0.05)
      end
    end }
  ]]):format(file))
end

describe("reloads that are announced", function()
  it("are so many at a time, and end with the server", function()
    local file = os.tmpname()
    os.remove(file)
    local s = start({ REDIS_URL = db.url }, { plugins = { slow = slow(file) } })
    s:allow_errors("no message of this version")
    assert(io.open(file, "w")):close()
    for i = 1, 100 do
      local name = i == 1 and "slow" or "p" .. i
      db:cli("PUBLISH", "buntime:bus:0", ("buntime1 other-1 ask %d reload - %s"):format(i, name))
    end
    db:cli("PUBLISH", "buntime:bus:0", "the end")
    assert(process.eventually(function()
      return s:log():find("no message of this version", 1, true)
    end))
    assert.equal(64, select(2, s:log():gsub("replica other%-1 has reloaded", "")))
    s:stop()
    os.remove(file)
  end)
end)

describe("an upload", function()
  local function install(s, name)
    local archive = archives.tgz({
      { name .. "/manifest.yaml", ("name: %s\nbase: /%s\n"):format(name, name) },
      { name .. "/plugin.lua", hello(name)["plugin.lua"] },
    })
    return s:post("/api/plugins/upload?reload=true", archives.form("p.tgz", archive))
  end

  it("is loaded by all replicas, also when two come at once", function()
    local list = start_sharing(2, { REDIS_URL = db.url }, {})
    wait_for_roster(list, 2)
    local began = socket.gettime()
    local answers = http.parallel(2, function(i)
      return install(list[i], "up" .. i)
    end)
    -- None has waited for the other one in vain.
    assert.is_true(socket.gettime() - began < 9)
    for i, res in ipairs(answers) do
      assert.equal(200, res.status, res.body)
      assert.equal(2, #res:json().reload.replicas)
      for _, s in ipairs(list) do
        assert.equal("up" .. i, s:get(("/up%d/"):format(i)).body)
      end
    end
    local res = list[2]:delete("/api/plugins/up1")
    assert.equal(200, res.status, res.body)
    assert.equal(404, list[1]:get("/up1/").status)
    stop(list)
  end)
end)

describe("without its database", function()
  it("a reload says that nobody can be reached, and afterwards all is well", function()
    local own = redis.start()
    local list = start_sharing(2, { REDIS_URL = own.url }, { hello = hello("one") })
    local a, b = unpack(list)
    wait_for_roster(list, 2)
    own:kill()
    a:write("hello/plugin.lua", hello("two")["plugin.lua"])
    local res = a:reload()
    assert.equal(207, res.status)
    assert.equal("REPLICAS_UNREACHABLE", res:json().replicasError.code)
    assert.equal(2, #res:json().replicas)
    assert.equal("NO_ANSWER", res:json().replicas[2].errors[1].code)
    assert.equal("two", a:get("/hello/").body)
    assert.equal("one", b:get("/hello/").body)

    own:restart()
    assert(process.eventually(function()
      return a:reload().status == 200
    end, GONE_SECONDS), "the replicas do not find each other again")
    assert.equal("two", b:get("/hello/").body)
    assert.is_truthy(a:wait_log("can be reached again"))
    for _, s in ipairs(list) do
      s:allow_errors("the other replicas cannot be reached")
      assert.is_nil(s:log():find("not heard any more", 1, true))
    end
    stop(list)
    own:stop()
  end)
end)

-- Killing ------------------------------------------------------------------------------------------

--- Without a goodbye: the supervisor first, so that it starts nothing anew.
local function kill(s)
  local pid = s:pid()
  s.process:kill("KILL")
  s.process:wait(10)
  process.run({ args = { "kill", "-KILL", tostring(pid) } }, 10)
end

local WRITER = fixtures.plugin("name: writer\nbase: /writer\n", [[
  local shared = require("buntime.shared")
  local routes = require("buntime.router").new()
  routes:post("/:key", function(c)
    assert(shared.set(c.req:param("key"), "kept"))
    assert(shared.incr("sum"))
    return c:text("done")
  end)
  routes:get("/:key", function(c)
    return c:json({ value = shared.get(c.req:param("key")) })
  end)
  return { routes = routes }
]])

describe("a replica that is killed", function()
  it("takes nothing with it that was acknowledged, and is missed", function()
    local env = { REDIS_URL = db.url, DATABASE_URL = pg.url, RUNTIME_ROOT_KEY = "root-key-of-the-specs" }
    local headers = { ["X-API-Key"] = env.RUNTIME_ROOT_KEY }
    local list = start_sharing(3, env, { writer = WRITER })
    local a, b, victim = unpack(list)
    wait_for_roster(list, 3, headers)
    local _, _, victim_id = roster(victim, headers)

    -- Many clients at once, some of whom are in the middle of it when the replica goes.
    local CLIENTS, ENOUGH = 8, 60
    local keys, values, done, killed = {}, {}, 0, false
    http.parallel(CLIENTS, function(i)
      for n = 1, 10000 do
        local name = ("k%d.%d"):format(i, n)
        local ok, res = pcall(function()
          if n % 3 == 0 then
            return victim:post("/api/keys", { headers = headers, json = { name = name, role = "viewer" } })
          end
          return victim:post("/writer/" .. name)
        end)
        if not ok or res.status >= 300 then
          assert(killed, ok and res.body or res)
          return
        elseif n % 3 == 0 then
          keys[#keys + 1] = res:json().data.key
        else
          values[#values + 1] = name
        end
        done = done + 1
        if done == ENOUGH then
          killed = true
          kill(victim)
        end
      end
    end)
    assert.is_true(killed and #keys > 0 and #values > 0)

    -- Right away, when nobody has noticed yet.
    local res = a:post("/api/plugins/reload", { headers = headers })
    assert.equal(207, res.status, res.body)
    local told = by_id(res:json())
    assert.equal("NO_ANSWER", told[victim_id].errors[1].code)
    assert.equal(3, #res:json().replicas)

    for _, s in ipairs({ a, b }) do
      for _, name in ipairs(values) do
        assert.equal("kept", s:get("/writer/" .. name):json().value)
      end
      for _, key in ipairs(keys) do
        assert(process.eventually(function()
          return s:get("/api/plugins", { headers = { ["X-API-Key"] = key } }).status == 200
        end, 10), "a key is lost")
      end
    end
    assert.is_true(a:get("/writer/sum"):json().value >= #values)

    wait_for_roster({ a, b }, 2, headers)
    assert.is_truthy(b:wait_log("replica " .. victim_id .. " is not heard any more"))
    res = b:post("/api/plugins/reload", { headers = headers })
    assert.equal(200, res.status, res.body)
    assert.equal(2, #res:json().replicas)
    victim:discard()
    stop({ a, b })
  end)
end)

-- Schedules -----------------------------------------------------------------------------------------

local JOBS = 12

--- Many schedules, each of which notes its runs, and takes a moment.
local NIGHTLY = fixtures.plugin("name: nightly\nbase: /nightly\n", ([[
  local cron = require("buntime.cron")
  local routes = require("buntime.router").new()
  local runs = {}
  local function add(name, seconds)
    runs[name] = 0
    cron.schedule("* * * * *", function()
      runs[name] = runs[name] + 1
      buntime.sleep(seconds or 0.5)
    end, { name = name })
  end
  routes:get("/", function(c) return c:json(runs) end)
  return {
    routes = routes,
    onInit = function()
      for i = 1, %d do add("job" .. i) end
      add("taken")
      add("busy")
      add("long", 600)
    end,
  }
]]):format(JOBS))

--- A schedule's name in Redis, as runtime/data/cron_lock.c makes it.
local function schedule_key(kind, name)
  return ("buntime:%s:nightly\n%s\n* * * * *\n\n0"):format(kind, name)
end

local function statuses(s)
  local by_name = {}
  for _, one in ipairs(s:get("/api/plugins/nightly"):json().cron) do
    by_name[one.name] = one
  end
  return by_name
end

describe("a schedule", function()
  it("is run by one replica each time", function()
    local at = math.floor(socket.gettime()) + 8
    local env = { REDIS_URL = db.url, TZ = fixtures.zone_ending(at) }
    local list = start_sharing(2, env, { nightly = NIGHTLY })
    -- What a replica did that is gone, and what one is doing that is not.
    db:cli("SET", schedule_key("cron", "taken"), at .. " other-1")
    db:cli("SET", schedule_key("cron.running", "busy"), "other-1")
    assert.is_true(socket.gettime() < at, "the servers were not up in time")
    local seen
    assert(process.eventually(function()
      seen = { statuses(list[1]), statuses(list[2]) }
      for name, one in pairs(seen[1]) do
        local two = seen[2][name]
        if one.runs + two.runs + one.elsewhere + two.elsewhere + one.skipped + two.skipped < 2 then
          return false
        end
      end
      return true
    end, 30), "not every schedule had its time")
    for i = 1, JOBS do
      local one, two = seen[1]["job" .. i], seen[2]["job" .. i]
      assert.same({ 1, 1 }, { one.runs + two.runs, one.elsewhere + two.elsewhere })
    end
    for _, s in ipairs(seen) do
      assert.same({ 0, 1 }, { s.taken.runs, s.taken.elsewhere })
      assert.equal(0, s.busy.runs)
    end
    assert.equal(1, seen[1].busy.skipped + seen[2].busy.skipped)
    assert.equal("1", db:cli("EXISTS", schedule_key("cron.running", "long")))
    assert(process.eventually(function()
      return db:cli("EXISTS", schedule_key("cron.running", "job1")) == "0"
    end, 10), "a run that has ended keeps its lease")
    db:cli("DEL", schedule_key("cron.running", "busy"))
    stop(list)
  end)
end)

-- Wrong credentials ---------------------------------------------------------------------------------

describe("wrong credentials", function()
  --- Ten of them over two replicas.
  local function check_attempts(env)
    env.RUNTIME_ROOT_KEY = "root-key-of-the-specs"
    local list = { start(env), start(env) }
    local function try(s, key)
      return s:get("/api/replicas", { headers = { ["X-API-Key"] = key } }).status
    end
    for _, s in ipairs(list) do
      assert(process.eventually(function()
        return #s:get("/api/replicas", { headers = { ["X-API-Key"] = env.RUNTIME_ROOT_KEY } }):json() == 2
      end, GONE_SECONDS))
    end
    for i = 1, 10 do
      assert.equal(401, try(list[i % 2 + 1], "wrong"))
    end
    for _, s in ipairs(list) do
      assert(process.eventually(function()
        return try(s, env.RUNTIME_ROOT_KEY) == 429
      end, 10), "the other replica's do not count")
    end
    stop(list)
  end

  it("count at all replicas", function()
    check_attempts({ REDIS_URL = db.url })
  end)

  it("count at all replicas with PostgreSQL alone", function()
    check_attempts({ DATABASE_URL = pg.url })
  end)
end)
