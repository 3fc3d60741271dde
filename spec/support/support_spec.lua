local socket = require("socket")

local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local FAKE = process.absolute("spec/support/fake_server.lua")

local function fake(...)
  return { command = { "luajit", FAKE, ... } }
end

describe("process", function()
  it("tells exit statuses, signals, output and time-outs apart", function()
    local code, out, err = process.run({ args = { "sh", "-c", "echo a; echo b >&2; exit 3" } })
    assert.same({ 3, "a\n", "b\n" }, { code, out, err })

    local _, _, _, killed = process.run({ args = { "sh", "-c", "kill -9 $$" } })
    assert.equal("signal 9", killed)

    local _, _, _, late = process.run({ args = { "sleep", "30" } }, 0.05)
    assert.equal("timeout", late)

    assert.equal(127, (process.run({ args = { "/no/such/program" } })))
  end)

  it("gives the child its environment and directory, and no configuration of ours", function()
    local _, out = process.run({
      args = { "sh", "-c", "echo $RUNTIME_X-$A-$HOME-$PWD-$LUA_PATH" },
      cwd = "/",
      env = { A = "1", HOME = false, RUNTIME_X = "set" },
    })
    assert.equal("set-1--/-\n", out)
  end)

  it("leaves no descriptor open in the child", function()
    local file = io.open("/dev/null")
    local _, out = process.run({ args = { "ls", "/proc/self/fd" } })
    file:close()
    assert.equal("0\n1\n2\n3\n", out) -- 3 is what ls reads
  end)
end)

describe("http.connect", function()
  it("raises when nobody listens", function()
    local listener = assert(socket.bind("127.0.0.1", 0))
    local _, port = listener:getsockname()
    listener:close()
    assert.has_error(function()
      http.connect(tonumber(port))
    end)
  end)
end)

describe("server", function()
  after_each(server.stop_all)

  it("starts, answers, logs and stops", function()
    local s = server.start(fake())
    local res = s:post("/x", { headers = { ["X-A"] = { "1", "2" } }, json = { a = 1 } })
    assert.equal(200, res.status)
    assert.matches("^POST /x HTTP/1.1\r\nHost: localhost:" .. s.port, res.body)
    assert.matches("X%-A: 1\r\nX%-A: 2", res.body)
    assert.matches('\r\n\r\n{"a":1}$', res.body)
    assert.equal("listening", s:log_lines()[1].msg)
    assert.is_true(s:memory() > 100000)
    s:stop()
    assert.is_nil(process.absolute(s.dir))
  end)

  it("reads chunks and repeated headers", function()
    server.with(fake(), function(s)
      local res = s:get("/chunked")
      assert.same({ a = 1 }, res:json())
      assert.equal("a, b", res.headers["x-two"])
      assert.same({ "x-two", "b" }, res.header_list[3])
    end)
  end)

  it("keeps a connection for several requests, pipelined too", function()
    server.with(fake(), function(s)
      local conn = s:connect()
      assert.matches("GET /1 ", conn:get("/1").body)
      assert.matches("GET /2 ", conn:get("/2").body)
      conn:close()
      local answer, closed = s:raw("GET /3 HTTP/1.1\r\n\r\n", 0.1)
      assert.matches("GET /3", answer)
      assert.is_false(closed)
    end)
  end)

  it("runs requests side by side", function()
    server.with(fake(), function(s)
      local began = socket.gettime()
      local results = http.parallel(20, function(i)
        return http.request(s.port, "GET", "/slow", { headers = { N = tostring(i) } })
      end)
      assert.is_true(socket.gettime() - began < 2)
      for i = 1, 20 do
        assert.matches("\r\nN: " .. i .. "\r\n", results[i].body)
      end
    end)
  end)

  it("lays out and changes plugin folders", function()
    local options = fake()
    options.plugins = { ["@a/b"] = { ["plugin.lua"] = "return 1", ["lib/x.lua"] = "" } }
    options.files = { ["env"] = "A=1\n" }
    local s = server.start(options)
    assert.equal("return 1", s:read("@a/b/plugin.lua"))
    s:write("c/new/x.lua", "x")
    assert.equal("x", s:read("c/new/x.lua"))
    s:remove("@a")
    assert.is_nil(s:read("@a/b/lib/x.lua"))
    assert.equal("A=1\n", process.read(s.dir .. "/env"))
    s:stop()
  end)

  it("fails a stop with another exit status", function()
    local s = server.start(fake("3"))
    assert.has_error_match(function()
      s:stop()
    end, "exit status 3")
  end)

  it("fails a stop after an error that was not expected, and only then", function()
    local s = server.start(fake())
    s:get("/error")
    assert.has_error_match(function()
      s:stop()
    end, "unexpected error in the log: .*it broke")

    s = server.start(fake())
    s:get("/error")
    s:allow_errors("it broke")
    assert.equal("it broke", s:errors()[1].msg)
    s:stop()
  end)

  it("fails a stop after a sanitizer's report", function()
    local options = fake()
    options.command = { "sh", "-c", "echo AddressSanitizer: x >&2; exec luajit " .. FAKE }
    local s = server.start(options)
    assert.has_error_match(function()
      s:stop()
    end, "a sanitizer reports")
  end)

  it("shows the log of a server that does not start", function()
    assert.has_error_match(function()
      server.start({ command = { "sh", "-c", "echo no luck >&2; exit 1" } })
    end, "no luck")
  end)
end)
