--- What the databases have in common: errors, and how an answer becomes a value or an error.

local blame = require("buntime.blame")

--- What a statement that failed raises.
--- @class buntime.SqlError
--- @field code string "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_BUSY", "MIGRATION_CHANGED", …
--- @field message string
--- @field statement? string
--- @field position? integer The character of the statement, from 1, where it is known.

local M = {}

--- At most so much of a statement is part of the text of an error.
local SHOWN = 300

local function text_of(err)
  local text = ("%s: %s"):format(tostring(err.code), tostring(err.message))
  if err.statement then
    local statement = err.statement
    if #statement > SHOWN then
      statement = statement:sub(1, SHOWN) .. "…"
    end
    local place = err.position and (" at character %d"):format(err.position) or ""
    text = ("%s%s in: %s"):format(text, place, statement)
  end
  return text
end

--- Readies the metatable of errors that a C module made.
--- @param meta table
function M.set_error(meta)
  meta.__tostring = text_of
end

--- What a C function that waits gave: `true, values...`; `false, error`; or `nil, message` for misuse,
--- which becomes an error at the caller's line.
--- @param what string "db:query"
--- @param ok boolean?
--- @param ... any
function M.settle(what, ok, ...)
  if ok then
    return ...
  elseif ok == nil then
    blame.raise_outside(("%s: %s"):format(what, (...)))
  end
  error((...), 0)
end

--- Raises for an argument that is not what it has to be.
function M.misuse(what, message, ...)
  blame.raise_outside(("%s: %s"):format(what, message:format(...)))
end

return M
