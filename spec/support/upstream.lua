--- A server that behaves in every way a client has to expect: luajit spec/support/upstream.lua.
---
--- What is asked for decides; see `targets`. One thread, a coroutine a connection, which yields whenever
--- it cannot go on. It logs where it listens as buntime does and ends on any signal.

local socket = require("socket")

local listener = assert(socket.bind("127.0.0.1", 0, 2048))
local _, port = listener:getsockname()
local connections, accepted, disconnected = {}, 0, 0

local function wait(mode)
  return coroutine.yield(mode)
end

local function sleep(seconds)
  local due = socket.gettime() + seconds
  while socket.gettime() < due do
    wait("time")
  end
end

--- @return boolean sent false when the other side is gone
local function send(sock, bytes)
  local at = 1
  while at <= #bytes do
    local last, problem, partial = sock:send(bytes, at)
    at = (last or partial) + 1
    if problem == "closed" then
      disconnected = disconnected + 1
      return false
    elseif problem then
      wait("w")
    end
  end
  return true
end

local Reader = {}
Reader.__index = Reader

--- Waits for more bytes; false at the end.
function Reader:more()
  local data, problem, partial = self.sock:receive(65536)
  data = data or partial
  if data ~= "" then
    self.bytes = self.bytes .. data
    return true
  elseif problem == "closed" then
    return false
  end
  wait("r")
  return self:more()
end

function Reader:take(len)
  while #self.bytes < len do
    if not self:more() then
      return nil
    end
  end
  local taken = self.bytes:sub(1, len)
  self.bytes = self.bytes:sub(len + 1)
  return taken
end

function Reader:line()
  while true do
    local from, to = self.bytes:find("\r\n", 1, true)
    if from then
      local line = self.bytes:sub(1, from - 1)
      self.bytes = self.bytes:sub(to + 1)
      return line
    elseif not self:more() then
      return nil
    end
  end
end

