local json = require("buntime.json")
local testing = require("buntime.testing")
local plugin = require("plugin")

describe("todo-sqlite", function()
  local impl, ctx

  before_each(function()
    impl = plugin({ base = "/todo", database = ":memory:", pageSize = 2 })
    ctx = testing.context({})
    impl.onInit(ctx)
  end)

  after_each(function()
    impl.onShutdown()
  end)

  local function call(method, path, body)
    return impl.routes:request("/api/todos" .. path, { method = method, json = body })
  end

  local function add(title, due)
    return call("POST", "", { title = title, due = due }):json()
  end

  it("starts with an empty list", function()
    local page = call("GET", ""):json()
    assert.same({}, page.items)
    assert.is_true(json.is_array(page.items))
    assert.equal(json.null, page.next)
    assert.same({ database = ":memory:", todos = 0 }, ctx.logger.lines[1].fields)
  end)

  it("adds, shows, changes and removes", function()
    local res = call("POST", "", { title = "  write a plugin ", due = "2024-12-31" })
    assert.equal(201, res.status)
    local made = res:json()
    assert.equal("write a plugin", made.title)
    assert.equal("2024-12-31", made.due)
    assert.is_false(made.done)
    assert.truthy(made.created_at:match("^%d+%-%d+%-%d+T%d+:%d+:%d+Z$"))
    assert.same(made, call("GET", "/" .. made.id):json())

    local changed = call("PATCH", "/" .. made.id, { done = true, due = json.null }):json()
    assert.is_true(changed.done)
    assert.equal(json.null, changed.due)
    assert.equal("write a plugin", changed.title)

    assert.equal(204, call("DELETE", "/" .. made.id).status)
    for _, method in ipairs({ "GET", "DELETE" }) do
      assert.equal("TODO_NOT_FOUND", call(method, "/" .. made.id):json().code)
    end
    assert.equal(404, call("PATCH", "/" .. made.id, { done = true }).status)
  end)

  it("lists in pages, by state", function()
    for i = 1, 5 do
      add("todo " .. i)
    end
    call("POST", "/done", { ids = { 2, 4 } })

    local first = call("GET", ""):json()
    assert.equal(2, first.next)
    local last = call("GET", "?after=4"):json()
    assert.equal(json.null, last.next)
    assert.equal("todo 5", last.items[1].title)
    local done = call("GET", "?done=true"):json().items
    assert.same({ 2, 4 }, { done[1].id, done[2].id })
    assert.equal(3, call("GET", "?done=false&after=1"):json().items[1].id)
  end)

  it("marks all of several as done, or none", function()
    add("a")
    add("b")
    local res = call("POST", "/done", { ids = { 1, 99, 2 } })
    assert.equal(404, res.status)
    assert.equal("there is no todo 99; none was changed", res:json().message)
    assert.same({}, call("GET", "?done=true"):json().items)
    assert.equal(2, call("POST", "/done", { ids = { 1, 2 } }):json().changed)
  end)

  it("binds what it is given", function()
    local title = "'); drop table todo; --"
    add(title)
    assert.equal(title, call("GET", "/1"):json().title)
  end)

  it("says what is wrong with a request", function()
    local due = "due must be a date such as 2024-12-31, or null"
    add("a")
    local cases = {
      { 422, "title is missing", "POST", "", {} },
      { 422, "title must be a text that is not empty", "POST", "", { title = "  " } },
      { 422, "title must be a text that is not empty", "POST", "", { title = 5 } },
      { 422, "title must have at most 200 bytes", "POST", "", { title = ("x"):rep(201) } },
      { 422, due, "POST", "", { title = "a", due = "2024-13-01" } },
      { 422, due, "POST", "", { title = "a", due = 20241231 } },
      { 422, "id is not known", "POST", "", { title = "a", id = 1 } },
      { 422, "there is nothing to change", "PATCH", "/1", {} },
      { 422, "done must be true or false", "PATCH", "/1", { done = 1 } },
      { 422, "ids must be a list of 1 to 100 ids", "POST", "/done", { ids = {} } },
      { 422, "ids must be positive whole numbers", "POST", "/done", { ids = { "1" } } },
      { 400, "the id must be a positive whole number", "GET", "/zero" },
      { 400, "the id must be a positive whole number", "GET", "/1.5" },
      { 400, "done must be true or false", "GET", "?done=maybe" },
      { 400, "after must be the id of a todo", "GET", "?after=-1" },
    }
    for _, case in ipairs(cases) do
      local res = call(case[3], case[4], case[5])
      assert.same({ case[1], case[2] }, { res.status, res:json().message })
    end
    assert.equal(1, #call("GET", ""):json().items)
  end)
end)
