--- A raw WebSocket client: it frames whatever it is told, also what no client should send.

local bit = require("bit")
local socket = require("socket")

local http = require("spec.support.http")

local M = {}
local Client = {}
Client.__index = Client

local KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" -- RFC 6455, 1.3

M.TEXT, M.BINARY, M.CONTINUATION, M.CLOSE, M.PING, M.PONG = 1, 2, 0, 8, 9, 10

--- Opens a socket. Raises when the server answers anything but 101.
--- @param port integer
--- @param path string
--- @param headers? string further lines of the head
function M.open(port, path, headers)
  local conn = http.connect(port)
  conn:send(("GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    .. "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n"):format(path, KEY, headers or ""))
  local self = setmetatable({ conn = conn, sock = conn.sock, buffer = "" }, Client)
  while not self.buffer:find("\r\n\r\n", 1, true) do
    assert(self:fill(5), "no answer to the handshake")
  end
  self.head, self.buffer = self.buffer:match("^(.-\r\n\r\n)(.*)$")
  assert(self.head:find("^HTTP/1.1 101 "), self.head)
  assert(self.head:lower():find("sec-websocket-accept: " .. ACCEPT:lower(), 1, true), self.head)
  return self
end

function Client:fill(seconds)
  local readable = socket.select({ self.sock }, nil, seconds)
  if #readable == 0 then
    return nil, "timeout"
  end
  self.sock:settimeout(0)
  local data, problem, partial = self.sock:receive(65536)
  data = data or partial
  self.buffer = self.buffer .. data
  return #data > 0, problem
end

local MASK = { 0x11, 0xa7, 0x3c, 0x5e }

local function mask(payload)
  local out = {}
  for i = 1, #payload do
    out[i] = string.char(bit.bxor(payload:byte(i), MASK[(i - 1) % 4 + 1]))
  end
  return table.concat(out)
end

--- @class websocket.Frame
--- @field last? boolean FIN; true unless told
--- @field unmasked? boolean
--- @field rsv? integer The reserved bits, 0x40 and so on

--- @param opcode integer
--- @param payload? string
--- @param options? websocket.Frame
function M.frame(opcode, payload, options)
  options, payload = options or {}, payload or ""
  local first = opcode + (options.last == false and 0 or 0x80) + (options.rsv or 0)
  local flag, size = options.unmasked and 0 or 0x80, #payload
  local head
  if size < 126 then
    head = string.char(first, flag + size)
  elseif size < 65536 then
    head = string.char(first, flag + 126, math.floor(size / 256), size % 256)
  else
    local rest = {}
    for i = 7, 0, -1 do
      rest[#rest + 1] = string.char(math.floor(size / 256 ^ i) % 256)
    end
    head = string.char(first, flag + 127) .. table.concat(rest)
  end
  if options.unmasked then
    return head .. payload
  end
  return head .. string.char(unpack(MASK)) .. mask(payload)
end

function Client:send(opcode, payload, options)
  return self.conn:send(M.frame(opcode, payload, options))
end

function Client:text(payload)
  return self:send(M.TEXT, payload)
end

--- A frame of the server's at the start of the buffer.
local function take(self)
  local b = self.buffer
  if #b < 2 then
    return nil
  end
  local opcode, size, at = b:byte(1) % 16, b:byte(2), 3
  assert(size < 128, "the server must not mask")
  if size >= 126 then
    local bytes = size == 126 and 2 or 8
    if #b < 2 + bytes then
      return nil
    end
    size = 0
    for i = 3, 2 + bytes do
      size = size * 256 + b:byte(i)
    end
    at = 3 + bytes
  end
  if #b < at + size - 1 then
    return nil
  end
  self.buffer = b:sub(at + size)
  return { opcode = opcode, data = b:sub(at, at + size - 1), last = b:byte(1) >= 128 }
end

--- The next frame; nil at the end of the connection or of the time.
--- @param seconds? number 5
--- @return table? frame { opcode, data, last }
--- @return string? problem "closed" or "timeout"
function Client:receive(seconds)
  local deadline = socket.gettime() + (seconds or 15)
  while true do
    local frame = take(self)
    if frame then
      return frame
    end
    local more, problem = self:fill(math.max(deadline - socket.gettime(), 0))
    if not more then
      return nil, problem
    end
  end
end

--- Reads to the end. Returns the code of the close frame, and its reason.
--- @return integer? code nil when the connection ended without one; 1005 for a frame without a code
function Client:closed(seconds)
  local code, reason
  while true do
    local frame, problem = self:receive(seconds)
    if not frame then
      assert(problem ~= "timeout", "the server does not close")
      return code, reason
    elseif frame.opcode == M.CLOSE then
      code = #frame.data >= 2 and frame.data:byte(1) * 256 + frame.data:byte(2) or 1005
      reason = frame.data:sub(3)
      self:send(M.CLOSE, frame.data:sub(1, 2))
    end
  end
end

function Client:close()
  self.conn:close()
end

return M
