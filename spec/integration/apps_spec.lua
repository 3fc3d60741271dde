-- Worker apps as folders: where they answer, who may reach them, reloads, the control plane.

local fixtures = require("spec.support.fixtures")
local server = require("spec.support.server")

local KEY = "a root key that is long enough"

--- A plugin that tells in a header what the hooks are told of who answers, and which refuses what is
--- not public with 401.
local WATCHER = [[
local function text(app)
  if not app then return "nobody" end
  return table.concat({ app.name, app.kind, tostring(app.base), tostring(app.version) }, " ")
end
local asked
return {
  onRequest = function(req, app)
    asked = text(app)
    if req.headers["x-locked"] then return { status = 401, body = "locked" } end
  end,
  onResponse = function(res, app)
    res.headers["x-asked"], res.headers["x-answered"] = asked, text(app)
  end,
}
]]

local function page(text)
  return "<!doctype html><html><head></head><body>" .. text .. "</body></html>"
end

local function app_at(s, path, options)
  return s:get(path, options)
end

local FILES = {
  ["apps/page/index.html"] = page("latest"),
  ["apps/page/app.js"] = "js of latest",
  ["apps/page/secret.lua"] = "return 1",
  ["apps/page@1.0.0/index.html"] = page("one"),
  ["apps/page/1.5.0/index.html"] = page("one and a half"),
  ["apps/page/2.0.0-rc.1/index.html"] = page("two, almost"),
  ["apps/page@1.9.0/index.html"] = page("off"),
  ["apps/page@1.9.0/manifest.yaml"] = "enabled: false\n",
  ["apps/@acme/shop/web/index.html"] = page("shop"),
  ["apps/@acme/shop/manifest.yaml"] = [[
name: "@acme/shop"
version: 3.1.0
entrypoint: web/index.html
publicRoutes: ["/open/**", "/"]
]],
  ["apps/guarded/index.html"] = page("guarded"),
  ["apps/guarded/manifest.yaml"] = "visibility: protected\n",
  ["apps/inner/index.html"] = page("inner"),
  ["apps/inner/manifest.yaml"] = "visibility: internal\n",
  ["apps/both/index.html"] = page("the app"),
  ["apps/.hidden/index.html"] = page("hidden"),
  [".built/base/index.html"] = page("built in"),
}

local function start(options)
  options = options or {}
  options.files = options.files or FILES
  options.env = options.env or {}
  options.env.RUNTIME_WORKER_DIRS = options.env.RUNTIME_WORKER_DIRS or ".built:apps"
  options.plugins = options.plugins
    or {
      watcher = fixtures.plugin("name: watcher\n", WATCHER),
      both = fixtures.hello("both", "the plugin"),
    }
  return server.start(options)
end

local function by_name(list)
  local found = {}
  for _, item in ipairs(list) do
    found[item.name .. "@" .. (item.version or "")] = item
  end
  return found
end

