-- The logic of bench/table: medians over rounds, right and wrong answers, Markdown.

local loads = require("bench.loads")
local markdown = require("bench.markdown")
local rounds = require("bench.rounds")

describe("rounds", function()
  it("let the contestants take turns, after they are warm", function()
    local asked, plan = {}, { rounds = 2, seconds = 7, warm = 1 }
    local samples = rounds.alternate({ { title = "a" }, { title = "b" } }, plan, function(c, seconds)
      asked[#asked + 1] = c.title .. seconds
      return { rps = #asked }
    end)
    assert.same({ "a1", "b1", "a7", "b7", "a7", "b7" }, asked)
    assert.same({ a = { { rps = 3 }, { rps = 5 } }, b = { { rps = 4 }, { rps = 6 } } }, samples)
  end)

  it("need not warm up", function()
    local count = 0
    rounds.alternate({ { title = "a" } }, { rounds = 1, seconds = 1, warm = 0 }, function()
      count = count + 1
      return {}
    end)
    assert.equal(1, count)
  end)

  it("give the median of each number", function()
    local samples = { { rps = 3, us = 9 }, { rps = 1, us = 7 }, { rps = 2, us = 100 } }
    assert.same({ rps = 2, us = 9 }, rounds.median(samples))
  end)

  it("compare within a round", function()
    local a, b = { { us = 2 }, { us = 40 }, { us = 9 } }, { { us = 1 }, { us = 10 }, { us = 3 } }
    assert.equal(3, rounds.within(a, b, function(x, y)
      return x.us / y.us
    end))
  end)
end)

describe("an answer", function()
  local greeting, echo, file
  for _, load in ipairs(loads.list()) do
    greeting = greeting or load
    echo = load.post and load or echo
    file = load.path == "/pages/1k.bin" and load or file
  end

  local function fault(load, body, changes)
    local res = { status = 200, body = body, headers = { ["x-request-id"] = "1" } }
    for key, value in pairs(changes or {}) do
      res[key] = value
    end
    return loads.fault(load, res)
  end

  it("is right", function()
    assert.is_nil(fault(greeting, '{ "message": "Hello from Buntime" }'))
    assert.is_nil(fault(echo, echo.post))
    assert.is_nil(fault(file, ("0123456789abcdef"):rep(64), { headers = {} }))
    assert.is_nil(fault(loads.http2(), '{"message":"Hello from Buntime"}', { headers = false }))
  end)

  it("is wrong", function()
    assert.equal("status 404", fault(greeting, "", { status = 404 }))
    assert.matches("another answer", fault(greeting, '{"message":"Hello"}'))
    assert.matches("another answer", fault(greeting, '{"message":"Hello from Buntime","more":1}'))
    assert.matches("another answer", fault(greeting, "nothing like it"))
    assert.matches("another answer", fault(echo, "{}"))
    assert.equal("another file of 3 bytes", fault(file, "abc"))
    assert.equal("no x-request-id", fault(greeting, '{"message":"Hello from Buntime"}', { headers = {} }))
    local compressed = { headers = { ["content-encoding"] = "gzip" } }
    assert.equal("the answer is compressed", fault(file, "abc", compressed))
  end)
end)

describe("Markdown", function()
  it("groups thousands", function()
    local texts = { [0] = "0", [999.6] = "1,000", [12345.4] = "12,345", [1234567] = "1,234,567" }
    for number, text in pairs(texts) do
      assert.equal(text, markdown.thousands(number))
    end
  end)

  it("has the numbers of a table on the right", function()
    local text = markdown.table({ { "", "a", "b" }, { "x", "1", "2" } })
    assert.equal("|  | a | b |\n|---|---:|---:|\n| x | 1 | 2 |\n", text)
  end)

  local function result()
    local sample = { rps = 61234.5, us = 14.26, p50 = 812, p99 = 2345 }
    return {
      machine = "2026-11-25; a machine",
      contestants = {
        { title = "buntime", version = "buntime 1", start = 41.4, idle = 9.95, loaded = 20 },
        { title = "bare h2o", version = "libh2o 2", start = 9, idle = 3, loaded = 4 },
      },
      left_out = { "Bun + Hono" },
      rows = { { title = "echo", medians = { buntime = sample } } },
      plan = { rounds = 3, seconds = 2 },
    }
  end

  it("tells all that was measured", function()
    local text = markdown.report(result())
    for _, part in ipairs({
      "2026-11-25; a machine.",
      "buntime 1; libh2o 2.",
      "3 round(s) of 2 s",
      "not be fetched or started: Bun + Hono.",
      "|  | buntime | bare h2o |",
      "| echo | 61,235 | n/a |",
      "| echo | 14.3 | n/a |",
      "| echo | 0.81 / 2.35 | n/a |",
      "| start to the first 200, ms | 41 | 9 |",
      "| memory after it all, MiB | 20.0 | 4.0 |",
    }) do
      assert.is_truthy(text:find(part, 1, true), part)
    end
  end)
end)
