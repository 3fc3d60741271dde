--- What has to hold of the body of POST /api/keys: run by fuzz_api_json with the library's own modules.

local key_fields = require("buntime.api.key_fields")
local namespaces = require("buntime.api.namespaces")

local CODES = {
  INVALID_BODY = true,
  UNKNOWN_FIELD = true,
  INVALID_NAME = true,
  INVALID_ROLE = true,
  INVALID_PERMISSIONS = true,
  INVALID_NAMESPACES = true,
  INVALID_EXPIRES_IN = true,
}

local function is_set(list, passes)
  local seen, count = {}, 0
  for _ in pairs(list) do
    count = count + 1
  end
  assert(count == #list)
  for _, item in ipairs(list) do
    assert(passes(item) and not seen[item])
    seen[item] = true
  end
end

local function check_refusal(message, code)
  assert(type(message) == "string" and message ~= "" and not message:find("%c"))
  assert(#message < 1000 and CODES[code], code)
end

local function check_rights(fields, rules)
  local known, role = {}, nil
  for _, permission in ipairs(rules.permissions) do
    known[permission] = true
  end
  for _, one in ipairs(rules.roles) do
    role = one.name == fields.role and one or role
  end
  assert(role and fields.all == (role.name == "admin"))
  is_set(fields.permissions, function(permission)
    return known[permission]
  end)
  assert(#fields.permissions > 0)
  assert(role.custom or #fields.permissions == #role.permissions)
end

local function check_fields(fields, rules)
  local name = fields.name
  local trimmed = not name:find("^%s") and not name:find("%s$")
  assert(#name >= 1 and #name <= 100 and not name:find("%c") and trimmed)
  check_rights(fields, rules)
  if fields.namespaces then
    assert(#fields.namespaces >= 1 and #fields.namespaces <= 100)
    is_set(fields.namespaces, namespaces.valid)
    assert(#fields.namespaces == 1 or not namespaces.within({ "*" }, fields.namespaces))
  end
  assert(fields.lifetime >= 0 and fields.lifetime <= 100 * 365 * 86400 * 1000)
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key, value in pairs(a) do
    if not same(value, b[key]) then
      return false
    end
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  return true
end

--- Nobody gives what they do not have.
local function check_grants(fields)
  local root = { all = true, permissions = {}, namespaces = { "*" } }
  assert(key_fields.grantable(fields, root))
  local nobody = { all = false, permissions = {}, namespaces = { "*" } }
  local ok, message, code = key_fields.grantable(fields, nobody)
  assert(not ok and message and code == "PERMISSION_DENIED")
  local equal = { all = fields.all, permissions = fields.permissions, namespaces = fields.namespaces or {} }
  assert(key_fields.grantable(fields, equal))
  local elsewhere = { all = true, permissions = {}, namespaces = { "@else" } }
  ok, message, code = key_fields.grantable(fields, elsewhere)
  local within = not fields.namespaces or same(fields.namespaces, { "@else" })
  assert(ok == within and (ok or message and code == "NAMESPACE_DENIED"))
end

--- What was understood, written as a body, is understood the same.
local function check_again(fields, rules)
  local body = {
    name = fields.name,
    role = fields.role,
    permissions = fields.permissions,
    namespaces = fields.namespaces,
    expiresIn = fields.lifetime > 0 and ("%.0fms"):format(fields.lifetime) or nil,
  }
  local again, message = key_fields.read(body, rules)
  assert(again, message)
  assert(same(again, fields))
end

--- @param body any
--- @param rules buntime.KeyRules
return function(body, rules)
  local fields, message, code = key_fields.read(body, rules)
  if not fields then
    return check_refusal(message, code)
  end
  check_fields(fields, rules)
  check_grants(fields)
  check_again(fields, rules)
end
