--- @meta buntime.core.replicas
--- Implemented in runtime/bind/bind_replicas.c; only the control plane's VM has it.

local replicas = {}

--- @class buntime.Replica
--- @field id string
--- @field since number When it started, in seconds since 1970.
--- @field version string
--- @field self boolean

--- @return buntime.Replica[] list This one, then the others in the order they came.
--- @return boolean hears Whether others can be heard now, if there can be any.
function replicas.list() end

--- @return boolean alone Whether there is no database to find others by.
function replicas.alone() end

--- Waits; see buntime.wait. What may be asked, and is answered, stands in runtime/app/announce.h.
--- @param text string
--- @param ms number How long to wait for answers.
--- @return boolean ok
--- @return { id: string, answer: string? }[] answers
function replicas.ask(text, ms) end

return replicas
