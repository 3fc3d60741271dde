--- Percent coding and queries.

local sys = require("buntime.core.sys")

--- @class buntime.url
local M = {}

--- Escapes everything but letters, digits and `-._~`: safe in a path segment and in a query.
--- @type fun(text: string): string
M.encode = sys.escape

--- Resolves `%XX`, and with `plus` also `+` as a space. What is not a whole escape stays as it is.
--- @type fun(text: string, plus?: boolean): string
M.decode = sys.unescape

--- The names and values of a query or an `application/x-www-form-urlencoded` body, in order.
---
---     url.pairs("a=1&b=x+y&a=2")  --> { { "a", "1" }, { "b", "x y" }, { "a", "2" } }
--- @type fun(query: string): string[][]
M.pairs = sys.query_pairs

--- The other way: a query from pairs, or from a table of names (sorted, so that the text is always the
--- same). A list gives its name once for each value.
---
---     url.query({ q = "x y", tag = { "a", "b" } })  --> q=x%20y&tag=a&tag=b
--- @param values string[][]|table<string, string|number|boolean|(string|number|boolean)[]>
--- @return string
function M.query(values)
  local out = {}
  local function add(name, value)
    out[#out + 1] = M.encode(tostring(name)) .. "=" .. M.encode(tostring(value))
  end

  if #values > 0 then
    for _, pair in ipairs(values) do
      add(pair[1], pair[2])
    end
    return table.concat(out, "&")
  end
  local names = {}
  for name in pairs(values) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = values[name]
    for _, item in ipairs(type(value) == "table" and value or { value }) do
      add(name, item)
    end
  end
  return table.concat(out, "&")
end

return M
