--- An HTTP/2 client over TLS that sends whatever frames it is told to, one connection at a time.
---
---   local c = h2.connect(s.port)
---   local id = c:request("GET", "/hello")
---   assert.equal(200, c:response(id).status)
---
--- Certificates for servers under test are made by h2.certificate(). Nothing is verified.

local socket = require("socket")
local ssl = require("ssl")

local process = require("spec.support.process")

local M = { TIMEOUT = 10 }
local Connection = {}
Connection.__index = Connection

M.PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

M.type = {
  DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, PING = 6,
  GOAWAY = 7, WINDOW_UPDATE = 8, CONTINUATION = 9,
}
M.END_STREAM, M.ACK, M.END_HEADERS, M.PADDED, M.WITH_PRIORITY = 1, 1, 4, 8, 32

-- Certificates --------------------------------------------------------------------------------

local made = {}

--- A certificate and its key as PEM text; the same for the same name.
--- @param name? string common name, "localhost"
--- @return string certificate, string key
function M.certificate(name)
  name = name or "localhost"
  if not made[name] then
    local dir = process.temp_dir()
    local code, _, problem = process.run({ args = {
      "/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
      "-nodes", "-keyout", dir .. "/key", "-out", dir .. "/cert", "-days", "30", "-subj", "/CN=" .. name,
    } }, 30)
    assert(code == 0, problem)
    made[name] = { process.read(dir .. "/cert"), process.read(dir .. "/key") }
    os.remove(dir .. "/cert")
    os.remove(dir .. "/key")
    os.remove(dir)
  end
  return made[name][1], made[name][2]
end

--- Options for server.start() with a certificate; `options` are changed and given back.
--- @param options? server.Options
function M.options(options)
  options = options or {}
  options.files, options.env = options.files or {}, options.env or {}
  options.files["cert.pem"], options.files["key.pem"] = M.certificate()
  options.env.TLS_CERT, options.env.TLS_KEY = "cert.pem", "key.pem"
  return options
end

-- Bytes ---------------------------------------------------------------------------------------

