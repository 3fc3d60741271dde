local testing = require("buntime.testing")
local plugin = require("plugin")

describe("plugin-hello", function()
  it("greets", function()
    local res = plugin({ base = "/hello" }).routes:request("/api/greeting")

    assert.equal(200, res.status)
    assert.same({ message = "Hello from Buntime" }, res:json())
  end)

  it("says in the log that it is there", function()
    local ctx = testing.context({})

    plugin({ base = "/hello" }).onInit(ctx)
    assert.equal("hello plugin initialized", ctx.logger.lines[1].message)
  end)
end)
