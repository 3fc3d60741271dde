-- Packages: uploads, what is refused, rollback and removal, and what happens when things go wrong.

local cjson = require("cjson")
local lfs = require("lfs")

local archives = require("spec.support.archives")
local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local KEY = "a root key that is long enough"

--- The entries of a plugin that answers with a text at its base.
local function entries(name, version, text, prefix, lines)
  prefix = prefix or ""
  local manifest = ("name: %q\nversion: %s\nbase: /%s\n%s"):format(
    name,
    version,
    name:match("[^/]+$"),
    lines or ""
  )
  return { { prefix .. "manifest.yaml", manifest }, { prefix .. "plugin.lua", fixtures.answers(text) } }
end

local function upload(s, name, bytes, query)
  return s:post("/api/plugins/upload" .. (query or ""), archives.form(name, bytes))
end

--- Uploads and loads, and expects that it is well.
local function install(s, name, version, text)
  local res = upload(s, "p.tgz", archives.tgz(entries(name, version, text)), "?reload=true")
  assert.equal(200, res.status, res.body)
  return res:json()
end

--- All there is below a folder: path → content.
local function snapshot(dir, found, below)
  found, below = found or {}, below or ""
  for name in lfs.dir(dir) do
    if name ~= "." and name ~= ".." then
      local path, key = dir .. "/" .. name, below .. name
      if lfs.symlinkattributes(path, "mode") == "directory" then
        found[key .. "/"] = true
        snapshot(path, found, key .. "/")
      else
        found[key] = process.read(path) or "?"
      end
    end
  end
  return found
end

--- Waits for what is left of an operation to be gone.
local function settled(dir)
  return process.eventually(function()
    for name in lfs.dir(dir) do
      if name:find("^%.buntime%-") then
        return false
      end
    end
    return true
  end)
end

local function kept(s, name)
  local list = {}
  for i, item in ipairs(s:get("/api/plugins/" .. name):json().versions) do
    list[i] = item.version
  end
  return table.concat(list, " ")
end

local function post(s, path)
  return s:post("/api/plugins/" .. path)
end

