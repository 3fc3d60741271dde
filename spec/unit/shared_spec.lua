local buntime = require("buntime")
local json = require("buntime.json")
local shared = require("buntime.shared")

describe("shared", function()
  it("keeps values of every kind", function()
    for _, value in ipairs({ "text", "", "a\0b", 1.5, -0.0, true, false }) do
      assert.is_true(shared.set("k", value))
      assert.equal(value, shared.get("k"))
    end
    assert.is_true(shared.delete("k"))
    assert.is_false(shared.delete("k"))
    assert.is_nil(shared.get("k"))
  end)

  it("keeps tables as copies", function()
    local value = { list = { 1, 2 }, nested = { a = json.null } }
    shared.set("k", value)
    value.list[1] = 5
    local got = shared.get("k")
    assert.equal(1, got.list[1])
    assert.equal(json.null, got.nested.a)
    assert.are_not.equal(got, shared.get("k"))
    shared.set("k", json.array())
    assert.equal("[]", json.encode(shared.get("k")))
    shared.set("k", '{"text":true}')
    assert.equal('{"text":true}', shared.get("k"))
    shared.delete("k")
  end)

  it("counts", function()
    assert.equal(1, shared.incr("n"))
    assert.equal(6, shared.incr("n", 5))
    assert.equal(5.5, shared.incr("n", -0.5))
    assert.equal(5.5, shared.get("n"))
    shared.set("n", "text")
    assert.same({ nil, 'the value of "n" is not a number', "NOT_A_NUMBER" }, { shared.incr("n") })
    shared.delete("n")
  end)

  it("expires", function()
    shared.set("a", 1, 0.01)
    shared.set("b", 2, 100)
    shared.incr("c", 1, 0.01)
    shared.incr("c", 1, 100)
    assert.equal(1, shared.get("a"))
    buntime.sleep(0.03)
    assert.is_nil(shared.get("a"))
    assert.equal(2, shared.get("b"))
    assert.equal(1, shared.incr("c"))
  end)

  it("is full at some point, and says so", function()
    local chunk = ("x"):rep(8 * 1024 * 1024)
    local ok, message, code, count = true, nil, nil, 0
    while ok and count < 20 do
      count = count + 1
      ok, message, code = shared.set("chunk:" .. count, chunk)
    end
    assert.equal(8, count)
    assert.matches("^the shared dictionary is full %(%d+ of 67108864 bytes in use%)$", message)
    assert.equal("SHARED_FULL", code)
    for i = 1, count do
      shared.delete("chunk:" .. i)
    end
    assert.is_true(shared.set("chunk", chunk))
    shared.delete("chunk")
  end)

  describe("watch", function()
    local watches = {}

    local function watch(prefix, fn)
      local calls = {}
      watches[#watches + 1] = shared.watch(prefix, fn or function(key, value)
        calls[#calls + 1] = { key, value }
      end)
      return calls
    end

    after_each(function()
      for _, w in ipairs(watches) do
        w:stop()
      end
      watches = {}
    end)

    it("tells changes in order, later", function()
      local calls = watch("w:")
      shared.set("w:a", 1)
      shared.set("w:a", { 2 })
      shared.set("other", 3)
      shared.incr("w:n")
      shared.delete("w:a")
      shared.delete("w:a")
      assert.same({}, calls)
      buntime.sleep(0.005)
      assert.equal(4, #calls)
      assert.same({ { "w:a", 1 }, { "w:a", { 2 } }, { "w:n", 1 }, { "w:a", nil } }, {
        calls[1],
        { calls[2][1], { calls[2][2][1] } },
        calls[3],
        calls[4],
      })
      shared.delete("w:n")
    end)

    it("tells what expires, though nobody asks for it", function()
      local calls = watch("w:")
      shared.set("w:a", 1, 0.005)
      buntime.sleep(0.03)
      assert.same({ { "w:a", 1 }, { "w:a" } }, calls)
    end)

    it("waits for the function before the next call", function()
      local trace = {}
      watch("w:", function(_, value)
        trace[#trace + 1] = "begin " .. value
        buntime.sleep(0.002)
        trace[#trace + 1] = "end " .. value
      end)
      shared.set("w:a", 1)
      shared.set("w:a", 2)
      buntime.sleep(0.03)
      assert.same({ "begin 1", "end 1", "begin 2", "end 2" }, trace)
      shared.delete("w:a")
    end)

    it("takes functions", function()
      local _, problem = pcall(shared.watch, "w:", print, true)
      assert.matches("shared.watch: argument 3 must be a function, got boolean", problem)
    end)

    it("can be stopped, also from inside", function()
      local count = 0
      local w
      w = shared.watch("w:", function()
        count = count + 1
        w:stop()
        buntime.sleep(0.001)
      end)
      shared.set("w:a", 1)
      shared.set("w:a", 2)
      buntime.sleep(0.01)
      assert.equal(1, count)
      assert.is_false(w:stop())
      shared.delete("w:a")
    end)

    it("may change what it watches", function()
      watch("w:", function(_, value)
        if value and value < 100 then
          shared.set("w:a", value + 1)
        end
      end)
      shared.set("w:a", 1)
      buntime.sleep(0.05)
      assert.equal(100, shared.get("w:a"))
      shared.delete("w:a")
    end)

    it("drops the oldest when a slow function falls behind", function()
      local calls, go = {}, false
      watch("w:", function(key, value)
        calls[#calls + 1] = { key, value }
        while not go do
          buntime.sleep(0.001)
        end
      end)
      shared.set("w:first", 0)
      buntime.sleep(0.005)
      for i = 1, 5000 do
        shared.set("w:" .. i % 10, i)
      end
      go = true
      buntime.sleep(0.1)
      assert.is_true(#calls <= 1 + 1024)
      assert.same({ "w:0", 5000 }, calls[#calls])
      for i = 0, 9 do
        shared.delete("w:" .. i)
      end
    end)
  end)

  local misuse = {
    { "get", { 5 }, "shared.get: argument 1 (key) must be a string, got number" },
    { "set", { "", 1 }, "shared.set: argument 1 (key) must have 1 to 1024 bytes, got 0" },
    { "set", { ("k"):rep(1025), 1 }, "shared.set: argument 1 (key) must have 1 to 1024 bytes, got 1025" },
    {
      "set",
      { "k", print },
      "shared.set: argument 2 (value) must be a string, number, boolean or table, got function",
    },
    { "set", { "k" }, "shared.set: argument 2 (value) must be a string, number, boolean or table, got nil" },
    { "set", { "k", 1, 0 }, "shared.set: argument 3 (ttl) must be a number of seconds over 0, got 0" },
    { "incr", { "k", "1" }, "shared.incr: argument 2 (by) must be a number, got string" },
    { "watch", { 5 }, "shared.watch: argument 1 (prefix) must be a string, got number" },
    { "watch", { "" }, "shared.watch: argument 2 must be a function, got nil" },
  }
  for _, case in ipairs(misuse) do
    it(case[3], function()
      local ok, message = pcall(function()
        return (shared[case[1]](unpack(case[2], 1, 3)))
      end)
      assert.is_false(ok)
      assert.equal(case[3], (message:gsub("^.-shared_spec.lua:%d+: ", "")))
    end)
  end
end)
