--- Runs the specs of one folder with busted; used by `buntime test`.

local lfs_ok, lfs = pcall(require, "lfs")

local EXIT = {}

--- @param dir string
--- @return string[] files Every `*_spec.lua` below `dir`, sorted; `lua_modules` is left out.
local function find_specs(dir)
  local files = {}
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
  end
  error(result, 0)
end

--- @param dir string
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
  for _, shape in ipairs({ "/lua_modules/?/init.lua", "/lua_modules/?.lua", "/?/init.lua", "/?.lua" }) do
    package.path = dir .. shape .. ";" .. package.path
  end
  print(dir)
  io.stdout:flush()
  return run_busted(files)
end
