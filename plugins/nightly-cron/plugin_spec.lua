local plugin = require("plugin")
local testing = require("buntime.testing")

local NEW_YEAR = 1767225600 -- 2026-01-01T00:00:00Z
local DAY = 86400

describe("nightly-cron", function()
  local clock

  before_each(function()
    clock = testing.clock(NEW_YEAR)
  end)

  after_each(function()
    clock:restore()
  end)

  local function start(config)
    local instance = plugin(config)
    local ctx = testing.context({ config = config })
    instance.onInit(ctx)
    return instance.routes, ctx.logger.lines
  end

  it("tidies up every night, by the clock of the place", function()
    local routes, lines = start({ schedule = "30 3 * * *", timezone = "Europe/Berlin", keepDays = 2 })
    assert.equal(NEW_YEAR + 2.5 * 3600, routes:request("/"):json().next)

    routes:request("/", { json = { text = "old" } })
    clock:advance(DAY)
    routes:request("/", { json = { text = "new" } })
    assert.same({ at = NEW_YEAR + 2.5 * 3600, removed = 0 }, lines[1].fields)

    clock:advance(DAY + 3 * 3600)
    local state = routes:request("/"):json()
    assert.equal(1, #state.notes)
    assert.equal("new", state.notes[1].text)
    assert.equal(1, state.report.removed)
    assert.equal(3, #lines)
  end)

  it("says what is wrong with a note", function()
    local routes = start({})
    local res = routes:request("/", { json = { text = "", color = "red" } })
    assert.equal(422, res.status)
    assert.same({
      { path = "color", message = "color is not known" },
      { path = "text", message = "text must have at least 1 characters, got 0" },
    }, res:json().errors)
    assert.same({}, routes:request("/"):json().notes)
  end)
end)
