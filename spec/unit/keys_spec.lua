-- The pure parts of keys: namespaces, and what POST /api/keys is sent.

local json = require("buntime.json")
local key_fields = require("buntime.api.key_fields")
local namespaces = require("buntime.api.namespaces")

describe("namespaces", function()
  it("are the scopes of names", function()
    for name, scope in pairs({ ["@a/b"] = "@a", ["@a.b/c"] = "@a.b" }) do
      assert.equal(scope, namespaces.of(name))
    end
    for _, name in ipairs({ "a", "a/b", "@a", "@a/", "@/b", "", "*" }) do
      assert.is_nil(namespaces.of(name), name)
    end
  end)

  it("allow what is in them", function()
    for _, case in ipairs({
      { { "*" }, "@a/b", true },
      { { "*" }, "b", true },
      { { "*" }, "*", true },
      { { "@a" }, "@a/b", true },
      { { "@x", "@a" }, "@a/b", true },
      { { "@a" }, "b", false },
      { { "@a" }, "*", false },
      { { "@a" }, "@ab/c", false },
      { { "@ab" }, "@a/b", false },
      { { "@a" }, "@A/b", false },
      { { "@a" }, "x/@a/b", false },
      { {}, "@a/b", false },
      { {}, "b", false },
    }) do
      assert.equal(case[3], namespaces.allow(case[1], case[2]), table.concat(case[1], " ") .. " " .. case[2])
    end
  end)

  it("are within others", function()
    assert.is_true(namespaces.within({ "@a", "*" }, { "*" }))
    assert.is_true(namespaces.within({ "@a" }, { "@b", "@a" }))
    assert.is_true(namespaces.within({}, {}))
    assert.same({ false, "@c" }, { namespaces.within({ "@a", "@c" }, { "@a" }) })
    assert.same({ false, "*" }, { namespaces.within({ "*" }, { "@a" }) })
  end)

  it("have a form", function()
    for _, text in ipairs({ "*", "@a", "@a-b_c.d", "@1" }) do
      assert.is_true(namespaces.valid(text), text)
    end
    local long = "@" .. ("a"):rep(100)
    for _, text in ipairs({ "", "a", "@", "@.a", "@a/b", "@a b", "@a\n", "**", long, 1, true }) do
      assert.is_false(namespaces.valid(text), tostring(text))
    end
  end)
end)

