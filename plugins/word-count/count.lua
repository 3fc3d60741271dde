--- Counting words. Pure.

local json = require("buntime.json")

--- Those used most first, equal ones by the alphabet.
local function ranked(counts)
  local list = {}
  for word, n in pairs(counts) do
    list[#list + 1] = { word = word, count = n }
  end
  table.sort(list, function(a, b)
    if a.count ~= b.count then
      return a.count > b.count
    end
    return a.word < b.word
  end)
  return list
end

--- @param text string
--- @param top integer How many words to name.
--- @return { lines: integer, words: integer, bytes: integer, top: { word: string, count: integer }[] }
return function(text, top)
  local counts, words = {}, 0
  for word in text:gmatch("[%w\128-\255']+") do
    word = word:lower()
    counts[word] = (counts[word] or 0) + 1
    words = words + 1
  end
  local _, lines = text:gsub("\n", "")
  if #text > 0 and text:sub(-1) ~= "\n" then
    lines = lines + 1
  end
  local list = json.array()
  for i, item in ipairs(ranked(counts)) do
    if i > top then
      break
    end
    list[i] = item
  end
  return { lines = lines, words = words, bytes = #text, top = list }
end
