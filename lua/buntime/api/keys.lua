--- /api/keys: the keys of the control plane.

local Router = require("buntime.router")
local access = require("buntime.api.access")
local awaitable = require("buntime.wait")
local core = require("buntime.core.keys")
local json = require("buntime.json")
local key_fields = require("buntime.api.key_fields")
local namespaces = require("buntime.api.namespaces")
local response = require("buntime.response")
local timestamp = require("buntime.api.timestamp")

local fail = access.fail
local do_create, do_revoke = awaitable(core.create), awaitable(core.revoke)

local routes = Router.new()

--- Those whose reach the caller has as well.
local function is_visible(c, key)
  return (namespaces.within(key.namespaces, c.var.caller.namespaces))
end

local function time(ms)
  return ms > 0 and timestamp(ms / 1000) or json.null
end

local function describe(key)
  return {
    id = key.id,
    name = key.name,
    keyPrefix = key.keyPrefix,
    role = key.role,
    permissions = key.permissions,
    namespaces = key.namespaces,
    createdAt = time(key.created),
    createdBy = key.createdBy,
    expiresAt = time(key.expires),
    lastUsedAt = time(key.used),
  }
end

--- What would be said without knowing the keys would be wrong.
local function unread(c)
  local problem = core.problem()
  return problem and fail(c, 503, "KEYS_UNAVAILABLE", "the keys cannot be read: " .. problem)
end

routes:get("/", access.read("keys:read"), function(c)
  local refusal = unread(c)
  if refusal then
    return refusal
  end
  local list = json.array()
  for _, key in ipairs(core.list()) do
    if is_visible(c, key) then
      list[#list + 1] = describe(key)
    end
  end
  return c:json(list)
end)

routes:get("/meta", access.read("keys:read"), function(c)
  local meta = core.meta()
  local names, of = json.array(), {}
  for i, role in ipairs(meta.roles) do
    names[i] = role.name
    of[role.name] = role.permissions
  end
  return c:json({ roles = names, permissions = meta.permissions, rolePermissions = of })
end)

--- The other methods of a fixed word, which would else be a key's id.
routes:on({ "POST", "PUT", "PATCH", "DELETE" }, "/meta", { hidden = true }, function(c)
  local message = ("%s does not allow %s (it allows GET, HEAD, OPTIONS)"):format(c.req.path, c.req.method)
  local res = response.error(405, "METHOD_NOT_ALLOWED", message, c.req.id)
  res.headers.allow = "GET, HEAD, OPTIONS"
  return res
end)

-- Making ---------------------------------------------------------------------------------------------

local function rules()
  local meta = core.meta()
  return { roles = meta.roles, permissions = meta.permissions, duration = core.duration }
end

local function read_body(c)
  local ok, body = pcall(c.req.json, c.req)
  if not ok then
    return nil, "the body must be a JSON object", "INVALID_BODY"
  end
  return key_fields.read(body, rules())
end

--- @return table? made, string? message, string? code
local function create(caller, fields)
  return do_create({
    name = fields.name,
    role = fields.role,
    permissions = table.concat(fields.permissions, " "),
    namespaces = table.concat(fields.namespaces or caller.namespaces, " "),
    lifetime = fields.lifetime,
    creator = caller.principal,
  })
end

routes:post("/", access.change("keys:create", "keys.create"), function(c)
  local caller = c.var.caller
  local fields, message, code = read_body(c)
  if not fields then
    return fail(c, 400, code, message)
  end
  c.var.target = fields.name
  local ok
  ok, message, code = key_fields.grantable(fields, caller)
  if not ok then
    c.var.refused = true
    return fail(c, 403, code, message)
  elseif core.full() then
    return fail(c, 409, "TOO_MANY_KEYS", "there are as many keys as there may be; revoke some first")
  end
  local made
  made, message, code = create(caller, fields)
  if not made then
    return fail(c, 500, code, message)
  end
  c.var.target = made.id
  local data = { id = made.id, name = fields.name, role = fields.role }
  data.key, data.keyPrefix = made.key, made.prefix
  return c:json({ success = true, data = data }, 201)
end)

-- Revoking -------------------------------------------------------------------------------------------

local function unknown(c)
  return fail(c, 404, "KEY_NOT_FOUND", "there is no key of that id")
end

routes:delete("/:id", access.change("keys:revoke", "keys.revoke"), function(c)
  local id = c.req:param("id")
  local key = core.find(id)
  if not key then
    return unread(c) or unknown(c)
  elseif not is_visible(c, key) then
    c.var.refused = true
    return fail(c, 403, "NAMESPACE_DENIED", "the key has namespaces that yours does not include")
  elseif id == c.var.caller.id then
    return fail(c, 409, "SELF_REVOKE", "a key cannot revoke itself")
  end
  local done, message, code = do_revoke(id)
  if done == nil then
    return fail(c, 500, code, "the key is revoked, but that could not be kept, so try again: " .. message)
  elseif not done then
    return unknown(c)
  end
  return c:json({ success = true, data = { id = id } })
end)

return routes
