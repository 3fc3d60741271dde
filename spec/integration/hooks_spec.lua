-- onRequest and onResponse: their order, their outcomes, their errors, and who is spared.

local cjson = require("cjson")

local fixtures = require("spec.support.fixtures")
local server = require("spec.support.server")

local plugin, hello = fixtures.plugin, fixtures.hello

--- A plugin whose hooks leave their name in a header.
local function tracer(name, lines)
  return plugin(
    ("name: %s\n%s"):format(name, lines or ""),
    ([[
    local name = %q
    return {
      onRequest = function(req)
        req:set_header("x-trace", (req:header("x-trace") or "") .. name)
        return req
      end,
      onResponse = function(res)
        res.headers["x-trace"] = (res.headers["x-trace"] or "") .. name
      end,
    }]]):format(name)
  )
end

local ECHO = plugin(
  "name: echo\nbase: /echo\npublicRoutes: { GET: ['/echo/open/**', '/echo/one/*'], POST: ['/echo/form'] }",
  [[
  local routes = require("buntime.router").new()
  routes:all("/*", function(c)
    return c:text(c.req:header("x-trace") or "none")
  end)
  return { routes = routes }]]
)

--- A hook whose onRequest runs this code.
local function hook(code, fields)
  local text = "return { %s onRequest = function(req, app) %s end }"
  return plugin("name: hook", text:format(fields or "", code))
end

