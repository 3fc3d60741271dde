local core = require("buntime.core.request")
local errors = require("buntime.error")
local testing = require("buntime.testing")
require("buntime.request")

local function new(target, init)
  return assert(testing.new_request(target or "/", init))
end

local function raises(message, fn, ...)
  local ok, err = pcall(fn, ...)
  assert.is_false(ok)
  err = type(err) == "table" and err.message or err
  assert.is_truthy(err:find(message, 1, true), err)
end

describe("a request", function()
  it("has the fields of SPEC 5", function()
    local req = new("/a/b?x=1&y=2", {
      method = "POST",
      body = "hello",
      headers = { ["X-One"] = "1", Host = "example.com:8000" },
      ip = "10.0.0.1",
      id = "my-id",
    })
    assert.equal("POST", req.method)
    assert.equal("/a/b", req.path)
    assert.equal("x=1&y=2", req.query)
    assert.equal("http://example.com:8000/a/b?x=1&y=2", req.url)
    assert.equal("hello", req.body)
    assert.equal("hello", req:text())
    assert.equal("10.0.0.1", req.ip)
    assert.equal("my-id", req.id)
    assert.equal("http", req.scheme)
    assert.equal("example.com:8000", req.authority)
    assert.equal("1", req.headers["x-one"])
    assert.is_true(core.is(req))
    assert.is_nil(req.nothing)
    assert.equal("request POST /a/b", tostring(req))
  end)

  it("gives the same value each time it is read", function()
    local req = new("/", { body = "b" })
    assert.equal(req.headers, req.headers)
    assert.equal("b", req.body .. req.body:sub(2))
  end)

  it("has an empty query and body when there is none", function()
    local req = new("/a")
    assert.equal("", req.query)
    assert.equal("", req.body)
    assert.equal("http://localhost/a", req.url)
  end)

  it("joins headers that repeat", function()
    local req = new("/", { headers = { ["x-a"] = { "1", "2" }, cookie = { "a=1", "b=2" } } })
    assert.equal("1, 2", req:header("X-A"))
    assert.equal("1, 2", req.headers["x-a"])
    assert.equal("a=1; b=2", req:header("cookie"))
    assert.equal("2", req:cookie("b"))
    assert.is_nil(req:header("x-b"))
    assert.is_nil(req:cookie("c"))
  end)

  it("cannot be read as another's", function()
    local mt_index = getmetatable(io.stdout).__index
    assert.equal("request", getmetatable(new()))
    for _, thing in ipairs({ io.stdout, newproxy(), {}, "x", 1 }) do
      assert.is_false(core.is(thing))
      raises("request expected", core.apply, thing)
    end
    assert.is_truthy(mt_index)
  end)
end)

describe("req:query", function()
  local target = "/?a=1&b=x+y%21&a=2&empty=&flag&%C3%A9=%C3%A9&bad=%zz%2&=v&&eq=a=b"

  for name, value in pairs({
    a = "1",
    b = "x y!",
    empty = "",
    flag = "",
    ["é"] = "é",
    bad = "%zz%2",
    [""] = "v",
    eq = "a=b",
  }) do
    it(("is the first value of %q"):format(name), function()
      assert.equal(value, new(target):query(name))
    end)
  end

  it("is nil for what is not there", function()
    assert.is_nil(new(target):query("nothing"))
    assert.is_nil(new("/"):query("a"))
  end)

  it("has queries() for all of them", function()
    assert.same(
      { a = { "1", "2" }, b = { "x y!" }, c = { "" } },
      new("/?a=1&b=x+y%21&a=2&c="):queries()
    )
    assert.same({}, new("/"):queries())
  end)

  it("leaves other strings as they were", function()
    local req = new("/?a=1")
    raises("attempt to call a string value", function()
      local s = "a=1"
      s()
    end)
    raises("attempt to call a string value", function()
      req:path("a")
    end)
    raises("attempt to call a string value", function()
      req:method()
    end)
    raises("attempt to call a string value", function()
      req:query()
    end)
    raises("request_spec.lua", function()
      req:path("a")
    end)
  end)

  it("follows what a hook assigned", function()
    local req = new("/?a=1")
    req.query = "a=2"
    assert.equal("2", req:query("a"))
  end)
end)

