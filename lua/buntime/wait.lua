--- Makes the functions of C modules that wait into ordinary ones.
---
--- Such a function gives `true, values...`, at once or when its task goes on, or `false, error` when
--- the wait failed or was cancelled. What plugin code sees returns the values or raises.

local function settle(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

--- @param fn fun(...): boolean, ...
--- @return fun(...): ...
local function awaitable(fn)
  return function(...)
    return settle(fn(...))
  end
end

return awaitable
