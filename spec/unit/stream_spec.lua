local Router = require("buntime.router")

local function routes_with(fn)
  local routes = Router.new()
  routes:get("/", fn)
  return routes
end

describe("streams in tests", function()
  it("are collected, also when they wait", function()
    local res = routes_with(function(c)
      return c:stream(function(s)
        s:write("a")
        buntime.sleep(0.001)
        s:write(1)
        assert(not s.closed)
      end, "text/csv", 201)
    end):request("/")
    assert.equal(201, res.status)
    assert.equal("text/csv", res.headers["content-type"])
    assert.equal("a1", res:text())
    assert.is_nil(res.error)
  end)

  it("end after so many chunks as the test wants", function()
    local why, closed
    local res = routes_with(function(c)
      return c:sse(function(s)
        local ok, message = pcall(function()
          while true do
            s:send("x")
          end
        end)
        why, closed = not ok and message, s.closed
      end)
    end):request("/", { chunks = 3 })
    assert.equal(("data: x\n\n"):rep(3), res:text())
    assert.equal("the client is gone", why)
    assert.is_true(closed)
  end)

  it("tell what they raise", function()
    local res = routes_with(function(c)
      return c:stream(function(s)
        s:write("half")
        error("broken")
      end)
    end):request("/")
    assert.equal("half", res:text())
    assert.truthy(res.error:find("broken", 1, true))
  end)

  it("go through middleware, which may add headers", function()
    local routes = Router.new()
    routes:use(function(c, next)
      next()
      c:header("X-Seen", "yes")
    end)
    routes:get("/", function(c)
      return c:stream(function(s) s:write("x") end)
    end)
    local res = routes:request("/")
    assert.equal("yes", res.headers["x-seen"])
    assert.equal("x", res:text())
  end)

  it("do not run for HEAD", function()
    local res = routes_with(function(c)
      return c:stream(function() error("never") end)
    end):request("/", { method = "HEAD" })
    assert.equal(200, res.status)
    assert.is_nil(res.error)
  end)

  it("refuse misuse with its place", function()
    local function raised(fn)
      return routes_with(fn):request("/").error
    end
    local CASES = {
      { function(c) return c:stream("x") end, "c:stream: expected a function, got string" },
      { function(c) return c:sse() end, "c:sse: expected a function, got nil" },
      { function(c) return c:sse(print, { heartbeat = 0 }) end, "heartbeat must be" },
      { function(c) return c:stream(function(s) s:write({}) end) end, "stream:write: expected a string" },
      { function(c) return c:stream(function(s) s:send("x") end) end, "this is a plain stream" },
      { function(c) return c:sse(function(s) s:send({ x = 1 }) end) end, '"x" is not known' },
    }
    for _, case in ipairs(CASES) do
      local err = raised(case[1])
      assert.truthy(err and err:find(case[2], 1, true), tostring(err))
      assert.truthy(err:find("stream_spec.lua:%d+"), err)
    end
  end)

  it("cannot be the answer twice", function()
    local kept
    local routes = routes_with(function(c)
      kept = kept or c:stream(function(s) s:write("x") end)
      return kept
    end)
    assert.equal("x", routes:request("/"):text())
    assert.truthy(routes:request("/").error:find("two requests", 1, true))
  end)
end)
