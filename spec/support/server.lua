--- A running buntime for integration specs: a folder of plugins, the program, a client.
---
---   local s = server.start({ plugins = { hello = { ["manifest.yaml"] = …, ["plugin.lua"] = … } } })
---   assert.equal(200, s:get("/hello").status)
---   s:stop()
---
--- stop() is a test too: exit status 0 on SIGTERM, no error in the log that was not expected, no
--- report of a sanitizer. The program is $BUNTIME_BIN, else build/buntime.

local cjson = require("cjson")
local lfs = require("lfs")
local socket = require("socket")

local http = require("spec.support.http")
local process = require("spec.support.process")

local START_SECONDS, STOP_SECONDS = 20, 45

local M = {}
local Server = {}
Server.__index = Server

--- Started and not stopped yet; a failed spec leaves its server here.
local running = {}

function M.binary()
  local path = os.getenv("BUNTIME_BIN") or "build/buntime"
  return assert(process.absolute(path), path .. " is not built")
end

local function make_parents(path)
  local at = path:sub(1, 1) == "/" and "" or "."
  for part in path:match("^(.*)/[^/]*$"):gmatch("[^/]+") do
    at = at .. "/" .. part
    lfs.mkdir(at)
  end
end

local function write_file(path, text)
  make_parents(path)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function remove_tree(path)
  local kind = lfs.symlinkattributes(path, "mode")
  if kind == "directory" then
    for name in lfs.dir(path) do
      if name ~= "." and name ~= ".." then
        remove_tree(path .. "/" .. name)
      end
    end
    lfs.rmdir(path)
  elseif kind then
    os.remove(path)
  end
end

local function copy_tree(from, to)
  if lfs.attributes(from, "mode") ~= "directory" then
    return write_file(to, assert(process.read(from), from))
  end
  make_parents(to .. "/x")
  for name in lfs.dir(from) do
    if name ~= "." and name ~= ".." then
      copy_tree(from .. "/" .. name, to .. "/" .. name)
    end
  end
end

--- Places the folders that a start asks for, below dir.
local function lay_out(dir, options)
  make_parents(dir .. "/plugins/x")
  for name, files in pairs(options.plugins or {}) do
    for file, text in pairs(files) do
      write_file(("%s/plugins/%s/%s"):format(dir, name, file), text)
    end
  end
  for _, from in ipairs(options.copy or {}) do
    copy_tree(from, dir .. "/plugins/" .. from:match("([^/]+)/*$"))
  end
  for path, text in pairs(options.files or {}) do
    write_file(dir .. "/" .. path, text)
  end
end

local function environment(options)
  local env = {
    PORT = options.port or 0,
    RUNTIME_LOG_FORMAT = "json",
    RUNTIME_LAG_WARN = 0, -- a busy machine is no news
    RUNTIME_PLUGIN_DIRS = options.dirs and table.concat(options.dirs, ":") or "plugins",
  }
  for name, value in pairs(options.env or {}) do
    env[name] = value
  end
  return env
end

--- @class server.Options
--- @field plugins? table<string, table<string, string>> folder below plugins/ → file → text
--- @field copy? string[] folders of the repository to copy into plugins/
--- @field files? table<string, string> further files, relative to the server's directory
--- @field dirs? string[] RUNTIME_PLUGIN_DIRS, else plugins
--- @field env? table<string, string|false>
--- @field args? string[] after the program's name, else { "serve" }
--- @field command? string[] in place of the program and its arguments
--- @field port? integer else a free one; with it the log need not say that the server listens
--- @field wait? boolean false: with a port, return without waiting until it listens

--- Whether a connection is accepted within the time.
local function wait_port(self, port)
  return process.eventually(function()
    local ok, conn = pcall(http.connect, port)
    if ok then
      conn:close()
    end
    return ok or not self.process:alive()
  end, START_SECONDS) and self.process:alive()
end

--- @return integer? port once the server listens
local function wait_ready(self, options)
  if options.wait == false then
    return options.port
  elseif options.port then
    return wait_port(self, options.port) and options.port
  end
  local line = self:wait_log("listening", START_SECONDS)
  return line and tonumber(line.port or line.raw:match("port=(%d+)")) -- .raw: a pretty log
end

--- Starts a server in a folder of its own and waits until it listens.
--- @param options? server.Options
function M.start(options)
  options = options or {}
  local dir = process.temp_dir()
  local self = setmetatable({ dir = dir, log_path = dir .. "/log", allowed = {} }, Server)
  lay_out(dir, options)

  self.began = socket.gettime()
  local args = options.command or { M.binary(), unpack(options.args or { "serve" }) }
  self.process = process.spawn({
    args = args,
    cwd = dir,
    env = environment(options),
    stdout = self.log_path,
    stderr = self.log_path,
  })
  running[self] = true

  self.port = wait_ready(self, options)
  if not self.port then
    local log = self:log()
    self:discard()
    error("the server did not start; its log:\n" .. log, 2)
  end
  return self
end

--- Runs fn with a server that is stopped whatever happens.
--- @param fn fun(s: table)
function M.with(options, fn)
  local s = M.start(options)
  local ok, problem = xpcall(fn, function(e)
    return type(e) == "string" and debug.traceback(e, 2) or e
  end, s)
  if not ok then
    s:discard()
    error(problem, 0)
  end
  s:stop()
end

--- Ends what failed specs have left. For after_each.
function M.stop_all()
  for s in pairs(running) do
    s:discard()
  end
end

