--- @meta buntime.core.auth
--- Implemented in runtime/bind/bind_auth.c; the rules are those of runtime/app/auth.c.

local auth = {}

--- Whether a request may do something on the control plane.
--- @param req buntime.Request
--- @param permission string Such as "plugins:read".
--- @param mutating? boolean A request that another site made a browser send is refused as well.
--- @return boolean ok
--- @return string|integer principal_or_status Who it is ("root", "local"); else the status to answer with.
--- @return string? code
--- @return string? message
--- @return string? principal Who was refused, "anonymous" when that is not known.
--- @return integer? retry_after Seconds, with 429; else 0.
function auth.check(req, permission, mutating) end

return auth
