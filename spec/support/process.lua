--- Child processes for specs: start, wait with a limit, signal, read the exit. LuaJIT on Linux.
---
--- A child dies with the process that started it, holds none of its descriptors, and inherits the
--- environment less what configures buntime.

local ffi = require("ffi")
local socket = require("socket")

ffi.cdef([[
  typedef int pid_t;
  extern char **environ;
  pid_t fork(void);
  pid_t waitpid(pid_t pid, int *status, int options);
  int kill(pid_t pid, int sig);
  int execvp(const char *file, char *const argv[]);
  int chdir(const char *path);
  int dup2(int from, int to);
  int close(int fd);
  int open(const char *path, int flags, ...);
  int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
  void _exit(int status);
  char *mkdtemp(char *template);
  char *realpath(const char *path, char *resolved);
  void free(void *block);
]])

local C = ffi.C
local WNOHANG, PR_SET_PDEATHSIG = 1, 1
local O_RDONLY, O_WRONLY, O_CREAT, O_APPEND = 0, 1, 64, 1024

local SIGNALS = {
  HUP = 1,
  INT = 2,
  QUIT = 3,
  KILL = 9,
  USR1 = 10,
  USR2 = 12,
  TERM = 15,
  CONT = 18,
  STOP = 19,
}

local M = {}
local Process = {}
Process.__index = Process

local OURS = { "^RUNTIME_", "^TLS_", "^LUA_", "^BUNTIME_", "^PORT$", "^HOST$" }

--- Variables that a child does not inherit: they would configure the server under test, or this
--- very process.
local function is_ours(name)
  if name == "BUNTIME_GC_STRESS" then -- for the server under test
    return false
  end
  for _, pattern in ipairs(OURS) do
    if name:find(pattern) then
      return true
    end
  end
  return false
end

--- @return string[] the child's environment as NAME=value
local function environment(extra)
  local list = {}
  local i = 0
  while C.environ[i] ~= nil do
    local entry = ffi.string(C.environ[i])
    local name = entry:match("^[^=]*")
    if not is_ours(name) and (not extra or extra[name] == nil) then
      list[#list + 1] = entry
    end
    i = i + 1
  end
  for name, value in pairs(extra or {}) do
    if value then -- false takes a variable away
      list[#list + 1] = name .. "=" .. tostring(value)
    end
  end
  return list
end

--- A NULL-terminated char *[]; the second value keeps the strings alive.
local function vector(list)
  local pointers = ffi.new("char *[?]", #list + 1)
  local anchors = {}
  for i, text in ipairs(list) do
    anchors[i] = ffi.new("char[?]", #text + 1, text)
    pointers[i - 1] = anchors[i]
  end
  pointers[#list] = nil
  return pointers, anchors
end

local function redirect(path, flags, fd)
  local from = C.open(path, flags, ffi.cast("int", 420)) -- 0644
  if from < 0 then
    C._exit(126)
  end
  C.dup2(from, fd)
end

--- Runs in the child; does not return.
local function become(options, argv, envp)
  C.prctl(PR_SET_PDEATHSIG, SIGNALS.KILL, 0, 0, 0)
  redirect(options.stdin or "/dev/null", O_RDONLY, 0)
  redirect(options.stdout, O_WRONLY + O_CREAT + O_APPEND, 1)
  redirect(options.stderr, O_WRONLY + O_CREAT + O_APPEND, 2)
  for fd = 3, 255 do
    C.close(fd)
  end
  if options.cwd and C.chdir(options.cwd) ~= 0 then
    C._exit(126)
  end
  C.environ = envp
  C.execvp(argv[0], argv)
  C._exit(127)
end

--- @class process.Options
--- @field args string[] program (looked up in PATH) and its arguments
--- @field env? table<string, string|false> added to the environment; false removes
--- @field cwd? string
--- @field stdin? string file to read, else nothing
--- @field stdout? string file to append to, else nowhere; relative to this process's directory
--- @field stderr? string as stdout

--- Starts a program. A program that cannot be run exits with 127.
--- @param options process.Options
function M.spawn(options)
  local argv, keep_args = vector(options.args)
  local envp, keep_env = vector(environment(options.env))
  local prepared = {
    cwd = options.cwd,
    stdin = options.stdin,
    stdout = options.stdout or "/dev/null",
    stderr = options.stderr or "/dev/null",
  }
  local pid = C.fork()
  if pid == 0 then
    become(prepared, argv, envp)
  end
  assert(pid > 0, "fork failed")
  return setmetatable({ pid = pid, keep = { keep_args, keep_env } }, Process)
end

--- Collects the exit if there is one. Sets .code (exit status) or .signal.
local function reap(self)
  if self.done then
    return true
  end
  local status = ffi.new("int[1]")
  if C.waitpid(self.pid, status, WNOHANG) ~= self.pid then
    return false
  end
  self.done = true
  local low = status[0] % 128
  if low == 0 then
    self.code = math.floor(status[0] / 256) % 256
  else
    self.signal = low
  end
  return true
end

function Process:alive()
  return not reap(self)
end

--- Waits for the end.
--- @param seconds number
--- @return integer? code, string? problem "timeout" or "signal N"
function Process:wait(seconds)
  if not M.eventually(function()
    return reap(self)
  end, seconds) then
    return nil, "timeout"
  end
  if self.signal then
    return nil, "signal " .. self.signal
  end
  return self.code
end

--- @param name string "TERM", "INT", "KILL", …
function Process:kill(name)
  local number = assert(SIGNALS[name], name)
  if not self.done then
    C.kill(self.pid, number)
  end
end

--- Asks until the answer is true, or the time is over.
--- @generic T
--- @param ask fun(): T?
--- @param seconds? number 15
--- @return T? answer the first true one
function M.eventually(ask, seconds)
  local deadline = socket.gettime() + (seconds or 15)
  local pause = 0.001
  repeat
    local answer = ask()
    if answer then
      return answer
    end
    socket.sleep(pause)
    pause = math.min(pause * 1.2, 0.005)
  until socket.gettime() > deadline
  return ask()
end

--- Makes an empty folder under the system's temporary one; the caller removes it.
function M.temp_dir()
  local template = (os.getenv("TMPDIR") or "/tmp") .. "/buntime-spec-XXXXXX"
  local buffer = ffi.new("char[?]", #template + 1, template)
  assert(C.mkdtemp(buffer) ~= nil, "mkdtemp failed")
  return ffi.string(buffer)
end

--- @return string? absolute path with links resolved; nil if there is no such file
function M.absolute(path)
  local found = C.realpath(path, nil)
  if found == nil then
    return nil
  end
  local text = ffi.string(found)
  C.free(found)
  return text
end

--- @return string? text nil if there is no such file
function M.read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

--- Runs a program to its end.
--- @param options process.Options stdout and stderr are captured
--- @param seconds? number 30, then it is killed
--- @return integer? code, string out, string err, string? problem
function M.run(options, seconds)
  local dir = M.temp_dir()
  local out, err = dir .. "/out", dir .. "/err"
  local child = M.spawn({
    args = options.args,
    env = options.env,
    cwd = options.cwd,
    stdin = options.stdin,
    stdout = out,
    stderr = err,
  })
  local code, problem = child:wait(seconds or 30)
  if problem == "timeout" then
    child:kill("KILL")
    child:wait(5)
  end
  local out_text, err_text = M.read(out) or "", M.read(err) or ""
  os.remove(out)
  os.remove(err)
  os.remove(dir)
  return code, out_text, err_text, problem
end

return M