--- Runs the program to its end in a folder made as for start().
--- @param args string[]
--- @param options? server.Options
--- @return integer? code, string out, string err
function M.run(args, options)
  options = options or {}
  local dir = process.temp_dir()
  lay_out(dir, options)
  local code, out, err, problem = process.run({
    args = { M.binary(), unpack(args) },
    cwd = dir,
    env = environment(options),
  }, 60)
  remove_tree(dir)
  assert(not problem, problem)
  return code, out, err
end

-- Requests ------------------------------------------------------------------------------------

--- @param options? http.Request
function Server:request(method, target, options)
  return http.request(self.port, method, target, options)
end

for _, method in ipairs({ "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS" }) do
  Server[method:lower()] = function(self, target, options)
    return self:request(method, target, options)
  end
end

--- A connection that stays open.
function Server:connect()
  return http.connect(self.port)
end

--- Sends bytes and reads until the server closes, or says nothing for `seconds` (1).
--- @return string answer, boolean closed
function Server:raw(bytes, seconds)
  local conn = self:connect()
  conn:send(bytes)
  local answer, closed = conn:read_all(seconds or 1)
  conn:close()
  return answer, closed
end

--- POST /api/plugins/reload
--- @param query? string "changed=true"
function Server:reload(query)
  return self:post("/api/plugins/reload" .. (query and "?" .. query or ""))
end

-- Files ---------------------------------------------------------------------------------------

--- @param path string below plugins/
function Server:path(path)
  return self.dir .. "/plugins/" .. path
end

function Server:write(path, text)
  write_file(self:path(path), text)
end

function Server:read(path)
  return process.read(self:path(path))
end

function Server:remove(path)
  remove_tree(self:path(path))
end

-- The log -------------------------------------------------------------------------------------

function Server:log()
  return process.read(self.log_path) or ""
end

--- Every line so far; one that is not JSON has only .raw.
--- @return table[]
function Server:log_lines()
  local lines = {}
  for text in self:log():gmatch("([^\n]*)\n") do
    local ok, line = pcall(cjson.decode, text)
    lines[#lines + 1] = ok and type(line) == "table" and line.msg and line or { raw = text }
  end
  return lines
end

--- The first line that `what` fits: a message's plain text, or a function that says so.
--- @param what string|fun(line: table): any
--- @param seconds? number 5
--- @return table? line
function Server:wait_log(what, seconds)
  local function fits(line)
    if type(what) == "function" then
      return what(line)
    end
    return (line.msg or line.raw):find(what, 1, true)
  end
  local found = process.eventually(function()
    local ended = not self.process:alive() -- asked first: what it logged at its end counts
    for _, line in ipairs(self:log_lines()) do
      if fits(line) then
        return { line = line }
      end
    end
    return ended and {}
  end, seconds)
  return found and found.line
end

--- @return table[] lines of level error
function Server:errors()
  local found = {}
  for _, line in ipairs(self:log_lines()) do
    if line.level == "error" then
      found[#found + 1] = line
    end
  end
  return found
end

--- Says that errors whose message holds this plain text are part of the spec.
function Server:allow_errors(...)
  for _, text in ipairs({ ... }) do
    table.insert(self.allowed, text)
  end
end

local function is_allowed(self, line)
  for _, text in ipairs(self.allowed) do
    if (line.msg or ""):find(text, 1, true) then
      return true
    end
  end
  return false
end

local function complaints(self)
  local list = {}
  for _, line in ipairs(self:errors()) do
    if not is_allowed(self, line) then
      list[#list + 1] = "unexpected error in the log: " .. cjson.encode(line)
    end
  end
  local log = self:log()
  if log:find("Sanitizer", 1, true) or log:find("runtime error:", 1, true) then
    list[#list + 1] = "a sanitizer reports:\n" .. log
  end
  return list
end

-- The end -------------------------------------------------------------------------------------

--- Ends the process without a look at anything.
function Server:discard()
  running[self] = nil
  self.process:kill("KILL")
  self.process:wait(5)
  remove_tree(self.dir)
end

--- SIGTERM, and all must be well.
--- @param signal? string "TERM"
function Server:stop(signal)
  self.process:kill(signal or "TERM")
  local code, problem = self.process:wait(STOP_SECONDS)
  local list = complaints(self)
  if code ~= 0 then
    table.insert(list, 1, ("exit status %s; the log:\n%s"):format(tostring(code or problem), self:log()))
  end
  self:discard()
  if #list > 0 then
    error(table.concat(list, "\n"), 2)
  end
end

--- The child of the supervisor, for a log that does not tell who listens.
local function child_of(pid)
  local children = process.read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""
  return tonumber(children:match("%d+"))
end

--- The server process, which runs below its supervisor (self.process): the one that listened last.
--- @return integer pid
function Server:pid()
  local pid
  for _, line in ipairs(self:log_lines()) do
    if (line.msg or line.raw):find("listening", 1, true) then
      pid = tonumber(line.pid or (line.raw or ""):match("pid=(%d+)")) or pid
    end
  end
  return pid or child_of(self.process.pid) or self.process.pid
end

--- How often it has come to listen.
function Server:starts()
  local count = 0
  for _, line in ipairs(self:log_lines()) do
    count = count + (line.msg == "listening" and 1 or 0)
  end
  return count
end

--- Bytes of resident memory, now.
function Server:memory()
  local status = process.read(("/proc/%d/status"):format(self:pid()))
  return tonumber(status:match("VmRSS:%s*(%d+) kB")) * 1024
end

--- Open file descriptors, now.
function Server:descriptors()
  local count = -2 -- . and ..
  for _ in lfs.dir(("/proc/%d/fd"):format(self:pid())) do
    count = count + 1
  end
  return count
end

return M
