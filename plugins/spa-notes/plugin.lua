--- Notes in memory, behind an API that the page in web/ uses.

local Router = require("buntime.router")

return function()
  local notes, last = {}, 0
  local routes = Router.new()

  local function find(c)
    local id = tonumber(c.req:param("id"))
    for at, note in ipairs(notes) do
      if note.id == id then
        return note, at
      end
    end
  end

  routes:get("/api/notes", function(c)
    return c:json(require("buntime.json").array(notes))
  end)

  routes:post("/api/notes", function(c)
    local text = c.req:json().text
    if type(text) ~= "string" or text == "" or #text > 10000 then
      return c:json({ success = false, code = "TEXT_MISSING", message = "text: 1 to 10,000 bytes" }, 422)
    end
    last = last + 1
    local note = { id = last, text = text }
    notes[#notes + 1] = note
    return c:json(note, 201)
  end)

  routes:get("/api/notes/:id{%d+}", function(c)
    local note = find(c)
    return note and c:json(note) or c:not_found()
  end)

  routes:delete("/api/notes/:id{%d+}", function(c)
    local note, at = find(c)
    if not note then
      return c:not_found()
    end
    table.remove(notes, at)
    return c:body(nil, 204)
  end)

  return { routes = routes }
end
