local Router = require("buntime.router")
local response = require("buntime.response")

--- Answers GET /x with `handler`.
local function answer(handler, init)
  local routes = Router.new()
  routes:get("/x", handler)
  return routes:request("/x", init)
end

local JSON, TEXT, HTML = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"

describe("an answer", function()
  for title, case in pairs({
    ["c:json"] = { "json", { { 1, 2 } }, 200, JSON, "[1,2]" },
    ["c:json with a status"] = { "json", { { a = 1 }, 201 }, 201, JSON, '{"a":1}' },
    ["c:text"] = { "text", { "hi" }, 200, TEXT, "hi" },
    ["c:text of a number"] = { "text", { 5, 202 }, 202, TEXT, "5" },
    ["c:html"] = { "html", { "<p>" }, 200, HTML, "<p>" },
    ["c:body"] = { "body", { "\0\1" }, 200, nil, "\0\1" },
    ["c:body with its type"] = { "body", { "x", 200, { ["Content-Type"] = "a/b" } }, 200, "a/b", "x" },
    ["c:body of nothing"] = { "body", { nil, 204 }, 204, nil, "" },
    ["c:not_found"] = { "not_found", {}, 404, JSON },
  }) do
    it("by " .. title, function()
      local res = answer(function(c)
        return c[case[1]](c, unpack(case[2], 1, 3))
      end)
      assert.equal(case[3], res.status)
      assert.equal(case[4], res.headers["content-type"])
      if case[5] then
        assert.equal(case[5], res:text())
      end
    end)
  end

  for title, case in pairs({
    ["a string"] = { { "hi" }, 200, TEXT, "hi" },
    ["a table"] = { { { ok = true } }, 200, JSON, '{"ok":true}' },
    ["a table with a status in it"] = { { { status = 404 } }, 200, JSON, '{"status":404}' },
    ["a Response"] = { { response.new("x", { status = 202 }) }, 202, TEXT, "x" },
    ["a status and a string"] = { { 201, "made" }, 201, TEXT, "made" },
    ["a status and a table"] = { { 201, { 1 } }, 201, JSON, "[1]" },
    ["a status and a Response"] = { { 201, response.json({ 1 }) }, 201, JSON, "[1]" },
    ["a status alone"] = { { 204 }, 204, nil, "" },
  }) do
    it("may be " .. title, function()
      local res = answer(function()
        return unpack(case[1])
      end)
      assert.equal(case[2], res.status)
      assert.equal(case[3], res.headers["content-type"])
      assert.equal(case[4], res:text())
    end)
  end

  it("may be set as c.res", function()
    local res = answer(function(c)
      c.res = c:text("set")
    end)
    assert.equal("set", res:text())
    res = answer(function(c)
      c.res = { status = 202, body = "plain" }
    end)
    assert.equal(202, res.status)
    assert.equal("plain", res:text())
  end)

  for title, case in pairs({
    ["nothing"] = { {}, "GET /x returned nothing, and c.res is not set" },
    ["a boolean"] = { { true }, "GET /x returned a boolean" },
    ["a function"] = { { print }, "GET /x returned a function" },
    ["a string and more"] = { { "x", 200 }, "GET /x returned a string and a number" },
    ["a status and a function"] = { { 200, print }, "GET /x returned a status and a function" },
    ["a status below 200"] = { { 199, "x" }, "GET /x answered with status 199" },
    ["a status above 599"] = { { 600, "x" }, "GET /x answered with status 600" },
    ["a status with a fraction"] = { { 200.5, "x" }, "GET /x answered with status 200.5" },
    ["no status at all"] = { { 0 / 0, "x" }, "GET /x answered with status" },
  }) do
    it("may not be " .. title, function()
      local res = answer(function()
        return unpack(case[1])
      end)
      assert.equal(500, res.status)
      assert.matches("context_spec.lua:%d+: ", res.error)
      assert.is_truthy(res.error:find(case[2], 1, true), res.error)
    end)
  end

  it("may not have its status spoilt afterwards", function()
    local res = answer(function(c)
      local made = c:json({})
      made.status = "200"
      return made
    end)
    assert.is_truthy(res.error:find("answered with status 200", 1, true), res.error)
  end)
end)

