-- More connections than the server takes: a client that has something to ask gets its turn, and
-- what plugins need is left.

local socket = require("socket")

local fixtures = require("spec.support.fixtures")
local h2 = require("spec.support.h2")
local http = require("spec.support.http")
local server = require("spec.support.server")

local FILES, RESERVE = 256, 64

local function start(options)
  options = options or {}
  options.plugins = { good = fixtures.hello("good", "good") }
  options.command = { "sh", "-c", ('ulimit -n %d; exec "$0" serve'):format(FILES), server.binary() }
  return server.start(options)
end

--- @return integer hundredths of a second
local function cpu(s)
  local stat = assert(io.open(("/proc/%d/stat"):format(s:pid()))):read("*a")
  local user, system = stat:match("%) %S" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  return tonumber(user) + tonumber(system)
end

describe("a crowd of connections", function()
  after_each(server.stop_all)

  local function is_survived(s, open, ask)
    local base, crowd = s:descriptors(), {}
    for i = 1, 300 do
      crowd[i] = open(i)
    end
    for _ = 1, 5 do
      assert.equal("good", ask().body) -- who has waited longest makes room
    end
    assert.is_true(s:descriptors() <= FILES - RESERVE + base, s:descriptors())
    for _, conn in ipairs(crowd) do
      conn:close()
    end
    assert.equal("good", ask().body)
  end

  it("that says nothing", function()
    local s = start()
    is_survived(s, function()
      return http.connect(s.port)
    end, function()
      return s:get("/good")
    end)
    s:stop()
  end)

  it("that begins requests and does not end them", function()
    local s = start()
    is_survived(s, function()
      local conn = http.connect(s.port)
      conn:send("GET /good HT")
      return conn
    end, function()
      return s:get("/good")
    end)
    s:stop()
  end)

  it("that does not shake hands", function()
    local s = start(h2.options())
    is_survived(s, function()
      return http.connect(s.port)
    end, function()
      return h2.get(s.port, "/good")
    end)
    s:stop()
  end)

  it("does not make the server turn without rest while nobody may go", function()
    local s = start()
    local crowd = {}
    for i = 1, 300 do
      crowd[i] = http.connect(s.port)
    end
    local before, began = cpu(s), socket.gettime()
    assert.is_false(crowd[300]:closed(1))
    assert.is_true(cpu(s) - before < 30 * math.max(1, socket.gettime() - began))
    for _, conn in ipairs(crowd) do
      conn:close()
    end
    s:stop()
  end)

  it("does not cost an idle HTTP/2 connection its place while it is in use", function()
    local s = start(h2.options())
    local busy = h2.connect(s.port)
    local id = busy:request("POST", "/good", nil, false) -- its body is on its way
    local crowd = {}
    for i = 1, 250 do
      crowd[i] = http.connect(s.port)
    end
    for _ = 1, 5 do
      assert.equal("good", h2.get(s.port, "/good").body)
    end
    busy:data(id, "x", true)
    assert.is_truthy(assert(busy:response(id)).status)
    for _, conn in ipairs(crowd) do
      conn:close()
    end
    busy:close()
    s:stop()
  end)
end)
