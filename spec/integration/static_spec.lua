--- Files: c:file, and plugins whose entrypoint is a page.

local process = require("spec.support.process")
local server = require("spec.support.server")

local FILES = [[
local Router = require "buntime.router"
return function()
  local routes = Router.new()
  routes:get("/f/*", function(c) return c:file("public/" .. c.req:param("*")) end)
  routes:get("/download", function(c)
    local headers = { ["X-Own"] = "1" }
    return c:file("public/a.txt", { type = "text/x-own", download = 'a"b.txt', headers = headers })
  end)
  routes:get("/data", function(c) return c:file(c.req:query("path")) end)
  return { routes = routes }
end
]]

local BIG = {}
for i = 1, 60000 do
  BIG[i] = ("%09d\n"):format(i)
end
BIG = table.concat(BIG)

local PLUGINS = {
  files = {
    ["manifest.yaml"] = 'name: files\nbase: "/files"\n',
    ["plugin.lua"] = FILES,
    ["public/a.txt"] = "0123456789",
    ["public/empty.css"] = "",
    ["public/big.bin"] = BIG,
    ["public/.secret"] = "hidden",
    ["public/.git/config"] = "hidden",
  },
  site = {
    ["manifest.yaml"] = 'name: site\nbase: "/site"\nentrypoint: index.html\n',
    ["index.html"] = "<!doctype html><html><HEAD lang=en><title>x</title></HEAD><body>page</body></html>",
    ["app.js"] = "plain",
    ["app.js.br"] = "brotli",
    ["app.js.gz"] = "gzipped",
    ["style.css"] = "body{}",
    ["style.css.gz"] = "gz",
    ["a b.txt"] = "space",
    ["big.bin"] = BIG,
    ["docs/index.html"] = "docs",
    ["long.js"] = ("let x = 1;\n"):rep(1000),
    ["long.png"] = ("pixel"):rep(1000),
    ["secret.lua"] = "return 1",
    [".env"] = "SECRET=1",
  },
  outside = { ["manifest.yaml"] = "name: outside\n", ["plugin.lua"] = "return {}" },
}

local HTML = { headers = { Accept = "text/html,application/xhtml+xml,*/*;q=0.8" } }