describe("misuse", function()
  for title, case in pairs({
    ["a status"] = { "json", { {}, 99 }, "c:json: status must be an integer from 200 to 599, got 99" },
    ["a status of a string"] = { "text", { "x", "200" }, "c:text: status must be" },
    ["headers"] = { "text", { "x", 200, "y" }, "c:text: headers must be a table, got string" },
    ["a header"] = { "text", { "x", 200, { a = "b\r\nc: d" } }, 'the value of header "a" has a control' },
    ["a body"] = { "html", { {} }, "c:html: the body must be a string, got table" },
    ["a location"] = { "redirect", { "/a\r\nSet-Cookie: x=1" }, "c:redirect: the value of header" },
    ["a redirect's status"] = { "redirect", { "/a", 200 }, "status must be from 300 to 399, got 200" },
    ["a header's value"] = { "header", { "x", "a\nb" }, 'c:header: the value of header "x" has a control' },
    ["a header's name"] = { "header", { "x y", "a" }, 'c:header: "x y" is not a header\'s name' },
    ["a header's type"] = { "header", { "x", {} }, 'c:header: the value of header "x" must be a string' },
    ["c:status"] = { "status", { 1000 }, "c:status: status must be an integer" },
    ["a JSON value"] = { "json", { { x = 0 / 0 } }, "json.encode: x: number is NaN" },
    ["a JSON value and a status"] = { "json", { { print }, 201 }, "[1]: cannot encode a function" },
    ["a cookie"] = { "cookie", { "a b", "x" }, 'c:cookie: "a b" is not a cookie\'s name' },
  }) do
    for how, handler in pairs({
      called = function(c)
        local res = c[case[1]](c, unpack(case[2], 1, 3))
        return res
      end,
      ["tail-called"] = function(c)
        return c[case[1]](c, unpack(case[2], 1, 3))
      end,
    }) do
      it(("of %s, %s, names the place"):format(title, how), function()
        local res = answer(handler)
        assert.equal(500, res.status)
        assert.is_truthy(res.error:find(case[3], 1, true), res.error)
        -- The line of the call; of the handler itself where the call has left it.
        local line = debug.getinfo(handler, "S").linedefined + (how == "called" and 1 or 0)
        assert.is_truthy(res.error:find("context_spec.lua:" .. line .. ": ", 1, true), res.error)
      end)
    end
  end
end)

describe("a table that is no JSON", function()
  for how, handler in pairs({
    returned = function()
      return { x = 0 / 0 }
    end,
    ["returned with a status"] = function()
      return 201, { x = 0 / 0 }
    end,
  }) do
    it(how .. " is told with the handler's place", function()
      local res = answer(handler)
      assert.equal(500, res.status)
      local line = debug.getinfo(handler, "S").linedefined
      local message = "context_spec.lua:" .. line .. ": json.encode: x: number is NaN"
      assert.is_truthy(res.error:find(message, 1, true), res.error)
    end)
  end

  it("is told with the line that made a response of it", function()
    local ok, err = pcall(function()
      local res = response.json({ x = 0 / 0 })
      return res
    end)
    assert.is_false(ok)
    assert.matches("context_spec%.lua:%d+: json%.encode: x: number is NaN", err)
  end)
end)

describe("misuse in a tail call", function()
  it("is not blamed on who asked for the answer", function()
    local routes = Router.new()
    local function handler(c)
      return c:json({}, 99)
    end
    routes:get("/x", handler)
    local req = require("buntime.testing").new_request("/x")
    local _, err = pcall(function()
      local res = routes:handle(req)
      return res
    end)
    local line = debug.getinfo(handler, "S").linedefined
    assert.is_truthy(err:find("context_spec.lua:" .. line .. ": ", 1, true), err)
  end)
end)

