--- Versions by semver.org 2.0.0, and the ranges that npm made common: `^1.2`, `~1.2.3`, `>=1 <3`, `1.x`,
--- `1.2 - 2.3`, `a || b`.
---
---     semver.satisfies("1.4.2", "^1.2.0")   --> true
---
--- A prerelease satisfies a range only when the range names a prerelease of the same major.minor.patch.

local core = require("buntime.core.semver")

--- @class buntime.semver
local M = {}

--- @class buntime.Version
--- @field major integer
--- @field minor integer
--- @field patch integer
--- @field prerelease? string
--- @field build? string

local function check(name, argument, value)
  if type(value) ~= "string" then
    local problem = "semver.%s: argument %d must be a string, got %s"
    error(problem:format(name, argument, type(value)), 3)
  end
end

--- @return string? text, string? message, string? code
local function no_version(text)
  return nil, ("%q is not a version such as 1.2.3"):format(text), "INVALID_VERSION"
end

--- @param s string
--- @return buntime.Version? version
--- @return string? message
--- @return string? code "INVALID_VERSION"
function M.parse(s)
  check("parse", 1, s)
  local version = core.parse(s)
  if not version then
    return no_version(s)
  end
  return version
end

--- Which of two versions comes first; builds do not count.
--- @param a string
--- @param b string
--- @return integer? order -1, 0 or 1.
--- @return string? message
--- @return string? code "INVALID_VERSION"
function M.compare(a, b)
  check("compare", 1, a)
  check("compare", 2, b)
  local order = core.compare(a, b)
  if not order then
    return no_version(core.parse(a) and b or a)
  end
  return order
end

--- @param v string
--- @param range string
--- @return boolean? inside
--- @return string? message
--- @return string? code "INVALID_VERSION" or "INVALID_RANGE"
function M.satisfies(v, range)
  check("satisfies", 1, v)
  check("satisfies", 2, range)
  if not core.parse(v) then
    return no_version(v)
  end
  local inside = core.satisfies(v, range)
  if inside == nil then
    return nil, ("%q is not a range of versions"):format(range), "INVALID_RANGE"
  end
  return inside
end

return M