describe("files", function()
  local s

  setup(function()
    s = server.start({ plugins = PLUGINS, copy = { "plugins/spa-notes" } })
    process.run({ args = { "ln", "-s", "../../outside/manifest.yaml", s:path("files/public/link") } })
    process.run({ args = { "ln", "-s", "a.txt", s:path("files/public/inner") } })
  end)

  teardown(function()
    s:stop()
  end)

  local function get(path, headers)
    return s:get(path, { headers = headers })
  end

  it("have a type, a length and a tag that is asked back", function()
    local res = get("/files/f/a.txt")
    assert.equal(200, res.status)
    assert.equal("0123456789", res.body)
    assert.equal("text/plain; charset=utf-8", res.headers["content-type"])
    assert.equal("10", res.headers["content-length"])
    assert.equal("bytes", res.headers["accept-ranges"])
    local etag, modified = res.headers.etag, res.headers["last-modified"]
    assert.truthy(etag:find('^"%x+%-%x+"$'))
    assert.truthy(modified:find("GMT$"))
    for _, headers in ipairs({
      { ["If-None-Match"] = etag },
      { ["If-None-Match"] = '"x", W/' .. etag },
      { ["If-None-Match"] = "*" },
      { ["If-Modified-Since"] = modified },
    }) do
      local again = get("/files/f/a.txt", headers)
      assert.equal(304, again.status)
      assert.equal("", again.body)
      assert.equal(etag, again.headers.etag)
    end
    for _, headers in ipairs({
      { ["If-None-Match"] = '"x"' },
      { ["If-None-Match"] = '"x"', ["If-Modified-Since"] = modified },
      { ["If-Modified-Since"] = "Sat, 01 Jan 2000 00:00:00 GMT" },
      { ["If-Modified-Since"] = "nonsense" },
    }) do
      assert.equal(200, get("/files/f/a.txt", headers).status)
    end
  end)

  it("come in parts", function()
    for range, want in pairs({
      ["bytes=0-3"] = { 206, "0123", "bytes 0-3/10" },
      ["bytes=4-"] = { 206, "456789", "bytes 4-9/10" },
      ["bytes=-2"] = { 206, "89", "bytes 8-9/10" },
      ["bytes=-20"] = { 206, "0123456789", "bytes 0-9/10" },
      ["bytes=8-99"] = { 206, "89", "bytes 8-9/10" },
      ["bytes=10-"] = { 416, "", "bytes */10" },
      ["bytes=-0"] = { 416, "", "bytes */10" },
      ["bytes=3-1"] = { 200, "0123456789" },
      ["bytes=0-1,4-5"] = { 200, "0123456789" },
      ["bytes=x"] = { 200, "0123456789" },
      ["bytes=99999999999999999999999-"] = { 200, "0123456789" },
      ["items=0-1"] = { 200, "0123456789" },
    }) do
      local res = get("/files/f/a.txt", { Range = range })
      assert.same({ range, unpack(want) }, { range, res.status, res.body, res.headers["content-range"] })
    end
    local etag = get("/files/f/a.txt").headers.etag
    assert.equal(206, get("/files/f/a.txt", { Range = "bytes=0-0", ["If-Range"] = etag }).status)
    assert.equal(200, get("/files/f/a.txt", { Range = "bytes=0-0", ["If-Range"] = '"old"' }).status)
    assert.equal(416, get("/files/f/empty.css", { Range = "bytes=0-" }).status)
  end)

  it("may be large, also in part", function()
    for _, path in ipairs({ "/files/f/big.bin", "/site/big.bin" }) do
      local res = get(path)
      assert.equal(#BIG, #res.body)
      assert.is_true(res.body == BIG)
      assert.equal(tostring(#BIG), res.headers["content-length"])
      assert.equal("application/octet-stream", res.headers["content-type"])
      local part = get(path, { Range = "bytes=100000-399999" })
      assert.equal(206, part.status)
      assert.is_true(part.body == BIG:sub(100001, 400000))
      local head = s:head(path)
      assert.equal(tostring(#BIG), head.headers["content-length"])
      assert.equal("", head.body)
    end
  end)

  it("may be empty, and say what the handler wants", function()
    assert.equal("", get("/files/f/empty.css").body)
    local res = get("/files/download")
    assert.equal("text/x-own", res.headers["content-type"])
    assert.equal('attachment; filename="a_b.txt"', res.headers["content-disposition"])
    assert.equal("1", res.headers["x-own"])
  end)

  it("are those of the folder and no others", function()
    for _, path in ipairs({
      "none", ".secret", ".git/config", "..%2fplugin.lua", "%2e%2e/plugin.lua", "link", "", "a.txt/x", "%00",
    }) do
      local res = get("/files/f/" .. path)
      assert.is_true(res.status == 404 or res.status == 400, path .. " " .. res.status)
    end
    for _, path in ipairs({ "/etc/passwd", "../outside/manifest.yaml", "public/../../outside/plugin.lua" }) do
      assert.equal(404, get("/files/data?path=" .. path).status)
    end
    assert.equal("0123456789", get("/files/f/inner").body)
  end)

  it("of a site have their siblings that are packed", function()
    for accept, want in pairs({
      ["br, gzip"] = { "brotli", "br" },
      ["gzip, deflate, br"] = { "brotli", "br" },
      ["gzip"] = { "gzipped", "gzip" },
      ["gzip;q=0.5"] = { "gzipped", "gzip" },
      ["br;q=0, gzip;q=0.0"] = { "plain" },
      ["identity"] = { "plain" },
    }) do
      local res = get("/site/app.js", { ["Accept-Encoding"] = accept })
      assert.same({ accept, unpack(want) }, { accept, res.body, res.headers["content-encoding"] })
      assert.equal("text/javascript; charset=utf-8", res.headers["content-type"])
      assert.equal("accept-encoding", res.headers.vary)
    end
    local plain = get("/site/app.js").headers.etag
    local packed = get("/site/app.js", { ["Accept-Encoding"] = "br" }).headers.etag
    assert.not_equal(plain, packed)
    assert.equal(304, get("/site/app.js", { ["Accept-Encoding"] = "br", ["If-None-Match"] = packed }).status)
    assert.equal("body{}", get("/site/style.css", { ["Accept-Encoding"] = "br" }).body)
  end)

  local function unpacked(bytes)
    local path = os.tmpname()
    local file = assert(io.open(path, "wb"))
    file:write(bytes)
    file:close()
    local _, out = process.run({ args = { "gzip", "-dc", path } })
    os.remove(path)
    return out
  end

  it("of a site are packed on the way when they are long texts", function()
    local text = ("let x = 1;\n"):rep(1000)
    local gzip = { ["Accept-Encoding"] = "gzip" }
    local plain, packed = get("/site/long.js"), get("/site/long.js", gzip)
    assert.same({ text, nil }, { plain.body, plain.headers["content-encoding"] })
    assert.equal("gzip", packed.headers["content-encoding"])
    assert.equal("accept-encoding", packed.headers.vary)
    assert.equal("text/javascript; charset=utf-8", packed.headers["content-type"])
    assert.is_true(#packed.body < 1000)
    assert.equal(text, unpacked(packed.body))
    assert.not_equal(plain.headers.etag, packed.headers.etag)
    assert.equal(packed.body, get("/site/long.js", gzip).body)
    local known = { ["Accept-Encoding"] = "gzip", ["If-None-Match"] = packed.headers.etag }
    assert.equal(304, get("/site/long.js", known).status)
    known["If-None-Match"] = plain.headers.etag
    assert.equal(200, get("/site/long.js", known).status)
    local part = get("/site/long.js", { ["Accept-Encoding"] = "gzip", Range = "bytes=0-9" })
    assert.same({ 206, packed.body:sub(1, 10) }, { part.status, part.body })
    assert.is_nil(get("/site/long.png", gzip).headers["content-encoding"])
    assert.is_nil(get("/site/docs/", gzip).headers["content-encoding"]) -- too short

    s:write("site/long.js", text .. "changed")
    assert.equal(text .. "changed", unpacked(get("/site/long.js", gzip).body))
  end)

  it("of a site are packed with the base in the page", function()
    local page = "<html><head></head>" .. ("<p>text</p>"):rep(500) .. "</html>"
    s:write("site/index.html", page)
    local accept = { Accept = "text/html", ["Accept-Encoding"] = "gzip" }
    local res = get("/site/any/where", accept)
    assert.equal("gzip", res.headers["content-encoding"])
    assert.equal((page:gsub("<head>", '<head><base href="/site/">')), unpacked(res.body))
    s:write("site/index.html", PLUGINS.site["index.html"])
  end)

  it("show the page at the base and wherever a browser asks, with the base in it", function()
    for _, path in ipairs({ "/site/", "/site/some/page", "/site/index.html" }) do
      local res = s:get(path, HTML)
      assert.equal(200, res.status)
      assert.truthy(res.body:find('<HEAD lang=en><base href="/site/"><title>', 1, true), res.body)
      assert.equal("/site", res.headers["x-base"])
      assert.equal("text/html; charset=utf-8", res.headers["content-type"])
      assert.equal("no-cache", res.headers["cache-control"])
      assert.equal(tostring(#res.body), res.headers["content-length"])
    end
    assert.equal(200, get("/site/").status)
    assert.equal(404, get("/site/some/page").status)
    assert.equal(404, s:get("/site/none.js", HTML).status)
    assert.equal("docs", get("/site/docs/").body)
    assert.equal("space", get("/site/a%20b.txt").body)
  end)

  it("send the bare base on, with its query", function()
    local res = s:get("/site?a=1&b=2")
    assert.equal(308, res.status)
    assert.equal("/site/?a=1&b=2", res.headers.location)
    assert.equal("/site/", s:get("/site").headers.location)
  end)

  it("do not show what lies beside the page", function()
    local paths = { "manifest.yaml", "secret.lua", ".env", "%2e%2e/outside/manifest.yaml", "a%2fb" }
    for _, path in ipairs(paths) do
      assert.equal(404, get("/site/" .. path).status, path)
    end
  end)

  it("are only read", function()
    local res = s:post("/site/app.js", { body = "x" })
    assert.equal(405, res.status)
    assert.equal("GET, HEAD", res.headers.allow)
  end)

  it("come after the routes of the same plugin", function()
    assert.equal("[]", get("/notes/api/notes").body)
    local page = s:get("/notes/all", HTML).body
    assert.truthy(page:find('<head><base href="/notes/">', 1, true))
    assert.equal("text/css; charset=utf-8", get("/notes/style.css").headers["content-type"])
    assert.equal(308, get("/notes").status)
    assert.equal(404, get("/notes/plugin.lua").status)
  end)
end)
