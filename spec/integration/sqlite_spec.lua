-- SQLite from a plugin: where its files are, slow statements beside others, clients that go, reloads.

local lfs = require("lfs")
local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin = fixtures.plugin

--- How many descriptors of the server are for the file of that name.
local function open_files(s, name)
  local folder, count = ("/proc/%d/fd/"):format(s:pid()), 0
  for entry in lfs.dir(folder) do
    local target = lfs.symlinkattributes(folder .. entry, "target") or ""
    count = count + (target:match("[^/]*$") == name and 1 or 0)
  end
  return count
end

--- A statement that goes on until it is interrupted.
local FOREVER = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"

local OPTIONS = '{ migrations = { "create table t(id integer primary key, v)" } }'

--- A plugin at /db with an open database; `routes` is code that adds to `routes`.
local function with_db(routes, options)
  return plugin(
    'name: "@acme/db"\nbase: /db\n',
    ([[
    local sqlite = require("buntime.sqlite")
    local FOREVER = %q
    local routes = require("buntime.router").new()
    local state = { interrupted = 0 }
    local db
    routes:get("/state", function(c)
      return c:json(state)
    end)
    routes:get("/count", function(c)
      return c:json(db:first("select count(*) as n from t"))
    end)
    routes:post("/add", function(c)
      return c:json(db:exec("insert into t(v) values (?)", c.req.body))
    end)
    %s
    return {
      routes = routes,
      onInit = function()
        db = sqlite.open("main.db", %s)
      end,
      onShutdown = function()
        db:close()
      end,
    }]]):format(FOREVER, routes or "", options or OPTIONS)
  )
end

local function start(routes, options)
  return server.start({ plugins = { db = with_db(routes, options) } })
end

--- How long fn takes, in seconds.
local function timed(fn)
  local began = socket.gettime()
  fn()
  return socket.gettime() - began
end

