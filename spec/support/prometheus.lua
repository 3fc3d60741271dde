--- Prometheus' text format 0.0.4, read strictly: what a scraper would refuse raises.

local M = {}

local NAME = "^[%a_:][%w_:]*$"

local function labels_of(text, line)
  local labels, at = {}, 1
  while at <= #text do
    local name, after = text:match('^([%a_][%w_]*)="()', at)
    assert(name, "labels: " .. line)
    local value, position = {}, after
    while true do
      local c = text:sub(position, position)
      assert(c ~= "", "an open quote: " .. line)
      if c == '"' then
        break
      elseif c == "\\" then
        position = position + 1
        local escaped = ({ n = "\n", ["\\"] = "\\", ['"'] = '"' })[text:sub(position, position)]
        value[#value + 1] = assert(escaped, "escape: " .. line)
      else
        value[#value + 1] = c
      end
      position = position + 1
    end
    assert(labels[name] == nil, "a label twice: " .. line)
    labels[name] = table.concat(value)
    at = position + 1
    local comma = text:sub(at, at)
    assert(comma == "," or comma == "", "after a label: " .. line)
    at = at + 1
  end
  return labels
end

local function key_of(name, labels)
  local parts = {}
  for label, value in pairs(labels) do
    parts[#parts + 1] = ("%s=%q"):format(label, value)
  end
  table.sort(parts)
  return name .. "{" .. table.concat(parts, ",") .. "}"
end

--- @param text string
--- @return table page `page.types[name]`; `page:value(name, labels)`; `page.series` in order.
function M.parse(text)
  local page = { types = {}, series = {}, values = {} }
  assert(text == "" or text:sub(-1) == "\n", "no newline at the end")
  for line in text:gmatch("([^\n]*)\n") do
    local kind, name, rest = line:match("^# (%u+) (%S+) (.*)$")
    if kind == "TYPE" then
      assert(not page.types[name], "a family twice: " .. name)
      page.types[name] = rest
    elseif kind ~= "HELP" then
      local series, inner, number = line:match("^([^{ ]+)(%b{}) (%S+)$")
      if not series then
        series, number = line:match("^([^{ ]+) (%S+)$")
      end
      assert(series and series:find(NAME), "not a line: " .. line)
      local labels = labels_of(inner and inner:sub(2, -2) or "", line)
      local value = assert(tonumber(number), "not a number: " .. line)
      local family = series:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "")
      assert(page.types[series] or page.types[family] == "histogram", "no TYPE before: " .. line)
      local key = key_of(series, labels)
      assert(page.values[key] == nil, "a series twice: " .. line)
      page.values[key] = value
      page.series[#page.series + 1] = { name = series, labels = labels, value = value }
    end
  end

  function page:value(name, labels)
    return self.values[key_of(name, labels or {})]
  end

  return page
end

return M
