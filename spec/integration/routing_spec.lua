-- Requests to plugins: bases, routes, methods, bodies, ids, and what a handler may return.

local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")

local ALL = { "routes", "middleware", "server", "root", "table", "entry", "modules", "@scope" }
local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-[47]%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

describe("routing", function()
  local s

  setup(function()
    s = fixtures.start(ALL, { env = { RUNTIME_BODY_LIMIT = "64kb" } })
  end)
  teardown(function()
    s:stop()
  end)

  local function answers(cases)
    for _, case in ipairs(cases) do
      local method, target, status, body = unpack(case)
      local res = s:request(method, target)
      local name = method .. " " .. target
      assert.equal(status, res.status, name .. ": " .. res.body)
      if body then
        assert.equal(body, res.body, name)
      end
    end
  end

  describe("bases", function()
    it("strips the base, keeps the query, and hands over the bare base as /", function()
      for _, target in ipairs({ "/routes", "/routes/", "/routes?a=1&b=%20", "/routes/?a=1&b=%20" }) do
        local res = s:get(target)
        assert.equal(200, res.status, target)
        assert.equal("/", res:json().path)
        assert.equal(target:match("%?(.*)") or "", res:json().query)
        assert.equal("http://localhost:" .. s.port .. target, res:json().url)
      end
    end)

    it("compares whole segments", function()
      answers({
        { "GET", "/route/", 404 },
        { "GET", "/routesx/", 404 },
        { "GET", "/ROUTES/", 404 },
        { "GET", "/routes2", 404 },
      })
    end)

    it("takes plugins of every layout and of both names for the manifest", function()
      answers({
        { "GET", "/table", 200, "no factory" },
        { "GET", "/entry", 200, "from src/main.lua" },
        { "GET", "/scoped", 200, "scoped" },
        { "GET", "/about", 200, "about, base /" },
      })
    end)

    it('asks "/" last, also for what the plugin of a base has no route for', function()
      answers({
        { "GET", "/routes/only-at-the-root", 200, "root" },
        { "GET", "/routes/users/me", 200, "static" },
        { "GET", "/nobody", 404 },
      })
      local missing = s:get("/nobody"):json()
      assert.equal("NOT_FOUND", missing.code)
      assert.is_false(missing.success)
    end)

    it("does not go on after a 404 that a handler answered", function()
      local res = s:get("/routes/answers/missing")
      assert.equal(404, res.status)
      assert.equal("NOT_FOUND", res:json().code)
    end)
  end)

  describe("server.routes and server.fetch", function()
    it("are absolute and come before the routes of a base", function()
      answers({
        { "GET", "/absolute/public/x", 200, "public x" },
        { "GET", "/absolute/by-method", 200, "got" },
        { "GET", "/routes/users/taken", 200, "before the plugin whose base it is" },
        { "GET", "/absolute/nothing", 404 },
      })
      assert.equal("/absolute", s:get("/absolute"):json().path)
      assert.equal("PATCH", s:request("PATCH", "/absolute"):json().method)
      assert.equal("posted x", s:post("/absolute/by-method", { body = "x" }).body)
    end)

    it("answer 405 where only some methods are there", function()
      local res = s:delete("/absolute/by-method")
      assert.equal(405, res.status)
      assert.equal("GET, HEAD, OPTIONS, POST", res.headers.allow)
    end)

    it("let fetch answer, or say that it is not its own", function()
      local res = s:post("/fetched/x?q=1%202", { body = "b" })
      assert.same({ path = "/fetched/x", query = "1 2", body = "b" }, res:json())
      res = s:get("/fetched/table")
      assert.equal(203, res.status)
      assert.equal("yes", res.headers["x-fetched"])
      assert.equal("a plain table", res.body)
      assert.equal(404, s:get("/fetchedx").status)
    end)
  end)

  describe("paths", function()
    it("prefer static to param to wildcard, and match what browsers send", function()
      answers({
        { "GET", "/routes/users/me", 200, "static" },
        { "GET", "/routes/users/7", 200, "param 7" },
        { "GET", "/routes/users/7/posts/2", 200, "rest 7/posts/2" },
        { "GET", "/routes/users/a%20b", 200, "param a b" },
        { "GET", "/routes/numbers/12", 200, "number 12" },
        { "GET", "/routes/numbers/x", 404 },
        { "GET", "/routes/pages", 200, "page none" },
        { "GET", "/routes/pages/p", 200, "page p" },
        { "GET", "/routes/stra%C3%9Fe", 200, "UTF-8" },
      })
    end)

    it("never carry .. or // to a plugin, however they are written", function()
      local cases = {
        ["/routes/users/../users/me"] = true,
        ["/routes/./users/me"] = true,
        ["/routes//users/me"] = true,
        ["/routes/x/%2e%2e/users/me"] = true,
        ["/table/%2E./routes/users/me"] = true,
        ["/../routes/users/me"] = true,
        ["/routes/users/%00"] = true,
        ["/routes/users/..%2f..%2fme"] = true,
      }
      for target in pairs(cases) do
        local res = s:get(target)
        assert.is_true(res.status == 400 or res.status == 200 or res.status == 404, target)
        assert.is_nil(res.body:find("..", 1, true), target .. ": " .. res.body)
        assert.is_true(res.status ~= 200 or res.body == "static", target .. ": " .. res.body)
      end
      assert.equal(400, s:get("/routes/users/%00").status)
    end)

    it("keep an escaped slash inside its segment", function()
      answers({ { "GET", "/routes/users/a%2Fb", 200, "param a/b" } })
    end)
  end)

  describe("methods", function()
    it("answer 405 with Allow", function()
      for _, method in ipairs({ "GET", "POST", "HEAD" }) do
        local res = s:request(method, "/routes/methods")
        assert.equal(405, res.status, method)
        assert.equal("DELETE, OPTIONS, PATCH, PUT", res.headers.allow)
      end
      assert.equal("METHOD_NOT_ALLOWED", s:get("/routes/methods"):json().code)
      assert.equal("PUT", s:put("/routes/methods").body)
      assert.equal("PATCH", s:patch("/routes/methods").body)
    end)

    it("answer HEAD as GET without its body", function()
      local get, head = s:get("/routes/users/me"), s:head("/routes/users/me")
      assert.equal(200, head.status)
      assert.equal("", head.body)
      assert.equal(get.headers["content-type"], head.headers["content-type"])
      assert.equal(get.headers["content-length"], head.headers["content-length"])
      local conn = s:connect() -- nothing of a body is left on the connection
      conn:request("HEAD", "/routes/users/me")
      assert.equal("static", conn:get("/routes/users/me").body)
      conn:close()
    end)

    it("answer OPTIONS with 204 and Allow", function()
      local res = s:options("/routes/methods")
      assert.equal(204, res.status)
      assert.equal("DELETE, OPTIONS, PATCH, PUT", res.headers.allow)
      assert.equal("", res.body)
      assert.equal("OPTIONS", s:options("/routes/any").body)
      assert.equal(404, s:options("/routes/nobody").status)
    end)

    it("let `all` take any method", function()
      for _, method in ipairs({ "GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND" }) do
        assert.equal(method, s:request(method, "/routes/any").body)
      end
    end)
  end)

  describe("bodies", function()
    it("come whole, also in chunks and more than once on a connection", function()
      local bytes = string.rep("\0\1\255x", 10000)
      assert.equal(bytes, s:post("/routes/echo", { body = bytes }).body)
      local conn = s:connect()
      for _ = 1, 3 do
        conn:send("POST /routes/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        conn:send("5\r\nhello\r\n6\r\n there\r\n0\r\n\r\n")
        assert.equal("hello there", conn:response().body)
      end
      conn:close()
    end)

    it("over the limit are 413, and the server goes on", function()
      for _, extra in ipairs({ 1, 100000 }) do
        local res = s:post("/routes/echo", { body = string.rep("x", 64 * 1024 + extra) })
        assert.equal(413, res.status)
        assert.equal("BODY_TOO_LARGE", res:json().code)
        assert.matches(UUID, res.headers["x-request-id"])
      end
      assert.equal(64 * 1024, #s:post("/routes/echo", { body = string.rep("x", 64 * 1024) }).body)
    end)

    it("in chunks over the limit are 413 too", function()
      local chunk = "4000\r\n" .. string.rep("x", 0x4000) .. "\r\n"
      local head = "POST /routes/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      local answer = s:raw(head .. chunk:rep(5) .. "0\r\n\r\n")
      assert.matches("^HTTP/1.1 413 ", answer)
      assert.equal(200, s:get("/routes/").status)
    end)

    it("that are no JSON are 400 INVALID_JSON", function()
      for _, body in ipairs({ "", "{", "[1,]", "nul", '{"a":\255}', "1 2" }) do
        local res = s:post("/routes/json", { body = body })
        assert.equal(400, res.status, body)
        assert.equal("INVALID_JSON", res:json().code)
      end
    end)

    it("in JSON go through unharmed", function()
      local members = { '"a":[]', '"b":{}', '"c":[1,2.5,"x",true,null]', '"d":9007199254740992' }
      local text = "{" .. table.concat(members, ",") .. "}"
      local res = s:post("/routes/json", { body = text })
      assert.equal(200, res.status, res.body)
      assert.equal(#text, #res.body)
      for _, member in ipairs(members) do
        assert.is_truthy(res.body:find(member, 1, true), res.body)
      end
    end)

    it("are read as forms", function()
      local res = s:post("/routes/form", {
        headers = { ["Content-Type"] = "application/x-www-form-urlencoded" },
        body = "a=1&b=x+y&a=2",
      })
      assert.same({ first = { a = "1", b = "x y" }, all = { a = { "1", "2" }, b = { "x y" } } }, res:json())
    end)
  end)

  describe("answers", function()
    it("may be strings, tables, a status with a body, or responses", function()
      answers({
        { "GET", "/routes/answers/string", 200, "text" },
        { "GET", "/routes/answers/table", 200, '{"status":"a field, not the status"}' },
        { "GET", "/routes/answers/status", 201, '{"made":true}' },
        { "GET", "/routes/answers/response", 202, "made" },
        { "GET", "/routes/answers/html", 200, "<p>" },
        { "DELETE", "/routes/methods", 204, "" },
      })
      assert.equal("yes", s:get("/routes/answers/response").headers["x-made"])
      assert.equal("application/json", s:get("/routes/answers/table").headers["content-type"])
      assert.equal("text/html; charset=utf-8", s:get("/routes/answers/html").headers["content-type"])
    end)

    it("may be redirects and carry several cookies", function()
      local res = s:get("/routes/answers/redirect")
      assert.equal(302, res.status)
      assert.equal("/routes/", res.headers.location)
      local cookies = {}
      for _, header in ipairs(s:get("/routes/answers/cookies").header_list) do
        if header[1]:lower() == "set-cookie" then
          cookies[#cookies + 1] = header[2]
        end
      end
      table.sort(cookies)
      assert.equal(2, #cookies)
      assert.matches("^a=1", cookies[1])
      assert.matches("^b=2.*HttpOnly", cookies[2])
    end)

    it("keep empty arrays and nulls", function()
      local body = s:get("/routes/answers/empty-array").body
      assert.matches('"list":%[%]', body)
      assert.matches('"object":{}', body)
      assert.matches('"null":null', body)
    end)
  end)

  describe("X-Request-Id", function()
    it("is the client's when it is sound", function()
      for _, id in ipairs({ "a", "A-b_c.9", string.rep("x", 128) }) do
        local res = s:get("/routes/", { headers = { ["X-Request-Id"] = id } })
        assert.equal(id, res.headers["x-request-id"])
      end
    end)

    it("is a new UUID when it is not", function()
      for _, id in ipairs({ "", "a b", "a/b", "ä", string.rep("x", 129) }) do
        local res = s:get("/routes/", { headers = { ["X-Request-Id"] = id } })
        assert.matches(UUID, res.headers["x-request-id"])
      end
    end)

    it("is on every response", function()
      local seen = {}
      for _, target in ipairs({ "/routes/", "/nobody", "/routes/methods", "/routes/users/%00" }) do
        local id = s:get(target).headers["x-request-id"]
        assert.matches(UUID, id)
        assert.is_nil(seen[id])
        seen[id] = true
      end
      assert.matches("\r\n[Xx]%-[Rr]equest%-[Ii]d: ", (s:raw("nonsense\r\n\r\n")))
    end)

    it("is in the lines of its request, print goes to the log", function()
      local id = s:get("/routes/print").body
      local line = s:wait_log(function(line)
        return line.requestId == id and line.msg and line.msg:find("printed", 1, true)
      end)
      assert.equal("printed\t1\tnil", line.msg)
      assert.equal("info", line.level)
      assert.equal("@fixtures/routes", line.plugin)
    end)
  end)

  describe("middleware", function()
    it("stands around all routes in order, outermost first", function()
      local res = s:get("/middleware/plain")
      assert.equal("outer>second>", res.body)
      assert.equal("<second<outer", res.headers["x-trail"])
      res = s:get("/middleware/inner/page")
      assert.equal("outer>second>inner>", res.body)
      assert.equal("<inner<second<outer", res.headers["x-trail"])
    end)

    it("may answer instead of the route", function()
      local res = s:get("/middleware/locked/room")
      assert.equal(403, res.status)
      assert.is_true(res:json().locked)
      assert.equal("<second<outer", res.headers["x-trail"])
      res = s:get("/middleware/locked/room", { headers = { ["X-Key"] = "open" } })
      assert.equal("outer>second>", res.body)
    end)

    it("leaves errors to on_error and the rest to not_found", function()
      local res = s:get("/middleware/raise")
      assert.equal(500, res.status)
      assert.equal("in a route", res:json().caught)
      res = s:get("/middleware/no/such")
      assert.equal(404, res.status)
      assert.equal("/no/such", res:json().missing)
    end)
  end)

  describe("modules", function()
    it("are found in the folder, lua_modules and the machine's path", function()
      assert.same({
        file = "lib/file.lua",
        folder = "hello you",
        dependency = "lua_modules/dep",
        cjson = "[1]",
        once = true,
      }, s:get("/modules"):json())
    end)

    it("and globals belong to one plugin", function()
      assert.equal("1", s:get("/modules/global").body)
      assert.equal("2", s:get("/modules/global").body)
    end)
  end)

  it("never lets a handler that waits hold up another", function()
    local began = socket.gettime()
    http.parallel(30, function(i)
      if i <= 10 then
        assert.equal("awake", http.request(s.port, "GET", "/routes/sleep?seconds=0.5").body)
      else
        http.request(s.port, "GET", "/routes/users/me")
        assert.is_true(socket.gettime() - began < 0.5, "a request waited for a sleeping one")
      end
    end)
    assert.is_true(socket.gettime() - began < 2, "the sleeping ones waited for each other")
  end)

  it("frees the work of a client that goes away", function()
    for _ = 1, 5 do
      local conn = s:connect()
      conn:send("GET /routes/sleep?seconds=30 HTTP/1.1\r\nHost: x\r\n\r\n")
      conn:close()
    end
    assert.equal(200, s:get("/routes/").status) -- stop() would wait for what is still open
  end)
end)