describe("sqlite in a plugin", function()
  after_each(server.stop_all)

  it("keeps its files in the plugin's data folder, for the server's user alone", function()
    local s = start()
    assert.same({ changes = 1, last_id = 1 }, s:post("/db/add", { body = "x" }):json())
    local dir = s.dir .. "/.buntime/data/@acme/db"
    assert.equal("file", lfs.attributes(dir .. "/main.db", "mode"))
    assert.equal("rwx------", lfs.attributes(dir, "permissions"))
    s:stop()
  end)

  it("keeps its rows across a reload", function()
    local s = start()
    s:post("/db/add", { body = "x" })
    for _ = 1, 3 do
      assert.equal(200, s:reload().status)
      assert.equal(1, s:get("/db/count"):json().n)
    end
    s:stop()
  end)

  it("answers an error that nobody caught with 500, its code and statement in the log", function()
    local s = start([[
      routes:get("/bad", function(c)
        return c:json(db:query("select nope from t"))
      end)]])
    local res = s:get("/db/bad")
    assert.equal(500, res.status)
    local line = s:wait_log("no such column: nope")
    assert.truthy(line.msg:find("select nope from t", 1, true))
    s:allow_errors("no such column")
    s:stop()
  end)

  it("lets a handler tell errors apart", function()
    local s = start([[
      routes:get("/unique", function(c)
        local ok, err = pcall(db.exec, db, "insert into t(id) values (1), (1)")
        return c:json({ ok = ok, code = err.code, position = err.position })
      end)]])
    assert.same({ ok = false, code = "SQLITE_CONSTRAINT_PRIMARYKEY" }, s:get("/db/unique"):json())
    s:stop()
  end)

  it("goes on with quick statements and other work while slow ones run", function()
    local s = start([[
      routes:get("/slow", function(c)
        return c:json(db:query(FOREVER))
      end)]])
    local conns = {}
    for i = 1, 2 do
      conns[i] = s:connect()
      conns[i]:send("GET /db/slow HTTP/1.1\r\nHost: x\r\n\r\n")
    end
    s:get("/db/count")
    for _ = 1, 20 do
      assert.truthy(timed(function()
        assert.equal(200, s:get("/db/state").status)
        assert.equal(200, s:get("/db/count").status)
        assert.equal(200, s:post("/db/add", { body = "x" }).status)
      end) < 2)
    end
    for _, conn in ipairs(conns) do
      conn:close()
    end
    s:stop()
  end)

  it("interrupts the statement of a client that went", function()
    local s = start([[
      routes:get("/slow", function(c)
        local ok, err = pcall(db.query, db, FOREVER)
        state.interrupted = state.interrupted + (ok and 0 or 1)
        error(err, 0)
      end)]])
    for i = 1, 4 do -- more than there are readers: each has to be free again
      local conn = s:connect()
      conn:send("GET /db/slow HTTP/1.1\r\nHost: x\r\n\r\n")
      s:get("/db/state")
      conn:close()
      assert.truthy(process.eventually(function()
        return s:get("/db/state"):json().interrupted == i
      end))
    end
    s:stop()
  end)

  it("rolls back the transaction of a client that went", function()
    local s = start([[
      routes:get("/hold", function(c)
        db:transaction(function(tx)
          tx:exec("insert into t(v) values ('lost')")
          state.inside = true
          buntime.sleep(60)
        end)
      end)]])
    local conn = s:connect()
    conn:send("GET /db/hold HTTP/1.1\r\nHost: x\r\n\r\n")
    assert.truthy(process.eventually(function()
      return s:get("/db/state"):json().inside
    end))
    conn:close()
    assert.equal(1, s:post("/db/add", { body = "kept" }):json().changes)
    assert.equal(1, s:get("/db/count"):json().n)
    s:stop()
  end)

  it("serialises what many clients write at once", function()
    local s = start([[
      routes:post("/move", function(c)
        return c:json(db:transaction(function(tx)
          local n = tx:first("select count(*) as n from t").n
          tx:exec("insert into t(id, v) values (?, 'x')", n + 1)
          return { id = n + 1 }
        end))
      end)]])
    local seen = {}
    http.parallel(50, function()
      local id = s:post("/db/move"):json().id
      assert.is_nil(seen[id])
      seen[id] = true
    end)
    assert.equal(50, s:get("/db/count"):json().n)
    s:stop()
  end)

  it("waits with a new instance's migrations until the old instance's transaction is over", function()
    local hold = [[
      routes:get("/hold", function(c)
        db:transaction(function(tx)
          tx:exec("insert into t(v) values ('old')")
          state.inside = true
          buntime.sleep(0.3)
        end)
        return c:json({ done = true })
      end)]]
    local s = start(hold)
    local held
    http.parallel(2, function(i)
      if i == 1 then
        held = s:get("/db/hold")
      else
        repeat
          local inside = s:get("/db/state"):json().inside
        until inside
        local both = '{ migrations = { "create table t(id integer primary key, v)",'
          .. ' "insert into t(v) values (\'new\')" } }'
        s:write("db/plugin.lua", with_db(hold, both)["plugin.lua"])
        assert.equal(200, s:reload().status)
      end
    end)
    assert.equal(200, held.status)
    assert.equal(2, s:get("/db/count"):json().n)
    s:stop()
  end)

  it("fails the build of an instance whose migrations were edited, and the old one goes on", function()
    local s = start()
    s:post("/db/add", { body = "x" })
    local edited = with_db("", '{ migrations = { "create table t(id integer primary key, v, w)" } }')
    s:write("db/plugin.lua", edited["plugin.lua"])
    local answer = s:reload()
    assert.equal(207, answer.status)
    local item = answer:json().plugins[1]
    assert.equal("kept_old", item.status)
    assert.equal("MIGRATION_CHANGED", item.error.code)
    assert.equal(1, s:get("/db/count"):json().n)
    s:stop()
  end)

  it("closes what an instance leaves open, also with a statement on its way, and says so", function()
    local code = [[
      local sqlite = require("buntime.sqlite")
      local task = require("buntime.task")
      return { onInit = function()
        local db = sqlite.open("left.db")
        task.spawn(function()
          db:query(%q)
        end)
        task.spawn(db.transaction, db, function(tx)
          tx:exec("create table t(a)")
          buntime.sleep(60)
        end)
      end }]]
    local s = server.start({ plugins = { left = plugin("name: left\n", code:format(FOREVER)) } })
    for _ = 1, 60 do
      assert.equal(200, s:reload().status)
    end
    assert.truthy(s:wait_log("left open and now closed: sqlite left.db"))
    -- Each open connection has the WAL open: one that writes and one that reads, the live instance's.
    -- Of the file itself SQLite keeps some for its next connection, as closing one would drop the
    -- locks of the others; these are used again, so there are a few and not one a reload.
    assert.truthy(process.eventually(function()
      return open_files(s, "left.db-wal") <= 2
    end))
    assert.is_true(open_files(s, "left.db") <= 12, open_files(s, "left.db") .. " are open")
    s:stop()
  end)

  it("does not open a database that is damaged", function()
    local s = server.start({
      plugins = { db = with_db() },
      files = { [".buntime/data/@acme/db/main.db"] = ("not a database"):rep(1000) },
    })
    assert.equal(404, s:get("/db/count").status)
    assert.truthy(s:wait_log("SQLITE_NOTADB"))
    s:allow_errors("SQLITE_NOTADB")
    s:stop()
  end)
end)
