-- A server that is short of descriptors, or holds very many connections.

local fixtures = require("spec.support.fixtures")
local http = require("spec.support.http")
local server = require("spec.support.server")

--- Starts with at most `files` descriptors.
local function start_with(files, env)
  return server.start({
    plugins = { good = fixtures.hello("good", "good") },
    command = { "sh", "-c", ('ulimit -n %d; exec "$0" serve'):format(files), server.binary() },
    env = env,
  })
end

local function close_all(list)
  for _, conn in ipairs(list) do
    conn:close()
  end
end

describe("a server without descriptors", function()
  after_each(server.stop_all)

  it("answers those it has accepted, and the others once there are some again", function()
    local s = start_with(64)
    local conns, asked = {}, {}
    for i = 1, 120 do
      conns[i] = s:connect() -- the kernel's queue takes those that are not accepted
      conns[i]:send("GET /good HTTP/1.1\r\nHost: x\r\n\r\n")
    end
    local first = conns[1]
    asked[1] = first:response()
    assert.equal("good", asked[1].body)
    assert.equal("good", first:get("/good").body) -- is served on while nothing can be accepted
    assert.is_false(conns[120]:closed(0.3))
    assert.equal("", conns[120].buffer)

    for i = 1, 100 do
      conns[i]:close()
    end
    for i = 101, 120 do
      assert.equal("good", conns[i]:response().body)
    end
    close_all(conns)
    assert.equal("good", s:get("/good").body)
    s:stop()
  end)

  it("does not turn without rest meanwhile", function()
    local s = start_with(64)
    local conns = {}
    for i = 1, 100 do
      conns[i] = s:connect()
    end
    local function ticks()
      local stat = assert(io.open(("/proc/%d/stat"):format(s:pid()))):read("*a")
      local user, system = stat:match("%) %S" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
      return tonumber(user) + tonumber(system)
    end
    conns[1]:get("/good")
    local before = ticks()
    assert.is_false(conns[100]:closed(1))
    assert.is_true(ticks() - before < 30) -- hundredths of a second
    close_all(conns)
    s:stop()
  end)

  it("holds idle connections in little memory", function()
    local s = start_with(4096)
    local conns = {}
    s:get("/good")
    local before = s:memory()
    for i = 1, 400 do -- select() bounds what this client can watch
      conns[i] = http.connect(s.port)
      assert.equal("good", conns[i]:get("/good").body)
    end
    assert.is_true(s:memory() - before < 400 * 40 * 1024)
    close_all(conns)
    s:stop()
  end)
end)
