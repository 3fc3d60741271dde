describe("chat-websocket", function()
  local routes = dofile(debug.getinfo(1, "S").source:match("^@(.*)/") .. "/plugin.lua")().routes

  it("shows a page", function()
    local res = routes:request("/")
    assert.equal(200, res.status)
    assert.truthy(res:text():find("WebSocket", 1, true))
  end)

  it("wants a handshake", function()
    assert.equal(426, routes:request("/socket").status)
    local res = routes:request("/socket", {
      headers = {
        upgrade = "websocket",
        ["sec-websocket-version"] = 13,
        ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==",
      },
    })
    assert.equal(101, res.status)
  end)
end)
