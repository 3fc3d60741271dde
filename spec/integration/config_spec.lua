-- Typed configuration: environment, then manifest, then default; checked, and masked where it is secret.

local fixtures = require("spec.support.fixtures")
local server = require("spec.support.server")

local plugin = fixtures.plugin

--- A plugin with these fields that answers with its configuration.
local function with_config(fields, more)
  return plugin(
    ("name: typed\nbase: /typed\nconfig:\n%s\n%s"):format(fields, more or ""),
    [[
    return function(config)
      local routes = require("buntime.router").new()
      routes:get("/", function(c)
        return c:json(config)
      end)
      return { routes = routes }
    end]]
  )
end

describe("configuration", function()
  after_each(server.stop_all)

  describe("of the fixture", function()
    it("comes from the manifest, else from the default; own keys are handed over as they are", function()
      local s = fixtures.start({ "typed" })
      assert.same({
        title = "Untitled",
        secret = "from-the-manifest",
        size = 5,
        active = false,
        level = "low",
        hosts = { "localhost" },
        store = { url = "memory", retries = 4 },
        greeting = "an own key that nobody declares",
        list = { 1, "two", { three = 3 } },
        base = "/typed",
      }, s:get("/typed"):json())
      s:stop()
    end)

    it("comes from the environment first, converted", function()
      local s = fixtures.start({ "typed" }, {
        env = {
          TYPED_TITLE = "From env",
          TYPED_SECRET = "env-secret",
          TYPED_SIZE = "9.5",
          TYPED_ACTIVE = "true",
          TYPED_LEVEL = "high",
          TYPED_HOSTS = "a:b:c",
          TYPED_STORE_URL = "http://x",
          TYPED_UNSET = "set",
        },
      })
      local config = s:get("/typed"):json()
      assert.same({
        "From env",
        "env-secret",
        9.5,
        true,
        "high",
        { "a", "b", "c" },
        { url = "http://x", retries = 4 },
        "set",
      }, {
        config.title,
        config.secret,
        config.size,
        config.active,
        config.level,
        config.hosts,
        config.store,
        config.unset,
      })
      s:stop()
    end)

    it("takes an empty variable for none", function()
      local s = fixtures.start({ "typed" }, { env = { TYPED_TITLE = "", TYPED_SIZE = "" } })
      local config = s:get("/typed"):json()
      assert.same({ "Untitled", 5 }, { config.title, config.size })
      s:stop()
    end)

    it("reads the environment and never writes it, and does not have the root key", function()
      local s = fixtures.start({ "typed" }, {
        env = { TYPED_TITLE = "x y", RUNTIME_ROOT_KEY = "a-root-key-of-some-length" },
      })
      assert.same({ title = "x y" }, s:get("/typed/env"):json())
      s:allow_errors("buntime.env is read-only")
      local res = s:get("/typed/env/assign")
      assert.equal(500, res.status)
      assert.matches("^plugins/typed/plugin%.lua:%d+: buntime%.env is read%-only$", res:json().message)
      s:stop()
    end)

    it("masks passwords in errors, logs and answers", function()
      local s = fixtures.start({ "typed" }, { env = { TYPED_SECRET = "hush-hush-hush" } })
      s:allow_errors("the secret is")
      local res = s:get("/typed/fail")
      assert.is_truthy(res:json().message:find("the secret is ***", 1, true), res.body)
      assert.is_nil(res.body:find("hush", 1, true))
      local config = s:get("/api/plugins/%40fixtures%2Ftyped/config")
      assert.same({ value = "***", source = "env", env = "TYPED_SECRET" }, config:json().secret)
      assert.is_nil(config.body:find("hush", 1, true))
      assert.is_nil(s:get("/api/plugins/%40fixtures%2Ftyped/errors").body:find("hush", 1, true))
      assert.is_nil(s:log():find("hush", 1, true))
      s:stop()
    end)
  end)

  describe("that is bad fails the plugin and names key, source and expectation:", function()
    local cases = {
      {
        "a missing required value",
        '  key: { type: string, env: A_KEY, required: true }',
        {},
        { "key", "required", "A_KEY" },
      },
      {
        "a number from the environment",
        "  size: { type: number, env: A_SIZE }",
        { A_SIZE = "many" },
        { "size", "A_SIZE", "many", "number" },
      },
      {
        "a number that is too large",
        "  size: { type: number, env: A_SIZE, max: 3 }",
        { A_SIZE = "4" },
        { "size", "A_SIZE", "3" },
      },
      {
        "a string that is too short",
        "  key: { type: string, env: A_KEY, min: 3 }",
        { A_KEY = "ab" },
        { "key", "A_KEY", "3" },
      },
      {
        "a boolean that is a word",
        "  on: { type: boolean, env: A_ON }",
        { A_ON = "yes" },
        { "on", "A_ON", "yes", "true", "false" },
      },
      {
        "a word that is no option",
        "  level: { type: enum, env: A_LEVEL, options: [low, high] }",
        { A_LEVEL = "mid" },
        { "level", "A_LEVEL", "mid", "low", "high" },
      },
      {
        "a nested value, by its dotted key",
        "  db:\n    type: object\n    properties:\n      port: { type: number, env: A_PORT, required: true }",
        { A_PORT = "x" },
        { "db.port", "A_PORT", "number" },
      },
      {
        "the manifest's own value",
        "  size: { type: number }\nsize: big",
        {},
        { "size", "number", "plugins/typed/manifest.yaml" },
      },
    }

    for _, case in ipairs(cases) do
      local name, fields, env, words = unpack(case)
      it(name, function()
        server.with({
          plugins = { typed = with_config(fields), other = fixtures.hello("other", "serves on") },
          env = env,
        }, function(s)
          s:allow_errors("typed", "size", "key", "level", "db.port", "on")
          assert.equal(404, s:get("/typed").status)
          assert.equal("serves on", s:get("/other").body)
          local one = s:get("/api/plugins/typed"):json()
          assert.equal("failed", one.state)
          for _, word in ipairs(words) do
            assert.is_truthy(one.error.message:find(word, 1, true), word .. " in " .. one.error.message)
          end
        end)
      end)
    end

    it("and never tells a password", function()
      server.with({
        plugins = { typed = with_config("  key: { type: password, env: A_KEY, min: 100 }") },
        env = { A_KEY = "hush-hush-hush" },
      }, function(s)
        s:allow_errors("key")
        local one = s:get("/api/plugins/typed")
        assert.matches("A_KEY", one:json().error.message)
        assert.is_nil(one.body:find("hush", 1, true))
        assert.is_nil(s:log():find("hush", 1, true))
      end)
    end)
  end)

  it("of an entry file that is not there falls back to plugin.lua with a warning", function()
    local files = fixtures.hello("a", "fallback", "pluginEntry: dist/plugin.js")
    server.with({ plugins = { a = files } }, function(s)
      assert.equal("fallback", s:get("/a").body)
      local line = s:wait_log("dist/plugin.js")
      assert.equal("warn", line.level)
    end)
  end)

  it("of a near miss is a warning with the right word", function()
    local files = fixtures.hello("a", "a", "dependancies: [b]")
    server.with({ plugins = { a = files } }, function(s)
      assert.equal("a", s:get("/a").body)
      local line = s:wait_log("dependancies")
      assert.equal("warn", line.level)
      assert.matches("dependencies", line.msg)
      assert.matches("plugins/a/manifest%.yaml:%d+:%d+: ", line.msg)
    end)
  end)
end)
