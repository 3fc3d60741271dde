-- The guide as a new user follows it: one server that never restarts, and a plugin folder that grows.

local server = require("spec.support.server")

local MANIFEST = [[
name: "@buntime/plugin-hello"
base: "/hello"
menus:
  - title: Hello
    icon: lucide:hand
    path: /hello
]]

local PLUGIN = [[
local Router = require "buntime.router"

return function(config)
  local routes = Router.new()
  routes:get("/api/greeting", function(c)
    return c:json({ message = "Hello from Buntime" })
  end)

  return {
    routes = routes,                        -- mounted at /hello/api/greeting
    onInit = function(ctx) ctx.logger.info("hello plugin initialized") end,
    onShutdown = function() end,            -- flush, close, clear
  }
end
]]

local SPEC = [[
local plugin = require("plugin")

describe("plugin-hello", function()
  it("greets", function()
    local res = plugin({ base = "/hello" }).routes:request("/api/greeting")
    assert.equal(200, res.status)
    assert.same({ message = "Hello from Buntime" }, res:json())
  end)
end)
]]

--- plugin.lua with its text in a file of its own.
local function with_module()
  return 'local text = require "lib.text"\n' .. PLUGIN:gsub('"Hello from Buntime"', "text")
end

local CACHE = [[
return function()
  local values = {}
  return {
    provides = function()
      return {
        get = function(k) return values[k] or "VERSION " .. k end,
        set = function(k, v) values[k] = v end,
      }
    end,
  }
end
]]

local CONSUMER = [[
local Router = require "buntime.router"

return function(config)
  local routes = Router.new()
  local hello
  routes:get("/api/value", function(c)
    return c:text(hello.get("k"))
  end)
  return {
    routes = routes,
    onInit = function(ctx) hello = ctx.getPlugin("@buntime/plugin-cache") end,
  }
end
]]

local HOOK = [[
local Response = require "buntime.response"

return {
  onRequest = function(req)
    if req.path == "/blocked" then
      return Response.json({ error = "blocked" }, { status = 403 })
    end
  end,
}
]]

--- What the user does, in order.
local steps = {}