local function be(n, bytes)
  local out = {}
  for i = bytes, 1, -1 do
    out[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(out)
end

local function number(text)
  local n = 0
  for i = 1, #text do
    n = n * 256 + text:byte(i)
  end
  return n
end

M.u32 = function(n)
  return be(n, 4)
end

--- @param kind integer one of M.type
function M.frame(kind, flags, stream, payload)
  payload = payload or ""
  return be(#payload, 3) .. string.char(kind, flags) .. be(stream, 4) .. payload
end

local function hpack_integer(first, bits, n)
  local max = 2 ^ bits - 1
  if n < max then
    return string.char(first + n)
  end
  local out = { string.char(first + max) }
  n = n - max
  while n >= 128 do
    out[#out + 1] = string.char(n % 128 + 128)
    n = math.floor(n / 128)
  end
  out[#out + 1] = string.char(n)
  return table.concat(out)
end

local function hpack_string(text)
  return hpack_integer(0, 7, #text) .. text
end

--- One field, literal and without Huffman.
--- @param indexed? boolean to be added to the server's table
function M.field(name, value, indexed)
  return (indexed and "\64" or "\0") .. hpack_string(name) .. hpack_string(value)
end

--- @param list string[][] of { name, value }
function M.fields(list)
  local out = {}
  for i, field in ipairs(list) do
    out[i] = M.field(field[1], field[2])
  end
  return table.concat(out)
end

--- The fields of a request.
--- @param headers? string[][]
function M.head(method, path, headers)
  local list = {
    { ":method", method }, { ":scheme", "https" }, { ":path", path }, { ":authority", "localhost" },
  }
  for _, header in ipairs(headers or {}) do
    list[#list + 1] = header
  end
  return M.fields(list)
end

-- A connection --------------------------------------------------------------------------------

--- A TLS connection. `alpn` is a list of protocols, { "h2" } if left out; false: none is offered.
--- @param options? { alpn?: string[]|false, protocol?: string, ciphers?: string }
--- @return table? sock, string? problem
function M.tls(port, options)
  options = options or {}
  local sock = assert(socket.connect("127.0.0.1", port))
  sock:settimeout(M.TIMEOUT)
  local wrapped = assert(ssl.wrap(sock, {
    mode = "client", protocol = options.protocol or "any", verify = "none", options = "all",
    alpn = options.alpn == nil and { "h2" } or options.alpn or nil, ciphers = options.ciphers,
  }))
  wrapped:settimeout(M.TIMEOUT)
  local ok, problem = wrapped:dohandshake()
  if not ok then
    wrapped:close()
    return nil, problem
  end
  return wrapped
end

--- A connection that has said the preface and its settings.
--- @param options? { settings?: string, silent?: boolean } silent: nothing was said
function M.connect(port, options)
  options = options or {}
  local sock = assert(M.tls(port))
  local self = setmetatable({ sock = sock, buffer = "", next = 1, seen = {}, window = 0 }, Connection)
  if not options.silent then
    self:send(M.PREFACE .. M.frame(M.type.SETTINGS, 0, 0, options.settings))
  end
  return self
end

function Connection:close()
  self.sock:close()
end

--- @return boolean ok false once the server has ended the connection, or takes nothing for long
function Connection:send(bytes, seconds)
  local sent = 0
  self.sock:settimeout(seconds or M.TIMEOUT)
  if self.dead then
    return false
  end
  while sent < #bytes do
    local last, problem, partial = self.sock:send(bytes, sent + 1)
    sent = last or partial or sent
    if problem then
      self.dead = problem ~= "timeout" and problem ~= "wantwrite" -- LuaSec spins if it reads after that
      return false
    end
  end
  return true
end

function Connection:frame(...)
  return self:send(M.frame(...))
end

--- Waits for `n` bytes.
local function take(self, n, deadline)
  while #self.buffer < n do
    if self.dead then
      return nil, "closed"
    end
    local left = deadline - socket.gettime()
    if left <= 0 then
      return nil, "timeout"
    end
    self.sock:settimeout(left)
    local data, problem, partial = self.sock:receive(n - #self.buffer)
    self.buffer = self.buffer .. (data or partial or "")
    if problem and problem ~= "timeout" and problem ~= "wantread" then
      return nil, "closed"
    end
  end
  local bytes = self.buffer:sub(1, n)
  self.buffer = self.buffer:sub(n + 1)
  return bytes
end

--- The next frame; acknowledges settings by itself.
--- @return table? frame, string? problem "timeout" or "closed"
function Connection:read(seconds)
  local deadline = socket.gettime() + (seconds or M.TIMEOUT)
  local head, problem = take(self, 9, deadline)
  if not head then
    return nil, problem
  end
  local payload
  payload, problem = take(self, number(head:sub(1, 3)), deadline)
  if not payload then
    self.buffer = head .. self.buffer -- the rest may come later
    return nil, problem
  end
  local frame = {
    type = head:byte(4), flags = head:byte(5), stream = number(head:sub(6, 9)), payload = payload,
  }
  if frame.type == M.type.SETTINGS and frame.flags == 0 then
    self:frame(M.type.SETTINGS, M.ACK, 0)
  end
  return frame
end

--- Sends HEADERS, and DATA if there is a body. `body` false: the request goes on.
--- @return integer stream
function Connection:request(method, path, headers, body)
  local id = self.next
  self.next = id + 2
  local block = M.head(method, path, headers)
  local last = #block <= 16384
  local flags = (last and M.END_HEADERS or 0) + (body == nil and M.END_STREAM or 0)
  self:frame(M.type.HEADERS, flags, id, block:sub(1, 16384))
  for at = 16385, #block, 16384 do
    last = at + 16384 > #block
    self:frame(M.type.CONTINUATION, last and M.END_HEADERS or 0, id, block:sub(at, at + 16383))
  end
  if body then
    self:data(id, body, true)
  end
  return id
end

function Connection:data(id, body, last)
  for at = 1, math.max(#body, 1), 16384 do
    local flags = last and at + 16384 > #body and M.END_STREAM or 0
    if not self:frame(M.type.DATA, flags, id, body:sub(at, at + 16383)) then
      return false
    end
  end
  return true
end

--- :status stands first, and is never in the table that changes.
local function status_of(block)
  local indexed = { [8] = 200, [9] = 204, [10] = 206, [11] = 304, [12] = 400, [13] = 404, [14] = 500 }
  local first = block:byte(1)
  return first >= 128 and indexed[first - 128] or tonumber(block:sub(3, 5))
end

local function note(self, frame)
  local seen = self.seen[frame.stream]
  if not seen then
    seen = { body = {} }
    self.seen[frame.stream] = seen
  end
  if frame.type == M.type.HEADERS then
    seen.status = seen.status or status_of(frame.payload)
  elseif frame.type == M.type.DATA then
    seen.body[#seen.body + 1] = frame.payload
    if #frame.payload > 0 then
      self:frame(M.type.WINDOW_UPDATE, 0, 0, M.u32(#frame.payload))
    end
  elseif frame.type == M.type.RST_STREAM then
    seen.reset = number(frame.payload)
  end
  local whole = frame.type == M.type.HEADERS or frame.type == M.type.DATA
  seen.done = seen.done or seen.reset ~= nil or (whole and frame.flags % 2 == 1)
end

--- Waits for the whole response.
--- @return { status?: integer, body: string, reset?: integer }? response, string? problem
function Connection:response(id, seconds)
  while not (self.seen[id] and self.seen[id].done) do
    local frame, problem = self:read(seconds)
    if not frame then
      return nil, problem
    end
    if frame.type == M.type.GOAWAY then
      self.goaway = number(frame.payload:sub(5, 8))
    end
    note(self, frame)
  end
  local seen = self.seen[id]
  self.seen[id] = nil
  return { status = seen.status, body = table.concat(seen.body), reset = seen.reset }
end

--- Reads until the server ends the connection.
--- @return boolean closed, integer? goaway the error code it said
function Connection:ended(seconds)
  local deadline = socket.gettime() + (seconds or M.TIMEOUT)
  while true do
    local frame, problem = self:read(math.max(deadline - socket.gettime(), 0.001))
    if not frame then
      return problem == "closed", self.goaway
    elseif frame.type == M.type.GOAWAY then
      self.goaway = number(frame.payload:sub(5, 8))
    end
  end
end

--- One request on a connection of its own.
--- @return { status: integer, body: string } response
function M.get(port, path, headers)
  local c = M.connect(port)
  local res, problem = c:response(c:request("GET", path, headers))
  c:close()
  return assert(res, problem)
end

return M
