-- Reloading a running server: what is rebuilt, what is kept, and that nobody notices meanwhile.

local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin, hello, answers = fixtures.plugin, fixtures.hello, fixtures.answers

--- Reloads, compares the status, and returns the plugins of the answer by name.
local function reload(s, status, query)
  local res = s:reload(query)
  assert.equal(status, res.status, res.body)
  local answer, by_name = res:json(), {}
  assert.equal(status == 200, answer.ok)
  for _, one in ipairs(answer.plugins) do
    by_name[one.name] = one
  end
  return by_name, answer
end

local function reload_one(s, name)
  return s:post("/api/plugins/" .. name:gsub("[@/]", { ["@"] = "%40", ["/"] = "%2F" }) .. "/reload")
end

local function generation(s)
  return s:get("/api/health"):json().generation
end

--- plugin.lua that counts its requests and notes its life in the file "journal".
local function noting(name, more)
  return ([[
local routes = require("buntime.router").new()
local count = 0

local function note(what)
  local file = assert(io.open("journal", "a"))
  file:write(%q, " ", what, "\n")
  file:close()
end

routes:get("/", function(c)
  count = count + 1
  return c:text(%q .. " " .. count)
end)
routes:get("/slow", function(c)
  buntime.sleep(tonumber(c.req:query("seconds")))
  return c:text(%q)
end)

local impl = {
  routes = routes,
  onInit = function() note("init") end,
  onShutdown = function() note("shutdown") end,
}
%s
return impl
]]):format(name, name, name, more or "")
end

local function noter(name, lines, more)
  return plugin(("name: %s\nbase: /%s\n%s"):format(name, name, lines or ""), noting(name, more))
end

local function journal(s)
  return process.read(s.dir .. "/journal") or ""
end

local function count(text, what)
  return select(2, text:gsub(what, "%0"))
end

--- Waits until the journal has this line `times` (1).
local function journal_has(s, line, times)
  return process.eventually(function()
    return count(journal(s), line .. "\n") >= (times or 1)
  end)
end

--- Starts a request that takes that long, on a connection of its own.
local function begin(s, target)
  local conn = s:connect()
  conn:send(http.format("GET", target, nil, s.port))
  return conn
end

--- Waits until this many requests have arrived in the plugin.
local function in_flight(s, name, n)
  assert(process.eventually(function()
    return s:get("/api/plugins/" .. name):json().calls >= n
  end))
end

