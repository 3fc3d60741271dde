--- JSON Web Tokens: HS256/384/512 with a shared secret; RS, PS and ES 256/384/512 with keys in PEM.
---
---     local token = jwt.sign({ sub = "42" }, secret, { expires_in = 3600 })
---     local claims, message, code = jwt.verify(token, secret, { algorithms = { "HS256" } })
---
--- Which algorithms are taken is said by whoever verifies, never by the token; `none` never is.

local core = require("buntime.core.crypto")
local json = require("buntime.json")
local sys = require("buntime.core.sys")

--- @class buntime.jwt
local M = {}

local HMAC = { HS256 = "sha256", HS384 = "sha384", HS512 = "sha512" }
local KNOWN = {}
for _, family in ipairs({ "HS", "RS", "PS", "ES" }) do
  for _, size in ipairs({ "256", "384", "512" }) do
    KNOWN[family .. size] = true
  end
end

local MAX_TOKEN = 64 * 1024

local function fail(level, ...)
  error(string.format(...), level + 1)
end

-- Keys -------------------------------------------------------------------------------------------

--- Parsed keys by what they were given as: reading PEM costs more than using the key.
local KEYS_MAX = 32
local keys, key_count = {}, 0

local function parsed(pem, private)
  local id = (private and "+" or "-") .. pem
  if keys[id] then
    return keys[id]
  end
  local key, message = core.key(pem, private)
  if not key then
    return nil, message
  end
  if key_count >= KEYS_MAX then
    keys, key_count = {}, 0
  end
  keys[id], key_count = key, key_count + 1
  return key
end

--- A public key is no secret: who takes it for one lets anybody sign.
local function is_pem(key)
  return key:find("-----BEGIN", 1, true) ~= nil
end

local function make_signature(algorithm, key, text)
  if HMAC[algorithm] then
    if is_pem(key) then
      return nil, algorithm .. " needs a secret, got a key in PEM"
    end
    return core.hmac(HMAC[algorithm], key, text)
  end
  local pair, message = parsed(key, true)
  if not pair then
    return nil, message
  end
  return core.sign(algorithm, pair, text)
end

--- @return boolean? valid nil and why when the key does not fit
local function check_signature(algorithm, key, text, signature)
  if HMAC[algorithm] then
    local expected, message = make_signature(algorithm, key, text)
    if not expected then
      return nil, message
    end
    return core.equals(expected, signature)
  end
  local pair, message = parsed(key, false)
  if not pair then
    return nil, message
  end
  return core.verify(algorithm, pair, text, signature)
end

-- Signing ----------------------------------------------------------------------------------------

--- @class buntime.JwtSignOptions
--- @field algorithm? string "HS256" unless told.
--- @field expires_in? number Seconds; sets `exp`.
--- @field not_before? number Seconds from now; sets `nbf`.
--- @field issuer? string Sets `iss`.
--- @field audience? string|string[] Sets `aud`.
--- @field subject? string Sets `sub`.
--- @field id? string Sets `jti`.
--- @field header? table Further fields of the header, such as `kid`.

local SIGN_OPTIONS = {
  algorithm = "string",
  expires_in = "number",
  not_before = "number",
  issuer = "string",
  subject = "string",
  id = "string",
  header = "table",
}

local function check_sign_options(options)
  for name, value in pairs(options) do
    local wanted = SIGN_OPTIONS[name]
    if name == "audience" then
      wanted = type(value) == "table" and "table" or "string"
    end
    if not wanted then
      fail(3, "jwt.sign: the option %q is not known", tostring(name))
    elseif type(value) ~= wanted then
      fail(3, "jwt.sign: %s must be a %s, got %s", name, wanted, type(value))
    end
  end
  local algorithm = options.algorithm or "HS256"
  if not KNOWN[algorithm] then
    fail(3, "jwt.sign: the algorithm %q is not known (known: HS, RS, PS and ES, 256 to 512)", algorithm)
  end
  return algorithm
end

local function complete(claims, options)
  local all = {}
  for name, value in pairs(claims) do
    all[name] = value
  end
  local now = math.floor(sys.wall())
  all.iat = all.iat or now
  all.exp = options.expires_in and now + math.floor(options.expires_in) or all.exp
  all.nbf = options.not_before and now + math.floor(options.not_before) or all.nbf
  all.iss = options.issuer or all.iss
  all.sub = options.subject or all.sub
  all.jti = options.id or all.jti
  all.aud = options.audience or all.aud
  return all
end

--- @param claims table
--- @param key string The secret (HS), or a private key in PEM.
--- @param options? buntime.JwtSignOptions
--- @return string? token
--- @return string? message
--- @return string? code "JWT_KEY"
function M.sign(claims, key, options)
  if type(claims) ~= "table" then
    fail(2, "jwt.sign: argument 1 (claims) must be a table, got %s", type(claims))
  elseif type(key) ~= "string" or key == "" then
    fail(2, "jwt.sign: argument 2 (key) must be a string that is not empty, got %s", type(key))
  elseif options ~= nil and type(options) ~= "table" then
    fail(2, "jwt.sign: argument 3 (options) must be a table, got %s", type(options))
  end
  options = options or {}
  local algorithm = check_sign_options(options)
  local header = {}
  for name, value in pairs(options.header or {}) do
    header[name] = value
  end
  header.typ = header.typ or "JWT"
  header.alg = algorithm
  local text = core.base64(json.encode(header), true)
    .. "."
    .. core.base64(json.encode(complete(claims, options)), true)
  local signature, message = make_signature(algorithm, key, text)
  if not signature then
    return nil, message, "JWT_KEY"
  end
  return text .. "." .. core.base64(signature, true)
