--- Digests, HMAC, random bytes, comparison in constant time, base64 and hexadecimal. On OpenSSL.
---
---     local mac = crypto.hmac("sha256", secret, body)
---     if not crypto.equals(mac, c.req:header("x-signature") or "") then
---       return c:json({ message = "bad signature" }, 401)
---     end

local core = require("buntime.core.crypto")

--- @class buntime.crypto
local M = {}

local function check(name, argument, value)
  if type(value) ~= "string" then
    local problem = "crypto.%s: argument %d must be a string, got %s"
    error(problem:format(name, argument, type(value)), 3)
  end
end

local DIGESTS = { "sha256", "sha1", "sha384", "sha512", "md5" }
local known = {}
for _, name in ipairs(DIGESTS) do
  known[name] = true
end

local function digest(name)
  return function(s)
    check(name, 1, s)
    return core.hex(core.digest(name, s))
  end
end

--- @type fun(s: string): string
M.sha256 = digest("sha256")
--- @type fun(s: string): string
M.sha384 = digest("sha384")
--- @type fun(s: string): string
M.sha512 = digest("sha512")
--- For what still asks for it; it does not withstand attacks.
--- @type fun(s: string): string
M.sha1 = digest("sha1")
--- For what still asks for it; it does not withstand attacks.
--- @type fun(s: string): string
M.md5 = digest("md5")

--- A keyed digest, in hexadecimal; `crypto.unhex` gives the bytes.
--- @param algorithm buntime.Digest
--- @param key string
--- @param s string
--- @return string
function M.hmac(algorithm, key, s)
  if not known[algorithm] then
    local problem = "crypto.hmac: argument 1 must be one of %s, got %s"
    error(problem:format(table.concat(DIGESTS, ", "), tostring(algorithm)), 2)
  end
  check("hmac", 2, key)
  check("hmac", 3, s)
  return core.hex(core.hmac(algorithm, key, s))
end

--- Random bytes of the kernel's quality; `crypto.hex(crypto.random(16))` makes a token.
--- @param n integer 0 to 1048576.
--- @return string bytes
function M.random(n)
  if type(n) ~= "number" or n < 0 or n > 1048576 or n % 1 ~= 0 then
    local problem = "crypto.random: argument 1 must be a whole number from 0 to 1048576, got %s"
    error(problem:format(tostring(n)), 2)
  end
  return core.random(n)
end

--- Whether two strings are the same. How long it takes does not tell where they differ, only whether
--- their lengths do: for secrets, signatures and digests.
--- @param a string
--- @param b string
--- @return boolean
function M.equals(a, b)
  check("equals", 1, a)
  check("equals", 2, b)
  return core.equals(a, b)
end

--- @class buntime.Base64Options
--- @field url? boolean The alphabet for URLs (`-` and `_`), written without padding.

local function is_url(name, options)
  if options ~= nil and type(options) ~= "table" then
    error(("crypto.%s: argument 2 must be a table, got %s"):format(name, type(options)), 3)
  end
  return options ~= nil and options.url == true
end

--- @param s string
--- @param options? buntime.Base64Options
--- @return string
function M.base64(s, options)
  check("base64", 1, s)
  return core.base64(s, is_url("base64", options))
end

--- The bytes of base64. Strict: no spaces, no other alphabet; padding is needed, with `url` it may be
--- left out.
--- @param s string
--- @param options? buntime.Base64Options
--- @return string? bytes
--- @return string? message
--- @return string? code "INVALID_BASE64"
function M.unbase64(s, options)
  check("unbase64", 1, s)
  local url = is_url("unbase64", options)
  local bytes = core.unbase64(s, url)
  if not bytes then
    return nil, "not base64" .. (url and " for URLs" or ""), "INVALID_BASE64"
  end
  return bytes
end

--- Lower-case hexadecimal.
--- @param s string
--- @return string
function M.hex(s)
  check("hex", 1, s)
  return core.hex(s)
end

--- @param s string Of either case.
--- @return string? bytes
--- @return string? message
--- @return string? code "INVALID_HEX"
function M.unhex(s)
  check("unhex", 1, s)
  local bytes = core.unhex(s)
  if not bytes then
    return nil, "not hexadecimal", "INVALID_HEX"
  end
  return bytes
end

return M
