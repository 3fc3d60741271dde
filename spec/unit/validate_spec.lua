local json = require("buntime.json")
local validate = require("buntime.validate")

--- Values are JSON here, as they come from requests; `want` is "" or the messages, one a line.
local cases = {
  -- types
  { "string", { type = "string" }, '"a"', "" },
  { "not a string", { type = "string" }, "5", "the value must be a string, got a number" },
  { "integer", { type = "integer" }, "5.0", "" },
  { "not an integer", { type = "integer" }, "5.5", "the value must be an integer, got a number" },
  { "number", { type = "number" }, "5.5", "" },
  { "text is no number", { type = "number" }, '"5"', "the value must be a number, got a string" },
  { "boolean", { type = "boolean" }, "false", "" },
  { "null", { type = "null" }, "null", "" },
  { "null is no object", { type = "object" }, "null", "the value must be an object, got null" },
  { "array", { type = "array" }, "[]", "" },
  { "an empty array is no object", { type = "object" }, "[]", "the value must be an object, got an array" },
  { "an empty object is no array", { type = "array" }, "{}", "the value must be an array, got an object" },
  { "several types", { type = { "string", "null" } }, "null", "" },
  {
    "none of several",
    { type = { "string", "null" } },
    "1",
    "the value must be a string or null, got a number",
  },
  { "no schema", {}, "[1]", "" },
  -- objects
  { "required", { required = { "a", "b" } }, '{"a":1}', "b is required" },
  { "null is there", { required = { "a" } }, '{"a":null}', "" },
  { "required looks at objects", { required = { "a" } }, "5", "" },
  {
    "paths",
    {
      type = "object",
      properties = {
        user = {
          required = { "name" },
          properties = { tags = { items = { type = "string" } }, ["x-y z"] = { type = "string" } },
        },
      },
    },
    '{"user":{"tags":["a",1,"b",null],"x-y z":1}}',
    "user.name is required\n"
      .. "user.tags[2] must be a string, got a number\n"
      .. "user.tags[4] must be a string, got null\n"
      .. 'user["x-y z"] must be a string, got a number',
    { "user.name", "user.tags[2]", "user.tags[4]", 'user["x-y z"]' },
  },
  { "further properties", { properties = { a = {} } }, '{"b":1}', "" },
  {
    "no further properties",
    { properties = { a = {} }, additionalProperties = false },
    '{"a":1,"b":1,"c":2}',
    "b is not known\nc is not known",
  },
  {
    "further properties of a kind",
    { properties = { a = {} }, additionalProperties = { type = "number" } },
    '{"a":"x","b":"y","c":2}',
    "b must be a number, got a string",
  },
  { "minProperties", { minProperties = 1 }, "{}", "the value must have at least 1 properties, got 0" },
  {
    "maxProperties",
    { maxProperties = 1 },
    '{"a":1,"b":1}',
    "the value must have at most 1 properties, got 2",
  },
  -- arrays
  { "items", { items = { type = "number" } }, '[1,"2"]', "[2] must be a number, got a string" },
  { "minItems", { minItems = 2 }, "[1]", "the value must have at least 2 items, got 1" },
  { "maxItems", { maxItems = 0 }, "[1]", "the value must have at most 0 items, got 1" },
  {
    "uniqueItems",
    { uniqueItems = true },
    '[1,"1",{"a":1,"b":2},{"b":2,"a":1},1]',
    "[4] is the same as item 3\n[5] is the same as item 1",
  },
  {
    "lists of lists",
    { items = { items = { type = "string" } } },
    '[["a"],["b",5]]',
    "[2][2] must be a string, got a number",
  },
  -- numbers
  { "minimum", { minimum = 0 }, "-0.5", "the value must be at least 0, got -0.5" },
  { "minimum met", { minimum = 0, maximum = 0 }, "0", "" },
  { "maximum", { maximum = 10 }, "11", "the value must be at most 10, got 11" },
  { "exclusiveMinimum", { exclusiveMinimum = 0 }, "0", "the value must be more than 0, got 0" },
  { "exclusiveMaximum", { exclusiveMaximum = 1 }, "1", "the value must be less than 1, got 1" },
  { "multipleOf", { multipleOf = 0.01 }, "19.99", "" },
  { "not multipleOf", { multipleOf = 5 }, "12", "the value must be a multiple of 5, got 12" },
  { "numbers only", { minimum = 5 }, '"a"', "" },
  -- strings
  {
    "minLength counts characters",
    { minLength = 3 },
    '"äö"',
    "the value must have at least 3 characters, got 2",
  },
  { "maxLength counts characters", { maxLength = 2 }, '"äö"', "" },
  { "maxLength", { maxLength = 2 }, '"abc"', "the value must have at most 2 characters, got 3" },
  { "pattern", { pattern = "^[a-z]{2,}\\d?$" }, '"ab1"', "" },
  { "not the pattern", { pattern = "^[a-z]+$" }, '"a1"', "the value must match ^[a-z]+$" },
  { "a pattern is searched for", { pattern = "b" }, '"abc"', "" },
  -- enums
  { "enum", { enum = { "a", 1, json.null } }, "null", "" },
  { "not in enum", { enum = { "a", 1 } }, '"b"', 'the value must be one of "a", 1' },
  { "the text of a number is another value", { enum = { 1 } }, '"1"', "the value must be one of 1" },
  { "const", { const = { a = { 1, 2 } } }, '{"a":[1,2]}', "" },
  { "not const", { const = "x" }, '"y"', 'the value must be "x"' },
  -- combinations
  { "anyOf", { anyOf = { { type = "string" }, { minimum = 5 } } }, "6", "" },
  {
    "none of anyOf",
    { anyOf = { { type = "string" }, { minimum = 5 } } },
    "4",
    "the value fits none of 2 schemas",
  },
  { "oneOf", { oneOf = { { type = "string" }, { minimum = 5 } } }, "6", "" },
  {
    "two of oneOf",
    { oneOf = { { type = "number" }, { minimum = 5 } } },
    "6",
    "the value must fit one of 2 schemas, fits 2",
  },
  {
    "allOf",
    { allOf = { { type = "number" }, { minimum = 5 } } },
    "4",
    "the value must be at least 5, got 4",
  },
  { "not", { ["not"] = { type = "string" } }, '"a"', "the value fits a schema that it must not" },
  { "false", { properties = { a = false } }, '{"a":1}', "a fits a schema that it must not" },
  { "true", { properties = { a = true } }, '{"a":1}', "" },
  { "annotations", { title = "t", description = "d", default = 1, examples = {} }, "1", "" },
}

