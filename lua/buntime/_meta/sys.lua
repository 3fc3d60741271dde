--- @meta buntime.core.sys
--- Implemented in runtime/bind/bind_sys.c.

local sys = {}

--- The version of the runtime.
--- @type string
sys.version = nil

--- Writes a log line with the plugin's name and the current request's id.
--- @param level "debug"|"info"|"warn"|"error"
--- @param message string
--- @param fields? table What JSON cannot hold is shown as a string.
function sys.log(level, message, fields) end

--- @return number seconds Since some fixed moment; never goes back.
function sys.now() end

--- @return number seconds Since 1970.
function sys.wall() end

--- @param name string
--- @return string? value nil when unset or empty
function sys.env(name) end

--- @return string
function sys.uuid4() end

--- @return string
function sys.uuid7() end

--- Resolves %XX; what is not a whole escape stays as it is.
--- @param text string
--- @param plus? boolean `+` is a space.
--- @return string
function sys.unescape(text, plus) end

--- Escapes everything but letters, digits and `-._~`.
--- @param text string
--- @return string
function sys.escape(text) end

--- @param query string A query, or a form's body.
--- @return string[][] pairs { name, value }, in order
function sys.query_pairs(query) end

return sys
