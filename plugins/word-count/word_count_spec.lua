local count = require("count")
local routes = require("index")

describe("count", function()
  it("counts lines, words and bytes", function()
    for text, want in pairs({
      [""] = { 0, 0, 0 },
      ["one"] = { 1, 1, 3 },
      ["one two\n"] = { 1, 2, 8 },
      ["one\n\nthree, it's"] = { 3, 3, 16 },
      ["größer, als"] = { 1, 2, 13 },
    }) do
      local got = count(text, 0)
      assert.same(want, { got.lines, got.words, got.bytes }, text)
      assert.same({}, got.top)
    end
  end)

  it("ranks words whatever their case", function()
    assert.same({ { word = "a", count = 3 }, { word = "b", count = 2 } }, count("b a A c a B", 2).top)
  end)
end)

describe("word-count", function()
  local function post(path, body)
    return routes:request(path, { method = "POST", body = body })
  end

  it("answers with the counts", function()
    local res = post("/api/count?top=1", "to be or not to be")
    assert.equal(200, res.status)
    assert.same({ lines = 1, words = 6, bytes = 18, top = { { word = "be", count = 2 } } }, res:json())
    assert.truthy(post("/api/count", ""):text():find('"top":[]', 1, true))
  end)

  it("refuses what is no count", function()
    for _, top in ipairs({ "x", "-1", "1.5", "1000" }) do
      assert.equal(400, post("/api/count?top=" .. top, "x").status, top)
    end
  end)
end)
