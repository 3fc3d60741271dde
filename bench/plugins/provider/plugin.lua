return function()
  local values = { key = "a value of some length" }
  return {
    provides = function()
      return {
        get = function(key)
          return values[key]
        end,
      }
    end,
  }
end
