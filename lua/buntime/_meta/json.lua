--- @meta buntime.core.json
--- Implemented in runtime/bind/bind_json.c; buntime.json says what the functions do.

local json = {}

--- @param value any
--- @param blame? table The library's own: its method `_misfit` gets the message and raises.
--- @return string
function json.encode(value, blame) end

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
