--- What a router has, for whoever describes it: the routes with what they say of themselves.
---
--- A route may carry a table in front of its functions:
---
---     routes:get("/todos/:id", {
---       summary = "One todo",
---       params = { { name = "id", description = "its number", schema = { type = "integer" } } },
---       responses = { [200] = { description = "The todo", schema = TODO }, [404] = "There is none" },
---     }, handler)
---
--- Schemas are JSON Schema, as `buntime.validate` takes them.

local M = {}

--- @class buntime.RouteDescription
--- @field summary? string
--- @field description? string
--- @field tags? string[]
--- @field deprecated? boolean
--- @field hidden? boolean Leaves the route out.
--- @field params? buntime.RouteParam[]
--- @field body? table JSON Schema of a JSON body.
--- @field responses? table<integer, string|{ description: string, schema: table? }> By status.

--- @class buntime.RouteParam
--- @field name string
--- @field in? "path"|"query"|"header"|"cookie" "path" if the route has it, else "query".
--- @field description? string
--- @field required? boolean
--- @field schema? table

local FIELDS = {
  summary = "string",
  description = "string",
  tags = "table",
  deprecated = "boolean",
  hidden = "boolean",
  params = "table",
  body = "table",
  responses = "table",
}

local PLACES = { path = true, query = true, header = true, cookie = true }

local function check_params(params)
  for i, param in ipairs(params) do
    if type(param) ~= "table" or type(param.name) ~= "string" then
      return ("params[%d] must be a table with a name"):format(i)
    elseif param["in"] ~= nil and not PLACES[param["in"]] then
      return ("params[%d].in must be path, query, header or cookie, got %s"):format(i, tostring(param["in"]))
    end
  end
end

local function check_responses(responses)
  for status, response in pairs(responses) do
    if type(status) ~= "number" or status < 100 or status > 599 then
      return ("responses: %s is not a status"):format(tostring(status))
    elseif type(response) ~= "string" and type(response) ~= "table" then
      return ("responses[%d] must be a string or a table, got %s"):format(status, type(response))
    end
  end
end

--- @param doc table
--- @return string? problem
function M.check(doc)
  for key, value in pairs(doc) do
    local wanted = FIELDS[key]
    if not wanted then
      return ("a route cannot carry %q"):format(tostring(key))
    elseif type(value) ~= wanted then
      return ("%s must be a %s, got %s"):format(key, wanted, type(value))
    end
  end
  return check_params(doc.params or {}) or check_responses(doc.responses or {})
end

local function join(prefix, path)
  if prefix == "" then
    return path
  end
  return path == "/" and prefix or prefix .. path
end

--- With statuses as text, as JSON has them.
local function portable(doc)
  if not (doc and doc.responses) then
    return doc
  end
  local copy, responses = {}, {}
  for key, value in pairs(doc) do
    copy[key] = value
  end
  for status, response in pairs(doc.responses) do
    responses[tostring(status)] = response
  end
  copy.responses = responses
  return copy
end

local function add(out, method, path, doc)
  if not (doc and doc.hidden) then
    out[#out + 1] = { method = method, path = path, doc = portable(doc) }
  end
end

local function walk(out, router, prefix)
  for _, item in ipairs(router._items) do
    local path = item.path and join(prefix, item.path)
    if item.kind == "mount" then
      walk(out, item.router, path == "/" and "" or path)
    elseif item.kind == "ws" then
      add(out, "WS", path, item.doc)
    elseif item.kind == "route" then
      for _, method in ipairs(item.methods) do
        add(out, method == "" and "ALL" or method, path, item.doc)
      end
    end
  end
end

--- @class buntime.DescribedRoute
--- @field method string "GET", …; "ALL" for every method, "WS" for a WebSocket.
--- @field path string The pattern.
--- @field doc? buntime.RouteDescription

--- @param router buntime.Router
--- @return buntime.DescribedRoute[]
function M.list(router)
  local out = {}
  walk(out, router, "")
  return out
end

return M
