--- OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0) of the control plane and of the plugins' routes.
--- Pure: what there is comes as arguments.

local json = require("buntime.json")
local operations = require("buntime.api.operations")

local M = {}

local ALL = { "get", "post", "put", "patch", "delete" }

local ERROR = { ["$ref"] = "#/components/schemas/Error" }

--- One segment of a route pattern as OpenAPI has it, and its parameter if it is one.
local function segment(text, index)
  local name = text:match("^:([%w_]+)")
  if name then
    return "{" .. name .. "}", name
  elseif text == "*" then
    return ("{rest%d}"):format(index), ("rest%d"):format(index)
  end
  return text
end

--- @param pattern string
--- @return string path, string[] names, string shape The path without the names: what may exist once.
local function template(pattern)
  local path, names, shape = {}, {}, {}
  for text in pattern:gmatch("[^/]+") do
    local written, name = segment(text, #path + 1)
    path[#path + 1] = written
    shape[#shape + 1] = name and "{}" or written
    names[#names + 1] = name
  end
  return "/" .. table.concat(path, "/"), names, "/" .. table.concat(shape, "/")
end

--- A pattern whose last parameter is optional stands for two.
local function expand(pattern)
  local without = pattern:match("^(.*)/:[%w_]+%?$")
  if not without then
    return { pattern }
  end
  return { without == "" and "/" or without, (pattern:gsub("%?$", "")) }
end

local function contains(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then
      return true
    end
  end
  return false
end

--- Path parameters first, in order; what the route says of them, and of others.
local function parameters(names, said)
  local out, by_name = json.array(), {}
  for _, param in ipairs(said or {}) do
    by_name[param.name] = param
  end
  for _, name in ipairs(names) do
    local param = by_name[name] or {}
    out[#out + 1] = {
      name = name,
      ["in"] = "path",
      required = true,
      description = param.description,
      schema = param.schema or { type = "string" },
    }
  end
  for _, param in ipairs(said or {}) do
    local place = param["in"] or "query"
    if place ~= "path" and not contains(names, param.name) then
      out[#out + 1] = {
        name = param.name,
        ["in"] = place,
        required = param.required or false,
        description = param.description,
        schema = param.schema or { type = "string" },
      }
    end
  end
  return out
end

local function content(schema, kind)
  return { [kind or "application/json"] = { schema = schema } }
end

local function responses(said)
  local out = {}
  for status, response in pairs(said or {}) do
    if type(response) == "string" then
      response = { description = response }
    end
    out[tostring(status)] = {
      description = response.description or "",
      content = response.schema and content(response.schema, response.type) or nil,
    }
  end
  if next(out) == nil then
    out["200"] = { description = "The answer" }
  end
  out.default = { description = "An error", content = content(ERROR) }
  return out
end

local function operation(doc, names, tag, id)
  return {
    operationId = id,
    summary = doc.summary,
    description = doc.description,
    deprecated = doc.deprecated,
    tags = doc.tags or { tag },
    parameters = parameters(names, doc.params),
    requestBody = doc.body and { required = true, content = content(doc.body, doc.bodyType) } or nil,
    responses = responses(doc.responses),
    security = doc.security,
  }
end

local function methods_of(method)
  if method == "ALL" then
    return ALL
  elseif method == "WS" then
    return { "get" }
  end
  return { method:lower() }
end

--- "GET /a/{b}" as a name that is unique, and the same after each reload.
local function id_of(method, path)
  return method .. path:gsub("[^%w]+", "_"):gsub("_$", "")
end

local WEBSOCKET = { [101] = "The WebSocket", [426] = "It is for a WebSocket" }

--- Adds one route. What is there already under the same method and shape stays.
local function add(document, shapes, base, route, tag)
  local doc = route.doc or {}
  for _, pattern in ipairs(expand(route.path)) do
    local path, names, shape = template(base .. pattern)
    local known = shapes[shape]
    if known then
      path, names = known.path, known.names
    else
      shapes[shape] = { path = path, names = names }
    end
    local item = document.paths[path] or {}
    document.paths[path] = item
    for _, method in ipairs(methods_of(route.method)) do
      if not item[method] then
        item[method] = operation(doc, names, tag, id_of(method, path))
        if route.method == "WS" then
          item[method].responses = responses(doc.responses or WEBSOCKET)
        end
      end
    end
  end
end

--- Methods that a path item may have; others (CONNECT, what a plugin invents) cannot be said.
local SAID = { ALL = true, WS = true }
for _, method in ipairs({ "GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE" }) do
  SAID[method] = true
end

local function add_plugin(document, shapes, plugin)
  local described = json.decode(plugin.routes)
  local lists = { { "", described.server } }
  if plugin.base then
    table.insert(lists, 1, { plugin.base == "/" and "" or plugin.base, described.routes })
  end
  local any = false
  for _, list in ipairs(lists) do
    for _, route in ipairs(list[2]) do
      if SAID[route.method] then
        add(document, shapes, list[1], route, plugin.name)
        any = true
      end
    end
  end
  if any then
    document.tags[#document.tags + 1] = { name = plugin.name, description = "Plugin " .. plugin.name }
  end
end

--- @param status { version: string, api: string } `api` is where the control plane is, "/api".
--- @param plugins buntime.control.Routes[] In load order.
--- @return table document
function M.document(status, plugins)
  local document = {
    openapi = "3.1.0",
    info = { title = "buntime", version = status.version, description = operations.DESCRIPTION },
    servers = { { url = "/" } },
    tags = json.array(),
    paths = {},
    components = { schemas = operations.SCHEMAS, securitySchemes = operations.SECURITY },
  }
  local shapes = {}
  for _, tag in ipairs(operations.TAGS) do
    document.tags[#document.tags + 1] = tag
  end
  for _, route in ipairs(operations.list()) do
    local base = route.absolute and "" or status.api
    add(document, shapes, base, route, route.tag)
  end
  for _, plugin in ipairs(plugins) do
    add_plugin(document, shapes, plugin)
  end
  return document
end

return M
