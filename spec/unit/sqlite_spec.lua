--- buntime.sqlite inside the program: values, rows, errors, transactions, migrations.

local ffi = require("ffi")
local json = require("buntime.json")
local sqlite = require("buntime.sqlite")
local task = require("buntime.task")

--- Statements that go on until they are stopped.
local FOREVER = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
local ENDLESS_ROWS = "with recursive n(i) as (select 1 union all select i + 1 from n)"
  .. " select zeroblob(1000000) from n"
local ROWS_5000 = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)"
  .. " select i, 'row ' || i as t from n"

local count = 0

--- A file of its own for each spec.
local function name()
  count = count + 1
  return ("spec-%d.db"):format(count)
end

--- What fn raises.
local function failure(fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  return err
end

for _, kind in ipairs({ "a file", "memory" }) do
  describe("sqlite in " .. kind, function()
    local db

    before_each(function()
      db = sqlite.open(kind == "memory" and ":memory:" or name(), {
        migrations = { "create table t(id integer primary key, v)" },
      })
    end)

    after_each(function()
      db:close()
    end)

    it("gives rows by column name", function()
      db:exec("insert into t(v) values (?), (?)", "one", 2)

      assert.same({ { id = 1, v = "one" }, { id = 2, v = 2 } }, db:query("select id, v from t order by id"))
      assert.same({ id = 2, v = 2 }, db:first("select * from t where id = ?", 2))
      assert.is_nil(db:first("select * from t where id = 9"))
      assert.same({}, db:query("select * from t where id = 9"))
    end)

    it("tells what changed", function()
      assert.same({ changes = 1, last_id = 1 }, db:exec("insert into t(v) values (1)"))
      assert.same({ changes = 2, last_id = 3 }, db:exec("insert into t(v) values (1), (1)"))
      assert.same({ changes = 3 }, db:exec("update t set v = 2"))
      assert.same({ changes = 0 }, db:exec("delete from t where id = 9"))
      assert.same({ changes = 0 }, db:exec("create table u(a)"))
    end)

    it("takes values back as they went in", function()
      local cases = {
        { "text", "text" },
        { "", "text" },
        { "tëxt\0with NUL", "text" },
        { 0, "integer" },
        { -7, "integer" },
        { 2 ^ 53, "integer" },
        { 1.5, "real" },
        { 1e300, "real" },
        { math.huge, "real" },
        { json.null, "null" },
        { ffi.new("int64_t", 2 ^ 53) + 1, "integer" },
        { ffi.new("int64_t", -2 ^ 62) * 2, "integer" },
      }
      for i, case in ipairs(cases) do
        local row = db:first("select ? as v, typeof(?) as kind", case[1], case[1])
        assert.equal(case[1], row.v, "case " .. i)
        assert.equal(case[2], row.kind, "case " .. i)
      end
      assert.equal("9007199254740993LL", tostring(db:first("select 9007199254740993 as v").v))
      assert.equal("-9223372036854775808LL", tostring(db:first("select -9223372036854775808 as v").v))
    end)

    it("takes booleans, nil and blobs", function()
      local statement = "select ? as yes, ? as no, ? as none, typeof(?4) as kind, ?4 as b"
      local row = db:first(statement, true, false, nil, sqlite.blob("\255\0\254"))

      assert.same({ yes = 1, no = 0, none = json.null, kind = "blob", b = "\255\0\254" }, row)
    end)

    it("counts trailing nils as values", function()
      assert.same({ a = 1, b = json.null }, db:first("select ? as a, ? as b", 1, nil))
    end)

    it("binds $2 to the second value wherever it stands", function()
      local row = db:first("select $2 as a, $1 as b, $2 as c", "one", "two")

      assert.same({ a = "two", b = "one", c = "two" }, row)
    end)

    it("raises errors with code, statement and position", function()
      local err = failure(db.query, db, "select 'ä' as a, nope from t")

      assert.equal("SQLITE_ERROR", err.code)
      assert.equal("no such column: nope", err.message)
      assert.equal("select 'ä' as a, nope from t", err.statement)
      assert.equal(18, err.position)
      assert.equal("SQLITE_ERROR: no such column: nope at character 18 in: " .. err.statement, tostring(err))
    end)

    it("names what was violated", function()
      db:exec("create table u(a unique not null check (a <> 'bad'), b references t(id))")
      db:exec("insert into u(a) values ('x')")

      local cases = {
        SQLITE_CONSTRAINT_UNIQUE = "insert into u(a) values ('x')",
        SQLITE_CONSTRAINT_NOTNULL = "insert into u(a) values (null)",
        SQLITE_CONSTRAINT_CHECK = "insert into u(a) values ('bad')",
        SQLITE_CONSTRAINT_FOREIGNKEY = "insert into u(a, b) values ('y', 99)",
        SQLITE_CONSTRAINT_PRIMARYKEY = "insert into t(id) values (1), (1)",
      }
      for code, statement in pairs(cases) do
        assert.equal(code, failure(db.exec, db, statement).code)
      end
    end)

    it("refuses what is not one statement with its values", function()
      local cases = {
        { "SQLITE_RANGE: the statement wants 2 values, got 1", "select ?, ?", 1 },
        { "SQLITE_RANGE: the statement wants 0 values, got 1", "select 1", 1 },
        { "SQLITE_RANGE: the statement wants 2 values, got 1", "select $2", 1 },
        { "SQLITE_MISUSE: more than one statement in a call at character 11", "select 1; select 2" },
        { "SQLITE_MISUSE: the statement is empty", " -- nothing" },
        { "SQLITE_MISUSE: values are bound by ? or $1, not by :name", "select :name", 1 },
        { "SQLITE_MISUSE: ? and $1 in one statement", "select ?, $1", 1 },
        { "SQLITE_AUTH: ATTACH is not available", "attach 'x.db' as x" },
        { "SQLITE_AUTH: ATTACH is not available", "attach '' as x" },
        { "SQLITE_AUTH: use db:transaction", "begin" },
        { "SQLITE_AUTH: use db:transaction", "savepoint x" },
        { "SQLITE_AUTH: this PRAGMA can be read, not set", "pragma journal_mode = delete" },
        { "SQLITE_AUTH: this PRAGMA is not available", "pragma temp_store_directory = '/'" },
        { "SQLITE_AUTH: load_extension is not available", "select load_extension('x')" },
        { "SQLITE_TOOBIG", "select zeroblob(70000000)" },
      }
      for _, case in ipairs(cases) do
        local err = failure(db.query, db, unpack(case, 2))
        assert.equal(case[1], tostring(err):sub(1, #case[1]))
      end
      assert.same({ { a = 1 } }, db:query("select 1 as a; -- and no more\n ;"))
    end)

    it("blames the caller for misuse", function()
      local cases = {
        { "db:query: the statement must be a string, got nil" },
        { "value 1 is a function; expected a string, number, boolean, nil, json.null or a blob", "x", print },
        { "db:query: value 2 is a table; expected", "x", 1, {} },
        { "db:query: value 1 is not UTF-8; bytes are bound as a blob", "x", "\255" },
        { "db:query: value 1 is NaN", "x", 0 / 0 },
        { "db:query: value 1 is beyond 64 bits", "x", ffi.new("uint64_t", 2 ^ 63) },
        { "db:query: value 1 is a cdata", "x", ffi.new("int[1]") },
        { "db:query: the statement has a NUL in it", "select 1\0" },
      }
      for _, case in ipairs(cases) do
        local message = failure(function()
          db:query(unpack(case, 2))
        end)
        assert.truthy(message:find("sqlite_spec.lua:%d+: "), message)
        assert.truthy(message:find(case[1], 1, true), message)
      end
      assert.truthy(failure(db.query, "select 1"):find("call it with a colon", 1, true))
    end)

    it("gives what INSERT … RETURNING returns, and keeps it", function()
      assert.same({ { id = 1 }, { id = 2 } }, db:query("insert into t(v) values (1), (2) returning id"))
      assert.same({ id = 3 }, db:first("insert into t(v) values (3), (4) returning id"))
      assert.equal(4, db:first("with x as (select 1) select count(*) as n from t").n)
      local insert = "with x as (select 5 as v) insert into t(v) select v from x returning id"
      assert.same({ id = 5 }, db:first(insert))
      assert.equal(5, db:first("select count(*) as n from t").n)
    end)

    it("makes many rows in slices", function()
      local rows = db:query(ROWS_5000)

      assert.equal(5000, #rows)
      for i, row in ipairs(rows) do
        assert.equal(i, row.i)
        assert.equal("row " .. i, row.t)
      end
    end)

    it("refuses a result that is too large", function()
      assert.equal("RESULT_TOO_LARGE", failure(db.query, db, ENDLESS_ROWS).code)
    end)

    it("commits what a transaction did and gives what it returned", function()
      local a, b, c = db:transaction(function(tx)
        tx:exec("insert into t(v) values (1)")
        assert.equal(1, tx:first("select count(*) as n from t").n)
        return "a", nil, "c"
      end)

      assert.same({ "a", nil, "c" }, { a, b, c })
      assert.equal(1, db:first("select count(*) as n from t").n)
    end)

    it("rolls back what failed, and raises it", function()
      local err = failure(db.transaction, db, function(tx)
        tx:exec("insert into t(v) values (1)")
        error({ code = "MINE" })
      end)

      assert.same({ code = "MINE" }, err)
      assert.equal(0, db:first("select count(*) as n from t").n)
      db:exec("insert into t(v) values (2)")
    end)

    it("undoes an inner part alone", function()
      db:transaction(function(tx)
        tx:exec("insert into t(v) values ('outer')")
        assert.has_error(function()
          tx:transaction(function(inner)
            inner:exec("insert into t(v) values ('inner')")
            tx:transaction(function()
              tx:exec("insert into t(v) values ('innermost')")
            end)
            error("no")
          end)
        end)
        tx:transaction(function()
          tx:exec("insert into t(v) values ('second')")
        end)
      end)

      assert.same({ { v = "outer" }, { v = "second" } }, db:query("select v from t order by id"))
    end)

    it("does not let a transaction use db or be used after its end", function()
      local kept
      local message = failure(db.transaction, db, function(tx)
        kept = tx
        db:exec("insert into t(v) values (1)")
      end)
      assert.truthy(message:find("use tx, not db", 1, true))
      assert.truthy(failure(db.transaction, db, function()
        db:transaction(function() end)
      end):find("use tx, not db", 1, true))
      assert.truthy(failure(kept.exec, kept, "select 1"):find("the transaction has ended", 1, true))
    end)

    it("lets one transaction wait for another", function()
      local order = {}
      local function add(letter)
        return task.spawn(function()
          db:transaction(function(tx)
            order[#order + 1] = letter
            tx:exec("insert into t(v) values (?)", letter)
            buntime.sleep(0.005)
            order[#order + 1] = letter
          end)
        end)
      end
      task.gather(add("a"), add("b"), add("c"))

      assert.equal("aabbcc", table.concat(order))
      assert.equal(3, db:first("select count(*) as n from t").n)
    end)

    it("rolls back when the task is cancelled, wherever it waits", function()
      local places = {
        function(tx)
          buntime.sleep(60)
        end,
        function(tx)
          tx:query(FOREVER)
        end,
        function(tx)
          tx:transaction(function()
            tx:exec("insert into t(v) values (2)")
            buntime.sleep(60)
          end)
        end,
      }
      for _, place in ipairs(places) do
        local begun
        local t = task.spawn(function()
          db:transaction(function(tx)
            tx:exec("insert into t(v) values (1)")
            begun = true
            place(tx)
          end)
        end)
        while not begun do
          buntime.sleep(0.001)
        end
        buntime.sleep(0.005)
        t:cancel()
        assert.truthy(tostring(failure(t.wait, t)):find("cancelled", 1, true))
        assert.same({ changes = 0 }, db:exec("delete from t")) -- and nothing hangs
      end
    end)

    it("takes a transaction back that was cancelled while it began", function()
      for _ = 1, 20 do
        local t = task.spawn(db.transaction, db, function() end)
        t:cancel()
        pcall(t.wait, t)
      end
      db:exec("insert into t(v) values (1)")
    end)

    it("interrupts a statement that nobody waits for", function()
      local t = task.spawn(db.query, db, FOREVER)
      buntime.sleep(0.01)
      t:cancel()
      db:exec("insert into t(v) values (1)")
      assert.equal(1, db:first("select count(*) as n from t").n) -- memory: only one connection
    end)

    it("gives up on a writer that is held for too long", function()
      local other = sqlite.open(kind == "memory" and ":memory:" or name(), { busy_timeout = 0.02 })
      local go = false
      local t = task.spawn(other.transaction, other, function()
        while not go do
          buntime.sleep(0.001)
        end
      end)
      local err = failure(other.exec, other, "create table x(a)")
      assert.equal("SQLITE_BUSY", err.code)
      assert.equal("the database is busy: a transaction holds it", err.message)
      go = true
      t:wait()
      other:exec("create table x(a)")
      other:close()
    end)

    it("ends by SQLITE_ABORT what goes on after SQLite rolled back itself", function()
      local small = sqlite.open(kind == "memory" and ":memory:" or name(), {
        max_size = 100000,
        migrations = { "create table t(v)" },
      })
      local err = failure(small.transaction, small, function(tx)
        tx:exec("insert into t values (1)")
        assert.equal("SQLITE_FULL", failure(tx.exec, tx, "insert into t values (zeroblob(1000000))").code)
        tx:exec("insert into t values (2)")
      end)
      if type(err) ~= "table" then
        error(err)
      end
      assert.truthy(err.code == "SQLITE_ABORT" or err.code == "SQLITE_FULL", tostring(err))
      assert.equal(0, small:first("select count(*) as n from t").n)
      small:close()
    end)

    it("raises once it is closed, also in what waits", function()
      local t = task.spawn(db.transaction, db, function(tx)
        buntime.sleep(0.02)
        tx:exec("insert into t(v) values (1)")
      end)
      local waiting = task.spawn(db.exec, db, "delete from t")
      buntime.sleep(0.005)
      db:close()
      assert.equal("the database was closed", failure(waiting.wait, waiting).message)
      assert.truthy(tostring(failure(t.wait, t)):find("the database is closed", 1, true))
      assert.truthy(failure(db.query, db, "select 1"):find("the database is closed", 1, true))
      db:close()
    end)

    it("runs VACUUM and reads PRAGMAs", function()
      db:exec("vacuum")
      assert.equal("t", db:query("pragma table_list(t)")[1].name)
      assert.equal(1, db:first("pragma foreign_keys").foreign_keys)
      db:exec("pragma user_version = 7")
      assert.equal(7, db:first("pragma user_version").user_version)
    end)
  end)
end

describe("a database file", function()
  it("is where the data is after it was closed", function()
    local file = "deep/er/" .. name()
    local db = sqlite.open(file, { migrations = { "create table t(v)" } })
    db:exec("insert into t values (1)")
    db:close()

    db = sqlite.open(file, { migrations = { "create table t(v)" } })
    assert.same({ { v = 1 } }, db:query("select * from t"))
    db:close()
  end)

  it("is read while a transaction writes", function()
    local db = sqlite.open(name(), { migrations = { "create table t(v)" } })
    local inside, go = false, false
    local t = task.spawn(db.transaction, db, function(tx)
      tx:exec("insert into t values (1)")
      inside = true
      while not go do
        buntime.sleep(0.001)
      end
    end)
    while not inside do
      buntime.sleep(0.001)
    end
    assert.equal(0, db:first("select count(*) as n from t").n)
    go = true
    t:wait()
    assert.equal(1, db:first("select count(*) as n from t").n)
    db:close()
  end)

  it("answers quick statements beside slow ones", function()
    local db = sqlite.open(name(), { readers = 2 })
    local slow = task.spawn(db.query, db, FOREVER)
    local quick = {}
    for i = 1, 100 do
      quick[i] = task.spawn(db.first, db, "select ? as i", i)
    end
    for i = 1, 100 do
      assert.same({ i = i }, quick[i]:wait())
    end
    slow:cancel()
    db:close()
  end)

  it("waits for another connection's transaction, and gives up in time", function()
    local file = name()
    local a = sqlite.open(file, { migrations = { "create table t(v)" } })
    local b = sqlite.open(file, { busy_timeout = 0.05 })
    local inside, go = false, false
    local t = task.spawn(a.transaction, a, function(tx)
      tx:exec("insert into t values (1)")
      inside = true
      while not go do
        buntime.sleep(0.001)
      end
    end)
    while not inside do
      buntime.sleep(0.001)
    end
    assert.equal("SQLITE_BUSY", failure(b.exec, b, "insert into t values (2)").code)
    local c = sqlite.open(file, { busy_timeout = 5 })
    local waiting = task.spawn(c.exec, c, "insert into t values (3)")
    buntime.sleep(0.01)
    go = true
    t:wait()
    assert.equal(1, waiting:wait().changes)
    assert.equal(2, b:first("select count(*) as n from t").n)
    a:close()
    b:close()
    c:close()
  end)

  it("must be below the data folder", function()
    for _, bad in ipairs({ "", "/etc/x.db", "../x.db", "a/../../x.db", "a/", "a\0b" }) do
      assert.truthy(failure(sqlite.open, bad):find("data folder", 1, true))
    end
    for _, case in ipairs({
      { {}, "the name must be a string, got table" },
      { "x.db", 5, "options must be a table, got number" },
      { "x.db", { migration = {} }, '"migration" is not known' },
      { "x.db", { readers = 0 }, "readers must be a number from 1 to 16, got 0" },
      { "x.db", { migrations = { 5 } }, "migration 1 must be SQL text, got number" },
    }) do
      local message = failure(sqlite.open, unpack(case, 1, #case - 1))
      assert.truthy(message:find(case[#case], 1, true), message)
    end
  end)

  it("is closed when nobody has it any more", function()
    for _ = 1, 50 do
      sqlite.open(":memory:")
    end
    collectgarbage()
    collectgarbage()
  end)
end)

describe("migrations", function()
  local first = "create table t(v); create index tv on t(v)"
  local second = "alter table t add column w default 'new'"

  it("are applied once each, in order", function()
    local file = name()
    local all = { first, second, "insert into t(v) values (1);;" }
    sqlite.open(file, { migrations = { first } }):close()
    for _ = 1, 2 do
      local db = sqlite.open(file, { migrations = all })
      assert.same({ { v = 1, w = "new" } }, db:query("select * from t"))
      db:close()
    end
    local older = sqlite.open(file, { migrations = { first } })
    assert.equal(1, older:first("select count(*) as n from t").n)
    older:close()
  end)

  it("are all undone when one fails, and the error says which", function()
    local file = name()
    local wrong = "insert into t(v) values (1); select nope from t"
    local err = failure(sqlite.open, file, { migrations = { first, wrong } })
    assert.equal("SQLITE_ERROR", err.code)
    assert.equal("migration 2: no such column: nope", err.message)
    assert.equal(37, err.position)
    local db = sqlite.open(file, { migrations = { first } })
    assert.equal(0, db:first("select count(*) as n from t").n)
    db:close()
  end)

  it("must not be edited", function()
    local file = name()
    sqlite.open(file, { migrations = { first, second } }):close()
    local err = failure(sqlite.open, file, { migrations = { first, second .. " " } })
    assert.equal("MIGRATION_CHANGED", err.code)
    assert.equal("migration 2 was edited after it had been applied; add a new one instead", err.message)
    assert.equal(second .. " ", err.statement)
  end)

  it("may rebuild a table that others refer to, if the references hold at the end", function()
    local file = name()
    local start = "create table a(id integer primary key);"
      .. "create table b(a references a(id) on delete cascade);"
      .. "insert into a values (1); insert into b values (1)"
    local rebuild = "create table c(id integer primary key, x); insert into c(id) select id from a;"
      .. "drop table a; alter table c rename to a"
    local db = sqlite.open(file, { migrations = { start, rebuild } })
    assert.equal(1, db:first("select count(*) as n from b").n)
    assert.equal("SQLITE_CONSTRAINT_FOREIGNKEY", failure(db.exec, db, "insert into b values (2)").code)
    db:close()
    local err = failure(sqlite.open, file, { migrations = { start, rebuild, "delete from a" } })
    assert.equal("SQLITE_CONSTRAINT_FOREIGNKEY", err.code)
  end)

  it("are applied once by two that open at the same time", function()
    local file, slow = name(), "create table t(v); insert into t values (1)"
    local a = task.spawn(sqlite.open, file, { migrations = { slow } })
    local b = task.spawn(sqlite.open, file, { migrations = { slow } })
    local one, two = task.gather(a, b)
    assert.equal(1, two:first("select count(*) as n from t").n)
    one:close()
    two:close()
  end)
end)
