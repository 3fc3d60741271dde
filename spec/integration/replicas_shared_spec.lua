-- What two replicas share through Redis: buntime.shared, and the topics of sockets.

local cjson = require("cjson")

local chunks = require("spec.support.chunks")
local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local server = require("spec.support.server")
local websocket = require("spec.support.websocket")

local PASSWORD = "s3cret-of-the-spec"
local NUMBER = "3" -- a database with a number, so that its channels have one too

local SETUP = [[
  local shared = require("buntime.shared")
  local json = require("buntime.json")
  return {
    shared = shared,
    json = json,
    task = require("buntime.task"),
    results = function(...) -- nil as null
      local list = {}
      for i = 1, select("#", ...) do
        local value = select(i, ...)
        list[i] = value == nil and json.null or value
      end
      return json.array(list)
    end,
  }
]]

local db

local function start(options)
  options = options or {}
  local env = options.env or {}
  env.REDIS_URL = options.url or db.url
  return server.start({ plugins = options.plugins or { chunks = chunks.plugin(SETUP) }, env = env })
end

setup(function()
  db = redis.start({ password = PASSWORD, args = { "--notify-keyspace-events", "Kxe" } })
  db.url = db.url:gsub("/0$", "/" .. NUMBER)
end)
teardown(function()
  db:stop()
end)