describe("a reload", function()
  after_each(server.stop_all)

  describe("answers", function()
    it("with every plugin, its place and its times", function()
      local plugins = { a = hello("a", "a", "version: 1.2.3"), b = plugin("name: '@x/b'", "return {}") }
      server.with({ plugins = plugins }, function(s)
        local _, answer = reload(s, 200)
        assert.same({ true, 2, {} }, { answer.ok, answer.generation, answer.leaks })
        assert.is_number(answer.durationMs)
        assert.equal(2, #answer.plugins)
        local a, b = unpack(answer.plugins)
        assert.same(
          { "a", "plugins/a", "1.2.3", "loaded", "/a" },
          { a.name, a.path, a.version, a.status, a.base }
        )
        assert.is_number(a.initMs)
        assert.same({ "@x/b", "plugins/b", "loaded" }, { b.name, b.path, b.status })
      end)
    end)

    it("with the same generation when nothing changed", function()
      server.with({ plugins = { a = hello("a", "a") } }, function(s)
        local before = generation(s)
        local plugins, answer = reload(s, 200, "changed=true")
        assert.equal("unchanged", plugins.a.status)
        assert.equal(before, answer.generation)
        assert.equal(before, generation(s))
        local _, all = reload(s, 200)
        assert.equal(before + 1, all.generation)
      end)
    end)
  end)

  describe("of what changed", function()
    it("keeps the state of the rest, its instance and its timers", function()
      server.with({ plugins = { a = noter("a"), b = noter("b") } }, function(s)
        s:get("/a")
        s:get("/b")
        s:write("b/plugin.lua", noting("B"))
        local plugins = reload(s, 200, "changed=true")
        assert.same({ "unchanged", "loaded" }, { plugins.a.status, plugins.b.status })
        assert.equal("a 2", s:get("/a").body)
        assert.equal("B 1", s:get("/b").body)
        assert.equal("a init\nb init\nB init\nb shutdown\n", journal(s))
      end)
    end)

    it("compares the content of every file in the folder", function()
      local files = noter("a", nil, "")
      files["lib/deep/data.txt"] = "1"
      server.with({ plugins = { a = files } }, function(s)
        local function status()
          return reload(s, 200, "changed=true").a.status
        end
        assert.equal("unchanged", status())
        s:write("a/plugin.lua", s:read("a/plugin.lua")) -- the same content at another time
        assert.equal("unchanged", status())
        s:write("a/lib/deep/data.txt", "2")
        assert.equal("loaded", status())
        s:write("a/new.txt", "")
        assert.equal("loaded", status())
        s:remove("a/new.txt")
        assert.equal("loaded", status())
        s:write("a/manifest.yaml", s:read("a/manifest.yaml") .. "\n# a comment\n")
        assert.equal("loaded", status())
        assert.equal("unchanged", status())
      end)
    end)

    it("adds new plugins and unloads those that are gone", function()
      server.with({ plugins = { a = hello("a", "a"), b = noter("b") } }, function(s)
        s:remove("b")
        for file, text in pairs(hello("c", "c")) do
          s:write("c/" .. file, text)
        end
        local plugins = reload(s, 200, "changed=true")
        assert.same(
          { "unchanged", "removed", "loaded" },
          { plugins.a.status, plugins.b.status, plugins.c.status }
        )
        assert.equal(404, s:get("/b").status)
        assert.equal("c", s:get("/c").body)
        assert.is_truthy(journal_has(s, "b shutdown"))
        assert.is_nil(reload(s, 200).b)
        assert.equal(404, s:get("/api/plugins/b").status)
      end)
    end)

    it("counts the environment that config: names, read anew from RUNTIME_ENV_FILE", function()
      local typed = plugin(
        "name: a\nbase: /a\nconfig: { text: { type: string, env: A_TEXT, default: none } }",
        [[
        return function(config)
          local routes = require("buntime.router").new()
          routes:get("/", function(c)
            return c:text(config.text .. " " .. tostring(buntime.env.OTHER))
          end)
          return { routes = routes }
        end]]
      )
      local options = {
        plugins = { a = typed, b = hello("b", "b") },
        files = { ["env"] = "A_TEXT=one\nOTHER=1\n" },
        env = { RUNTIME_ENV_FILE = "env" },
      }
      local function write_env(s, text)
        local file = assert(io.open(s.dir .. "/env", "w"))
        file:write(text)
        file:close()
      end
      server.with(options, function(s)
        assert.equal("one 1", s:get("/a").body)
        write_env(s, "A_TEXT=two\nOTHER=1\n")
        local plugins = reload(s, 200, "changed=true")
        assert.same({ "loaded", "unchanged" }, { plugins.a.status, plugins.b.status })
        assert.equal("two 1", s:get("/a").body)
        write_env(s, "A_TEXT=two\nOTHER=2\n") -- nobody names it
        assert.equal("unchanged", reload(s, 200, "changed=true").a.status)
        assert.equal("two 2", s:get("/a").body)
        write_env(s, "")
        assert.equal("loaded", reload(s, 200, "changed=true").a.status)
        assert.equal("none nil", s:get("/a").body)
      end)
    end)

    it("lets the real environment win over RUNTIME_ENV_FILE", function()
      local typed = plugin("name: a\nbase: /a", (answers("x"):gsub('"x"', "buntime.env.A_TEXT")))
      server.with({
        plugins = { a = typed },
        files = { ["env"] = "A_TEXT=file\n" },
        env = { RUNTIME_ENV_FILE = "env", A_TEXT = "real" },
      }, function(s)
        assert.equal("real", s:get("/a").body)
      end)
    end)
  end)

  describe("of one plugin", function()
    it("touches no other", function()
      server.with({ plugins = { a = noter("a"), b = noter("b") } }, function(s)
        s:get("/a")
        s:get("/b")
        local res = reload_one(s, "b")
        assert.equal(200, res.status)
        assert.equal(1, #res:json().plugins)
        assert.equal("a 2", s:get("/a").body)
        assert.equal("b 1", s:get("/b").body)
      end)
    end)

    it("knows scoped names, and says when there is none", function()
      local scoped = plugin("name: '@acme/plugin-x'\nbase: /x", answers("x"))
      server.with({ plugins = { ["@acme/x"] = scoped } }, function(s)
        assert.equal("@acme/plugin-x", reload_one(s, "@acme/plugin-x"):json().plugins[1].name)
        local res = reload_one(s, "@acme/none")
        assert.equal(404, res.status)
        assert.equal("PLUGIN_NOT_FOUND", res:json().code)
      end)
    end)
  end)

  describe("that fails", function()
    local BROKEN = "return {\n  x = = 1\n}\n"

    it("keeps the old instance with its state, and tries again at the next reload of any kind", function()
      server.with({ plugins = { a = noter("a"), b = hello("b", "b") } }, function(s)
        s:allow_errors("plugins/a/plugin.lua:2: ")
        s:get("/a")
        s:write("a/plugin.lua", BROKEN)
        for _, query in ipairs({ "changed=true", "", "changed=true" }) do
          local plugins = reload(s, 207, query)
          assert.equal("kept_old", plugins.a.status)
          assert.equal("LOAD_FAILED", plugins.a.error.code)
          assert.same({ "plugins/a/plugin.lua", 2 }, { plugins.a.error.file, plugins.a.error.line })
        end
        assert.equal("a 2", s:get("/a").body)
        assert.is_nil(journal(s):find("shutdown"))
        assert.equal("kept_old", s:get("/api/plugins/a"):json().state)

        s:write("a/plugin.lua", noting("A"))
        assert.equal("loaded", reload(s, 200, "changed=true").a.status)
        assert.equal("A 1", s:get("/a").body)
      end)
    end)

    it("is tried again when another plugin is reloaded", function()
      server.with({ plugins = { a = noter("a"), b = hello("b", "b") } }, function(s)
        s:allow_errors("plugins/a/plugin.lua:2: ")
        s:write("a/plugin.lua", BROKEN)
        reload(s, 207)
        assert.equal(207, reload_one(s, "b").status)
        s:write("a/plugin.lua", noting("A"))
        local res = reload_one(s, "b")
        assert.equal(200, res.status)
        assert.equal(2, #res:json().plugins)
        assert.equal("A 1", s:get("/a").body)
        assert.equal(1, #reload_one(s, "b"):json().plugins)
      end)
    end)

    it("goes on with the old code when it is put back", function()
      server.with({ plugins = { a = noter("a") } }, function(s)
        s:allow_errors("plugins/a/plugin.lua:2: ")
        local old = s:read("a/plugin.lua")
        s:write("a/plugin.lua", BROKEN)
        reload(s, 207)
        s:write("a/plugin.lua", old)
        assert.equal("loaded", reload(s, 200, "changed=true").a.status)
      end)
    end)

    it("lets a new plugin be failed and the others go on", function()
      server.with({ plugins = { a = hello("a", "a") } }, function(s)
        s:allow_errors("plugins/new/plugin.lua:2: ")
        s:write("new/manifest.yaml", "name: new\nbase: /new\n")
        s:write("new/plugin.lua", BROKEN)
        s:write("a/plugin.lua", answers("A"))
        local plugins = reload(s, 207)
        assert.same({ "loaded", "failed" }, { plugins.a.status, plugins.new.status })
        assert.equal("A", s:get("/a").body)
        assert.equal(404, s:get("/new").status)
        assert.equal("failed", s:get("/api/plugins/new"):json().state)
      end)
    end)

    it("names phase, file and line", function()
      local cases = {
        LOAD_FAILED = { "local x\nerror('in load')", 2 },
        FACTORY_FAILED = { "return function()\n  error('in factory')\nend", 2 },
        INIT_FAILED = { "return { onInit = function()\n  error('in onInit')\nend }", 2 },
        PROVIDES_FAILED = { "return {\n\nprovides = function() error('in provides') end }", 3 },
      }
      server.with({ plugins = { a = hello("a", "a") } }, function(s)
        s:allow_errors("plugins/a/plugin.lua:")
        for code, case in pairs(cases) do
          s:write("a/plugin.lua", case[1])
          local one = reload(s, 207).a
          assert.equal("kept_old", one.status)
          assert.equal(code, one.error.code)
          assert.same({ "plugins/a/plugin.lua", case[2] }, { one.error.file, one.error.line }, code)
          assert.matches("plugins/a/plugin%.lua:%d: in ", one.error.message)
          assert.matches("stack traceback:.*plugins/a/plugin%.lua:%d", one.error.traceback)
          assert.equal("a", s:get("/a").body)
        end
      end)
    end)

    it("says what is wrong with a module that is none", function()
      local cases = {
        ["the factory must return a table, got nil"] = "return function() end",
        ["the factory must return a table, got number"] = "return 7",
        ["the module's onInit must be a function, got string"] = "return { onInit = 'x' }",
        ["the module's routes must be a Router"] = "return { routes = {} }",
        ["is not an absolute path"] = "return { server = { routes = { x = print } } }",
        ["server.fetch must be a function"] = "return { server = { fetch = 1 } }",
        ["the module's onRequestFailOpen must be a boolean"] = "return { onRequestFailOpen = 1 }",
      }
      server.with({ plugins = { a = hello("a", "a") } }, function(s)
        for message, code in pairs(cases) do
          s:allow_errors(message)
          s:write("a/plugin.lua", code)
          local one = reload(s, 207).a
          assert.is_truthy(one.error.message:find(message, 1, true), one.error.message)
          assert.equal("FACTORY_FAILED", one.error.code)
        end
      end)
    end)

    it("gives up on an onInit that never ends, while the others serve", function()
      local options = {
        plugins = { a = noter("a"), b = hello("b", "b") },
        env = { RUNTIME_INIT_TIMEOUT = "300ms" },
      }
      server.with(options, function(s)
        s:allow_errors("RUNTIME_INIT_TIMEOUT")
        local endless = "impl.onInit = function() while true do buntime.sleep(0.01) end end"
        s:write("a/plugin.lua", noting("A", endless))
        local began, seen = socket.gettime(), 0
        http.parallel(2, function(i)
          if i == 1 then
            local res = http.request(s.port, "POST", "/api/plugins/reload")
            assert.equal(207, res.status)
            local one = res:json().plugins[1]
            assert.equal("kept_old", one.status)
            assert.equal("INIT_TIMEOUT", one.error.code)
            return
          end
          while socket.gettime() < began + 0.2 do
            assert.equal("b", http.request(s.port, "GET", "/b").body)
            seen = seen + 1
          end
        end)
        assert.is_true(socket.gettime() - began < 3)
        assert.is_true(seen > 5)
        assert.equal("a 1", s:get("/a").body)
        assert.is_nil(journal(s):find("A shutdown"))
      end)
    end)

    it("keeps a plugin whose manifest no longer parses", function()
      server.with({ plugins = { a = noter("a", "version: 1.0.0") } }, function(s)
        s:allow_errors("plugins/a/manifest.yaml:")
        s:get("/a")
        for _, text in ipairs({ "name: [\n", "base: /a\n", "name: a\nbase: nonsense\n", "" }) do
          s:write("a/manifest.yaml", text)
          local one = reload(s, 207).a
          assert.same({ "kept_old", "1.0.0", "/a" }, { one.status, one.version, one.base })
          assert.equal("MANIFEST_INVALID", one.error.code)
          assert.equal("plugins/a/manifest.yaml", one.error.file)
        end
        assert.equal("a 2", s:get("/a").body)
      end)
    end)

    it("with strict swaps nothing and answers 409", function()
      server.with({ plugins = { a = noter("a"), b = hello("b", "b") } }, function(s)
        local before = generation(s)
        s:get("/a")
        s:write("a/plugin.lua", noting("A"))
        s:write("b/plugin.lua", BROKEN)
        local plugins, answer = reload(s, 409, "strict=true")
        assert.equal("kept_old", plugins.b.status)
        assert.equal(before, answer.generation)
        assert.equal("a 2", s:get("/a").body)
        assert.equal("b", s:get("/b").body)
        assert.is_truthy(journal_has(s, "A shutdown")) -- it was built and is not used
        assert.is_nil(journal(s):find("a shutdown"))

        s:write("b/plugin.lua", answers("B"))
        assert.equal("loaded", reload(s, 200, "strict=true").b.status)
        assert.equal("A 1", s:get("/a").body)
        assert.equal("B", s:get("/b").body)
      end)
    end)
  end)

  it("with dry_run runs no plugin code, swaps nothing, and tells what would happen", function()
    server.with({ plugins = { a = noter("a"), b = noter("b"), c = noter("c") } }, function(s)
      local before, life = generation(s), journal(s)
      s:write("a/plugin.lua", noting("A"))
      s:write("b/lib.lua", "return = 1")
      s:remove("c")
      s:write("d/manifest.yaml", "name: d\nbase: /a\n")
      s:write("d/plugin.lua", noting("d"))
      local plugins, answer = reload(s, 207, "dry_run=true")
      assert.equal(before, answer.generation)
      assert.same({
        a = "loaded",
        b = "kept_old",
        c = "removed",
        d = "failed",
      }, {
        a = plugins.a.status,
        b = plugins.b.status,
        c = plugins.c.status,
        d = plugins.d.status,
      })
      assert.equal("plugins/b/lib.lua", plugins.b.error.file)
      assert.equal("BASE_CONFLICT", plugins.d.error.code)
      assert.equal(life, journal(s))
      assert.equal("a 1", s:get("/a").body)
      assert.equal("c 1", s:get("/c").body)
      assert.equal("loaded", s:get("/api/plugins/b"):json().state)
    end)
  end)

  describe("sorts out names, bases and dependencies:", function()
    it("disabled plugins are unloaded", function()
      server.with({ plugins = { a = noter("a") } }, function(s)
        s:write("a/manifest.yaml", "name: a\nbase: /a\nenabled: false\n")
        assert.equal("disabled", reload(s, 200).a.status)
        assert.equal(404, s:get("/a").status)
        assert.is_truthy(journal_has(s, "a shutdown"))
        assert.equal("disabled", reload(s, 200, "changed=true").a.status)
      end)
    end)

    it("a base that a live plugin has is refused", function()
      server.with({ plugins = { a = hello("a", "a"), b = hello("b", "b") } }, function(s)
        s:allow_errors("is already taken by")
        s:write("a/manifest.yaml", "name: a\nbase: /b\n")
        local one = reload(s, 207).a
        assert.same({ "kept_old", "BASE_CONFLICT" }, { one.status, one.error.code })
        assert.matches('"/b".*"b"', one.error.message)
        assert.equal("a", s:get("/a").body)
        assert.equal("b", s:get("/b").body)
        s:write("c/manifest.yaml", "name: c\nbase: /b\n")
        s:write("c/plugin.lua", answers("c"))
        assert.equal("failed", reload(s, 207).c.status)
        assert.equal("b", s:get("/b").body)
      end)
    end)

    it("two plugins may exchange their bases", function()
      server.with({ plugins = { a = hello("a", "a"), b = hello("b", "b") } }, function(s)
        s:write("a/manifest.yaml", "name: a\nbase: /b\n")
        s:write("b/manifest.yaml", "name: b\nbase: /a\n")
        reload(s, 200)
        assert.equal("b", s:get("/a").body)
        assert.equal("a", s:get("/b").body)
      end)
    end)

    it("a name that is there already is refused, with both paths", function()
      server.with({ plugins = { b = hello("same", "first") } }, function(s)
        s:allow_errors("two plugins are named")
        for file, text in pairs(hello("same", "second", "version: 2.0.0")) do
          s:write("a/" .. file, text)
        end
        local _, answer = reload(s, 207)
        local first, second = unpack(answer.plugins)
        assert.same({ "plugins/a", "failed" }, { first.path, first.status })
        assert.same({ "plugins/b", "loaded" }, { second.path, second.status })
        assert.equal("DUPLICATE_PLUGIN", first.error.code)
        assert.is_truthy(first.error.message:find("plugins/a", 1, true))
        assert.is_truthy(first.error.message:find("plugins/b", 1, true))
        assert.equal("first", s:get("/same").body)
      end)
    end)

    it("dependents of a provider that is gone or disabled are skipped, and theirs too", function()
      local plugins = {
        a = noter("a", "dependencies: [b]"),
        b = noter("b", "dependencies: [c]"),
        c = noter("c"),
        d = hello("d", "d", "optionalDependencies: [c]"),
      }
      server.with({ plugins = plugins }, function(s)
        s:allow_errors('"b" needs "c"', '"a" needs "b"')
        local manifest = s:read("c/manifest.yaml")
        s:write("c/manifest.yaml", manifest .. "\nenabled: false\n")
        local after = reload(s, 207, "changed=true")
        assert.same({ "skipped", "skipped", "disabled", "unchanged" }, {
          after.a.status,
          after.b.status,
          after.c.status,
          after.d.status,
        })
        assert.equal('"b" needs "c", which is disabled', after.b.error.message)
        assert.equal("DEPENDENCY_UNAVAILABLE", after.b.error.code)
        assert.equal('"a" needs "b", which was skipped', after.a.error.message)
        assert.equal(404, s:get("/a").status)
        assert.equal("d", s:get("/d").body)
        assert.is_truthy(journal_has(s, "a shutdown") and journal_has(s, "b shutdown"))

        s:write("c/manifest.yaml", manifest)
        after = reload(s, 200, "changed=true")
        assert.same({ "loaded", "loaded" }, { after.a.status, after.b.status })
        assert.equal("a 1", s:get("/a").body)

        s:remove("c")
        after = reload(s, 207, "changed=true")
        assert.same({ "skipped", "removed" }, { after.b.status, after.c.status })
        assert.equal("DEPENDENCY_MISSING", after.b.error.code)
        assert.equal('"b" needs "c", which is not installed', after.b.error.message)
      end)
    end)

    it("a provider that was kept counts as loaded", function()
      local plugins = {
        a = hello("a", "a", "dependencies: [b]"),
        b = plugin("name: b", 'return { provides = function() return { text = "old" } end }'),
      }
      server.with({ plugins = plugins }, function(s)
        s:allow_errors("plugins/b/plugin.lua")
        s:write("b/plugin.lua", "error('no')")
        local after = reload(s, 207)
        assert.same({ "loaded", "kept_old" }, { after.a.status, after.b.status })
        assert.equal("a", s:get("/a").body)
      end)
    end)

    it("a cycle fails its members, written out, and the rest loads", function()
      server.with({ plugins = { z = hello("z", "z") } }, function(s)
        s:allow_errors("the dependencies form a cycle")
        local function write(name, needs)
          for file, text in pairs(hello(name, name, ("dependencies: [%s]"):format(needs))) do
            s:write(name .. "/" .. file, text)
          end
        end
        write("a", "b")
        write("b", "a")
        write("c", "a")
        local after = reload(s, 207)
        for _, name in ipairs({ "a", "b" }) do
          assert.same({ "failed", "DEPENDENCY_CYCLE" }, { after[name].status, after[name].error.code })
        end
        assert.is_truthy(after.a.error.message:find("a → b → a", 1, true), after.a.error.message)
        assert.is_truthy(after.b.error.message:find("b → a → b", 1, true), after.b.error.message)
        assert.equal("skipped", after.c.status)
        assert.equal("loaded", after.z.status)

        write("b", "z")
        reload(s, 200)
        assert.equal("a", s:get("/a").body)
      end)
    end)

    it("a cycle between live plugins keeps them", function()
      local plugins = { a = hello("a", "a", "dependencies: [b]"), b = hello("b", "b") }
      server.with({ plugins = plugins }, function(s)
        s:allow_errors("the dependencies form a cycle")
        s:write("b/manifest.yaml", "name: b\nbase: /b\ndependencies: [a]\n")
        local after = reload(s, 207)
        assert.equal("kept_old", after.b.status)
        assert.equal("DEPENDENCY_CYCLE", after.b.error.code)
        assert.equal("a", s:get("/a").body)
        assert.equal("b", s:get("/b").body)
      end)
    end)
  end)

  describe("drains:", function()
    it("a request ends in the instance that received it", function()
      server.with({ plugins = { a = noter("a") } }, function(s)
        local conn = begin(s, "/a/slow?seconds=0.5")
        in_flight(s, "a", 1)
        s:write("a/plugin.lua", noting("A"))
        reload(s, 200)
        assert.equal("A 1", s:get("/a").body)
        assert.equal("a init\nA init\n", journal(s))
        assert.equal("a", conn:response().body)
        conn:close()
        assert.is_truthy(journal_has(s, "a shutdown"))
        assert.equal("A 2", s:get("/a").body)
      end)
    end)

    it("so does one in a plugin that was removed or disabled", function()
      server.with({ plugins = { a = noter("a"), b = noter("b") } }, function(s)
        local a, b = begin(s, "/a/slow?seconds=0.3"), begin(s, "/b/slow?seconds=0.3")
        in_flight(s, "a", 1)
        in_flight(s, "b", 1)
        s:remove("a")
        s:write("b/manifest.yaml", "name: b\nbase: /b\nenabled: false\n")
        reload(s, 200)
        assert.equal(404, s:get("/a").status)
        assert.equal("a", a:response().body)
        assert.equal("b", b:response().body)
        a:close()
        b:close()
        assert.is_truthy(journal_has(s, "a shutdown") and journal_has(s, "b shutdown"))
      end)
    end)

    it("what takes too long is cut with 503, and onShutdown still runs", function()
      local options = { plugins = { a = noter("a") }, env = { RUNTIME_DRAIN_TIMEOUT = "200ms" } }
      server.with(options, function(s)
        local conn, began = begin(s, "/a/slow?seconds=30"), socket.gettime()
        in_flight(s, "a", 1)
        reload(s, 200)
        local res = conn:response()
        assert.equal(503, res.status)
        assert.equal("PLUGIN_RELOADED", res:json().code)
        assert.is_truthy(res.headers["x-request-id"])
        local took = socket.gettime() - began
        assert.is_true(took > 0.15 and took < 3, "cut after " .. took)
        conn:close()
        assert.is_truthy(journal_has(s, "a shutdown"))
        assert.equal("a 1", s:get("/a").body)
      end)
    end)

    it("onShutdown that raises or hangs is logged, and the rest goes on", function()
      local options = {
        plugins = {
          a = noter("a", nil, "impl.onShutdown = function() error('in onShutdown') end"),
          b = noter("b", nil, "impl.onShutdown = function() buntime.sleep(30) end"),
          c = noter("c"),
        },
        env = { RUNTIME_DRAIN_TIMEOUT = "200ms" },
      }
      server.with(options, function(s)
        s:allow_errors("in onShutdown", "onShutdown took longer")
        for _, name in ipairs({ "a", "b", "c" }) do
          s:write(name .. "/plugin.lua", noting(name:upper()))
        end
        reload(s, 200)
        assert.equal("A 1", s:get("/a").body)
        local line = s:wait_log("in onShutdown")
        assert.same({ "a", "error", "onShutdown" }, { line.plugin, line.level, line.phase })
        assert.is_truthy(line.traceback:find("plugins/a/plugin.lua:", 1, true))
        assert.equal("b", s:wait_log("onShutdown took longer").plugin)
        assert.is_truthy(journal_has(s, "c shutdown"))
      end)
    end)

    it("timers of the old instance stop at the swap, while its requests go on", function()
      local ticking = [[
        require("buntime.timer").every(0.005, function() note("tick") end)]]
      server.with({ plugins = { a = noter("a", nil, ticking) } }, function(s)
        assert.is_truthy(journal_has(s, "a tick", 3))
        local conn = begin(s, "/a/slow?seconds=0.4")
        in_flight(s, "a", 1)
        s:write("a/plugin.lua", noting("A", ticking))
        reload(s, 200)
        local old = count(journal(s), "a tick\n")
        assert.is_truthy(journal_has(s, "A tick", 10))
        assert.equal(old, count(journal(s), "a tick\n"))
        assert.equal("a", conn:response().body)
        conn:close()
      end)
    end)

    it("what the old instance left open is named and closed", function()
      local opens = [[
        local open = impl.onInit
        impl.onInit = function()
          open()
          rawset(_G, "db", require("buntime.sqlite").open("left.db"))
        end]]
      server.with({ plugins = { a = noter("a", nil, opens), b = noter("b") } }, function(s)
        local _, answer = reload(s, 200)
        assert.equal(1, #answer.leaks, s:log())
        assert.equal("a", answer.leaks[1].plugin)
        assert.equal("sqlite", answer.leaks[1].kind)
        assert.matches("left%.db", answer.leaks[1].label)
        local line = s:wait_log("left open")
        assert.same({ "a", "warn" }, { line.plugin, line.level })
        assert.matches("left%.db", line.msg)
      end)
    end)

    it("onServerStart is called for the new instance after its swap", function()
      local starts = "impl.onServerStart = function(server) note('start ' .. server.port) end"
      server.with({ plugins = { a = noter("a", nil, starts) } }, function(s)
        assert.is_truthy(journal_has(s, "a start " .. s.port))
        s:write("a/plugin.lua", noting("A", starts))
        reload(s, 200)
        assert.is_truthy(journal_has(s, "A start " .. s.port))
        assert.equal(1, count(journal(s), "a start"))
      end)
    end)
  end)

  describe("under load", function()
    it("never drops a request: 50 at a time during 20 reloads", function()
      local served = {}
      server.with({ plugins = { a = noter("a"), b = hello("b", "b") } }, function(s)
        local busy = true
        http.parallel(51, function(i)
          if i == 51 then
            for n = 1, 20 do
              s:write("a/plugin.lua", noting("a" .. n))
              local res = http.request(s.port, "POST", "/api/plugins/reload")
              assert.equal(200, res.status, res.body)
            end
            busy = false
            return
          end
          local conn = s:connect()
          while busy do
            local res = conn:get(i % 2 == 0 and "/a" or "/a/slow?seconds=0.001")
            assert.equal(200, res.status, res.body)
            served[res.body:match("%w+")] = true
          end
          conn:close()
        end)
        assert.is_truthy(process.eventually(function()
          return count(journal(s), "shutdown") == 20
        end))
      end)
      local versions = 0
      for _ in pairs(served) do
        versions = versions + 1
      end
      assert.is_true(versions > 5, versions .. " versions were seen")
    end)

    it("never lets a request past a hook", function()
      local gate = [[
        impl.onInit = function() buntime.sleep(0.01) end
        impl.onRequest = function(req)
          if req.path == "/b" then
            return { status = 403 }
          end
        end]]
      server.with({ plugins = { a = noter("a", nil, gate), b = hello("b", "b") } }, function(s)
        local busy, asked = true, 0
        http.parallel(9, function(i)
          if i == 9 then
            for _ = 1, 15 do
              assert.equal(200, http.request(s.port, "POST", "/api/plugins/reload").status)
            end
            busy = false
            return
          end
          while busy do
            assert.equal(403, http.request(s.port, "GET", "/b").status)
            asked = asked + 1
          end
        end)
        assert.is_true(asked > 50)
      end)
    end)

    it("are serialised, and equal ones that wait are one", function()
      local slow = "impl.onInit = function() note('init') buntime.sleep(0.2) end"
      server.with({ plugins = { a = noter("a", nil, slow) } }, function(s)
        local before = generation(s)
        local generations = http.parallel(6, function()
          local res = http.request(s.port, "POST", "/api/plugins/reload")
          assert.equal(200, res.status)
          return res:json().generation
        end)
        table.sort(generations)
        local g = before + 1
        assert.same({ g, g + 1, g + 1, g + 1, g + 1, g + 1 }, generations)
        assert.equal(g + 1, generation(s))
        assert.equal(3, count(journal(s), "init"))
      end)
    end)

    it("of different kinds wait for each other and do not join", function()
      local slow = "impl.onInit = function() note('init') buntime.sleep(0.05) end"
      server.with({ plugins = { a = noter("a", nil, slow), b = noter("b") } }, function(s)
        local targets = { "reload", "a/reload", "b/reload", "reload?changed=true", "reload?strict=true" }
        http.parallel(#targets, function(i)
          local res = http.request(s.port, "POST", "/api/plugins/" .. targets[i])
          assert.equal(200, res.status, res.body)
        end)
        assert.equal(4, count(journal(s), "a init")) -- start, all, a, strict
        assert.equal(4, count(journal(s), "b init"))
      end)
    end)

    it("leave no descriptor and no record behind", function()
      local plugins = {}
      for i = 1, 10 do
        plugins["p" .. i] = hello("p" .. i, "x", i > 1 and ("dependencies: [p%d]"):format(i - 1) or nil)
      end
      server.with({ plugins = plugins }, function(s)
        reload(s, 200)
        local before = s:descriptors()
        for _ = 1, 40 do
          reload(s, 200)
        end
        local flat = process.eventually(function() -- connections take a moment to close
          return s:descriptors() <= before
        end)
        assert.is_true(flat, ("%d descriptors before, %d now"):format(before, s:descriptors()))
        assert.equal(10, #s:get("/api/plugins"):json())
      end)
    end)
  end)
end)
