-- What the control plane answers is what its description says.

local cjson = require("cjson")

local fixtures = require("spec.support.fixtures")
local server = require("spec.support.server")

local function kind_of(value)
  if value == cjson.null then
    return "null"
  elseif type(value) == "number" then
    return value % 1 == 0 and "integer" or "number"
  elseif type(value) == "table" then
    return (#value > 0 or next(value) == nil) and "array" or "object"
  end
  return type(value)
end

local function has_type(value, wanted)
  local kind = kind_of(value)
  if kind == wanted or kind == "integer" and wanted == "number" then
    return true
  end
  return wanted == "object" and type(value) == "table" and next(value) == nil -- {} decodes as [] does
end

--- The first thing that is not as it should be, or nil.
local problem

local function any_problem(schemas, value, list, where)
  local last
  for _, schema in ipairs(list) do
    last = problem(schemas, value, schema, where)
    if not last then
      return nil
    end
  end
  return last
end

local function type_problem(value, types, where)
  types = type(types) == "table" and types or { types }
  for _, wanted in ipairs(types) do
    if has_type(value, wanted) then
      return nil
    end
  end
  return ("%s is %s, not %s"):format(where, kind_of(value), table.concat(types, " or "))
end

local function member_problem(schemas, value, schema, where)
  for _, name in ipairs(schema.required or {}) do
    if value[name] == nil then
      return where .. " has no " .. name
    end
  end
  for name, one in pairs(schema.properties or {}) do
    local found = value[name] ~= nil and problem(schemas, value[name], one, where .. "." .. name)
    if found then
      return found
    end
  end
  for i, item in ipairs(schema.items and value or {}) do
    local found = problem(schemas, item, schema.items, ("%s[%d]"):format(where, i))
    if found then
      return found
    end
  end
end

function problem(schemas, value, schema, where)
  if schema["$ref"] then
    return problem(schemas, value, schemas[schema["$ref"]:match("[^/]+$")], where)
  elseif schema.anyOf then
    return any_problem(schemas, value, schema.anyOf, where)
  elseif schema.const ~= nil and value ~= schema.const then
    return ("%s is %s"):format(where, tostring(value))
  end
  local wrong = schema.type and type_problem(value, schema.type, where)
  if wrong or type(value) ~= "table" then
    return wrong
  end
  return member_problem(schemas, value, schema, where)
end

local PLUGINS = {
  plain = fixtures.plugin("name: plain\n", "return {}"),
  -- Not everything is known of what goes wrong outside of a request.
  faulty = fixtures.plugin("name: faulty\nbase: /faulty\n", [[
    require("buntime.timer").after(0, function() error({ code = "ODD" }) end)
    local routes = require("buntime.router").new()
    routes:get("/", function() error("no") end)
    return { routes = routes }
  ]]),
  broken = fixtures.plugin("name: broken\n", "return {"),
}

--- method, path of the description, path, statuses
local CALLS = {
  { "get", "/api/health" },
  { "get", "/api/health/live" },
  { "get", "/api/health/ready" },
  { "get", "/api/keys" },
  { "get", "/api/keys/meta" },
  { "get", "/api/plugins" },
  { "get", "/api/plugins/loaded" },
  { "get", "/api/plugins/{name}", "/api/plugins/faulty" },
  { "get", "/api/plugins/{name}", "/api/plugins/broken" },
  { "get", "/api/plugins/{name}", "/api/plugins/missing" },
  { "get", "/api/plugins/{name}/config", "/api/plugins/plain/config" },
  { "get", "/api/plugins/{name}/errors", "/api/plugins/faulty/errors" },
  { "get", "/api/plugins/{name}/errors", "/api/plugins/broken/errors" },
  { "get", "/api/replicas" },
  { "get", "/api/workers" },
  { "get", "/.well-known/buntime" },
  { "post", "/api/plugins/reload" },
  { "post", "/api/plugins/reload", "/api/plugins/reload?strict=true" },
  { "post", "/api/plugins/reload", "/api/plugins/reload?dry_run=maybe" },
  { "post", "/api/plugins/{name}/reload", "/api/plugins/plain/reload" },
  { "post", "/api/plugins/{name}/disable", "/api/plugins/plain/disable" },
  { "post", "/api/plugins/{name}/enable", "/api/plugins/plain/enable" },
  { "post", "/api/plugins/{name}/rollback", "/api/plugins/plain/rollback" },
}

describe("the description of the control plane", function()
  it("says what is answered", function()
    server.with({ plugins = PLUGINS }, function(s)
      s:allow_errors("")
      assert.equal(500, s:get("/faulty/").status)
      local described = s:get("/api/openapi.json"):json()
      for _, call in ipairs(CALLS) do
        local method, path = call[1], call[2]
        local res = s[method](s, call[3] or path)
        local what = ("%s %s: %d"):format(method, call[3] or path, res.status)
        local responses = described.paths[path][method].responses
        local response = responses[tostring(res.status)] or responses.default
        assert.is_truthy(response, what)
        if response["$ref"] then
          response = described.components.responses[response["$ref"]:match("[^/]+$")]
        end
        local content = response.content[res.headers["content-type"]:match("^[^;]+")]
        assert.is_truthy(content, what)
        assert.is_nil(problem(described.components.schemas, res:json(), content.schema, what))
      end
    end)
  end)
end)
