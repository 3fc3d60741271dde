local form = require("buntime.form")

local CRLF = "\r\n"

--- Builds a multipart body of parts { head, data }.
local function body(parts, boundary)
  local out = {}
  for _, part in ipairs(parts) do
    out[#out + 1] = "--" .. (boundary or "B") .. CRLF .. part[1] .. CRLF .. CRLF .. part[2] .. CRLF
  end
  return table.concat(out) .. "--" .. (boundary or "B") .. "--" .. CRLF
end

local function field(name, data)
  return { 'Content-Disposition: form-data; name="' .. name .. '"', data }
end

describe("form.boundary", function()
  for content_type, boundary in pairs({
    ["multipart/form-data; boundary=abc"] = "abc",
    ["multipart/form-data;boundary=abc; charset=x"] = "abc",
    ['multipart/form-data; BOUNDARY="a b"'] = "a b",
    ["multipart/form-data; charset=x; boundary=----Web'Kit_1"] = "----Web'Kit_1",
  }) do
    it("is found in " .. content_type, function()
      assert.equal(boundary, form.boundary(content_type))
    end)
  end

  for _, content_type in ipairs({
    "multipart/form-data",
    "multipart/form-data; boundary=",
    'multipart/form-data; boundary=""',
    "multipart/form-data; boundary=" .. ("x"):rep(71),
    'multipart/form-data; boundary="a\r\nb"',
    "multipart/form-data; xboundary=abc",
  }) do
    it("is refused in " .. ("%q"):format(content_type), function()
      assert.is_nil(form.boundary(content_type))
    end)
  end
end)

describe("form.parse", function()
  local function one(head, data)
    local parts, message = form.parse(body({ { head, data or "x" } }), "B")
    assert.is_nil(message)
    assert.equal(1, #parts)
    return parts[1]
  end

  it("reads fields and files in order", function()
    local text = body({
      field("a", "1"),
      {
        'content-disposition: form-data; name="f"; filename="p.txt"\r\nContent-Type: text/plain',
        "da\r\nta",
      },
      field("a", ""),
    })
    assert.same({
      { name = "a", data = "1" },
      { name = "f", filename = "p.txt", type = "text/plain", data = "da\r\nta" },
      { name = "a", data = "" },
    }, form.parse(text, "B"))
  end)

  it("skips what stands before the first boundary and after the last", function()
    local text = "preamble" .. CRLF .. body({ field("a", "1") }) .. "epilogue"
    assert.equal("1", form.parse(text, "B")[1].data)
  end)

  it("keeps data that looks like a boundary but is none", function()
    local data = "--B" .. CRLF .. "-B" .. CRLF .. "-\r\n--"
    assert.equal(data, form.parse(body({ field("a", data) }, "C"), "C")[1].data)
  end)

  it("keeps zero bytes and line ends", function()
    local data = "\0\1\r\n\r\n\255\r\n"
    assert.equal(data, one('Content-Disposition: form-data; name="f"; filename="b"', data).data)
  end)

  it("reads a part whose data has not even a line end", function()
    local text = '--B\r\nContent-Disposition: form-data; name="a"\r\n\r\n--B--'
    assert.same({ { name = "a", data = "" } }, form.parse(text, "B"))
  end)

  it("reads a form without parts", function()
    assert.same({}, form.parse("--B--" .. CRLF, "B"))
  end)

  for title, case in pairs({
    ["a quoted quote, as browsers write it"] = { 'name="a%22b"', "name", 'a"b' },
    ["a quoted quote, as curl writes it"] = { 'name="a\\"b\\\\c"', "name", 'a"b\\c' },
    ["a name without quotes"] = { "name=plain", "name", "plain" },
    ["a filename in UTF-8"] = {
      'name="f"; filename="x"; filename*=UTF-8\'\'%C3%A9.txt',
      "filename",
      "é.txt",
    },
    ["a filename of Windows"] = { 'name="f"; filename="C:\\dir\\a.txt"', "filename", "C:\\dir\\a.txt" },
    ["an open quote"] = { 'name="abc', "name", "abc" },
    ["the first of two names"] = { 'name="a"; name="b"', "name", "a" },
  }) do
    it("reads " .. title, function()
      assert.equal(case[3], one("Content-Disposition: form-data; " .. case[1])[case[2]])
    end)
  end

  for title, case in pairs({
    ["an empty body"] = { "", "the first boundary is missing" },
    ["no last boundary"] = {
      '--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nx',
      "the last boundary",
    },
    ["headers that do not end"] = { "--B\r\nContent-Disposition: x\r\n--B--", "do not end" },
    ["a boundary that goes on"] = { "--Bxyz" .. CRLF .. CRLF .. "--B--", "not followed by a line end" },
    ["a part without a name"] = { body({ { "Content-Disposition: form-data", "x" } }), "no name" },
    ["a part without headers"] = { "--B\r\n\r\nx\r\n--B--", "no name" },
    ["a part that is no form data"] = { body({ { 'Content-Disposition: file; name="a"', "x" } }), "no name" },
    ["headers that are too long"] = {
      body({ { 'Content-Disposition: form-data; name="a"\r\nX: ' .. ("x"):rep(9000), "x" } }),
      "do not end",
    },
  }) do
    it("refuses " .. title, function()
      local parts, message = form.parse(case[1], "B")
      assert.is_nil(parts)
      assert.matches(case[2], message, 1, true)
    end)
  end

  local function many(count, part)
    local parts = {}
    for i = 1, count do
      parts[i] = part
    end
    return body(parts)
  end

  it("takes 1,000 parts and no more", function()
    assert.equal(1000, #form.parse(many(1000, field("a", "")), "B"))
    local parts, message = form.parse(many(1001, field("a", "")), "B")
    assert.is_nil(parts)
    assert.equal("more than 1000 parts", message)
  end)

  it("bounds the headers of all parts together", function()
    local part = { 'Content-Disposition: form-data; name="a"\r\nX: ' .. ("x"):rep(8000), "" }
    local parts, message = form.parse(many(40, part), "B")
    assert.is_nil(parts)
    assert.equal("the headers of the parts are too long", message)
  end)

  for title, head in pairs({
    ["spaces in a header"] = 'Content-Disposition: form-data; name="a"\r\nX: y' .. (" "):rep(8000) .. "y",
    ["backslashes"] = 'Content-Disposition: form-data; name="' .. ("\\"):rep(8000),
    ["parameters"] = 'Content-Disposition: form-data; name="a"' .. ("; a"):rep(2600),
    ["boundaries that are almost one"] = 'Content-Disposition: form-data; name="a"',
  }) do
    it("takes linear time on many " .. title, function()
      local started = os.clock()
      form.parse(many(30, { head, ("\r\n--"):rep(20000) }), "B")
      assert.is_true(os.clock() - started < 2)
    end)
  end
end)

describe("form.basename", function()
  for name, base in pairs({
    ["a.txt"] = "a.txt",
    ["/etc/passwd"] = "passwd",
    ["..\\..\\boot.ini"] = "boot.ini",
    ["a/.."] = "",
    [".."] = "",
    ["."] = "",
    ["dir/"] = "",
    ["a\0b\r\n.txt"] = "ab.txt",
    [".hidden"] = ".hidden",
    ["é.txt"] = "é.txt",
    [".\0."] = "",
  }) do
    it(("of %q"):format(name), function()
      assert.equal(base, form.basename(name))
    end)
  end
end)
