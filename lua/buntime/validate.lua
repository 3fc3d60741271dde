--- Values held against a schema: the subset of JSON Schema that bodies of requests need.
---
---     local ok, errors = validate.check(c.req:json(), {
---       type = "object",
---       required = { "title" },
---       properties = { title = { type = "string", minLength = 1 } },
---     })
---     if not ok then
---       return c:json({ errors = errors }, 422)
---     end
---
--- Keywords: `type properties required additionalProperties minProperties maxProperties items minItems
--- maxItems uniqueItems enum const minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength
--- maxLength pattern format allOf anyOf oneOf not`; `title description default examples deprecated
--- readOnly writeOnly $schema $id $comment` are passed over. Any other raises: a rule that is not checked
--- is worse than none. A schema may hold itself; it is read once, at its first use.

local formats = require("buntime.formats")
local json = require("buntime.json")
local regex = require("buntime.regex")

--- @class buntime.validate
local M = {}

local ERRORS_MAX = 100

--- @class buntime.SchemaError
--- @field path string Such as `user.tags[2]`, from 1; "" is the value itself.
--- @field message string A sentence that begins with the path.

--- @class buntime.Schema
--- @field type? string|string[]
--- @field properties? table<string, buntime.Schema>
--- @field required? string[]
--- @field additionalProperties? boolean|buntime.Schema
--- @field items? buntime.Schema
--- @field enum? any[]
--- @field minimum? number
--- @field maximum? number
--- @field minLength? integer
--- @field maxLength? integer
--- @field pattern? string See docs/reference/validate.md.
--- @field format? string

-- Values -----------------------------------------------------------------------------------------

local NAMES = {
  object = "an object",
  array = "an array",
  string = "a string",
  number = "a number",
  integer = "an integer",
  boolean = "a boolean",
  null = "null",
}

--- As JSON has it. An empty table that nothing marked is an object, as it is for json.encode.
local function type_of(value)
  local kind = type(value)
  if value == json.null then
    return "null"
  elseif kind == "table" then
    return (json.is_array(value) or value[1] ~= nil) and "array" or "object"
  end
  return kind
end

local function has_type(value, wanted)
  local kind = type_of(value)
  if wanted == "integer" then
    return kind == "number" and value % 1 == 0
  elseif wanted == "number" then
    return kind == "number" and value == value
  end
  return kind == wanted
end