describe("hooks of the fixtures", function()
  local s

  setup(function()
    s = fixtures.start({ "routes", "server", "gate", "watch" })
  end)
  teardown(function()
    s:stop()
  end)

  it("answer at once with a response or a plain table that is one", function()
    local res = s:get("/blocked")
    assert.equal(403, res.status)
    assert.same({ blocked = true }, res:json())
    assert.equal("closed", res.headers["x-gate"])
    assert.is_truthy(res.headers["x-request-id"])
    res = s:get("/blocked/table")
    assert.equal(451, res.status)
    assert.equal("a plain table", res.body)
  end)

  it("go on with nil", function()
    assert.equal("static", s:get("/routes/users/me").body)
    assert.equal(404, s:get("/nobody").status)
  end)

  it("go on with a changed method, path and body", function()
    local res = s:get("/changed/method")
    assert.equal(200, res.status)
    assert.equal("a body from the hook", res.body)
    assert.equal("POST /routes/echo", res.headers["x-watched"])
  end)

  it("go on with changed headers and a changed query", function()
    local res = s:get("/changed/headers", { headers = { ["X-Removed"] = "still here" } })
    assert.same({ assigned = "assigned", set = "set", seen = "by watch" }, res:json())
    assert.equal("from=hook", s:get("/changed/query?from=client"):json().query)
  end)

  it("are told who is going to answer", function()
    local closed = { headers = { ["X-Gate"] = "closed" } }
    assert.equal("closed for @fixtures/routes", s:get("/routes/", closed).body)
    assert.equal("closed for @fixtures/server", s:get("/absolute", closed).body)
    assert.equal("closed for nobody", s:get("/nobody", closed).body)
    assert.same({
      name = "@fixtures/routes",
      kind = "plugin",
      base = "/routes",
      version = "1.2.3",
      dir = "plugins/routes",
    }, cjson.decode(s:get("/routes/").headers["x-app"]))
  end)

  it("are spared by public routes, unless they say that those concern them too", function()
    local closed = { headers = { ["X-Gate"] = "closed" } }
    assert.equal("public", s:get("/hooked/public", closed).body)
    assert.equal("public x", s:get("/absolute/public/x", closed).body)
    assert.equal(200, s:get("/fetched/public/a/b", closed).status)
    assert.equal(403, s:get("/hooked/public/more", closed).status)
    assert.equal(403, s:request("POST", "/absolute/public/x", closed).status)
    assert.equal(403, s:get("/absolute/public/x/y", closed).status)
    assert.equal(403, s:get("/hooked/headers", closed).status)
  end)

  it("change status and headers of responses", function()
    assert.equal(418, s:get("/hooked/respond/status").status)
    local res = s:get("/hooked/respond/headers")
    assert.equal(200, res.status)
    assert.is_nil(res.headers["x-original"])
    assert.equal("one, two", res.headers["x-added"])
    assert.equal("original", res.body)
  end)

  it("see every response: errors, 404 and those of other hooks", function()
    for _, target in ipairs({ "/nobody", "/blocked", "/routes/methods", "/routes/fail/answer" }) do
      assert.equal("GET " .. target, s:get(target).headers["x-watched"])
    end
    s:allow_errors("it broke")
    local res = s:get("/routes/fail")
    assert.equal(500, res.status)
    assert.equal("GET /routes/fail", res.headers["x-watched"])
  end)

  it("that raise in onResponse, or make nonsense of it, leave the last good response", function()
    s:allow_errors("onResponse broke", "status must be an integer")
    for _, what in ipairs({ "raise", "bad" }) do
      local res = s:get("/hooked/respond/" .. what)
      assert.equal(200, res.status)
      assert.equal("original", res.body)
      assert.equal("yes", res.headers["x-original"])
      assert.is_nil(res.headers["x-watched"])
      local line = s:wait_log(function(line)
        return line.requestId == res.headers["x-request-id"] and line.level == "error"
      end)
      assert.equal("onResponse", line.phase)
      assert.equal("@fixtures/watch", line.plugin)
      assert.is_truthy(line.traceback:find("plugins/watch/plugin.lua:", 1, true) or what == "bad")
    end
  end)

  it("that fail open are logged, and the next one goes on", function()
    s:allow_errors("watch broke")
    local res = s:get("/hooked/headers", { headers = { ["X-Break-Watch"] = "1" } })
    assert.equal(200, res.status)
    assert.is_nil(res:json().seen)
    assert.equal(1, #s:errors() > 0 and 1 or 0)
  end)

  it("do not see the control plane or discovery", function()
    local closed = { headers = { ["X-Gate"] = "closed" } }
    for _, target in ipairs({ "/api/health", "/.well-known/buntime", "/api/no/such" }) do
      local res = s:get(target, closed)
      assert.not_equal(403, res.status, target)
      assert.is_nil(res.headers["x-watched"], target)
    end
  end)
end)

describe("hooks", function()
  after_each(server.stop_all)

  it("run in load order, for requests and for responses", function()
    local plugins = {
      a = tracer("a", "dependencies: [c]"),
      b = tracer("b"),
      c = tracer("c"),
      echo = ECHO,
    }
    server.with({ plugins = plugins }, function(s)
      local res = s:get("/echo/x")
      assert.equal("bca", res.body)
      assert.equal("bca", res.headers["x-trace"])
    end)
  end)

  it("skip later hooks, but not onResponse, once one has answered", function()
    local plugins = {
      a = tracer("a"),
      hook = hook('return { status = 403, body = req:header("x-trace") }'),
      z = tracer("z"),
    }
    server.with({ plugins = plugins }, function(s)
      local res = s:get("/echo/x")
      assert.equal(403, res.status)
      assert.equal("a", res.body)
      assert.equal("az", res.headers["x-trace"])
    end)
  end)

  it("may wait", function()
    local plugins = { hook = hook("buntime.sleep(0.01) return req"), echo = ECHO }
    server.with({ plugins = plugins }, function(s)
      assert.equal("none", s:get("/echo/x").body)
    end)
  end)

  it("that raise answer 503 PLUGIN_ONREQUEST_FAILED and nothing else runs", function()
    local broken = {
      ["hook broke"] = 'error("hook broke")',
      ["a response; got number"] = "return 7",
      ["without a status"] = "return {}",
      ["request.path was set"] = 'req.path = "no slash" return req',
      ["is no method"] = 'req.method = "B A D" return req',
      ["hook broke later"] = 'buntime.sleep(0) error("hook broke later")',
    }
    for message, code in pairs(broken) do
      server.with({ plugins = { hook = hook(code), echo = ECHO } }, function(s)
        s:allow_errors(message)
        local res = s:get("/echo/x")
        assert.equal(503, res.status, message)
        assert.equal("PLUGIN_ONREQUEST_FAILED", res:json().code)
        assert.is_nil(res.body:find("broke", 1, true), "nothing of the error gets out")
        local line = s:wait_log(message)
        assert.equal("hook", line.plugin)
        assert.equal("onRequest", line.phase)
        assert.equal(res.headers["x-request-id"], line.requestId)
      end)
    end
  end)

  it("that raise and fail open let the request go on as it was", function()
    local broken = hook('req.path = "/echo/changed" error("hook broke")', "onRequestFailOpen = true,")
    server.with({ plugins = { hook = broken, echo = ECHO } }, function(s)
      s:allow_errors("hook broke")
      assert.equal("none", s:get("/echo/x").body)
      assert.equal(1, #s:errors())
    end)
  end)

  it("skip public routes by method and pattern", function()
    local plugins = { hook = hook("return { status = 403 }"), echo = ECHO, other = hello("other", "x") }
    server.with({ plugins = plugins }, function(s)
      local cases = {
        { "GET", "/echo/open/x", 200 },
        { "GET", "/echo/open/x/y", 200 },
        { "POST", "/echo/open/x", 403 },
        { "POST", "/echo/form", 200 },
        { "GET", "/echo/form", 403 },
        { "GET", "/echo/opens", 403 },
        { "GET", "/echo/%6fpen/x", 403 }, -- spelled as in the manifest, or not public
        { "GET", "/echo/open/../secret", 403 },
        { "GET", "/echo/open/%2e%2e/secret", 403 },
        { "GET", "/echo/one/x", 200 },
        { "GET", "/echo/one/%C3%A9", 200 },
        { "GET", "/echo/one/x%2Fsecret", 403 }, -- one segment to the router, two to who unescapes all
        { "GET", "/echo/one/x%5csecret", 403 },
        { "GET", "/echo/one/x%252Fsecret", 403 },
        { "GET", "/echo/open/x%2Fy", 200 },
        { "GET", "/other/echo/open/x", 403 },
        { "GET", "/other", 403 },
      }
      for _, case in ipairs(cases) do
        assert.equal(case[3], s:request(case[1], case[2]).status, case[1] .. " " .. case[2])
      end
    end)
  end)

  it("run for public routes with onRequestPublic", function()
    local plugins = { hook = hook("return { status = 429 }", "onRequestPublic = true,"), echo = ECHO }
    server.with({ plugins = plugins }, function(s)
      assert.equal(429, s:get("/echo/open/x").status)
    end)
  end)
end)
