-- W3C trace context: joined, handed on, in the logs, and exported to a collector.

local fixtures = require("spec.support.fixtures")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin = fixtures.plugin

local ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
local PARENT = ("00-%s-%s-01"):format(ID, SPAN)

local TRACED = plugin(
  "name: traced\nbase: /traced\n",
  [[
local fetch, log, task = require("buntime.fetch"), require("buntime.log"), require("buntime.task")
local routes = require("buntime.router").new()
routes:get("/seen", function(c) return c:json({ header = c.req:header("traceparent") }) end)
routes:get("/out", function(c)
  local url = c.req:query("to")
  local seen = assert(fetch(url)):json().header
  local spawned = task.spawn(function() return assert(fetch(url)):json().header end):wait()
  local own = assert(fetch(url, { headers = { traceparent = "mine" } })):json().header
  return c:json({ here = c.req:header("traceparent"), seen = seen, spawned = spawned, own = own })
end)
routes:get("/log", function(c) log.info("said", { n = 1 }) return c:text("ok") end)
routes:get("/items/:id", function(c) return c:text("ok") end)
routes:get("/broken", function(c) error("broken on purpose") end)
routes:get("/stream", function(c)
  return c:stream(function(s) log.info("streamed") s:write("x") end, "text/plain")
end)
return { routes = routes }
]]
)

local COLLECTOR = plugin(
  "name: collector\nbase: /otlp\n",
  [[
local routes = require("buntime.router").new()
local batches = {}
routes:post("/v1/traces", function(c)
  local key, kind = c.req:header("x-key"), c.req:header("content-type")
  batches[#batches + 1] = { body = c.req:json(), key = key, type = kind }
  return c:json({})
end)
routes:get("/batches", function(c) return c:json(require("buntime.json").array(batches)) end)
return { routes = routes }
]]
)

local function get(s, target, traceparent)
  return s:get(target, { headers = { traceparent = traceparent } })
end

--- @return string id, string span, string flags
local function parts(traceparent)
  return traceparent:match("^00%-(%x+)%-(%x+)%-(%x%x)$")
end

local function logged(s, message)
  return process.eventually(function()
    for _, line in ipairs(s:log_lines()) do
      if line.msg == message then
        return line
      end
    end
  end)
end

local function start(fn)
  server.with({ plugins = { traced = TRACED } }, fn)
end

describe("trace context", function()
  after_each(server.stop_all)

  it("is joined with a span of our own", function()
    start(function(s)
      local id, span, flags = parts(get(s, "/traced/seen", PARENT):json().header)
      assert.equal(ID, id)
      assert.equal("01", flags)
      assert.equal(16, #span)
      assert.are_not.equal(SPAN, span)
      local unsampled = get(s, "/traced/seen", ("00-%s-%s-00"):format(ID, SPAN)):json().header
      assert.equal("00", select(3, parts(unsampled)))
    end)
  end)

  it("is not made up, and what is no traceparent is left alone", function()
    start(function(s)
      assert.is_nil(s:get("/traced/seen"):json().header)
      assert.equal("nonsense", get(s, "/traced/seen", "nonsense"):json().header)
    end)
  end)

  it("goes on with what is fetched, also from spawned tasks, unless the plugin gives its own", function()
    start(function(s)
      local to = ("http://127.0.0.1:%d/traced/seen"):format(s.port)
      local res = get(s, "/traced/out?to=" .. to, PARENT):json()
      local _, here = parts(res.here)
      for _, key in ipairs({ "seen", "spawned" }) do
        local id, span = parts(res[key])
        assert.equal(ID, id)
        assert.are_not.equal(here, span) -- the server that was asked is this one: a span again
      end
      assert.equal("mine", res.own)
    end)
  end)

  it("stands in the lines of the request, errors and streams included", function()
    start(function(s)
      get(s, "/traced/log", PARENT)
      get(s, "/traced/stream", PARENT)
      get(s, "/traced/broken", PARENT)
      s:allow_errors("broken on purpose")
      assert.equal(ID, logged(s, "said").traceId)
      assert.equal(ID, logged(s, "streamed").traceId)
      local broken = process.eventually(function()
        for _, line in ipairs(s:log_lines()) do
          if line.level == "error" then
            return line
          end
        end
      end)
      assert.equal(ID, broken.traceId)
      s:get("/traced/log")
    end)
  end)
end)

describe("spans", function()
  after_each(server.stop_all)

  local function batches(collector, count)
    return process.eventually(function()
      local list = collector:get("/otlp/batches"):json()
      local spans = {}
      for _, batch in ipairs(list) do
        for _, span in ipairs(batch.body.resourceSpans[1].scopeSpans[1].spans) do
          spans[#spans + 1] = span
        end
      end
      return #spans >= count and { list = list, spans = spans }
    end, 20)
  end

  local function attribute(span, key)
    for _, a in ipairs(span.attributes) do
      if a.key == key then
        return a.value.stringValue or a.value.intValue
      end
    end
  end

  local function with_collector(fn)
    server.with({ plugins = { collector = COLLECTOR } }, function(collector)
      local env = {
        OTEL_EXPORTER_OTLP_ENDPOINT = ("http://127.0.0.1:%d/otlp"):format(collector.port),
        OTEL_EXPORTER_OTLP_HEADERS = "x-key=the-collector-key",
        OTEL_SERVICE_NAME = "shop",
      }
      server.with({ plugins = { traced = TRACED }, env = env }, function(s)
        fn(s, collector)
      end)
    end)
  end

  it("are sent in batches, with the trace of the client or one of our own", function()
    with_collector(function(s, collector)
      get(s, "/traced/items/7?secret=1", PARENT)
      s:get("/traced/broken")
      s:allow_errors("broken on purpose")
      get(s, "/traced/log", ("00-%s-%s-00"):format(ID, SPAN)) -- not sampled
      local got = batches(collector, 2)
      assert.equal("the-collector-key", got.list[1].key)
      assert.equal("application/json", got.list[1].type)
      assert.equal("shop", got.list[1].body.resourceSpans[1].resource.attributes[1].value.stringValue)
      local first, second = got.spans[1], got.spans[2]
      assert.equal(ID, first.traceId)
      assert.equal(SPAN, first.parentSpanId)
      assert.equal("GET /items/:id", first.name)
      assert.equal("traced", attribute(first, "buntime.plugin"))
      assert.equal("/traced/items/7", attribute(first, "url.path"))
      assert.equal("200", attribute(first, "http.response.status_code"))
      local took = tonumber(first.endTimeUnixNano) - tonumber(first.startTimeUnixNano)
      assert.is_true(took >= 0 and took < 30e9)
      assert.is_nil(second.parentSpanId)
      assert.equal(32, #second.traceId)
      assert.equal(2, second.status.code)
      assert.is_nil(s:log():find("the-collector-key", 1, true))
    end)
  end)

  it("that nobody takes cost no request anything, and one warning", function()
    local env = { OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:1" }
    server.with({ plugins = { traced = TRACED }, env = env }, function(s)
      for i = 1, 600 do -- more than a batch, which goes at once
        assert.equal(200, s:get("/traced/items/" .. i).status)
      end
      s:wait_log("spans cannot be sent to the collector", 10)
      assert.equal(200, s:get("/traced/items/1").status)
    end)
  end)
end)
