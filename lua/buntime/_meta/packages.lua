--- @meta buntime.core.packages
--- Implemented in runtime/bind/bind_packages.c; only the control plane's VM has it. What waits is made
--- ordinary by buntime.wait.

local packages = {}

--- One installation, rollback or removal; a plugin's package, or that of a worker app.
--- @param kind "plugin"|"app"
--- @return buntime.PackageOperation
function packages.open(kind) end

--- The kept versions of a plugin, the newest first; `kept` in seconds since 1970. Waits.
--- @param name string
--- @return boolean ok
--- @return { version: string?, kept: number }[] list
function packages.kept(name) end

--- @class buntime.PackageOperation
local operation = {}

--- @class buntime.Package
--- @field name string
--- @field version? string

--- Unpacks the file `file` of a multipart form beside the place where it is going to be. Waits.
--- @param request buntime.Request
--- @return boolean ok
--- @return buntime.Package? package
--- @return string? message
--- @return string? code
function operation:unpack(request) end

--- Keeps reloads and other operations away until this one is closed, and settles where an unpacked
--- package goes. Waits for what runs.
--- @return boolean ok
--- @return buntime.Package? package
--- @return string? message
--- @return string? code
function operation:hold() end

--- What `buntime check` would say with the unpacked package in its place. Waits.
--- @return boolean ok
--- @return buntime.Package? package
--- @return string? message
--- @return string? code
function operation:check() end

--- Puts the unpacked package into its place, and keeps what it replaces. Waits.
--- @return boolean ok
--- @return buntime.Package? package
--- @return string? message
--- @return string? code
function operation:place() end

--- Puts a kept version of a plugin into its place. Waits.
--- @param name string
--- @param version? string The newest of this version, else the newest.
--- @return boolean ok
--- @return buntime.Package? package
--- @return string? message
--- @return string? code
function operation:rollback(name, version) end

--- Takes a plugin away, and keeps it. Waits.
--- @param name string
--- @return boolean ok
--- @return buntime.Package? package
--- @return string? message
--- @return string? code
function operation:remove(name) end

--- As control.reload{ changed = true }, inside of the hold. Waits.
--- @return boolean ok
--- @return table answer The reload object.
--- @return "ok"|"partial" outcome
function operation:reload() end

--- Ends it: reloads go on, and what is left of the package is removed. No other method after that.
function operation:close() end

return packages
