--- A module that is loaded when it is first used: most plugins never need it, and each has a Lua state of
--- its own to fill.
---
---     local form = later("buntime.form")
---     form.parse(body)   -- loads it

--- @param name string
--- @return table
return function(name)
  return setmetatable({}, {
    __index = function(_, key)
      return require(name)[key]
    end,
  })
end
