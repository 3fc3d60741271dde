--- The cases of what waits: streams, sockets, databases.

local measure = require("bench.measure")
local report = require("bench.report")
local rounds = require("bench.rounds")
local servers = require("bench.servers")
local postgres = require("spec.support.postgres")
local process = require("spec.support.process")

local CROWD = 10000
local MESSAGES, SECONDS = 50000, 5

local ROUNDS = tonumber(os.getenv("BENCH_ROUNDS") or 5)
local POOL = 8

local M = {}

--- Point reads, and what one of them costs more than a route that reads nothing; then a query that takes
--- seconds, and how another route fares meanwhile.
function M.sqlite()
  local s = servers.buntime({ "database" })
  local costs, nothing = {}, {}
  for round = 0, ROUNDS do -- the first warms up
    nothing[round] = measure.sample(s, { path = "/database/nothing" }, 2).us
    costs[round] = measure.sample(s, { path = "/database/sqlite" }, SECONDS)
  end
  local read = rounds.median(costs)
  report.figure("SQLite point read", "buntime", read.rps, read.us)
  report.target("point reads a core can answer a second", 1e6 / read.us, ">=", 25000)
  report.target("a route without one", measure.median(nothing), "<=", 15, " us")

  local quiet = measure.probe(s, "/database/nothing", 1)
  local slow = measure.background(s, { path = "/database/slow?steps=20000000" }, 2)
  local beside = measure.probe(s, "/database/nothing", 3)
  slow()
  report.target("worst answer of a route with nothing beside it", quiet.worst, "<=", 50, " ms")
  report.target("the same beside slow queries", beside.worst, "<=", 50, " ms")
  s:stop()
end

local function pgbench(pg, seconds)
  local script = pg.dir .. "/select.sql"
  local file = assert(io.open(script, "w"))
  file:write("\\set id random(1, 10000)\nselect id, title from item where id = :id;\n")
  file:close()
  local code, out, err = process.run({
    args = {
      "taskset", "-c", "0", postgres.programs() .. "/pgbench", "-n", "-M", "prepared", "-f", script,
      "-c", tostring(POOL), "-j", "1", "-T", tostring(seconds), pg.url,
    },
  }, seconds + 20)
  assert(code == 0, err)
  return tonumber(out:match("tps = ([%d.]+)"))
end

local function selecting(s, seconds)
  local res = s:get(("/database/postgres?seconds=%d&connections=%d"):format(seconds, POOL))
  assert(res.status == 200, res.body)
  return res:json().count / seconds
end

--- What the pool selects from a server on core 1, against pgbench with as many connections.
function M.postgres()
  local pg = postgres.start()
  assert(process.run({ args = { "taskset", "-cp", "1", tostring(pg.process.pid) } }, 5) == 0)
  pg:psql("create table item as select i as id, 'title of ' || i as title from generate_series(1, 10000) i")
  pg:psql("alter table item add primary key (id)")
  pg:psql("vacuum analyze item")
  local s = servers.buntime({ "database" }, 0, true, 0, { BENCH_POSTGRES = pg.url })
  local ours, theirs, ratios = {}, {}, {}
  for round = 0, ROUNDS do -- the first warms up
    theirs[round] = pgbench(pg, round == 0 and 1 or SECONDS)
    ours[round] = selecting(s, round == 0 and 1 or SECONDS)
    ratios[round] = ours[round] / theirs[round]
  end
  report.figure("PostgreSQL select", "pgbench", measure.median(theirs), 0)
  report.figure("PostgreSQL select", "buntime", measure.median(ours), 0)
  report.target("selects through the pool against pgbench", measure.median(ratios), ">=", 0.9, " x")
  s:stop()
  pg:stop()
end

--- Event streams that nothing happens on, and then a broadcast to all of them.
function M.streams()
  local s = servers.buntime({ "crowd" })
  assert(s:get("/crowd/broadcast").status == 200)
  local before = s:memory()
  local go = measure.crowd(servers.crowd, "events", s.port, CROWD)
  local memory = s:memory()
  local took = tonumber(go())
  report.target("resident memory with 10,000 event streams", memory / 1e6, "<=", 120, " MB")
  report.target("each of them", (memory - before) / CROWD / 1000, "<=", 11, " KB")
  report.target("a broadcast to them", took, "<", 1, " s")
  s:stop()
end

--- What one core echoes for 10,000 WebSockets.
function M.sockets()
  local s = servers.buntime({ "crowd" })
  assert(s:get("/crowd/broadcast").status == 200)
  local go = measure.crowd(servers.crowd, "sockets", s.port, CROWD, MESSAGES, SECONDS)
  local memory, cpu = s:memory(), measure.cpu_seconds(s:pid())
  local sent, echoed, late = go():match("(%d+) (%d+) ([%d.]+)")
  cpu = measure.cpu_seconds(s:pid()) - cpu
  report.figure("messages over 10,000 sockets", "buntime", echoed / SECONDS, cpu * 1e6 / echoed)
  report.target("messages a second over 10,000 sockets", echoed / SECONDS, ">=", MESSAGES * 0.99)
  report.target("echoes that did not come", sent - echoed, "<=", 0)
  report.target("of the core, that takes", cpu / SECONDS * 100, "<=", 100, " %")
  report.target("99 of 100 echoes took", tonumber(late), "<=", 50, " ms")
  report.target("resident memory with 10,000 sockets", memory / 1e6, "<=", 140, " MB")
  s:stop()
end

return M
