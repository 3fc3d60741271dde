--- @meta buntime.core.json
--- Implemented in runtime/bind/bind_json.c; buntime.json says what the functions do.

local json = {}

--- @param value any
--- @return string
function json.encode(value) end

--- @param text string
--- @return any value
--- @return string? message
--- @return string? code "INVALID_JSON"
function json.decode(text) end

--- @param t? table
--- @return table
function json.array(t) end

--- @param value any
--- @return boolean
function json.is_array(value) end

--- @type lightuserdata
json.null = nil

--- @type lightuserdata
json.empty_array = nil

return json
