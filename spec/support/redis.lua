--- A Redis server for integration specs: Debian's program, nothing kept, a free port.
---
---   local server = redis.start({ password = "secret" })
---   server.url                            -- redis://:secret@127.0.0.1:PORT/0
---   server:cli("SET", "a", "1")           -- with redis-cli, beside the program under test
---   server:kill() server:restart()        -- on the same port, empty
---   server:stop()

local socket = require("socket")

local process = require("spec.support.process")

local START_SECONDS = 20

local M = {}
local Redis = {}
Redis.__index = Redis

local function free_port()
  local listener = assert(socket.bind("127.0.0.1", 0))
  local _, port = listener:getsockname()
  listener:close()
  return tonumber(port)
end

local function arguments(self)
  local args = {
    "redis-server",
    "--port", tostring(self.port),
    "--bind", "127.0.0.1",
    "--unixsocket", self.dir .. "/redis.sock",
    "--dir", self.dir,
    "--save", "",
    "--appendonly", "no",
    "--daemonize", "no",
  }
  if self.password then
    args[#args + 1] = "--requirepass"
    args[#args + 1] = self.password
  end
  for _, arg in ipairs(self.args) do
    args[#args + 1] = arg
  end
  return args
end

--- Starts the program and waits until it answers.
function Redis:launch()
  self.process = process.spawn({
    args = arguments(self),
    cwd = self.dir,
    stdout = self.dir .. "/log",
    stderr = self.dir .. "/log",
  })
  local ready = process.eventually(function()
    return not self.process:alive() or self:cli("PING") == "PONG"
  end, START_SECONDS)
  assert(ready and self.process:alive(), process.read(self.dir .. "/log"))
end

--- @class redis.Options
--- @field password? string
--- @field args? string[] further arguments of the program

--- @param options? redis.Options
function M.start(options)
  options = options or {}
  local port = free_port()
  local login = options.password and (":%s@"):format(options.password) or ""
  local self = setmetatable({
    dir = process.temp_dir(),
    port = port,
    password = options.password,
    args = options.args or {},
    url = ("redis://%s127.0.0.1:%d/0"):format(login, port),
  }, Redis)
  self:launch()
  return self
end

--- Runs a command with redis-cli.
--- @return string output
function Redis:cli(...)
  local args = { "redis-cli", "-p", tostring(self.port) }
  for _, arg in ipairs({ ... }) do
    args[#args + 1] = arg
  end
  local env = { REDISCLI_AUTH = self.password or false }
  local _, out = process.run({ args = args, env = env }, 20)
  return (out:gsub("\n$", ""))
end

function Redis:kill()
  self.process:kill("KILL")
  self.process:wait(10)
end

--- After kill().
function Redis:restart()
  self:launch()
end

function Redis:stop()
  self.process:kill("CONT")
  self:kill()
  process.run({ args = { "rm", "-rf", self.dir } }, 20)
end

return M
