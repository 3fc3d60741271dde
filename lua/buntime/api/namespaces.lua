--- Namespaces: the scopes of names. `@acme/shop` is in `@acme`; a name without a scope is in none, and
--- only who has `*` may touch it. Requires nothing, so that it can be tested alone.

local M = {}

--- @param name string Of a plugin or a worker app.
--- @return string? scope
function M.of(name)
  return name:match("^(@[^/]+)/.")
end

--- @param text any
--- @return boolean
function M.valid(text)
  if type(text) ~= "string" or #text > 100 then
    return false
  end
  return text == "*" or text:find("^@[%w_-][%w._-]*$") ~= nil
end

local function has(list, wanted)
  for _, item in ipairs(list) do
    if item == wanted then
      return true
    end
  end
  return false
end

--- Whether who has these namespaces may touch what has this name; "*" stands for everything.
--- @param list string[]
--- @param name string
--- @return boolean
function M.allow(list, name)
  if has(list, "*") then
    return true
  end
  local scope = M.of(name)
  return scope ~= nil and has(list, scope)
end

--- Whether all of these namespaces are among those.
--- @param inner string[]
--- @param outer string[]
--- @return boolean within, string? missing
function M.within(inner, outer)
  if has(outer, "*") then
    return true
  end
  for _, item in ipairs(inner) do
    if not has(outer, item) then
      return false, item
    end
  end
  return true
end

return M
