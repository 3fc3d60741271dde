local Router = require("buntime.router")
local errors = require("buntime.error")
local response = require("buntime.response")

--- A handler that says its name and the parameters asked for.
local function say(name, ...)
  local wanted = { ... }
  return function(c)
    local out = { name }
    for _, param in ipairs(wanted) do
      out[#out + 1] = param .. "=" .. tostring(c.req:param(param))
    end
    return table.concat(out, " ")
  end
end

local function trail(c, word)
  c.var.trail = (c.var.trail or "") .. word
end

--- Middleware that leaves its name on the way in and out, and puts the trail into a header.
local function mark(name)
  return function(c, next)
    trail(c, name .. ">")
    next()
    trail(c, "<" .. name)
    c:header("x-trail", c.var.trail)
  end
end

local function text(routes, path, init)
  local res = routes:request(path, init)
  return res:text(), res.status, res
end

local function raises(message, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_truthy(tostring(err):find(message, 1, true), tostring(err))
  return err
end

describe("routes", function()
  for _, order in ipairs({ "forward", "backward" }) do
    describe("registered " .. order, function()
      local routes = Router.new()
      local list = {
        { "/", say("root") },
        { "/users/me", say("me") },
        { "/users/:id{%d+}", say("number", "id") },
        { "/users/:name", say("name", "name") },
        { "/users/*", say("rest", "*") },
        { "/users/:id/posts", say("posts", "id") },
        { "/files/*", say("files", "*") },
        { "/opt/:a?", say("opt", "a") },
        { "/a/*/c", say("middle") },
        { "/café", say("utf8") },
      }
      for i = 1, #list do
        local item = list[order == "forward" and i or #list + 1 - i]
        routes:get(item[1], item[2])
      end

      for path, expected in pairs({
        ["/"] = "root",
        ["/users/me"] = "me",
        ["/users/12"] = "number id=12",
        ["/users/12x"] = "name name=12x",
        ["/users/a%20b"] = "name name=a b",
        ["/users/%31%32"] = "number id=12",
        ["/users/a%2Fb"] = "name name=a/b",
        ["/users/a+b"] = "name name=a+b",
        ["/users/12/posts"] = "posts id=12",
        ["/users/12/other"] = "rest *=12/other",
        ["/files/a/b/c.txt?x=1"] = "files *=a/b/c.txt",
        ["/files/"] = "files *=",
        ["/opt"] = "opt a=nil",
        ["/opt/x"] = "opt a=x",
        ["/a/b/c"] = "middle",
        ["/caf%C3%A9"] = "utf8",
      }) do
        it("answer " .. path, function()
          assert.equal(expected, (text(routes, path)))
        end)
      end

      it("leave the rest to others", function()
        local _, status, res = text(routes, "/nothing")
        assert.equal(404, status)
        assert.equal("NOT_FOUND", res:json().code)
      end)
    end)
  end

  it("are tried in other branches when one fails further on", function()
    local routes = Router.new()
    routes:get("/a/b/c", say("static"))
    routes:get("/:x/b/d", say("param", "x"))
    assert.equal("param x=a", (text(routes, "/a/b/d")))
  end)

  it("of several methods", function()
    local routes = Router.new()
    routes:on({ "get", "PURGE" }, "/a", say("both"))
    routes:on("POST", "/a", say("post"))
    routes:all("/any", say("any"))
    assert.equal("both", (text(routes, "/a")))
    assert.equal("both", (text(routes, "/a", { method = "PURGE" })))
    assert.equal("post", (text(routes, "/a", { method = "POST" })))
    for _, method in ipairs({ "GET", "DELETE", "OPTIONS", "BREW" }) do
      assert.equal("any", (text(routes, "/any", { method = method })))
    end
  end)

  it("have a verb for each usual method", function()
    local routes = Router.new()
    for _, verb in ipairs({ "get", "post", "put", "patch", "delete", "options" }) do
      assert.equal(routes, routes[verb](routes, "/" .. verb, say(verb)))
      assert.equal(verb, (text(routes, "/" .. verb, { method = verb:upper() })))
    end
    routes:head("/only-head", function(c)
      return c:body(nil, 200, { ["x-head"] = "1" })
    end)
    assert.equal("1", routes:request("/only-head", { method = "HEAD" }).headers["x-head"])
  end)

  it("can be added after the first request", function()
    local routes = Router.new()
    routes:get("/a", say("a"))
    assert.equal(404, select(2, text(routes, "/b")))
    routes:get("/b", say("b"))
    assert.equal("b", (text(routes, "/b")))
  end)

  for title, case in pairs({
    ["a relative path"] = { "get", { "a", say("x") }, 'router:get: path must start with /, got "a"' },
    ["no path"] = { "get", { say("x") }, "router:get: path must be a string, got function" },
    ["no handler"] = { "post", { "/a" }, "router:post: a function is missing" },
    ["a handler that is none"] = { "put", { "/a", "x" }, "router:put: expected a function, got string" },
    ["a description of its own kind"] = { "get", { "/a", { sumary = "x" }, say("x") }, "sumary" },
    ["a summary that is none"] = { "get", { "/a", { summary = 1 }, say("x") }, "must be a string" },
    ["a status that is none"] = { "get", { "/a", { responses = { ok = "x" } }, say("x") }, "not a status" },
    ["a nameless param"] = { "get", { "/a", { params = { {} } }, say("x") }, "table with a name" },
    ["a param in a strange place"] = {
      "get",
      { "/a", { params = { { name = "a", ["in"] = "body" } } }, say("x") },
      "got body",
    },
    ["a description alone"] = { "get", { "/a", { summary = "x" } }, "a function is missing" },
    ["a middleware that is none"] = { "get", { "/a", false, say("x") }, "expected a function, got boolean" },
    ["a bad method"] = { "on", { "G T", "/a", say("x") }, "router:on: method must be a word such as GET" },
    ["no method"] = { "on", { {}, "/a", say("x") }, "router:on: method must be" },
    ["a wildcard and more"] = { "get", { "/a/:b?/c", say("x") }, "router:get: " },
    ["a broken pattern"] = { "get", { "/a/:b{", say("x") }, "router:get: " },
    ["no router"] = { "route", { "/a", {} }, "router:route: expected a router, got table" },
    ["a mount below a wildcard"] = { "route", { "/*", Router.new() }, "routes cannot be mounted below" },
    ["a use of nothing"] = { "use", { "/a" }, "router:use: a function is missing" },
    ["a use of a table"] = { "use", { {} }, "router:use: expected a function, got table" },
    ["ws handlers that are none"] = { "ws", { "/a", 5 }, "router:ws: handlers must be a table" },
    ["a not_found that is none"] = { "not_found", {}, "router:not_found: expected a function" },
  }) do
    it("refuse " .. title .. " at the caller's line", function()
      local routes = Router.new()
      local err = raises(case[3], function()
        routes[case[1]](routes, unpack(case[2]))
      end)
      assert.matches("router_spec.lua:%d+: ", err)
    end)
  end
end)

describe("methods", function()
  local routes = Router.new()
  routes:get("/a", function(c)
    return c:json({ method = c.req.method })
  end)
  routes:post("/a", say("post"))

  it("that a path does not have are 405 with Allow", function()
    local res = routes:request("/a", { method = "DELETE" })
    assert.equal(405, res.status)
    assert.equal("GET, HEAD, OPTIONS, POST", res.headers.allow)
    assert.equal("METHOD_NOT_ALLOWED", res:json().code)
    assert.equal(false, res:json().success)
    assert.equal(res.headers["x-request-id"], res:json().requestId)
  end)

  it("OPTIONS is 204 with Allow unless a route answers it", function()
    local res = routes:request("/a", { method = "OPTIONS" })
    assert.equal(204, res.status)
    assert.equal("GET, HEAD, OPTIONS, POST", res.headers.allow)
    assert.equal(404, routes:request("/b", { method = "OPTIONS" }).status)
  end)

  it("HEAD is GET without a body", function()
    local res = routes:request("/a", { method = "HEAD" })
    assert.equal(200, res.status)
    assert.equal("application/json", res.headers["content-type"])
    assert.equal("", res:text())
  end)

  it("OPTIONS goes through middleware, so that it can be answered there", function()
    local guarded = Router.new()
    guarded:use(mark("a"))
    guarded:get("/a", say("x"))
    assert.equal("a><a", guarded:request("/a", { method = "OPTIONS" }).headers["x-trail"])
  end)
end)

describe("middleware", function()
  it("runs in the order of registration, around the routes that follow", function()
    local routes = Router.new()
    routes:get("/before", say("x"))
    routes:use(mark("a"))
    routes:use("/deep", mark("b"))
    routes:get("/deep/x", mark("own"), say("x"))
    routes:get("/other", say("x"))
    assert.is_nil(routes:request("/before").headers["x-trail"])
    assert.equal("a>b>own><own<b<a", routes:request("/deep/x").headers["x-trail"])
    assert.equal("a><a", routes:request("/other").headers["x-trail"])
  end)

  it("runs for matched routes only", function()
    local routes, ran = Router.new(), false
    routes:use(function(_, next)
      ran = true
      next()
    end)
    routes:get("/a", say("a"))
    assert.equal(404, routes:request("/b").status)
    assert.is_false(ran)
  end)

  it("added later is not run for OPTIONS either", function()
    local routes = Router.new()
    routes:use(mark("a"))
    routes:get("/x", say("x"))
    routes:use(mark("b"))
    routes:get("/y", say("y"))
    assert.equal("a><a", routes:request("/x", { method = "OPTIONS" }).headers["x-trail"])
    assert.equal("a>b><b<a", routes:request("/y", { method = "OPTIONS" }).headers["x-trail"])
  end)

  it("takes several at once, and * for everything", function()
    local routes = Router.new()
    routes:use("*", mark("a"), mark("b"))
    routes:use(mark("c"), mark("d"))
    routes:get("/x", say("x"))
    assert.equal("a>b>c>d><d<c<b<a", routes:request("/x").headers["x-trail"])
  end)

  it("at a path covers what is below, and decides by the request where it must", function()
    local routes = Router.new()
    routes:use("/admin", mark("a"))
    routes:get("/:section/x", say("x", "section"))
    routes:get("/*", say("rest"))
    for path, expected in pairs({
      ["/admin/x"] = "a><a",
      ["/%61dmin/x"] = "a><a",
      ["/admin"] = "a><a",
      ["/admin/"] = "a><a",
      ["/admin/y/z"] = "a><a",
      ["/user/x"] = false,
      ["/administrator"] = false,
    }) do
      assert.equal(expected or nil, routes:request(path).headers["x-trail"], path)
    end
  end)

  it("sees its own parameters, the route its own", function()
    local routes, seen = Router.new(), {}
    routes:use("/orgs/:id", function(c, next)
      seen[1] = c.req:param("id")
      next()
      seen[2] = c.req:param("id")
    end)
    routes:get("/orgs/:org/users/:id", say("user", "org", "id"))
    assert.equal("user org=7 id=9", (text(routes, "/orgs/7/users/9")))
    assert.same({ "7", "7" }, seen)
  end)

  it("may answer, replace and change", function()
    local routes = Router.new()
    routes:use("/stop", function(c)
      return c:json({ stopped = true }, 401)
    end)
    routes:use("/replace", function(c, next)
      local res = next()
      return c:text(res:text() .. "!")
    end)
    routes:use("/change", function(c, next)
      next()
      c.res.headers["X-Changed"] = "1"
      c:status(418)
    end)
    routes:get("/stop", say("never"))
    routes:get("/replace", say("hi"))
    routes:get("/change", say("hi"))
    assert.equal(401, routes:request("/stop").status)
    assert.equal("hi!", (text(routes, "/replace")))
    local res = routes:request("/change")
    assert.equal("1", res.headers["x-changed"])
    assert.equal(418, res.status)
  end)

  it("that neither answers nor passes on is an error with its place", function()
    local routes = Router.new()
    routes:use(function() end)
    routes:get("/a", say("a"))
    local res = routes:request("/a")
    assert.equal(500, res.status)
    assert.matches("router_spec.lua:%d+: GET /a stands in the way", res.error)
  end)

  it("may not call next() twice", function()
    local routes = Router.new()
    routes:use(function(_, next)
      next()
      next()
    end)
    routes:get("/a", say("a"))
    assert.matches("next%(%) called twice", routes:request("/a").error)
  end)
end)

describe("surround", function()
  it("stands around everything, also what came before", function()
    local routes, sub = Router.new(), Router.new()
    sub:get("/x", say("x"))
    routes:get("/a", say("a"))
    routes:use(mark("use"))
    routes:get("/b", say("b"))
    routes:route("/sub", sub)
    assert.equal("use><use", routes:request("/b").headers["x-trail"])
    routes:surround({ mark("1"), mark("2") })
    assert.equal("1>2><2<1", routes:request("/a").headers["x-trail"])
    assert.equal("1>2>use><use<2<1", routes:request("/b").headers["x-trail"])
    assert.equal("1>2>use><use<2<1", routes:request("/sub/x").headers["x-trail"])
    assert.equal(404, routes:request("/none").status)
  end)
end)

describe("mounted routers", function()
  local function build()
    local routes, admin, deep = Router.new(), Router.new(), Router.new()
    routes:use(mark("root"))
    admin:use(mark("admin"))
    admin:get("/", say("index"))
    admin:get("/users/:id", say("user", "id"))
    deep:get("/x", say("deep", "area"))
    admin:route("/:area/deep", deep)
    routes:route("/admin", admin)
    routes:get("/admin/static", say("static"))
    return routes, admin
  end

  for path, expected in pairs({
    ["/admin"] = "index root>admin><admin<root",
    ["/admin/users/5"] = "user id=5 root>admin><admin<root",
    ["/admin/a/deep/x"] = "deep area=a root>admin><admin<root",
    ["/admin/static"] = "static root><root",
  }) do
    it("answer " .. path, function()
      local body, _, res = text(build(), path)
      assert.equal(expected, body .. " " .. res.headers["x-trail"])
    end)
  end

  it("take routes that are added later", function()
    local routes, admin = build()
    assert.equal(404, routes:request("/admin/later").status)
    admin:get("/later", say("later"))
    assert.equal("later", (text(routes, "/admin/later")))
  end)

  it("can be mounted twice and at /", function()
    local routes, sub = Router.new(), Router.new()
    sub:get("/x", say("x"))
    routes:route("/a", sub):route("/b", sub):route("/", sub)
    for _, path in ipairs({ "/a/x", "/b/x", "/x" }) do
      assert.equal("x", (text(routes, path)))
    end
  end)

  it("cannot be mounted into themselves", function()
    local a, b = Router.new(), Router.new()
    raises("into itself", a.route, a, "/a", a)
    a:route("/b", b)
    raises("into itself", b.route, b, "/a", a)
  end)
end)

describe("not_found", function()
  it("answers what no route matches, through the middleware that covers it", function()
    local routes = Router.new()
    routes:use(mark("a"))
    routes:use("/deep", mark("b"))
    routes:get("/x", say("x"))
    routes:not_found(function(c)
      return c:json({ missing = c.req.path })
    end)
    local res = routes:request("/y")
    assert.equal(404, res.status)
    assert.same({ missing = "/y" }, res:json())
    assert.equal("a><a", res.headers["x-trail"])
    assert.equal("a>b><b<a", routes:request("/deep/y").headers["x-trail"])
    assert.equal(404, routes:request("/").status)
  end)

  it("is what c:not_found() answers", function()
    local routes = Router.new()
    routes:get("/x", function(c)
      return c:not_found()
    end)
    assert.equal("NOT_FOUND", routes:request("/x"):json().code)
    routes:not_found(say("custom"))
    local body, status = text(routes, "/x")
    assert.equal("custom 404", body .. " " .. status)
  end)

  it("may call c:not_found() for the usual answer", function()
    local routes = Router.new():not_found(function(c)
      return c:not_found()
    end)
    local res = routes:request("/x")
    assert.equal(404, res.status)
    assert.equal("NOT_FOUND", res:json().code)
  end)

  it("of a mounted router covers its path alone", function()
    local routes, sub = Router.new(), Router.new()
    sub:get("/x", say("x"))
    sub:not_found(say("sub"))
    routes:route("/sub", sub)
    routes:get("/y", say("y"))
    assert.equal("sub", (text(routes, "/sub/none")))
    assert.equal("sub", (text(routes, "/sub")))
    assert.equal("NOT_FOUND", routes:request("/none"):json().code)
    routes:not_found(say("root"))
    assert.equal("root", (text(routes, "/none")))
    assert.equal("sub", (text(routes, "/sub/none")))
  end)

  it("may use another status, and does not hide 405", function()
    local routes = Router.new()
    routes:get("/x", say("x"))
    routes:not_found(function(c)
      return c:redirect("/x")
    end)
    assert.equal(302, routes:request("/y").status)
    assert.equal(405, routes:request("/x", { method = "POST" }).status)
  end)
end)

describe("errors", function()
  local function failing(err)
    local routes = Router.new()
    routes:get("/x", function(c)
      c:header("x-before", "1")
      error(err, 0)
    end)
    return routes
  end

  it("of a handler go to the caller", function()
    local routes = failing("boom")
    local req = require("buntime.testing").new_request("/x")
    raises("boom", routes.handle, routes, req)
    local res = routes:request("/x")
    assert.equal(500, res.status)
    assert.equal("INTERNAL_SERVER_ERROR", res:json().code)
    assert.equal("boom", res:json().message)
    assert.equal("boom", res.error)
    assert.matches("router_spec.lua", res.traceback)
  end)

  it("with a status are answers", function()
    local res = failing(errors.new(409, "TAKEN", "there is one")):request("/x")
    assert.equal(409, res.status)
    assert.same(
      { success = false, code = "TAKEN", message = "there is one", requestId = res.headers["x-request-id"] },
      res:json()
    )
    assert.equal("NOT_FOUND", failing({ status = 404 }):request("/x"):json().code)
    assert.equal(500, failing({ status = 200 }):request("/x").status)
    assert.equal(500, failing({ status = "404" }):request("/x").status)
  end)

  it("are what on_error answers", function()
    local seen = {}
    local routes = failing("boom"):on_error(function(err, c, traceback)
      seen = { err = err, path = c.req.path, traceback = traceback }
      return c:json({ mended = true }, 503)
    end)
    local res = routes:request("/x")
    assert.equal(503, res.status)
    assert.same({ mended = true }, res:json())
    assert.equal("1", res.headers["x-before"])
    assert.equal("boom", seen.err)
    assert.equal("/x", seen.path)
    assert.matches("boom.*router_spec.lua", seen.traceback)
  end)

  it("are passed on by an on_error that answers nothing", function()
    local calls = 0
    local function ignore()
      calls = calls + 1
    end
    assert.equal("boom", failing("boom"):on_error(ignore):request("/x").error)
    assert.equal(409, failing(errors.new(409, "A", "b")):on_error(ignore):request("/x").status)
    assert.equal(2, calls)
  end)

  it("after next() do not let the answer out that was there", function()
    local routes = Router.new()
    routes:use(function(_, next)
      next()
      error("late", 0)
    end)
    routes:get("/x", say("x"))
    routes:on_error(function() end)
    local res = routes:request("/x")
    assert.equal(500, res.status)
    assert.equal("late", res.error)
  end)

  it("of a mounted router go to its own on_error first", function()
    local routes, sub = Router.new(), failing("boom")
    sub:on_error(function(err)
      if err == "boom" then
        error("worse", 0)
      end
    end)
    routes:use(mark("a"))
    routes:on_error(function(err)
      return 502, err
    end)
    routes:route("/sub", sub)
    local body, status = text(routes, "/sub/x")
    assert.equal("worse 502", body .. " " .. status)
  end)

  it("of middleware go to on_error as well", function()
    local routes = Router.new()
    routes:use(function()
      error("early", 0)
    end)
    routes:get("/x", say("x"))
    routes:on_error(function(err)
      return err
    end)
    assert.equal("early", (text(routes, "/x")))
  end)
end)

describe("ws", function()
  it("answers 426 to a plain GET, and gives way to a GET route", function()
    local routes = Router.new()
    routes:ws("/chat", {})
    routes:ws("/both")
    routes:get("/both", say("plain"))
    local res = routes:request("/chat")
    assert.equal(426, res.status)
    assert.equal("websocket", res.headers.upgrade)
    assert.equal("UPGRADE_REQUIRED", res:json().code)
    assert.equal("plain", (text(routes, "/both")))
  end)
end)

describe("handle and dispatch", function()
  local routes = Router.new()
  routes:get("/x", say("x"))

  it("tell whether the request was theirs", function()
    local testing, core = require("buntime.testing"), require("buntime.core.request")
    local mine, other = testing.new_request("/x"), testing.new_request("/y")
    assert.is_nil(routes:handle(other))
    assert.is_false(routes:dispatch(other))
    assert.is_nil(core.response_view(other))
    assert.is_true(response.is(routes:handle(mine)))
    assert.is_true(routes:dispatch(mine))
    assert.equal("x", core.response_view(mine).body)
  end)
end)

describe("what routes say of themselves", function()
  local describe_routes = require("buntime.describe").list

  it("is told in order, below the paths of mounts, and statuses are text", function()
    local inner, routes = Router.new(), Router.new()
    inner:get("/", { summary = "inside" }, say("x"))
    inner:on({ "PUT", "patch" }, "/:id", say("x"), say("x"))
    routes:post("/a", { responses = { [201] = "made" } }, say("x"))
    routes:route("/in", inner)
    routes:all("/all", { hidden = true }, say("x"))
    routes:all("*", say("x"))
    routes:ws("/socket", {})
    local got = {}
    for i, route in ipairs(describe_routes(routes)) do
      got[i] = route.method .. " " .. route.path
    end
    assert.same({ "POST /a", "GET /in", "PUT /in/:id", "PATCH /in/:id", "ALL /*", "WS /socket" }, got)
    assert.same({ ["201"] = "made" }, describe_routes(routes)[1].doc.responses)
    assert.equal("inside", describe_routes(routes)[2].doc.summary)
  end)

  it("does not stand in the way of answering", function()
    local routes = Router.new():get("/", { summary = "x" }, say("hi"))
    assert.equal("hi", routes:request("/"):text())
  end)
end)
