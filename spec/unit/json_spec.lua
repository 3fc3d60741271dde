local json = require("buntime.json")

--- The value of `text`, and its text again.
local function again(text)
  return json.encode(assert(json.decode(text)))
end

describe("json", function()
  it("keeps arrays", function()
    assert.equal("[]", again("[]"))
    assert.equal("{}", again("{}"))
    assert.equal('{"a":[]}', again('{"a":[]}'))
    assert.equal("[[],{},[[]]]", again("[[],{},[[]]]"))
  end)

  it("keeps an array that was emptied", function()
    local value = json.decode("[1]")
    table.remove(value)
    assert.equal("[]", json.encode(value))
  end)

  it("takes a bare table for an object until it has elements", function()
    assert.equal("{}", json.encode({}))
    assert.equal("[1]", json.encode({ 1 }))
    assert.equal('{"tags":[]}', json.encode({ tags = json.array() }))
    assert.equal("[]", json.encode(json.array({})))
    assert.equal("[]", json.encode(json.empty_array))
  end)

  it("tells marked tables from others", function()
    assert.is_true(json.is_array(json.array()))
    assert.is_true(json.is_array(json.decode("[]")))
    assert.is_false(json.is_array(json.decode("{}")))
    assert.is_false(json.is_array({ 1 }))
    assert.is_false(json.is_array("[]"))
  end)

  it("refuses to mark a table that has a metatable", function()
    assert.has_error(function()
      json.array(setmetatable({}, {}))
    end)
  end)

  it("agrees with lua-cjson on null", function()
    assert.equal(require("cjson").null, json.null)
    assert.equal(json.null, json.decode("null"))
    assert.equal('{"a":null}', again('{"a":null}'))
  end)

  it("keeps numbers", function()
    for _, text in ipairs({ "9007199254740992", "-9007199254740991", "0.30000000000000004", "-0" }) do
      assert.equal(text, again(text))
    end
    for _, number in ipairs({ 1 / 3, 5e-324, 1.7976931348623157e308, 2 ^ 63, 123456789.125 }) do
      assert.equal(number, json.decode(json.encode(number)))
    end
  end)

  it("writes 64-bit integers whole", function()
    assert.equal("9223372036854775807", json.encode(9223372036854775807LL))
    assert.equal("18446744073709551615", json.encode(18446744073709551615ULL))
  end)

  it("names the number keys of an object", function()
    assert.equal('{"2024":1}', json.encode({ [2024] = 1 }))
  end)

  for title, case in pairs({
    ["NaN"] = { { a = { b = { 1, 2, 0 / 0 } } }, "a.b[3]: number is NaN" },
    ["infinity"] = { { -1 / 0 }, "[1]: number is infinite" },
    ["text that is not UTF-8"] = { { a = "\255" }, "a: string is not valid UTF-8" },
    ["a function"] = { { a = print }, "a: cannot encode a function" },
    ["mixed keys"] = { { 1, x = 2 }, "mixed keys: the table has strings and numbers" },
    ["a hole"] = { { 1, nil, 3 }, "sparse array: 2 elements, but the last index is 3" },
  }) do
    it("raises for " .. title .. ", at the caller's line", function()
      local ok, message = pcall(function()
        local text = json.encode(case[1])
        return text
      end)
      assert.is_false(ok)
      local place, rest = message:match("^(.-json_spec%.lua:%d+: )(.*)$")
      assert.is_string(place, message)
      assert.equal("json.encode: " .. case[2], rest)
    end)
  end

  for text, want in pairs({
    ["{"] = "expected a key in quotes at line 1, column 2",
    ['{"a":\n [1, x]}'] = "a[2]: expected a value at line 2, column 6",
    ['{"a":"\255"}'] = "a: invalid UTF-8 at line 1, column 7",
    ['["\\ud83d"]'] = "[1]: half of a surrogate pair at line 1, column 3",
    ["[1e400]"] = "[1]: number out of range at line 1, column 2",
    ["[1,]"] = "[2]: expected a value at line 1, column 4",
  }) do
    it(("does not decode %q"):format(text), function()
      local value, message, code = json.decode(text)
      assert.is_nil(value)
      assert.equal("json.decode: " .. want, message)
      assert.equal("INVALID_JSON", code)
    end)
  end

  -- A long text's short keys are remembered: sku and total in one place, as are tags and name.
  local KEYS = { "sku", "total", "tags", "name", "quantity", "quantity2", "", "é", "a\\nb", "a", "ab" }

  it("tells the keys of a long text from each other", function()
    local items, texts = {}, {}
    for i = 1, 200 do
      local entries, item = {}, {}
      for n, key in ipairs({ "k" .. i, unpack(KEYS) }) do
        entries[n] = ('"%s":%d'):format(key, i * 100 + n)
        item[(key:gsub("\\n", "\n"))] = i * 100 + n
      end
      items[i], texts[i] = item, "{" .. table.concat(entries, ",") .. "}"
    end
    local text = "[" .. table.concat(texts, ",") .. "]"
    local list = json.decode(text)
    assert.equal(200, #list)
    for i, item in ipairs(items) do
      assert.same(item, list[i])
    end
    assert.equal(7, json.decode((" "):rep(600) .. '{"a":7}').a)
    local _, message = json.decode(text:sub(1, -3) .. ',"sku":nul}]')
    assert.matches("^json%.decode: %[200%]%.sku: expected a value at line 1, column %d+$", message)
    for _, cut in ipairs({ 2, 5, 9, 700, 1001 }) do
      assert.is_nil((json.decode(text:sub(1, -cut))))
    end
  end)

  it("nests up to 1,000", function()
    local function nested(n)
      return ("["):rep(n) .. ("]"):rep(n)
    end
    assert.equal(nested(1000), again(nested(1000)))
    assert.is_nil((json.decode(nested(1001))))
    assert.is_false((pcall(json.encode, { json.decode(nested(1000)) })))
  end)

  it("finds cycles", function()
    local t = { a = {} }
    t.a.b = t
    local _, message = pcall(json.encode, t)
    assert.matches("a%.b%.a: the table contains itself$", message)
  end)

  it("raises for arguments of the wrong type", function()
    assert.is_false((pcall(json.decode)))
    assert.is_false((pcall(json.decode, {})))
    assert.is_false((pcall(json.encode)))
  end)
end)
