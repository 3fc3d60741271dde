--- A plugin that runs what a spec sends it, so that an API can be tried where it works: in a handler of a
--- server that goes on meanwhile.
---
---   local s = server.start({ plugins = { chunks = chunks.plugin([[ return { db = … } ]]) } })
---   chunks.run(s, [[ return db:first("select 1 as a") ]])        --> { a = 1 }
---   local err = chunks.failure(s, [[ db:query("selec") ]])       --> { code =, message =, text =, … }
---
--- The names of the table that the setup returns are locals of each chunk; `state` is a table they share, and
--- `arg` the JSON that came along.

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")

local M = {}

local PLUGIN = [[
local routes = require("buntime.router").new()
local names, values, state = {}, {}, {}

local function setup()
  %s
end

local function text_of(err)
  if type(err) ~= "table" then
    return { text = tostring(err) }
  end
  local copy = { text = tostring(err) }
  for key, value in pairs(err) do
    copy[key] = value
  end
  return copy
end

routes:post("/", function(c)
  local sent = c.req:json()
  local head = "local state, arg" .. (#names > 0 and ", " .. table.concat(names, ", ") or "") .. " = ... "
  local chunk = assert(loadstring(head .. sent.code, "=spec"))
  local ok, value = pcall(chunk, state, sent.arg, unpack(values))
  if ok then
    return c:json({ value = value })
  end
  return c:json({ err = text_of(value) })
end)
routes:get("/ping", function(c)
  return c:text("pong")
end)

return {
  routes = routes,
  onInit = function()
    for name, value in pairs(setup() or {}) do
      names[#names + 1] = name
      values[#values + 1] = value
    end
  end,
}
]]

--- @param setup string Returns a table.
--- @return table<string, string> files
function M.plugin(setup)
  local code = PLUGIN:gsub("%%s", function()
    return setup
  end)
  return fixtures.plugin("name: chunks\nbase: /chunks", code)
end

local function answer(s, code, arg)
  local res = http.request(s.port, "POST", "/chunks", { json = { code = code, arg = arg } })
  assert(res.status == 200, res.body)
  return res:json()
end

--- What the chunk returns, as JSON carries it.
function M.run(s, code, arg)
  local got = answer(s, code, arg)
  if got.err then
    error(got.err.text, 2)
  end
  return got.value
end

--- What the chunk raises: a table with the fields of the error, and `text`.
function M.failure(s, code, arg)
  local got = answer(s, code, arg)
  assert(got.err, "the chunk did not fail")
  return got.err
end

return M
