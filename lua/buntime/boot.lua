--- Makes a fresh Lua state a buntime VM: where `require` looks, coroutines that waiting passes
--- through, the guard on globals, and what plugin code must not reach.
---
--- Run once per VM by runtime/vm/vm.c with the options table as its argument.

local options = ...

local raw_resume, raw_yield, raw_create = coroutine.resume, coroutine.yield, coroutine.create
local sys = package.preload["buntime.core.sys"] and require("buntime.core.sys")

--- Modules: the plugin's folder, then the library, then the machine's Lua 5.1 path.
local function set_loaders()
  local preload, path, cpath, croot = unpack(package.loaders)
  local machine = package.path:gsub("^%./%?%.lua;", "")
  package.path = machine
  package.cpath = package.cpath:gsub("^%./%?%.so;", "")
  package.loaders = { preload, options.library, path, cpath, croot }
  if not options.root then
    return
  end

  local root = options.root
  local shapes = { "/?.lua", "/?/init.lua", "/lua_modules/?.lua", "/lua_modules/?/init.lua" }
  for i, shape in ipairs(shapes) do
    shapes[i] = root .. shape
  end
  local folder = table.concat(shapes, ";")
  local shadows = options.shadows -- files there may stand in for the library's
  table.insert(package.loaders, 2, function(name)
    if not shadows and name:find("^buntime%f[.%z]") then
      return nil
    end
    local file, tried = package.searchpath(name, folder)
    if not file then
      return tried
    end
    local chunk, message = loadfile(file)
    if not chunk then
      error(message, 0)
    end
    return chunk
  end)
end

--- A wait inside a coroutine of the plugin's own suspends the whole task: the wait's token is
--- passed on outward, and what it is resumed with is passed back in.
local function set_coroutines()
  local wait_token = options.wait_token
  local note, is_task_root = options.note, options.is_task_root

  local function settle(co, ok, first, ...)
    if ok and first == wait_token then
      return settle(co, raw_resume(co, raw_yield(wait_token)))
    end
    if not ok then
      note(co, first)
    end
    return ok, first, ...
  end

  function coroutine.resume(co, ...)
    return settle(co, raw_resume(co, ...))
  end

  local function values(ok, ...)
    if not ok then
      error((...), 0)
    end
    return ...
  end

  function coroutine.wrap(fn)
    local co = raw_create(fn)
    return function(...)
      return values(settle(co, raw_resume(co, ...)))
    end
  end

  function coroutine.yield(...)
    if is_task_root() then
      error("attempt to yield outside of a coroutine", 2)
    end
    return raw_yield(...)
  end
end

local function where(level)
  local info = debug.getinfo(level + 1, "Sl")
  return info and info.short_src .. ":" .. info.currentline or "?"
end

--- Assigning a global raises (development) or warns once for each name (production).
local function guard_globals()
  local warned = {}
  setmetatable(_G, {
    __newindex = function(globals, name, value)
      if options.strict then
        local message = ("assigning the global %q: use a local, or rawset(_G, %q, value)")
        error(message:format(tostring(name), tostring(name)), 2)
      end
      if not warned[name] and sys then
        warned[name] = true
        sys.log("warn", ("%s assigns the global %q"):format(where(2), tostring(name)))
      end
      rawset(globals, name, value)
    end,
  })
end

local function refuse(what, instead)
  return function()
    error(what .. " is not available in a plugin" .. (instead and "; " .. instead or ""), 2)
  end
end

--- What would stop or blind the whole process instead of this VM alone.
local function close_doors()
  os.exit = refuse("os.exit", "raise an error instead")
  os.setlocale = refuse("os.setlocale")
  debug.sethook = refuse("debug.sethook")
  for _, name in ipairs({ "on", "off", "flush", "attach" }) do
    jit[name] = refuse("jit." .. name, "see `jit` in the manifest")
  end
end

--- The C halves of the library are for the library alone: they trust their arguments further than
--- plugin code can be trusted.
local function hide_core()
  local plain_require, opens, loaded = require, {}, {}
  for name, open in pairs(package.preload) do
    if name:find("^buntime%.core%.") then
      opens[name], loaded[name] = open, package.loaded[name]
    end
  end
  for name in pairs(opens) do
    package.preload[name], package.loaded[name] = nil, nil
  end
  local from_files = os.getenv("BUNTIME_LUA_DIR") -- the library's chunks have the names of files then

  function require(name)
    if not opens[name] then
      return plain_require(name)
    end
    local caller = debug.getinfo(2, "S")
    if not from_files and not (caller and caller.source:find("^@buntime/")) then
      error(("module %q is the library's own; see the modules without \"core\""):format(name), 2)
    end
    if loaded[name] == nil then
      loaded[name] = opens[name](name)
    end
    return loaded[name]
  end
end

local function set_print()
  function print(...)
    local words = {}
    for i = 1, select("#", ...) do
      words[i] = tostring((select(i, ...)))
    end
    sys.log("info", table.concat(words, "\t"))
  end
end

set_loaders()
set_coroutines()
if sys then
  rawset(_G, "buntime", require("buntime"))
end
if options.root then
  hide_core()
  close_doors()
  if sys then
    set_print()
  end
  guard_globals()
end
