-- Files that clients send: to memory and to the disk, hostile names, and what is left behind.

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local lfs = require("lfs")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin = fixtures.plugin

local PLUGIN = [[
local routes = require("buntime.router").new()
local fs = require("buntime.fs")

local function told(files)
  local out = {}
  for i, file in ipairs(files) do
    out[i] = { filename = file.filename, size = file.size, path = file.path, data = file.data }
  end
  return out
end

routes:post("/memory", function(c)
  return c:json(told(c.req:files({ max_files = 3 })))
end)
routes:post("/disk", function(c)
  local files = c.req:files({ to = "disk", max_total = 30000000 })
  local out = told(files)
  for i, file in ipairs(files) do
    out[i].text = file.size < 100 and assert(fs.read(file.path)) or nil
    out[i].on_disk = assert(fs.stat(file.path)).size
  end
  return c:json(out)
end)
routes:post("/keep", function(c)
  for i, file in ipairs(c.req:files({ to = "disk" })) do
    assert(file:move("kept-" .. i))
  end
  return c:text(assert(fs.read("kept-1")))
end)
routes:post("/wait", function(c)
  local files = c.req:files({ to = "disk" })
  require("buntime").sleep(60)
  return c:json(told(files))
end)
routes:post("/caught", function(c)
  local ok, err = pcall(c.req.files, c.req, { to = "disk" })
  return c:json({ ok = ok, code = not ok and err.code, message = not ok and err.message })
end)
return { routes = routes }]]

local function up(name, limits)
  return plugin(("name: %s\nbase: /%s\n%s"):format(name, name, limits or ""), PLUGIN)
end

local function form(files)
  local out = {}
  for _, file in ipairs(files) do
    out[#out + 1] = ('--B\r\ncontent-disposition: form-data; name="f"; filename=%s\r\n\r\n'):format(file[1])
    out[#out + 1] = file[2] .. "\r\n"
  end
  return table.concat(out) .. "--B--"
end

local HEADERS = { ["content-type"] = "multipart/form-data; boundary=B" }

local function post(s, path, files)
  return s:request("POST", path, { body = form(files), headers = HEADERS })
end

local function spooled(s)
  local folder, count = s.dir .. "/.buntime/data/up/.buntime-uploads", 0
  if lfs.attributes(folder, "mode") == "directory" then
    for name in lfs.dir(folder) do
      count = count + (name:sub(1, 1) == "." and 0 or 1)
    end
  end
  return count
end

local function assert_nothing_left(s)
  assert.is_true(process.eventually(function()
    return spooled(s) == 0
  end, 10))
end

--- @type { [1]: string, [2]: string }[] What a client says, what the plugin sees.
local NAMES = {
  { '"plain.txt"', "plain.txt" },
  { '"../../x"', "x" },
  { '"/etc/cron.d/x"', "x" },
  { '"..\\..\\x"', "x" },
  { '".."', "" },
  { '"a%22b.txt"', 'a"b.txt' },
  { '"\195\169.txt"', "\195\169.txt" },
  { '"\255.txt"', "\239\191\189.txt" },
  { '"a\1\127b"', "ab" },
  { "x; filename*=UTF-8''..%2F%00%C3%A9", "\195\169" },
  { '"' .. ("n"):rep(2000) .. '"', ("n"):rep(255) },
}

describe("uploads", function()
  after_each(server.stop_all)

  it("give every file a harmless name, and none on the disk", function()
    server.with({ plugins = { up = up("up") } }, function(s)
      for _, case in ipairs(NAMES) do
        local file = post(s, "/up/memory", { { case[1], "data" } }):json()[1]
        assert.same({ case[2], "data" }, { file.filename, file.data })
        file = post(s, "/up/disk", { { case[1], "data" } }):json()[1]
        assert.same({ case[2], "data" }, { file.filename, file.text })
        assert.matches("^%.buntime%-uploads/%x+$", file.path)
      end
      assert_nothing_left(s)
    end)
  end)

  it("go to the disk whole and in order, and go when the request ends", function()
    server.with({ plugins = { up = up("up", "maxBodySize: 32mb") } }, function(s)
      local large = ("0123456789abcdef"):rep(65536 * 10)
      local files = post(s, "/up/disk", { { '"a"', "-first" }, { '"b"', large }, { '"c"', "" } }):json()
      assert.equal("-first", files[1].text)
      assert.equal(#large, files[2].on_disk)
      assert.equal(0, files[3].on_disk)
      assert_nothing_left(s)
    end)
  end)

  it("stay where they were moved to", function()
    server.with({ plugins = { up = up("up") } }, function(s)
      assert.equal("kept", post(s, "/up/keep", { { '"a"', "kept" } }).body)
      assert_nothing_left(s)
      assert.equal("kept", process.read(s.dir .. "/.buntime/data/up/kept-1"))
    end)
  end)

  it("go with a client that leaves", function()
    server.with({ plugins = { up = up("up") } }, function(s)
      local body = form({ { '"a"', "data" } })
      local conn = http.connect(s.port)
      conn:send(
        ("POST /up/wait HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"):format(
          HEADERS["content-type"],
          #body,
          body
        )
      )
      assert.is_true(process.eventually(function()
        return spooled(s) == 1
      end, 10))
      conn:close()
      assert_nothing_left(s)
    end)
  end)

  it("are removed at the next start when the process died", function()
    server.with({ plugins = { up = up("up") } }, function(s)
      post(s, "/up/disk", { { '"a"', "data" } })
      assert_nothing_left(s)
      s:write("../.buntime/data/up/.buntime-uploads/0123", "left")
      s:write("../.buntime/data/up/.buntime-uploads/4567", "fresh")
      assert(lfs.touch(s.dir .. "/.buntime/data/up/.buntime-uploads/0123", os.time() - 3600))
      assert.equal(200, s:reload().status)
      post(s, "/up/disk", { { '"a"', "data" } })
      assert.is_true(process.eventually(function()
        return spooled(s) == 1
      end, 10))
      assert.equal("fresh", process.read(s.dir .. "/.buntime/data/up/.buntime-uploads/4567"))
    end)
  end)

  it("over a limit are refused, and the server goes on", function()
    server.with({ plugins = { up = up("up") } }, function(s)
      local file = { '"a"', "x" }
      local res = post(s, "/up/memory", { file, file, file, file })
      assert.same({ 413, "UPLOAD_TOO_LARGE" }, { res.status, res:json().code })
      res = s:request("POST", "/up/disk", { body = "--B\r\n", headers = HEADERS })
      assert.same({ 400, "INVALID_FORM" }, { res.status, res:json().code })
      assert.equal(200, post(s, "/up/memory", { file, file, file }).status)
    end)
  end)

  it("that the disk has no room for are an error to catch, and leave nothing", function()
    local command = { "sh", "-c", 'ulimit -f 2048; exec "$0" serve', server.binary() }
    server.with({ plugins = { up = up("up") }, command = command }, function(s)
      local large = ("x"):rep(3 * 1024 * 1024)
      local res = post(s, "/up/caught", { { '"a"', large } }):json()
      assert.same({ false, "EFBIG" }, { res.ok, res.code })
      assert_nothing_left(s)
      assert.is_true(post(s, "/up/caught", { { '"a"', "small" } }):json().ok)
    end)
  end)
end)
