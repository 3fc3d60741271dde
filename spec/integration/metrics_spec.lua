-- GET /api/metrics: what is counted of requests, plugins, reloads and the process.

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local prometheus = require("spec.support.prometheus")
local server = require("spec.support.server")

local plugin = fixtures.plugin

local SHOP = plugin(
  "name: '@acme/shop'\nbase: /shop\n",
  [[
local routes = require("buntime.router").new()
local admin = require("buntime.router").new()
routes:get("/items/:id", function(c) return c:json({ id = c.req:param("id") }) end)
routes:post("/items", function(c) return c:json({}, 201) end)
routes:get("/broken", function() error("broken") end)
routes:get("/slow", function(c) buntime.sleep(0.06) return c:text("slow") end)
routes:get("/stuck", function(c) buntime.sleep(60) end)
admin:get("/who", function(c) return c:text("me") end)
routes:route("/admin", admin)
routes:use("/items/*", function(c, next) return next() end)
require("buntime.timer").every(60, function() end)
return { routes = routes }
]]
)

local HOOK = plugin(
  "name: hook\n",
  [[
return {
  onRequest = function(req)
    if req.path == "/stop" then return { status = 403 } end
  end,
  server = { fetch = function(req)
    if req.path == "/fetched" then return { status = 200 } end
  end },
}
]]
)

local function start(fn)
  server.with({ plugins = { shop = SHOP, hook = HOOK } }, fn)
end

local function page(s)
  local res = s:get("/api/metrics")
  assert.equal(200, res.status)
  assert.equal("text/plain; version=0.0.4; charset=utf-8", res.headers["content-type"])
  return prometheus.parse(res.body)
end

local function requests(p, name, method, route, status)
  local labels = { plugin = name, method = method, route = route, status = tostring(status) }
  return p:value("buntime_http_requests_total", labels)
end

