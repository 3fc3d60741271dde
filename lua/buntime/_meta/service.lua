--- @meta buntime.core.service
--- Implemented in runtime/bind/bind_service.c: what getPlugin gives out, and calls between plugins.

local service = {}

--- Prepares this VM. `wrap` makes the function that stands for a function of another plugin.
--- @param wrap fun(reference: userdata): function
function service.open(wrap) end

--- Calls what a reference means, in its own VM; waits if that waits.
--- @param reference userdata
--- @param ... any Plain data crosses by value, functions and objects by reference.
--- @return boolean ok
--- @return any ... results, or the error
function service.call(reference, ...) end

--- What the plugin `name` provides.
--- @param name string
--- @return any service nil when it is not loaded or provides nothing
function service.find(name) end

--- How this plugin's manifest lists `name`.
--- @param name string
--- @return "required"|"optional"|nil
function service.declared(name) end

return service
