--- A small HTTP/1.1 client that does exactly what it is told: no redirects, no retries, no hidden
--- headers but Host and Content-Length. Many exchanges run at once inside http.parallel().

local cjson = require("cjson")
local socket = require("socket")

local M = {}
local Connection = {}
Connection.__index = Connection
local Response = {}
Response.__index = Response

M.TIMEOUT = 10 -- seconds, for each wait

--- Coroutines that http.parallel() runs.
local scheduled = setmetatable({}, { __mode = "k" })

--- Waits until the socket can be read ("r") or written ("w").
local function wait(sock, mode, seconds)
  local thread = coroutine.running()
  if thread and scheduled[thread] then
    return coroutine.yield(sock, mode, socket.gettime() + seconds)
  end
  local list = { sock }
  local read, write = socket.select(mode == "r" and list or nil, mode == "w" and list or nil, seconds)
  return #read + #write > 0
end

--- Waits; inside of parallel() the others go on.
function M.pause(seconds)
  local thread = coroutine.running()
  if thread and scheduled[thread] then
    coroutine.yield(nil, nil, socket.gettime() + seconds)
  else
    socket.sleep(seconds)
  end
end

--- Runs fn(1) … fn(n) side by side; each waits only for its own sockets. Raises the first error.
--- @param n integer
--- @param fn fun(i: integer): any
--- @return any[] results
function M.parallel(n, fn)
  local results, waiting = {}, {}

  local function step(task, ...)
    local ok, sock, mode, deadline = coroutine.resume(task.thread, ...)
    if not ok then
      error(debug.traceback(task.thread, tostring(sock)), 0)
    elseif coroutine.status(task.thread) == "dead" then
      results[task.i] = sock
      waiting[task] = nil
    else
      task.sock, task.mode, task.deadline = sock, mode, deadline
      waiting[task] = true
    end
  end

  local function turn()
    local read, write, owner = {}, {}, {}
    local now = socket.gettime()
    local first = now + 0.05
    for task in pairs(waiting) do
      local list = task.mode == "r" and read or write
      list[#list + 1] = task.sock
      owner[task.sock or task] = task
      first = math.min(first, task.deadline)
    end
    local readable, writable = socket.select(read, write, math.max(first - now, 0))
    for _, list in ipairs({ readable, writable }) do
      for _, sock in ipairs(list) do
        step(owner[sock], true)
        owner[sock] = nil
      end
    end
    now = socket.gettime()
    for _, task in pairs(owner) do
      if task.deadline <= now then
        step(task, false)
      end
    end
  end

  for i = 1, n do
    local task = { i = i, thread = coroutine.create(fn) }
    scheduled[task.thread] = true
    step(task, i)
  end
  while next(waiting) do
    turn()
  end
  return results
end

--- Opens a connection.
--- @param port integer
--- @param host? string 127.0.0.1
function M.connect(port, host)
  local sock = assert(socket.tcp())
  sock:settimeout(0)
  local ok, problem = sock:connect(host or "127.0.0.1", port)
  if not ok and problem == "timeout" and wait(sock, "w", M.TIMEOUT) then
    ok, problem = sock:getpeername(), "refused" -- a socket that failed is writable as well
  end
  if not ok then
    sock:close()
    error("connect: " .. problem, 2)
  end
  sock:setoption("tcp-nodelay", true)
  return setmetatable({ sock = sock, buffer = "", port = port, eof = false }, Connection)
end

function Connection:close()
  self.sock:close()
end

--- Sends bytes as they are.
--- @return boolean ok false if the peer has closed
function Connection:send(bytes)
  local sent = 0
  while sent < #bytes do
    local last, problem, partial = self.sock:send(bytes, sent + 1)
    sent = last or partial or sent
    if problem == "timeout" then
      assert(wait(self.sock, "w", M.TIMEOUT), "send: timeout")
    elseif problem then
      return false
    end
  end
  return true
end

--- Reads whatever comes next into the buffer.
--- @return boolean more false at the end of the stream or of the time
local function fill(self, seconds)
  while not self.eof do
    local data, problem, partial = self.sock:receive(65536)
    data = data or partial
    if problem and problem ~= "timeout" then
      self.eof = true -- closed, or reset
    end
    if data and #data > 0 then
      self.buffer = self.buffer .. data
      return true
    elseif problem == "timeout" and not wait(self.sock, "r", seconds) then
      return false
    end
  end
  return false
end

--- Reads all that comes until the peer closes.
--- @param seconds? number gives up after that long without a byte
--- @return string bytes, boolean closed
function Connection:read_all(seconds)
  while fill(self, seconds or M.TIMEOUT) do
  end
  local bytes = self.buffer
  self.buffer = ""
  return bytes, self.eof
end

--- @param seconds? number
--- @return boolean closed the peer closes within the time and sends nothing more
function Connection:closed(seconds)
  local bytes, closed = self:read_all(seconds or 2)
  self.buffer = bytes
  return closed and bytes == ""
end

--- Takes `n` bytes, or up to and with `mark`.
local function take(self, what, mark)
  while true do
    local stop
    if mark then
      local _, last = self.buffer:find(mark, 1, true)
      stop = last
    elseif #self.buffer >= what then
      stop = what
    end
    if stop then
      local bytes = self.buffer:sub(1, stop)
      self.buffer = self.buffer:sub(stop + 1)
      return bytes
    end
    if not fill(self, M.TIMEOUT) then
      local how = self.eof and "closed" or "timeout"
      error(("response: %s after %q"):format(how, self.buffer:sub(1, 200)), 0)
    end
  end
end

local function read_chunks(self)
  local out = {}
  while true do
    local size = assert(tonumber(take(self, nil, "\r\n"):match("^%x+"), 16), "bad chunk")
    if size == 0 then
      while take(self, nil, "\r\n") ~= "\r\n" do -- trailers
      end
      return table.concat(out)
    end
    out[#out + 1] = take(self, size)
    assert(take(self, 2) == "\r\n", "bad chunk end")
  end
end

local function parse_head(head)
  local status, reason = head:match("^HTTP/1%.[01] (%d%d%d) ?([^\r]*)\r\n")
  assert(status, "not a response: " .. head:sub(1, 200))
  local res = { status = tonumber(status), reason = reason, headers = {}, header_list = {} }
  for name, value in head:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
    local key = name:lower()
    res.header_list[#res.header_list + 1] = { key, value }
    res.headers[key] = res.headers[key] and res.headers[key] .. ", " .. value or value
  end
  return setmetatable(res, Response)
end

--- Reads one response; raises when it does not come whole.
--- @param method? string "HEAD" has no body
function Connection:response(method)
  local res = parse_head(take(self, nil, "\r\n\r\n"))
  local length = tonumber(res.headers["content-length"])
  local bare = method == "HEAD" or res.status < 200 or res.status == 204 or res.status == 304
  if bare then
    res.body = ""
  elseif (res.headers["transfer-encoding"] or ""):lower():find("chunked") then
    res.body = read_chunks(self)
  elseif length then
    res.body = take(self, length)
  else
    res.body = self:read_all()
  end
  return res
end

--- The bytes of a request.
--- @param options? http.Request
function M.format(method, target, options, port)
  options = options or {}
  local lines, given = { ("%s %s HTTP/1.1"):format(method, target) }, {}
  for name, value in pairs(options.headers or {}) do
    given[name:lower()] = true
    for _, one in ipairs(type(value) == "table" and value or { value }) do
      lines[#lines + 1] = name .. ": " .. one
    end
  end
  if not given.host then
    table.insert(lines, 2, "Host: localhost:" .. (port or 80))
  end
  if options.body and not given["content-length"] and not given["transfer-encoding"] then
    lines[#lines + 1] = "Content-Length: " .. #options.body
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (options.body or "")
end

--- @class http.Request
--- @field headers? table<string, string|string[]>
--- @field body? string
--- @field json? any encoded as the body, with its Content-Type

local function with_json(options)
  if not options or options.json == nil then
    return options
  end
  local headers = { ["Content-Type"] = "application/json" }
  for name, value in pairs(options.headers or {}) do
    headers[name] = value
  end
  return { headers = headers, body = cjson.encode(options.json) }
end

--- One request and its response; the connection stays open.
--- @param options? http.Request
function Connection:request(method, target, options)
  self:send(M.format(method, target, with_json(options), self.port))
  return self:response(method)
end

function Connection:get(target, options)
  return self:request("GET", target, options)
end

--- One request on a connection of its own.
function M.request(port, method, target, options)
  local conn = M.connect(port)
  local ok, res = pcall(conn.request, conn, method, target, options)
  conn:close()
  if not ok then
    error(("%s %s: %s"):format(method, target, tostring(res)), 0)
  end
  return res
end

--- The body decoded; raises with the body when it is not JSON.
function Response:json()
  local ok, value = pcall(cjson.decode, self.body)
  if not ok then
    error(("status %d, not JSON: %s"):format(self.status, self.body), 2)
  end
  return value
end

return M
