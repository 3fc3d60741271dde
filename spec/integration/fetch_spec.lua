-- buntime.fetch against spec/support/upstream.lua: what comes, what goes, and everything that can go wrong.

local cjson = require("cjson")

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local UPSTREAM = process.absolute("spec/support/upstream.lua")

--- Runs the code it is sent, and answers what that returns as a JSON list.
local CLIENT = [[
local fetch, json = require("buntime.fetch"), require("buntime.json")
local task, routes = require("buntime.task"), require("buntime.router").new()

local function answer(c, ...)
  local values = json.array({ ... })
  for i = 1, select("#", ...) do
    if values[i] == nil then
      values[i] = json.null
    end
  end
  return c:json(values)
end

routes:post("/run", function(c)
  local code = assert(loadstring("local fetch, up, task, c = ... " .. c.req:text(), "=run"))
  return answer(c, code(fetch, c.req:query("up"), task, c))
end)
routes:get("/relay", function(c)
  local res = assert(fetch(c.req:query("url"), { stream = true }))
  local size = 0
  for chunk in res:chunks() do
    size = size + #chunk
  end
  return c:json({ size = size })
end)
return { routes = routes }
]]

local function client()
  return { client = fixtures.plugin("name: client\nbase: /client", CLIENT) }
end

local CLEAN = { http_proxy = false, https_proxy = false, all_proxy = false, no_proxy = false }

