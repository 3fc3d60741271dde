--- The fixture plugins of spec/fixtures/plugins, and small ones written in a line.

local server = require("spec.support.server")

local M = {}

--- Starts a server with these fixtures.
--- @param names string[]
--- @param options? server.Options
function M.start(names, options)
  options = options or {}
  options.copy = {}
  for i, name in ipairs(names) do
    options.copy[i] = "spec/fixtures/plugins/" .. name
  end
  return server.start(options)
end

--- The files of a plugin.
--- @param manifest string the lines of manifest.yaml
--- @param code string plugin.lua
--- @param more? table<string, string> further files
function M.plugin(manifest, code, more)
  local files = { ["manifest.yaml"] = manifest, ["plugin.lua"] = code }
  for name, text in pairs(more or {}) do
    files[name] = text
  end
  return files
end

--- plugin.lua that answers GET / with a text.
function M.answers(text)
  return ([[
local routes = require("buntime.router").new()
routes:get("/", function(c)
  return c:text(%q)
end)
return { routes = routes }
]]):format(text)
end

--- A plugin whose base answers with a text.
function M.hello(name, text, lines)
  return M.plugin(("name: %s\nbase: /%s\n%s"):format(name, name, lines or ""), M.answers(text))
end

--- A time zone, as TZ has it, in which a minute ends at the moment `at`.
function M.zone_ending(at)
  return ("SPEC-00:00:%02d"):format(-at % 60)
end

return M
