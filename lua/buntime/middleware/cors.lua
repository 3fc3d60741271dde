--- Cross-origin requests.
---
---     routes:use(cors())                                              -- any origin, no cookies
---     routes:use(cors({ origin = "https://app.example", credentials = true }))

local response = require("buntime.response")

--- @class buntime.CorsOptions
--- @field origin? string|string[]|fun(origin: string, c: buntime.Context): string?|boolean
---   "*" unless told; an origin, a list of them, or a function that answers the origin to allow, or true.
--- @field methods? string[] What the path has, unless told.
--- @field headers? string[] What the browser asks for, unless told.
--- @field expose? string[] Response headers that scripts may read.
--- @field max_age? integer Seconds for which a preflight is remembered.
--- @field credentials? boolean Cookies and Authorization; not with origin "*".

local KNOWN = {
  origin = true,
  methods = true,
  headers = true,
  expose = true,
  max_age = true,
  credentials = true,
}

local function list_of(options, name)
  local list = options[name]
  if list ~= nil and type(list) ~= "table" then
    error(("cors: %s must be a list of strings, got %s"):format(name, type(list)), 3)
  end
  return list and table.concat(list, ", ")
end

local function check(options)
  for name in pairs(options) do
    if not KNOWN[name] then
      local problem = "cors: option %q is not known "
        .. "(known: origin, methods, headers, expose, max_age, credentials)"
      error(problem:format(tostring(name)), 3)
    end
  end
  if options.credentials and (options.origin or "*") == "*" then
    error('cors: credentials need an origin other than "*"', 3)
  end
end

--- What decides about an origin: a function that answers the origin to allow or nil.
local function decider(origin)
  if type(origin) == "function" then
    return function(asked, c)
      local allowed = origin(asked, c)
      return allowed == true and asked or allowed or nil
    end
  end
  local allowed = {}
  for _, one in ipairs(type(origin) == "table" and origin or { origin }) do
    allowed[one] = true
  end
  return function(asked)
    return allowed[asked] and asked or nil
  end
end

local function preflight(c, given)
  local headers = {
    ["access-control-allow-methods"] = given.methods or c.req:header("access-control-request-method"),
    ["access-control-allow-headers"] = given.headers or c.req:header("access-control-request-headers"),
    ["access-control-max-age"] = given.max_age,
  }
  return response.new(nil, { status = 204, headers = headers })
end

--- @param options? buntime.CorsOptions
--- @return buntime.Middleware
local function cors(options)
  options = options or {}
  check(options)
  local any = (options.origin or "*") == "*"
  local decide = decider(options.origin)
  local given = {
    methods = list_of(options, "methods"),
    headers = list_of(options, "headers"),
    max_age = options.max_age and tostring(options.max_age),
  }
  local expose = list_of(options, "expose")

  return function(c, next)
    local asked = c.req:header("origin")
    local allowed = any and "*" or asked and decide(asked, c)
    if not any then
      c:header("vary", "Origin", true)
    end
    if allowed then
      c:header("access-control-allow-origin", allowed)
      if options.credentials then
        c:header("access-control-allow-credentials", "true")
      end
    end
    if allowed and c.req.method == "OPTIONS" and c.req:header("access-control-request-method") then
      return preflight(c, given)
    end
    if allowed and expose then
      c:header("access-control-expose-headers", expose)
    end
    next()
  end
end

return cors
