local cache = require("buntime.cache")
local cron = require("buntime.cron")
local testing = require("buntime.testing")

local NEW_YEAR = 1767225600 -- 2026-01-01T00:00:00Z

describe("testing.clock and cron", function()
  local clock, real

  before_each(function()
    real = os.time()
    clock = testing.clock(NEW_YEAR)
  end)

  after_each(function()
    clock:restore()
  end)

  it("runs schedules as time is moved", function()
    local times = {}
    local job = cron.schedule("0 */6 * * *", function()
      times[#times + 1] = (clock:time() - NEW_YEAR) / 3600
    end, { name = "quarterly" })
    assert.equal(NEW_YEAR + 6 * 3600, job.next)
    clock:advance(5 * 3600)
    assert.same({}, times)
    clock:advance(19 * 3600)
    assert.same({ 6, 12, 18, 24 }, times)
    assert.is_true(job:stop())
    assert.is_nil(job.next)
    clock:advance(24 * 3600)
    assert.equal(4, #times)
    assert.is_false(job:stop())
  end)

  it("knows zones and their summer time", function()
    local times = {}
    clock:restore()
    clock = testing.clock(1774738800) -- 2026-03-29T00:00:00+01:00
    cron.schedule("30 2 * * *", function()
      times[#times + 1] = clock:time()
    end, { timezone = "Europe/Berlin" })
    clock:advance(2 * 86400)
    assert.same({ 1774746000, 1774830600 }, times)
  end)

  it("refuses what the real one does", function()
    assert.has_error(function()
      cron.schedule("61 * * * *", print)
    end, 'cron.schedule: "61 * * * *": column 1: the minute must be 0 to 59, got 61')
    assert.has_error(function()
      cron.schedule("* * * * *", print, { tz = "UTC" })
    end)
  end)

  it("moves os.time and the age of cached values", function()
    local c = cache.new({ ttl = 60 })
    c:set("k", 1)
    assert.equal(NEW_YEAR, os.time())
    clock:advance(59.5)
    assert.equal(1, c:get("k"))
    assert.equal(NEW_YEAR + 59, os.time())
    clock:advance(0.5)
    assert.is_nil(c:get("k"))
    assert.equal(0, os.time({ year = 1970, month = 1, day = 1, hour = 0 }) % 900)
    clock:restore()
    assert.is_true(os.time() >= real and os.time() < real + 100)
    clock = testing.clock()
    assert.is_true(clock:time() >= real and clock:time() < real + 100)
  end)
end)