describe("worker apps", function()
  describe("at their paths", function()
    local s

    setup(function()
      s = start()
    end)

    teardown(function()
      s:stop()
    end)

    local function says(path, text)
      local res = app_at(s, path, { headers = { Accept = "text/html" } })
      assert.equal(200, res.status, path)
      assert.truthy(res.body:find("<body>" .. text .. "</body>", 1, true), path .. ": " .. res.body)
      return res
    end

    it("are found by name, and by a range of versions", function()
      says("/page/", "latest")
      says("/page/deep/link", "latest")
      says("/page@latest/", "latest")
      says("/page@1/", "one and a half")
      says("/page@1.0/", "one")
      says("/page@%5E1.0.0/", "one and a half")
      says("/page@^1.0.0/", "one and a half")
      says("/page@2.0.0-rc.1/", "two, almost")
      says("/@acme/shop/", "shop")
      says("/%40acme/shop@3/", "shop")
      says("/base/", "built in")
      for path in ("/page@1.9.0/ /page@2/ /page@x-y/ /acme/shop/ /@acme/ /hidden/"):gmatch("%S+") do
        assert.equal(404, s:get(path).status, path)
      end
    end)

    it("send the bare base to the slash", function()
      for path, to in pairs({
        ["/page"] = "/page/",
        ["/page?a=1&b"] = "/page/?a=1&b",
        ["/page@1"] = "/page@1/",
        ["/@acme/shop?x"] = "/@acme/shop/?x",
      }) do
        local res = s:get(path)
        assert.same({ 308, to }, { res.status, res.headers.location }, path)
      end
    end)

    it("know their base, and serve no code", function()
      local res = says("/page@1/", "one and a half")
      assert.equal("/page@1", res.headers["x-base"])
      assert.truthy(res.body:find('<base href="/page@1/">', 1, true))
      assert.equal("js of latest", s:get("/page/app.js").body)
      assert.equal(404, s:get("/page/secret.lua").status)
    end)

    it("come after the plugins", function()
      assert.equal("the plugin", s:get("/both").body)
      says("/both/page", "the app")
    end)

    it("are what hooks are told of", function()
      local res = s:get("/@acme/shop@^3.0.0/x", { headers = { Accept = "text/html" } })
      assert.equal("@acme/shop static /@acme/shop@^3.0.0 3.1.0", res.headers["x-asked"])
      assert.equal(res.headers["x-asked"], res.headers["x-answered"])
      assert.equal("page static /page@1 1.5.0", s:get("/page@1/").headers["x-answered"])
      res = says("/both/page", "the app")
      assert.equal("both plugin /both nil", res.headers["x-asked"])
      assert.equal("both static /both nil", res.headers["x-answered"])
      assert.equal("nobody", s:get("/nowhere").headers["x-asked"])
    end)

    it("name their public routes from their base", function()
      local locked = { headers = { ["X-Locked"] = "1", Accept = "text/html" } }
      assert.equal(401, s:get("/@acme/shop/closed", locked).status)
      assert.equal(200, s:get("/@acme/shop/open/x", locked).status)
      assert.equal(200, s:get("/@acme/shop/", locked).status)
      assert.equal(308, s:get("/@acme/shop", locked).status)
      assert.equal(401, s:get("/open/x", locked).status)
    end)
  end)

  describe("as a whole", function()
    after_each(server.stop_all)

    it("of the inside are reached from the inside", function()
      local s = start()
      assert.equal(200, s:get("/inner/").status)
      for _, header in ipairs({ "Forwarded", "X-Forwarded-For", "X-Real-IP" }) do
        assert.equal(404, s:get("/inner/", { headers = { [header] = "1.2.3.4" } }).status, header)
      end
      assert.equal(404, s:get("/inner/", { headers = { Host = "evil.example" } }).status)
      s:stop()
    end)

    it("that are protected want a credential", function()
      local s = start({
        env = { RUNTIME_ROOT_KEY = KEY },
        plugins = {
          site = {
            ["manifest.yaml"] = "name: site\nbase: /site\nentrypoint: index.html\nvisibility: protected\n",
            ["index.html"] = page("site"),
          },
        },
      })
      local res = s:get("/guarded/")
      assert.same({ 401, "AUTH_REQUIRED" }, { res.status, res:json().code })
      assert.truthy(res.headers["www-authenticate"])
      assert.equal(401, s:get("/guarded").status)
      assert.equal(200, s:get("/guarded/", { headers = { ["X-API-Key"] = KEY } }).status)
      -- the page of a plugin likewise
      assert.equal(401, s:get("/site/").status)
      assert.equal(200, s:get("/site/", { headers = { ["X-API-Key"] = KEY } }).status)
      s:stop()
    end)

    it("let the page of a plugin at the root come last", function()
      local s = start({
        plugins = {
          root = {
            ["manifest.yaml"] = "name: root\nbase: /\nentrypoint: index.html\n",
            ["index.html"] = page("root"),
          },
        },
      })
      local html = { headers = { Accept = "text/html" } }
      assert.truthy(s:get("/page/", html).body:find("latest", 1, true))
      assert.truthy(s:get("/else/", html).body:find("root", 1, true))
      s:stop()
    end)

    it("without a directory are a warning", function()
      local s = server.start({})
      local line = s:wait_log("worker directory apps: ")
      assert.equal("warn", line.level)
      s:stop()
    end)
  end)

  describe("at a reload", function()
    after_each(server.stop_all)

    it("are found anew, and told in the answer", function()
      local s = start()
      local apps = by_name(s:reload("changed=true"):json().apps)
      assert.equal("unchanged", apps["page@latest"].status)
      assert.equal("disabled", apps["page@1.9.0"].status)
      assert.equal("apps/page@1.0.0", apps["page@1.0.0"].path)

      s:write("../apps/page/index.html", page("newer"))
      s:write("../apps/fresh/index.html", page("fresh"))
      s:remove("../apps/both")
      local res = s:reload("dry_run=true")
      apps = by_name(res:json().apps)
      assert.equal("loaded", apps["fresh@latest"].status)
      assert.equal("removed", apps["both@latest"].status)
      assert.equal(404, s:get("/fresh/").status)

      res = s:reload()
      assert.equal(200, res.status)
      apps = by_name(res:json().apps)
      assert.equal("loaded", apps["page@latest"].status)
      assert.equal("unchanged", apps["page@1.0.0"].status)
      assert.equal("removed", apps["both@latest"].status)
      assert.equal(200, s:get("/fresh/").status)
      assert.equal(404, s:get("/both/page").status)
      assert.is_nil(s:post("/api/plugins/watcher/reload"):json().apps)
      s:stop()
    end)

    it("that fail are told, and go on as they were", function()
      local s = start()
      s:allow_errors("is not what the folder says", "unexpected symbol", "'=' expected")
      s:write("../apps/page@1.0.0/manifest.yaml", "name: pager\n")
      s:write("../apps/broken/index.lua", "this is no Lua\n")
      local res = s:reload("strict=true")
      assert.equal(409, res.status)
      assert.falsy(s:wait_log("the folder says", 0))

      res = s:reload("changed=true")
      assert.equal(207, res.status)
      assert.is_false(res:json().ok)
      local apps = by_name(res:json().apps)
      local old, new = apps["page@1.0.0"], apps["broken@latest"]
      assert.same({ "kept_old", "MANIFEST_INVALID" }, { old.status, old.error.code })
      assert.equal(
        'apps/page@1.0.0/manifest.yaml:1:7: name "pager" is not what the folder says: "page"',
        old.error.message
      )
      assert.same({ "failed", "LOAD_FAILED", 1 }, { new.status, new.error.code, new.error.line })
      assert.equal("apps/broken/index.lua", new.error.file)
      assert.equal(200, s:get("/page@1.0.0/").status)
      assert.truthy(s:wait_log("the folder says"))
      s:stop()
    end)

    it("by SIGHUP too", function()
      local s = start()
      s:write("../apps/fresh/index.html", page("fresh"))
      s.process:kill("HUP")
      assert.truthy(s:wait_log("app fresh latest loaded"))
      assert.equal(200, s:get("/fresh/").status)
      s:stop()
    end)

    it("and while developing by themselves", function()
      local s = start({ args = { "dev" } })
      s:write("../apps/fresh/index.html", page("fresh"))
      assert.truthy(s:wait_log("app fresh latest loaded", 20))
      assert.equal(200, s:get("/fresh/").status)
      s:stop()
    end)

    it("and sees what changes while it starts", function()
      local s = start({
        args = { "dev" },
        plugins = {
          early = fixtures.plugin(
            "name: early\n",
            [[
return {
  onInit = function()
    local file = assert(io.open(os.getenv("EARLY"), "w"))
    file:write("<!doctype html><html><body>early</body></html>")
    file:close()
  end,
}
]]
          ),
        },
        files = { ["apps/early/index.txt"] = "" },
        env = { EARLY = "apps/early/index.html" },
      })
      assert.truthy(s:wait_log("app early latest loaded", 20))
      s:stop()
    end)
  end)

  describe("on the control plane", function()
    local s

    after_each(server.stop_all)

    before_each(function()
      s = start()
    end)

    local function listed(name)
      for _, app in ipairs(s:get("/api/workers"):json()) do
        if app.name == name then
          return app
        end
      end
    end

    it("are listed", function()
      local app = listed("page")
      assert.same({ "latest", "2.0.0-rc.1", "1.5.0", "1.0.0" }, app.versions)
      assert.same({ "1.9.0" }, app.disabledVersions)
      assert.same({ "apps/page", true, "external" }, { app.path, app.removable, app.source })
      assert.same({ 0, 0 }, { app.live, app.requests })
      assert.same({ false, "builtin" }, { listed("base").removable, listed("base").source })
      assert.truthy(s:get("/api/workers").body:find('"errors":[]', 1, true))

      local one = s:get("/api/workers/%40acme/shop"):json()
      assert.same({ "@acme/shop", "web/index.html" }, { one.name, one.folders[1].entrypoint })
      assert.same({ 404, "WORKER_NOT_FOUND" }, {
        s:get("/api/workers/_/nothing").status,
        s:get("/api/workers/_/nothing"):json().code,
      })
      s:stop()
    end)

    it("are disabled and enabled by version", function()
      local res = s:post("/api/workers/_/page/latest/disable")
      assert.equal(200, res.status, res.body)
      assert.same({ name = "page", version = "latest", enabled = false }, res:json().data)
      assert.is_true(res:json().reload.ok)
      assert.equal("enabled: false\n", s:read("../apps/page/manifest.yaml"))
      assert.truthy(s:get("/page/").body:find("one and a half", 1, true))

      res = s:post("/api/workers/_/page/1.9.0/enable")
      assert.equal(200, res.status, res.body)
      assert.truthy(s:get("/page/").body:find("off", 1, true))
      assert.equal(200, s:post("/api/workers/_/page/latest/enable").status)
      assert.truthy(s:get("/page/").body:find("latest", 1, true))
      assert.equal(404, s:post("/api/workers/_/page/7.0.0/enable").status)
      local line = s:wait_log(function(line)
        return line.audit and line.target == "page@1.9.0"
      end)
      assert.same({ "workers.enable", "ok" }, { line.action, line.result })
      s:stop()
    end)

    it("are removed, unless they are built in", function()
      local res = s:delete("/api/workers/_/page/1.5.0")
      assert.equal(200, res.status, res.body)
      assert.truthy(s:get("/page@1/").body:find("one", 1, true))
      assert.is_nil(s:read("../apps/page/1.5.0/index.html"))
      assert.truthy(s:read("../apps/page/index.html"))
      assert.equal(200, s:delete("/api/workers/acme/shop").status)
      assert.equal(404, s:get("/@acme/shop/").status)
      res = s:delete("/api/workers/_/base")
      assert.same({ 403, "BUILT_IN_WORKER_REMOVE_FORBIDDEN" }, { res.status, res:json().code })
      assert.equal(200, s:get("/base/").status)
      res = s:delete("/api/workers/_/page", { headers = { Origin = "http://evil.example" } })
      assert.equal(403, res.status)
      assert.equal(200, s:get("/page/").status)
      assert.equal(405, s:put("/api/workers/_/page").status)
      s:stop()
    end)
  end)

  describe("for the commands", function()
    it("are checked with the plugins", function()
      local code, out = server.run({ "check" }, {
        plugins = { hello = fixtures.hello("hello", "x") },
        files = { ["apps/page/index.html"] = "", ["apps/code/index.lua"] = "return {}\n" },
      })
      assert.same({ 0, "1 plugin and 2 apps checked, all well\n" }, { code, out })
      code, out = server.run({ "check" }, {
        files = {
          ["apps/a/index.lua"] = "return {\n",
          ["apps/b@2/index.lua"] = "return {}\n",
          ["apps/c/manifest.yaml"] = "name: c\nttl: soon\n",
          ["apps/c/lib.lua"] = "return 1\n",
        },
      })
      assert.equal(1, code)
      assert.truthy(out:find("apps/a/index.lua:2: ", 1, true), out)
      assert.truthy(out:find('apps/b@2: "2" is not a semantic version', 1, true), out)
      assert.truthy(out:find("apps/c/manifest.yaml:2:6: ttl must be", 1, true), out)
      assert.truthy(out:find("apps/c/manifest.yaml: no entry file", 1, true), out)
    end)

    it("may be named by their folder", function()
      local files = {
        ["shop/index.html"] = page("shop"),
        ["shop/manifest.yaml"] = "name: '@acme/shop'\nversion: 2.0.0\n",
        ["shop/one_spec.lua"] = "it('runs', function() assert.is_true(true) end)",
        ["all/a/index.html"] = page("a"),
      }
      local code, out = server.run({ "run", "shop", "GET", "/@acme/shop@2/" }, { files = files })
      assert.equal(0, code)
      assert.truthy(out:find("shop</body>", 1, true), out)
      code, out = server.run({ "check", "shop", "all" }, { files = files })
      assert.same({ 0, "0 plugins and 2 apps checked, all well\n" }, { code, out })
      code, out = server.run({ "test", "shop" }, { files = files })
      assert.equal(0, code, out)
      assert.truthy(out:find("1 success", 1, true), out)
    end)
  end)
end)
