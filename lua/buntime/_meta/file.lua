--- @meta buntime.core.file
--- Implemented in runtime/bind/bind_file.c.

local core = {}

--- Looks for a file in the plugin's folder, then in its data folder. Waits.
--- @param path string Below one of them.
--- @return boolean ok
--- @return userdata|string|nil source For a response; nil when there is no such file.
function core.open(path) end

return core
