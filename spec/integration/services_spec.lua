-- getPlugin: what crosses between plugins by value and by reference, calls, errors and reloads.

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin = fixtures.plugin

--- A consumer of `provider` whose GET / runs this code with `p`, the service.
local function consumer(code, lines)
  return plugin(
    "name: consumer\nbase: /consumer\n" .. (lines or "dependencies: [provider]"),
    ([[
    local routes = require("buntime.router").new()
    local p, getPlugin, kept
    routes:get("/", function(c)
      %s
    end)
    return {
      routes = routes,
      onInit = function(ctx)
        getPlugin = ctx.getPlugin
        p = getPlugin("provider")
      end,
    }]]):format(code)
  )
end

local function provider(code)
  return plugin("name: provider", ("return { provides = function() %s end }"):format(code))
end

describe("services of the fixtures", function()
  local s

  setup(function()
    s = fixtures.start({ "consumer", "provider", "silent", "routes" })
  end)
  teardown(function()
    s:stop()
  end)

  local function get(target)
    local res = s:get("/consumer" .. target)
    assert.equal(200, res.status, res.body)
    return res:json()
  end

  it("hand plain data over by value", function()
    assert.same({ limit = 10, mine = "changed here", theirs = "a" }, get("/data"))
    assert.equal("1", s:get("/consumer/nested").body)
    assert.equal("nil", s:get("/consumer/missing-field").body)
    assert.same({ list = { 1, 2, { x = true } }, ring = "abtrue" }, get("/snapshot"))
    assert.same({ n = 3, a = true, b = 1.5, d = true }, get("/arguments"))
  end)

  it("hand objects over by reference, also in a list", function()
    local before = get("/object")
    assert.same({ count = before.count, name = "one", same = true, back = true }, before)
    assert.equal(before.count + 5, get("/object").count)
    assert.same({ length = 2, kind = "table", second = "two", count = 7, same = true }, get("/objects"))
  end)

  it("keep the identity of functions", function()
    assert.same({ same = true, get = true }, get("/identity"))
  end)

  it("cannot be assigned to or walked", function()
    s:allow_errors("cannot be assigned to", "bad argument #1 to 'pairs'")
    assert.matches("cannot be assigned to", s:get("/consumer/assign"):json().message)
    assert.equal(500, s:get("/consumer/pairs").status)
  end)

  it("wait, and others go on meanwhile", function()
    local bodies = http.parallel(6, function(i)
      local target = i == 6 and "/consumer/nested" or "/consumer/slow?seconds=0.05"
      return http.request(s.port, "GET", target).body
    end)
    assert.same({ "slept", "slept", "slept", "slept", "slept", "1" }, bodies)
  end)

  it("call back into the consumer, which may wait too", function()
    assert.same({ heard = "news", answers = { "heard news" } }, get("/callback"))
  end)

  it("let string errors through as strings with the provider's position", function()
    local caught = get("/fail-caught")
    assert.is_false(caught.ok)
    assert.matches("^plugins/provider/plugin%.lua:%d+: caught$", caught.err)
  end)

  it("let table errors through by value", function()
    assert.same({ ok = false, code = "MINE", list = { 1, 2 } }, get("/fail-table"))
  end)

  it("show both tracebacks of an error, in the answer and in the log", function()
    s:allow_errors("the provider failed")
    for target, message in pairs({
      ["/consumer/fail"] = "the provider failed",
      ["/consumer/fail-later"] = "the provider failed later",
    }) do
      local res = s:get(target)
      assert.equal(500, res.status)
      local answer = res:json()
      assert.matches("^plugins/provider/plugin%.lua:%d+: " .. message .. "$", answer.message)
      local line = s:wait_log(function(line)
        return line.requestId == answer.requestId and line.level == "error"
      end)
      for _, trace in ipairs({ answer.traceback, line.traceback }) do
        local theirs = trace:find("plugins/provider/plugin%.lua:%d+: in function")
        local mine = trace:find("plugins/consumer/plugin%.lua:%d+: in function")
        assert.is_truthy(theirs and mine and theirs < mine, trace)
      end
    end
  end)

  it("must be declared: the error says what to add", function()
    s:allow_errors("not declared")
    local message = s:get("/consumer/undeclared"):json().message
    assert.is_truthy(message:find('dependencies: ["@fixtures/routes"]', 1, true), message)
    assert.matches("^plugins/consumer/plugin%.lua:%d+: ", message)
  end)

  it("are nil when the optional provider is absent or provides nothing", function()
    assert.same({ absent = true, silent = true }, get("/absent"))
  end)
end)

