-- buntime.redis against a real server: values, pipelines, scripts, blocking, subscriptions, losses.

local cjson = require("cjson")

local chunks = require("spec.support.chunks")
local http = require("spec.support.http")
local process = require("spec.support.process")
local redis = require("spec.support.redis")
local server = require("spec.support.server")

local SETUP = [[
  local redis = require("buntime.redis")
  return {
    redis = redis,
    task = require("buntime.task"),
    json = require("buntime.json"),
    url = buntime.env.SPEC_REDIS,
    r = redis.connect(buntime.env.SPEC_REDIS),
  }
]]

local PASSWORD = "s3cret-of-the-spec"

local db

local function start(url)
  return server.start({
    plugins = { chunks = chunks.plugin(SETUP) },
    env = { SPEC_REDIS = url or db.url },
  })
end

setup(function()
  db = redis.start({ password = PASSWORD })
end)
teardown(function()
  db:stop()
end)

describe("redis", function()
  local s

  setup(function()
    s = start()
  end)
  teardown(function()
    assert.is_nil(s:log():find(PASSWORD, 1, true), "the password is in the log")
    s:stop()
  end)

  local function run(code, arg)
    return chunks.run(s, code, arg)
  end
  local function failure(code, arg)
    return chunks.failure(s, code, arg)
  end

  it("gives replies as values", function()
    assert.equal("OK", run([[ return r:call("SET", "a", "1") ]]))
    assert.equal("1", run([[ return r:call("GET", "a") ]]))
    assert.is_true(run([[ return r:call("GET", "missing") == nil ]]))
    assert.equal(2, run([[ return r:call("INCR", "a") ]]))
    run([[ r:call("RPUSH", "l", "x", "", "z") ]])
    assert.same({ "x", "", "z" }, run([[ return r:call("LRANGE", "l", 0, -1) ]]))
    assert.same({ "2", cjson.null }, run([[ return r:call("MGET", "a", "missing") ]]))
    assert.equal("[]", run([[ return json.encode(r:call("LRANGE", "none", 0, -1)) ]]))
    local nested = [[ return r:call("EVAL", "return {1, {'a', {}, {false, {2}}}, 'z'}", 0) ]]
    assert.same({ 1, { "a", {}, { cjson.null, { 2 } } }, "z" }, run(nested))
  end)

  it("takes strings as bytes, and numbers exactly", function()
    assert.is_true(run([[
      local bytes = {}
      for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
      bytes = table.concat(bytes):rep(5000) .. "\r\n$3\r\n"
      r:call("SET", bytes:sub(1, 300), bytes)
      return r:call("GET", bytes:sub(1, 300)) == bytes and r:call("STRLEN", bytes:sub(1, 300)) == #bytes
    ]]))
    assert.same({ "0.1", "1e+300", "-7", "9007199254740992", "9007199254740993", "1.5" }, run([[
      local ffi = require("ffi")
      local big = ffi.new("int64_t", 2 ^ 53) + 1
      r:call("DEL", "n")
      r:call("RPUSH", "n", 0.1, 1e300, -7, 2 ^ 53, big, 1.5)
      return r:call("LRANGE", "n", 0, -1)
    ]]))
    assert.equal("cdata9007199254740993LL", run([[
      r:call("SET", "big", "9007199254740992")
      local v = r:call("INCR", "big")
      return type(v) .. tostring(v)
    ]]))
  end)

  it("raises what the server refuses", function()
    run([[ r:call("SET", "text", "x") ]])
    local err = failure([[ r:call("LPUSH", "text", "y") ]])
    assert.equal("WRONGTYPE", err.code)
    assert.matches("^Operation against a key", err.message)
    assert.matches("^WRONGTYPE: Operation", err.text)
    assert.equal("ERR", failure([[ r:call("NOSUCH") ]]).code)
  end)

  it("blames the caller for misuse", function()
    local cases = {
      { "r:call: a client expected; call it with a colon", "r.call('GET', 'a')" },
      { "r:call: argument 2 is nil; expected a string or a number", "r:call('GET', nil)" },
      { "r:call: argument 3 is a boolean", "r:call('SET', 'a', true)" },
      { "r:call: argument 3 is NaN", "r:call('SET', 'a', 0/0)" },
      { "r:call: argument 3 is table", "r:call('SET', 'a', {})" },
      { "p:call: argument 2 is function", "r:pipeline(function(p) p:call('GET', print) end)" },
      { "r:call: SUBSCRIBE would change the connection", "r:call('subscribe', 'a')" },
      { "r:call: MULTI would change the connection", "r:call('MULTI')" },
      { "r:call: CLIENT REPLY would change", "r:call('CLIENT', 'REPLY', 'OFF')" },
      { "p:call: BLPOP blocks", "r:pipeline(function(p) p:call('BLPOP', 'a', 0) end)" },
      { "r:subscribe: expected a function", "r:subscribe('a')" },
      { "redis.connect: the URL must begin with redis://", "redis.connect('http://x')" },
      { "redis.connect: TLS", "redis.connect('rediss://x')" },
      { "redis.connect: \"x\" is not known", "redis.connect(url, { x = 1 })" },
    }
    for _, case in ipairs(cases) do
      local text = failure(case[2]).text
      assert.equal("spec:1: " .. case[1], text:sub(1, #case[1] + 8))
    end
    for _, url in ipairs({ "redis://:pass%zz@h", "redis://u:pass@h:port", "redis://:pass@h/x?y" }) do
      local text = failure([[ redis.connect(arg) ]], url).text
      assert.matches("the URL must be as redis://user", text)
      assert.is_nil(text:find("pass%", 1, true))
    end
  end)

  it("pipelines", function()
    assert.same({ "OK", 2, cjson.null, { "WRONGTYPE", false }, "2" }, run([[
      local list = r:pipeline(function(p)
        p:call("SET", "p", 1)
        p:call("INCR", "p")
        p:call("GET", "missing")
        p:call("LPUSH", "p", "x")
        p:call("GET", "p")
      end)
      list[4] = { list[4].code, rawget(list[4], "statement") ~= nil }
      return list
    ]]))
    assert.same({}, run([[ return r:pipeline(function() end) ]]))
    assert.equal(10000, run([[
      local list = r:pipeline(function(p)
        for i = 1, 10000 do p:call("ECHO", i) end
      end)
      for i = 1, 10000 do assert(list[i] == tostring(i)) end
      return #list
    ]]))
  end)

  it("runs several commands as one", function()
    assert.same({ "OK", 11, { "a", "b" } }, run([[
      r:call("DEL", "m2")
      return r:multi(function(p)
        p:call("SET", "m", 10)
        p:call("INCR", "m")
        p:call("EVAL", "return {'a', 'b'}", 0)
      end)
    ]]))
    local err = failure([[ r:multi(function(p) p:call("SET", "m", 99) p:call("NOSUCH") end) ]])
    assert.equal("ERR", err.code)
    assert.equal("11", run([[ return r:call("GET", "m") ]]))
  end)

  it("runs scripts by their digest", function()
    local code = [[ return r:eval("return {KEYS[1], ARGV[1], #ARGV}", { "k" }, { "v", 2 }) ]]
    assert.same({ "k", "v", 2 }, run(code))
    assert.same({ "k", "v", 2 }, run(code))
    db:cli("SCRIPT", "FLUSH")
    assert.same({ "k", "v", 2 }, run(code))
    assert.matches("cmdstat_evalsha:calls=3", db:cli("INFO", "commandstats"))
    local err = failure([[ r:eval("return redis.error_reply('MINE it failed')") ]])
    assert.equal("MINE", err.code)
    assert.equal("it failed", err.message)
  end)

  it("makes values of large replies in turns", function()
    run([[
      r:call("DEL", "large")
      for i = 0, 199 do
        local items = {}
        for j = 1, 1000 do items[j] = i * 1000 + j end
        r:call("RPUSH", "large", unpack(items))
      end
    ]])
    local got = run([[
      local most, running = 0, true
      local meter = task.spawn(function()
        while running do
          local before = os.clock()
          buntime.sleep(0.001)
          most = math.max(most, os.clock() - before)
        end
      end)
      local began = os.clock()
      local list = r:call("LRANGE", "large", 0, -1)
      local all = os.clock() - began
      running = false
      meter:wait()
      for i = 1, #list do assert(list[i] == tostring(i)) end
      local two = r:pipeline(function(p)
        p:call("LRANGE", "large", 0, 30000)
        p:call("ECHO", "end")
      end)
      return { #list, #two[1], two[2], most / all }
    ]])
    -- In one turn it would be nearly all of the time.
    assert.is_true(got[4] < 0.4, "the loop was held up for " .. got[4] .. " of the time")
    got[4] = nil
    assert.same({ 200000, 30001, "end" }, got)
    local text = failure([[
      local t = task.spawn(function() r:call("LRANGE", "large", 0, -1) end)
      buntime.sleep(0.01)
      t:cancel()
      t:wait()
    ]]).text
    assert.matches("the task was cancelled", text)
    run([[ r:call("DEL", "large") ]])
  end)

  it("refuses a reply that is too large, and goes on", function()
    local err = failure([[
      r:call("SETRANGE", "huge", 70000000, "x")
      r:call("GET", "huge")
    ]])
    assert.equal("RESULT_TOO_LARGE", err.code)
    assert.equal("OK", run([[ r:call("DEL", "huge") return r:call("SET", "a", "1") ]]))
  end)

  it("gives commands that block a connection of their own", function()
    local got = run([[
      r:call("DEL", "queue")
      local taken = task.spawn(function() return r:call("BLPOP", "queue", 0) end)
      local none = task.spawn(function() return r:call("BLPOP", "nothing", 0.05) end)
      local read = task.spawn(function()
        return r:call("XREAD", "BLOCK", 50, "STREAMS", "stream", "$")
      end)
      buntime.sleep(0.02)
      local meanwhile = r:call("ECHO", "still here")
      r:call("RPUSH", "queue", "item")
      return { taken:wait(), none:wait() == nil, read:wait() == nil, meanwhile }
    ]])
    assert.same({ { "queue", "item" }, true, true, "still here" }, got)
    local text = failure([[
      local t = task.spawn(function() r:call("BLPOP", "never", 0) end)
      buntime.sleep(0.02)
      t:cancel()
      t:wait()
    ]]).text
    assert.matches("the task was cancelled", text)
    assert.is_truthy(process.eventually(function()
      return db:cli("INFO", "clients"):find("blocked_clients:0", 1, true)
    end))
    assert.equal(1, run([[ return r:call("RPUSH", "never", "kept") ]]))
    run([[ r:call("DEL", "never") ]])
  end)

  it("reports a server that says no, without the password", function()
    local err = failure([[ redis.connect((url:gsub("s3cret", "wrong"))):call("PING") ]])
    assert.equal("CONNECTION_FAILED", err.code)
    assert.matches("WRONGPASS", err.message)
    assert.is_nil(err.text:find("wrong-of", 1, true))
    assert.equal("NOAUTH", failure([[ redis.connect((url:gsub(":s3.-@", ""))):call("PING") ]]).code)
    err = failure([[ redis.connect((url:gsub("/0$", "/99"))):call("PING") ]])
    assert.matches("DB index is out of range", err.message)
    err = failure([[ redis.connect("redis://nowhere.invalid"):call("PING") ]])
    assert.equal("CONNECTION_FAILED", err.code)
    assert.matches("cannot find host", err.message)
    err = failure([[ redis.connect("redis://127.0.0.1:1"):call("PING") ]])
    assert.equal("CONNECTION_FAILED", err.code)
    assert.equal("cannot connect to 127.0.0.1:1/0: Connection refused", err.message)
  end)

  it("takes users, numbers, names and sockets of a URL", function()
    db:cli("ACL", "SETUSER", "someone", "on", ">a:b@c/d%", "~*", "+@all")
    assert.same({ "someone", "7", "OK", "PONG", "PONG" }, run([[
      local who = redis.connect((url:gsub("//.-@", "//someone:a%%3Ab%%40c%%2Fd%%25@"):gsub("/0$", "/7")))
      local info = who:call("CLIENT", "INFO")
      local named = redis.connect((url:gsub("127.0.0.1", "localhost")))
      local unix = redis.connect("unix://" .. arg)
      local err = select(2, pcall(unix.call, unix, "PING"))
      assert(err.code == "NOAUTH", tostring(err))
      return {
        who:call("ACL", "WHOAMI"), info:match(" db=(%d+)"), who:call("SET", "x", 1), who:call("PING"),
        named:call("PING"),
      }
    ]], db.dir .. "/redis.sock"))
  end)

  it("serves 50 requests at once over one connection", function()
    local bodies = http.parallel(50, function(i)
      local code = [[ r:call("SET", "c" .. arg, arg) return r:call("GET", "c" .. arg) ]]
      return http.request(s.port, "POST", "/chunks", { json = { code = code, arg = i } }):json().value
    end)
    for i = 1, 50 do
      assert.equal(tostring(i), bodies[i])
    end
  end)

  it("keeps replies with their commands when tasks are cancelled", function()
    assert.equal(200, run([[
      local good = 0
      for round = 1, 20 do
        local tasks = {}
        for i = 1, 20 do
          tasks[i] = task.spawn(function() return r:call("ECHO", round * 100 + i) end)
        end
        for i = 1, 20, 2 do tasks[i]:cancel() end
        for i = 2, 20, 2 do
          if tasks[i]:wait() == tostring(round * 100 + i) then good = good + 1 end
        end
        for i = 1, 20, 2 do pcall(tasks[i].wait, tasks[i]) end
      end
      return good
    ]]))
  end)

  it("bounds what waits", function()
    assert.same({ ok = 5, QUEUE_FULL = 15 }, run([[
      local small = redis.connect(url, { queue = 5 })
      local tasks, counts = {}, {}
      for i = 1, 20 do
        tasks[i] = task.spawn(function()
          local ok, err = pcall(small.call, small, "PING")
          local key = ok and "ok" or err.code
          counts[key] = (counts[key] or 0) + 1
        end)
      end
      task.gather(unpack(tasks))
      small:close()
      return counts
    ]]))
  end)

  it("fails what waits when it is closed", function()
    assert.same({ "CLOSED", "CLOSED", true }, run([[
      local brief = redis.connect(url)
      brief:call("PING")
      local a = task.spawn(function() return select(2, pcall(brief.call, brief, "PING")).code end)
      local b = task.spawn(function() return select(2, pcall(brief.call, brief, "BLPOP", "x", 0)).code end)
      brief:close()
      brief:close()
      local misuse = select(2, pcall(brief.call, brief, "PING"))
      return { a:wait(), b:wait(), misuse:find("the client is closed") ~= nil }
    ]]))
  end)
end)

describe("a subscription of redis", function()
  local s

  before_each(function()
    s = start()
  end)
  after_each(function()
    s:stop()
  end)

  local function run(code, arg)
    return chunks.run(s, code, arg)
  end
  local function heard(count)
    return process.eventually(function()
      local list = run([[ return state.heard ]])
      return #list >= count and list
    end)
  end

  it("hears channels and patterns", function()
    run([[
      state.heard = {}
      local function add(message, channel) table.insert(state.heard, channel .. "=" .. message) end
      state.a = r:subscribe("a", add)
      state.b = r:psubscribe("n.*", add)
      state.c = r:subscribe("a", add)
      r:call("PUBLISH", "a", "1")
    ]])
    assert.same({ "a=1", "a=1" }, heard(2))
    run([[
      r:call("PUBLISH", "n.x", "\0bytes")
      r:call("PUBLISH", "other", "2")
      r:call("PUBLISH", "n.y", "")
    ]])
    assert.same({ "a=1", "a=1", "n.x=\0bytes", "n.y=" }, heard(4))
    run([[
      state.heard = {}
      assert(state.c:stop())
      assert(not state.c:stop())
      state.b:stop()
      r:call("PUBLISH", "n.x", "3")
      r:call("PUBLISH", "a", "4")
    ]])
    assert.same({ "a=4" }, heard(1))
    assert.equal("a\n1", db:cli("PUBSUB", "NUMSUB", "a"))
    run([[ state.a:stop() ]])
    assert.is_truthy(process.eventually(function()
      return db:cli("PUBSUB", "NUMSUB", "a") == "a\n0"
    end))
  end)

  it("hears in order, whatever its function waits for", function()
    s:allow_errors("a function that fails")
    run([[
      state.heard = {}
      r:subscribe("o", function(message)
        buntime.sleep(message == "1" and 0.05 or 0)
        table.insert(state.heard, message)
        if message == "2" then error("a function that fails") end
      end)
      r:pipeline(function(p)
        for i = 1, 5 do p:call("PUBLISH", "o", i) end
      end)
    ]])
    assert.same({ "1", "2", "3", "4", "5" }, heard(5))
    assert.is_truthy(s:wait_log("a function that fails"))
  end)

  it("is refused where its user may not", function()
    db:cli("ACL", "SETUSER", "deaf", "on", ">x", "~*", "+@all", "resetchannels", "&mine")
    local got = run([[
      local deaf = redis.connect((url:gsub("//.-@", "//deaf:x@")))
      local ok, err = pcall(deaf.subscribe, deaf, "theirs", print)
      local mine = deaf:subscribe("mine", print)
      mine:stop()
      return { ok, err.code, deaf:call("PING") }
    ]])
    assert.same({ false, "NOPERM", "PONG" }, got)
  end)

  it("comes back after a loss, and says so", function()
    run([[
      state.heard, state.restored = {}, {}
      r:subscribe("a", function(message) table.insert(state.heard, message) end,
        function(channel) table.insert(state.restored, channel) end)
      r:psubscribe("p*", function(message) table.insert(state.heard, message) end,
        function(pattern) table.insert(state.restored, pattern) end)
    ]])
    db:kill()
    db:restart()
    assert.is_truthy(process.eventually(function()
      return #run([[ return state.restored ]]) == 2
    end, 10))
    run([[ r:call("PUBLISH", "a", "again") r:call("PUBLISH", "pp", "too") ]])
    local list = heard(2)
    table.sort(list)
    assert.same({ "again", "too" }, list)
  end)

  it("ends with its client", function()
    assert.same({ "CLOSED" }, run([[
      local brief = redis.connect(url)
      brief:subscribe("a", print)
      brief:close()
      brief = redis.connect(url)
      local t = task.spawn(function() return select(2, pcall(brief.subscribe, brief, "a", print)).code end)
      brief:close()
      return { t:wait() }
    ]]))
    assert.is_truthy(process.eventually(function()
      return db:cli("PUBSUB", "NUMSUB", "a") == "a\n0"
    end))
  end)

  it("goes with its plugin when that is reloaded, as commands that block do", function()
    run([[
      r:subscribe("a", print)
      task.spawn(function() r:call("BLPOP", "x", 0) end)
    ]])
    local function clients(name)
      return db:cli("CLIENT", "LIST"):find("cmd=" .. name, 1, true)
    end
    assert.is_truthy(process.eventually(function()
      return clients("blpop") and clients("subscribe")
    end))
    s:write("chunks/touched.lua", "return 1")
    assert.equal(200, s:reload().status)
    assert.is_truthy(process.eventually(function()
      return not clients("blpop") and not clients("subscribe")
    end, 15))
    assert.equal("PONG", run([[ return r:call("PING") ]]))
  end)
end)

describe("redis without its server", function()
  local own, s

  before_each(function()
    own = redis.start()
  end)
  after_each(function()
    if s then
      s:stop()
      s = nil
    end
    own:stop()
  end)

  local function run(code, arg)
    return chunks.run(s, code, arg)
  end
  local function failure(code, arg)
    return chunks.failure(s, code, arg)
  end

  it("starts all the same, and works once it is there", function()
    own:kill()
    s = start(own.url)
    assert.equal("CONNECTION_FAILED", failure([[ r:call("PING") ]]).code)
    assert.equal("CONNECTION_FAILED", failure([[ r:call("BLPOP", "x", 0) ]]).code)
    assert.equal("CONNECTION_FAILED", failure([[ r:subscribe("x", print) ]]).code)
    own:restart()
    assert.equal("PONG", run([[ return r:call("PING") ]]))
  end)

  it("loses what is on its way, and comes back", function()
    s = start(own.url)
    run([[
      r:call("PING")
      state.codes = {}
      for i = 1, 3 do
        task.spawn(function()
          local ok, err = pcall(r.call, r, "BLPOP", "x", 0)
          state.codes[#state.codes + 1] = err.code
        end)
      end
    ]])
    assert.truthy(process.eventually(function()
      return run([[ return r:call("INFO", "clients") ]]):find("blocked_clients:3", 1, true)
    end))
    own.process:kill("STOP") -- nothing is answered any more
    run([[
      for i = 1, 3 do
        task.spawn(function()
          local ok, err = pcall(r.call, r, "PING")
          state.codes[#state.codes + 1] = err.code
        end)
      end
    ]])
    own:kill()
    local codes = process.eventually(function()
      local list = run([[ return state.codes ]])
      return #list == 6 and list
    end)
    for i = 1, 6 do
      assert.equal("CONNECTION_LOST", codes[i])
    end
    assert.equal("CONNECTION_FAILED", failure([[ r:call("PING") ]]).code)
    own:restart()
    assert.equal("PONG", run([[ return r:call("PING") ]]))
  end)

  it("gives up on a server that says nothing", function()
    s = start(own.url)
    run([[ state.hasty = redis.connect(url, { timeout = 0.2 }) state.hasty:call("PING") ]])
    own.process:kill("STOP")
    local codes = run([[
      local tasks = {}
      for i = 1, 3 do
        tasks[i] = task.spawn(function()
          local ok, err = pcall(state.hasty.call, state.hasty, "PING")
          return err.code
        end)
      end
      return { task.gather(unpack(tasks)) }
    ]])
    assert.same({ "TIMEOUT", "CONNECTION_LOST", "CONNECTION_LOST" }, codes)
    assert.matches("no answer within 0.2 s", failure([[ state.hasty:call("PING") ]]).message)
    assert.equal("pong", s:get("/chunks/ping").body)
    own.process:kill("CONT")
    assert.equal("PONG", run([[ return state.hasty:call("PING") ]]))
  end)

  it("notices that a subscribed connection is dead", function()
    s = start(own.url)
    run([[
      state.restored = 0
      local hasty = redis.connect(url, { timeout = 0.1 })
      hasty:subscribe("a", print, function() state.restored = state.restored + 1 end)
      buntime.sleep(1) -- pings are answered
      assert(state.restored == 0)
    ]])
    own.process:kill("STOP")
    run([[ buntime.sleep(0.8) ]])
    own.process:kill("CONT")
    assert.is_truthy(process.eventually(function()
      return run([[ return state.restored ]]) == 1
    end))
  end)

  it("does not hammer a server that is gone", function()
    own:kill()
    s = start(own.url)
    local count = run([[
      local began, count = os.time(), 0
      local deadline = task.spawn(function() buntime.sleep(1) end)
      local running = true
      task.spawn(function() deadline:wait() running = false end)
      while running do
        pcall(r.call, r, "PING")
        count = count + 1
      end
      return count
    ]])
    assert.is_true(count >= 3 and count <= 8, count .. " attempts in a second")
  end)

  it("survives one that is no Redis", function()
    s = start(own.url)
    local code = [[ redis.connect("redis://127.0.0.1:" .. arg, { timeout = 2 }):call("PING") ]]
    local err = failure(code, s.port)
    assert.equal("CONNECTION_LOST", err.code)
    assert.equal("PONG", run([[ return r:call("PING") ]]))
  end)
end)
