-- buntime.postgres against a real server: values, errors, transactions, the pool, losses, LISTEN.

local cjson = require("cjson")

local chunks = require("spec.support.chunks")
local http = require("spec.support.http")
local postgres = require("spec.support.postgres")
local process = require("spec.support.process")
local server = require("spec.support.server")

local SETUP = [[
  local postgres = require("buntime.postgres")
  local options = { max = 5, idle_timeout = 60, statement_timeout = 20, acquire_timeout = 10 }
  return {
    postgres = postgres,
    task = require("buntime.task"),
    json = require("buntime.json"),
    url = buntime.env.SPEC_PG,
    db = postgres.connect(buntime.env.SPEC_PG, options),
  }
]]

local pg

local function start(options)
  options = options or {}
  return server.start({
    plugins = { chunks = chunks.plugin(SETUP) },
    env = { SPEC_PG = options.url or pg.url },
  })
end

setup(function()
  pg = postgres.start()
end)
teardown(function()
  pg:stop()
end)

describe("postgres", function()
  local s

  setup(function()
    s = start()
  end)
  teardown(function()
    assert.is_nil(s:log():find(pg.password, 1, true), "the password is in the log")
    s:stop()
  end)

  local function run(code, arg)
    return chunks.run(s, code, arg)
  end
  local function failure(code, arg)
    return chunks.failure(s, code, arg)
  end

  it("gives rows by column name, the first one, and what changed", function()
    run([[ db:exec("create table t(id int primary key, v text)") ]])
    local insert = [[ return db:exec("insert into t values ($1, $2), (2, 'two')", 1, "one") ]]
    assert.same({ changes = 2 }, run(insert))
    local rows = { { id = 1, v = "one" }, { id = 2, v = "two" } }
    assert.same(rows, run([[ return db:query("table t order by id") ]]))
    assert.same({ id = 2, v = "two" }, run([[ return db:first("select * from t where id = ?", 2) ]]))
    assert.is_true(run([[ return db:first("select * from t where id = 9") == nil ]]))
    assert.same({ changes = 2 }, run([[ return db:exec("update t set v = 'x'") ]]))
    assert.same({ changes = 0 }, run([[ return db:exec("select * from t") ]]))
    local returning = [[ return db:first("insert into t values (3, 'y'), (4, 'z') returning id") ]]
    assert.same({ id = 3 }, run(returning))
    assert.same({ n = 4 }, run([[ return db:first("select count(*) as n from t") ]]))
    run([[ db:exec("drop table t") ]])
  end)

  it("maps types", function()
    local cases = {
      { "true", "true" },
      { "false", "false" },
      { "32767::int2", "32767" },
      { "(-2147483648)::int4", "-2147483648" },
      { "9007199254740992::int8", "9007199254740992" },
      { "9007199254740993::int8", "9007199254740993" },
      { "(-9223372036854775808)::int8", "-9223372036854775808" },
      { "1.5::float4", "1.5" },
      { "0.1::float8", "0.1" },
      { "0.30000000000000004::float8", "0.30000000000000004" },
      { "1.10::numeric(10,2)", '"1.10"' },
      { "'text'::text", '"text"' },
      { "null", "null" },
      { "'2024-02-29 03:04:05.678'::timestamp", '"2024-02-29T03:04:05.678"' },
      { "'2024-02-29 03:04:05+02'::timestamptz", '"2024-02-29T01:04:05Z"' },
      { "'infinity'::timestamptz", '"infinity"' },
      { "'0044-03-15 12:00:00 BC'::timestamp", '"0044-03-15 12:00:00 BC"' },
      { "'2024-02-29'::date", '"2024-02-29"' },
      { "'{\"a\": [1, {}, []]}'::jsonb", '{"a":[1,{},[]]}' },
      { "'[]'::json", "[]" },
      { "'null'::json", "null" },
      { "array[1,2]", '"{1,2}"' },
      { "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"' },
    }
    for _, case in ipairs(cases) do
      local code = ([[ return json.encode(db:first("select %s as v").v) ]]):format(case[1]:gsub('"', '\\"'))
      assert.equal(case[2], run(code), case[1])
    end
    assert.same(
      { "userdata", "cdata", "number", "string", "boolean" },
      run([[
        local row = db:first("select null as a, 9007199254740993 as b, 1 as c, 1.5 as d, true as e")
        return { type(row.a), type(row.b), type(row.c), type(row.d), type(row.e) }
      ]])
    )
    assert.equal("05:30", run([[
      return db:transaction(function(tx)
        tx:exec("set local timezone = 'Asia/Kolkata'")
        return tx:first("select now() as t").t:sub(-5)
      end)
    ]]))
  end)

  it("takes values back as they went in", function()
    local n = run([[
      local ffi = require("ffi")
      local cases = {
        { "text", "" }, { "text", "tëxt 'quoted' \\ $1 ?" }, { "int8", 0 }, { "int8", -7 },
        { "float8", 1.5 }, { "float8", 1e300 }, { "float8", 0.1 + 0.2 }, { "float8", math.huge },
        { "bool", true }, { "bool", false }, { "text", json.null },
        { "int8", ffi.new("int64_t", 2 ^ 53) + 1 },
      }
      for i, case in ipairs(cases) do
        local back = db:first("select $1::" .. case[1] .. " as v", case[2]).v
        assert(back == case[2], i .. ": " .. tostring(back))
      end
      return #cases
    ]])
    assert.equal(12, n)
  end)

  it("is safe for bytes, and tells text from them", function()
    assert.is_true(run([[
      local bytes = {}
      for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
      bytes = table.concat(bytes):rep(1000)
      local row = db:first("select $1::bytea as b, length($1) as n", postgres.blob(bytes))
      local again = db:first("select $1::bytea as b, length($1) as n", postgres.blob(bytes))
      local third = db:first("select $1::bytea as b, length($1) as n", postgres.blob(""))
      return row.b == bytes and row.n == 256000 and again.b == bytes and third.b == ""
    ]]))
    local err = failure([[ db:exec("select $1::text", "a\0b") ]])
    assert.equal("22021", err.code)
    assert.matches("value 1 has a NUL", err.message)
    local text = failure([[ db:query("select $1", 1, "\255") ]]).text
    assert.matches("^spec:1: db:query: value 2 is not UTF%-8", text)
  end)

  it("takes tables as JSON and lists as arrays", function()
    assert.same(
      { v = { a = { 1, 2 }, b = "x" } },
      run([[ return db:first("select $1::jsonb as v", { a = { 1, 2 }, b = "x" }) ]])
    )
    assert.same({ n = 2 }, run([[
      local statement = "select count(*) as n from generate_series(1, 9) i where i = any($1)"
      return db:first(statement, postgres.array({ 3, 7 }))
    ]]))
    assert.same({ a = 'a"b\\c,{}', n = cjson.null }, run([[
      local list = postgres.array({ 'a"b\\c,{}', json.null, "NULL" })
      return db:first("select ($1::text[])[1] as a, ($1::text[])[2] as n", list)
    ]]))
  end)

  it("binds ? and $1, and leaves literals, comments and operators alone", function()
    local cases = {
      { "select ? || '?' || \"x\" as v from (select ? as \"x\") t", { "a", "b" }, "a?b" },
      { "select /* ? /* ? */ ? */ ?::text as v -- ?", { "a" }, "a" },
      { "select $2::text || $1::text as v", { "a", "b" }, "ba" },
      { "select E'\\'?' || ?::text as v", { "a" }, "'?a" },
      { "select $$?$$ || $tag$ $$ ? $tag$ || ?::text as v", { "a" }, "? $$ ? a" },
      { "select ('{\"k\": 1}'::jsonb ?? ?)::text as v", { "k" }, "true" },
      { "select ('{\"k\": 1}'::jsonb ? $1)::text as v", { "k" }, "true" },
      { "select 'it''s ?' || ?::text as v", { "a" }, "it's ?a" },
    }
    for i, case in ipairs(cases) do
      local code = [[ return db:first(arg.sql, unpack(arg.values)).v ]]
      local got = run(code, { sql = case[1], values = case[2] })
      assert.equal(case[3], got, "case " .. i)
    end
  end)

  it("raises what the server says, with statement and position", function()
    local err = failure([[ db:query("select 'ü?', ?::int, nope from x", 1) ]])
    assert.equal("42P01", err.code)
    err = failure([[ db:query("select 'ü?', ?::int, nope", 1) ]])
    assert.equal("42703", err.code)
    assert.equal('column "nope" does not exist', err.message)
    assert.equal("select 'ü?', ?::int, nope", err.statement)
    assert.equal(22, err.position)
    assert.equal(
      "42703: column \"nope\" does not exist at character 22 in: select 'ü?', ?::int, nope",
      err.text
    )

    run([[
      db:exec("create table u(id int constraint the_key primary key)")
      db:exec("insert into u values (1)")
    ]])
    err = failure([[ db:exec("insert into u values (?)", 1) ]])
    assert.equal("23505", err.code)
    assert.equal("the_key", err.constraint)
    assert.matches("already exists", err.detail)
    run([[ db:exec("drop table u") ]])

    assert.equal("22P02", failure([[ db:query("select $1::int", "x") ]]).code)
    assert.equal("VALUE_COUNT", failure([[ db:query("select $2::int", 1) ]]).code)
    assert.equal("the statement wants 1 value, got 2", failure([[ db:query("select ?::int", 1, 2) ]]).message)
    assert.equal("42601", failure([[ db:query("select 1; select 2") ]]).code)
    assert.equal("NOT_SUPPORTED", failure([[ db:query("copy (select 1) to stdout") ]]).code)
    assert.same({}, run([[ return db:query("") ]]))
    assert.same({ v = 1 }, run([[ return db:first("select 1 as v") ]]))
  end)

  it("blames the caller for misuse", function()
    local cases = {
      { "db:query: the statement must be a string, got nil", "db:query()" },
      { "db:query: a database expected; call it with a colon", "db.query('select 1')" },
      { "db:query: value 1 is a function", "db:query('select ?', print)" },
      { "db:query: the statement has a NUL in it", "db:query('select 1\\0')" },
      { "db:transaction: expected a function, got nil", "db:transaction()" },
      { "db:listen: the channel must be 1 to 63 bytes", "db:listen('', print)" },
      { "db:listen: expected a function for the messages, got nil", "db:listen('a')" },
      { "postgres.connect: \"maxx\" is not known", "postgres.connect(url, { maxx = 1 })" },
      { "postgres.connect: max must be a number from 1 to 1000", "postgres.connect(url, { max = 0 })" },
      { "postgres.connect: the URL must begin with postgres://", "postgres.connect('http://x')" },
    }
    for _, case in ipairs(cases) do
      local text = failure(case[2]).text
      assert.equal("spec:1: " .. case[1], text:sub(1, #case[1] + 8))
    end
    local urls = {
      "postgres://u:pass%zzword@h/",
      "postgres://u:password@[x/",
      "postgres://u:password@h/?x=y",
    }
    for _, url in ipairs(urls) do
      local text = failure([[ postgres.connect(arg) ]], url).text
      assert.matches("the URL is not PostgreSQL's", text)
      assert.is_nil(text:find("pass"), text)
    end
  end)

  it("prepares what comes again, and survives tables that change", function()
    assert.same({ 0, 1, 1 }, run([[
      local one = postgres.connect(url, { max = 1, statements = 2 })
      local counts = {}
      for i = 1, 3 do
        one:first("select ?::int as v", i)
        counts[i] = one:first("select count(*) as n from pg_prepared_statements where statement like '%%v'").n
      end
      one:close()
      return counts
    ]]))
    assert.same({ { 1 }, { 1, 2 } }, run([[
      local one = postgres.connect(url, { max = 1 })
      one:exec("create temp table changing(a int)")
      one:exec("insert into changing values (1)")
      local function columns()
        local list = {}
        for _, v in pairs(one:first("select * from changing")) do list[#list + 1] = v end
        table.sort(list)
        return list
      end
      columns() columns()
      local before = columns()
      one:exec("alter table changing add b int default 2")
      local after = columns()
      one:exec("deallocate all")
      columns()
      one:close()
      return { before, after }
    ]]))
    assert.equal(300, run([[
      local one = postgres.connect(url, { max = 1, statements = 3 })
      for round = 1, 3 do
        for i = 1, 100 do
          assert(one:first("select " .. i % 7 .. " as v").v == i % 7)
        end
      end
      local left = one:first("select count(*) as n from pg_prepared_statements").n
      assert(left <= 3, left)
      one:close()
      return 300
    ]]))
  end)

  it("refuses rows without end, and goes on", function()
    local err = failure([[ db:query("select repeat('x', 1000000) as v from generate_series(1, 100000)") ]])
    assert.equal("RESULT_TOO_LARGE", err.code)
    assert.same({ v = 1 }, run([[ return db:first("select 1 as v") ]]))
    assert.equal(20000, run([[ return #db:query("select i from generate_series(1, 20000) i") ]]))
    assert.equal("x", run([[ return db:first("select 'x' as v from generate_series(1, 1000000)").v ]]))
  end)

  it("ends a statement that takes too long", function()
    local err = failure([[
      local hasty = postgres.connect(url, { statement_timeout = 0.2 })
      hasty:query("select pg_sleep(30)")
    ]])
    assert.equal("57014", err.code)
    assert.matches("statement timeout", err.message)
  end)

  it("reports a server that says no, without the password", function()
    local err = failure([[ postgres.connect((url:gsub("s3cret", "wrong"))):query("select 1") ]])
    assert.equal("CONNECTION_FAILED", err.code)
    assert.matches("password authentication failed", err.message)
    assert.is_nil(err.text:find("wrong-of", 1, true))
    err = failure([[ postgres.connect((url:gsub("/postgres$", "/nowhere"))):query("select 1") ]])
    assert.matches('database "nowhere" does not exist', err.message)
    err = failure([[ postgres.connect("postgres://a:b@nowhere.invalid/x"):query("select 1") ]])
    assert.equal("CONNECTION_FAILED", err.code)
    assert.matches('cannot find host "nowhere.invalid"', err.message, nil, true)
    err = failure([[ postgres.connect("postgres://a:b@127.0.0.1:1/x"):query("select 1") ]])
    assert.equal("CONNECTION_FAILED", err.code)
    assert.matches("Connection refused", err.message)
  end)

  it("looks names up", function()
    assert.same({ v = 1 }, run([[
      local named = postgres.connect((url:gsub("127.0.0.1", "localhost")))
      return named:first("select 1 as v")
    ]]))
  end)
end)

describe("a transaction of postgres", function()
  local s

  setup(function()
    s = start()
    chunks.run(s, [[
      db:exec("create table acct(id int primary key, n int)")
      db:exec("insert into acct values (1, 0)")
    ]])
  end)
  before_each(function()
    chunks.run(s, [[ db:exec("update acct set n = 0") ]])
  end)
  after_each(function()
    -- nothing is left open; a rollback need not have come through yet
    assert.is_truthy(process.eventually(function()
      local now = chunks.run(s, [[ return db:stats() ]])
      return now.open == now.idle
    end))
    assert.equal(0, pg:activity("state like 'idle in transaction%'"))
  end)
  teardown(function()
    chunks.run(s, [[ db:exec("drop table acct") ]])
    s:stop()
  end)

  local function run(code, arg)
    return chunks.run(s, code, arg)
  end
  local function failure(code, arg)
    return chunks.failure(s, code, arg)
  end
  local function n()
    return run([[ return db:first("select n from acct").n ]])
  end

  it("commits, and gives what the function returns", function()
    assert.equal("done", run([[
      return db:transaction(function(tx)
        tx:exec("update acct set n = n + 1")
        assert(tx:first("select n from acct").n == 1)
        return "done"
      end)
    ]]))
    assert.equal(1, n())
  end)

  it("rolls back for an error, which goes on", function()
    local err = failure([[
      db:transaction(function(tx)
        tx:exec("update acct set n = 5")
        error({ code = "MINE" })
      end)
    ]])
    assert.equal("MINE", err.code)
    assert.equal(0, n())
    assert.equal("23505", failure([[
      db:transaction(function(tx)
        tx:exec("update acct set n = 5")
        tx:exec("insert into acct values (1, 1)")
      end)
    ]]).code)
    assert.equal(0, n())
  end)

  it("has parts that fail by themselves", function()
    assert.same({ n = 11 }, run([[
      return db:transaction(function(tx)
        tx:exec("update acct set n = n + 1")
        local ok, err = pcall(tx.transaction, tx, function()
          tx:exec("update acct set n = n + 100")
          tx:exec("insert into acct values (1, 1)")
        end)
        assert(not ok and err.code == "23505")
        tx:transaction(function()
          tx:exec("update acct set n = n + 10")
          pcall(tx.transaction, tx, function() error("x") end)
        end)
        return tx:first("select n from acct")
      end)
    ]]))
    assert.equal(11, n())
  end)

  it("does not pass off a failed one as committed", function()
    local err = failure([[
      db:transaction(function(tx)
        tx:exec("update acct set n = 5")
        pcall(tx.exec, tx, "insert into acct values (1, 1)")
      end)
    ]])
    assert.equal("25P02", err.code)
    assert.equal(0, n())
  end)

  it("is not to be made or ended by statements", function()
    assert.equal("USE_TRANSACTION", failure([[ db:exec("begin") ]]).code)
    assert.equal("USE_TRANSACTION", failure([[ db:transaction(function(tx) tx:exec("commit") end) ]]).code)
    assert.matches("the transaction has ended", failure([[
      local kept
      db:transaction(function(tx) kept = tx end)
      kept:exec("update acct set n = 7")
    ]]).text)
    assert.matches("use tx, not db", failure([[
      db:transaction(function(tx) db:exec("update acct set n = 7") end)
    ]]).text)
    assert.equal(0, n())
  end)

  it("rolls back when its task is cancelled", function()
    local err = failure([[
      local t = task.spawn(function()
        db:transaction(function(tx)
          tx:exec("update acct set n = 9")
          tx:exec("select pg_sleep(30)")
        end)
      end)
      buntime.sleep(0.1)
      t:cancel()
      t:wait()
    ]])
    assert.matches("the task was cancelled", err.text)
    assert.is_truthy(process.eventually(function()
      return pg:running("pg_sleep(30)") == 0
    end))
    assert.is_truthy(process.eventually(function()
      local now = run([[ return db:stats() ]])
      return now.open == now.idle
    end))
    assert.equal(0, n())
  end)

  it("keeps its statements in order when several tasks use it", function()
    run([[
      db:transaction(function(tx)
        local tasks = {}
        for i = 1, 20 do
          tasks[i] = task.spawn(function() tx:exec("update acct set n = n * 2 + ?", i % 2) end)
        end
        task.gather(unpack(tasks))
      end)
    ]])
    assert.equal(tonumber(("10"):rep(10), 2), n())
  end)

  it("does not let a statement slip out behind its commit", function()
    run([[
      db:exec("create function dawdle() returns trigger language plpgsql as"
        .. " 'begin perform pg_sleep(0.3); return null; end'")
      db:exec("create constraint trigger slow after update on acct deferrable initially deferred"
        .. " for each row execute function dawdle()")
    ]])
    local got = run([[
      local late
      db:transaction(function(tx)
        tx:exec("update acct set n = 1")
        late = task.spawn(function()
          buntime.sleep(0.1) -- COMMIT is on its way
          return select(2, pcall(tx.exec, tx, "update acct set n = 2")).code
        end)
      end)
      return late:wait()
    ]])
    run([[ db:exec("drop trigger slow on acct") db:exec("drop function dawdle") ]])
    assert.equal("TRANSACTION_ENDED", got)
    assert.equal(1, n())
  end)

  it("rolls back when its coroutine is dropped", function()
    run([[
      local co = coroutine.create(function()
        db:transaction(function(tx)
          tx:exec("update acct set n = 8")
          coroutine.yield()
        end)
      end)
      assert(coroutine.resume(co))
      co = nil
      collectgarbage()
      collectgarbage()
    ]])
    assert.equal(0, n())
  end)

  it("fails with CONNECTION_LOST when its connection is lost", function()
    assert.equal("CONNECTION_LOST", failure([[
      db:transaction(function(tx)
        tx:exec("update acct set n = 3")
        local pid = tx:first("select pg_backend_pid() as pid").pid
        local other = postgres.connect(url)
        other:exec("select pg_terminate_backend(?)", pid)
        other:close()
        buntime.sleep(0.05)
        tx:exec("update acct set n = 4")
      end)
    ]]).code)
    assert.equal(0, n())
  end)
end)

describe("the pool of postgres", function()
  local s

  before_each(function()
    s = start()
  end)
  after_each(function()
    s:stop()
  end)

  local function run(code, arg)
    return chunks.run(s, code, arg)
  end

  it("serves 50 tasks with 5 connections", function()
    local got = run([[
      local tasks, most = {}, 0
      for i = 1, 50 do
        tasks[i] = task.spawn(function()
          local v = db:first("select ?::int as v, pg_sleep(0.02)", i).v
          most = math.max(most, db:stats().open)
          return v
        end)
      end
      local sum = 0
      for _, v in ipairs({ task.gather(unpack(tasks)) }) do sum = sum + v end
      return { sum = sum, most = most, now = db:stats() }
    ]])
    assert.same({ sum = 1275, most = 5, now = { open = 5, idle = 5, waiting = 0 } }, got)
  end)

  it("serves 50 requests at once, and others meanwhile", function()
    local bodies = http.parallel(50, function(i)
      if i == 50 then
        return http.request(s.port, "GET", "/chunks/ping").body
      end
      local code = [[ return db:first("select ?::int as v, pg_sleep(0.02)", arg).v ]]
      return http.request(s.port, "POST", "/chunks", { json = { code = code, arg = i } }):json().value
    end)
    for i = 1, 49 do
      assert.equal(i, bodies[i])
    end
    assert.equal("pong", bodies[50])
  end)

  it("lets nobody wait for a connection for ever", function()
    local got = run([[
      local small = postgres.connect(url, { max = 1, acquire_timeout = 0.1 })
      local slow = task.spawn(function() return small:first("select 'slow' as v, pg_sleep(0.5)").v end)
      local ok, err = pcall(small.query, small, "select 1")
      return { ok = ok, code = err.code, message = err.message, slow = slow:wait(), stats = small:stats() }
    ]])
    assert.same({
      ok = false,
      code = "ACQUIRE_TIMEOUT",
      message = "no connection was free within 0.1 s (1 of 1 are open)",
      slow = "slow",
      stats = { open = 1, idle = 1, waiting = 0 },
    }, got)
  end)

  it("closes connections that are idle", function()
    assert.equal(1, run([[
      local brief = postgres.connect(url, { idle_timeout = 0.1 })
      brief:query("select 1")
      state.brief = brief
      return brief:stats().open
    ]]))
    assert.is_truthy(process.eventually(function()
      return run([[ return state.brief:stats().open ]]) == 0
    end))
    assert.equal(1, run([[ return state.brief:first("select 1 as v").v ]]))
  end)

  it("cancels the statement of a client that goes away", function()
    local conn = s:connect()
    local body = cjson.encode({ code = [[ db:query("select pg_sleep(31)") ]] })
    local head = "POST /chunks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    conn:send(("%sContent-Length: %d\r\n\r\n%s"):format(head, #body, body))
    assert.is_truthy(process.eventually(function()
      return pg:running("pg_sleep(31)") == 1
    end))
    conn:close()
    assert.is_truthy(process.eventually(function()
      return pg:running("pg_sleep(31)") == 0
    end))
    assert.is_truthy(process.eventually(function()
      local now = run([[ return db:stats() ]])
      return now.open == 1 and now.idle == 1
    end))
    assert.same({ v = 1 }, run([[ return db:first("select 1 as v") ]]))
  end)

  it("cancels many at once and is whole again", function()
    run([[
      for round = 0, 9 do
        local tasks = {}
        for i = 1, 12 do
          tasks[i] = task.spawn(function() db:query("select pg_sleep(32)") end)
        end
        buntime.sleep(round * 0.005)
        for _, t in ipairs(tasks) do
          t:cancel()
          pcall(t.wait, t)
        end
      end
    ]])
    assert.is_truthy(process.eventually(function()
      local now = run([[ return db:stats() ]])
      return now.open == now.idle and now.waiting == 0
    end))
    assert.equal(0, pg:running("pg_sleep(32)"))
    assert.same({ v = 1 }, run([[ return db:first("select 1 as v") ]]))
  end)

  it("fails what waits when it is closed, and is of no use then", function()
    local got = run([[
      local brief = postgres.connect(url, { max = 1 })
      local codes = {}
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = task.spawn(function()
          local ok, err = pcall(brief.query, brief, "select pg_sleep(30)")
          codes[i] = err.code
        end)
      end
      buntime.sleep(0.1)
      brief:close()
      task.gather(unpack(tasks))
      local ok, err = pcall(brief.query, brief, "select 1")
      brief:close()
      codes[4] = err:match("the database is closed")
      return codes
    ]])
    assert.same({ "CLOSED", "CLOSED", "CLOSED", "the database is closed" }, got)
  end)
end)

describe("postgres without its server", function()
  local own, s

  before_each(function()
    own = postgres.start({ connections = 20 })
  end)
  after_each(function()
    if s then
      s:stop()
      s = nil
    end
    own:stop()
  end)

  local function run(code, arg)
    return chunks.run(s, code, arg)
  end
  local function failure(code, arg)
    return chunks.failure(s, code, arg)
  end

  it("starts all the same, and works once it is there", function()
    own:kill()
    s = start({ url = own.url })
    local err = failure([[ db:query("select 1") ]])
    assert.equal("CONNECTION_FAILED", err.code)
    assert.matches("Connection refused", err.message)
    assert.is_nil(err.text:find(own.password, 1, true))
    assert.equal("CONNECTION_FAILED", failure([[ db:transaction(print) ]]).code)
    assert.equal("CONNECTION_FAILED", failure([[ db:listen("x", print) ]]).code)
    own:restart()
    assert.same({ v = 1 }, run([[ return db:first("select 1 as v") ]]))
  end)

  for _, how in ipairs({ "kill", "shut_down" }) do
    it("loses what runs after " .. how .. ", and comes back", function()
      s = start({ url = own.url })
      run([[
        state.codes = {}
        for i = 1, 8 do
          task.spawn(function()
            local ok, err = pcall(db.query, db, "select pg_sleep(33)")
            state.codes[#state.codes + 1] = err.code
          end)
        end
      ]])
      assert.is_truthy(process.eventually(function()
        return own:running("pg_sleep(33)") == 5
      end))
      own[how](own)
      local codes = process.eventually(function()
        local list = run([[ return state.codes ]])
        return #list == 8 and list
      end)
      table.sort(codes)
      -- Five ran, the others waited, and found nobody to connect to.
      for i = 1, 8 do
        assert.equal(i <= 3 and "CONNECTION_FAILED" or "CONNECTION_LOST", codes[i])
      end
      assert.equal("CONNECTION_FAILED", failure([[ db:query("select 1") ]]).code)
      own:restart()
      assert.same({ v = 1 }, run([[ return db:first("select 1 as v") ]]))
    end)
  end

  it("notices that idle connections are dead", function()
    s = start({ url = own.url })
    run([[ db:query("select 1") ]])
    own:kill()
    own:restart()
    assert.is_truthy(process.eventually(function()
      return run([[ return db:stats().open ]]) == 0
    end))
    assert.same({ v = 1 }, run([[ return db:first("select 1 as v") ]]))
  end)

  it("gives up on a server that says nothing", function()
    s = start({ url = own.url })
    own.process:kill("STOP") -- the port still takes connections
    local err = failure([[
      local patient = postgres.connect(url, { connect_timeout = 0.3 })
      patient:query("select 1")
    ]])
    own.process:kill("CONT")
    assert.equal("CONNECTION_FAILED", err.code)
    assert.matches("no answer within 0.3 s", err.message)
  end)

  it("listens again after a loss, and says so", function()
    s = start({ url = own.url })
    run([[
      state.heard, state.restored = {}, 0
      state.listener = db:listen("news", function(payload, channel)
        buntime.sleep(0.001)
        table.insert(state.heard, channel .. ":" .. payload)
      end, function() state.restored = state.restored + 1 end)
    ]])
    run([[ db:notify("news", "one") db:notify("other", "x") db:notify("news", "two") ]])
    assert.is_truthy(process.eventually(function()
      return #run([[ return state.heard ]]) == 2
    end))
    own:kill()
    own:restart()
    assert.is_truthy(process.eventually(function()
      return run([[ return state.restored ]]) == 1
    end, 15))
    own:psql("notify news, 'three'")
    assert.is_truthy(process.eventually(function()
      return #run([[ return state.heard ]]) == 3
    end))
    assert.same({ "news:one", "news:two", "news:three" }, run([[ return state.heard ]]))
  end)
end)

describe("a listener of postgres", function()
  local s

  before_each(function()
    s = start()
  end)
  after_each(function()
    s:stop()
  end)

  local function run(code, arg)
    return chunks.run(s, code, arg)
  end
  local function listening()
    return pg:activity("query like 'listen%' or query like 'unlisten%'")
  end

  it("shares one connection with others, and gives it back", function()
    run([[
      state.heard = {}
      local function add(payload, channel) table.insert(state.heard, channel .. "=" .. payload) end
      state.a = db:listen("a", add)
      state.b = db:listen('B "quoted"', add)
      state.c = db:listen("a", add)
      db:transaction(function(tx)
        tx:notify("a", "1")
        tx:notify('B "quoted"', "2")
        tx:notify("a")
      end)
    ]])
    assert.is_truthy(process.eventually(function()
      return #run([[ return state.heard ]]) == 5
    end))
    assert.equal(1, listening())
    run([[ assert(state.c:stop()) assert(not state.c:stop()) state.heard = {} db:notify("a", "3") ]])
    assert.is_truthy(process.eventually(function()
      return #run([[ return state.heard ]]) == 1
    end))
    run([[ state.a:stop() state.b:stop() ]])
    assert.is_truthy(process.eventually(function()
      return listening() == 0
    end))
  end)

  it("hears in order, whatever its function waits for", function()
    run([[
      state.heard = {}
      db:listen("o", function(payload)
        buntime.sleep(payload == "1" and 0.05 or 0)
        table.insert(state.heard, payload)
        if payload == "2" then error("a listener that fails") end
      end)
      for i = 1, 5 do db:notify("o", tostring(i)) end
    ]])
    s:allow_errors("a listener that fails")
    assert.is_truthy(process.eventually(function()
      return #run([[ return state.heard ]]) == 5
    end))
    assert.same({ "1", "2", "3", "4", "5" }, run([[ return state.heard ]]))
    assert.is_truthy(s:wait_log("a listener that fails"))
  end)

  it("drops what its function is too slow for, and says so", function()
    s:allow_errors("messages of channel \"flood\" are dropped")
    run([[
      state.n = 0
      db:listen("flood", function() state.n = state.n + 1 buntime.sleep(0.5) end)
      db:exec("select pg_notify('flood', i::text) from generate_series(1, 12000) i")
    ]])
    assert.is_truthy(s:wait_log("messages of channel \"flood\" are dropped"))
  end)

  it("ends with its database", function()
    run([[
      local brief = postgres.connect(url)
      brief:listen("a", print)
      brief:close()
    ]])
    assert.is_truthy(process.eventually(function()
      return listening() == 0
    end))
    assert.equal("CLOSED", run([[
      local brief = postgres.connect("postgres://a:b@127.0.0.1:" .. arg .. "/x")
      local t = task.spawn(function() return select(2, pcall(brief.listen, brief, "a", print)).code end)
      brief:close()
      return t:wait()
    ]], pg.port))
  end)

  it("goes with its plugin when that is reloaded, as statements that run do", function()
    run([[
      db:listen("a", print)
      state.t = task.spawn(function() db:query("select pg_sleep(34)") end)
      task.spawn(function()
        db:transaction(function(tx)
          tx:exec("select 1")
          buntime.sleep(100)
        end)
      end)
    ]])
    assert.is_truthy(process.eventually(function()
      return listening() == 1 and pg:running("pg_sleep(34)") == 1
    end))
    s:write("chunks/touched.lua", "return 1")
    assert.equal(200, s:reload().status)
    assert.is_truthy(process.eventually(function()
      return pg:activity("true") == 0
    end, 15))
    assert.same({ v = 1 }, run([[ return db:first("select 1 as v") ]]))
  end)
end)
