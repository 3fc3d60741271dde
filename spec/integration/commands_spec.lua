-- The commands beside serve: run, check, test, new, health, dev, version, help, and their flags.

local lfs = require("lfs")

local fixtures = require("spec.support.fixtures")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin, hello = fixtures.plugin, fixtures.hello

--- Every fixture, as folders to copy.
local ALL = {}
for name in lfs.dir("spec/fixtures/plugins") do
  if name:sub(1, 1) ~= "." then
    ALL[#ALL + 1] = "spec/fixtures/plugins/" .. name
  end
end

--- Runs a command and returns its code and both outputs; none of them holds a sanitizer's report.
local function run(args, options)
  local code, out, err = server.run(args, options)
  assert.is_nil((out .. err):find("Sanitizer", 1, true), err)
  assert.is_nil((out .. err):find("runtime error:", 1, true), err)
  return code, out, err
end

describe("buntime run", function()
  local ECHO = plugin(
    "name: echo\nbase: /echo",
    [[
    local routes = require("buntime.router").new()
    routes:all("/*", function(c)
      return c:json({
        method = c.req.method,
        path = c.req.path,
        query = c.req:query("q"),
        body = c.req:text(),
        header = c.req:header("x-a"),
      }, 200, { ["X-Echo"] = "yes" })
    end)
    routes:get("/fail", function() error("it broke") end)
    routes:get("/sleep", function(c)
      buntime.sleep(0.01)
      return c:text("slept")
    end)
    return { routes = routes }]]
  )

  it("answers one request through the whole pipeline", function()
    local code, out = run(
      { "run", "plugins", "POST", "/echo/x?q=1", "-d", "a body", "-H", "X-A: b c" },
      { plugins = { echo = ECHO } }
    )
    assert.equal(0, code, out)
    assert.matches("^HTTP/1.1 200\n", out)
    assert.matches("\nx%-echo: yes\n", out)
    assert.matches("\nx%-request%-id: ", out)
    for _, member in ipairs({ '"method":"POST"', '"path":"/x"', '"query":"1"', '"header":"b c"' }) do
      assert.is_truthy(out:find(member, 1, true), out)
    end
    assert.is_truthy(out:find('"body":"a body"', 1, true), out)
  end)

  it("takes one plugin's folder as well, waits, and runs hooks", function()
    local gate = plugin("name: gate", "return { onRequest = function() return { status = 403 } end }")
    local plugins = { echo = ECHO, gate = gate }
    local code, out = run({ "run", "plugins/echo", "GET", "/echo/sleep" }, { plugins = plugins })
    assert.equal(0, code, out)
    assert.matches("\n\nslept\n$", out)
    code, out = run({ "run", "plugins", "GET", "/echo/x" }, { plugins = plugins })
    assert.equal(0, code)
    assert.matches("^HTTP/1.1 403\n", out)
  end)

  it("says by its exit code when the server's side is to blame", function()
    local code, out, err = run({ "run", "plugins", "GET", "/echo/fail" }, { plugins = { echo = ECHO } })
    assert.equal(1, code)
    assert.matches("^HTTP/1.1 500\n", out)
    assert.matches("plugins/echo/plugin%.lua:%d+: it broke", out)
    assert.matches("it broke", out .. err)
    assert.equal(0, (run({ "run", "plugins", "GET", "/none" }, { plugins = { echo = ECHO } })))
  end)

  it("explains what it wants", function()
    for _, words in ipairs({ "run", "run plugins", "run a b /c d", "run -d" }) do
      local args = {}
      for word in words:gmatch("%S+") do
        args[#args + 1] = word
      end
      local code, _, err = run(args)
      assert.equal(2, code)
      assert.matches("usage: buntime run DIR METHOD PATH", err)
    end
    local code, _, err = run({ "run", "plugins", "GET", "no-slash" })
    assert.equal(2, code)
    assert.matches('"no%-slash" is not a request path', err)
    code, _, err = run({ "run", "plugins", "GET", "/", "-H", "nonsense" })
    assert.equal(2, code)
    assert.matches("%-H wants", err)
  end)

  it("answers for every fixture", function()
    local targets = { "/routes/", "/middleware/plain", "/absolute", "/about", "/consumer/data", "/typed" }
    for _, target in ipairs(targets) do
      local code, out = run({ "run", "plugins", "GET", target }, { copy = ALL })
      assert.equal(0, code, out)
      assert.matches("^HTTP/1.1 200\n", out)
    end
  end)
end)

describe("buntime check", function()
  it("finds nothing wrong with the fixtures and with what ships", function()
    local code, out = run({ "check", "plugins" }, { copy = ALL })
    assert.equal(0, code, out)
    assert.equal(("%d plugins checked, all well\n"):format(#ALL), out)
    code, out = run({ "check", process.absolute("plugins"), process.absolute("apps") })
    assert.equal(0, code, out)
    assert.truthy(out:find(" and 1 app checked, all well", 1, true), out)
  end)

  it("names every problem with its place, exits 1, and runs no code", function()
    local plugins = {
      manifest = plugin("name: manifest\nbase: nope\nversion: x", "return {}"),
      syntax = plugin("name: syntax", "return {\n}}"),
      module = plugin("name: module", "return {}", { ["lib/x.lua"] = "\n\n!" }),
      needs = plugin("name: needs\ndependencies: [none]", "return {}"),
      a = plugin("name: a\ndependencies: [b]", "return {}"),
      b = plugin("name: b\ndependencies: [a]", "return {}"),
      one = plugin("name: one\nbase: /same", "return {}"),
      two = plugin("name: two\nbase: /same", "return {}"),
      config = plugin("name: config\nconfig: { key: { type: string, required: true } }", "return {}"),
      runs = plugin("name: runs", "io.open('ran', 'w'):close() print('it ran') error('it ran')"),
      good = hello("good", "x"),
    }
    local code, out, err = run({ "check", "plugins" }, { plugins = plugins })
    assert.equal(1, code)
    local expected = {
      'plugins/manifest/manifest.yaml:2:7: ',
      'plugins/manifest/manifest.yaml:3:10: ',
      "plugins/syntax/plugin.lua:2: ",
      "plugins/module/lib/x.lua:3: ",
      '"needs" needs "none", which is not installed',
      "a → b → a",
      'base "/same" of "two" is already taken by "one"',
      "plugins/config/manifest.yaml:",
    }
    for _, text in ipairs(expected) do
      assert.is_truthy(out:find(text, 1, true), text .. " in\n" .. out)
    end
    assert.is_nil((out .. err):find("it ran", 1, true))
    assert.is_nil(out:find("good", 1, true))
  end)

  it("takes folders as arguments, else RUNTIME_PLUGIN_DIRS", function()
    local options = { plugins = { a = hello("a", "a"), b = plugin("name: b", "(") } }
    assert.equal(0, (run({ "check", "plugins/a" }, options)))
    assert.equal(1, (run({ "check", "plugins/a", "plugins/b" }, options)))
    assert.equal(1, (run({ "check" }, options)))
    assert.equal(0, (run({ "check", "--plugin-dirs", "plugins/a" }, options)))
  end)
end)

describe("buntime test", function()
  local SPEC = [[
    local plugin = require("plugin")
    local lib = require("lib.x")
    describe("it", function()
      it("answers", function()
        assert.equal(%q, plugin.routes:request("/").body)
      end)
      it("finds its modules and waits", function()
        buntime.sleep(0.001)
        assert.equal(1, lib)
      end)
    end)]]

  local function tested(name, expected)
    local files = hello(name, "right")
    files["plugin_spec.lua"] = SPEC:format(expected)
    files["lib/x.lua"] = "return 1"
    return files
  end

  it("runs the specs of a plugin", function()
    local code, out = run({ "test", "plugins/a" }, { plugins = { a = tested("a", "right") } })
    assert.equal(0, code, out)
    assert.matches("2 successes / 0 failures / 0 errors", out)
  end)

  it("exits 1 when one fails, and still runs the others", function()
    local plugins = { a = tested("a", "wrong"), b = tested("b", "right"), c = hello("c", "no spec") }
    local code, out = run({ "test", "plugins" }, { plugins = plugins })
    assert.equal(1, code, out)
    assert.matches("1 success / 1 failure / 0 errors", out)
    assert.matches("2 successes / 0 failures / 0 errors", out)
    assert.matches("plugins/a/plugin_spec%.lua", out)
  end)

  it("exits 1 when a spec does not even load", function()
    local files = hello("a", "a")
    files["plugin_spec.lua"] = "describe("
    local code, out, err = run({ "test", "plugins" }, { plugins = { a = files } })
    assert.equal(1, code, out .. err)
    assert.matches("plugin_spec%.lua", out .. err)
  end)

  it("gives each plugin its own plugin.lua", function()
    local plugins = { a = tested("a", "right"), b = tested("b", "right") }
    plugins.b["plugin.lua"] = fixtures.answers("right")
    plugins.a["lib/x.lua"] = "rawset(_G, 'leaked', 1) return 1"
    plugins.b["lib/x.lua"] = "return rawget(_G, 'leaked') and 2 or 1"
    local code, out = run({ "test", "plugins" }, { plugins = plugins })
    assert.equal(0, code, out)
  end)
end)

describe("buntime new", function()
  local function in_folder(fn)
    local dir = process.temp_dir()
    local ok, problem = pcall(fn, function(...)
      local code, out, err = process.run({ args = { server.binary(), ... }, cwd = dir })
      return code, out .. err
    end, dir)
    process.run({ args = { "rm", "-rf", dir } })
    assert(ok, problem)
  end

  it("writes a plugin that passes check and test, and overwrites none", function()
    in_folder(function(buntime, dir)
      for _, name in ipairs({ "todos", "@acme/shop" }) do
        local code, out = buntime("new", name)
        assert.equal(0, code, out)
        assert.is_truthy(process.read(("%s/plugins/%s/manifest.yaml"):format(dir, name)))
      end
      local code, out = buntime("check")
      assert.equal(0, code, out)
      code, out = buntime("test")
      assert.equal(0, code, out)
      code, out = buntime("run", "plugins", "GET", "/shop/api/greeting")
      assert.equal(0, code, out)
      assert.is_truthy(out:find('"message":"Hello from shop"', 1, true), out)
      assert.not_equal(0, (buntime("new", "todos")))
    end)
  end)

  it("writes a serverless plugin that answers", function()
    in_folder(function(buntime, dir)
      local code, out = buntime("new", "@acme/adder", "--mode", "serverless")
      assert.equal(0, code, out)
      assert.matches("entrypoint: index.lua", process.read(dir .. "/plugins/@acme/adder/manifest.yaml"))
      code, out = buntime("check")
      assert.equal(0, code, out)
      code, out = buntime("test")
      assert.equal(0, code, out)
      assert.matches("1 success", out, 1, true)
      for _, folder in ipairs({ "plugins", "plugins/@acme/adder" }) do
        code, out = buntime("run", folder, "GET", "/adder/api/greeting")
        assert.equal(0, code, out)
        assert.matches('"message":"Hello from adder"', out, 1, true)
      end
    end)
  end)

  it("writes a page, too, and knows no other mode", function()
    in_folder(function(buntime, dir)
      local code, out = buntime("new", "notes", "--mode", "spa")
      assert.equal(0, code, out)
      assert.matches("entrypoint: index.html", process.read(dir .. "/plugins/notes/manifest.yaml"))
      assert.matches("<h1>notes</h1>", process.read(dir .. "/plugins/notes/index.html"))
      code, out = buntime("check")
      assert.equal(0, code, out)
      code, out = buntime("new", "other", "--mode=nonsense")
      assert.equal(2, code)
      assert.matches('mode "nonsense" is none of persistent, serverless, spa', out, 1, true)
    end)
  end)

  it("refuses names that are none", function()
    in_folder(function(buntime, dir)
      for _, name in ipairs({ "../x", "a/b", "@/x", "", ".hidden", "reload", "api" }) do
        local code, out = buntime("new", name)
        assert.not_equal(0, code, name .. ": " .. out)
      end
      assert.is_nil(process.absolute(dir .. "/x"))
    end)
  end)
end)

describe("buntime health", function()
  after_each(server.stop_all)

  it("asks the running server", function()
    local s = server.start({ plugins = { a = hello("a", "a") } })
    local code, out = run({ "health", "--port", tostring(s.port) })
    assert.equal(0, code, out)
    s:write("c/manifest.yaml", "name: c\ncritical: true\n")
    s:write("c/plugin.lua", "error('no')")
    s:allow_errors("plugins/c/plugin.lua")
    s:reload()
    code, out = run({ "health", "--port", tostring(s.port) })
    assert.equal(1, code)
    assert.matches("critical plugin c", out)
    local port = tostring(s.port)
    s:stop()
    local gone, _, err = run({ "health", "--port", port })
    assert.equal(1, gone)
    assert.matches("nothing listens", err)
  end)
end)

describe("buntime dev", function()
  after_each(server.stop_all)

  it("reloads what a saved file belongs to", function()
    local s = server.start({
      args = { "dev" },
      plugins = { a = hello("a", "old"), b = hello("b", "b") },
    })
    assert.equal("old", s:get("/a").body)
    s:write("a/plugin.lua", fixtures.answers("new"))
    assert.is_truthy(process.eventually(function()
      return s:get("/a").body == "new"
    end))
    for file, text in pairs(hello("c", "added")) do
      s:write("c/" .. file, text)
    end
    assert.is_truthy(process.eventually(function()
      return s:get("/c").body == "added"
    end))
    s:stop()
  end)
end)

describe("the program", function()
  it("tells its version and its commands", function()
    for _, args in ipairs({ { "version" }, { "--version" } }) do
      local code, out = run(args)
      assert.equal(0, code)
      assert.matches("^buntime %d+%.%d+%.%d+\n$", out)
    end
    for _, args in ipairs({ { "help" }, { "--help" } }) do
      local code, out = run(args)
      assert.equal(0, code)
      for _, name in ipairs({ "serve", "check", "test", "run", "RUNTIME_PLUGIN_DIRS", "--port" }) do
        assert.is_truthy(out:find(name, 1, true), name)
      end
    end
    for _, name in ipairs({ "serve", "dev", "check", "test", "run", "new", "health" }) do
      local code, out = run({ name, "--help" })
      assert.equal(0, code)
      assert.is_truthy(out:find("buntime " .. name, 1, true), out)
    end
  end)

  it("suggests what was meant", function()
    local code, _, err = run({ "serv" })
    assert.equal(2, code)
    assert.matches('unknown command "serv"; did you mean "serve"%?', err)
    code, _, err = run({ "serve", "--prot", "1" })
    assert.equal(2, code)
    assert.matches("unknown flag %-%-prot; did you mean %-%-port%?", err)
  end)

  it("names every bad setting at once", function()
    local env = {
      PORT = "abc",
      RUNTIME_POOL_SIZE = "many",
      RUNTIME_BODY_LIMIT = "200mb",
      RUNTIME_ENV = "prod",
      RUNTIME_DRAIN_TIMEOUT = "soon",
    }
    local code, _, err = run({ "serve" }, { env = env })
    assert.equal(2, code)
    for name in pairs(env) do
      assert.is_truthy(err:find(name .. ": ", 1, true), name .. " in " .. err)
    end
  end)

  it("lets a flag win over its variable", function()
    local s = server.start({
      args = { "serve", "--plugin-dirs", "others", "--log-level", "info" },
      files = {
        ["others/a/manifest.yaml"] = "name: a\nbase: /a\n",
        ["others/a/plugin.lua"] = fixtures.answers("from others"),
      },
      env = { RUNTIME_PLUGIN_DIRS = "plugins", RUNTIME_LOG_LEVEL = "debug" },
    })
    assert.equal("from others", s:get("/a").body)
    for _, line in ipairs(s:log_lines()) do
      assert.not_equal("debug", line.level)
    end
    s:stop()
  end)

  it("does not start on a port that is taken", function()
    local s = server.start()
    local code, out, err = run({ "serve" }, { port = s.port })
    assert.equal(1, code)
    assert.is_truthy((out .. err):find(tostring(s.port), 1, true), out .. err)
    s:stop()
  end)

  it("serves discovery order: built-in folders first, then the others", function()
    local s = server.start({
      dirs = { ".builtin", "plugins" },
      files = {
        [".builtin/z/manifest.yaml"] = "name: z\nbase: /z\n",
        [".builtin/z/plugin.lua"] = fixtures.answers("built in"),
      },
      plugins = { a = hello("a", "a"), [".hidden"] = hello("hidden", "x") },
    })
    local names = {}
    for i, one in ipairs(s:get("/api/plugins"):json()) do
      names[i] = one.name .. " " .. one.path
    end
    assert.same({ "z .builtin/z", "a plugins/a" }, names)
    assert.equal("built in", s:get("/z").body)
    s:stop()
  end)
end)