describe("the fields of a key", function()
  local RULES = {
    roles = {
      { name = "admin", custom = false, permissions = { "a:read", "a:write", "b:read" } },
      { name = "viewer", custom = false, permissions = { "a:read", "b:read" } },
      { name = "custom", custom = true, permissions = {} },
    },
    permissions = { "a:read", "a:write", "b:read" },
    duration = function(text)
      local number, unit = text:match("^(%d+)(%a*)$")
      local scale = { [""] = 1000, ms = 1, h = 3600000, y = 31536000000 }
      return number and scale[unit] and tonumber(number) * scale[unit]
    end,
  }

  local function read(more)
    local body = { name = "n", role = "viewer" }
    for key, value in pairs(more) do
      body[key] = value
    end
    return key_fields.read(body, RULES)
  end

  it("are read", function()
    assert.same({
      name = "n",
      role = "viewer",
      all = false,
      permissions = { "a:read", "b:read" },
      lifetime = 0,
    }, read({}))
    assert.same(
      {
        name = "a b",
        role = "custom",
        all = false,
        permissions = { "b:read", "a:read" },
        namespaces = { "@x", "@y" },
        lifetime = 7200000,
      },
      read({
        name = "  a b ",
        role = "custom",
        permissions = { "b:read", "a:read", "b:read" },
        namespaces = { "@x", "@y", "@x" },
        expiresIn = "2h",
      })
    )
    assert.is_true(read({ role = "admin" }).all)
    assert.same({ "*" }, read({ namespaces = { "@x", "*" } }).namespaces)
    assert.equal(1500000, read({ expiresIn = 1500 }).lifetime)
    local nothing = { permissions = json.null, namespaces = json.null, expiresIn = json.null }
    assert.same(read({}), read(nothing))
    assert.same(read({}), read({ permissions = { "b:read", "a:read" }, expiresIn = "never" }))
    assert.same(read({}), read({ permissions = json.array() }))
  end)

  for title, case in pairs({
    ["an unknown field"] = { { namespace = { "@a" } }, "UNKNOWN_FIELD" },
    ["no name"] = { { name = json.null }, "INVALID_NAME" },
    ["an empty name"] = { { name = "" }, "INVALID_NAME" },
    ["a blank name"] = { { name = "  " }, "INVALID_NAME" },
    ["a number as the name"] = { { name = 5 }, "INVALID_NAME" },
    ["a long name"] = { { name = ("x"):rep(101) }, "INVALID_NAME" },
    ["a name of two lines"] = { { name = "a\nb" }, "INVALID_NAME" },
    ["no role"] = { { role = json.null }, "INVALID_ROLE" },
    ["an unknown role"] = { { role = "root" }, "INVALID_ROLE" },
    ["a list as the role"] = { { role = { "admin" } }, "INVALID_ROLE" },
    ["permissions of a fixed role"] = { { permissions = { "a:write" } }, "INVALID_PERMISSIONS" },
    ["no permissions"] = { { role = "custom" }, "INVALID_PERMISSIONS" },
    ["an empty list"] = { { role = "custom", permissions = {} }, "INVALID_PERMISSIONS" },
    ["unknown permissions"] = {
      { role = "custom", permissions = { "a:read", "a:*" } },
      "INVALID_PERMISSIONS",
    },
    ["a text as permissions"] = { { role = "custom", permissions = "a:read" }, "INVALID_PERMISSIONS" },
    ["an object as permissions"] = { { role = "custom", permissions = { a = true } }, "INVALID_PERMISSIONS" },
    ["no namespace"] = { { namespaces = {} }, "INVALID_NAMESPACES" },
    ["a text as namespaces"] = { { namespaces = "@a" }, "INVALID_NAMESPACES" },
    ["a namespace without @"] = { { namespaces = { "@a", "b" } }, "INVALID_NAMESPACES" },
    ["a namespace with a space"] = { { namespaces = { "@a *" } }, "INVALID_NAMESPACES" },
    ["no duration"] = { { expiresIn = "soon" }, "INVALID_EXPIRES_IN" },
    ["an empty duration"] = { { expiresIn = "" }, "INVALID_EXPIRES_IN" },
    ["no time at all"] = { { expiresIn = "0" }, "INVALID_EXPIRES_IN" },
    ["a negative time"] = { { expiresIn = -1 }, "INVALID_EXPIRES_IN" },
    ["too long a time"] = { { expiresIn = "101y" }, "INVALID_EXPIRES_IN" },
    ["a flag as time"] = { { expiresIn = true }, "INVALID_EXPIRES_IN" },
  }) do
    it("are refused: " .. title, function()
      local fields, message, code = read(case[1])
      assert.is_nil(fields)
      assert.equal(case[2], code)
      assert.is_string(message)
    end)
  end

  it("are an object", function()
    for _, body in ipairs({ "x", 5, true, { "a" } }) do
      local fields, _, code = key_fields.read(body, RULES)
      assert.is_nil(fields)
      assert.equal("INVALID_BODY", code)
    end
    assert.equal("INVALID_BODY", select(3, key_fields.read(nil, RULES)))
  end)

  it("give only what the maker has", function()
    local maker = { all = false, permissions = { "a:read", "b:read" }, namespaces = { "@x" } }
    local function grantable(more)
      local ok, message, code = key_fields.grantable(assert(read(more)), maker)
      assert.equal(ok, message == nil)
      return code or ok
    end
    assert.is_true(grantable({}))
    assert.is_true(grantable({ namespaces = { "@x" } }))
    assert.equal("NAMESPACE_DENIED", grantable({ namespaces = { "@x", "@y" } }))
    assert.equal("NAMESPACE_DENIED", grantable({ namespaces = { "*" } }))
    assert.equal("PERMISSION_DENIED", grantable({ role = "admin" }))
    assert.equal("PERMISSION_DENIED", grantable({ role = "custom", permissions = { "a:write" } }))
    maker.permissions = { "a:read", "a:write", "b:read" }
    assert.equal("PERMISSION_DENIED", grantable({ role = "admin" })) -- it may do what has no name, too
    maker.all, maker.namespaces = true, { "*" }
    assert.is_true(grantable({ role = "admin", namespaces = { "*", "@z" } }))
  end)
end)
