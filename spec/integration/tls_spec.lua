-- HTTPS: how it is switched on, what is spoken, and how a certificate is replaced.

local h2 = require("spec.support.h2")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local echo = {
  ["manifest.yaml"] = 'name: echo\nbase: "/echo"\n',
  ["plugin.lua"] = [[
local Router = require("buntime.router")
return function()
  local routes = Router.new()
  routes:get("/", function(c)
    return c:json({ url = c.req.url, scheme = c.req.scheme, cookie = c.req:header("cookie") })
  end)
  routes:get("/slow", function(c)
    require("buntime").sleep(0.3)
    return c:text("slow")
  end)
  routes:post("/length", function(c)
    return c:text(tostring(#c.req:text()))
  end)
  return { routes = routes }
end
]],
}

local function start(options)
  options = h2.options(options)
  options.plugins = { echo = echo }
  return server.start(options)
end

--- curl, whose answer is the body and then the words of `write`.
local function curl(args)
  local list = { "/usr/bin/curl", "-sk", "--max-time", "20" }
  for _, arg in ipairs(args) do
    list[#list + 1] = arg
  end
  local code, out, err = process.run({ args = list }, 30)
  return code, out, err
end

local function url(s, path)
  return ("https://127.0.0.1:%d%s"):format(s.port, path)
end

local function common_name(s)
  local sock = assert(h2.tls(s.port))
  local subject = sock:getpeercertificate():subject()
  sock:close()
  return subject[1].value
end

describe("https", function()
  after_each(server.stop_all)

  it("is what the port speaks, with ALPN for h2 and http/1.1", function()
    local s = start()
    assert.equal(("https://127.0.0.1:%d"):format(s.port), s:wait_log("listening").url)
    for protocol, version in pairs({ ["--http2"] = "2", ["--http1.1"] = "1.1" }) do
      local code, out = curl({ protocol, "-w", "|%{http_version}|%{http_code}", url(s, "/echo") })
      assert.equal(0, code)
      local body, spoken, status = out:match("^(.*)|(.-)|(.-)$")
      assert.equal(version, spoken)
      assert.equal("200", status)
      assert.truthy(body:find('"scheme":"https"', 1, true))
      assert.truthy(body:find(('"url":"%s"'):format(url(s, "/echo")), 1, true))
    end
    s:stop()
  end)

  it("speaks HTTP/1.1 to who does not ask, and ends with who asks for something else", function()
    local s = start()
    local sock = assert(h2.tls(s.port, { alpn = false }))
    sock:send("GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert.truthy(assert(sock:receive("*l")):find("HTTP/1.1 200", 1, true))
    sock:close()
    assert.is_nil((h2.tls(s.port, { alpn = { "smtp" } })))
    s:stop()
  end)

  it("speaks no version below 1.2 and no cipher without forward secrecy", function()
    local s = start()
    local function handshake(...)
      local code = process.run({
        args = { "/usr/bin/openssl", "s_client", "-connect", "127.0.0.1:" .. s.port, ... },
      }, 20)
      return code == 0
    end
    assert.is_true(handshake("-tls1_3"))
    assert.is_true(handshake("-tls1_2"))
    assert.is_false(handshake("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"))
    assert.is_false(handshake("-tls1_2", "-cipher", "AES128-GCM-SHA256"))
    s:stop()
  end)

  it("does not serve plain HTTP on the same port", function()
    local s = start()
    local answer, closed = s:raw("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 5)
    assert.is_true(closed)
    assert.is_nil(answer:find("HTTP", 1, true))
    assert.equal(200, h2.get(s.port, "/echo").status)
    s:stop()
  end)

  it("reads what comes in one piece with the end of the handshake", function()
    local s = start()
    -- openssl sends its input right behind its Finished
    local code, out = process.run({
      args = { "/bin/sh", "-c", (
        "printf 'GET /echo HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | "
        .. "openssl s_client -quiet -ign_eof -connect 127.0.0.1:%d 2>/dev/null"):format(s.port) },
    }, 20)
    assert.equal(0, code)
    assert.truthy(out:find("HTTP/1.1 200", 1, true))
    s:stop()
  end)

  it("refuses over TLS what it refuses in the clear", function()
    local s = start()
    local sock = assert(h2.tls(s.port, { alpn = { "http/1.1" } }))
    sock:send("POST /echo/length HTTP/1.1\r\nHost: x\r\n"
      .. "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert.truthy(assert(sock:receive("*l")):find("HTTP/1.1 400", 1, true))
    sock:close()
    s:stop()
  end)
end)

describe("a certificate", function()
  after_each(server.stop_all)

  it("is replaced at a reload and on SIGHUP, and connections stay", function()
    local s = start()
    local old = h2.connect(s.port)
    assert.equal(200, old:response(old:request("GET", "/echo")).status)
    assert.equal("localhost", common_name(s))
    local slow = old:request("GET", "/echo/slow")

    for i, name in ipairs({ "second", "third" }) do
      local cert, key = h2.certificate(name)
      s:write("../cert.pem", cert)
      s:write("../key.pem", key)
      if i == 1 then
        s.process:kill("HUP")
      else
        local code = curl({ "-X", "POST", "-H", "Origin: https://127.0.0.1:" .. s.port,
          url(s, "/api/plugins/reload") })
        assert.equal(0, code)
      end
      assert.is_truthy(process.eventually(function()
        return common_name(s) == name
      end, 10))
    end
    assert.equal("slow", old:response(slow).body)
    assert.equal(200, old:response(old:request("GET", "/echo")).status)
    old:close()
    s:stop()
  end)

  it("that is bad is not taken: the old one stays, and the log says so", function()
    local s = start()
    local _, other_key = h2.certificate("other")
    s:write("../key.pem", other_key)
    s.process:kill("HUP")
    local line = assert(s:wait_log("TLS_KEY"))
    assert.equal("error", line.level)
    assert.truthy(line.msg:find("key.pem is not the certificate's", 1, true))
    assert.is_nil(line.msg:find("PRIVATE", 1, true))
    assert.equal("localhost", common_name(s))
    s:allow_errors("TLS_KEY")
    s:stop()
  end)

  local cert, key = h2.certificate()
  local _, other_key = h2.certificate("other")
  local bad = {
    ["that is missing"] = { nil, key, "TLS_CERT: cannot read cert.pem: No such file" },
    ["that is none"] = { "hello", key, "TLS_CERT: cert.pem is not a PEM certificate" },
    ["whose key is missing"] = { cert, nil, "TLS_KEY: cannot read key.pem: No such file" },
    ["whose key is none"] = { cert, "hello", "TLS_KEY: key.pem is not the certificate's PEM private key" },
    ["with another's key"] = { cert, other_key, "TLS_KEY: key.pem is not the certificate's" },
  }
  for what, case in pairs(bad) do
    it(what .. " stops the start", function()
      local code, out, err = server.run({ "serve" }, {
        files = { ["cert.pem"] = case[1], ["key.pem"] = case[2] },
        env = { TLS_CERT = "cert.pem", TLS_KEY = "key.pem" },
      })
      assert.equal(1, code)
      assert.truthy((out .. err):find(case[3], 1, true), out .. err)
    end)
  end
end)

describe("buntime health", function()
  after_each(server.stop_all)

  it("asks over TLS where that is spoken", function()
    local s = start()
    local env = { TLS_CERT = "cert.pem", TLS_KEY = "key.pem", PORT = s.port }
    local code, out = server.run({ "health" }, { files = h2.options().files, env = env })
    assert.equal(0, code)
    assert.truthy(out:find('"ok":true', 1, true))
    assert.equal(1, (server.run({ "health" }, { env = { PORT = s.port } }))) -- in the clear
    s:stop()
  end)
end)

describe("a socket over TLS", function()
  after_each(server.stop_all)

  it("is closed by a client that goes, in the middle of anything", function()
    local s = start()
    for _, bytes in ipairs({ "", "GET ", "GET /echo/slow HTTP/1.1\r\nHost: x\r\n\r\n" }) do
      local sock = assert(h2.tls(s.port, { alpn = { "http/1.1" } }))
      if bytes ~= "" then
        sock:send(bytes)
      end
      sock:close()
    end
    local conn = http.connect(s.port) -- before its handshake
    conn:close()
    assert.equal(200, h2.get(s.port, "/echo").status)
    s:stop()
  end)
end)
