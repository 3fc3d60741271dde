local core = require("buntime.core.request")
local response = require("buntime.response")
local testing = require("buntime.testing")

local function raises(message, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_truthy(tostring(err):find(message, 1, true), tostring(err))
end

local function finish(req)
  assert.is_true(core.finish(req))
  return core.response_view(req)
end

--- What the client would get.
local function sent(res, init)
  local req = testing.new_request("/", init)
  core.respond(req, res)
  return finish(req)
end

describe("Response.new", function()
  it("is text unless told", function()
    local res = response.new("hi")
    assert.equal(200, res.status)
    assert.equal("text/plain; charset=utf-8", res.headers["content-type"])
    assert.equal("hi", res.body)
    assert.is_true(response.is(res))
  end)

  it("takes status and headers in any case", function()
    local res = response.new("x", { status = 403, headers = { ["Content-Type"] = "a/b", ["X-N"] = 5 } })
    assert.equal(403, res.status)
    assert.same({ ["content-type"] = "a/b", ["x-n"] = "5" }, res.headers)
    assert.equal("a/b", res.headers["Content-Type"])
  end)

  it("may have no body", function()
    local res = response.new(nil, { status = 204 })
    assert.is_nil(res.body)
    assert.is_nil(res.headers["content-type"])
  end)

  for title, case in pairs({
    ["a table as its body"] = { {}, nil, "Response.new: body must be a string, got table (for JSON:" },
    ["a status outside"] = { "x", { status = 199 }, "status must be an integer from 200 to 599, got 199" },
    ["a status that is a string"] = { "x", { status = "200" }, "status must be an integer" },
    ["a status with a fraction"] = { "x", { status = 200.5 }, "got 200.5" },
    ["options that are none"] = { "x", 404, "options must be a table, got number" },
    ["headers that are none"] = { "x", { headers = "a: b" }, "headers must be a table, got string" },
    ["a line end in a header"] = { "x", { headers = { a = "b\r\nc: d" } }, "control character" },
    ["a zero byte in a header"] = { "x", { headers = { a = "b\0" } }, "control character" },
    ["a bad name"] = { "x", { headers = { ["a b"] = "c" } }, '"a b" is not a header\'s name' },
    ["a header of the wrong type"] = { "x", { headers = { a = true } }, "must be a string, got a boolean" },
    ["a bad header in a list"] = { "x", { headers = { a = { "b", "c\n" } } }, "control character" },
  }) do
    it("refuses " .. title .. " at the caller's line", function()
      raises(case[3], function()
        response.new(case[1], case[2])
      end)
      raises("response_spec.lua", function()
        response.new(case[1], case[2])
      end)
    end)
  end
end)

describe("Response.json", function()
  it("encodes", function()
    local res = response.json({ 1, 2 }, { status = 201 })
    assert.equal(201, res.status)
    assert.equal("application/json", res.headers["content-type"])
    assert.equal("[1,2]", res:text())
    assert.same({ 1, 2 }, res:json())
  end)
end)

describe("a response's headers", function()
  it("are kept in lower case", function()
    local res = response.new("x")
    res.headers["Content-Type"] = "a/b"
    res.headers["X-A"] = "1"
    assert.same({ ["content-type"] = "a/b", ["x-a"] = "1" }, res.headers)
    res.headers["X-a"] = nil
    assert.is_nil(res.headers["x-a"])
  end)
end)

describe("Response.from", function()
  for title, case in pairs({
    ["a response"] = { response.new("x", { status = 201 }), nil, 201, "x" },
    ["a plain table with a status"] = { { status = 403, body = "no" }, nil, 403, "no" },
    ["a plain table with a table in it"] = { { status = 200, body = { 1 } }, nil, 200, "[1]" },
    ["a string"] = { "hi", nil, 200, "hi" },
    ["a table"] = { { 1 }, nil, 200, "[1]" },
    ["a status"] = { 204, nil, 204, nil },
    ["a status and a string"] = { 201, "made", 201, "made" },
    ["a status and a table"] = { 201, { 1 }, 201, "[1]" },
    ["a status and a response"] = { 201, response.new("x"), 201, "x" },
  }) do
    it("makes one of " .. title, function()
      local res = response.from(case[1], case[2], "fetch")
      assert.is_true(response.is(res))
      assert.equal(case[3], res.status)
      assert.equal(case[4], res.body)
    end)
  end

  for title, case in pairs({
    ["a boolean"] = { true, nil, "fetch: expected a response" },
    ["a status outside"] = { { status = 99 }, nil, "fetch: status must be an integer" },
    ["a function as the body"] = { 200, print, "fetch: the body must be" },
  }) do
    it("refuses " .. title, function()
      raises(case[3], response.from, case[1], case[2], "fetch")
    end)
  end

  it("knows what looks like one", function()
    assert.is_true(response.looks_like(response.new("x")))
    assert.is_true(response.looks_like({ status = 200 }))
    assert.is_false(response.looks_like({ status = "done" }))
    assert.is_false(response.looks_like({}))
    assert.is_false(response.looks_like("x"))
  end)
end)

describe("core.respond", function()
  it("hands everything over, lists as several headers", function()
    local res = sent({
      status = 201,
      headers = { ["X-A"] = "1", ["set-cookie"] = { "a=1", "b=2" }, n = 5, list = { 1, 2 } },
      body = "x",
    }, { id = "the-id" })
    assert.equal(201, res.status)
    assert.equal("x", res:text())
    assert.same({
      ["x-a"] = "1",
      ["set-cookie"] = { "a=1", "b=2" },
      n = "5",
      list = { "1", "2" },
      ["x-request-id"] = "the-id",
    }, res.headers)
  end)

  it("keeps the server's own headers out", function()
    local res = sent({
      status = 200,
      headers = { ["content-length"] = "99", ["transfer-encoding"] = "chunked", ["x-request-id"] = "x" },
      body = "abc",
    }, { id = "the-id" })
    assert.same({ ["x-request-id"] = "the-id" }, res.headers)
  end)

  it("sends no body with 204 and 304, and none to HEAD", function()
    assert.equal("", sent({ status = 204, body = "x" }):text())
    assert.equal("", sent({ status = 304, body = "x" }):text())
    assert.equal("", sent({ status = 200, body = "x" }, { method = "HEAD" }):text())
  end)

  for title, case in pairs({
    ["no status"] = { {}, "status must be an integer from 200 to 599, got nil" },
    ["a status outside"] = { { status = 600 }, "got 600" },
    ["a status that is not whole"] = { { status = 200.5 }, "got 200.5" },
    ["a status that is no number"] = { { status = 0 / 0 }, "from 200 to 599" },
    ["headers that are none"] = { { status = 200, headers = "x" }, "headers must be a table, got a string" },
    ["a body that is none"] = { { status = 200, body = {} }, "body must be a string, got a table" },
    ["a header split in two"] = { { status = 200, headers = { a = "b\r\nc: d" } }, "has a control" },
    ["a name split in two"] = { { status = 200, headers = { ["a\r\nb"] = "c" } }, "is not a header's name" },
    ["a list as the name"] = { { status = 200, headers = { "a: b" } }, "name must be a string" },
    ["a list in a list"] = { { status = 200, headers = { a = { {} } } }, "must be a string, got a table" },
  }) do
    it("refuses " .. title .. ", and answers nothing", function()
      local req = testing.new_request("/")
      raises(case[2], core.respond, req, case[1])
      assert.is_nil(core.response_view(req))
    end)
  end
end)

describe("the view that onResponse gets", function()
  local function view_of(res)
    local req = testing.new_request("/")
    core.respond(req, res)
    return req, core.response_view(req)
  end

  it("has status, headers and body, and writes them back", function()
    local req, view = view_of(response.new("hi", { headers = { a = { "1", "2" }, b = "3", c = "4" } }))
    assert.equal(200, view.status)
    assert.same({ "1", "2" }, view.headers.a)
    view.status = 418
    view.headers.b = nil
    view.headers["X-New"] = "n"
    view.headers["C"] = "5"
    table.insert(view.headers.a, "6")
    view.body = "bye"
    core.apply_response(req, view)
    local res = finish(req)
    assert.equal(418, res.status)
    assert.equal("bye", res.body)
    res.headers["x-request-id"] = nil
    assert.same({
      a = { "1", "2", "6" },
      c = "5",
      ["content-type"] = "text/plain; charset=utf-8",
      ["x-new"] = "n",
    }, res.headers)
  end)

  it("may be replaced by an answer whose headers nobody has asked for", function()
    local made
    local routes = require("buntime.router").new()
    routes:get("/", function(c)
      made = c:html("<p>")
      return c:text("")
    end)
    routes:request("/")
    local req = view_of(response.new("hi", { headers = { a = "1" } }))
    core.apply_response(req, made)
    local res = finish(req)
    assert.equal("<p>", res.body)
    assert.equal("text/html; charset=utf-8", res.headers["content-type"])
    assert.is_nil(res.headers.a)
  end)

  for title, change in pairs({
    ["a bad status"] = function(view)
      view.status = "x"
    end,
    ["a bad header"] = function(view)
      view.headers.x = "a\nb"
    end,
    ["a bad header in a list"] = function(view)
      view.headers.b = { "1", "a\nb" }
    end,
    ["a bad body"] = function(view)
      view.body = {}
    end,
  }) do
    it("changes nothing when it has " .. title, function()
      local req, view = view_of(response.new("hi", { headers = { b = "3" } }))
      view.headers.b = nil
      view.status = 404
      view.body = "other"
      change(view)
      assert.is_false((pcall(core.apply_response, req, view)))
      local res = finish(req)
      assert.equal(200, res.status)
      assert.equal("hi", res.body)
      assert.equal("3", res.headers.b)
    end)
  end
end)
