-- Bad input that has no spec of its own elsewhere: a full disk, endless bodies, a flood of messages. Each is
-- an error with a code, and the server goes on.

local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local process = require("spec.support.process")
local server = require("spec.support.server")
local websocket = require("spec.support.websocket")

local plugin = fixtures.plugin

local MB = 1024 * 1024

local DISK = [[
local fs = require("buntime.fs")
local sqlite = require("buntime.sqlite")
local routes = require("buntime.router").new()
local db

routes:post("/file", function(c)
  local ok, message, code = fs.write("file", ("x"):rep(tonumber(c.req:query("size"))))
  return c:json({ ok = ok or false, message = message, code = code, names = fs.list() })
end)
routes:post("/row", function(c)
  local size = tonumber(c.req:query("size"))
  local ok, err = pcall(db.exec, db, "insert into t (data) values (zeroblob(?))", size)
  local count = db:first("select count(*) n from t").n
  return c:json({ ok = ok, code = not ok and err.code, statement = not ok and err.statement, count = count })
end)
return {
  routes = routes,
  onInit = function()
    db = sqlite.open("main.db", { migrations = { "create table t (id integer primary key, data blob)" } })
  end,
}]]

local FLOOD = [[
local routes = require("buntime.router").new()
local count = 0
routes:ws("/socket", { message = function() count = count + 1 end })
routes:get("/count", function(c) return c:json({ count = count }) end)
routes:post("/body", function(c) return c:text(tostring(#c.req.body)) end)
return { routes = routes }]]

describe("a full disk", function()
  after_each(server.stop_all)

  it("is an error with a code, of files and of databases, and what was there stays whole", function()
    local command = { "sh", "-c", 'ulimit -f 4096; exec "$0" serve', server.binary() } -- 2 MB
    local plugins = { disk = plugin("name: disk\nbase: /disk\n", DISK) }
    server.with({ plugins = plugins, command = command }, function(s)
      local function post(path)
        return s:request("POST", "/disk" .. path):json()
      end
      assert.same({ true, 1 }, { post("/row?size=100").ok, post("/row?size=3000000").count })
      local row = post("/row?size=3000000")
      assert.same({ false, 1 }, { row.ok, row.count })
      assert.truthy(row.code == "SQLITE_FULL" or row.code:find("^SQLITE_IOERR"), row.code)
      assert.matches("^insert into t", row.statement)
      assert.same({ true, 2 }, { post("/row?size=100").ok, post("/row?size=3000000").count })

      assert.is_true(post("/file?size=10").ok)
      local file = post("/file?size=3000000")
      assert.same({ false, "EFBIG" }, { file.ok, file.code })
      assert.equal(10, #process.read(s.dir .. "/.buntime/data/disk/file"))
      for _, name in ipairs(file.names) do
        assert.truthy(name == "file" or name:find("^main%.db"), name)
      end
      assert.is_true(post("/file?size=20").ok)
    end)
  end)
end)

describe("a body without end", function()
  after_each(server.stop_all)

  it("is refused by its length, before it comes", function()
    server.with({ plugins = { flood = plugin("name: flood\nbase: /flood\n", FLOOD) } }, function(s)
      local head = "POST /flood/body HTTP/1.1\r\nHost: x\r\nContent-Length: 10737418240\r\n\r\n"
      local answer = s:raw(head, 10)
      assert.matches("^HTTP/1%.1 413 ", answer)
      assert.truthy(answer:find("BODY_TOO_LARGE", 1, true))
      assert.equal("5", s:request("POST", "/flood/body", { body = "12345" }).body)
    end)
  end)

  it("is cut at the limit when it comes in chunks", function()
    local plugins = { flood = plugin("name: flood\nbase: /flood\n", FLOOD) }
    server.with({ plugins = plugins, env = { RUNTIME_BODY_LIMIT = "2mb" } }, function(s)
      local memory = s:memory()
      local conn = s:connect()
      conn:send("POST /flood/body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
      local chunk, sent = ("10000\r\n%s\r\n"):format(("x"):rep(65536)), 0
      conn.sock:settimeout(5)
      while sent < 4000 and conn.sock:send(chunk) do
        sent = sent + 1
      end
      assert.is_true(sent < 4000, "all of it was taken")
      conn:close()
      assert.is_true(s:memory() - memory < 64 * MB)
      assert.equal("5", s:request("POST", "/flood/body", { body = "12345" }).body)
    end)
  end)
end)

describe("a flood of messages", function()
  after_each(server.stop_all)

  it("is taken in turns with everybody else, in bounded memory", function()
    server.with({ plugins = { flood = plugin("name: flood\nbase: /flood\n", FLOOD) } }, function(s)
      local ws = websocket.open(s.port, "/flood/socket")
      local thousand = websocket.frame(websocket.TEXT, "hello"):rep(1000)
      local memory, slowest, total = s:memory(), 0, 60
      for _ = 1, total do
        ws.sock:settimeout(20)
        assert(ws.sock:send(thousand))
        local began = socket.gettime()
        assert.equal(200, s:get("/flood/count").status)
        slowest = math.max(slowest, socket.gettime() - began)
      end
      assert.is_true(process.eventually(function()
        return s:get("/flood/count"):json().count == total * 1000
      end, 30))
      assert.is_true(slowest < 2, "an answer took " .. slowest)
      assert.is_true(s:memory() - memory < 64 * MB)
      ws:close()
    end)
  end)
end)
