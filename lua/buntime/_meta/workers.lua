--- @meta buntime.core.workers
--- Implemented in runtime/bind/bind_workers.c; only the control plane's VM has it. What is absent is
--- json.null, lists are marked as arrays, and secrets are masked. "latest" is the version of a folder
--- that says none.

local workers = {}

--- @return table[] apps As GET /api/workers tells.
function workers.list() end

--- @param name string "hello", "@acme/hello"
--- @return table? details With `folders` and `processes`.
--- @return string? message
--- @return string? code
function workers.get(name) end

--- Edits `enabled` in the app's manifest, which is made if there is none. Waits; see buntime.wait.
--- @param name string
--- @param version string
--- @param enabled boolean
--- @return boolean ok
--- @return true? done
--- @return string? message
--- @return string? code
function workers.toggle(name, version, enabled) end

--- Removes the app's folders, or those of one version. Waits; see buntime.wait.
--- @param name string
--- @param version? string
--- @return boolean ok
--- @return true? done
--- @return string? message
--- @return string? code
function workers.remove(name, version) end

return workers
