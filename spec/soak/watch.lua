--- What there is to see of a server from outside: its log, line by line as it comes, and its processes.

local cjson = require("cjson")
local ffi = require("ffi")
local lfs = require("lfs")

local process = require("spec.support.process")

ffi.cdef("long readlink(const char *path, char *out, size_t size);")

local M = {}
local Log = {}
Log.__index = Log

--- @class soak.Log
--- @field lines integer
--- @field bad string[] Lines that are no JSON object with time, level and msg.
--- @field errors table[] Those of level error.
--- @field listening table[] Those of a server process that has come up.
function M.log(path)
  local self = setmetatable({ file = assert(io.open(path, "rb")), rest = "", lines = 0 }, Log)
  self.bad, self.errors, self.listening = {}, {}, {}
  return self
end

local function take(self, text)
  self.lines = self.lines + 1
  local ok, line = pcall(cjson.decode, text)
  if not ok or type(line) ~= "table" or not (line.time and line.level and line.msg) then
    self.bad[#self.bad + 1] = text
  elseif line.level == "error" then
    self.errors[#self.errors + 1] = line
  elseif line.msg == "listening" then
    self.listening[#self.listening + 1] = line
  end
end

--- Reads what has come since.
function Log:read()
  local text = self.rest .. (self.file:read("*a") or "")
  self.file:seek("cur", 0) -- the end is not for ever
  local from = 1
  while true do
    local stop = text:find("\n", from, true)
    if not stop then
      break
    end
    take(self, text:sub(from, stop - 1))
    from = stop + 1
  end
  self.rest = text:sub(from)
end

-- Processes -----------------------------------------------------------------------------------

local function read_link(path)
  local out = ffi.new("char[4096]")
  local len = ffi.C.readlink(path, out, 4096)
  return len > 0 and ffi.string(out, len) or nil
end

--- Every process that runs this program, whoever its parent is.
--- @param exe string absolute
--- @return table<integer, { parent: integer, state: string }>
function M.processes(exe)
  local list = {}
  for name in lfs.dir("/proc") do
    local pid = tonumber(name)
    local link = pid and read_link("/proc/" .. name .. "/exe")
    if link == exe or link == exe .. " (deleted)" then
      local stat = process.read("/proc/" .. name .. "/stat") or ""
      local state, parent = stat:match("^%d+ %(.*%) (%a) (%d+)")
      list[pid] = state and { parent = tonumber(parent), state = state } or nil
    end
  end
  return list
end

--- Those that this process has started, with their states: "Z" is a zombie.
--- @return table<integer, string>
function M.children(pid)
  local list = {}
  for child in (process.read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""):gmatch("%d+") do
    local stat = process.read("/proc/" .. child .. "/stat")
    list[tonumber(child)] = stat and stat:match("^%d+ %(.*%) (%a)")
  end
  return list
end

--- @return integer bytes resident
function M.memory(pid)
  local status = process.read(("/proc/%d/status"):format(pid)) or ""
  return (tonumber(status:match("VmRSS:%s*(%d+) kB")) or 0) * 1024
end

--- What its descriptors are, counted: "socket:", "anon_inode:[eventpoll]", a path.
--- @return integer count, table<string, integer> kinds
function M.descriptors(pid)
  local count, kinds = 0, {}
  local dir = ("/proc/%d/fd"):format(pid)
  for name in lfs.dir(dir) do
    local link = tonumber(name) and read_link(dir .. "/" .. name)
    if link then
      local kind = link:gsub("%[%d+%]$", ""):gsub("(buntime%-workers%-)%w+", "%1…")
      count, kinds[kind] = count + 1, (kinds[kind] or 0) + 1
    end
  end
  return count, kinds
end

return M
