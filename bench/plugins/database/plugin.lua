--- Point reads through a route: SQLite, and PostgreSQL where there is one.

local Router = require("buntime.router")
local postgres = require("buntime.postgres")
local sqlite = require("buntime.sqlite")
local task = require("buntime.task")
local timer = require("buntime.timer")

local ROWS = 10000
local SLOW = [[with recursive n(i) as (select 1 union all select i + 1 from n where i < ?)
  select count(*) as count from n]]

return function()
  local routes, db = Router.new(), nil

  routes:get("/sqlite", function(c)
    return c:json(db:first("select id, title from item where id = ?", math.random(ROWS)))
  end)

  routes:get("/slow", function(c)
    return c:json(db:first(SLOW, tonumber(c.req:query("steps"))))
  end)

  routes:get("/nothing", function(c)
    return c:json({ id = 1, title = "no database" })
  end)

  --- As pgbench does: so many at once select for so many seconds.
  routes:get("/postgres", function(c)
    local connections, over, count, tasks = tonumber(c.req:query("connections")), false, 0, {}
    local pool = postgres.connect(buntime.env.BENCH_POSTGRES, { max = connections })
    timer.after(tonumber(c.req:query("seconds")), function()
      over = true
    end)
    for i = 1, connections do
      tasks[i] = task.spawn(function()
        while not over do
          pool:first("select id, title from item where id = $1", math.random(ROWS))
          count = count + 1
        end
      end)
    end
    task.gather(unpack(tasks))
    pool:close()
    return c:json({ count = count })
  end)

  return {
    routes = routes,
    onInit = function()
      db = sqlite.open("bench.db")
      db:exec("create table if not exists item (id integer primary key, title text)")
      db:exec([[insert or ignore into item
        with recursive n(i) as (select 1 union all select i + 1 from n where i < ?)
        select i, 'title of ' || i from n]], ROWS)
    end,
  }
end
