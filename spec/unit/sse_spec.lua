local sse = require("buntime.sse")

describe("events", function()
  local CASES = {
    { "text", "hello", "data: hello\n\n" },
    { "a number", 42, "data: 42\n\n" },
    { "nothing but a name", { event = "bye" }, "event: bye\n\n" },
    { "all fields", { data = "x", event = "e", id = 7, retry = 1500 },
      "event: e\nid: 7\nretry: 1500\ndata: x\n\n" },
    { "lines of every kind", "a\nb\r\nc\rd", "data: a\ndata: b\ndata: c\ndata: d\n\n" },
    { "an empty line at the end", "a\n", "data: a\ndata: \n\n" },
    { "empty data", "", "data: \n\n" },
    { "a table as JSON", { data = { 1, 2 } }, "data: [1,2]\n\n" },
    { "false", { data = false }, "data: false\n\n" },
    { "names that would end their line", { event = "a\r\nb", id = "1\n\n2\0" }, "event: ab\nid: 12\n\n" },
  }
  for _, case in ipairs(CASES) do
    it("has " .. case[1], function()
      assert.equal(case[3], sse.event(case[2]))
    end)
  end

  local WRONG = {
    { true, "got boolean" },
    { { dat = "x" }, '"dat" is not known' },
    { { retry = "soon" }, "retry must be a whole number" },
    { { retry = 1.5 }, "retry must be a whole number" },
    { { id = {} }, "id must be a string" },
    { { data = print }, "data must be text or a table" },
  }
  for _, case in ipairs(WRONG) do
    it("refuses what says: " .. case[2], function()
      local text, problem = sse.event(case[1])
      assert.is_nil(text)
      assert.truthy(problem:find(case[2], 1, true), problem)
    end)
  end

  it("has comments of several lines", function()
    assert.equal(": a\n: b\n\n", sse.comment("a\nb"))
    assert.equal(": \n\n", sse.comment(""))
  end)
end)
