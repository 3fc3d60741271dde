local testing = require("buntime.testing")

describe("clock-sse", function()
  local plugin

  before_each(function()
    package.loaded.plugin = nil
    plugin = require("plugin")({ period = 0.01 })
    plugin.onInit(testing.context())
  end)

  it("shows a page", function()
    local res = plugin.routes:request("/")
    assert.equal(200, res.status)
    assert.truthy(res:text():find("EventSource", 1, true))
  end)

  it("says hello and ticks", function()
    local res = plugin.routes:request("/events", { chunks = 3 })
    assert.equal("text/event-stream", res.headers["content-type"])
    local text = res:text()
    assert.truthy(text:find("event: hello\nretry: 2000\ndata: new\n\n", 1, true))
    local _, count = text:gsub('event: tick\nid: %d+\ndata: {[^\n]*"watching":1', "")
    assert.equal(2, count)
  end)

  it("knows where a client was", function()
    local res = plugin.routes:request("/events", { headers = { ["Last-Event-ID"] = "41" }, chunks = 1 })
    assert.truthy(res:text():find("data: 41\n", 1, true))
  end)
end)