local function step(name, fn)
  steps[#steps + 1] = { name = name, fn = fn }
end

describe("the guide", function()
  local s

  after_each(server.stop_all)

  --- Reloads and compares the status of the answer.
  local function reload(status, query)
    local res = s:reload(query)
    assert.equal(status, res.status, res.body)
    local answer = res:json()
    assert.equal(status == 200, answer.ok)
    local by_name = {}
    for _, one in ipairs(answer.plugins) do
      by_name[one.name] = one
    end
    return by_name, answer
  end

  local function greeting()
    local res = s:get("/hello/api/greeting")
    assert.equal(200, res.status, res.body)
    return res.body
  end

  step("begins with a server without plugins", function()
    assert.equal(404, s:get("/hello/api/greeting").status)
    assert.equal("[]", s:get("/api/plugins").body)
    assert.equal("[]", s:get("/api/plugins/loaded").body)
    assert.equal(200, s:get("/api/health/ready").status)
  end)

  step("makes a plugin, reloads, and it serves", function()
    s:write("plugin-hello/manifest.yaml", MANIFEST)
    s:write("plugin-hello/plugin.lua", PLUGIN)
    s:write("plugin-hello/plugin_spec.lua", SPEC)
    assert.equal(404, s:get("/hello/api/greeting").status)

    local plugins, answer = reload(200)
    assert.equal("loaded", plugins["@buntime/plugin-hello"].status)
    assert.equal("/hello", plugins["@buntime/plugin-hello"].base)
    assert.equal(1, #answer.plugins)
    assert.equal('{"message":"Hello from Buntime"}', greeting())

    local line = s:wait_log("hello plugin initialized")
    assert.equal("@buntime/plugin-hello", line.plugin)
    local menus = s:get("/api/plugins/loaded"):json()[1].menus
    assert.same({ title = "Hello", icon = "lucide:hand", path = "/hello" }, {
      title = menus[1].title,
      icon = menus[1].icon,
      path = menus[1].path,
    })
  end)

  step("tests it without a server", function()
    local code, out = server.run({ "test", s:path("plugin-hello") })
    assert.equal(0, code, out)
    assert.matches("1 success", out)
  end)

  step("changes the text", function()
    s:write("plugin-hello/plugin.lua", (PLUGIN:gsub("Hello from Buntime", "Hello again")))
    assert.equal('{"message":"Hello from Buntime"}', greeting())
    reload(200)
    assert.equal('{"message":"Hello again"}', greeting())
  end)

  step("changes a file that it requires", function()
    s:write("plugin-hello/plugin.lua", with_module())
    s:write("plugin-hello/lib/text.lua", 'return "from a module"')
    reload(200)
    assert.equal('{"message":"from a module"}', greeting())
    s:write("plugin-hello/lib/text.lua", 'return "changed there"')
    assert.equal("loaded", reload(200, "changed=true")["@buntime/plugin-hello"].status)
    assert.equal('{"message":"changed there"}', greeting())
  end)

  step("breaks it: 207 with file and line, and the old text is still served", function()
    s:write("plugin-hello/plugin.lua", PLUGIN .. "\nthis is no Lua\n")
    local hello = reload(207)["@buntime/plugin-hello"]
    assert.equal("kept_old", hello.status)
    assert.equal("plugins/plugin-hello/plugin.lua", hello.error.file)
    assert.equal(16, hello.error.line)
    assert.matches("plugins/plugin%-hello/plugin%.lua:16: ", hello.error.message)
    assert.equal('{"message":"changed there"}', greeting())

    s:write("plugin-hello/plugin.lua", with_module())
    s:write("plugin-hello/lib/text.lua", 'return "no end')
    hello = reload(207, "changed=true")["@buntime/plugin-hello"]
    assert.equal("kept_old", hello.status)
    assert.equal("plugins/plugin-hello/lib/text.lua", hello.error.file)
    assert.equal(1, hello.error.line)
    assert.equal('{"message":"changed there"}', greeting())
  end)

  step("mends it", function()
    s:write("plugin-hello/lib/text.lua", 'return "mended"')
    reload(200)
    assert.equal('{"message":"mended"}', greeting())
  end)

  step("adds a provider and a consumer", function()
    s:write("plugin-cache/manifest.yaml", 'name: "@buntime/plugin-cache"\n')
    s:write("plugin-cache/plugin.lua", (CACHE:gsub("VERSION", "one")))
    s:write(
      "plugin-use/manifest.yaml",
      'name: "@buntime/plugin-use"\nbase: "/use"\ndependencies: ["@buntime/plugin-cache"]\n'
    )
    s:write("plugin-use/plugin.lua", CONSUMER)
    local plugins = reload(200, "changed=true")
    assert.equal("loaded", plugins["@buntime/plugin-cache"].status)
    assert.equal("loaded", plugins["@buntime/plugin-use"].status)
    assert.equal("unchanged", plugins["@buntime/plugin-hello"].status)
    assert.equal("one k", s:get("/use/api/value").body)
  end)

  step("reloads only the provider, and the consumer reaches the new one", function()
    s:write("plugin-cache/plugin.lua", (CACHE:gsub("VERSION", "two")))
    local res = s:post("/api/plugins/%40buntime%2Fplugin-cache/reload")
    assert.equal(200, res.status, res.body)
    assert.equal(1, #res:json().plugins)
    assert.equal("@buntime/plugin-cache", res:json().plugins[1].name)
    assert.equal("two k", s:get("/use/api/value").body)
  end)

  step("adds a hook that answers 403 on /blocked", function()
    assert.equal(404, s:get("/blocked").status)
    s:write("plugin-gate/manifest.yaml", "name: plugin-gate\n")
    s:write("plugin-gate/plugin.lua", HOOK)
    reload(200)
    local res = s:get("/blocked")
    assert.equal(403, res.status)
    assert.equal('{"error":"blocked"}', res.body)
    assert.equal('{"message":"mended"}', greeting())
    assert.equal("two k", s:get("/use/api/value").body)
  end)

  it("works in one server that never restarts", function()
    s = server.start()
    for _, one in ipairs(steps) do
      local ok, problem = pcall(one.fn)
      if not ok then
        local message = type(problem) == "table" and problem.message or problem
        error(("it %s: %s"):format(one.name, tostring(message)), 0)
      end
    end
    s:allow_errors("plugins/plugin-hello/plugin.lua:", "plugins/plugin-hello/lib/text.lua:")
    s:stop()
  end)
end)
