local buntime = require("buntime")
local core = require("buntime.core.cron")
local cron = require("buntime.cron")

local NEW_YEAR = 1767225600 -- 2026-01-01T00:00:00Z, a Thursday

describe("cron.next", function()
  it("gives seconds since 1970", function()
    assert.equal(NEW_YEAR + 60, cron.next("* * * * *", NEW_YEAR, "UTC"))
    assert.equal(1798761600, cron.next("@yearly", NEW_YEAR, "UTC"))
    assert.equal(NEW_YEAR + 82800, cron.next("0 0 * * *", NEW_YEAR, "Europe/Berlin"))
    assert.is_true(cron.next("* * * * *") > os.time())
  end)

  it("says what is wrong", function()
    assert.same(
      { nil, '"61 * * * *": column 1: the minute must be 0 to 59, got 61', "INVALID_CRON" },
      { cron.next("61 * * * *") }
    )
    local _, message, code = cron.next("* * * * *", 0, "Mars/Base")
    assert.matches('^the time zone "Mars/Base" is not known', message)
    assert.equal("INVALID_CRON", code)
  end)
end)

describe("cron.schedule", function()
  local jobs = {}

  local function schedule(...)
    local job = cron.schedule(...)
    jobs[#jobs + 1] = job
    return job
  end

  after_each(function()
    for _, job in ipairs(jobs) do
      job:stop()
    end
    jobs = {}
  end)

  it("knows when it runs next", function()
    local job = schedule("0 12 * * *", print, { timezone = "Asia/Tokyo" })
    assert.equal(cron.next("0 12 * * *", os.time(), "Asia/Tokyo"), job.next)
    assert.is_true(job:stop())
    assert.is_nil(job.next)
    assert.is_nil(job.status)
    assert.is_false(job:stop())
  end)

  it("is named by its place, or as told", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local job = cron.schedule("0 12 * * *", print)
    assert.matches("cron_spec%.lua:" .. line .. "$", job.name)
    job:stop()
    assert.equal("noon", schedule("0 12 * * *", print, { name = "noon" }).name)
  end)

  it("has a status", function()
    local job = schedule("0 12 * * *", print, { name = "noon", timezone = "UTC" })
    assert.same({
      name = "noon",
      line = "0 12 * * *",
      timezone = "UTC",
      next = job.next,
      running = false,
      runs = 0,
      failures = 0,
      skipped = 0,
      elsewhere = 0,
    }, job.status)
  end)

  it("survives the collector", function()
    local job = schedule("0 12 * * *", function() end)
    for _ = 1, 3 do
      collectgarbage()
    end
    buntime.sleep(0)
    assert.is_number(job.next)
  end)

  it("refuses to be changed", function()
    local job = schedule("0 12 * * *", print)
    assert.has_error(function()
      job.next = 5
    end)
  end)

  local misuse = {
    { { "* * * *", print }, '"* * * *": column 8: the day of the week is missing' },
    { { 5, print }, "argument 1 (line) must be a string, got number" },
    { { "* * * * *" }, "argument 2 must be a function, got nil" },
    { { "* * * * *", print, 5 }, "argument 3 (options) must be a table, got number" },
    {
      { "* * * * *", print, { tz = "UTC" } },
      'the option "tz" is not known (known: name, timezone, overlap, jitter)',
    },
    { { "* * * * *", print, { overlap = 1 } }, "overlap must be a boolean, got number" },
    { { "* * * * *", print, { jitter = -1 } }, "jitter must be 0 to 86400 seconds, got -1" },
    {
      { "* * * * *", print, { timezone = "Europe/../UTC" } },
      'the time zone "Europe/../UTC" is not known (expected an IANA name such as Europe/Berlin; '
        .. "they are in the package tzdata)",
    },
  }
  for _, case in ipairs(misuse) do
    it(case[2], function()
      local ok, message = pcall(function()
        local job = cron.schedule(unpack(case[1], 1, 3))
        return job
      end)
      assert.is_false(ok)
      assert.matches("^.-cron_spec%.lua:%d+: cron%.schedule: ", message)
      assert.equal(case[2], (message:gsub("^.-cron%.schedule: ", "")))
    end)
  end

  it("the core refuses times out of this world", function()
    assert.has_error(function()
      core.next("* * * * *", "UTC", 1e300)
    end)
    assert.has_error(function()
      core.next("* * * * *", "UTC", 0 / 0)
    end)
  end)
end)
