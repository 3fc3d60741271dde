local cookie = require("buntime.cookie")

describe("cookie.get", function()
  local header = 'a=1; b="two words"; c=x=y;d=%C3%A9; a=2;  e = spaced ; empty=; 100=100%; broken'

  for name, value in pairs({
    a = "1",
    b = "two words",
    c = "x=y",
    d = "é",
    e = "spaced",
    empty = "",
    ["100"] = "100%",
  }) do
    it("reads " .. name, function()
      assert.equal(value, cookie.get(header, name))
    end)
  end

  for title, name in pairs({
    ["one that is not there"] = "z",
    ["a part of a name"] = "mpty",
    ["one without ="] = "broken",
    ["a pattern"] = ".",
  }) do
    it("gives nil for " .. title, function()
      assert.is_nil(cookie.get(header, name))
    end)
  end

  it("gives nil without a header", function()
    assert.is_nil(cookie.get(nil, "a"))
  end)

  it("takes linear time on long runs of spaces", function()
    local started = os.clock()
    cookie.get("a=" .. (" "):rep(200000) .. "x" .. (" "):rep(200000) .. "y", "b")
    cookie.get("a=x" .. (" "):rep(400000) .. "y", "a")
    assert.is_true(os.clock() - started < 1)
  end)
end)

describe("cookie.serialize", function()
  for _, case in ipairs({
    { "s", "v", nil, "s=v; Path=/" },
    { "n", 5, nil, "n=5; Path=/" },
    { "s", "a b;c,d\"e\\f\r\n%", nil, "s=a%20b%3Bc%2Cd%22e%5Cf%0D%0A%25; Path=/" },
    { "s", "é", nil, "s=%C3%A9; Path=/" },
    { "s", "v", { path = "/app", domain = "example.com" }, "s=v; Domain=example.com; Path=/app" },
    { "s", "v", { path = false }, "s=v" },
    { "s", "v", { max_age = 60, http_only = true }, "s=v; Max-Age=60; Path=/; HttpOnly" },
    { "s", "v", { secure = true, same_site = "none" }, "s=v; Path=/; Secure; SameSite=None" },
    { "s", "v", { secure = false, same_site = "Lax" }, "s=v; Path=/; SameSite=Lax" },
    { "s", "v", { expires = 784111777 }, "s=v; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Path=/" },
    { "s", nil, nil, "s=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/" },
    { "__Host-s", "v", { secure = true }, "__Host-s=v; Path=/; Secure" },
  }) do
    it("writes " .. case[4], function()
      assert.equal(case[4], cookie.serialize(case[1], case[2], case[3]))
    end)
  end

  it("is read back as it was written", function()
    local value = 'a b;c,"d"\\%41\r\n=é'
    local text = cookie.serialize("s", value, { path = false })
    assert.equal(value, cookie.get(text, "s"))
  end)

  for _, case in ipairs({
    { "a b", "v", nil, '"a b" is not a cookie\'s name' },
    { "a=b", "v", nil, '"a=b" is not a cookie\'s name' },
    { "", "v", nil, '"" is not a cookie\'s name' },
    { "s", {}, nil, 'the value of cookie "s" must be a string, got table' },
    { "s", "v", { httpOnly = true }, 'cookie option "httpOnly" is not known' },
    { "s", "v", { max_age = 1.5 }, "cookie option max_age must be an integer (seconds), got 1.5" },
    { "s", "v", { max_age = "60" }, "cookie option max_age must be an integer" },
    { "s", "v", { expires = "soon" }, "cookie option expires must be a time" },
    { "s", "v", { path = "app" }, "cookie option path must be a path that starts with /" },
    { "s", "v", { path = "/a; Secure" }, "cookie option path must be" },
    { "s", "v", { path = "/a\r\nX: y" }, "cookie option path must be" },
    { "s", "v", { domain = "a;b" }, "cookie option domain must be a host name" },
    { "s", "v", { secure = 1 }, "cookie option secure must be a boolean" },
    { "s", "v", { same_site = "Often" }, "cookie option same_site must be Strict, Lax or None" },
    { "s", "v", { same_site = "None" }, "same_site = None needs secure = true" },
    { "__Secure-s", "v", nil, 'cookie "__Secure-s" needs secure = true' },
    { "__Host-s", "v", { secure = true, path = "/a" }, "needs secure = true, path = / and no domain" },
    { "__Host-s", "v", { secure = true, path = false }, "needs secure = true, path = /" },
  }) do
    it("refuses: " .. case[4], function()
      local text, message = cookie.serialize(case[1], case[2], case[3])
      assert.is_nil(text)
      assert.is_truthy(message:find(case[4], 1, true), message)
    end)
  end
end)
