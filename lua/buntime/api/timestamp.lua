--- A point in time as the control plane writes it.
--- @param seconds number Since 1970.
--- @return string text "2026-01-31T12:00:00.250Z"
local function timestamp(seconds)
  local ms = math.floor(seconds % 1 * 1000)
  return os.date("!%Y-%m-%dT%H:%M:%S", math.floor(seconds)) .. (".%03dZ"):format(ms)
end

return timestamp
