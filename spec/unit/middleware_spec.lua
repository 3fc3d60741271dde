local Router = require("buntime.router")
local cors = require("buntime.middleware.cors")
local secure_headers = require("buntime.middleware.secure_headers")

local function with(middleware)
  local routes = Router.new()
  routes:use(middleware)
  routes:get("/x", function()
    return "x"
  end)
  routes:post("/x", function()
    return "made"
  end)
  routes:get("/fails", function()
    error({ status = 409, code = "NO", message = "no" })
  end)
  return routes
end

local function get(routes, origin, path)
  return routes:request(path or "/x", { headers = { origin = origin } })
end

local function preflight(routes, origin, headers)
  return routes:request("/x", {
    method = "OPTIONS",
    headers = {
      origin = origin,
      ["access-control-request-method"] = "POST",
      ["access-control-request-headers"] = headers,
    },
  })
end

describe("cors", function()
  it("lets every origin in unless told", function()
    local res = get(with(cors()), "https://a.example")
    assert.equal("x", res:text())
    assert.equal("*", res.headers["access-control-allow-origin"])
    assert.is_nil(res.headers["access-control-allow-credentials"])
    assert.is_nil(res.headers.vary)
  end)

  for title, origin in pairs({
    ["one origin"] = "https://a.example",
    ["a list"] = { "https://b.example", "https://a.example" },
    ["a function"] = function(asked)
      return asked == "https://a.example"
    end,
    ["a function that names one"] = function(asked)
      return asked == "https://a.example" and "https://a.example" or nil
    end,
  }) do
    it("lets in what is allowed by " .. title, function()
      local routes = with(cors({ origin = origin, credentials = true, expose = { "X-A", "X-B" } }))
      local res = get(routes, "https://a.example")
      assert.equal("https://a.example", res.headers["access-control-allow-origin"])
      assert.equal("true", res.headers["access-control-allow-credentials"])
      assert.equal("X-A, X-B", res.headers["access-control-expose-headers"])
      assert.equal("Origin", res.headers.vary)
      for _, other in ipairs({ "https://evil.example", "null" }) do
        res = get(routes, other)
        assert.is_nil(res.headers["access-control-allow-origin"])
        assert.is_nil(res.headers["access-control-allow-credentials"])
        assert.equal("Origin", res.headers.vary)
      end
      assert.is_nil(get(routes).headers["access-control-allow-origin"])
    end)
  end

  it("answers a preflight", function()
    local res = preflight(with(cors({ max_age = 600 })), "https://a.example", "x-a")
    assert.equal(204, res.status)
    assert.equal("*", res.headers["access-control-allow-origin"])
    assert.equal("POST", res.headers["access-control-allow-methods"])
    assert.equal("x-a", res.headers["access-control-allow-headers"])
    assert.equal("600", res.headers["access-control-max-age"])
    local told = cors({ methods = { "GET", "POST" }, headers = { "x-b" } })
    res = preflight(with(told), "https://a.example", "x-a")
    assert.equal("GET, POST", res.headers["access-control-allow-methods"])
    assert.equal("x-b", res.headers["access-control-allow-headers"])
  end)

  it("does not answer the preflight of a stranger", function()
    local res = preflight(with(cors({ origin = "https://a.example" })), "https://evil.example")
    assert.is_nil(res.headers["access-control-allow-origin"])
    assert.is_nil(res.headers["access-control-allow-methods"])
    assert.equal("GET, HEAD, OPTIONS, POST", res.headers.allow)
  end)

  it("is on errors with a status as well", function()
    local routes = with(cors())
    local res = get(routes:on_error(function() end), "https://a.example", "/fails")
    assert.equal(409, res.status)
    assert.equal("*", res.headers["access-control-allow-origin"])
  end)

  for title, case in pairs({
    ["credentials for everybody"] = { { credentials = true }, 'credentials need an origin other than "*"' },
    ["an unknown option"] = { { origins = "x" }, 'option "origins" is not known' },
    ["a list that is none"] = { { methods = "GET" }, "methods must be a list of strings, got string" },
  }) do
    it("refuses " .. title, function()
      local ok, err = pcall(cors, case[1])
      assert.is_false(ok)
      assert.is_truthy(err:find(case[2], 1, true), err)
    end)
  end
end)

describe("secure_headers", function()
  it("sets its headers, HSTS over HTTPS only", function()
    local res = with(secure_headers()):request("/x")
    assert.equal("nosniff", res.headers["x-content-type-options"])
    assert.equal("SAMEORIGIN", res.headers["x-frame-options"])
    assert.equal("no-referrer", res.headers["referrer-policy"])
    assert.is_nil(res.headers["strict-transport-security"])
  end)

  it("can be told otherwise", function()
    local told = { ["X-Frame-Options"] = "DENY", ["referrer-policy"] = false, ["X-New"] = "1" }
    local res = with(secure_headers(told)):request("/x")
    assert.equal("DENY", res.headers["x-frame-options"])
    assert.is_nil(res.headers["referrer-policy"])
    assert.equal("1", res.headers["x-new"])
  end)

  it("refuses a bad header", function()
    assert.is_false((pcall(secure_headers, { a = "b\nc" })))
  end)
end)