describe("headers", function()
  it("set before go into whatever the handler returns", function()
    for _, make in ipairs({
      function(c)
        return c:json({})
      end,
      function()
        return "text"
      end,
      function()
        return response.new("x")
      end,
      function()
        return 204
      end,
    }) do
      local res = answer(function(c)
        c:header("X-A", "1")
        c:cookie("s", "v")
        return make(c)
      end)
      assert.equal("1", res.headers["x-a"])
      assert.equal("s=v; Path=/", res.headers["set-cookie"])
    end
  end)

  it("of the response win over those set before", function()
    local res = answer(function(c)
      c:header("Content-Type", "a/b")
      c:header("x", "1")
      return c:text("x", 200, { X = "2" })
    end)
    assert.equal(TEXT, res.headers["content-type"])
    assert.equal("2", res.headers.x)
  end)

  it("can be replaced, added and removed", function()
    local res = answer(function(c)
      c:header("a", "1")
      c:header("A", "2")
      c:header("b", "1", true)
      c:header("b", 2, true)
      c:header("b", "3", true)
      c:header("c", "1")
      c:header("c", nil)
      return "x"
    end)
    assert.equal("2", res.headers.a)
    assert.same({ "1", "2", "3" }, res.headers.b)
    assert.is_nil(res.headers.c)
  end)

  it("of several cookies all survive, the response's own too", function()
    local res = answer(function(c)
      c:cookie("a", "1")
      c:cookie("b", "2", { http_only = true })
      return c:json({}, 200, { ["Set-Cookie"] = "c=3" })
    end)
    assert.same({ "c=3", "a=1; Path=/", "b=2; Path=/; HttpOnly" }, res.headers["set-cookie"])
  end)

  it("set after next() go into the response", function()
    local routes = Router.new()
    routes:use(function(c, next)
      next()
      c:header("x-a", "1")
      c:header("content-type", nil)
      c:cookie("s", "v")
      c:cookie("t", nil)
    end)
    routes:get("/x", function()
      return "x"
    end)
    local res = routes:request("/x")
    assert.equal("1", res.headers["x-a"])
    assert.is_nil(res.headers["content-type"])
    assert.equal(2, #res.headers["set-cookie"])
  end)

  it("of one response are its own", function()
    local first = answer(function(c)
      return c:json({})
    end)
    first.headers["x-mine"] = "1"
    local second = answer(function(c)
      return c:json({})
    end)
    assert.is_nil(second.headers["x-mine"])
  end)

  it("are made when somebody looks, and count from then on", function()
    local made
    local res = answer(function(c)
      made = c:json({})
      assert.is_nil(rawget(made, "headers"))
      assert.equal(JSON, made.headers["Content-Type"])
      made.headers["content-type"] = nil
      made.headers["X-A"] = "1"
      return made
    end)
    assert.is_nil(res.headers["content-type"])
    assert.equal("1", res.headers["x-a"])
    assert.equal("{}", made:text())
  end)

  it("cannot be broken by a content type", function()
    local res = answer(function(c)
      local made = c:json({})
      made._type = "a/b\r\nx: y"
      return made
    end)
    assert.is_nil(res.headers["content-type"])
    assert.is_nil(res.headers.x)
  end)
end)

describe("c:status", function()
  it("counts for what is made later", function()
    for _, make in ipairs({
      function(c)
        return c:json({})
      end,
      function()
        return "x"
      end,
      function()
        return {}
      end,
    }) do
      local res = answer(function(c)
        c:status(201)
        return make(c)
      end)
      assert.equal(201, res.status)
    end
  end)

  it("gives way to a status of the answer's own", function()
    local res = answer(function(c)
      c:status(201)
      return c:json({}, 202)
    end)
    assert.equal(202, res.status)
  end)
end)

describe("c:redirect", function()
  it("is 302 unless told", function()
    local res = answer(function(c)
      return c:redirect("/there?a=1")
    end)
    assert.equal(302, res.status)
    assert.equal("/there?a=1", res.headers.location)
    res = answer(function(c)
      return c:redirect("/there", 308)
    end)
    assert.equal(308, res.status)
  end)
end)

describe("c.var", function()
  it("carries values, by c:set and c:get as well", function()
    local routes = Router.new()
    routes:use(function(c, next)
      c.var.a = 1
      c:set("b", 2)
      next()
    end)
    routes:get("/x", function(c)
      return c:json({ c:get("a"), c.var.b, c:get("nothing") == nil })
    end)
    assert.equal("[1,2,true]", routes:request("/x"):text())
    assert.equal("[1,2,true]", routes:request("/x"):text())
  end)

  it("is new for each request", function()
    local res = answer(function(c)
      local seen = c.var.seen
      c.var.seen = true
      return tostring(seen)
    end)
    assert.equal("nil", res:text())
  end)
end)
