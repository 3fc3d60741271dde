--- A PostgreSQL server for integration specs: Debian's program, a data folder of its own, a free port.
---
---   local pg = postgres.start()
---   pg.url                       -- postgres://tester:secret@127.0.0.1:PORT/postgres
---   pg:kill() pg:restart()       -- without a goodbye; on the same port with the same data
---   pg:stop()
---
--- PostgreSQL refuses to be run by root, who runs it as the user `postgres` of the package.

local lfs = require("lfs")
local socket = require("socket")

local process = require("spec.support.process")

local START_SECONDS = 60
local USER, PASSWORD = "tester", "s3cret-of-the-spec"

local M = {}
local Postgres = {}
Postgres.__index = Postgres

--- @return string? folder The programs of the newest version that is installed.
function M.programs()
  local newest
  if not lfs.attributes("/usr/lib/postgresql") then
    return nil
  end
  for name in lfs.dir("/usr/lib/postgresql") do
    local version = tonumber(name)
    if version and (not newest or version > newest) then
      newest = version
    end
  end
  return newest and ("/usr/lib/postgresql/%d/bin"):format(newest)
end

local function is_root()
  local file = assert(io.open("/proc/self/status"))
  local uid = file:read("*a"):match("Uid:%s*(%d+)")
  file:close()
  return uid == "0"
end

--- Arguments that run a program of PostgreSQL's as who may run it. The signal stands in for the one that
--- process.spawn() asks for, which a change of user takes away.
local function as_user(program, ...)
  local args = { assert(M.programs(), "PostgreSQL is not installed") .. "/" .. program, ... }
  if not is_root() then
    return args
  end
  local change = { "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL" }
  for _, arg in ipairs(args) do
    change[#change + 1] = arg
  end
  return change
end

local function run(args)
  local code, out, err = process.run({ args = args, cwd = "/" }, START_SECONDS)
  assert(code == 0, table.concat(args, " ") .. ":\n" .. out .. err)
end

--- A port that nobody listens on now.
function M.free_port()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  listener:close()
  return tonumber(port)
end

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

local function make_cluster(dir)
  write(dir .. "/password", PASSWORD)
  if is_root() then
    run({ "chown", "-R", "postgres:postgres", dir })
  end
  run(as_user(
    "initdb",
    "--pgdata=" .. dir .. "/data",
    "--username=" .. USER,
    "--pwfile=" .. dir .. "/password",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--no-sync"
  ))
end

local function answers(port)
  local conn = socket.connect("127.0.0.1", port)
  if conn then
    conn:close()
  end
  return conn ~= nil
end

--- Starts the program and waits until it takes connections.
function Postgres:launch()
  self.process = process.spawn({
    args = as_user(
      "postgres",
      "-D", self.dir .. "/data",
      "-p", tostring(self.port),
      "-c", "listen_addresses=127.0.0.1",
      "-c", "unix_socket_directories=" .. self.dir,
      "-c", "max_connections=" .. self.connections,
      "-c", "fsync=off",
      "-c", "shared_buffers=16MB"
    ),
    cwd = "/",
    stdout = self.dir .. "/log",
    stderr = self.dir .. "/log",
  })
  local ready = process.eventually(function()
    local log = process.read(self.dir .. "/log") or ""
    local said = select(2, log:gsub("ready to accept connections", ""))
    return said > self.launches and answers(self.port) or not self.process:alive()
  end, START_SECONDS)
  self.launches = self.launches + 1
  assert(ready and self.process:alive(), process.read(self.dir .. "/log"))
end

--- @class postgres.Options
--- @field connections? integer most of them, 100 unless told

--- @param options? postgres.Options
function M.start(options)
  local dir = process.temp_dir()
  local port = M.free_port()
  local self = setmetatable({
    dir = dir,
    port = port,
    launches = 0,
    password = PASSWORD,
    connections = options and options.connections or 100,
    url = ("postgres://%s:%s@127.0.0.1:%d/postgres"):format(USER, PASSWORD, port),
  }, Postgres)
  make_cluster(dir)
  self:launch()
  return self
end

--- Ends all of its processes at once, as a crash of the machine would.
function Postgres:kill()
  self.process:kill("QUIT") -- "immediate": no goodbye, and no children that linger
  self.process:wait(20)
end

--- Says goodbye to its clients, then ends.
function Postgres:shut_down()
  self.process:kill("INT")
  self.process:wait(20)
end

--- After kill() or shut_down().
function Postgres:restart()
  self:launch()
end

function Postgres:stop()
  self:kill()
  process.run({ args = { "rm", "-rf", self.dir } }, 20)
end

--- Runs a statement with psql, beside the program under test.
--- @return string output
function Postgres:psql(statement)
  local code, out, err = process.run({
    args = { M.programs() .. "/psql", "-qAtX", "-d", self.url, "-c", statement },
  }, 20)
  assert(code == 0, err)
  return (out:gsub("\n$", ""))
end

--- @param condition string of pg_stat_activity
--- @return integer connections
function Postgres:activity(condition)
  local statement = "select count(*) from pg_stat_activity"
    .. " where backend_type = 'client backend' and pid <> pg_backend_pid() and (%s)"
  return tonumber(self:psql(statement:format(condition)))
end

--- How many connections run a statement with this text.
--- @param text string
--- @return integer
function Postgres:running(text)
  return self:activity(("state = 'active' and query like '%%%s%%'"):format(text))
end

return M
