--- @meta buntime.core.semver
--- Implemented in runtime/bind/bind_semver.c; buntime.semver says what the functions do.

local semver = {}

--- @param text string
--- @return buntime.Version?
function semver.parse(text) end

--- @param a string
--- @param b string
--- @return integer? order
function semver.compare(a, b) end

--- @param version string
--- @param range string
--- @return boolean? inside nil when one of them is none.
function semver.satisfies(version, range) end

return semver