describe("metrics", function()
  after_each(server.stop_all)

  it("counts requests by plugin, method, route and status", function()
    start(function(s)
      for id = 1, 3 do
        s:get("/shop/items/" .. id)
      end
      s:request("POST", "/shop/items", { body = "{}" })
      s:request("DELETE", "/shop/items")
      s:get("/shop/admin/who")
      s:get("/shop/none")
      s:get("/none")
      s:get("/stop")
      s:get("/fetched")
      s:get("/shop/broken")
      s:allow_errors("broken")
      local p = page(s)
      assert.equal(3, requests(p, "@acme/shop", "GET", "/items/:id", 200))
      assert.equal(1, requests(p, "@acme/shop", "POST", "/items", 201))
      assert.equal(1, requests(p, "@acme/shop", "GET", "/admin/who", 200))
      assert.equal(1, requests(p, "@acme/shop", "", "request", 405))
      assert.equal(2, requests(p, "", "", "", 404))
      assert.equal(1, requests(p, "hook", "", "onRequest", 403))
      assert.equal(1, requests(p, "hook", "", "server.fetch", 200))
      assert.equal(1, requests(p, "@acme/shop", "GET", "/broken", 500))
      assert.equal(1, p:value("buntime_plugin_errors_total", { plugin = "@acme/shop" }))
      assert.equal(1, requests(page(s), "buntime", "GET", "/api/metrics", 200))
    end)
  end)

  it("has a histogram whose buckets add up", function()
    start(function(s)
      s:get("/shop/slow")
      s:get("/shop/slow")
      local p = page(s)
      local name, labels = "buntime_http_request_duration_seconds", nil
      local function value(suffix, le)
        labels = { plugin = "@acme/shop", method = "GET", route = "/slow", le = le }
        return p:value(name .. suffix, labels)
      end
      assert.equal(0, value("_bucket", "0.05"))
      assert.equal(2, value("_bucket", "+Inf"))
      assert.equal(2, value("_bucket", "10"))
      assert.equal(2, value("_count"))
      assert.is_true(value("_sum") >= 0.12 and value("_sum") < 20)
      local before = 0
      for _, series in ipairs(p.series) do
        if series.name == name .. "_bucket" and series.labels.route == "/slow" then
          assert.is_true(series.value >= before)
          before = series.value
        end
      end
    end)
  end)

  it("counts clients that went first as 499, once", function()
    start(function(s)
      local connection = s:connect()
      connection:send("GET /shop/stuck HTTP/1.1\r\nHost: localhost\r\n\r\n")
      process.eventually(function()
        return page(s):value("buntime_http_requests_in_flight") == 2
      end)
      connection:close()
      local count = process.eventually(function()
        local p = page(s)
        return requests(p, "@acme/shop", "GET", "/stuck", 499)
      end)
      assert.equal(1, count)
      assert.equal(1, page(s):value("buntime_http_requests_in_flight"))
    end)
  end)

  it("keeps counting across reloads, and counts those", function()
    start(function(s)
      s:get("/shop/items/1")
      s:reload()
      s:get("/shop/items/2")
      s:write("shop/plugin.lua", "return {")
      s:reload()
      s:allow_errors("plugin.lua")
      local p = page(s)
      assert.equal(2, requests(p, "@acme/shop", "GET", "/items/:id", 200))
      assert.equal(2, p:value("buntime_reloads_total", { result = "ok" }))
      assert.equal(1, p:value("buntime_reloads_total", { result = "partial" }))
      assert.equal(1, p:value("buntime_plugins", { state = "kept_old" }))
      assert.equal(1, p:value("buntime_plugins", { state = "loaded" }))
      s:remove("shop")
      s:reload()
      p = page(s)
      assert.equal(2, requests(p, "@acme/shop", "GET", "/items/:id", 200))
      assert.is_nil(p:value("buntime_vm_memory_bytes", { plugin = "@acme/shop" }))
    end)
  end)

  it("tells of VMs and of the process", function()
    start(function(s)
      for i = 1, 200 do
        s:get("/shop/items/" .. i)
      end
      local p, shop = page(s), { plugin = "@acme/shop" }
      assert.is_true(p:value("buntime_vm_memory_bytes", shop) > 50000)
      assert.equal(128 * 1024 * 1024, p:value("buntime_vm_memory_limit_bytes", shop))
      assert.is_true(p:value("buntime_vm_collections_total", shop) > 0)
      assert.equal(1, p:value("buntime_plugin_resources", { plugin = "@acme/shop", kind = "timer" }))
      assert.is_true(p:value("process_open_fds") > 5)
      assert.is_true(p:value("process_resident_memory_bytes") > 1e6)
      assert.is_true(p:value("process_cpu_seconds_total") > 0)
      assert.is_true(math.abs(p:value("process_start_time_seconds") - os.time()) < 120)
      assert.equal("gauge", p.types.buntime_build_info)
    end)
  end)

  it("tells of worker processes, whose requests are the app's", function()
    local app = {
      ["manifest.yaml"] = "name: thumbs\nbase: /thumbs\nentrypoint: index.lua\nttl: 60s\n",
      ["index.lua"] = 'return { fetch = function(req) return { status = 202, body = "x" } end }',
    }
    server.with({ plugins = { thumbs = app } }, function(s)
      assert.equal(0, page(s):value("buntime_workers_spawned_total"))
      for _ = 1, 3 do
        assert.equal(202, s:get("/thumbs/x").status)
      end
      local p = page(s)
      assert.equal(1, p:value("buntime_workers_spawned_total"))
      assert.equal(1, p:value("buntime_workers"))
      assert.equal(3, p:value("buntime_workers_requests_total"))
      assert.equal(3, requests(p, "thumbs", "", "(worker)", 202))
    end)
  end)

  it("needs metrics:read once there is a key", function()
    server.with({ plugins = {}, env = { RUNTIME_ROOT_KEY = "the-root-key" } }, function(s)
      assert.equal(401, s:get("/api/metrics").status)
      local headers = { ["X-API-Key"] = "the-root-key" }
      local res = http.request(s.port, "GET", "/api/metrics", { headers = headers })
      assert.equal(200, res.status)
    end)
  end)
end)