describe("services", function()
  after_each(server.stop_all)

  --- Runs the consumer's code once and compares its text.
  local function check(expected, provides, code)
    server.with({ plugins = { provider = provider(provides), consumer = consumer(code) } }, function(s)
      local res = s:get("/consumer")
      assert.equal(expected, res.body)
    end)
  end

  it("may be one function", function()
    check("3", "return function(a, b) return a + b end", "return c:text(p(1, 2))")
  end)

  it("reach tables that can be called", function()
    check(
      "called x",
      'return { f = setmetatable({}, { __call = function(_, a) return "called " .. a end }) }',
      'return c:text(p.f("x"))'
    )
  end)

  it("read a field at each use, as it is by then", function()
    check(
      "1 2",
      "local api = { n = 1 } function api.next() api.n = api.n + 1 end return api",
      'local first = p.n p.next() return c:text(first .. " " .. p.n)'
    )
  end)

  it("look through metatables of the provider", function()
    local lazy = 'return setmetatable({}, { __index = function() return "lazy" end })'
    check("lazy", lazy, "return c:text(p.any)")
  end)

  it("hand the consumer's own object back as itself", function()
    check(
      "true",
      "return { id = function(x) return x end }",
      "local o = setmetatable({}, {}) return c:text(tostring(rawequal(o, p.id(o))))"
    )
  end)

  it("raise errors that are objects of the provider", function()
    check(
      "boxed",
      [[local E = { __index = { name = function() return "boxed" end } }
      return { fail = function() error(setmetatable({}, E)) end }]],
      "local _, e = pcall(p.fail) return c:text(e:name())"
    )
  end)

  it("stay correct while their values are collected", function()
    check(
      "200",
      [[local Box = { __index = { get = function(box) return box.i end } }
      return { make = function(i) return setmetatable({ i = i }, Box) end }]],
      [[
      local sum = 0
      for i = 1, 200 do
        sum = sum + (p.make(i):get() == i and 1 or 0)
        collectgarbage()
      end
      return c:text(sum)]]
    )
  end)

  it("hand a third plugin the reference of the first", function()
    local middle = plugin(
      "name: middle\ndependencies: [provider]",
      [[
      local p
      return {
        onInit = function(ctx) p = ctx.getPlugin("provider") end,
        provides = function()
          return {
            pass = function() return p end,
            object = function() return p.object() end,
          }
        end,
      }]]
    )
    local code = [[
      local m = getPlugin("middle")
      local o = m.object()
      return c:text(m.pass().name .. o:get() .. tostring(p.is(o)))]]
    local plugins = {
      provider = provider([[
        local o = setmetatable({}, { __index = { get = function() return "got" end } })
        return {
          name = "p",
          object = function() return o end,
          is = function(x) return rawequal(x, o) end,
        }]]),
      middle = middle,
      consumer = consumer(code, "dependencies: [provider, middle]"),
    }
    server.with({ plugins = plugins }, function(s)
      assert.equal("pgottrue", s:get("/consumer").body)
    end)
  end)

  it("refuse what cannot cross, with a message", function()
    server.with({
      plugins = {
        provider = provider("return { id = function(x) return x end }"),
        consumer = consumer("return c:text(tostring(p.id(io.stdout)))"),
      },
    }, function(s)
      s:allow_errors("cannot cross between plugins")
      assert.matches("cannot cross between plugins", s:get("/consumer"):json().message)
    end)
  end)

  it("refuse it after a wait, too", function()
    server.with({
      plugins = {
        provider = provider([[
          return {
            deep = function()
              buntime.sleep(0.01)
              local t = {}
              for _ = 1, 10000 do t = { t } end
              return t
            end,
            co = function() buntime.sleep(0.01) return coroutine.create(print) end,
          }]]),
        consumer = consumer([[
          local ok, deep = pcall(p.deep)
          local ok2, co = pcall(p.co)
          buntime.sleep(0.01)
          return c:json({ ok = ok, deep = deep, ok2 = ok2, co = co })]]),
      },
    }, function(s)
      local got = s:get("/consumer"):json()
      assert.is_false(got.ok)
      assert.matches("nested too deeply", got.deep)
      assert.is_false(got.ok2)
      assert.matches("a thread cannot cross", got.co)
    end)
  end)

  it("are there in onInit already, and load before those who need them", function()
    local early = plugin(
      "name: a-first-by-name\nbase: /early\ndependencies: [provider]",
      [[
      local value
      local routes = require("buntime.router").new()
      routes:get("/", function(c) return c:text(value) end)
      return { routes = routes, onInit = function(ctx) value = ctx.getPlugin("provider").slow() end }]]
    )
    local slow = provider('return { slow = function() buntime.sleep(0.01) return "ready" end }')
    server.with({ plugins = { ["a-first-by-name"] = early, provider = slow } }, function(s)
      assert.equal("ready", s:get("/early").body)
    end)
  end)

  it("of an optional dependency that closes a cycle are there later", function()
    local plugins = {
      a = plugin(
        "name: a\nbase: /a\noptionalDependencies: [b]",
        [[
        local getPlugin, early
        local routes = require("buntime.router").new()
        routes:get("/", function(c)
          return c:text(tostring(early == nil) .. getPlugin("b").name)
        end)
        return {
          routes = routes,
          onInit = function(ctx) getPlugin = ctx.getPlugin; early = getPlugin("b") end,
          provides = function() return {} end,
        }]]
      ),
      b = plugin("name: b\ndependencies: [a]", 'return { provides = function() return { name = "b" } end }'),
    }
    server.with({ plugins = plugins }, function(s)
      assert.equal("trueb", s:get("/a").body)
      local line = s:wait_log("closes a cycle")
      assert.equal("warn", line.level)
      assert.equal("a", line.plugin)
    end)
  end)

  describe("across a reload of the provider", function()
    local function versioned(n)
      return provider(([[
        local v = { get = function() return "object %d" end }
        return {
          name = "data %d",
          get = function() return "call %d" end,
          nested = { get = function() return "nested %d" end },
          object = function() return setmetatable({}, { __index = v }) end,
          closure = function() return function() return "closure %d" end end,
        }]]):format(n, n, n, n, n))["plugin.lua"]
    end

    local KEEPS = [[
      kept = kept or { get = p.get, nested = p.nested, object = p.object(), closure = p.closure() }
      local out = {}
      out.data, out.get, out.field = p.name, kept.get(), kept.nested.get()
      local ok, err = pcall(function() return kept.object:get() end)
      out.object = err
      ok, err = pcall(kept.closure)
      out.closure = err
      out.fresh = p.object():get()
      return c:json(out)]]

    it("kept locals reach the new one, objects and closures of the old one raise", function()
      local plugins = {
        provider = plugin("name: provider", versioned(1)),
        consumer = consumer(KEEPS),
      }
      server.with({ plugins = plugins }, function(s)
        assert.same({
          data = "data 1",
          get = "call 1",
          field = "nested 1",
          object = "object 1",
          closure = "closure 1",
          fresh = "object 1",
        }, s:get("/consumer"):json())

        s:write("provider/plugin.lua", versioned(2))
        assert.equal(200, s:post("/api/plugins/provider/reload").status)
        local after = s:get("/consumer"):json()
        assert.equal("data 2", after.data)
        assert.equal("call 2", after.get)
        assert.equal("nested 2", after.field)
        assert.equal("object 2", after.fresh)
        assert.matches('plugin "provider" is not loaded', after.object)
        assert.matches('plugin "provider" is not loaded', after.closure)
      end)
    end)

    it("a kept optional service raises while it is away and works again after", function()
      local plugins = {
        provider = plugin("name: provider", versioned(1)),
        consumer = consumer(
          "local ok, err = pcall(function() return p.get() end) return c:text(err)",
          "optionalDependencies: [provider]"
        ),
      }
      server.with({ plugins = plugins }, function(s)
        assert.equal("call 1", s:get("/consumer").body)
        local manifest = s:read("provider/manifest.yaml")
        s:write("provider/manifest.yaml", manifest .. "\nenabled: false\n")
        assert.equal(200, s:reload("changed=true").status)
        assert.matches('plugin "provider" is not loaded', s:get("/consumer").body)
        s:write("provider/manifest.yaml", manifest)
        assert.equal(200, s:reload("changed=true").status)
        assert.equal("call 1", s:get("/consumer").body)
      end)
    end)

    it("a call that waits in the old one ends there", function()
      local function slow(n)
        return provider(('return { slow = function() buntime.sleep(0.3) return "slow %d" end }'):format(n))
      end
      local plugins = { provider = slow(1), consumer = consumer("return c:text(p.slow())") }
      server.with({ plugins = plugins }, function(s)
        local bodies = http.parallel(2, function(i)
          if i == 1 then
            return http.request(s.port, "GET", "/consumer").body
          end
          s:write("provider/plugin.lua", slow(2)["plugin.lua"])
          return http.request(s.port, "POST", "/api/plugins/provider/reload").status
        end)
        assert.same({ "slow 1", 200 }, bodies)
        assert.equal("slow 2", s:get("/consumer").body)
      end)
    end)

    -- Seconds that a request to the provider's own route takes, and a call that no request waits for.
    for name, seconds in pairs({ longer = { 0.1, 0.4 }, shorter = { 0.4, 0.1 } }) do
      it("a call in the background ends there, also when it takes " .. name .. " than requests", function()
        local code = [[
          local routes = require("buntime.router").new()
          routes:get("/", function(c)
            buntime.sleep(%g)
            return c:text("request %d")
          end)
          return {
            routes = routes,
            provides = function()
              return { slow = function() buntime.sleep(%g) return "call %d" end }
            end,
          }]]
        local function write(n)
          return plugin("name: provider\nbase: /provider", code:format(seconds[1], n, seconds[2], n))
        end
        local background = [[
          if not kept then
            kept = "waiting"
            require("buntime.task").spawn(function()
              local ok, value = pcall(p.slow)
              kept = value
            end)
          end
          return c:text(kept)]]
        server.with({ plugins = { provider = write(1), consumer = consumer(background) } }, function(s)
          assert.equal("waiting", s:get("/consumer").body)
          local conn = s:connect()
          conn:send(http.format("GET", "/provider", nil, s.port))
          assert.is_truthy(process.eventually(function()
            return s:get("/api/plugins/provider"):json().calls == 1
          end))
          s:write("provider/plugin.lua", write(2)["plugin.lua"])
          assert.equal(200, s:post("/api/plugins/provider/reload").status)
          assert.equal("waiting", s:get("/consumer").body)
          assert.equal("request 1", conn:response().body)
          conn:close()
          local last
          assert.is_truthy(process.eventually(function()
            last = s:get("/consumer").body
            return last ~= "waiting"
          end))
          assert.equal("call 1", last)
        end)
      end)
    end
  end)
end)
