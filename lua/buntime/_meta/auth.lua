--- @meta buntime.core.auth
--- Implemented in runtime/bind/bind_auth.c; the rules are those of runtime/app/auth.c.

local auth = {}

--- @class buntime.Caller
--- @field principal string "root", "local", "key:<id>"; "anonymous" where no credential was needed.
--- @field id? string Of the key.
--- @field name? string Of the key.
--- @field role? string
--- @field all boolean It may do everything, what has no permission of its own included.
--- @field permissions string[]
--- @field namespaces string[] `{ "*" }`: all.
--- @field session boolean It came with a session's cookie.
--- @field expires number When the key or session ends, in ms since 1970; 0: never.

--- Whether a request may do something on the control plane.
--- @param req buntime.Request
--- @param permission? string Such as "plugins:read"; nil: nobody needs a credential.
--- @param mutating? boolean A request that another site made a browser send is refused as well.
--- @return boolean ok
--- @return buntime.Caller|integer caller_or_status Who it is; else the status to answer with.
--- @return string? code
--- @return string? message
--- @return string? principal Who was refused, "anonymous" when that is not known.
--- @return integer? retry_after Seconds, with 429; else 0.
function auth.check(req, permission, mutating) end

return auth
