--- Whether a middleware's path covers a route's: always, never, or depending on the request.
---
--- A middleware at "/admin" covers "/admin" and everything below it, "/admin/*" the same. Requires nothing.

local function segments(path)
  local out = {}
  for segment in path:gmatch("[^/]+") do
    out[#out + 1] = segment
  end
  return out
end

--- Plain ASCII text, so that two of them can be compared as they stand.
local function is_plain(segment)
  return not segment:find("^[:*]") and not segment:find("[%%\128-\255]")
end

--- @param mine string A segment of the middleware's path.
--- @param theirs string? The route's at the same place.
--- @return "always"|"never"|"maybe"
local function compare(mine, theirs)
  if mine == theirs then
    return "always"
  elseif not theirs then
    return "never"
  elseif mine == "*" then
    return "always"
  elseif is_plain(mine) and is_plain(theirs) then
    return "never"
  end
  -- Also where only the parameter's name differs, since the middleware wants its own.
  return "maybe"
end

--- @param use string
--- @param route string
--- @return "always"|"never"|"maybe"
local function overlap(use, route)
  local mine, theirs = segments(use), segments(route)
  if mine[#mine] == "*" then
    mine[#mine] = nil
  end
  local verdict = "always"
  for i, segment in ipairs(mine) do
    local theirs_at = theirs[i]
    if not theirs_at and theirs[#theirs] == "*" then
      theirs_at = "*"
    end
    local one = compare(segment, theirs_at)
    if one == "never" then
      return "never"
    elseif one == "maybe" then
      verdict = "maybe"
    end
  end
  return verdict
end

return overlap
