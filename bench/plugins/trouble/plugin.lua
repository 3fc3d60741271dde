--- What could hold everybody else up: slow queries, large results, uploads, readers that do not read.

local Router = require("buntime.router")
local postgres = require("buntime.postgres")
local redis = require("buntime.redis")
local sqlite = require("buntime.sqlite")

local NUMBERS = "with recursive n(i) as (select 1 union all select i + 1 from n where i < ?) "
local SERIES = "select i, $1::text as title, i * 2 as twice from generate_series(1, 100000) i"
local TEXT = ("some text that fills a row "):rep(4)

return function()
  local routes = Router.new()
  local db, pg, r

  routes:get("/slow-sql", function(c)
    return c:json(db:first(NUMBERS .. "select count(*) as count from n", 5000000))
  end)

  routes:get("/sqlite", function(c)
    local rows = db:query(NUMBERS .. "select i, ? as title, i * 2 as twice from n", 100000, TEXT)
    return c:text(tostring(#rows))
  end)

  routes:get("/postgres", function(c)
    return c:text(tostring(#pg:query(SERIES, TEXT)))
  end)

  routes:get("/redis", function(c)
    return c:text(tostring(#r:call("LRANGE", "list", 0, -1)))
  end)

  routes:get("/redis-value", function(c)
    return c:text(tostring(#r:call("GET", "value")))
  end)

  routes:post("/upload", function(c)
    return c:text(tostring(#c.req.body))
  end)

  routes:post("/form", function(c)
    local form = c.req:form()
    return c:text(form and "form" or "none")
  end)

  routes:post("/json", function(c)
    return c:json(c.req:json())
  end)

  routes:get("/stream", function(c)
    local piece = ("x"):rep(256 * 1024)
    return c:stream(function(s)
      while s:write(piece) do
        buntime.sleep(0)
      end
    end)
  end)

  routes:ws("/socket", {
    message = function(ws, data, binary)
      ws:send(data, binary)
    end,
  }, { max_message = "16mb" })

  routes:get("/nothing", function(c)
    return c:text("nothing")
  end)

  return {
    routes = routes,
    onInit = function()
      db = sqlite.open("trouble.db")
      pg = postgres.connect(buntime.env.BENCH_POSTGRES, { max = 4 })
      r = redis.connect(buntime.env.BENCH_REDIS)
      r:call("SET", "value", ("v"):rep(20 * 1024 * 1024))
      for _ = 1, 100 do
        r:pipeline(function(p)
          for i = 1, 1000 do
            p:call("RPUSH", "list", "item " .. i)
          end
        end)
      end
    end,
  }
end
