-- Files from a plugin: the data folder, the plugin's own behind it, and that they stay apart.

local fixtures = require("spec.support.fixtures")
local process = require("spec.support.process")
local server = require("spec.support.server")

--- A plugin that does with a path what the query says.
local CODE = [[
  local fs = require("buntime.fs")
  local routes = require("buntime.router").new()
  routes:post("/:verb", function(c)
    local verb, path = c.req:param("verb"), c.req:query("path")
    local result, message, code = fs[verb](path, verb == "write" and c.req.body or nil)
    return c:json({ result = result, message = message, code = code })
  end)
  return { routes = routes }]]

local function start(files)
  return server.start({
    plugins = {
      a = fixtures.plugin('name: "@acme/a"\nbase: /a\n', CODE, { ["page.html"] = "from the plugin" }),
      b = fixtures.plugin("name: b\nbase: /b\n", CODE),
    },
    files = files,
  })
end

local function call(s, base, verb, path, body)
  return s:post(("/%s/%s?path=%s"):format(base, verb, path), { body = body or "" }):json()
end

describe("fs in a plugin", function()
  after_each(server.stop_all)

  it("writes to the plugin's data folder, which outlives a reload", function()
    local s = start()
    assert.same({ result = true }, call(s, "a", "write", "note.txt", "text"))
    assert.equal("text", process.read(s.dir .. "/.buntime/data/@acme/a/note.txt"))
    s:reload()
    assert.same({ result = "text" }, call(s, "a", "read", "note.txt"))
    assert.equal("ENOENT", call(s, "b", "read", "note.txt").code)
    s:stop()
  end)

  it("reads the plugin's own files where the data folder has none, and never writes to them", function()
    local s = start()
    assert.same({ result = "from the plugin" }, call(s, "a", "read", "page.html"))
    assert.same({ result = { "manifest.yaml", "page.html", "plugin.lua" } }, call(s, "a", "list", ""))
    assert.same({ result = true }, call(s, "a", "write", "page.html", "own"))
    assert.same({ result = "own" }, call(s, "a", "read", "page.html"))
    assert.equal("from the plugin", s:read("a/page.html"))
    assert.same({ result = true }, call(s, "a", "remove", "page.html"))
    assert.equal("ENOENT", call(s, "a", "remove", "page.html").code)
    assert.same({ result = "from the plugin" }, call(s, "a", "read", "page.html"))
    s:stop()
  end)

  it("reaches nothing else", function()
    local s = start({ [".buntime/data/b/secret"] = "of b", ["secret"] = "of the server" })
    local outside =
      { "../../b/secret", "../b/secret", "/etc/passwd", "..", "a/../../x", s.dir .. "/secret" }
    for _, path in ipairs(outside) do
      for _, verb in ipairs({ "read", "stat", "list", "write", "remove", "mkdir" }) do
        assert.equal("EACCES", call(s, "a", verb, path).code, verb .. " " .. path)
      end
    end
    assert.equal("of b", process.read(s.dir .. "/.buntime/data/b/secret"))
    s:stop()
  end)
end)
