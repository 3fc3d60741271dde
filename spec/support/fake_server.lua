--- A server for the harness's own spec: luajit fake_server.lua [exit status on SIGTERM].
---
--- GET /slow waits 0.2 s; /error logs an error; /chunked answers in chunks; anything else echoes
--- the request's bytes. One thread, a coroutine a connection.

local ffi = require("ffi")
local socket = require("socket")

ffi.cdef([[
  typedef struct { unsigned long bits[16]; } sigset_t;
  int sigemptyset(sigset_t *set);
  int sigaddset(sigset_t *set, int sig);
  int sigprocmask(int how, const sigset_t *set, sigset_t *old);
  int sigpending(sigset_t *set);
  int sigismember(const sigset_t *set, int sig);
]])

local SIGTERM, SIG_BLOCK = 15, 0
local set = ffi.new("sigset_t")
ffi.C.sigemptyset(set)
ffi.C.sigaddset(set, SIGTERM)
ffi.C.sigprocmask(SIG_BLOCK, set, nil)

local function log(level, message, more)
  io.stderr:write(('{"level":"%s","msg":"%s"%s}\n'):format(level, message, more or ""))
end

local function read_request(sock)
  local bytes = ""
  while true do
    local data, problem, partial = sock:receive(65536)
    bytes = bytes .. (data or partial or "")
    local _, head = bytes:find("\r\n\r\n", 1, true)
    if head and #bytes >= head + (tonumber(bytes:match("\r\nContent%-Length: (%d+)")) or 0) then
      return bytes
    elseif problem == "closed" then
      return nil
    end
    coroutine.yield()
  end
end

local function answer(target, bytes)
  if target == "/error" then
    log("error", "it broke")
  elseif target == "/slow" then
    local over = socket.gettime() + 0.2
    while socket.gettime() < over do
      coroutine.yield()
    end
  elseif target == "/chunked" then
    local head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Two: a\r\nX-Two: b\r\n\r\n"
    return head .. "5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n"
  end
  return ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#bytes, bytes)
end

local function serve(sock)
  sock:settimeout(0)
  while true do
    local bytes = read_request(sock)
    if not bytes then
      return sock:close()
    end
    local reply = answer(bytes:match("^%S+ (%S+)"), bytes)
    sock:settimeout(5)
    sock:send(reply)
    sock:settimeout(0)
  end
end

local listener = assert(socket.bind("127.0.0.1", 0))
local _, port = listener:getsockname()
log("info", "listening", ',"port":' .. port)

local threads = {}
while true do
  local pending = ffi.new("sigset_t")
  ffi.C.sigpending(pending)
  if ffi.C.sigismember(pending, SIGTERM) == 1 then
    os.exit(tonumber(arg[1] or 0))
  end
  listener:settimeout(0.002)
  local sock = listener:accept()
  if sock then
    threads[coroutine.create(serve)] = sock
  end
  for thread, client in pairs(threads) do
    coroutine.resume(thread, client)
    if coroutine.status(thread) == "dead" then
      threads[thread] = nil
    end
  end
end
