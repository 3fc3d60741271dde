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

local function contains(list, value)
  for _, item in ipairs(list) do
    if item == value then
      return true
    end
  end
  return false
end

--- Raises for an argument that is not what it has to be.
function M.misuse(what, message, ...)
  blame.raise_outside(("%s: %s"):format(what, message:format(...)))
end

local function number(what, option, value)
  if value == nil then
    return option.default
  end
  if type(value) ~= "number" or not (value >= option.least and value <= option.most) then
    local problem = "%s must be a number from %g to %g, got %s"
    M.misuse(what, problem, option.name, option.least, option.most, tostring(value))
  end
  return value
end

--- Options that are numbers, as a table of all of them.
--- @param what string "redis.connect"
--- @param options table? What was given.
--- @param known { name: string, default: number, least: number, most: number }[] In the order to tell.
--- @param others? string[] Names of options that are no numbers.
--- @return table<string, number>
function M.numbers(what, options, known, others)
  if options ~= nil and type(options) ~= "table" then
    M.misuse(what, "options must be a table, got %s", type(options))
  end
  options = options or {}
  local taken, names = {}, { unpack(others or {}) }
  for _, option in ipairs(known) do
    names[#names + 1] = option.name
  end
  for key in pairs(options) do
    if not contains(names, key) then
      M.misuse(what, "%q is not known (known: %s)", tostring(key), table.concat(names, ", "))
    end
  end
  for _, option in ipairs(known) do
    taken[option.name] = number(what, option, options[option.name])
  end
  return taken
end

--- @class buntime.SqlBlob

--- @param what string "sqlite.blob"
--- @param meta table The metatable of blobs.
--- @param bytes string
--- @return buntime.SqlBlob
function M.blob(what, meta, bytes)
  if type(bytes) ~= "string" then
    M.misuse(what, "expected a string, got %s", type(bytes))
  end
  return setmetatable({ bytes }, meta)
end

return M
