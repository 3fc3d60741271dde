--- What POST /api/keys is sent, checked field by field. Pure: what roles and permissions there are, and
--- how a duration reads, it is told.

local namespaces = require("buntime.api.namespaces")

local M = {}

local NAME_MAX, NAMESPACES_MAX = 100, 100
local LIFETIME_MAX = 100 * 365 * 86400 * 1000

local FIELDS = { name = true, role = true, permissions = true, namespaces = true, expiresIn = true }

--- @class buntime.KeyRules
--- @field roles { name: string, custom: boolean, permissions: string[] }[]
--- @field permissions string[]
--- @field duration fun(text: string): number? Milliseconds, nil when the text is none.

--- @class buntime.KeyFields
--- @field name string
--- @field role string
--- @field all boolean It may do what has no name of its own as well: the role admin.
--- @field permissions string[]
--- @field namespaces? string[] nil: those of whoever makes the key.
--- @field lifetime number Milliseconds; 0: for ever.

local function absent(value)
  return value == nil or type(value) == "userdata" -- json.null
end

local function refuse(code, problem, ...)
  return nil, problem:format(...), code
end

local function contains(list, wanted)
  for _, item in ipairs(list) do
    if item == wanted then
      return true
    end
  end
  return false
end

--- A list of different values that all pass.
--- @return string[]? list nil when it is none
local function read_list(value, passes)
  if type(value) ~= "table" then
    return nil, value
  end
  local list, count = {}, 0
  for _ in pairs(value) do
    count = count + 1
  end
  if count ~= #value then
    return nil, value
  end
  local seen = {}
  for _, item in ipairs(value) do
    if not passes(item) then
      return nil, item
    elseif not seen[item] then
      seen[item], list[#list + 1] = true, item
    end
  end
  return list
end

local function show(value)
  if type(value) == "string" then
    return '"' .. value:gsub("%c", "?"):sub(1, 60) .. '"'
  end
  return type(value) == "table" and "a list or an object" or tostring(value)
end

local function read_name(body)
  local name = body.name
  if type(name) ~= "string" or not name:find("%S") or name:find("%c") or #name > NAME_MAX then
    return refuse("INVALID_NAME", "name must be a text of 1 to %d bytes without control characters", NAME_MAX)
  end
  return (name:gsub("^%s+", ""):gsub("%s+$", ""))
end

local function read_role(body, rules)
  local names = {}
  for i, role in ipairs(rules.roles) do
    if role.name == body.role then
      return role
    end
    names[i] = role.name
  end
  return refuse("INVALID_ROLE", "role must be one of %s", table.concat(names, ", "))
end

local function same(a, b)
  for _, item in ipairs(a) do
    if not contains(b, item) then
      return false
    end
  end
  return #a == #b
end

local function read_permissions(body, rules, role)
  local given = body.permissions
  if absent(given) then
    given = {}
  end
  local list, wrong = read_list(given, function(item)
    return contains(rules.permissions, item)
  end)
  if not list then
    local known = table.concat(rules.permissions, ", ")
    return refuse("INVALID_PERMISSIONS", "permissions must be a list of %s; got %s", known, show(wrong))
  elseif not role.custom then
    if #list > 0 and not same(list, role.permissions) then
      local problem = 'permissions go with the role custom; those of the role %s are fixed'
      return refuse("INVALID_PERMISSIONS", problem, role.name)
    end
    return role.permissions
  elseif #list == 0 then
    return refuse("INVALID_PERMISSIONS", "the role custom needs at least one permission")
  end
  return list
end

local function read_namespaces(body)
  if absent(body.namespaces) then
    return false
  end
  local list, wrong = read_list(body.namespaces, namespaces.valid)
  if not list then
    local problem = 'namespaces must be a list of scopes such as "@acme", or "*" for all; got %s'
    return refuse("INVALID_NAMESPACES", problem, show(wrong))
  elseif #list == 0 or #list > NAMESPACES_MAX then
    return refuse("INVALID_NAMESPACES", "namespaces must be 1 to %d scopes", NAMESPACES_MAX)
  end
  return contains(list, "*") and { "*" } or list
end

local function read_lifetime(body, rules)
  local value = body.expiresIn
  if absent(value) or value == "never" then
    return 0
  end
  local text = type(value) == "number" and ("%.14g"):format(value) or value
  local ms = type(text) == "string" and rules.duration(text)
  if not ms or ms < 1 or ms > LIFETIME_MAX then
    local problem = "expiresIn must be never or a duration up to 100y, such as 30m, 12h, 7d or 1y; got %s"
    return refuse("INVALID_EXPIRES_IN", problem, show(value))
  end
  return ms
end

local function check_fields(body)
  if type(body) ~= "table" or #body > 0 then
    return refuse("INVALID_BODY", "the body must be a JSON object")
  end
  for field in pairs(body) do
    if not FIELDS[field] then
      local problem = "%s is not known (known: name, role, permissions, namespaces, expiresIn)"
      return refuse("UNKNOWN_FIELD", problem, show(field))
    end
  end
  return true
end

--- @param body any
--- @param rules buntime.KeyRules
--- @return buntime.KeyFields? fields, string? message, string? code
function M.read(body, rules)
  local out = { all = false }
  local ok, message, code = check_fields(body)
  if not ok then
    return nil, message, code
  end
  out.name, message, code = read_name(body)
  if not out.name then
    return nil, message, code
  end
  local role
  role, message, code = read_role(body, rules)
  if not role then
    return nil, message, code
  end
  out.role, out.all = role.name, role.name == "admin"
  out.permissions, message, code = read_permissions(body, rules, role)
  if not out.permissions then
    return nil, message, code
  end
  out.namespaces, message, code = read_namespaces(body)
  if out.namespaces == nil then
    return nil, message, code
  end
  out.namespaces = out.namespaces or nil
  out.lifetime, message, code = read_lifetime(body, rules)
  if not out.lifetime then
    return nil, message, code
  end
  return out
end

--- Whether who has these rights may make such a key.
--- @param fields buntime.KeyFields
--- @param caller buntime.Caller
--- @return boolean ok, string? message, string? code
function M.grantable(fields, caller)
  for _, permission in ipairs(fields.permissions) do
    if not caller.all and not contains(caller.permissions, permission) then
      local problem = "a key cannot give the permission %s, which it lacks"
      return false, problem:format(permission), "PERMISSION_DENIED"
    end
  end
  if fields.all and not caller.all then
    return false, "only an administrator can make an administrator", "PERMISSION_DENIED"
  end
  local ok, missing = namespaces.within(fields.namespaces or {}, caller.namespaces)
  if not ok then
    return false, ("a key cannot give the namespace %s, which it lacks"):format(missing), "NAMESPACE_DENIED"
  end
  return true
end

return M