local formats = {
  email = {
    { "a@b.co", "a.b+c@d-e.example", "x@localhost" },
    { "", "a", "@b", "a@", "a@b@c", "a b@c.d", ".a@b.c", "a..b@c.d", "a@-b.c", "a@b..c" },
  },
  uuid = {
    { "018f3e1c-7b1a-7c00-8000-00000000000f", "018F3E1C-7B1A-7C00-8000-00000000000F" },
    {
      "",
      "018f3e1c7b1a7c00800000000000000f",
      "018f3e1c-7b1a-7c00-8000-00000000000g",
      "018f3e1c7-b1a-7c00-8000-00000000000f",
    },
  },
  date = {
    { "2024-02-29", "2000-02-29", "2026-12-31" },
    { "2023-02-29", "1900-02-29", "2026-13-01", "2026-04-31", "2026-1-1", "2026-00-10", "2026-01-00" },
  },
  time = {
    { "12:00:00Z", "23:59:60+01:00", "00:00:00.123-23:59" },
    { "12:00", "24:00:00Z", "12:60:00Z", "12:00:00", "12:00:00+24:00" },
  },
  ["date-time"] = {
    { "2026-01-31T12:00:00Z", "2026-01-31t12:00:00.5+02:00" },
    { "2026-01-31", "2026-02-31T12:00:00Z", "2026-01-31 12:00:00Z", "2026-01-31T12:00:00" },
  },
  ipv4 = {
    { "0.0.0.0", "255.255.255.255" },
    { "", "1.2.3", "1.2.3.256", "01.2.3.4", "1.2.3.4.5", "a.b.c.d" },
  },
  ipv6 = {
    { "::", "::1", "2001:db8::1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1::8", "1:2:3:4:5:6:7::" },
    { "", ":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "::1.2.3.256", "g::" },
  },
  hostname = {
    { "a", "a.b-c.d1", ("a"):rep(63) .. ".b" },
    { "", "-a", "a-", "a..b", "a_b", ("a"):rep(64), "a." },
  },
  uri = {
    { "http://a/b?c=d#e", "mailto:a@b", "urn:x:y", "http://a/%20" },
    { "", "a", "/a", "http://a b", "http://a/%2", "http:" },
  },
}

describe("validate", function()
  for _, case in ipairs(cases) do
    it(case[1], function()
      local ok, errors = validate.check(json.decode(case[3]), case[2])
      local messages, paths = {}, {}
      for i, item in ipairs(errors or {}) do
        messages[i], paths[i] = item.message, item.path
      end
      assert.equal(case[4], table.concat(messages, "\n"))
      assert.equal(case[4] == "" and true or nil, ok)
      if case[5] then
        assert.same(case[5], paths)
      end
    end)
  end

  for name, texts in pairs(formats) do
    it("format " .. name, function()
      for _, text in ipairs(texts[1]) do
        assert.is_true(validate.check(text, { format = name }), text)
      end
      for _, text in ipairs(texts[2]) do
        assert.is_nil(validate.check(text, { format = name }), text)
      end
    end)
  end

  it("takes tables of Lua, too", function()
    assert.is_true(validate.check({ 1, 2 }, { type = "array", items = { type = "integer" } }))
    assert.is_true(validate.check({}, { type = "object" }))
    assert.is_true(validate.check(json.array(), { type = "array" }))
    local function message(value)
      local _, errors = validate.check(value, { type = "integer" })
      return errors[1].message
    end
    assert.equal("the value must be an integer, got NaN", message(0 / 0))
    assert.equal("the value must be an integer, got a function", message(print))
    assert.equal("the value must be an integer, got null", message(nil))
  end)

  it("errors can be sent", function()
    local _, errors = validate.check({}, { required = { "a" } })
    assert.same({ { path = "a", message = "a is required" } }, json.decode(json.encode(errors)))
  end)

  it("reports a hundred errors at most", function()
    local list = {}
    for i = 1, 1000 do
      list[i] = "x"
    end
    local _, errors = validate.check(list, { items = { type = "number" } })
    assert.equal(100, #errors)
  end)

  it("a schema may hold itself", function()
    local tree = { type = "object", properties = {} }
    tree.properties.children = { type = "array", items = tree }
    local value = json.decode('{"children":[{"children":[]},{"children":[{"children":5}]}]}')
    local _, errors = validate.check(value, tree)
    assert.equal("children[2].children[1].children must be an array, got a number", errors[1].message)
  end)

  it("a hostile text ends, too", function() -- with backtracking it would not
    assert.is_nil(validate.check(("a"):rep(5000) .. "!", { pattern = "^(a+)+(a|aa)*$" }))
  end)

  local misuse = {
    { 5, "validate.check: argument 2 (schema) must be a table, got number" },
    { { min = 5 }, "validate.check: schema.min: the keyword is not known" },
    { { ["$ref"] = "#/x" }, "validate.check: schema.$ref: the keyword is not known" },
    { { type = "text" }, 'validate.check: schema.type: "text" is not a type of JSON' },
    {
      { properties = { a = { typo = 1 } } },
      "validate.check: schema.properties.a.typo: the keyword is not known",
    },
    { { items = 5 }, "validate.check: schema.items: expected a table, got number" },
    { { minimum = "5" }, "validate.check: schema.minimum: expected a number, got string" },
    { { format = "phone" }, 'validate.check: schema.format: the format "phone" is not known' },
    { { enum = {} }, "validate.check: schema.enum: expected a list that is not empty" },
    { { pattern = "(a" }, "validate.check: schema.pattern: column 3: a group has no end" },
    {
      { pattern = "(?=a)" },
      "validate.check: schema.pattern: column 3: look-around and named groups are not supported",
    },
  }
  for _, case in ipairs(misuse) do
    it(case[2], function()
      local ok, message = pcall(function()
        return (validate.check(1, case[1]))
      end)
      assert.is_false(ok)
      assert.matches("^.-validate_spec.lua:%d+: ", message)
      assert.equal(case[2], (message:gsub("^.-validate_spec.lua:%d+: ", "")))
    end)
  end
end)

describe("patterns", function()
  local regex = require("buntime.regex")

  local matches = {
    { "^a+$", "aaa", "aab" },
    { "^(a|b)*c$", "ababc", "abab" },
    { "^\\d{3}-\\d{4}$", "555-1234", "555-123" },
    { "^[^a-c]$", "d", "b" },
    { "^.$", "é", "\n" },
    { "^..$", "éé", "é" },
    { "\\bfoo\\b", "a foo b", "afoo b" },
    { "^a\\Bb$", "ab", "a" },
    { "^(?:ab){2,3}$", "abab", "abababab" },
    { "^(?:ab){2,}$", ("ab"):rep(9), "ab" },
    { "^a{2}$", "aa", "aaa" },
    { "^x{$", "x{", "x" },
    { "^[\\]a-]+$", "]-a", "b" },
    { "^[^]$", "x", "" },
    { "^\\u00e9\\x41$", "éA", "eA" },
    { "^\\w+@\\w+\\.\\w+$", "a@b.c", "a@b_c" },
    { "^a??b$", "ab", "aab" },
    { "^(|a)+b$", "aab", "ac" },
    { "^\\s\\S\\D\\W$", " xx-", "xxx-" },
    { "^[\\d\\-x]+$", "1-x", "a" },
    { "^$", "", "x" },
    { "a|^b|c$", "xxc", "xcx" },
    { "^[а-я]+$", "привет", "hello" },
    { "^\\t\\/\\.$", "\t/.", "\t/x" },
  }
  for _, case in ipairs(matches) do
    it(case[1], function()
      local compiled = assert(regex.compile(case[1]))
      assert.is_true(compiled:test(case[2]))
      assert.is_false(compiled:test(case[3]))
    end)
  end

  local wrong = {
    { "(", "column 2: a group has no end" },
    { "a)", "column 2: a ) without its (" },
    { "*a", "column 1: nothing to repeat" },
    { "a**", "column 3: nothing to repeat" },
    { "[a", "column 3: the class has no end" },
    { "(a)\\1", "column 5: \\1 is not supported" },
    { "[z-a]", "column 5: a range that goes backward" },
    { "a{2,1}", "column 7: a quantifier that goes backward" },
    { "a{1001}", "column 8: a quantifier over 1000" },
    { "(a{1000}){1000}", "column 1: the pattern is too large" },
    { "(((){1000}){1000}){1000}", "column 1: the pattern is too large" },
    { ("("):rep(200), "column 102: groups are nested too deeply" },
    { "\\", "column 2: a backslash at the end" },
    { "\\u12", "column 5: expected 4 hexadecimal digits" },
  }
  for _, case in ipairs(wrong) do
    it(case[1]:sub(1, 30) .. " is none", function()
      assert.same({ nil, case[2] }, { regex.compile(case[1]) })
    end)
  end
end)
