describe("spa-notes", function()
  local routes

  before_each(function()
    routes = dofile(debug.getinfo(1, "S").source:match("^@(.*)/") .. "/plugin.lua")().routes
  end)

  it("keeps notes", function()
    assert.equal("[]", routes:request("/api/notes"):text())
    local made = routes:request("/api/notes", { json = { text = "milk" } })
    assert.equal(201, made.status)
    assert.same({ { id = 1, text = "milk" } }, routes:request("/api/notes"):json())
    assert.equal("milk", routes:request("/api/notes/1"):json().text)
    assert.equal(204, routes:request("/api/notes/1", { method = "DELETE" }).status)
    assert.equal(404, routes:request("/api/notes/1").status)
  end)

  it("refuses what is no note", function()
    for _, json in ipairs({ {}, { text = "" }, { text = 1 }, { text = ("x"):rep(10001) } }) do
      assert.equal(422, routes:request("/api/notes", { json = json }).status)
    end
    assert.equal(400, routes:request("/api/notes", { body = "{" }).status)
  end)
end)
