--- Fails if a binding has a function that its annotated stub does not name, or the other way round.
--- Run from the repository root.
---
--- runtime/bind/bind_NAME.c registers its functions in luaL_Reg tables; a file of lua/buntime/_meta
--- whose first lines say `@meta buntime.core.NAME` has a function or a field of each name.

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local function files(command)
  return io.popen(command .. " | LC_ALL=C sort"):lines()
end

--- @return table<string, boolean> names registered, metamethods aside
local function registered(source)
  local names = {}
  for body in source:gmatch("luaL_Reg%s+[%w_]+%[%]%s*=%s*(%b{})") do
    for name in body:gmatch('{%s*"([%w_]+)"') do
      if not name:find("^__") then
        names[name] = true
      end
    end
  end
  return names
end

--- @return table<string, boolean> names declared
local function declared(stub)
  local names = {}
  for name in stub:gmatch("function [%w_]+[.:]([%w_]+)%(") do
    names[name] = true
  end
  return names
end

local problems = 0
local function problem(...)
  io.stderr:write(string.format(...), "\n")
  problems = problems + 1
end

local stubs = {}
for path in files("find lua/buntime/_meta -name '*.lua'") do
  local text = read(path)
  local module = text:match("@meta%s+buntime%.core%.([%w_]+)")
  if module then
    stubs[module] = { path = path, text = text }
  end
end

for path in files("find runtime/bind -name 'bind_*.c'") do
  local source = read(path)
  local module = path:match("bind_([%w_]+)%.c$")
  local names = registered(source)
  local stub = stubs[module]
  if next(names) and not stub then
    problem("%s: no file in lua/buntime/_meta says @meta buntime.core.%s", path, module)
  elseif stub then
    local known = declared(stub.text)
    for name in pairs(names) do
      if not known[name] and not stub.text:find("@field " .. name .. "%f[^%w_]") then
        problem("%s: %s() has no stub in %s", path, name, stub.path)
      end
    end
    for name in pairs(known) do
      if not source:find('"' .. name .. '"', 1, true) then
        problem("%s: %s() is not registered in %s", stub.path, name, path)
      end
    end
  end
end
os.exit(problems == 0 and 0 or 1)