describe("packages", function()
  after_each(server.stop_all)

  describe("upload", function()
    it("installs a plugin and loads it when asked to", function()
      server.with({}, function(s)
        local res = upload(s, "hello.tgz", archives.tgz(entries("hello", "1.0.0", "one")))
        assert.equal(200, res.status, res.body)
        local body = res:json()
        assert.is_true(body.success)
        assert.equal("hello", body.data.plugin.name)
        assert.equal("1.0.0", body.data.plugin.version)
        assert.truthy(body.data.plugin.installedAt:find("^%d+%-%d%d%-%d%dT%d%d:%d%d:%d%d"))
        assert.is_nil(body.reload)
        assert.equal(404, s:get("/hello").status)
        assert.equal(200, s:reload().status)
        assert.equal("one", s:get("/hello").body)

        res = upload(s, "hello.zip", archives.zip(entries("hello", "2.0.0", "two")), "?reload=true")
        assert.equal(200, res.status, res.body)
        assert.is_true(res:json().reload.ok)
        assert.equal("loaded", res:json().reload.plugins[1].status)
        assert.equal("two", s:get("/hello").body)
        assert.equal("1.0.0", kept(s, "hello"))
        assert.truthy(settled(s.dir .. "/plugins"))
        assert.equal("drwxr-xr-x", lfs.attributes(s:path("hello"), "permissions"):gsub("^", "d"))
      end)
    end)

    it("takes what curl sends, by the names of the manifest, and lifts a folder around it", function()
      server.with({}, function(s)
        local path = s.dir .. "/x.tar.gz"
        local file = assert(io.open(path, "wb"))
        file:write(archives.tgz(entries("@acme/hello", "1.0.0", "scoped", "hello-1.0.0/")))
        file:close()
        local url = ("http://127.0.0.1:%d/api/plugins/upload?reload=true"):format(s.port)
        local code, out = process.run({ args = { "curl", "-sS", "-F", "file=@" .. path, url } })
        assert.equal(0, code)
        assert.is_true(cjson.decode(out).success, out)
        assert.equal("scoped", s:get("/hello").body)
        assert.is_string(s:read("@acme/hello/plugin.lua"))
        assert.equal(200, s:delete("/api/plugins/%40acme%2Fhello").status)
        assert.is_nil(lfs.attributes(s:path("@acme")))
      end)
    end)

    it("replaces the plugin of that name, whatever its folder is called", function()
      server.with({ plugins = { odd = fixtures.hello("hello", "old", "version: 0.1.0\n") } }, function(s)
        install(s, "hello", "1.0.0", "new")
        assert.equal("new", s:get("/hello").body)
        assert.is_nil(lfs.attributes(s:path("hello")))
        assert.truthy(s:read("odd/plugin.lua"):find("new", 1, true))
        assert.equal("0.1.0", kept(s, "hello"))
      end)
    end)

    it("leaves folders of others alone", function()
      server.with({ plugins = { hello = fixtures.hello("other", "mine") } }, function(s)
        local before = snapshot(s.dir .. "/plugins")
        local res = upload(s, "p.tgz", archives.tgz(entries("hello", "1.0.0", "x")))
        assert.equal(409, res.status)
        assert.equal("PACKAGE_FOLDER_TAKEN", res:json().code)
        assert.truthy(settled(s.dir .. "/plugins"))
        assert.same(before, snapshot(s.dir .. "/plugins"))
      end)
    end)

    it("never touches what is built in", function()
      local files = {
        [".plugins/core/manifest.yaml"] = "name: core\nbase: /core\n",
        [".plugins/core/plugin.lua"] = fixtures.answers("built in"),
      }
      server.with({ dirs = { ".plugins", "plugins" }, files = files }, function(s)
        local before = snapshot(s.dir .. "/.plugins")
        local res = upload(s, "p.tgz", archives.tgz(entries("core", "1.0.0", "x")))
        assert.equal(403, res.status, res.body)
        assert.equal("BUILT_IN_PLUGIN_REPLACE_FORBIDDEN", res:json().code)
        res = s:delete("/api/plugins/core")
        assert.equal(403, res.status)
        assert.equal("BUILT_IN_PLUGIN_REMOVE_FORBIDDEN", res:json().code)
        assert.equal(403, post(s, "core/rollback").status)
        assert.same(before, snapshot(s.dir .. "/.plugins"))
        assert.equal("built in", s:get("/core").body)
      end)
    end)

    it("says so when there is no directory for it", function()
      server.with({ dirs = { ".plugins" }, files = { [".plugins/x"] = "" } }, function(s)
        local res = upload(s, "p.tgz", archives.tgz(entries("core", "1.0.0", "x")))
        assert.equal(409, res.status)
        assert.equal("NO_EXTERNAL_DIR", res:json().code)
      end)
    end)
  end)

  describe("size", function()
    it("takes 50 MB whatever RUNTIME_BODY_LIMIT says, and no more", function()
      server.with({ env = { RUNTIME_BODY_LIMIT = "1kb" } }, function(s)
        local list = entries("big", "1.0.0", "big")
        list[3] = { "data", ("0123456789abcdef"):rep(65536 * 5) }
        local res = upload(s, "p.tgz", archives.tgz(list), "?reload=true")
        assert.equal(200, res.status, res.body)
        assert.equal("big", s:get("/big").body)
        res = s:post("/api/plugins/reload", { body = ("x"):rep(2000) })
        assert.equal(413, res.status)
        res = s:post("/big", { body = ("x"):rep(2000) })
        assert.equal(413, res.status)
        local head = "POST /api/plugins/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        assert.truthy(s:raw(head:format(51 * 1048576)):find("^HTTP/1.1 413 "))
        assert.truthy(settled(s.dir .. "/plugins"))
      end)
    end)

    it("stops at 256 MB unpacked, whatever it is packed to", function()
      -- 300 MB of zeros, packed by gzip into 300 KB
      server.with({}, function(s)
        local path = s.dir .. "/bomb.tgz"
        local size = 300 * 1048576
        local head = archives.tar({ { "zeros", "" } }):sub(1, 512)
        head = head:gsub("^(" .. ("."):rep(124) .. ")" .. ("."):rep(11), ("%%1%011o"):format(size))
        local sum = 0
        head = head:sub(1, 148) .. (" "):rep(8) .. head:sub(157)
        for i = 1, 512 do
          sum = sum + head:byte(i)
        end
        head = head:sub(1, 148) .. ("%06o\0 "):format(sum) .. head:sub(157)
        local pipe = assert(io.popen("gzip -1 > " .. path, "w"))
        pipe:write(head)
        local zeros = ("\0"):rep(1048576)
        for _ = 1, 300 do
          pipe:write(zeros)
        end
        pipe:write(("\0"):rep(1024))
        pipe:close()
        local res = upload(s, "p.tgz", process.read(path))
        assert.equal(400, res.status)
        assert.equal("ARCHIVE_TOO_LARGE", res:json().code)
        assert.truthy(settled(s.dir .. "/plugins"))
      end)
    end)
  end)

  describe("rollback", function()
    it("goes back and forth, and to the version that is asked for", function()
      server.with({}, function(s)
        for i = 1, 5 do
          install(s, "hello", i .. ".0.0", "v" .. i)
        end
        assert.equal("4.0.0 3.0.0 2.0.0", kept(s, "hello"))
        local res = post(s, "hello/rollback")
        assert.equal(200, res.status, res.body)
        assert.same({ name = "hello", version = "4.0.0" }, res:json().data)
        assert.equal("loaded", res:json().reload.plugins[1].status)
        assert.equal("v4", s:get("/hello").body)
        assert.equal("5.0.0 3.0.0 2.0.0", kept(s, "hello"))
        assert.equal(200, post(s, "hello/rollback").status)
        assert.equal("v5", s:get("/hello").body)
        assert.equal(200, post(s, "hello/rollback?version=2.0.0").status)
        assert.equal("v2", s:get("/hello").body)
        assert.equal("5.0.0 4.0.0 3.0.0", kept(s, "hello"))
        res = post(s, "hello/rollback?version=1.0.0")
        assert.equal(409, res.status)
        assert.equal("VERSION_NOT_KEPT", res:json().code)
      end)
    end)

    it("brings back what was removed", function()
      server.with({}, function(s)
        install(s, "hello", "1.0.0", "one")
        local res = s:delete("/api/plugins/hello")
        assert.equal(200, res.status, res.body)
        assert.same({ name = "hello", version = "1.0.0" }, res:json().data)
        assert.equal("removed", res:json().reload.plugins[1].status)
        assert.equal(404, s:get("/hello").status)
        assert.equal(404, s:get("/api/plugins/hello").status)
        assert.is_nil(lfs.attributes(s:path("hello")))
        assert.equal(404, s:delete("/api/plugins/hello").status)
        assert.equal(200, post(s, "hello/rollback").status)
        assert.equal("one", s:get("/hello").body)
        assert.equal("", kept(s, "hello"))
        assert.equal("VERSION_NOT_KEPT", post(s, "hello/rollback"):json().code)
        assert.equal(404, post(s, "nobody/rollback").status)
        assert.equal(400, post(s, "..%2F..%2Fx/rollback").status)
        assert.equal(404, post(s, ".buntime/rollback").status)
        assert.equal(404, s:delete("/api/plugins/%2Etmp").status)
      end)
    end)

    it("works between file systems", function()
      local shm = "/dev/shm"
      if lfs.attributes(shm, "dev") == lfs.attributes("/tmp", "dev") then
        return pending("there is only one file system")
      end
      local state = ("%s/buntime-spec-%d"):format(shm, math.random(1e9))
      server.with({ env = { RUNTIME_STATE_DIR = state } }, function(s)
        install(s, "hello", "1.0.0", "one")
        install(s, "hello", "2.0.0", "two")
        assert.equal("1.0.0", kept(s, "hello"))
        assert.equal(200, post(s, "hello/rollback").status)
        assert.equal("one", s:get("/hello").body)
        assert.equal("2.0.0", kept(s, "hello"))
        assert.equal(200, s:delete("/api/plugins/hello").status)
        assert.equal(200, post(s, "hello/rollback").status)
        assert.equal("one", s:get("/hello").body)
        assert.truthy(settled(s.dir .. "/plugins"))
      end)
      os.execute("rm -r " .. state)
    end)
  end)

  describe("live", function()
    it("replaces a plugin under traffic without a failed request", function()
      server.with({ plugins = { hello = fixtures.hello("hello", "v0") } }, function(s)
        local seen, busy = {}, true
        http.parallel(17, function(i)
          if i == 17 then
            for n = 1, 8 do
              local form = archives.form("p.tgz", archives.tgz(entries("hello", n .. ".0.0", "v" .. n)))
              local res = http.request(s.port, "POST", "/api/plugins/upload?reload=true", form)
              assert.equal(200, res.status, res.body)
              if n % 3 == 0 then
                res = http.request(s.port, "POST", "/api/plugins/hello/rollback")
                assert.equal(200, res.status, res.body)
              end
            end
            busy = false
            return
          end
          local conn = s:connect()
          while busy do
            local res = conn:get("/hello")
            assert.equal(200, res.status, res.body)
            seen[res.body] = true
          end
          conn:close()
        end)
        assert.is_true(seen.v8 or seen.v7)
        assert.equal("v8", s:get("/hello").body)
      end)
    end)

    it("one after the other when they come at once", function()
      server.with({}, function(s)
        http.parallel(12, function(i)
          local res
          if i % 4 == 0 then
            res = http.request(s.port, "POST", "/api/plugins/reload")
          else
            local name = "p" .. i % 3
            local form = archives.form("p.tgz", archives.tgz(entries(name, i .. ".0.0", name)))
            res = http.request(s.port, "POST", "/api/plugins/upload?reload=true", form)
          end
          assert.equal(200, res.status, res.body)
        end)
        assert.truthy(settled(s.dir .. "/plugins"))
        for i = 0, 2 do
          assert.equal("p" .. i, s:get("/p" .. i).body)
        end
      end)
    end)
  end)

  describe("when things go wrong", function()
    it("a client that goes away leaves nothing", function()
      server.with({}, function(s)
        local list = entries("hello", "1.0.0", "x")
        list[3] = { "data", ("x"):rep(3000000) }
        local form = archives.form("p.tgz", archives.tgz(list))
        local head = (
          "POST /api/plugins/upload?reload=true HTTP/1.1\r\nHost: localhost\r\n"
          .. "Content-Type: %s\r\nContent-Length: %d\r\n\r\n"
        ):format(form.headers["Content-Type"], #form.body)
        local conn = s:connect()
        conn:send(head .. form.body:sub(1, 1000000))
        conn:close()
        for _ = 1, 5 do -- wherever the server is by then: installed or not, nothing is left over
          conn = s:connect()
          conn:send(head .. form.body)
          conn:close()
        end
        assert.equal(200, s:reload().status)
        assert.truthy(settled(s.dir .. "/plugins"))
        assert.truthy(process.eventually(function() -- one of the five may still be on its way
          install(s, "hello", "2.0.0", "two")
          return s:get("/hello").body == "two"
        end))
      end)
    end)

    it("a full disk", function()
      local mounted
      local disk = process.temp_dir()
      mounted = os.execute(("mount -t tmpfs -o size=1m none %s 2>/dev/null"):format(disk)) == 0
      if not mounted then
        return pending("needs the right to mount")
      end
      local ok, problem = pcall(server.with, { dirs = { disk } }, function(s)
        install(s, "hello", "1.0.0", "one")
        assert.truthy(settled(disk))
        local before = snapshot(disk)
        local list = entries("hello", "2.0.0", "two")
        list[3] = { "data", ("x"):rep(600000) } -- packed and unpacked do not fit both
        for _, case in ipairs({ archives.tgz(list), archives.tgz({ { "data", ("x"):rep(1200000) } }) }) do
          local res = upload(s, "p.tgz", case, "?reload=true")
          assert.equal(507, res.status, res.body)
          assert.equal("STORAGE_FULL", res:json().code)
        end
        assert.truthy(settled(disk))
        assert.same(before, snapshot(disk))
        assert.equal("one", s:get("/hello").body)
        install(s, "hello", "3.0.0", "three")
      end)
      os.execute("umount " .. disk)
      lfs.rmdir(disk)
      assert(ok, problem)
    end)

    it("what a crash has left is gone after the next start", function()
      local files = {
        ["plugins/.buntime-abc123/new/manifest.yaml"] = "name: half\n",
        ["plugins/.buntime-abc123/upload"] = "x",
        ["plugins/.other/x"] = "x",
      }
      server.with({ plugins = { mine = fixtures.hello("mine", "mine") }, files = files }, function(s)
        assert.is_nil(lfs.attributes(s:path(".buntime-abc123")))
        assert.is_string(s:read(".other/x"))
        assert.equal("mine", s:get("/mine").body)
      end)
    end)
  end)

  describe("who may", function()
    it("needs the key, and is written down", function()
      server.with({ env = { RUNTIME_ROOT_KEY = KEY } }, function(s)
        local form = archives.form("p.tgz", archives.tgz(entries("hello", "1.0.0", "x")))
        assert.equal(401, s:post("/api/plugins/upload", form).status)
        assert.equal(401, s:delete("/api/plugins/hello").status)
        assert.equal(401, post(s, "hello/rollback").status)
        assert.same({}, snapshot(s.dir .. "/plugins"))
        form.headers["X-API-Key"] = KEY
        form.headers.Origin = "http://elsewhere.example"
        assert.equal(403, s:post("/api/plugins/upload", form).status)
        form.headers.Origin = nil
        assert.equal(200, s:post("/api/plugins/upload", form).status)
        local options = { headers = { ["X-API-Key"] = KEY } }
        assert.equal(200, s:delete("/api/plugins/hello", options).status)
        for _, action in ipairs({ "plugins.upload", "plugins.remove", "plugins.rollback" }) do
          assert.truthy(s:wait_log(function(line)
            return line.audit and line.action == action
          end))
        end
      end)
    end)
  end)

  describe("worker apps", function()
    local function app(name, version, text)
      return archives.tgz({
        { "manifest.yaml", ("name: %q\n%sentrypoint: index.lua\n"):format(name, version or "") },
        { "index.lua", text or "return { fetch = function() end }\n" },
      })
    end

    it("go to NAME/VERSION/, and the same version again replaces", function()
      server.with({}, function(s)
        local function send(bytes)
          return s:post("/api/workers/upload", archives.form("a.tgz", bytes))
        end
        local res = send(app("@acme/hello", "version: 1.0.0\n"))
        assert.equal(200, res.status, res.body)
        local worker = res:json().data.worker
        assert.equal("@acme/hello", worker.name)
        assert.equal("1.0.0", worker.version)
        assert.equal(200, send(app("@acme/hello", "version: 1.0.0\n", "return { x = 1 }\n")).status)
        assert.equal(200, send(app("@acme/hello", "version: 1.1.0\n")).status)
        assert.truthy(settled(s.dir .. "/apps"))
        local found = snapshot(s.dir .. "/apps")
        assert.equal("return { x = 1 }\n", found["@acme/hello/1.0.0/index.lua"])
        assert.is_string(found["@acme/hello/1.1.0/index.lua"])

        res = send(app("hello"))
        assert.equal("VERSION_MISSING", res:json().code)
        res = send(app("hello", "version: 1.0.0\n", "x x"))
        assert.equal("LOAD_FAILED", res:json().code)
        assert.truthy(res:json().message:find("^index.lua:1: "), res.body)
        res = send(archives.tgz({ { "manifest.yaml", "name: x\nversion: 1.0.0\n" }, { "plugin.lua", "" } }))
        assert.equal("MANIFEST_INVALID", res:json().code)
        res = send(archives.tgz({ { "manifest.yaml", "version: 1.0.0\n" }, { "index.lua", "return {}\n" } }))
        assert.equal("NAME_MISSING", res:json().code)
        assert.equal(405, s:get("/api/workers/upload").status)
        assert.truthy(settled(s.dir .. "/apps"))
        assert.same(found, snapshot(s.dir .. "/apps"))
      end)
    end)

    it("need no entrypoint: index.lua, else index.html", function()
      server.with({}, function(s)
        local manifest = { "manifest.yaml", "name: plain\nversion: 1.0.0\n" }
        local lua = { "index.lua", "return { fetch = function() return 'plain' end }\n" }
        local res = s:post("/api/workers/upload", archives.form("a.tgz", archives.tgz({ manifest, lua })))
        assert.equal(200, res.status, res.body)
        assert.equal("plain", s:get("/plain/").body)

        manifest[2] = "name: page\nversion: 1.0.0\n"
        local bytes = archives.tgz({ manifest, { "index.html", "<p>a page</p>\n" } })
        res = s:post("/api/workers/upload", archives.form("a.tgz", bytes))
        assert.equal(200, res.status, res.body)
        assert.equal("<p>a page</p>\n", s:get("/page/").body)
      end)
    end)
  end)
end)

describe("packages that are refused:", function()
  local good = "name: p\nbase: /p\n"
  local code, manifest = { "plugin.lua", "return {}\n" }, { "manifest.yaml", good }
  local tar, tgz, zip = archives.tar, archives.tgz, archives.zip

  --- title, name of the file, its bytes, code
  local refused = {
    { "an unknown suffix", "p.rar", tgz({ manifest, code }), "ARCHIVE_SUFFIX" },
    { "a name that is only a suffix", ".zip", zip({ manifest }), "ARCHIVE_SUFFIX" },
    { "no archive", "p.tgz", "nothing of the kind", "ARCHIVE_INVALID" },
    { "the wrong suffix", "p.zip", tgz({ manifest, code }), "ARCHIVE_INVALID" },
    { "a plain tar", "p.tgz", tar({ manifest, code }), "ARCHIVE_INVALID" },
    { "an empty file", "p.tgz", "", "ARCHIVE_INVALID" },
    { "half an archive", "p.tgz", tgz({ manifest, code }):sub(1, 600), "ARCHIVE_INVALID" },
    { "half a zip", "p.zip", zip({ manifest, code }):sub(1, 100), "ARCHIVE_INVALID" },
    { "zip slip", "p.zip", zip({ manifest, { "../x", "1" } }), "ARCHIVE_ENTRY_PATH" },
    { "..", "p.tgz", tgz({ manifest, { "a/../../x", "1" } }), "ARCHIVE_ENTRY_PATH" },
    { "absolute", "p.tgz", tgz({ manifest, { "/tmp/x", "1" } }), "ARCHIVE_ENTRY_PATH" },
    { "a file named .", "p.tgz", tgz({ manifest, { ".", "1" } }), "ARCHIVE_ENTRY_PATH" },
    { "a link", "p.tgz", tgz({ manifest, { "l", link = "/" } }), "ARCHIVE_ENTRY_TYPE" },
    { "a link in a zip", "p.zip", zip({ { "l", link = "/" } }), "ARCHIVE_ENTRY_TYPE" },
    { "a hard link", "p.tgz", tgz({ code, { "h", hard = "plugin.lua" } }), "ARCHIVE_ENTRY_TYPE" },
    { "a device", "p.tgz", tgz({ { "d", type = "3" } }), "ARCHIVE_ENTRY_TYPE" },
    { "a pipe", "p.tgz", tgz({ { "d", type = "6" } }), "ARCHIVE_ENTRY_TYPE" },
    { "twice", "p.tgz", tgz({ code, { "./plugin.lua", "2" } }), "ARCHIVE_ENTRY_TWICE" },
    { "below a file", "p.zip", zip({ code, { "plugin.lua/x", "2" } }), "ARCHIVE_ENTRY_TWICE" },
    { "no manifest", "p.tgz", tgz({ code }), "MANIFEST_MISSING" },
    { "a manifest too deep", "p.tgz", tgz({ { "a/b/manifest.yaml", good } }), "MANIFEST_MISSING" },
    {
      "a folder beside another",
      "p.tgz",
      tgz({ { "a/manifest.yaml", good }, { "b/x", "1" } }),
      "MANIFEST_MISSING",
    },
    { "nothing in it", "p.tgz", tgz({}), "MANIFEST_MISSING" },
    { "no name", "p.tgz", tgz({ { "manifest.yaml", "base: /p\n" }, code }), "NAME_MISSING" },
    { "the name .", "p.tgz", tgz({ { "manifest.yaml", 'name: "."\n' }, code }), "NAME_INVALID" },
    { "the name ..", "p.tgz", tgz({ { "manifest.yaml", 'name: "../x"\n' }, code }), "NAME_INVALID" },
    { "a taken word", "p.tgz", tgz({ { "manifest.yaml", "name: upload\n" }, code }), "NAME_INVALID" },
    { "a bad manifest", "p.tgz", tgz({ { "manifest.yaml", good .. "x: [\n" }, code }), "MANIFEST_INVALID" },
    { "a bad base", "p.tgz", tgz({ { "manifest.yaml", "name: p\nbase: x\n" }, code }), "MANIFEST_INVALID" },
    { "Lua that is none", "p.tgz", tgz({ manifest, { "plugin.lua", "x x" } }), "LOAD_FAILED" },
    {
      "configuration that is missing",
      "p.tgz",
      tgz({ { "manifest.yaml", good .. "config:\n  k: { type: string, required: true }\n" }, code }),
      "CONFIG_INVALID",
    },
    {
      "a base that is taken",
      "p.tgz",
      tgz({ { "manifest.yaml", "name: p\nbase: /mine\n" }, code }),
      "BASE_CONFLICT",
      409,
    },
    {
      "a dependency that is missing",
      "p.tgz",
      tgz({ { "manifest.yaml", good .. "dependencies: [nobody]\n" }, code }),
      "DEPENDENCY_MISSING",
      409,
    },
  }

  local s, before

  setup(function()
    s = server.start({ plugins = { mine = fixtures.hello("mine", "mine") } })
    before = snapshot(s.dir)
    before.log = nil
  end)

  teardown(function()
    s:stop()
  end)

  for _, case in ipairs(refused) do
    it(case[1], function()
      local res = upload(s, case[2], case[3], "?reload=true")
      local body = res:json()
      assert.equal(case[4], body.code, res.body)
      assert.equal(case[5] or 400, res.status)
      assert.is_false(body.success)
      assert.is_nil(body.message:find("%.buntime%-"), body.message)
      assert.truthy(settled(s.dir .. "/plugins"))
      local after = snapshot(s.dir)
      after.log = nil
      assert.same(before, after)
      assert.equal("mine", s:get("/mine").body)
    end)
  end

  it("says where in a file", function()
    local bad = archives.tgz({ { "p/manifest.yaml", "name: p\nbase: 7\n" }, { "p/plugin.lua", "return {}" } })
    local message = upload(s, "p.tgz", bad):json().message
    assert.truthy(message:find("^manifest.yaml:2:7: "), message)
    bad = archives.tgz({ { "p/manifest.yaml", "name: p\n" }, { "p/plugin.lua", "\nx x" } })
    message = upload(s, "p.tgz", bad):json().message
    assert.truthy(message:find("^plugin.lua:2: "), message)
  end)

  it("what is no form, or has no file", function()
    local good_one = archives.tgz({ { "manifest.yaml", good }, code })
    for _, options in ipairs({
      { body = good_one, headers = { ["Content-Type"] = "application/gzip" } },
      { body = good_one },
      archives.form("p.tgz", good_one, "other"),
      { body = "x", headers = { ["Content-Type"] = "multipart/form-data; boundary=b" } },
    }) do
      local res = s:post("/api/plugins/upload", options)
      assert.equal(400, res.status, res.body)
      assert.equal("INVALID_FORM", res:json().code)
    end
  end)

  it("other methods, and a flag that is none", function()
    local res = s:get("/api/plugins/upload")
    assert.equal(405, res.status)
    assert.equal("OPTIONS, POST", res.headers.allow)
    res = upload(s, "p.tgz", "x", "?reload=perhaps")
    assert.equal(400, res.status)
    assert.equal("INVALID_QUERY", res:json().code)
  end)
end)