--- Equal values have equal texts.
local function canonical(value)
  local kind = type_of(value)
  if kind == "string" then
    return ("%q"):format(value)
  elseif kind == "number" then
    return ("%.17g"):format(value)
  elseif kind ~= "array" and kind ~= "object" then
    return kind == "null" and "null" or tostring(value)
  end
  local parts = {}
  if kind == "array" then
    for i, item in ipairs(value) do
      parts[i] = canonical(item)
    end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for key, item in pairs(value) do
    parts[#parts + 1] = ("%q:%s"):format(tostring(key), canonical(item))
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

--- UTF-8 characters.
local function length(text)
  local _, continuation = text:gsub("[\128-\191]", "")
  return #text - continuation
end

local function child(path, key)
  if type(key) == "number" then
    return ("%s[%d]"):format(path, key)
  elseif not key:find("^[%a_$][%w_$-]*$") then
    return ("%s[%q]"):format(path, key)
  end
  return path == "" and key or path .. "." .. key
end

local function report(errors, path, ...)
  if #errors < ERRORS_MAX then
    local subject = path == "" and "the value" or path
    errors[#errors + 1] = { path = path, message = subject .. " " .. string.format(...) }
  end
end

-- Keywords ---------------------------------------------------------------------------------------

-- Each makes, of the keyword's value, a function(value, path, errors). `kind` is the type of value that
-- it looks at.

local compile

local function misuse(where, ...)
  error({ misuse = ("%s: %s"):format(where, string.format(...)) }, 0)
end

local function expect(kind, value, where)
  if type(value) ~= kind then
    misuse(where, "expected a %s, got %s", kind, type(value))
  end
  return value
end

--- A keyword that compares a measure of the value with a number.
local function bound(kind, measure, fits, message)
  return {
    kind = kind,
    make = function(limit, where)
      expect("number", limit, where)
      return function(value, path, errors)
        local got = measure(value)
        if not fits(got, limit) then
          report(errors, path, message, tostring(limit), tostring(got))
        end
      end
    end,
  }
end

local function itself(value)
  return value
end

local function count_items(value)
  return #value
end

local function count_properties(value)
  local count = 0
  for _ in pairs(value) do
    count = count + 1
  end
  return count
end

local function at_least(got, limit)
  return got >= limit
end

local function at_most(got, limit)
  return got <= limit
end

local function check_list(value, where)
  expect("table", value, where)
  if #value == 0 then
    misuse(where, "expected a list that is not empty")
  end
  return value
end

local function schemas(list, where, memo)
  local checks = {}
  for i, schema in ipairs(check_list(list, where)) do
    checks[i] = compile(schema, ("%s[%d]"):format(where, i), memo)
  end
  return checks
end

--- How many of the checks a value passes.
local function passes(checks, value, path)
  local count = 0
  for _, check in ipairs(checks) do
    local errors = {}
    check.run(value, path, errors)
    count = count + (#errors == 0 and 1 or 0)
  end
  return count
end

local KEYWORDS = {
  minimum = bound("number", itself, at_least, "must be at least %s, got %s"),
  maximum = bound("number", itself, at_most, "must be at most %s, got %s"),
  exclusiveMinimum = bound("number", itself, function(got, limit)
    return got > limit
  end, "must be more than %s, got %s"),
  exclusiveMaximum = bound("number", itself, function(got, limit)
    return got < limit
  end, "must be less than %s, got %s"),
  multipleOf = bound("number", itself, function(got, step)
    local times = got / step
    return math.abs(times - math.floor(times + 0.5)) < 1e-9
  end, "must be a multiple of %s, got %s"),
  minLength = bound("string", length, at_least, "must have at least %s characters, got %s"),
  maxLength = bound("string", length, at_most, "must have at most %s characters, got %s"),
  minItems = bound("array", count_items, at_least, "must have at least %s items, got %s"),
  maxItems = bound("array", count_items, at_most, "must have at most %s items, got %s"),
  minProperties = bound("object", count_properties, at_least, "must have at least %s properties, got %s"),
  maxProperties = bound("object", count_properties, at_most, "must have at most %s properties, got %s"),
}

KEYWORDS.enum = {
  make = function(list, where)
    local known, texts = {}, {}
    for i, item in ipairs(check_list(list, where)) do
      texts[i] = canonical(item)
      known[texts[i]] = true
    end
    local allowed = table.concat(texts, ", ")
    return function(value, path, errors)
      if not known[canonical(value)] then
        report(errors, path, "must be one of %s", allowed)
      end
    end
  end,
}

KEYWORDS.const = {
  make = function(wanted)
    local text = canonical(wanted)
    return function(value, path, errors)
      if canonical(value) ~= text then
        report(errors, path, "must be %s", text)
      end
    end
  end,
}

KEYWORDS.pattern = {
  kind = "string",
  make = function(pattern, where)
    local compiled, problem = regex.compile(expect("string", pattern, where))
    if not compiled then
      misuse(where, "%s", problem)
    end
    return function(value, path, errors)
      if not compiled:test(value) then
        report(errors, path, "must match %s", pattern)
      end
    end
  end,
}

KEYWORDS.format = {
  kind = "string",
  make = function(name, where)
    local format = formats[expect("string", name, where)]
    if not format then
      misuse(where, "the format %q is not known", name)
    end
    return function(value, path, errors)
      if not format[1](value) then
        report(errors, path, "must be %s", format[2])
      end
    end
  end,
}

KEYWORDS.required = {
  kind = "object",
  make = function(names, where)
    for _, name in ipairs(expect("table", names, where)) do
      expect("string", name, where)
    end
    return function(value, path, errors)
      for _, name in ipairs(names) do
        if value[name] == nil then
          report(errors, child(path, name), "is required")
        end
      end
    end
  end,
}

KEYWORDS.properties = {
  kind = "object",
  make = function(properties, where, memo)
    local checks, names = {}, {}
    for name, schema in pairs(expect("table", properties, where)) do
      expect("string", name, where)
      checks[name] = compile(schema, where .. "." .. name, memo)
      names[#names + 1] = name
    end
    table.sort(names)
    return function(value, path, errors)
      for _, name in ipairs(names) do
        if value[name] ~= nil then
          checks[name].run(value[name], child(path, name), errors)
        end
      end
    end
  end,
}

local function sorted_keys(value)
  local keys = {}
  for key in pairs(value) do
    keys[#keys + 1] = tostring(key)
  end
  table.sort(keys)
  return keys
end

KEYWORDS.additionalProperties = {
  kind = "object",
  make = function(rule, where, memo, schema)
    local known = {}
    for name in pairs(schema.properties or {}) do
      known[name] = true
    end
    if rule == true then
      return nil
    end
    local check = rule ~= false and compile(rule, where, memo)
    return function(value, path, errors)
      for _, name in ipairs(sorted_keys(value)) do
        if not known[name] and check then
          check.run(value[name], child(path, name), errors)
        elseif not known[name] then
          report(errors, child(path, name), "is not known")
        end
      end
    end
  end,
}

KEYWORDS.items = {
  kind = "array",
  make = function(schema, where, memo)
    local check = compile(schema, where, memo)
    return function(value, path, errors)
      for i, item in ipairs(value) do
        check.run(item, child(path, i), errors)
      end
    end
  end,
}

KEYWORDS.uniqueItems = {
  kind = "array",
  make = function(on, where)
    if not expect("boolean", on, where) then
      return nil
    end
    return function(value, path, errors)
      local first = {}
      for i, item in ipairs(value) do
        local text = canonical(item)
        if first[text] then
          report(errors, child(path, i), "is the same as item %d", first[text])
        else
          first[text] = i
        end
      end
    end
  end,
}

KEYWORDS.allOf = {
  make = function(list, where, memo)
    local checks = schemas(list, where, memo)
    return function(value, path, errors)
      for _, check in ipairs(checks) do
        check.run(value, path, errors)
      end
    end
  end,
}

KEYWORDS.anyOf = {
  make = function(list, where, memo)
    local checks = schemas(list, where, memo)
    return function(value, path, errors)
      if passes(checks, value, path) == 0 then
        report(errors, path, "fits none of %d schemas", #checks)
      end
    end
  end,
}

KEYWORDS.oneOf = {
  make = function(list, where, memo)
    local checks = schemas(list, where, memo)
    return function(value, path, errors)
      local count = passes(checks, value, path)
      if count ~= 1 then
        report(errors, path, "must fit one of %d schemas, fits %d", #checks, count)
      end
    end
  end,
}

KEYWORDS["not"] = {
  make = function(schema, where, memo)
    local check = compile(schema, where, memo)
    return function(value, path, errors)
      if passes({ check }, value, path) == 1 then
        report(errors, path, "fits a schema that it must not")
      end
    end
  end,
}

local PASSED_OVER = {}
for _, name in ipairs({
  "title",
  "description",
  "default",
  "examples",
  "deprecated",
  "readOnly",
  "writeOnly",
  "$schema",
  "$id",
  "$comment",
}) do
  PASSED_OVER[name] = true
end

-- Schemas ----------------------------------------------------------------------------------------

local function compile_type(wanted, where)
  local list = type(wanted) == "table" and wanted or { wanted }
  local names = {}
  for i, name in ipairs(list) do
    if not NAMES[name] then
      misuse(where, "%q is not a type of JSON", tostring(name))
    end
    names[i] = NAMES[name]
  end
  if #names == 0 then
    misuse(where, "expected a type or a list of them")
  end
  local expected = table.concat(names, " or ")
  return function(value, path, errors)
    for _, name in ipairs(list) do
      if has_type(value, name) then
        return true
      end
    end
    local got = value ~= value and "NaN" or NAMES[type_of(value)] or "a " .. type(value)
    report(errors, path, "must be %s, got %s", expected, got)
    return false
  end
end

local function make_checks(schema, where, memo)
  local checks = {}
  local names = sorted_keys(schema)
  table.sort(names, function(a, b) -- what is missing is said first
    if a == "required" or b == "required" then
      return a == "required" and b ~= "required"
    end
    return a < b
  end)
  for _, name in ipairs(names) do
    local keyword = KEYWORDS[name]
    local place = where .. "." .. name
    if keyword then
      local run = keyword.make(schema[name], place, memo, schema)
      checks[#checks + 1] = run and { kind = keyword.kind, run = run }
    elseif name ~= "type" and not PASSED_OVER[name] then
      misuse(place, "the keyword is not known")
    end
  end
  return checks
end

--- @return { run: fun(value: any, path: string, errors: table) } check Of a schema that holds itself it is
--- filled in later.
function compile(schema, where, memo)
  if schema == true then
    return { run = function() end }
  elseif schema == false then
    schema = { ["not"] = {} }
  end
  expect("table", schema, where)
  if memo[schema] then
    return memo[schema]
  end
  local check = {}
  memo[schema] = check
  local fits_type = schema.type ~= nil and compile_type(schema.type, where .. ".type")
  local checks = make_checks(schema, where, memo)
  function check.run(value, path, errors)
    if fits_type and not fits_type(value, path, errors) then
      return
    end
    local kind = type_of(value)
    for _, one in ipairs(checks) do
      if not one.kind or one.kind == kind then
        one.run(value, path, errors)
      end
    end
  end
  return check
end

local compiled = setmetatable({}, { __mode = "k" })

--- Checks a value. Everything that is wrong is reported, up to 100 errors.
--- @param value any As json.decode gives it; a `nil` is treated as null.
--- @param schema buntime.Schema
--- @return boolean? ok
--- @return buntime.SchemaError[]? errors
function M.check(value, schema)
  if type(schema) ~= "table" then
    error(("validate.check: argument 2 (schema) must be a table, got %s"):format(type(schema)), 2)
  end
  local check = compiled[schema]
  if not check then
    local ok, result = pcall(compile, schema, "schema", {})
    if not ok then
      error(type(result) == "table" and "validate.check: " .. result.misuse or result, 2)
    end
    check = result
    compiled[schema] = check
  end
  if value == nil then
    value = json.null
  end
  local errors = {}
  check.run(value, "", errors)
  if #errors > 0 then
    return nil, errors
  end
  return true
end

return M
