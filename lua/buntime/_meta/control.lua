--- @meta buntime.core.control
--- Implemented in runtime/bind/bind_control.c; only the control plane's VM has it. What is absent is
--- json.null, lists are marked as arrays, and secrets are masked.

local control = {}

--- @class buntime.ControlStatus
--- @field version string
--- @field api string Where the control plane is: "/api", "/_/api".
--- @field uptime number Seconds.
--- @field generation integer 0 before the first.
--- @field stopping boolean
--- @field missing string[] Enabled critical plugins that are not loaded.
--- @field unmet string[] What RUNTIME_SANDBOX=require demands and the kernel lacks.
--- @field keysUnread boolean The database of the keys could not be read yet.
--- @field redisAway boolean Redis gave no answer to the last command.
--- @field plugins table<string, integer> How many there are in each state.

--- @return buntime.ControlStatus
function control.status() end

--- @return table[] plugins Every one on disk, as GET /api/plugins tells.
function control.plugins() end

--- @return table[] plugins In load order, as GET /api/plugins/loaded tells.
function control.loaded() end

--- @param name string
--- @return table? details, string? message, string? code
function control.plugin(name) end

--- The configuration of the live instance, else what the plugin would get now.
--- @param name string
--- @return table<string, { value: any, source: string, env: string }>? config
--- @return string? message
--- @return string? code
function control.config(name) end

--- @param name string
--- @return table[]? faults The newest first; `first` and `last` in seconds since 1970.
--- @return string? message
--- @return string? code
function control.errors(name) end

--- @class buntime.ControlReload
--- @field changed? boolean
--- @field strict? boolean
--- @field dry_run? boolean
--- @field only? string

--- Waits; see buntime.wait.
--- @param options buntime.ControlReload
--- @return boolean ok
--- @return table answer The reload object.
--- @return "ok"|"partial"|"rejected"|"unknown" outcome
function control.reload(options) end

--- Edits `enabled` in the plugin's manifest. Waits; see buntime.wait.
--- @param name string
--- @param enabled boolean
--- @return boolean ok
--- @return true? done
--- @return string? message
--- @return string? code
function control.toggle(name, enabled) end

--- Writes one log line with audit:true, whatever the log's level.
--- @param principal string
--- @param action string
--- @param target string
--- @param result string
--- @param code? string
function control.audit(principal, action, target, result, code) end

--- @class buntime.control.Routes
--- @field name string
--- @field version? string
--- @field base? string
--- @field routes string JSON: { routes, server }, each a list of buntime.DescribedRoute.

--- @return buntime.control.Routes[]
function control.routes() end

return control
