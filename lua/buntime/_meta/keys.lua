--- @meta buntime.core.keys
--- Implemented in runtime/bind/bind_keys.c; only the control plane's VM has it. Times are ms since 1970,
--- 0: never.

local keys = {}

--- The name of the sessions' cookie.
keys.cookie = "buntime_session"

--- How long a session lives at most.
keys.session_seconds = 604800

--- How long it lives without being used.
keys.idle_seconds = 43200

--- @class buntime.KeyRole
--- @field name string
--- @field custom boolean A key of this role brings its own permissions.
--- @field permissions string[]

--- @return { roles: buntime.KeyRole[], permissions: string[] }
function keys.meta() end

--- @param text string "12h", as in settings.
--- @return number? ms
function keys.duration(text) end

--- @class buntime.Key
--- @field id string
--- @field name string
--- @field keyPrefix string
--- @field role string
--- @field permissions string[]
--- @field namespaces string[]
--- @field createdBy string
--- @field created number
--- @field expires number
--- @field used number

--- @return buntime.Key[] keys Those that are not revoked, in the order they were made.
function keys.list() end

--- @param id string
--- @return buntime.Key?
function keys.find(id) end

--- Whether there are as many keys as there may be.
--- @return boolean
function keys.full() end

--- @class buntime.KeySpec
--- @field name string
--- @field role string
--- @field permissions string With spaces in between; only those of the role custom count.
--- @field namespaces string With spaces in between.
--- @field lifetime number Milliseconds; 0: for ever.
--- @field creator string

--- Waits; see buntime.wait.
--- @param spec buntime.KeySpec
--- @return boolean ok
--- @return { key: string, id: string, prefix: string }? made
--- @return string? message
--- @return string? code
function keys.create(spec) end

--- Waits; see buntime.wait. The key and its sessions are no good any more at once.
--- @param id string
--- @return boolean ok
--- @return boolean? done false: there is no such key; nil: it could not be written.
--- @return string? message
--- @return string? code
function keys.revoke(id) end

--- Whose key it is.
--- @param req buntime.Request
--- @param key string
--- @return boolean ok
--- @return buntime.Caller|integer caller_or_status
--- @return string? code
--- @return string? message
--- @return string? principal
--- @return integer? retry_after
function keys.login(req, key) end

--- Begins a session. Waits; see buntime.wait.
--- @param id? string The key's; nil: the root key's.
--- @return boolean ok
--- @return string? token
--- @return string? message
--- @return string? code
function keys.begin(id) end

--- Why nothing but the root key is known: the database could not be read yet.
--- @return string?
function keys.problem() end

--- Ends the session whose cookie the request has. Waits; see buntime.wait.
--- @param req buntime.Request
--- @return boolean ok
--- @return boolean? done false: there is no such session; nil: it could not be written.
--- @return string? message
--- @return string? code
function keys.logout(req) end

return keys