describe("fetch", function()
  local s, upstream, up

  setup(function()
    upstream = server.start({ command = { "luajit", UPSTREAM } })
    up = "http://127.0.0.1:" .. upstream.port
    s = server.start({ plugins = client(), env = CLEAN })
  end)
  teardown(function()
    upstream:discard()
    s:stop()
  end)

  local function post(code, headers)
    return s:post("/client/run?up=" .. up, { body = code, headers = headers })
  end

  --- What the code returns, as a list; null is nil.
  local function run(code, ...)
    local res = post(code:format(...))
    assert.equal(200, res.status, res.body)
    local values = res:json()
    for i, value in ipairs(values) do
      if value == cjson.null then
        values[i] = nil
      end
    end
    return values
  end

  --- What a fetch of this target gives: status and text, or nil, message and code.
  local function get(target, options)
    local code = [[
      local res, message, code = fetch(up .. %q, %s)
      if not res then return nil, message, code end
      return res.status, res:text()]]
    return run(code, target, options or "nil")
  end

  local function code_of(target, options)
    local values = get(target, options)
    return values[3], values[2]
  end

  local function stats()
    return http.request(upstream.port, "GET", "/stats"):json()
  end

  -- What comes ---------------------------------------------------------------------------------------

  it("gives status, headers and text", function()
    local values = run([[
      local res = fetch(up .. "/hello")
      return res.status, res.headers["content-type"], res:text(), res:text(), res.url]])
    assert.same({ 200, "text/plain", "hello", "hello", up .. "/hello" }, values)
    assert.same({ 404, "no such target" }, get("/nowhere"))
  end)

  it("lists headers that were repeated, with the name in lower case", function()
    local values = run([[
      local h = fetch(up .. "/repeat").headers
      return h["set-cookie"], h["x-empty"], h["x-fold"] ]])
    assert.same({ { "a=1", "b=2", "c=3" }, "", "a b" }, values)
  end)

  it("decodes JSON, and says so when it is none", function()
    local values = run([[return fetch(up .. "/stats"):json().accepted > 0, fetch(up .. "/hello"):json()]])
    assert.is_true(values[1])
    assert.is_nil(values[2])
    assert.equal("INVALID_JSON", values[4])
  end)

  it("unpacks compressed answers, and then drops the headers that are not true any more", function()
    local values = run([[
      local res = fetch(up .. "/gzip")
      return res:text(), res.headers["content-encoding"], res.headers["content-length"] ]])
    assert.equal("unpacked " .. ("0"):rep(99) .. "7", values[1])
    assert.is_nil(values[2])
    assert.is_nil(values[3])
  end)

  it("leaves answers packed for those who ask for them", function()
    local values = run([[
      local res = fetch(up .. "/gzip", { headers = { ["Accept-Encoding"] = "gzip" } })
      return res.headers["content-encoding"], res:text():byte(1, 2)]])
    assert.same({ "gzip", 0x1f, 0x8b }, values)
  end)

  it("knows answers in chunks, and informational ones", function()
    assert.same({ 200, "part 1part 2part 3part 4part 5" }, get("/chunked"))
    assert.same({ 200, "after hints" }, get("/early-hints"))
  end)

  it("answers HEAD", function()
    local values = run([[
      local res = fetch(up .. "/hello", { method = "head", max_size = 1 })
      return res.status, res.headers["content-length"], res:text()]])
    assert.same({ 200, "5", "" }, values)
  end)

  -- What goes ----------------------------------------------------------------------------------------

  local function echo(options)
    local text = get("/echo?q=1", options)[2]
    local head, body = text:match("^(.-)\n\n(.*)$")
    return head, body
  end

  it("sends a method, headers and a body as they are", function()
    local head, body = echo([[{
      method = "patch",
      body = "a\0b",
      headers = { ["X-A"] = 1, ["x-b"] = { "2", "3" }, e = "" },
    }]])
    assert.matches("^PATCH /echo%?q=1\n", head)
    assert.matches("x%-a: 1", head)
    assert.matches("x%-b: 2\nx%-b: 3", (head:gsub("\nx%-b: 2\n(.-)x%-b: 3", "\nx-b: 2\nx-b: 3\n%1")))
    assert.matches("\ne:", head)
    assert.matches("[Cc]ontent%-[Ll]ength: 3", head)
    assert.not_matches("[Cc]ontent%-[Tt]ype", head)
    assert.matches("[Uu]ser%-[Aa]gent: buntime/", head)
    assert.equal("a\0b", body)
  end)

  it("sends JSON", function()
    local head, body = echo([[{ json = { a = { 1, 2 } } }]])
    assert.matches("^POST ", head)
    assert.matches("content%-type: application/json", head)
    assert.equal('{"a":[1,2]}', body)
  end)

  it("says that a POST without a body has none", function()
    assert.matches("[Cc]ontent%-[Ll]ength: 0", (echo([[{ method = "POST" }]])))
    assert.not_matches("[Cc]ontent%-[Ll]ength", (echo([[{ method = "DELETE" }]])))
  end)

  it("sends a body that a function gives, also when that waits", function()
    local values = run([[
      local i = 0
      local res = fetch(up .. "/echo", { method = "PUT", body = function()
        i = i + 1
        require("buntime").sleep(0.005)
        return i <= 5 and ("piece %%d "):format(i) or nil
      end })
      return res.headers["x-pieces"], res:text():match("\n\n(.*)$")]])
    assert.same({ "5", "piece 1 piece 2 piece 3 piece 4 piece 5 " }, values)
  end)

  it("sends large bodies, of both kinds", function()
    local values = run([[
      local body, i = ("0123456789"):rep(300000), 0
      local a = fetch(up .. "/echo", { body = body }):text()
      local b = fetch(up .. "/echo", { headers = { ["content-length"] = 3000000 }, body = function()
        i = i + 1
        return i <= 30 and body:sub(1, 100000) or nil
      end }):text()
      return a:sub(-3000000) == body, b:sub(-3000000) == body, b:match("[Cc]ontent%%-[Ll]ength: (%%d+)"),
        b:match("[Tt]ransfer%%-[Ee]ncoding")]])
    assert.same({ true, true, "3000000" }, values)
  end)

  it("holds a function to the length it promised, and passes its errors on", function()
    local values = run([[
      local function try(headers, body)
        return (select(2, pcall(fetch, up .. "/echo", { headers = headers, body = body })))
      end
      local n = 0
      local function two() n = n + 1 return n <= 2 and "xx" or nil end
      local long = try({ ["content-length"] = "3" }, two)
      n = 0
      local short = try({ ["content-length"] = "5" }, two)
      return long, short, try(nil, function() error("mine", 0) end), try(nil, function() return 7 end)]])
    assert.matches("content%-length says 3 bytes, the function given as body gave 4", values[1])
    assert.matches("content%-length says 5 bytes, the function given as body gave 4", values[2])
    assert.equal("mine", values[3])
    assert.matches("it returned a number", values[4])
  end)

  it("stops sending when the server has had enough", function()
    local values = run([[
      local n = 0
      local res, message, code = fetch(up .. "/refuse", { body = function()
        n = n + 1
        require("buntime").sleep(0.001)
        return n < 100000 and ("x"):rep(10000) or nil
      end })
      return res and res.status or code, n < 100000]])
    assert.is_true(values[1] == 413 or values[1] == "CONNECTION_CLOSED")
    assert.is_true(values[2])
  end)

  it("hands the id of the request on, unless there is one", function()
    local code = [[return fetch(up .. "/echo", %s):text():match("[Xx]%%-[Rr]equest%%-[Ii]d: (%%S+)")]]
    local headers = { ["X-Request-Id"] = "from-the-client" }
    assert.same({ "from-the-client" }, post(code:format("{}"), headers):json())
    local own = [[{ headers = { ["X-REQUEST-ID"] = "mine" } }]]
    assert.same({ "mine" }, post(code:format(own), headers):json())
  end)

  it("sends the credentials of a URL, and never shows them", function()
    local values = run([[
      local url = up:gsub("//", "//anna:s3cret@")
      local res = fetch(url .. "/echo")
      local _, message, code = fetch(url:gsub(":%%d+$", ":1") .. "/x?key=s3cret")
      return res:text():match("[Aa]uthorization: (%%S+ %%S+)"), res.url, message, code]])
    assert.equal("Basic YW5uYTpzM2NyZXQ=", values[1])
    assert.equal(up .. "/echo", values[2])
    assert.equal("CONNECTION_REFUSED", values[4])
    assert.not_matches("s3cret", values[3])
    assert.not_matches("s3cret", s:log())
  end)

  -- Redirects ----------------------------------------------------------------------------------------

  it("follows redirects, and tells where it ended", function()
    local values = run([[
      local res = fetch(up .. "/location?302,/location?307,../hello")
      return res.status, res:text(), res.url]])
    assert.same({ 200, "hello", up .. "/hello" }, values)
  end)

  it("keeps method and body where they are kept", function()
    local function first_line(status, method)
      local options = [[{ method = %q, body = "data", headers = { ["Content-Type"] = "a/b" } }]]
      options = options:format(method)
      local text = get(("/location?%d,/echo"):format(status), options)[2]
      return text:match("^%S+") .. (text:find("a/b", 1, true) and " typed " or " ") .. text:match("\n\n(.*)$")
    end
    assert.equal("GET ", first_line(301, "POST"))
    assert.equal("GET ", first_line(302, "POST"))
    assert.equal("GET ", first_line(303, "PUT"))
    assert.equal("PUT typed data", first_line(302, "PUT"))
    assert.equal("POST typed data", first_line(307, "POST"))
    assert.equal("POST typed data", first_line(308, "POST"))
  end)

  it("leaves credentials behind when another host is asked", function()
    local options = [[{ headers = { Authorization = "mine", Cookie = "a=1", ["X-Other"] = "stays" } }]]
    local elsewhere = ("/location?302,http://localhost:%d/echo"):format(upstream.port)
    local text = get(elsewhere, options)[2]
    assert.not_matches("mine", text)
    assert.not_matches("a=1", text)
    assert.matches("stays", text)
    assert.matches("mine", get("/location?302,/echo", options)[2])
  end)

  it("stops following", function()
    assert.equal("TOO_MANY_REDIRECTS", (code_of("/loop")))
    assert.equal("TOO_MANY_REDIRECTS", (code_of("/location?302,/hello", "{ redirect = 0 }")))
    assert.same({ 200, "hello" }, get("/location?302,/hello", "{ redirect = 1 }"))
    assert.same({ 302, "moved" }, get("/location?302,/hello", "{ redirect = false }"))
    assert.equal("REDIRECT_FAILED", (code_of("/location?302,file:///etc/passwd")))
    assert.equal("REDIRECT_FAILED", (code_of("/location?307,/echo", [[{ body = function() end }]])))
  end)

  -- Failures -----------------------------------------------------------------------------------------

  it("names what went wrong", function()
    local function code(target, options)
      return (code_of(target, options))
    end
    assert.equal("CONNECTION_CLOSED", code("/nothing"))
    assert.equal("CONNECTION_CLOSED", code("/cut"))
    assert.equal("BAD_RESPONSE", code("/garbage"))
    assert.equal("BAD_RESPONSE", code("/many-headers"))
    assert.equal("BAD_RESPONSE", code("/strange-coding"))
    assert.equal("TIMEOUT", code("/never", "{ timeout = 0.05 }"))
    assert.equal("TIMEOUT", code("/drip", "{ timeout = 0.25 }"))
    assert.equal("DNS_FAILED", run([[return fetch("http://no-such-host.invalid/")]])[3])
    local closed = run([[return fetch("http://127.0.0.1:1/a?key=x#y")]])
    assert.equal("CONNECTION_REFUSED", closed[3])
    assert.matches("^GET http://127.0.0.1:1/a: ", closed[2])
  end)

  it("does not take what is no http URL", function()
    local urls = { "", "x", "/a", "ftp://127.0.0.1/", "file:///etc/passwd" }
    urls[6], urls[7], urls[8] = "http://", "http://a b/", "http://a/\r\nX: 1"
    for _, url in ipairs(urls) do
      assert.equal("INVALID_URL", run("return fetch(%q)", url)[3], url)
    end
  end)

  it("refuses misuse at the caller's line", function()
    local cases = {
      ["url must be a string, got nil"] = "fetch()",
      ['"tineout" is not known'] = "fetch(up, { tineout = 1 })",
      ["timeout must be a number from"] = "fetch(up, { timeout = 0 })",
      ["redirect must be a number from 0 to 50 or false, got true"] = "fetch(up, { redirect = true })",
      ["max_size must be a number of bytes or a size like 10mb, got 1 m"] = "fetch(up, { max_size = '1 m' })",
      ["body must be a string"] = "fetch(up, { body = {} })",
      ["either body or json"] = "fetch(up, { body = '', json = 1 })",
      ["method must be the name"] = "fetch(up, { method = 'GET /\\r\\n' })",
      ["the method TRACE"] = "fetch(up, { method = 'trace' })",
      ["HEAD request has no body"] = "fetch(up, { method = 'HEAD', body = '' })",
      ["fetch: "] = "fetch(up, { headers = { a = 'b\\r\\nX-Evil: 1' } })",
      ["fetch:  "] = "fetch(up, { headers = { ['a\\r\\nb'] = 'c' } })",
      ["transfer-encoding is made"] = "fetch(up, { headers = { ['Transfer-Encoding'] = 'chunked' } })",
    }
    for message, code in pairs(cases) do
      local values = run("return select(2, pcall(function() local x = %s return x end))", code)
      assert.matches("^run:1: fetch: ", values[1])
      assert.truthy(values[1]:find((message:gsub("%s+$", "")), 1, true), values[1])
    end
  end)

  it("bounds what it receives", function()
    assert.equal("BODY_TOO_LARGE", (code_of("/bytes?1001", "{ max_size = 1000 }")))
    assert.same({ 200, ("x"):rep(1000) }, get("/bytes?1000", "{ max_size = 1000 }"))
    assert.equal("BODY_TOO_LARGE", (code_of("/bytes?2048", '{ max_size = "1kb" }')))
    assert.equal("BODY_TOO_LARGE", (code_of("/endless", '{ max_size = "1mb" }')))
    assert.equal("BODY_TOO_LARGE", (code_of("/bytes?10000000000")))
    local before = s:memory()
    assert.equal("BODY_TOO_LARGE", (code_of("/bomb", '{ max_size = "1mb" }')))
    assert.is_true(s:memory() - before < 100 * 1024 * 1024)
  end)

  -- Streams ------------------------------------------------------------------------------------------

  it("streams, and is as slow as its reader", function()
    local code = [[
      local res = fetch(up .. "/bytes?200000000", { stream = true })
      local size, largest = 0, 0
      for chunk in res:chunks() do
        if size == 0 then
          require("buntime").sleep(0.2)
        end
        size, largest = size + #chunk, math.max(largest, #chunk)
      end
      return size, largest, res:read()]]
    local before = s:memory()
    local values = run(code)
    assert.equal(200000000, values[1])
    assert.is_true(values[2] <= 1024 * 1024, values[2])
    assert.is_nil(values[3])
    assert.is_true(s:memory() - before < 100 * 1024 * 1024, s:memory() - before) -- a sanitizer's quarantine
  end)

  it("returns as soon as the headers are there", function()
    local values = run([[
      local res = fetch(up .. "/stall", { stream = true, timeout = 0.1 })
      local first = res:read()
      local _, message, code = res:read()
      return res.status, first, code, message, select(3, res:read())]])
    assert.same({ 200, "begun", "TIMEOUT" }, { values[1], values[2], values[3] })
    assert.matches("nothing came for 0.1 seconds", values[4])
    assert.equal("TIMEOUT", values[5])
  end)

  it("bounds a stream's silence, not its length", function()
    local code = [[return fetch(up .. "/drip", { stream = true, timeout = 0.25 }):text()]]
    assert.same({ "....." }, run(code))
  end)

  it("reads streams whole, too", function()
    local values = run([[
      local res = fetch(up .. "/stats", { stream = true })
      local cut = fetch(up .. "/cut", { stream = true })
      local all = fetch(up .. "/bytes?70000000", { stream = true })
      return type(res:json().accepted), #res:text(), select(3, cut:text()), select(3, all:text())]])
    assert.equal("number", values[1])
    assert.is_true(values[2] > 10)
    assert.equal("CONNECTION_CLOSED", values[3])
    assert.equal("BODY_TOO_LARGE", values[4])
  end)

  it("raises in the loop over chunks when the stream breaks", function()
    local values = run([[
      local got = ""
      local ok, err = pcall(function()
        for chunk in fetch(up .. "/cut", { stream = true }):chunks() do
          got = got .. chunk
        end
      end)
      return ok, got, err.code, tostring(err)]])
    assert.same({ false, "only this", "CONNECTION_CLOSED" }, { values[1], values[2], values[3] })
    assert.matches("^CONNECTION_CLOSED: GET ", values[4])
  end)

  it("ends a stream on close", function()
    local before = stats().disconnected
    local values = run([[
      local res = fetch(up .. "/endless", { stream = true })
      local first = #res:read() > 0
      res:close()
      res:close()
      return first, select(3, res:read()), select(3, res:text())]])
    assert.same({ true, "CLOSED", "CLOSED" }, values)
    assert.truthy(process.eventually(function()
      return stats().disconnected > before
    end))
  end)

  it("relays a stream for many at once", function()
    local bodies = http.parallel(20, function()
      return s:get(("/client/relay?url=%s/bytes?1000000"):format(up)):json().size
    end)
    for _, size in ipairs(bodies) do
      assert.equal(1000000, size)
    end
  end)

  -- Tasks --------------------------------------------------------------------------------------------

  it("ends the transfer of a task that is cancelled", function()
    local before = stats().disconnected
    local values = run([[
      local t = task.spawn(function()
        local res = fetch(up .. "/endless", { stream = true })
        while true do
          res:read()
        end
      end)
      local u = task.spawn(fetch, up .. "/endless", { timeout = false, max_size = 1e15 })
      require("buntime").sleep(0.02)
      t:cancel()
      u:cancel()
      return pcall(u.wait, u)]])
    assert.same({ false, "the task was cancelled" }, values)
    assert.truthy(process.eventually(function()
      return stats().disconnected >= before + 2
    end))
  end)

  it("does not let two tasks wait for one response", function()
    local values = run([[
      local res = fetch(up .. "/stall", { stream = true })
      res:read()
      local t = task.spawn(res.read, res)
      local ok, problem = pcall(res.read, res)
      t:cancel()
      return ok, problem]])
    assert.is_false(values[1])
    assert.matches("another task waits", values[2])
  end)

  it("keeps connections alive: a thousand requests take one", function()
    local before = stats().accepted
    local values = run([[
      local sum = 0
      for i = 1, 1000 do
        sum = sum + fetch(up .. "/hello").status
      end
      return sum]])
    assert.equal(200000, values[1])
    assert.is_true(stats().accepted - before <= 3, stats().accepted - before)
  end)

  it("asks again when a kept connection was closed meanwhile", function()
    local values = run([[
      local sum = 0
      for i = 1, 50 do
        sum = sum + fetch(up .. "/hang-up").status
        require("buntime").sleep(i %% 2 * 0.002)
      end
      return sum]])
    assert.equal(10000, values[1])
  end)

  it("has a hundred answers at once", function()
    local values = run([[
      local tasks, sum = {}, 0
      local began = os.clock()
      for i = 1, 100 do
        tasks[i] = task.spawn(function() return fetch(up .. "/slow").status end)
      end
      for _, t in ipairs(tasks) do
        sum = sum + t:wait()
      end
      return sum]])
    assert.equal(20000, values[1])
  end)

  it("has a limit on how many are open", function()
    local values = run([[
      local tasks, codes = {}, {}
      for i = 1, 1010 do
        tasks[i] = task.spawn(fetch, up .. "/never", {})
      end
      for _, t in ipairs(tasks) do
        if not t:cancel() then
          local _, _, code = t:wait()
          codes[code] = (codes[code] or 0) + 1
        end
      end
      return codes.FETCH_LIMIT, fetch(up .. "/hello").status]])
    assert.same({ 10, 200 }, values)
  end)
end)

describe("fetch and the server", function()
  local upstream, up

  before_each(function()
    upstream = server.start({ command = { "luajit", UPSTREAM } })
    up = "http://127.0.0.1:" .. upstream.port
  end)
  after_each(server.stop_all)

  it("leave nothing behind at a reload", function()
    server.with({ plugins = client(), env = CLEAN }, function(s)
      local function run(code)
        return s:post("/client/run?up=" .. up, { body = code }):json()
      end
      local code = [[
        local res = fetch(up .. "/endless", { stream = true })
        package.loaded.kept = res
        task.spawn(fetch, up .. "/never", { timeout = false })
        return res:read() ~= nil]]
      assert.same({ true }, run(code))
      s:write("client/plugin.lua", CLIENT .. "-- changed")
      assert.equal(200, s:reload().status)
      assert.truthy(process.eventually(function()
        return http.request(upstream.port, "GET", "/stats"):json().disconnected >= 1
      end))
      assert.same({ 200 }, run([[return fetch(up .. "/hello").status]]))
    end)
  end)

  it("end while transfers run", function()
    server.with({ plugins = client(), env = CLEAN }, function(s)
      local code = [[
        package.loaded.kept = fetch(up .. "/endless", { stream = true })
        task.spawn(fetch, up .. "/never", { timeout = false })]]
      assert.equal(200, s:post("/client/run?up=" .. up, { body = code }).status)
    end)
  end)

  it("go through the proxy of the environment", function()
    local env = { http_proxy = up, no_proxy = "127.0.0.1", https_proxy = false, all_proxy = false }
    server.with({ plugins = client(), env = env }, function(s)
      local function ask(url)
        local res = s:post("/client/run?up=x", { body = ("return fetch(%q).status"):format(url) })
        return res:json()[1]
      end
      assert.equal(404, ask("http://no-such-host.invalid/hello")) -- the whole URL is no target of its
      assert.equal(200, ask(up .. "/hello"))
    end)
  end)
end)

describe("fetch over TLS", function()
  local dir, tls

  local function openssl(...)
    local code, _, err = process.run({ args = { "openssl", ... } })
    assert.equal(0, code, err)
  end

  setup(function()
    dir = process.temp_dir()
    local subject = { "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost" }
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", dir .. "/key",
      "-out", dir .. "/cert", unpack(subject))
    local pair = { "-cert", dir .. "/cert", "-key", dir .. "/key" }
    tls = process.spawn({
      args = { "openssl", "s_server", "-www", "-accept", "0", unpack(pair) },
      stdout = dir .. "/log",
    })
  end)
  teardown(function()
    tls:kill("KILL")
    tls:wait(5)
    for _, name in ipairs({ "key", "cert", "log" }) do
      os.remove(dir .. "/" .. name)
    end
    os.remove(dir)
  end)
  after_each(server.stop_all)

  local function ask(env, host)
    local port = process.eventually(function()
      return (process.read(dir .. "/log") or ""):match("ACCEPT %S-:(%d+)%s")
    end)
    local status
    for name, value in pairs(CLEAN) do
      env[name] = value
    end
    server.with({ plugins = client(), env = env }, function(s)
      local code = "local r, m, code = fetch(%q) return r and r.status or code"
      local url = ("https://%s:%s/"):format(host, port)
      status = s:post("/client/run?up=x", { body = code:format(url) }):json()[1]
    end)
    return status
  end

  it("trusts no certificate that nobody vouches for", function()
    assert.equal("TLS_FAILED", ask({ SSL_CERT_FILE = false }, "localhost"))
  end)

  it("trusts those of SSL_CERT_FILE, for the name they are made for", function()
    assert.equal(200, ask({ SSL_CERT_FILE = dir .. "/cert" }, "localhost"))
    assert.equal("TLS_FAILED", ask({ SSL_CERT_FILE = dir .. "/cert" }, "127.0.0.1"))
  end)
end)

describe("weather-proxy", function()
  after_each(server.stop_all)

  local options = { copy = { "plugins/weather-proxy" }, env = CLEAN }

  it("asks its own fake, once for all who ask at the same time", function()
    server.with(options, function(s)
      local first = s:get("/weather/Oslo")
      assert.equal("miss", first.headers["x-cache"])
      assert.equal("oslo", first:json().city)
      assert.same(first:json(), s:get("/weather/oslo"):json())
      local misses = 0
      http.parallel(30, function()
        local res = s:get("/weather/Rome")
        assert.equal(200, res.status)
        misses = misses + (res.headers["x-cache"] == "miss" and 1 or 0)
      end)
      assert.equal(1, misses)
      assert.equal(404, s:get("/weather/%2Fetc").status)
    end)
  end)

  it("tells when its service is not there", function()
    local env = { WEATHER_UPSTREAM = "http://127.0.0.1:1/v1" }
    for name, value in pairs(CLEAN) do
      env[name] = value
    end
    server.with({ copy = options.copy, env = env }, function(s)
      local res = s:get("/weather/oslo")
      assert.same({ 502, "CONNECTION_REFUSED" }, { res.status, res:json().code })
    end)
  end)
end)
