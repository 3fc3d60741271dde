--- Runs the specs of one folder, or one spec, with busted; used by `buntime test`.

local lfs_ok, lfs = pcall(require, "lfs")

local EXIT = {}

--- @param dir string
--- @return string[] files Every `*_spec.lua` below `dir`, sorted; `lua_modules` is left out.
local function find_specs(dir)
  local files = {}
  if lfs.attributes(dir, "mode") == "file" then
    return { dir }
  end
  local function walk(folder)
    for name in lfs.dir(folder) do
      local path = folder .. "/" .. name
      local mode = name:sub(1, 1) ~= "." and name ~= "lua_modules" and lfs.attributes(path, "mode")
      if mode == "directory" then
        walk(path)
      elseif mode == "file" and name:find("_spec%.lua$") then
        files[#files + 1] = path
      end
    end
  end
  walk(dir)
  table.sort(files)
  return files
end

--- Runs busted, which ends by os.exit, as a function that returns its code.
local function run_busted(files)
  local real_exit = os.exit
  _G.arg = { [0] = "buntime test", "--output=utfTerminal", unpack(files) }
  os.exit = function(code)
    local number = code == true and 0 or code == false and 1 or code or 0
    error(setmetatable({ code = number }, EXIT), 0)
  end
  local ok, result = pcall(function()
    require("busted.runner")({ standalone = false })
  end)
  os.exit = real_exit
  if ok then
    return 0
  end
  if getmetatable(result) == EXIT then
    return result.code
  elseif result == nil then
    return 1 -- how busted ends under Lua 5.1 when a spec failed
  end
  error(result, 0)
end

--- @param dir string A folder, or the path of one spec.
--- @return integer code 0 when all specs passed.
return function(dir)
  if not lfs_ok or not pcall(require, "busted.runner") then
    io.stderr:write("buntime test needs busted (Debian: lua-busted)\n")
    return 2
  end
  package.loaded["busted.runner"] = nil
  local files = find_specs(dir)
  if #files == 0 then
    print(dir .. ": no *_spec.lua")
    return 0
  end
  local folder = files[1] == dir and (dir:match("^(.*)/[^/]*$") or ".") or dir
  for _, shape in ipairs({ "/lua_modules/?/init.lua", "/lua_modules/?.lua", "/?/init.lua", "/?.lua" }) do
    package.path = folder .. shape .. ";" .. package.path
  end
  print(dir)
  io.stdout:flush()
  return run_busted(files)
end
