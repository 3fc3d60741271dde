--- Cookies, by RFC 6265: reading the request's header and writing `Set-Cookie`.
---
--- A value may be any text: what a cookie cannot hold is percent-encoded, and decoded when read. Requires
--- nothing, so that it can be tested alone.

local M = {}

local byte, char, find, format, gmatch, gsub =
  string.byte, string.char, string.find, string.format, string.gmatch, string.gsub

local function decode(value)
  if not find(value, "%", 1, true) then
    return value
  end
  return (gsub(value, "%%(%x%x)", function(digits)
    return char(tonumber(digits, 16))
  end))
end

--- A comma, semicolon, space, quote, backslash or control character ends or breaks a cookie.
local function encode(value)
  return (gsub(value, '[^!#$&\'()*+%-./0-9:<=>?@A-Z%[%]^_`a-z{|}~]', function(c)
    return format("%%%02X", byte(c))
  end))
end

--- In two steps: one pattern for both ends takes quadratic time on long runs of spaces.
local function trim(text)
  local first = find(text, "%S")
  return first and text:match("^.*%S", first) or ""
end

local function unquote(value)
  return value:match('^"(.*)"$') or value
end

--- The first cookie of that name counts.
--- @param header string? The request's `Cookie` header.
--- @param name string
--- @return string? value
function M.get(header, name)
  if not header then
    return nil
  end
  for pair in gmatch(header, "[^;]+") do
    local at = find(pair, "=", 1, true)
    if at and trim(pair:sub(1, at - 1)) == name then
      return decode(unquote(trim(pair:sub(at + 1))))
    end
  end
  return nil
end

--- @class buntime.CookieOptions
--- @field path? string "/" unless told; `false` leaves it out.
--- @field domain? string
--- @field max_age? integer Seconds from now; 0 or less deletes the cookie.
--- @field expires? number Seconds since 1970.
--- @field http_only? boolean No access for scripts.
--- @field secure? boolean HTTPS only.
--- @field same_site? "Strict"|"Lax"|"None" None needs `secure`.

local SAME_SITE = { strict = "Strict", lax = "Lax", none = "None" }

local function is_text(value)
  return type(value) == "string" and not find(value, "[%c;]")
end

local function is_flag(value)
  return type(value) == "boolean"
end

local function flag(name)
  return function(value)
    return value and name
  end
end

--- In the order in which they are written: name, test, what the test wants, how it is written.
local OPTIONS = {
  {
    "max_age",
    function(v)
      return type(v) == "number" and v % 1 == 0 and v > -2 ^ 53 and v < 2 ^ 53
    end,
    "an integer (seconds)",
    function(v)
      return format("Max-Age=%.0f", v)
    end,
  },
  {
    "expires",
    function(v)
      return type(v) == "number" and v >= 0 and v < 253402300800
    end,
    "a time (seconds since 1970)",
    function(v)
      return os.date("!Expires=%a, %d %b %Y %H:%M:%S GMT", v)
    end,
  },
  {
    "domain",
    function(v)
      return type(v) == "string" and find(v, "^[%w.-]+$") ~= nil
    end,
    "a host name",
    function(v)
      return "Domain=" .. v
    end,
  },
  {
    "path",
    function(v)
      return v == false or is_text(v) and v:sub(1, 1) == "/"
    end,
    "a path that starts with /",
    function(v)
      return v and "Path=" .. v
    end,
  },
  { "secure", is_flag, "a boolean", flag("Secure") },
  { "http_only", is_flag, "a boolean", flag("HttpOnly") },
  {
    "same_site",
    function(v)
      return type(v) == "string" and SAME_SITE[v:lower()] ~= nil
    end,
    "Strict, Lax or None",
    function(v)
      return "SameSite=" .. SAME_SITE[v:lower()]
    end,
  },
}

local known = {}
for _, option in ipairs(OPTIONS) do
  known[option[1]] = true
end

local function check_names(options)
  for name in pairs(options) do
    if not known[name] then
      local problem = "cookie option %q is not known "
        .. "(known: path, domain, max_age, expires, http_only, secure, same_site)"
      return problem:format(tostring(name))
    end
  end
end

--- What browsers insist on, and would drop the cookie for without a word.
local function check_together(name, options)
  local same_site = options.same_site
  if type(same_site) == "string" and same_site:lower() == "none" and not options.secure then
    return "cookie option same_site = None needs secure = true"
  elseif name:find("^__Secure%-") and not options.secure then
    return ("cookie %q needs secure = true"):format(name)
  elseif
    name:find("^__Host%-")
    and (not options.secure or options.domain or options.path ~= "/")
  then
    return ("cookie %q needs secure = true, path = / and no domain"):format(name)
  end
end

local function check_name(name, value)
  if type(name) ~= "string" or not find(name, "^[%w!#$%%&'*+.^_`|~-]+$") then
    return ("%q is not a cookie's name"):format(tostring(name))
  elseif type(value) ~= "string" and type(value) ~= "number" then
    return ("the value of cookie %q must be a string, got %s"):format(name, type(value))
  end
end

--- @param name string
--- @param value string|number|nil nil deletes the cookie.
--- @param options? buntime.CookieOptions
--- @return string? header The value for `Set-Cookie`.
--- @return string? message
function M.serialize(name, value, options)
  local given = { path = "/" }
  for key, setting in pairs(options or {}) do
    given[key] = setting
  end
  if value == nil then
    value, given.max_age, given.expires = "", 0, 0
  end
  local problem = check_name(name, value) or check_names(given) or check_together(name, given)
  if problem then
    return nil, problem
  end

  local out = { name .. "=" .. encode(tostring(value)) }
  for _, option in ipairs(OPTIONS) do
    local key, ok, wants, write = unpack(option)
    local setting = given[key]
    if setting ~= nil then
      if not ok(setting) then
        return nil, ("cookie option %s must be %s, got %s"):format(key, wants, tostring(setting))
      end
      out[#out + 1] = write(setting) or nil
    end
  end
  return table.concat(out, "; ")
end

return M
