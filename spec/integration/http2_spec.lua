-- HTTP/2: that it is served as HTTP/1.1 is, and what of it is refused.

local h2 = require("spec.support.h2")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin = {
  ["manifest.yaml"] = 'name: two\nbase: "/two"\n',
  ["plugin.lua"] = [[
local Router = require("buntime.router")
local buntime = require("buntime")
local gone = 0
return function()
  local routes = Router.new()
  routes:get("/", function(c) return c:text("hello") end)
  routes:get("/headers", function(c)
    local req = c.req
    return c:json({ cookie = req:header("cookie"), host = req:header("host"), path = req.path,
      query = req.query, x = req:header("x-thing"), trailer = req:header("x-trailer"),
      length = req:header("content-length"), id = req.id })
  end)
  routes:post("/headers", function(c)
    return c:json({ trailer = c.req:header("x-trailer"), length = c.req:header("content-length"),
      body = c.req:text() })
  end)
  routes:post("/length", function(c) return c:text(tostring(#c.req:text())) end)
  routes:get("/big", function(c) return c:text(("x"):rep(3 * 1024 * 1024)) end)
  routes:get("/slow", function(c) buntime.sleep(0.2) return c:text("slow") end)
  routes:get("/wait", function(c)
    local ok = pcall(buntime.sleep, 30)
    if not ok then gone = gone + 1 end
    return c:text("waited")
  end)
  routes:get("/gone", function(c) return c:text(tostring(gone)) end)
  routes:get("/events", function(c)
    return c:sse(function(stream)
      for i = 1, 3 do stream:send({ data = tostring(i) }) buntime.sleep(0.02) end
    end)
  end)
  return { routes = routes }
end
]],
}

local function start(options)
  options = h2.options(options)
  options.plugins = { two = plugin }
  return server.start(options)
end

local function run(...)
  local code, out, err = process.run({ args = { "/usr/bin/env", ... } }, 60)
  return code, out, err
end

local function url(s, path)
  return ("https://127.0.0.1:%d%s"):format(s.port, path)
end

describe("HTTP/2", function()
  after_each(server.stop_all)

  it("is spoken with curl: answers, bodies, HEAD, events", function()
    local s = start()
    local function curl(...)
      local code, out, err = run("curl", "-sk", "--http2", "--max-time", "20", ...)
      assert.equal(0, code, err)
      return out
    end
    assert.equal("hello", curl(url(s, "/two")))
    assert.equal("10", curl("-d", "0123456789", url(s, "/two/length")))
    assert.equal(3 * 1024 * 1024, #curl(url(s, "/two/big")))
    local head = curl("-I", url(s, "/two"))
    assert.truthy(head:find("HTTP/2 200", 1, true))
    assert.truthy(head:find("content-length: 5", 1, true))
    assert.truthy(head:find("x-request-id: ", 1, true))
    assert.equal("data: 1\n\ndata: 2\n\ndata: 3\n\n", curl("-N", url(s, "/two/events")))
    assert.truthy(curl("-H", "x-request-id: mine", "-D-", url(s, "/two")):find("x-request-id: mine", 1, true))
    s:stop()
  end)

  it("is spoken with nghttp, many requests at a time", function()
    local s = start()
    local code, out = run("nghttp", "-n", "-m", "50", "-s", url(s, "/two/slow"))
    assert.equal(0, code)
    local _, answers = out:gsub(" 200 ", "")
    assert.equal(50, answers, out)
    s:stop()
  end)

  it("gives what HTTP/1.1 gives: host, length, cookies in one, the query", function()
    local s = start()
    local c = h2.connect(s.port)
    local id = c:request("GET", "/two/headers?q=%20x", {
      { "cookie", "a=1" }, { "x-thing", "t" }, { "cookie", "b=2" }, { "cookie", "c=3" },
    })
    local got = require("cjson").decode(c:response(id).body)
    assert.equal("a=1; b=2; c=3", got.cookie)
    assert.equal("localhost", got.host)
    assert.equal("t", got.x)
    assert.equal("q=%20x", got.query)
    c:close()
    s:stop()
  end)

  it("drops trailers", function()
    local s = start()
    local c = h2.connect(s.port)
    local id = c:request("POST", "/two/headers", { { "content-length", "4" } }, false)
    c:data(id, "body")
    c:frame(h2.type.HEADERS, h2.END_HEADERS + h2.END_STREAM, id, h2.fields({ { "x-trailer", "t" } }))
    local got = require("cjson").decode(assert(c:response(id)).body)
    assert.equal("body", got.body)
    assert.equal("4", got.length)
    assert.is_nil(got.trailer)
    c:close()
    s:stop()
  end)

  it("tells a handler that its client has gone", function()
    local s = start()
    local c = h2.connect(s.port)
    local id = c:request("GET", "/two/wait")
    assert.equal("0", c:response(c:request("GET", "/two/gone")).body)
    c:frame(h2.type.RST_STREAM, 0, id, h2.u32(8))
    assert.is_truthy(process.eventually(function()
      return c:response(c:request("GET", "/two/gone")).body == "1"
    end, 5))
    c:request("GET", "/two/wait")
    c:close()
    assert.is_truthy(process.eventually(function()
      return h2.get(s.port, "/two/gone").body == "2"
    end, 5))
    s:stop()
  end)

  it("answers a body that is too large before it is there, and goes on", function()
    local s = start({ env = { RUNTIME_BODY_LIMIT = "100kb", RUNTIME_BODY_LIMIT_MAX = "100kb" } })
    local c = h2.connect(s.port)
    local id = c:request("POST", "/two/length", { { "content-length", "5000000" } }, false)
    local res = assert(c:response(id))
    assert.equal(413, res.status)
    assert.truthy(res.body:find("BODY_TOO_LARGE", 1, true))
    for _ = 1, 40 do -- what was on its way; more than the connection's first window in all
      c:data(id, ("x"):rep(16384))
    end
    id = c:request("POST", "/two/length", nil, false)
    c:data(id, ("x"):rep(90 * 1024))
    c:data(id, ("x"):rep(20 * 1024), true)
    assert.equal(413, assert(c:response(id)).status)
    id = c:request("POST", "/two/length", nil, ("x"):rep(100 * 1024))
    assert.equal("102400", assert(c:response(id)).body)
    local code, out = run("curl", "-sk", "--http2", "-w", "%{http_code}", "-o", "/dev/null", "-X", "POST",
      "-T", s.dir .. "/cert.pem", url(s, "/two/length"))
    assert.equal(0, code)
    assert.equal("200", out)
    c:close()
    s:stop()
  end)

  it("refuses a websocket", function()
    local s = start()
    local c = h2.connect(s.port)
    local res = c:response(c:request("CONNECT", "/two", { { ":protocol", "websocket" } }))
    assert.is_true(res == nil or res.status ~= 200)
    c:close()
    s:stop()
  end)

  it("loses no request at reloads", function()
    local s = start()
    local load = process.spawn({
      args = { "/usr/bin/env", "h2load", "-D", "4", "-c", "4", "-m", "8", url(s, "/two") },
      stdout = s.dir .. "/h2load", stderr = s.dir .. "/h2load",
    })
    local reloads = 0
    while load:alive() do
      local code = run("curl", "-sk", "-o", "/dev/null", "-X", "POST", "-H", "Origin: " .. url(s, ""),
        url(s, "/api/plugins/reload"))
      assert.equal(0, code)
      reloads = reloads + 1
    end
    local out = process.read(s.dir .. "/h2load")
    local total, succeeded, failed = out:match("requests: (%d+) total, .-, (%d+) succeeded, (%d+) failed")
    assert.is_true(tonumber(total) > 100, out)
    assert.equal("0", failed, out)
    assert.equal(succeeded, out:match("status codes: (%d+) 2xx"), out)
    assert.is_true(reloads > 3)
    s:stop()
  end)

  it("is said goodbye to at a shutdown", function()
    local s = start()
    local c = h2.connect(s.port)
    assert.equal(200, c:response(c:request("GET", "/two")).status)
    local id = c:request("GET", "/two/slow")
    assert.equal(200, c:response(c:request("GET", "/two")).status) -- so it is being answered
    s.process:kill("TERM")
    assert.equal("slow", assert(c:response(id)).body)
    local closed, code = c:ended(20)
    assert.is_true(closed)
    assert.equal(0, code)
    assert.equal(0, s.process:wait(20))
    s:stop()
  end)
end)

-- Strictness ----------------------------------------------------------------------------------

--- A head without one of the usual fields, or with others.
local function head(changes, headers)
  local list = {}
  for _, field in ipairs({ { ":method", "GET" }, { ":scheme", "https" }, { ":path", "/two" },
    { ":authority", "localhost" } }) do
    local value = changes[field[1]]
    if value == nil then
      list[#list + 1] = field
    elseif value then
      list[#list + 1] = { field[1], value }
    end
  end
  for _, header in ipairs(headers or {}) do
    list[#list + 1] = header
  end
  return h2.fields(list)
end

--- What is to come of it: a status; "reset": the stream; "closed": the connection.
local cases = {
  { "a plain request", head({}), 200 },
  { "another scheme", head({ [":scheme"] = "http" }), 400 },
  { "no authority", head({ [":authority"] = false }), 400 },
  { "an authority with a user", head({ [":authority"] = "me@localhost" }), 400 },
  { "an empty authority", head({ [":authority"] = "" }), 400 },
  { "no method", head({ [":method"] = false }), "reset" },
  { "no path", head({ [":path"] = false }), "reset" },
  { "no scheme", head({ [":scheme"] = false }), "reset" },
  { "an empty path", head({ [":path"] = "" }), 400 },
  { "a path without a slash", head({ [":path"] = "two" }), 400 },
  { "a path with a space", head({ [":path"] = "/two /x" }), 400 },
  { "a path that is a URL", head({ [":path"] = "https://other/two" }), 400 },
  { "a star", head({ [":method"] = "OPTIONS", [":path"] = "*" }), 400 },
  { "a bad method", head({ [":method"] = "G T" }), 400 },
  { "an empty method", head({ [":method"] = "" }), 400 },
  { "TRACE", head({ [":method"] = "TRACE" }), 405 },
  { "CONNECT", head({ [":method"] = "CONNECT" }), 405 },
  { "two methods", head({}, { { ":method", "GET" } }), "closed" },
  { "two paths", head({}, { { ":path", "/two" } }), "closed" },
  { "two authorities", head({}, { { ":authority", "localhost" } }), "closed" },
  { "a pseudo header that is none", head({}, { { ":thing", "x" } }), "closed" },
  { "a pseudo header behind a header", head({ [":path"] = false }, { { "x", "y" }, { ":path", "/two" } }),
    "closed" },
  { "connection", head({}, { { "connection", "close" } }), "closed" },
  { "transfer-encoding", head({}, { { "transfer-encoding", "chunked" } }), "closed" },
  { "upgrade", head({}, { { "upgrade", "websocket" } }), "closed" },
  { "te", head({}, { { "te", "gzip" } }), "closed" },
  { "te: trailers", head({}, { { "te", "trailers" } }), 200 },
  { "keep-alive", head({}, { { "keep-alive", "x" } }), 400 },
  { "proxy-connection", head({}, { { "proxy-connection", "x" } }), 400 },
  { "expect", head({}, { { "expect", "wonders" } }), 417 },
  { "an upper-case name", head({}, { { "X-Thing", "x" } }), "closed" },
  { "an empty name", head({}, { { "", "x" } }), 400 },
  { "a name with a space", head({}, { { "x thing", "x" } }), 400 },
  { "a value with a line end", head({}, { { "x", "a\r\nb: c" } }), 400 },
  { "a value with NUL", head({}, { { "x", "a\0b" } }), 400 },
  { "a value that begins with a space", head({}, { { "x", " a" } }), 400 },
  { "a length without a body", head({ [":method"] = "POST" }, { { "content-length", "5" } }), 400 },
  { "a length of nothing", head({ [":method"] = "POST" }, { { "content-length", "0" } }), 405 },
  { "a length that is none", head({ [":method"] = "POST" }, { { "content-length", "5x" } }), "closed" },
}

describe("an HTTP/2 request", function()
  local s

  setup(function()
    s = start()
  end)

  teardown(function()
    s:stop()
  end)

  for _, case in ipairs(cases) do
    it("with " .. case[1] .. ": " .. case[3], function()
      local c = h2.connect(s.port)
      c:frame(h2.type.HEADERS, h2.END_HEADERS + h2.END_STREAM, 1, case[2])
      local res, problem = c:response(1)
      if case[3] == "closed" then
        assert.equal("closed", problem)
        assert.is_truthy(c.goaway)
      elseif case[3] == "reset" then
        assert.is_truthy(res.reset)
      else
        assert.is_truthy(res, problem)
        assert.equal(case[3], res.status, res.body)
      end
      c:close()
    end)
  end

  local function with_body(length, ...)
    local c = h2.connect(s.port)
    local id = c:request("POST", "/two/length", { { "content-length", length } }, false)
    for i, body in ipairs({ ... }) do
      c:data(id, body, i == select("#", ...))
    end
    local res = c:response(id)
    c:close()
    return res
  end

  it("has the body that its length says", function()
    assert.equal("6", with_body("6", "abc", "def").body)
    assert.is_truthy(with_body("6", "abc", "de").reset)
    assert.is_truthy(with_body("6", "abc", "defg").reset)
  end)

  it("may have 100 headers and 16 KiB, not more", function()
    local function ask(headers)
      local c = h2.connect(s.port)
      local res = assert(c:response(c:request("GET", "/two", headers)))
      c:close()
      return res.status
    end
    local many = {}
    for i = 1, 100 do
      many[i] = { "x-" .. i, "y" }
    end
    assert.equal(200, ask(many))
    many[101] = { "x-101", "y" }
    assert.equal(431, ask(many))
    assert.equal(200, ask({ { "x", ("y"):rep(15 * 1024) } }))
    assert.equal(431, ask({ { "x", ("y"):rep(8 * 1024) }, { "z", ("y"):rep(8 * 1024) } }))
  end)

  it("may come among frames of types that nobody knows", function()
    local c = h2.connect(s.port)
    c:frame(0x10, 0, 0, "\0\0\0\0u=1")
    c:frame(0xFF, 0xFF, 7, ("x"):rep(16384))
    assert.equal(200, c:response(c:request("GET", "/two")).status)
    c:close()
    assert.is_nil(s:log():find("skipping frame", 1, true))
  end)

  it("may come with its head in pieces, and padded", function()
    local c = h2.connect(s.port)
    local block = h2.head("GET", "/two")
    c:frame(h2.type.HEADERS, h2.END_STREAM + h2.PADDED + h2.WITH_PRIORITY, 1,
      "\3\0\0\0\0\16" .. block:sub(1, 5) .. "ppp")
    for i = 6, #block, 20 do
      local last = i + 20 > #block
      c:frame(h2.type.CONTINUATION, last and h2.END_HEADERS or 0, 1, block:sub(i, i + 19))
    end
    assert.equal(200, assert(c:response(1)).status)
    c:close()
  end)

  it("is one of 100 at a time", function()
    local c = h2.connect(s.port)
    for _ = 1, 110 do
      c:request("GET", "/two/slow")
    end
    local served, refused = 0, 0
    for i = 1, 110 do
      local res = assert(c:response(2 * i - 1))
      served = served + (res.status == 200 and 1 or 0)
      refused = refused + (res.reset == 7 and 1 or 0)
    end
    assert.equal(110, served + refused)
    assert.is_true(served >= 100 and refused > 0, served .. " " .. refused)
    c:close()
  end)
end)
