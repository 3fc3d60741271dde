-- The page that a browser gets for a plugin's error in development.

local fixtures = require("spec.support.fixtures")
local server = require("spec.support.server")

local BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

local CODE = [[
local routes = require("buntime.router").new()
routes:get("/fail", function(c)
  error("it <b>broke</b> & 'fell' \"down\"")
end)
routes:get("/secret", function(c)
  error("the key is " .. buntime.env.PAGE_SECRET)
end)
return { routes = routes }
]]

local function start(env)
  env = env or {}
  env.PAGE_SECRET = "hush-hush-hush"
  local s = server.start({
    plugins = {
      page = fixtures.plugin(
        "name: page\nbase: /page\nconfig:\n  secret: { type: password, env: PAGE_SECRET }",
        CODE
      ),
    },
    env = env,
  })
  s:allow_errors("broke", "the key is")
  return s
end

local function get(s, accept, path)
  return s:get(path or "/page/fail", { headers = { Accept = accept } })
end

describe("a plugin's error", function()
  after_each(server.stop_all)

  it("is a page for a browser, escaped and by itself", function()
    local s = start()
    local res = get(s, BROWSER)
    assert.equal(500, res.status)
    assert.equal("text/html; charset=utf-8", res.headers["content-type"])
    assert.matches("default%-src 'none'", res.headers["content-security-policy"])
    assert.equal("no-store", res.headers["cache-control"])
    local page = res.body
    assert.is_truthy(page:find("it &lt;b&gt;broke&lt;/b&gt; &amp; &#39;fell&#39; &quot;down&quot;", 1, true))
    assert.is_nil(page:find("<b>broke", 1, true))
    assert.matches("<dd>page</dd>", page)
    assert.matches("<dd>plugins/page/plugin%.lua:3</dd>", page)
    assert.matches("stack traceback:", page)
    assert.is_truthy(page:find("<dd>" .. res.headers["x-request-id"] .. "</dd>", 1, true))
    assert.is_nil(page:find("<script", 1, true))
    assert.is_nil(page:find("http", 1, true))
    assert.is_nil(page:find("src=", 1, true))
    s:stop()
  end)

  it("does not show what of the request could be markup", function()
    local s = start()
    local res = get(s, BROWSER, "/page/fail?a=<script>alert(1)</script>")
    assert.is_nil(res.body:find("<script", 1, true))
    s:stop()
  end)

  it("does not show secrets", function()
    local s = start()
    local res = get(s, BROWSER, "/page/secret")
    assert.is_nil(res.body:find("hush", 1, true))
    assert.is_truthy(res.body:find("the key is ***", 1, true))
    s:stop()
  end)

  it("is JSON for whoever does not prefer HTML", function()
    local s = start()
    local kinds = {
      ["*/*"] = "json",
      [""] = "json",
      ["application/json"] = "json",
      ["application/json, text/html"] = "json",
      ["text/html;q=0.5, application/json"] = "json",
      ["text/html;q=0, */*"] = "json",
      ["image/png"] = "json",
      ["text/html"] = "html",
      ["TEXT/HTML"] = "html",
      ["text/*"] = "html",
      ["text/html, application/json;q=0.9"] = "html",
      ["application/json;q=0.1, text/html;level=1;q=0.2"] = "html",
    }
    for accept, kind in pairs(kinds) do
      local res = get(s, accept)
      assert.equal(500, res.status)
      assert.matches(kind, res.headers["content-type"], nil, nil, accept)
    end
    assert.equal("application/json", s:get("/page/fail").headers["content-type"])
    s:stop()
  end)

  it("is JSON in production, without the message", function()
    local s = start({ RUNTIME_ENV = "production" })
    local res = get(s, BROWSER)
    assert.equal("application/json", res.headers["content-type"])
    assert.is_nil(res.body:find("broke", 1, true))
    s:stop()
  end)
end)
