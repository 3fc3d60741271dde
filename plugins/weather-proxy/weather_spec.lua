local task = require("buntime.task")

--- Runs the plugin with a weather service that counts how often it is asked. `answer` gives what fetch would.
local function start(answer)
  local asked = {}
  package.loaded["buntime.fetch"] = function(url, options)
    asked[#asked + 1] = url
    require("buntime").sleep(0.01)
    return answer(url, options)
  end
  package.loaded.upstream, package.loaded.plugin = nil, nil
  local config = { base = "/weather", upstream = "http://service.test/v1", keep = 60, timeout = 1 }
  return require("plugin")(config).routes, asked
end

local function answers(status, value)
  return function()
    return {
      status = status,
      json = function()
        return value
      end,
    }
  end
end

describe("weather-proxy", function()
  local real = package.loaded["buntime.fetch"]

  after_each(function()
    package.loaded["buntime.fetch"], package.loaded.upstream = real, nil
  end)

  local sunny = { city = "Rome", celsius = 31.5, sky = "clear", more = "than we want" }

  it("asks the service, and keeps what it said", function()
    local routes, asked = start(answers(200, sunny))
    local first, second = routes:request("/Rome"), routes:request("/rome")
    assert.same({ city = "Rome", celsius = 31.5, sky = "clear" }, first:json())
    assert.same(first:json(), second:json())
    assert.same({ "miss", "hit" }, { first.headers["x-cache"], second.headers["x-cache"] })
    assert.same({ "http://service.test/v1?city=rome" }, asked)
  end)

  it("asks once for all who want to know at the same time", function()
    local routes, asked = start(answers(200, sunny))
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = task.spawn(function()
        return routes:request(i <= 10 and "/rome" or "/new%20york").status
      end)
    end
    for _, t in ipairs(tasks) do
      assert.equal(200, t:wait())
    end
    assert.equal(2, #asked)
    assert.equal("http://service.test/v1?city=new%20york", asked[2])
  end)

  it("says what went wrong, and does not keep that", function()
    local cases = {
      { 404, "UNKNOWN_CITY", answers(404) },
      { 502, "UPSTREAM_FAILED", answers(500) },
      { 502, "UPSTREAM_FAILED", answers(200, { city = "Rome" }) },
      { 502, "UPSTREAM_FAILED", answers(200, nil) },
      { 504, "TIMEOUT", function() return nil, "it took longer than 1 seconds", "TIMEOUT" end },
      { 502, "CONNECTION_REFUSED", function() return nil, "nobody there", "CONNECTION_REFUSED" end },
    }
    for _, case in ipairs(cases) do
      local routes, asked = start(case[3])
      local res = routes:request("/rome")
      assert.same({ case[1], case[2] }, { res.status, res:json().code })
      routes:request("/rome")
      assert.equal(2, #asked)
    end
  end)

  it("bounds what it waits for and takes", function()
    local given
    local routes = start(function(_, options)
      given = options
      return nil, "", "TIMEOUT"
    end)
    routes:request("/rome")
    assert.same({ 1, "64kb" }, { given.timeout, given.max_size })
  end)

  it("has a weather service of its own", function()
    local routes = start(answers(200, sunny))
    local res = routes:request("/fake?city=Oslo")
    assert.same({ 200, "Oslo" }, { res.status, res:json().city })
    assert.same(res:json(), routes:request("/fake?city=Oslo"):json())
    assert.equal(404, routes:request("/fake?city=/etc").status)
  end)
end)
