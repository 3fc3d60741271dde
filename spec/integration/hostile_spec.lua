-- Hostile plugins, one after the other, beside a good one that is asked all the time: none of its
-- requests may fail.
--
-- What is not tried here, because it ends the process by design: whatever goes through `ffi`, crafted
-- bytecode, and type confusion by the debug library. A plugin is not a prison; the supervisor is
-- for those.
-- luacheck: no max line length

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local process = require("spec.support.process")
local server = require("spec.support.server")

local plugin, hello = fixtures.plugin, fixtures.hello

--- Each act is the body of a handler; `want` is what it may answer, nil: anything but silence.
--- `spoils`: the VM is not usable afterwards, so the plugin is reloaded.
local ACTS = {
  { "allocate", "local t = {} for i = 1, math.huge do t[i] = {} end", want = { 500 } },
  { "recurse", "local function f() return 1 + f() end return c:text(tostring(f()))", want = { 500 } },
  { "recurse in pcall", "local function f() return pcall(f) end return c:text(tostring(f()))" },
  {
    "recurse in pcall, then on",
    "local function f() local ok, m = pcall(f) return ok and m or 1 end return c:text(tostring(f()))",
  },
  {
    "recurse in coroutines",
    "local function f() return coroutine.wrap(f)() end return c:text(tostring(f()))",
    want = { 500, 503 },
  },
  {
    "recurse in metamethods",
    "local t = setmetatable({}, {}) getmetatable(t).__index = function(x, k) return x[k] end return t.x",
    want = { 500 },
  },
  { "recurse in __index chains", "local t = {} for i = 1, 1e5 do t = setmetatable({}, { __index = t }) end return t.x" },
  { "recurse in tostring", "local t = setmetatable({}, { __tostring = tostring }) return tostring(t)", want = { 503 } },
  { "coroutines", "local t = {} for i = 1, 1e5 do t[i] = coroutine.create(print) coroutine.resume(t[i], i) end" },
  { "error of 10 MB", "error(('x'):rep(1e7))", want = { 500 } },
  { "error of bytes", "error(('\\0\\255\\n\\r'):rep(1000), 0)", want = { 500 } },
  { "error that raises", "error(setmetatable({}, { __tostring = function() error('again') end }))", want = { 500 } },
  {
    "error that loops",
    "error(setmetatable({}, { __tostring = function() while true do end end }))",
    want = { 500, 503 },
  },
  { "error that yields", "error(setmetatable({}, { __tostring = coroutine.yield }))", want = { 500 } },
  { "error that sleeps", "error(setmetatable({}, { __tostring = function() buntime.sleep(1) end }))", want = { 500 } },
  { "error whose index raises", "error(setmetatable({}, { __index = function() error('again') end }))", want = { 500 } },
  {
    "error whose index loops",
    "error(setmetatable({}, { __index = function() while true do end end }))",
    want = { 500, 503 },
  },
  { "error that is nil", "error()", want = { 500 } },
  { "error in an error handler", "xpcall(error, function() error('again') end) return c:text('on')", want = { 200 } },
  { "nothing", "return", want = { 500 } },
  { "a function", "return function() end", want = { 500 } },
  { "a thread", "return coroutine.create(print)", want = { 500 } },
  { "userdata", "return newproxy(true)", want = { 500 } },
  { "two answers", "c.res = c:text('a') return c:text('b')", want = { 200 } },
  { "two next", "local r = c:text('a') c:text('b') return r, r, r", want = { 500 } },
  { "an answer changed later", "local r = c:text('a') timer.after(0, function() r.body = 'b' end) return r", want = { 200 } },
  {
    "an answer by a task that goes on",
    "task.spawn(function() buntime.sleep(0.01) c:text('late') c.req:text() end) return c:text('a')",
    want = { 200 },
  },
  { "os.exit", "os.exit(1)", want = { 500 } },
  { "os.exit by package.loaded", "package.loaded.os.exit(1)", want = { 500 } },
  { "os.exit by require", "require('os').exit(1, true)", want = { 500 } },
  { "os.exit by the registry", "debug.getregistry()._LOADED.os.exit(1)", want = { 500 } },
  {
    "os.exit by upvalues",
    "for i = 1, 9 do local n, v = debug.getupvalue(os.exit, i) if type(v) == 'function' then v(1) end end error('no')",
    want = { 500 },
  },
  { "os.setlocale", "os.setlocale('de_DE.UTF-8')", want = { 500 } },
  { "debug.sethook", "debug.sethook(function() end, '', 1)", want = { 500 } },
  { "jit.on", "jit.on()", want = { 500 } },
  { "jit.off", "package.loaded.jit.off()", want = { 500 } },
  { "jit.flush", "jit.flush()", want = { 500 } },
  { "jit.attach", "jit.attach(print, 'bc')", want = { 500 } },
  { "jit.opt", "require('jit.opt').start(3, 'hotloop=1') for i = 1, 1e5 do end return c:text('ok')" },
  {
    "collectgarbage stop",
    "collectgarbage('stop') for i = 1, 1e6 do local t = { i } end return c:text('ok')",
    want = { 200 },
  },
  { "collectgarbage settings", "collectgarbage('setpause', 1e9) collectgarbage('setstepmul', 0) return c:text('ok')", want = { 200 } },
  { "string methods gone", "getmetatable('').__index = nil return c:text('ok')", spoils = true },
  { "string methods raise", "getmetatable('').__index = function() error('x') end return c:text('ok')", spoils = true },
  { "string metatable gone", "debug.setmetatable('', nil) return c:text('ok')", spoils = true },
  { "numbers with a metatable", "debug.setmetatable(0, { __index = error, __call = error }) return c:text('ok')", spoils = true },
  { "nil with a metatable", "debug.setmetatable(nil, { __index = function() end }) return c:text('ok')", spoils = true },
  { "functions with a metatable", "debug.setmetatable(print, { __index = error }) return c:text('ok')", spoils = true },
  { "loaders broken", "package.loaders = 7 return c:text(tostring(pcall(require, 'x')))", spoils = true },
  { "loaders emptied", "package.loaders = {} package.loaded = {} return c:text(tostring(pcall(require, 'x')))", spoils = true },
  { "require redefined", "rawset(_G, 'require', function() error('mine') end) return c:text('ok')", spoils = true },
  { "library modules replaced", "package.loaded['buntime.response'] = 7 return c:text('ok')", spoils = true },
  { "library tables emptied", "local r = require('buntime.response') for k in pairs(r) do r[k] = nil end return c:text('ok')", spoils = true },
  { "_G closed", "setmetatable(_G, { __index = error, __newindex = error }) return c:text(tostring(pcall(function() x = 1 end)))", spoils = true },
  { "_G emptied", "for k in pairs(_G) do rawset(_G, k, nil) end return 'ok'", spoils = true },
  { "environment of the handler", "setfenv(1, {}) return c:text('ok')" },
  { "environment of the caller", "for i = 1, 9 do pcall(setfenv, i, {}) end return c:text('ok')", spoils = true },
  { "upvalues of the library", "local f = c.text for i = 1, 20 do if not debug.setupvalue(f, i, nil) then break end end return c:text('ok')", spoils = true },
  { "string.rep of 4 GB", "return c:text(('xxxx'):rep(2 ^ 30))", want = { 500 } },
  { "string.rep of 4e9", "return c:text(('x'):rep(4e9))" },
  { "string.rep of nothing", "return c:text((''):rep(2 ^ 31 - 1))", want = { 200, 503 } },
  { "concat bombs", "local t, s = {}, ('x'):rep(1e6) for i = 1, 5000 do t[i] = s end return c:text(table.concat(t))", want = { 500 } },
  { "doubling", "local s = 'x' while true do s = s .. s end", want = { 500 } },
  { "format width", "return c:text(('%1000000d'):format(1))", want = { 500 } },
  { "format length", "return c:text(('%99.99f'):format(1e308))" },
  { "format of bytes", "return c:text(('%q'):rep(100):format(unpack({ ('\\0'):rep(1e4) }, 1, 1)))" },
  { "gsub bomb", "return c:text((('a'):rep(1e4)):gsub('', ('b'):rep(1e6)))", want = { 500, 503 } },
  { "unpack bomb", "return c:text(tostring(select('#', unpack({}, 1, 1e7))))", want = { 500 } },
  { "many results", "local function f(n) return unpack({}, 1, n) end return f(7000)", want = { 500 } },
  { "big JSON", "local t = {} for i = 1, 3e5 do t[i] = i end return t", want = { 200, 500 } },
  { "JSON of a cycle", "local t = {} t.t = t return t", want = { 500 } },
  { "JSON of a cycle through __index", "local t = {} setmetatable(t, { __index = t }) return t" },
  { "JSON too deep", "local t = {} for i = 1, 1e5 do t = { t } end return t", want = { 500 } },
  { "JSON of NaN", "return { a = 0 / 0 }", want = { 500 } },
  { "JSON of functions", "return { print }", want = { 500 } },
  { "JSON with a hole of 2^31", "return { [1] = 1, [2 ^ 31] = 2 }" },
  { "JSON text too deep", "require('buntime.json').decode(('['):rep(1e6))", want = { 500 } },
  { "10,000 headers", "local h = {} for i = 1, 1e4 do h['x-' .. i] = 'y' end return c:text('ok', 200, h)", want = { 200, 500 } },
  { "a header of 10 MB", "return c:text('ok', 200, { ['x-big'] = ('y'):rep(1e7) })", want = { 200, 500 } },
  { "header injection", "return c:text('ok', 200, { ['x-a'] = 'b\\r\\nset-cookie: evil=1' })", want = { 500 } },
  { "header name injection", "return c:text('ok', 200, { ['x-a: b\\r\\nset-cookie'] = 'evil=1' })", want = { 500 } },
  { "header by c:header", "c:header('x-a', 'b\\nset-cookie: evil=1') return c:text('ok')", want = { 500 } },
  { "redirect injection", "return c:redirect('/x\\r\\nset-cookie: evil=1')", want = { 500 } },
  { "content length", "return c:text('ok', 200, { ['content-length'] = '1000000' })" },
  { "transfer encoding", "return c:text('ok', 200, { ['transfer-encoding'] = 'chunked' })" },
  { "connection header", "return c:text('ok', 200, { connection = 'upgrade', upgrade = 'x' })" },
  { "NaN status", "return c:text('ok', 0 / 0)", want = { 500 } },
  { "infinite status", "return c:text('ok', math.huge)", want = { 500 } },
  { "negative status", "return c:text('ok', -200)", want = { 500 } },
  { "status 100", "return c:text('ok', 100)", want = { 500 } },
  { "status 200.5", "return c:text('ok', 200.5)", want = { 500 } },
  { "sleep backwards", "buntime.sleep(-1)", want = { 500 } },
  { "sleep NaN", "buntime.sleep(0 / 0)", want = { 500 } },
  { "sleep for ever", "task.spawn(function() buntime.sleep(1e18) end) return c:text('ok')", want = { 200 } },
  { "timer for ever", "timer.after(math.huge, print) timer.every(1e18, print) return c:text('ok')", want = { 200 } },
  { "spawn recursion", "local function f(n) if n > 0 then task.spawn(f, n - 1) end end f(1e5) return c:text('ok')" },
  { "spawn many", "for i = 1, 1e5 do task.spawn(buntime.sleep, 60) end return c:text('ok')", spoils = true },
  { "spawn a bomb", "local function f() buntime.sleep(0.01) task.spawn(f) task.spawn(f) end f() return c:text('ok')", spoils = true },
  { "timers", "for i = 1, 1e5 do timer.after(60, print) end return c:text('ok')", want = { 500 }, spoils = true },
  { "timers at once", "for i = 1, 9000 do timer.after(0, error) end return c:text('ok')" },
  { "a timer that raises", "timer.every(0.001, function() error('tick') end) return c:text('ok')", spoils = true },
  { "a task that waits for itself", "local t t = task.spawn(function() buntime.sleep(0) t:wait() end) return c:text('ok')" },
  { "a task that cancels itself", "local t t = task.spawn(function() buntime.sleep(0) t:cancel() buntime.sleep(0) end) return c:text('ok')" },
  { "a task that will not go", "task.spawn(function() while true do pcall(buntime.sleep, 60) end end) return c:text('ok')", spoils = true },
  { "wait in sort", "table.sort({ 3, 2, 1 }, function() buntime.sleep(0) return true end)", want = { 500 } },
  { "wait in a caught sort", "pcall(table.sort, { 3, 2, 1 }, function() buntime.sleep(0.01) end) return c:text('ok')", want = { 200 } },
  {
    "a wait kept from the task",
    "local _, resume = debug.getupvalue(coroutine.wrap, 2) local co = coroutine.create(buntime.sleep)"
      .. " for i = 1, 9 do local n, v = debug.getupvalue(coroutine.resume, i) if n == 'raw_resume' then v(co, 0.05) end end"
      .. " return c:text('ok')",
    want = { 200 },
  },
  { "yield", "coroutine.yield()", want = { 500 } },
  { "yield of a wait", "return coroutine.wrap(function() buntime.sleep(0) return c:text('ok') end)()", want = { 200 } },
  { "resume of the task itself", "return c:text(tostring(coroutine.resume(coroutine.running())))" },
  { "closing standard files", "pcall(io.close) pcall(io.stdout.close, io.stdout) pcall(io.stderr.close, io.stderr) return c:text('ok')" },
  { "a file that stays open", "for i = 1, 50 do io.open('/dev/null') end collectgarbage() return c:text('ok')" },
  { "a finalizer that raises", "local p = newproxy(true) getmetatable(p).__gc = function() error('gc') end p = nil collectgarbage() collectgarbage() return c:text('ok')" },
  { "a finalizer that yields", "local p = newproxy(true) getmetatable(p).__gc = coroutine.yield p = nil collectgarbage() collectgarbage() return c:text('ok')" },
  { "a finalizer that sleeps", "local p = newproxy(true) getmetatable(p).__gc = function() buntime.sleep(1) end p = nil collectgarbage() return c:text('ok')" },
  { "methods on wrong objects", "for _, f in pairs(getmetatable(c).__index) do if type(f) == 'function' then pcall(f) pcall(f, 7) pcall(f, {}) pcall(f, c.req) end end return c:text('ok')", spoils = true },
}