end

-- Verifying --------------------------------------------------------------------------------------

--- @class buntime.JwtVerifyOptions
--- @field algorithms string[] Which ones are taken, such as `{ "HS256" }`.
--- @field issuer? string|string[] `iss` must be it, or one of them.
--- @field audience? string|string[] `aud` must have it, or one of them.
--- @field subject? string `sub` must be it.
--- @field leeway? number Seconds that clocks may differ by; 0 unless told.

local VERIFY_OPTIONS = { algorithms = true, issuer = true, audience = true, subject = true, leeway = true }

local function check_verify_options(options)
  if type(options) ~= "table" or type(options.algorithms) ~= "table" or #options.algorithms == 0 then
    fail(3, 'jwt.verify: argument 3 must name the algorithms that are taken: { algorithms = { "HS256" } }')
  end
  for name in pairs(options) do
    if not VERIFY_OPTIONS[name] then
      fail(3, "jwt.verify: the option %q is not known", tostring(name))
    end
  end
  local leeway = options.leeway
  if leeway ~= nil and (type(leeway) ~= "number" or leeway < 0 or leeway ~= leeway) then
    fail(3, "jwt.verify: leeway must be a number of seconds that is not negative, got %s", tostring(leeway))
  end
  local allowed = {}
  for _, name in ipairs(options.algorithms) do
    if not KNOWN[name] then
      fail(3, "jwt.verify: the algorithm %q is not known", tostring(name))
    end
    allowed[name] = true
  end
  return allowed
end

local function object(part)
  local bytes = core.unbase64(part, true)
  local value = bytes and json.decode(bytes)
  if type(value) ~= "table" or json.is_array(value) then
    return nil
  end
  return value
end

--- @return table? header, table? claims, string? text, string? signature
local function split(token)
  if #token > MAX_TOKEN then
    return nil
  end
  local head, body, tail = token:match("^([%w_-]+)%.([%w_-]+)%.([%w_-]*)$")
  if not head then
    return nil
  end
  local header, claims, signature = object(head), object(body), core.unbase64(tail, true)
  if not (header and claims and signature) then
    return nil
  end
  return header, claims, head .. "." .. body, signature
end

local function any(wanted, given)
  for _, want in ipairs(type(wanted) == "table" and wanted or { wanted }) do
    for _, have in ipairs(type(given) == "table" and given or { given }) do
      if want == have then
        return true
      end
    end
  end
  return false
end

local function check_times(claims, leeway)
  local now = sys.wall()
  for _, name in ipairs({ "exp", "nbf", "iat" }) do
    if claims[name] ~= nil and type(claims[name]) ~= "number" then
      return nil, ("the claim %s must be a number"):format(name), "JWT_MALFORMED"
    end
  end
  if claims.exp and now >= claims.exp + leeway then
    return nil, "the token has expired", "JWT_EXPIRED"
  elseif claims.nbf and now < claims.nbf - leeway then
    return nil, "the token is not valid yet", "JWT_NOT_YET"
  elseif claims.iat and now < claims.iat - leeway then
    return nil, "the token was issued in the future", "JWT_NOT_YET"
  end
  return true
end

local function check_claims(claims, options)
  local ok, message, code = check_times(claims, options.leeway or 0)
  if not ok then
    return nil, message, code
  elseif options.issuer and (type(claims.iss) ~= "string" or not any(options.issuer, claims.iss)) then
    return nil, "the token is from another issuer", "JWT_ISSUER"
  elseif options.audience and not any(options.audience, claims.aud) then
    return nil, "the token is for another audience", "JWT_AUDIENCE"
  elseif options.subject and claims.sub ~= options.subject then
    return nil, "the token is about another subject", "JWT_SUBJECT"
  end
  return claims
end

--- The claims of a token whose signature, times, issuer and audience are right.
---
--- Codes: JWT_MALFORMED, JWT_ALGORITHM (not one of `algorithms`), JWT_KEY (the key does not fit),
--- JWT_SIGNATURE, JWT_EXPIRED, JWT_NOT_YET, JWT_ISSUER, JWT_AUDIENCE, JWT_SUBJECT.
--- @param token string
--- @param key string|fun(header: table): string? The secret (HS), a public key or certificate in PEM, or a
--- function that finds it, by `header.kid` say.
--- @param options buntime.JwtVerifyOptions
--- @return table? claims
--- @return string? message
--- @return string? code
function M.verify(token, key, options)
  local allowed = check_verify_options(options)
  if type(key) ~= "function" and (type(key) ~= "string" or key == "") then
    local problem = "jwt.verify: argument 2 (key) must be a string that is not empty or a function, got %s"
    fail(2, problem, type(key))
  end
  local header, claims, text, signature
  if type(token) == "string" then
    header, claims, text, signature = split(token)
  end
  if not (header and claims) then
    return nil, "not a JSON Web Token", "JWT_MALFORMED"
  elseif not allowed[header.alg] then
    return nil, ("the algorithm %s is not taken"):format(tostring(header.alg)), "JWT_ALGORITHM"
  elseif header.crit ~= nil then
    return nil, "the token has critical extensions, which are not known", "JWT_MALFORMED"
  end
  if type(key) == "function" then
    key = key(header)
    if type(key) ~= "string" or key == "" then
      return nil, "there is no key for this token", "JWT_KEY"
    end
  end
  local valid, message = check_signature(header.alg, key, text, signature)
  if valid == nil then
    return nil, message, "JWT_KEY"
  elseif not valid then
    return nil, "the signature is wrong", "JWT_SIGNATURE"
  end
  return check_claims(claims, options)
end

return M
