--- Makes C modules of the runtime loadable where no VM of ours runs: in the Lua units.

local M = {}

--- `require "buntime.core.json"` and what is built on it work after this. ctest sets
--- BUNTIME_JSON_MODULE; by hand it is build/libjson_module.so.
function M.json()
  if package.preload["buntime.core.json"] then
    return
  end
  local path = os.getenv("BUNTIME_JSON_MODULE") or "build/libjson_module.so"
  package.preload["buntime.core.json"] = assert(package.loadlib(path, "bind_json_open"))
end

return M
