local app = require("index")

--- What a response's body says.
local function get(path)
  return require("buntime.json").decode(app.fetch({ method = "GET", path = path, headers = {} }).body)
end

describe("greet", function()
  it("greets by name", function()
    assert.equal("Good day, world!", get("/world").message)
    assert.equal("Good day, stranger!", get("/").message)
    assert.equal("Good day, stranger!", get("/no/../way").message)
  end)

  it("answers no other method", function()
    local res = app.fetch({ method = "POST", path = "/x", headers = {} })
    assert.equal(405, res.status)
    assert.equal("GET, HEAD", res.headers.allow)
  end)
end)
