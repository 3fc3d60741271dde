-- A small REST API over SQLite, and how the pieces fit:
--
--   GET    /todo/api/todos?done=true&after=ID   a page, oldest first: { items, next }
--   POST   /todo/api/todos                      { title, due? } → 201
--   GET    /todo/api/todos/:id
--   PATCH  /todo/api/todos/:id                  any of { title, due, done }
--   DELETE /todo/api/todos/:id                  204
--   POST   /todo/api/todos/done                 { ids } → all of them or none
--
-- The database is opened in onInit, which may wait and which fails the plugin if it raises, and is
-- closed in onShutdown. migrations.lua is the history of the schema: statements are added at its end
-- and never edited. What comes from outside is checked in todo.lua, which requires nothing and so is
-- tested by itself. Values are always bound, never put into the text of a statement.
--
-- Try it:  curl -d '{"title":"write a plugin"}' http://localhost:8000/todo/api/todos

local Router = require("buntime.router")
local errors = require("buntime.error")
local json = require("buntime.json")
local sqlite = require("buntime.sqlite")

local migrations = require("migrations")
local todo = require("todo")

local COLUMNS = "id, title, due, done, created_at"

--- The body as a checked table; what is wrong with it is answered with 422.
local function read_body(c, check)
  local fields, message = check(c.req:json())
  if not fields then
    error(errors.new(422, "INVALID_TODO", message))
  end
  return fields
end

local function read_id(c)
  local id = todo.id(c.req:param("id"))
  if not id then
    error(errors.new(400, "INVALID_ID", "the id must be a positive whole number"))
  end
  return id
end

local function found(row)
  if not row then
    error(errors.new(404, "TODO_NOT_FOUND", "there is no such todo"))
  end
  return todo.from_row(row)
end

return function(config)
  local routes = Router.new()
  local db

  routes:get("/api/todos", function(c)
    local filter, message = todo.filter(c.req:query("done"), c.req:query("after"))
    if not filter then
      error(errors.new(400, "INVALID_FILTER", message))
    end
    local rows = db:query(
      "select " .. COLUMNS .. " from todo where id > $1 and ($2 is null or done = $2) order by id limit $3",
      filter.after,
      filter.done,
      config.pageSize + 1
    )
    local next_page = json.null
    if #rows > config.pageSize then -- one more than asked for: there is another page
      rows[#rows] = nil
      next_page = rows[#rows].id
    end
    for i, row in ipairs(rows) do
      rows[i] = todo.from_row(row)
    end
    return c:json({ items = json.array(rows), next = next_page })
  end)

  routes:post("/api/todos", function(c)
    local new = read_body(c, todo.check_new)
    local insert = "insert into todo(title, due) values (?, ?) returning " .. COLUMNS
    local row = db:first(insert, new.title, new.due)
    return c:json(todo.from_row(row), 201)
  end)

  routes:post("/api/todos/done", function(c)
    local ids = read_body(c, todo.check_ids)
    db:transaction(function(tx)
      for _, id in ipairs(ids) do
        if tx:exec("update todo set done = 1 where id = ?", id).changes == 0 then
          error(errors.new(404, "TODO_NOT_FOUND", ("there is no todo %d; none was changed"):format(id)))
        end
      end
    end)
    return c:json({ changed = #ids })
  end)

  routes:get("/api/todos/:id", function(c)
    return c:json(found(db:first("select " .. COLUMNS .. " from todo where id = ?", read_id(c))))
  end)

  routes:patch("/api/todos/:id", function(c)
    local id, change = read_id(c), read_body(c, todo.check_change)
    local row = db:transaction(function(tx)
      for _, field in ipairs(todo.FIELDS) do -- names from our own list, never from the body
        if change[field] ~= nil then
          tx:exec(("update todo set %s = ? where id = ?"):format(field), change[field], id)
        end
      end
      return tx:first("select " .. COLUMNS .. " from todo where id = ?", id)
    end)
    return c:json(found(row))
  end)

  routes:delete("/api/todos/:id", function(c)
    if db:exec("delete from todo where id = ?", read_id(c)).changes == 0 then
      found(nil)
    end
    return c:body(nil, 204)
  end)

  return {
    routes = routes,
    onInit = function(ctx)
      db = sqlite.open(config.database, { migrations = migrations })
      local count = db:first("select count(*) as n from todo").n
      ctx.logger.info("todo list opened", { database = config.database, todos = count })
    end,
    onShutdown = function()
      db:close()
    end,
  }
end
