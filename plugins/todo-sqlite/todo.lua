-- What a todo is, apart from where it is kept: checks of what comes in, and rows made into answers.
-- Each check gives the fields that count, or nil and what is wrong.

local M = {}

--- What a change may set.
M.FIELDS = { "title", "due", "done" }

local MOST_IDS = 100

local function check_title(title)
  if type(title) ~= "string" or title:match("^%s*$") then
    return nil, "title must be a text that is not empty"
  elseif #title > 200 then
    return nil, "title must have at most 200 bytes"
  end
  return title:match("^%s*(.-)%s*$")
end

--- null takes the date away; json.null is the value that the decoder gives for it.
local function check_due(due)
  if type(due) == "userdata" then
    return due
  end
  local month, day = tostring(due):match("^%d%d%d%d%-(%d%d)%-(%d%d)$")
  if type(due) ~= "string" or not month or month + 0 < 1 or month + 0 > 12 or day + 0 < 1 or day + 0 > 31 then
    return nil, "due must be a date such as 2024-12-31, or null"
  end
  return due
end

local function check_done(done)
  if type(done) ~= "boolean" then
    return nil, "done must be true or false"
  end
  return done
end

local CHECKS = { title = check_title, due = check_due, done = check_done }

local function check_fields(body, known)
  if type(body) ~= "table" then
    return nil, "the body must be a JSON object"
  end
  local fields = {}
  for name, value in pairs(body) do
    if not known[name] then
      return nil, ("%s is not known"):format(tostring(name))
    end
    local checked, message = known[name](value)
    if checked == nil then
      return nil, message
    end
    fields[name] = checked
  end
  return fields
end

function M.check_new(body)
  local fields, message = check_fields(body, { title = check_title, due = check_due })
  if fields and not fields.title then
    return nil, "title is missing"
  end
  return fields, message
end

function M.check_change(body)
  local fields, message = check_fields(body, CHECKS)
  if fields and not next(fields) then
    return nil, "there is nothing to change"
  end
  return fields, message
end

--- A positive whole number as text or number.
function M.id(value)
  local id = tonumber(value)
  if not id or id < 1 or id % 1 ~= 0 or id > 2 ^ 53 then
    return nil
  end
  return id
end

function M.check_ids(body)
  local ids = type(body) == "table" and body.ids
  if type(ids) ~= "table" or #ids == 0 or #ids > MOST_IDS then
    return nil, ("ids must be a list of 1 to %d ids"):format(MOST_IDS)
  end
  for _, id in ipairs(ids) do
    if type(id) ~= "number" or not M.id(id) then
      return nil, "ids must be positive whole numbers"
    end
  end
  return ids
end

--- The query of a list: `done` absent means both.
function M.filter(done, after)
  if done ~= nil and done ~= "true" and done ~= "false" then
    return nil, "done must be true or false"
  end
  local id = after == nil and 0 or M.id(after)
  if not id then
    return nil, "after must be the id of a todo"
  end
  local filter = { after = id }
  if done ~= nil then
    filter.done = done == "true"
  end
  return filter
end

--- SQLite has no booleans.
function M.from_row(row)
  row.done = row.done == 1
  return row
end

return M