local HEAD = [[
local task, timer = require("buntime.task"), require("buntime.timer")
local routes = require("buntime.router").new()
routes:get("/", function(c)
  return c:text("well")
end)
]]

--- The plugin whose handler number i is the act number i.
local function code_of(acts)
  local parts = { HEAD }
  for i, act in ipairs(acts) do
    parts[#parts + 1] = ("routes:get('/act/%d', function(c)\n%s\nend)\n"):format(i, act[2])
  end
  parts[#parts + 1] = "local _ = task, timer\nreturn { routes = routes }"
  return table.concat(parts)
end

local function one_of(list, value)
  for _, one in ipairs(list) do
    if one == value then
      return true
    end
  end
  return false
end

--- Runs `attack` while the good plugin is asked all the time.
local function beside_good(s, attack)
  local over, asked = false, 0
  http.parallel(3, function(i)
    if i == 1 then
      local ok, problem = pcall(attack)
      over = true
      assert(ok, problem)
      return
    end
    local conn = s:connect()
    for _ = 1, 1e6 do
      local res = conn:get("/good")
      assert.equal(200, res.status, res.body)
      assert.equal("good", res.body)
      asked = asked + 1
      if over then
        break
      end
    end
    conn:close()
  end)
  assert.is_true(asked >= 2)
end

describe("beside a hostile plugin", function()
  local s

  setup(function()
    s = server.start({
      plugins = {
        good = hello("good", "good"),
        hostile = plugin("name: hostile\nbase: /hostile\nmemory: 16mb", code_of(ACTS)),
      },
      env = { RUNTIME_WATCHDOG = "1s", RUNTIME_LOG_LEVEL = "info", RUNTIME_DRAIN_TIMEOUT = "1s" },
    })
    s.allowed = { "" } -- whatever it says in the log
  end)
  teardown(function()
    s:stop()
  end)

  for i, act in ipairs(ACTS) do
    it("that tries: " .. act[1], function()
      beside_good(s, function()
        local res = s:get("/hostile/act/" .. i)
        assert.is_nil(res.headers["set-cookie"])
        assert.is_true(not act.want or one_of(act.want, res.status), res.status .. ": " .. res.body:sub(1, 1000))
        if act.spoils then
          s:get("/hostile")
          assert.equal(200, s:post("/api/plugins/hostile/reload").status)
        end
        assert.equal("well", s:get("/hostile").body)
      end)
    end)
  end
end)

describe("a shutdown in the midst of a reload", function()
  after_each(server.stop_all)

  it("ends every plugin once", function()
    local s = server.start({
      plugins = {
        slow = plugin(
          "name: slow\nbase: /slow",
          [[
          local log = require("buntime.log")
          return {
            onInit = function() log.info("slow begins") buntime.sleep(0.3) end,
            onShutdown = function() log.info("slow ends") buntime.sleep(0.8) end,
          }]]
        ),
      },
    })
    local function count(text)
      local found = 0
      for _, line in ipairs(s:log_lines()) do
        found = found + (line.msg == text and 1 or 0)
      end
      return found
    end
    s.process:kill("HUP")
    assert.is_truthy(process.eventually(function()
      return count("slow begins") == 2
    end))
    s.process:kill("TERM")
    assert.equal(0, (s.process:wait(10)))
    assert.equal(1, count("slow ends"))
    s:stop()
  end)
end)