describe("req:json", function()
  it("decodes the body, each time anew", function()
    local req = new("/", { json = { list = { 1, 2 }, text = "é" } })
    assert.equal("application/json", req:header("content-type"))
    assert.same({ list = { 1, 2 }, text = "é" }, req:json())
    assert.are_not.equal(req:json(), req:json())
  end)

  for title, case in pairs({
    ["broken JSON"] = { "{", "line 1, column 2" },
    ["an empty body"] = { "", "the body is empty" },
    ["a second value"] = { "1 2", "line 1" },
  }) do
    it("raises 400 INVALID_JSON for " .. title, function()
      local ok, err = pcall(function()
        return new("/", { body = case[1] }):json()
      end)
      assert.is_false(ok)
      assert.matches(case[2], err.message, 1, true)
      assert.equal(400, err.status)
      assert.equal("INVALID_JSON", err.code)
      assert.is_true(errors.is(err))
    end)
  end

  it("takes null for a value", function()
    assert.equal(require("buntime.core.json").null, new("/", { body = "null" }):json())
  end)

  it("gives others a turn when the body is large", function()
    local task = require("buntime.task")
    local turn
    local reader = task.spawn(function()
      local list = new("/", { body = "[1" .. (",1"):rep(200000) .. "]" }):json()
      assert.equal("other", turn)
      return #list
    end)
    local other = task.spawn(function()
      turn = turn or "other"
    end)
    task.gather(other)
    assert.equal(200001, task.gather(reader))
  end)

  it("decodes a large body where it may not wait", function()
    local list = { 1, 2 }
    table.sort(list, function(a, b)
      assert.equal(200001, #new("/", { body = "[1" .. (",1"):rep(200000) .. "]" }):json())
      return a < b
    end)
  end)
end)

describe("req:form", function()
  local function form(body, content_type)
    return new("/", { body = body, headers = { ["content-type"] = content_type } }):form()
  end

  it("reads an urlencoded form", function()
    local first, all = form("a=1&b=x+y%26&a=2", "application/x-www-form-urlencoded; charset=utf-8")
    assert.same({ a = "1", b = "x y&" }, first)
    assert.same({ a = { "1", "2" }, b = { "x y&" } }, all)
  end)

  it("takes a body without a type for one", function()
    assert.same({ a = "1" }, (form("a=1")))
    assert.same({}, (form("")))
  end)

  local multipart = table.concat({
    '--B\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n',
    '--B\r\ncontent-disposition: form-data; name="f"; filename="../p.txt"\r\n',
    "content-type: text/plain\r\n\r\ndata\r\n",
    '--B\r\ncontent-disposition: form-data; name="none"; filename=""\r\n\r\n\r\n',
    '--B\r\ncontent-disposition: form-data; name="g"; filename="x"\r\n\r\n\0\r\n--B--',
  })

  it("reads the fields of a multipart form", function()
    assert.same({ a = "1" }, (form(multipart, "multipart/form-data; boundary=B")))
  end)

  it("has the files in files()", function()
    local req = new("/", {
      body = multipart,
      headers = { ["content-type"] = "Multipart/Form-Data; boundary=B" },
    })
    assert.same({
      { name = "f", filename = "p.txt", type = "text/plain", size = 4, data = "data" },
      { name = "g", filename = "x", type = "application/octet-stream", size = 1, data = "\0" },
    }, req:files())
    assert.same({}, new("/", { body = "a=1" }):files())
  end)

  local function upload(body)
    local headers = { ["content-type"] = "multipart/form-data; boundary=B" }
    return new("/", { body = body or multipart, headers = headers })
  end

  it("has the files on disk with to = \"disk\"", function()
    local fs = require("buntime.fs")
    local req = upload()
    local files = req:files({ to = "disk" })
    assert.equal(2, #files)
    assert.same({ "f", "p.txt", "text/plain", 4 }, {
      files[1].name,
      files[1].filename,
      files[1].type,
      files[1].size,
    })
    assert.is_nil(files[1].data)
    assert.equal("data", fs.read(files[1].path))
    assert.equal("\0", fs.read(files[2].path))
    assert.are_not.equal(files[1].path, files[2].path)
    assert.is_nil(files[1].path:find("p.txt", 1, true))
    assert.is_true(files[1]:move("kept"))
    assert.equal("kept", files[1].path)
    assert.equal("data", fs.read("kept"))
    assert.same({ nil, "ENOENT" }, { (fs.read("nowhere")), (select(3, files[2]:move("no/such/folder"))) })
  end)

  it("has the body that a hook assigned on disk", function()
    local req = upload("")
    req.body = multipart:gsub("data", "DATA")
    assert.equal("DATA", require("buntime.fs").read(req:files({ to = "disk" })[1].path))
  end)

  it("moves files from memory as well", function()
    assert.is_true(upload():files()[1]:move("from-memory"))
    assert.equal("data", require("buntime.fs").read("from-memory"))
  end)

  for _, case in ipairs({
    { { max_files = 1 }, "2 files were sent, at most 1 are taken" },
    { { max_file_size = 3 }, "a file has 4 bytes, at most 3 are taken" },
    { { max_total = 4, to = "disk" }, "the files have 5 bytes, at most 4 are taken" },
  }) do
    it("refuses files: " .. case[2], function()
      local ok, err = pcall(function()
        return upload():files(case[1])
      end)
      assert.is_false(ok)
      assert.same({ 413, "UPLOAD_TOO_LARGE", case[2] }, { err.status, err.code, err.message })
    end)
  end

  it("takes files that just fit", function()
    assert.equal(2, #upload():files({ max_files = 2, max_file_size = 4, max_total = 5 }))
  end)

  for _, case in ipairs({
    { 1, "options must be a table, got number" },
    { { to = "tape" }, 'to must be "memory" or "disk", got tape' },
    { { max_size = 1 }, '"max_size" is not known' },
    { { max_files = "1" }, "max_files must be a number, got 1" },
  }) do
    it("refuses options: " .. case[2], function()
      local ok, message = pcall(function()
        upload():files(case[1])
      end)
      assert.is_false(ok)
      assert.matches(case[2], message, 1, true)
    end)
  end

  for _, case in ipairs({
    { "x", "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE" },
    { "x", "multipart/form-data", 400, "INVALID_FORM" },
    { "x", "multipart/form-data; boundary=B", 400, "INVALID_FORM" },
    { ("a=1&"):rep(10001), "application/x-www-form-urlencoded", 400, "INVALID_FORM" },
  }) do
    it(("answers %d to %s of %d bytes"):format(case[3], case[2], #case[1]), function()
      local ok, err = pcall(form, case[1], case[2])
      assert.is_false(ok)
      assert.equal(case[3], err.status)
      assert.equal(case[4], err.code)
    end)
  end
end)

describe("a changed request", function()
  it("reads as it was assigned, and is that after apply", function()
    local req = new("/old?a=1", { headers = { ["x-keep"] = "k", ["x-drop"] = "d", ["x-change"] = "c" } })
    req.method = "PUT"
    req.path = "/new"
    req.query = "b=2"
    req.body = "other"
    req.headers["x-drop"] = nil
    req.headers["X-New"] = 5
    req:set_header("X-Change", "C")
    assert.equal("/new", req.path)
    assert.equal("C", req:header("x-change"))
    assert.equal("request PUT /new", tostring(req))
    core.apply(req)
    assert.equal("http://localhost/new?b=2", req.url)
  end)

  it("has its path made safe", function()
    local req = new("/a")
    req.path = "/x/../../y/./z"
    core.apply(req)
    assert.equal("http://localhost/y/z", req.url)
  end)

  it("can have all its headers assigned", function()
    local req = new("/", { headers = { ["x-old"] = "1" } })
    req.headers = { ["X-New"] = "2", host = "h" }
    core.apply(req)
    assert.is_nil(req.headers["x-old"])
  end)

  it("loses a header that is set to nil", function()
    local req = new("/", { headers = { ["x-a"] = "1" } })
    req:set_header("x-a", nil)
    assert.is_nil(req:header("X-A"))
  end)

  it("takes nil for an empty query or body", function()
    local req = new("/?a=1", { body = "b" })
    req.query, req.body = nil, nil
    assert.equal("", req.query)
    assert.equal("", req.body)
    core.apply(req)
    assert.equal("http://localhost/", req.url)
  end)

  for _, case in ipairs({
    { "method", "GET /", "request.method was set to something that is no method" },
    { "method", "", "request.method" },
    { "path", "relative", 'request.path was set to something that is no path: "relative"' },
    { "path", "/a?b=1", "request.path" },
    { "path", "/a#b", "request.path" },
    { "path", "/a/%2e%2e%2fb", "request.path" },
    { "path", "/a\0b", "request.path" },
    { "path", "/a%00b", "request.path" },
    { "path", "", "request.path" },
    { "query", "a b", "request.query" },
    { "query", "a\r\nX: y", "request.query" },
    { "headers", { ["x y"] = "1" }, '"x y" is not a header\'s name' },
    { "headers", { x = "1\r\ny: 2" }, 'the value of header "x" has a control character in it' },
    { "headers", { x = {} }, 'the value of header "x" must be a string, got a table' },
    { "headers", { "x" }, "a header's name must be a string" },
  }) do
    it(("is refused with %s %q"):format(case[1], tostring(case[2])), function()
      local req = new("/a/b?c=1", { method = "POST" })
      local ok = pcall(function()
        req.path = "/staged"
        req[case[1]] = case[2]
      end)
      assert.is_true(ok)
      local url = req.url
      raises(case[3], core.apply, req)
      assert.equal(url, req.url)
    end)
  end

  for _, case in ipairs({
    { "path", 5, "request.path must be a string, got a number" },
    { "path", nil, "request.path must be a string, got a nil" },
    { "headers", "x", "request.headers must be a table, got a string" },
    { "body", {}, "request.body must be a string, got a table" },
    { "id", "x", "cannot set request.id (can be set: method, path, query, headers, body)" },
    { "user", "x", "cannot set request.user" },
  }) do
    it("raises at once for " .. case[1] .. " = " .. tostring(case[2]), function()
      raises(case[3], function()
        new()[case[1]] = case[2]
      end)
    end)
  end

  it("raises for a header that may not be", function()
    raises("control character", function()
      new():set_header("x", "a\nb")
    end)
    raises("is not a header's name", function()
      new():set_header("x:", "a")
    end)
    raises("must be a string", function()
      new():set_header("x", {})
    end)
  end)
end)
