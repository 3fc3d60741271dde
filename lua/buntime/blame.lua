--- Errors of misuse, at the line of the code that misused.
---
--- Counting levels does not do here: `return c:json(v, 999)` is a tail call, after which the caller's frame
--- is gone. So the frames of the library are skipped by name, and where the caller is gone the handler's own
--- place is told. Requires nothing.

local M = {}

local folder = debug.getinfo(1, "S").source:match("^(.*)blame%.lua$")

--- Files whose functions the caller called; behind them, another library file means a tail call.
local INNER = { ["context.lua"] = true, ["response.lua"] = true, ["blame.lua"] = true }

local function library_file(source)
  return source:sub(1, #folder) == folder and source:sub(#folder + 1) or nil
end

--- The first place outside the library; nil when the calling function was left by a tail call and so can no
--- longer be told from its own callers.
local function caller(level)
  while true do
    local info = debug.getinfo(level, "Sl")
    local file = info and library_file(info.source)
    if not info or info.what == "C" or file and not INNER[file] then
      return nil
    elseif not file then
      return ("%s:%d: "):format(info.short_src, info.currentline)
    end
    level = level + 1
  end
end

--- Where a function was written.
--- @param fn function|table A callable table has no place.
--- @return string place "file:line: "
function M.definition(fn)
  if type(fn) ~= "function" then
    return ""
  end
  local info = debug.getinfo(fn, "S")
  return ("%s:%d: "):format(info.short_src, info.linedefined)
end

--- @param message string
--- @param handler? function Whose place to tell when the caller is not known.
function M.raise(message, handler)
  local place = caller(3) or handler and M.definition(handler) or ""
  error(place .. message, 0)
end

--- The same for a function that a C function of the library has called.
--- @param message string
--- @param handler? function
function M.raise_from_c(message, handler)
  local place = caller(5) or handler and M.definition(handler) or ""
  error(place .. message, 0)
end

--- For functions that only plugin code calls: the first place outside the library, however deep.
--- @param message string
function M.raise_outside(message)
  local level = 2
  while true do
    local info = debug.getinfo(level, "Sl")
    if not info then
      error(message, 0)
    elseif info.what ~= "C" and not library_file(info.source) then
      error(("%s:%d: %s"):format(info.short_src, info.currentline, message), 0)
    end
    level = level + 1
  end
end

return M
