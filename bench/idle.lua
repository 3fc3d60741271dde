-- What idle connections cost: luajit bench/idle.lua [program] [connections, 10000]
--
-- Opens them, has one request answered on each, and compares the server's resident memory. Client and
-- server each need a descriptor for a connection: see ulimit -n.

package.path = "./?.lua;" .. package.path
local fixtures = require("spec.support.fixtures")
local process = require("spec.support.process")
local server = require("spec.support.server")
local socket = require("socket")

local binary, count = arg[1] or "build/buntime", tonumber(arg[2] or 10000)
local MB = 1024 * 1024

local function memory(pid)
  return tonumber(process.read(("/proc/%d/status"):format(pid)):match("VmRSS:%s*(%d+)")) * 1024
end

local function open(port)
  local sock = assert(socket.connect("127.0.0.1", port))
  sock:settimeout(10)
  assert(sock:send("GET /good HTTP/1.1\r\nHost: localhost\r\n\r\n"))
  local length
  repeat
    local line = assert(sock:receive("*l"))
    length = line:lower():match("^content%-length: (%d+)") or length
  until line == ""
  assert(sock:receive(tonumber(length)) == "good")
  return sock
end

server.with({
  command = { assert(process.absolute(binary), binary), "serve" },
  plugins = { good = fixtures.hello("good", "good") },
  env = { RUNTIME_LOG_LEVEL = "info" },
}, function(s)
  local pid = s:pid()
  s:get("/good")
  local before, began, conns = memory(pid), socket.gettime(), {}
  for i = 1, count do
    conns[i] = open(s.port)
  end
  local took, after = socket.gettime() - began, memory(pid)
  open(s.port):close() -- it still answers
  print(("%d idle connections: %.1f MB (%.1f MB before), %.1f KB each; opened in %.1f s"):format(
    count, after / MB, before / MB, (after - before) / 1024 / count, took))
  for _, sock in ipairs(conns) do
    sock:close()
  end
end)