describe("shared by replicas", function()
  local a, b
  local run = chunks.run

  setup(function()
    a, b = start(), start()
  end)
  teardown(function()
    for _, s in ipairs({ a, b }) do
      assert.is_nil(s:log():find(PASSWORD, 1, true), "the password is in the log")
      s:stop()
    end
  end)
  before_each(function()
    db:cli("FLUSHALL")
  end)

  local function cli(...)
    return db:cli("-n", NUMBER, ...)
  end

  it("gives the one what the other has set, of every kind", function()
    run(a, [[
      local bytes = {}
      for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
      shared.set("text", table.concat(bytes):rep(100))
    ]])
    assert.is_true(run(b, [[
      local bytes = {}
      for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
      return shared.get("text") == table.concat(bytes):rep(100)
    ]]))
    local values = { '""', '"s"', "1.5", "-7", "0.1", "1e308", "9007199254740993", "true", "false" }
    for i, value in ipairs(values) do
      assert.is_true(run(a, ("return shared.set('k%d', %s)"):format(i, value)))
      assert.is_true(run(b, ("return shared.get('k%d') == %s"):format(i, value)), value)
    end
    run(a, [[ shared.set("inf", math.huge) shared.set("nan", 0/0) shared.set("zero", -0.0) ]])
    assert.is_true(run(b, [[
      local nan = shared.get("nan")
      return shared.get("inf") == math.huge and nan ~= nan and 1 / shared.get("zero") == -math.huge
    ]]))
    run(a, [[ shared.set("t", { list = { 1, 2 }, none = json.null, empty = json.array() }) ]])
    assert.same({ list = { 1, 2 }, none = cjson.null, empty = {} }, run(b, [[ return shared.get("t") ]]))
    assert.equal("[]", run(b, [[ return json.encode(shared.get("t").empty) ]]))
    run(a, [[ shared.set("key \0\255*?[a]", "odd") ]])
    assert.equal("odd", run(b, [[ return shared.get("key \0\255*?[a]") ]]))
    assert.same({ cjson.null }, run(b, [[ return results(shared.get("missing")) ]]))
    assert.equal("n1.5", cli("GET", "buntime:shared:k3"))
  end)

  it("tells whether what was deleted was there", function()
    run(a, [[ shared.set("d", 1) ]])
    assert.is_true(run(b, [[ return shared.delete("d") ]]))
    assert.is_false(run(a, [[ return shared.delete("d") ]]))
    assert.is_true(run(a, [[ return shared.get("d") == nil ]]))
  end)

  it("counts each time once", function()
    http.parallel(8, function(i)
      for _ = 1, 25 do
        run(i % 2 == 0 and a or b, [[ return shared.incr("n") ]])
      end
    end)
    assert.equal(200, run(a, [[ return shared.get("n") ]]))
    assert.equal(199.5, run(b, [[ return shared.incr("n", -0.5) ]]))
    assert.equal(0.30000000000000004, run(a, [[ shared.incr("f", 0.1) return shared.incr("f", 0.2) ]]))
  end)

  it("counts numbers only", function()
    run(a, [[ shared.set("text", "5") ]])
    assert.same({ cjson.null, 'the value of "text" is not a number', "NOT_A_NUMBER" },
      run(b, [[ return results(shared.incr("text")) ]]))
    assert.equal("5", run(a, [[ return shared.get("text") ]]))
  end)

  it("lets values expire, those counted from their beginning on", function()
    run(a, [[ shared.set("short", 1, 0.05) shared.set("long", 1, 1000) shared.incr("counted", 1, 1000) ]])
    assert.is_truthy(process.eventually(function()
      return run(b, [[ return shared.get("short") == nil ]])
    end))
    local long = tonumber(cli("PTTL", "buntime:shared:long"))
    assert.is_true(long > 900000 and long <= 1000000)
    assert.equal(2, run(b, [[ return shared.incr("counted", 1, 5000) ]]))
    local counted = tonumber(cli("PTTL", "buntime:shared:counted"))
    assert.is_true(counted > 900000 and counted <= 1000000)
    run(b, [[ shared.set("long", 2) ]])
    assert.equal("-1", cli("PTTL", "buntime:shared:long"))
    run(a, [[ shared.incr("ever") ]])
    assert.equal("-1", cli("PTTL", "buntime:shared:ever"))
  end)

  local function watch(s, prefix)
    run(s, [[
      state.seen = json.array()
      state.watch = shared.watch(arg, function(key, value)
        state.seen[#state.seen + 1] = { key, value == nil and json.null or value }
      end)
    ]], prefix)
  end
  local function stop(s)
    assert.is_true(run(s, [[ return state.watch:stop() ]]))
  end
  local function seen(s, count)
    return process.eventually(function()
      local list = run(s, [[ return state.seen ]])
      return #list >= count and list
    end) or run(s, [[ return state.seen ]])
  end

  it("tells all replicas of changes, in order", function()
    for _, s in ipairs({ a, b }) do
      watch(s, "w*:")
    end
    run(a, [[
      shared.set("wx:no", 1)
      shared.set("w*:t", { 5 })
      shared.set("w*:s", "")
    ]])
    run(b, [[ shared.incr("w*:n", 2) shared.incr("w*:n", 3) shared.incr("w*:s") shared.delete("w*:t") ]])
    run(b, [[ shared.delete("w*:t") shared.set("w*:f", false) ]])
    local expected = {
      { "w*:t", { 5 } },
      { "w*:s", "" },
      { "w*:n", 2 },
      { "w*:n", 5 },
      { "w*:t", cjson.null },
      { "w*:f", false },
    }
    for _, s in ipairs({ a, b }) do
      assert.same(expected, seen(s, #expected))
    end
    stop(a)
    run(b, [[ shared.set("w*:last", true) ]])
    assert.same({ "w*:last", true }, seen(b, #expected + 1)[#expected + 1])
    assert.same(expected, seen(a, #expected))
    stop(b)
  end)

  it("tells one's own changes from the first on, and many of them", function()
    watch(a, "")
    run(a, [[ for i = 1, 300 do shared.set("many", i) end ]])
    local list = seen(a, 300)
    assert.equal(300, #list)
    for i, change in ipairs(list) do
      assert.same({ "many", i }, change)
    end
    stop(a)
  end)

  it("tells nothing of what is no key", function()
    watch(a, "")
    cli("PUBLISH", "buntime:" .. NUMBER .. ":shared:", "")
    cli("PUBLISH", "buntime:" .. NUMBER .. ":shared:", "sx")
    run(b, [[ shared.set("k", 1) ]])
    assert.same({ { "k", 1 } }, seen(a, 1))
    stop(a)
  end)

  it("tells what has expired, where Redis tells it", function()
    watch(b, "e:")
    run(a, [[ shared.set("e:x", 1, 0.05) shared.set("f:x", 1, 0.05) ]])
    assert.same({ { "e:x", 1 }, { "e:x", cjson.null } }, seen(b, 2))
    stop(b)
  end)

  it("says what is wrong at the line of who calls", function()
    for _, call in ipairs({ "get('k')", "set('k', 1)", "incr('k')", "delete('k')" }) do
      local text = chunks.failure(a, ([[
        table.sort({ 1, 2 }, function() shared.%s return true end)
      ]]):format(call)).text
      local name = call:match("^%w+")
      local problem = "spec:1: shared.%s: cannot wait here: a C function, such as table.sort, is in between"
      assert.equal(problem:format(name), text)
    end
    assert.equal("", cli("GET", "buntime:shared:k"))
    assert.matches("^spec:1: shared.get: argument 1 %(key%) must have 1 to 1024 bytes",
      chunks.failure(a, [[ shared.get("") ]]).text)
  end)

  it("gives what Redis says as a code", function()
    cli("RPUSH", "buntime:shared:list", "x")
    cli("SET", "buntime:shared:foreign", "hello")
    local function code_of(call)
      local answer = run(a, ("return results(shared.%s)"):format(call))
      assert.equal(cjson.null, answer[1])
      assert.equal("string", type(answer[2]))
      return answer[3]
    end
    assert.equal("WRONGTYPE", code_of("get('list')"))
    assert.equal("WRONGTYPE", code_of("incr('list')"))
    assert.equal("INVALID_VALUE", code_of("get('foreign')"))
    cli("CONFIG", "SET", "maxmemory", "1")
    local full = code_of("set('k', 1)")
    cli("CONFIG", "SET", "maxmemory", "0")
    assert.equal("SHARED_FULL", full)
  end)

  it("lets go of a call whose task was cancelled", function()
    cli("CLIENT", "PAUSE", "300", "ALL")
    assert.equal("cancelled", run(a, [[
      local waiting = task.spawn(function() return shared.get("k") end)
      waiting:cancel()
      return pcall(waiting.wait, waiting) and "ended" or "cancelled"
    ]]))
    assert.is_true(run(a, [[ return shared.set("k", 1) ]]))
  end)
end)

describe("shared without Redis", function()
  local own, servers

  before_each(function()
    own, servers = redis.start(), {}
  end)
  after_each(function()
    own:stop()
    server.stop_all()
  end)

  local function replica(env)
    local setup = SETUP:gsub("return {", [[
      local told = json.array()
      shared.watch("w:", function(key, value)
        told[#told + 1] = { key, value }
      end, function(prefix)
        told[#told + 1] = { "restored", prefix }
      end)
      return {
        told = told,]], 1)
    local s = start({ url = own.url, plugins = { chunks = chunks.plugin(setup) }, env = env })
    s:allow_errors("the other replicas cannot be reached")
    servers[#servers + 1] = s
    return s
  end
  local function told(s, count)
    return process.eventually(function()
      local list = chunks.run(s, [[ return told ]])
      return #list >= count and list
    end, 15)
  end
  local function stop()
    for _, s in ipairs(servers) do
      s:stop()
    end
  end
  --- Until it is there again; whoever asks before is told that it is not.
  local function set(s, key, value)
    return process.eventually(function()
      return chunks.run(s, ("return shared.set(%q, %d) == true"):format(key, value))
    end, 15)
  end

  it("says so, goes on, and finds it again", function()
    local a, b = replica(), replica()
    assert.is_true(set(a, "w:x", 1))
    for _, s in ipairs({ a, b }) do
      assert.same({ { "w:x", 1 } }, told(s, 1))
    end
    own:kill()
    for _, s in ipairs({ a, b }) do
      for _, call in ipairs({ "get('w:x')", "set('w:x', 2)", "incr('w:x')", "delete('w:x')" }) do
        local answer = chunks.run(s, ("return results(shared.%s)"):format(call))
        assert.equal(cjson.null, answer[1])
        assert.equal("string", type(answer[2]))
        assert.matches("^CONNECTION_", answer[3])
      end
      assert.equal(200, s:get("/chunks/ping").status)
      local health = s:get("/api/health/ready")
      assert.equal(200, health.status)
      assert.equal("degraded", health:json().status)
      assert.matches("^Redis %(REDIS_URL%) does not answer", health:json().reasons[1])
    end
    own:restart() -- empty, and knows no scripts
    assert.is_true(set(a, "w:x", 3))
    assert.is_true(set(b, "w:y", 4))
    assert.equal("ok", b:get("/api/health/ready"):json().status)
    for _, s in ipairs({ a, b }) do
      local list = told(s, 2)
      assert.same({ "restored", "w:" }, list[2])
      assert.is_truthy(process.eventually(function()
        set(a, "w:again", 5)
        local last = chunks.run(s, [[ return told[#told] ]])
        return last[1] == "w:again"
      end, 15))
    end
    stop()
  end)

  it("starts, and has it once it is there", function()
    own:kill()
    local s = replica()
    assert.equal(200, s:get("/chunks/ping").status)
    assert.matches("^CONNECTION_", chunks.run(s, [[ return results(shared.get("w:x")) ]])[3])
    own:restart()
    assert.same({ "restored", "w:" }, told(s, 1)[1])
    assert.is_true(set(s, "w:x", 1))
    assert.same({ "w:x", 1 }, told(s, 2)[2])
    assert.is_true(s:reload():json().ok)
    stop()
  end)
end)

describe("shared while Redis hangs", function()
  local own

  before_each(function()
    own = redis.start()
  end)
  after_each(function()
    own:stop()
    server.stop_all()
  end)

  it("gives up in time, and serves others meanwhile", function()
    local s = start({ url = own.url })
    s:allow_errors("the other replicas cannot be reached")
    chunks.run(s, [[ shared.set("k", 1) ]])
    own.process:kill("STOP")
    http.parallel(3, function(i)
      if i == 1 then
        assert.equal("TIMEOUT", chunks.run(s, [[ return results(shared.incr("k")) ]])[3])
      elseif i == 2 then
        assert.is_true(chunks.run(s, [[ return shared.watch("w:", function() end):stop() ]]))
      else
        assert.equal(200, s:get("/chunks/ping").status)
      end
    end)
    own.process:kill("CONT")
    assert.is_truthy(process.eventually(function()
      return chunks.run(s, [[ return shared.get("k") ]])
    end, 20))
    s:stop()
  end)

  it("lets go of a plugin whose calls are on their way", function()
    local env = { RUNTIME_DRAIN_TIMEOUT = "200ms", RUNTIME_INIT_TIMEOUT = "500ms" }
    local s = start({ url = own.url, env = env })
    s:allow_errors("the other replicas cannot be reached", "chunks")
    local source = s:read("chunks/plugin.lua")
    own.process:kill("STOP")
    local answers = http.parallel(4, function(i)
      local calls = { "get('k')", "incr('k')", "watch('w:', print)" }
      if calls[i] then
        local code = ("shared.%s"):format(calls[i])
        return http.request(s.port, "POST", "/chunks", { json = { code = code } }).status
      end
      s:write("chunks/plugin.lua", source .. "\n-- changed")
      return s:reload():json()
    end)
    assert.same({ 503, 503, 503 }, { answers[1], answers[2], answers[3] })
    -- One that waits at its start is given up too.
    s:write("chunks/plugin.lua", "require('buntime.shared').watch('x:', print)\n" .. source)
    local item = s:reload():json().plugins[1]
    assert.equal("kept_old", item.status)
    own.process:kill("CONT")
    assert.is_truthy(process.eventually(function()
      return chunks.run(s, [[ return shared.set("k", 1) ]])
    end, 20))
    assert.is_true(s:reload():json().ok)
    s:stop()
  end)
end)

--- Commands are binary: s TOPIC subscribes, p SIZE:TOPIC DATA publishes; P the same for a text, S and B from
--- the server and not from the socket.
local SOCKETS = fixtures.plugin("name: sockets\nbase: /sockets", [[
local routes = require("buntime.router").new()
local publish
routes:ws("/", {
  message = function(ws, data)
    local word, rest = data:match("^(.)(.*)$")
    if word == "s" then
      return ws:send(tostring(ws:subscribe(rest)))
    end
    local size, after = rest:match("^(%d+):()")
    local topic, text = rest:sub(after, after + size - 1), rest:sub(after + size)
    if word == "p" or word == "P" then
      ws:send("to " .. ws:publish(topic, text, word == "p"))
    else
      ws:send("to " .. publish(topic, text, word == "B"))
    end
  end,
}, { max_message = "4mb" })
routes:post("/burst", function(c)
  for i = 1, tonumber(c.req:query("count")) do
    publish("burst", tostring(i))
  end
  return c:text("done")
end)
return {
  routes = routes,
  onServerStart = function(server)
    publish = server.publish
  end,
}
]])

--- redis-cli takes no NUL.
local PUBLISH_HEX = [[
local bytes = ARGV[1]:gsub("..", function(h) return string.char(tonumber(h, 16)) end)
redis.call("PUBLISH", "buntime:bus:0", bytes)
return redis.status_reply("OK")]]

describe("topics of replicas", function()
  local TEXT, BINARY = websocket.TEXT, websocket.BINARY
  local own, a, b

  before_each(function()
    own = redis.start({ password = PASSWORD })
    a = start({ url = own.url, plugins = { sockets = SOCKETS } })
    b = start({ url = own.url, plugins = { sockets = SOCKETS } })
  end)
  after_each(function()
    own:stop()
    server.stop_all()
  end)

  local function stop()
    a:stop()
    b:stop()
  end
  local function subscriber(s, topic)
    local ws = websocket.open(s.port, "/sockets/")
    ws:send(BINARY, "s" .. topic)
    assert.equal("true", ws:receive().data)
    return ws
  end
  local function publish(ws, word, topic, data)
    ws:send(BINARY, ("%s%d:%s%s"):format(word, #topic, topic, data))
    local frame = ws:receive(20)
    return tonumber(frame.data:match("^to (%d+)$"))
  end
  local function hears(ws, opcode, data)
    local frame = assert(ws:receive(20))
    assert.equal(opcode, frame.opcode)
    assert.is_true(frame.data == data, #frame.data .. " bytes, and others")
  end
  --- What comes next is this: nothing came between.
  local function hears_next(sockets, ws, topic)
    publish(ws, "S", topic, "next")
    for _, other in ipairs(sockets) do
      hears(other, TEXT, "next")
    end
  end
  --- A replica hears of the others once Redis has agreed, which may be after it listens.
  local function until_together(sender, topic, ...)
    for _, ws in ipairs({ ... }) do
      assert.is_truthy(process.eventually(function()
        publish(sender, "S", topic, "hello")
        return ws:receive(0.2)
      end, 20))
    end
    publish(sender, "S", topic, "last")
    for _, ws in ipairs({ ... }) do
      repeat
        local frame = assert(ws:receive(20))
      until frame.data == "last"
    end
  end

  it("reach the subscribers of all, each once", function()
    local topic = "t \0\255\n:"
    local here, near = subscriber(a, topic), subscriber(a, topic)
    local there, other = subscriber(b, topic), subscriber(b, "other")
    local sender = websocket.open(a.port, "/sockets/")
    until_together(sender, topic, here, near, there)

    assert.equal(2, publish(sender, "p", topic, "\0\255 bytes"))
    for _, ws in ipairs({ here, near, there }) do
      hears(ws, BINARY, "\0\255 bytes")
    end
    assert.equal(1, publish(here, "P", topic, "to the others"))
    hears(near, TEXT, "to the others")
    hears(there, TEXT, "to the others")
    assert.equal(0, publish(there, "p", topic, ""))
    hears(here, BINARY, "")
    hears(near, BINARY, "")
    hears_next({ here, near, there }, sender, topic)

    publish(sender, "S", "other", "x")
    hears(other, TEXT, "x")
    local large = ("0123456789abcdef"):rep(3 * 65536)
    assert.equal(2, publish(sender, "B", topic, large))
    for _, ws in ipairs({ here, near, there }) do
      hears(ws, BINARY, large)
    end
    stop()
  end)

  it("keep their order, however many at once", function()
    local here, there = subscriber(a, "burst"), subscriber(b, "burst")
    local sender = websocket.open(a.port, "/sockets/")
    until_together(sender, "burst", here, there)
    assert.equal(200, a:post("/sockets/burst?count=5000").status)
    for _, ws in ipairs({ here, there }) do
      for i = 1, 5000 do
        assert.equal(tostring(i), ws:receive(20).data)
      end
    end
    stop()
  end)

  it("go on for one's own while Redis is gone, and for all when it is back", function()
    for _, s in ipairs({ a, b }) do
      s:allow_errors("the other replicas cannot be reached")
    end
    local here, there = subscriber(a, "t"), subscriber(b, "t")
    local sender = websocket.open(a.port, "/sockets/")
    until_together(sender, "t", here, there)
    own:kill()
    for i = 1, 20 do
      assert.equal(1, publish(sender, "S", "t", "alone " .. i))
      hears(here, TEXT, "alone " .. i)
    end
    own:restart()
    until_together(sender, "t", here, there)
    assert.equal(1, publish(sender, "S", "t", "together"))
    hears(here, TEXT, "together")
    hears(there, TEXT, "together")
    stop()
  end)

  it("take no harm from what makes no sense", function()
    local there = subscriber(b, "t")
    local sender = websocket.open(a.port, "/sockets/")
    until_together(sender, "t", there)
    local function frame(flag, topic, data, more)
      return flag .. ("\0\0\0%c\0\0\0%c"):format(#topic, #data + (more or 0)) .. topic .. data
    end
    for _, payload in ipairs({
      "",
      "\0",
      ("\255"):rep(9),
      ("\255"):rep(40),
      frame("\0", "t", "\255\254"), -- a text that is none
      frame("\1", "t", "cut", 1),
    }) do
      local hex = ("buntime1 elsewhere topics %s"):format(payload):gsub(".", function(c)
        return ("%02x"):format(c:byte())
      end)
      assert.equal("OK", own:cli("EVAL", PUBLISH_HEX, "0", hex))
    end
    hears_next({ there }, sender, "t")
    stop()
  end)
end)
