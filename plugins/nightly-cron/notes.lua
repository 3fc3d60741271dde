--- Notes with the time they were made. Requires nothing.

local M = {}

local Notes = {}
Notes.__index = Notes

local DAY = 86400

--- @param keep_days number
function M.new(keep_days)
  return setmetatable({ _keep = keep_days * DAY, _list = {}, _last = 0 }, Notes)
end

--- @param text string
--- @param now number Seconds since 1970.
function Notes:add(text, now)
  self._last = self._last + 1
  local note = { id = self._last, text = text, at = now }
  self._list[#self._list + 1] = note
  return note
end

function Notes:list()
  return self._list
end

--- Removes those that are too old.
--- @return integer removed
function Notes:tidy(now)
  local kept = {}
  for _, note in ipairs(self._list) do
    if now - note.at < self._keep then
      kept[#kept + 1] = note
    end
  end
  local removed = #self._list - #kept
  self._list = kept
  return removed
end

return M