local function read_chunks(reader)
  local pieces = {}
  while true do
    local size = tonumber(reader:line() or "0", 16)
    pieces[#pieces + 1] = reader:take(size)
    reader:line()
    if size == 0 then
      return table.concat(pieces), #pieces - 1
    end
  end
end

local function read_request(reader)
  local first = reader:line()
  if not first then
    return nil
  end
  local req = { headers = {}, raw = {} }
  req.method, req.target = first:match("^(%S+) (%S+)")
  req.path, req.query = req.target:match("^([^?]*)%??(.*)$")
  for line in
    function()
      local line = reader:line()
      return line ~= "" and line or nil
    end
  do
    local name, value = line:match("^([^:]+):%s*(.*)$")
    req.headers[name:lower()] = value
    req.raw[#req.raw + 1] = line
  end
  return req
end

local function read_body(reader, req)
  if req.headers["transfer-encoding"] == "chunked" then
    req.body, req.pieces = read_chunks(reader)
  else
    req.body = reader:take(tonumber(req.headers["content-length"] or 0))
  end
end

local function reply(status, headers, body)
  local lines = { ("HTTP/1.1 %d X"):format(status), "Content-Length: " .. #body }
  for _, line in ipairs(headers) do
    lines[#lines + 1] = line
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. body
end

local function gzipped(command)
  local pipe = assert(io.popen(command .. " | gzip -9"))
  local bytes = pipe:read("*a")
  pipe:close()
  return bytes
end

--- Answers by path; what one returns is sent, "close" after it closes. GET /location?302,/where redirects.
local targets = {}

targets["/hello"] = function()
  return reply(200, { "Content-Type: text/plain" }, "hello")
end

targets["/echo"] = function(req)
  local head = req.method .. " " .. req.target .. "\n" .. table.concat(req.raw, "\n")
  return reply(200, { "X-Pieces: " .. (req.pieces or 0) }, head .. "\n\n" .. (req.body or ""))
end

targets["/repeat"] = function()
  local cookies = { "Set-Cookie: a=1", "set-cookie: b=2", "SET-COOKIE: c=3" }
  cookies[4], cookies[5], cookies[6] = "X-Empty:", "X-Fold: a", "  b"
  return reply(200, cookies, "")
end

targets["/slow"] = function(req)
  sleep(tonumber(req.query) or 0.2)
  return reply(200, {}, "slow")
end

targets["/never"] = function()
  while true do
    sleep(1)
  end
end

targets["/location"] = function(req)
  local status, where = req.query:match("^(%d+),(.*)$")
  return reply(tonumber(status), { "Location: " .. where }, "moved")
end

targets["/loop"] = function()
  return reply(302, { "Location: /loop" }, "")
end

targets["/chunked"] = function(_, sock)
  send(sock, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
  for i = 1, 5 do
    send(sock, ("6\r\npart %d\r\n"):format(i))
    sleep(0.02)
  end
  return "0\r\nX-Trailer: yes\r\n\r\n"
end

targets["/gzip"] = function()
  return reply(200, { "Content-Encoding: gzip" }, gzipped("printf 'unpacked %0100d' 7"))
end

targets["/bomb"] = function()
  return reply(200, { "Content-Encoding: gzip" }, gzipped("head -c 300000000 /dev/zero"))
end

targets["/strange-coding"] = function()
  return reply(200, { "Content-Encoding: gzip" }, "this is not gzip")
end

--- So many bytes, as fast as they are taken.
targets["/bytes"] = function(req, sock)
  local left, block = tonumber(req.query), ("x"):rep(65536)
  send(sock, ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(left))
  while left > 0 do
    if not send(sock, block:sub(1, left)) then
      return nil
    end
    left = left - #block
  end
  return ""
end

--- For ever, without saying how much.
targets["/endless"] = function(_, sock)
  local block = ("x"):rep(65536)
  send(sock, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
  while send(sock, block) do
    wait("time")
  end
end

targets["/drip"] = function(_, sock)
  send(sock, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
  for _ = 1, 5 do
    sleep(0.1)
    send(sock, ".")
  end
  return ""
end

targets["/stall"] = function(_, sock)
  send(sock, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
  return targets["/never"]()
end

targets["/cut"] = function(_, sock)
  send(sock, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
  return nil
end

targets["/nothing"] = function()
  return nil
end

targets["/garbage"] = function(_, sock)
  send(sock, "this is no HTTP at all\r\n\r\n")
  return nil
end

targets["/many-headers"] = function(_, sock)
  send(sock, "HTTP/1.1 200 OK\r\n")
  for i = 1, 100000 do
    if not send(sock, ("X-%d: y\r\n"):format(i)) then
      return nil
    end
  end
  return "\r\n"
end

targets["/early-hints"] = function()
  return "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" .. reply(200, {}, "after hints")
end

--- Refuses before the body has come.
targets["/refuse"] = function(_, sock)
  send(sock, reply(413, { "Connection: close" }, "too much"))
  return nil
end

targets["/stats"] = function()
  return reply(200, {}, ('{"accepted":%d,"disconnected":%d}'):format(accepted, disconnected))
end

--- Closes the connection after an answer that said nothing of it.
targets["/hang-up"] = function(_, sock)
  send(sock, reply(200, {}, "bye"))
  return nil
end

local function serve(sock)
  local reader = setmetatable({ sock = sock, bytes = "" }, Reader)
  while true do
    local req = read_request(reader)
    if not req then
      break
    end
    if req.path ~= "/refuse" then
      read_body(reader, req)
    end
    local answer = targets[req.path] or function()
      return reply(404, {}, "no such target")
    end
    local bytes = answer(req, sock)
    if not bytes or not send(sock, bytes) then
      break
    end
  end
  sock:close()
end

local function resume(sock)
  local c = connections[sock]
  local ok, mode = coroutine.resume(c.thread, sock)
  if not ok then
    io.stderr:write(('{"level":"error","msg":%q}\n'):format(tostring(mode)))
  end
  c.mode = mode
  if coroutine.status(c.thread) == "dead" then
    connections[sock] = nil
    sock:close()
  end
end

local function accept_all()
  while true do
    local sock = listener:accept()
    if not sock then
      return
    end
    accepted = accepted + 1
    sock:settimeout(0)
    sock:setoption("tcp-nodelay", true)
    connections[sock] = { thread = coroutine.create(serve) }
    resume(sock)
  end
end

listener:settimeout(0)
io.stderr:write(('{"level":"info","msg":"listening","port":%d}\n'):format(port))
while true do
  local readers, writers, timed = { listener }, {}, false
  for sock, c in pairs(connections) do
    local list = c.mode == "r" and readers or c.mode == "w" and writers
    if list then
      list[#list + 1] = sock
    end
    timed = timed or c.mode == "time"
  end
  local readable, writable = socket.select(readers, writers, timed and 0.005 or nil)
  for sock, c in pairs(connections) do
    c.due = c.mode == "time" or readable[sock] or writable[sock]
  end
  local due = {}
  for sock, c in pairs(connections) do
    if c.due then
      due[#due + 1] = sock
    end
  end
  for _, sock in ipairs(due) do
    resume(sock)
  end
  accept_all()
end
