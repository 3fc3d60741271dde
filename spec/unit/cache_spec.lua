local buntime = require("buntime")
local cache = require("buntime.cache")
local sys = require("buntime.core.sys")
local task = require("buntime.task")

describe("cache", function()
  local real_now = sys.now
  local now

  before_each(function()
    now = 1000
    sys.now = function()
      return now
    end
  end)

  after_each(function()
    sys.now = real_now
  end)

  it("keeps values of every type but nil", function()
    local c = cache.new()
    local t = {}
    c:set("a", 1)
    c:set("b", false)
    c:set("c", t)
    c:set(false, "false")
    c:set(5, "five")
    assert.equal(1, c:get("a"))
    assert.is_false(c:get("b"))
    assert.equal(t, c:get("c"))
    assert.equal("false", c:get(false))
    assert.equal("five", c:get(5))
    assert.is_nil(c:get("5"))
    assert.equal(5, c:count())
    c:set("a", nil)
    assert.is_nil(c:get("a"))
    assert.is_true(c:delete("b"))
    assert.is_false(c:delete("b"))
    c:clear()
    assert.equal(0, c:count())
    assert.is_nil(c:get("c"))
  end)

  it("lets the least recently used go", function()
    local c = cache.new({ max = 3 })
    for _, key in ipairs({ "a", "b", "c" }) do
      c:set(key, key)
    end
    c:get("a")
    c:set("b", "b2")
    c:set("d", "d")
    assert.is_nil(c:get("c"))
    assert.equal("a", c:get("a"))
    assert.equal("b2", c:get("b"))
    assert.equal("d", c:get("d"))
    assert.equal(3, c:count())
  end)

  it("stays at its size whatever comes", function()
    local c = cache.new({ max = 10 })
    for i = 1, 1000 do
      c:set(i % 37, i)
      if i % 3 == 0 then
        c:delete(i % 11)
      end
      assert.is_true(c:count() <= 10)
    end
    local found = 0
    for i = 0, 36 do
      found = found + (c:get(i) and 1 or 0)
    end
    assert.equal(c:count(), found)
  end)

  it("expires", function()
    local c = cache.new({ ttl = 10 })
    c:set("a", 1)
    c:set("b", 2, 20)
    now = 1009.9
    assert.equal(1, c:get("a"))
    now = 1010
    assert.is_nil(c:get("a"))
    assert.equal(2, c:get("b"))
    assert.is_false(c:delete("a"))
    now = 1020
    assert.is_nil(c:get("b"))
    assert.equal(0, c:count())
    assert.is_nil(cache.new():get("a"))
  end)

  it("is bounded in bytes", function()
    local c = cache.new({ max_bytes = 1000 })
    assert.is_true(c:set("a", ("x"):rep(400)))
    assert.is_true(c:set("b", ("x"):rep(400)))
    assert.equal(2, c:count())
    assert.is_true(c:set("c", ("x"):rep(400)))
    assert.is_nil(c:get("a"))
    assert.equal(2, c:count())
    assert.is_false(c:set("b", ("x"):rep(2000)))
    assert.is_nil(c:get("b"))
    local loop = {}
    loop.loop = loop
    assert.is_true(c:set("loop", loop))
    assert.is_false(c:set("big", { { ("x"):rep(900) } }))
  end)

  it("takes a size function", function()
    local c = cache.new({
      max_bytes = 100,
      size = function(value)
        return value.bytes
      end,
    })
    assert.is_true(c:set("a", { bytes = 70 }))
    assert.is_false(c:set("b", { bytes = 100 }))
    assert.equal(70, c:get("a").bytes)
  end)

  describe("fetch", function()
    it("makes a value once for all who wait", function()
      local c, runs = cache.new(), 0
      local function load()
        runs = runs + 1
        buntime.sleep(0.005)
        return "value", "more"
      end
      local tasks = {}
      for i = 1, 10 do
        tasks[i] = task.spawn(c.fetch, c, "k", load)
      end
      for i = 1, 10 do
        assert.same({ "value", "more" }, { tasks[i]:wait() })
      end
      assert.equal(1, runs)
      assert.equal("value", c:fetch("k", load))
      assert.equal(1, runs)
    end)

    it("of different keys is not held up", function()
      local c = cache.new()
      local slow = task.spawn(c.fetch, c, "slow", function()
        buntime.sleep(0.02)
        return 1
      end)
      assert.equal(2, c:fetch("quick", function()
        return 2
      end))
      assert.is_nil(c:get("slow"))
      assert.equal(1, slow:wait())
    end)

    it("hands an error to all, and keeps none", function()
      local c, runs = cache.new(), 0
      local function load()
        runs = runs + 1
        buntime.sleep(0.002)
        error({ code = "DOWN", run = runs })
      end
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = task.spawn(function()
          return select(2, pcall(c.fetch, c, "k", load))
        end)
      end
      for i = 1, 3 do
        assert.same({ code = "DOWN", run = 1 }, tasks[i]:wait())
      end
      assert.equal(2, select(2, pcall(c.fetch, c, "k", load)).run)
      assert.equal(0, c:count())
    end)

    it("keeps no nil, and passes message and code on", function()
      local c, runs = cache.new(), 0
      local function load()
        runs = runs + 1
        return nil, "not there", "NOT_FOUND"
      end
      assert.same({ nil, "not there", "NOT_FOUND" }, { c:fetch("k", load) })
      assert.same({ nil, "not there", "NOT_FOUND" }, { c:fetch("k", load) })
      assert.equal(2, runs)
    end)

    it("keeps false", function()
      local c, runs = cache.new(), 0
      for _ = 1, 2 do
        assert.is_false(c:fetch("k", function()
          runs = runs + 1
          return false
        end))
      end
      assert.equal(1, runs)
    end)

    it("does not keep what was overtaken by a set or a delete", function()
      local c = cache.new()
      local function load()
        buntime.sleep(0.005)
        return "old"
      end
      local first = task.spawn(c.fetch, c, "k", load)
      c:set("k", "new")
      assert.equal("old", first:wait())
      assert.equal("new", c:get("k"))

      local second = task.spawn(c.fetch, c, "j", load)
      c:delete("j")
      assert.equal("fresh", c:fetch("j", function()
        return "fresh"
      end))
      second:wait()
      assert.equal("fresh", c:get("j"))
    end)

    it("goes on when who began it is gone", function()
      local c = cache.new()
      local first = task.spawn(c.fetch, c, "k", function()
        buntime.sleep(0.005)
        return "value"
      end)
      local second = task.spawn(c.fetch, c, "k", error)
      first:cancel()
      assert.equal("value", second:wait())
      assert.equal("value", c:get("k"))
      assert.is_false(pcall(first.wait, first))
    end)

    it("takes a ttl", function()
      local c = cache.new({ ttl = 10 })
      c:fetch("k", function()
        return 1
      end, 50)
      now = now + 49
      assert.equal(1, c:get("k"))
      now = now + 1
      assert.is_nil(c:get("k"))
    end)

    it("says so when the function fetches its own key", function()
      local c = cache.new()
      local ok, message = pcall(c.fetch, c, "k", function()
        return c:fetch("k", error)
      end)
      assert.is_false(ok)
      assert.matches('the function for the key "k" fetches that key itself', message)
      assert.equal(1, c:fetch("k", function()
        return 1
      end))
    end)
  end)

  local misuse = {
    { "cache.new: argument 1 (options) must be a table, got number", cache.new, 5 },
    { 'cache.new: the option "size_max" is not known', cache.new, { size_max = 1 } },
    { "cache.new: max must be a number over 0, got 0", cache.new, { max = 0 } },
    { "cache.new: ttl must be a number over 0, got 1m", cache.new, { ttl = "1m" } },
    { "cache:get: call it with a colon", cache.new().get, "k" },
  }
  for _, case in ipairs(misuse) do
    it(case[1], function()
      local ok, message = pcall(function()
        return (case[2](case[3]))
      end)
      assert.is_false(ok)
      assert.equal(case[1], (message:gsub("^.-cache_spec.lua:%d+: ", "")))
    end)
  end

  it("refuses keys and lifetimes that are none", function()
    local c = cache.new()
    local function message(method, ...)
      return (select(2, pcall(c[method], c, ...)))
    end
    local no_key = "argument 1 %(key%) must be a string, a number or a boolean, got "
    assert.matches("cache:get: " .. no_key .. "nil", message("get"))
    assert.matches("cache:set: " .. no_key .. "table", message("set", {}, 1))
    local no_ttl = "cache:set: argument 3 %(ttl%) must be a number of seconds over 0, got 0"
    assert.matches(no_ttl, message("set", "k", 1, 0))
    assert.matches("cache:fetch: argument 2 must be a function, got nil", message("fetch", "k"))
  end)
end)
