--- Holds our JSON codec against lua-cjson; run by test_bind_json.c, with `json` a global.
---
--- Both must read the same value from every valid text, and each must read back what the other
--- writes. lua-cjson cannot tell `[]` from `{}`, so an empty table equals either.

local json = json -- luacheck: ignore 113
local cjson = require("cjson")

local seed = 7
local function random(n)
  seed = (seed * 16807) % 2147483647
  return seed % n + 1
end

local WORDS = { "id", "name", "", "a b", "é", "漢字", "😀", 'quo"te', "back\\slash", "line\nbreak" }
local NUMBERS = { 0, 1, -1, 19.9, 1e21, 5e-324, 0.1, 2 ^ 53, -2 ^ 53, 1 / 3, 1e-7, 123456.789 }

local function value(depth)
  local kind = depth > 0 and random(8) or random(5)
  if kind == 1 then
    return NUMBERS[random(#NUMBERS)]
  elseif kind == 2 then
    return WORDS[random(#WORDS)]
  elseif kind == 3 then
    return WORDS[random(#WORDS)]:rep(random(9))
  elseif kind == 4 then
    return random(2) == 1
  elseif kind == 5 then
    return json.null
  end
  local t = {}
  for i = 1, random(6) - 1 do
    t[kind > 6 and i or WORDS[random(#WORDS)]] = value(depth - 1)
  end
  return t
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for k, v in pairs(a) do
    if not same(v, b[k]) then
      return false
    end
  end
  for k in pairs(b) do
    if a[k] == nil then
      return false
    end
  end
  return true
end

cjson.encode_number_precision(14)
assert(json.null == cjson.null)

for i = 1, 3000 do
  local v = value(5)
  local text = json.encode(v)
  assert(same(json.decode(text), v), text)
  assert(same(cjson.decode(text), v), text)
  --- 14 digits are lua-cjson's most: only the shape of what it writes can be compared.
  local theirs = cjson.encode(v)
  assert(same(json.decode(theirs), cjson.decode(theirs)), theirs)

  --- A damaged text: what we accept, lua-cjson accepts and reads the same.
  local at = random(#text)
  local damaged = text:sub(1, at - 1) .. ('",:[]{}0e.-\\tn'):sub(random(14), -1):sub(1, 1) .. text:sub(at + 1)
  local ours, message, code = json.decode(damaged)
  if ours ~= nil then
    local ok, other = pcall(cjson.decode, damaged)
    assert(ok and same(ours, other), damaged)
    assert(same(json.decode(json.encode(ours)), ours), damaged)
  else
    assert(message:find("^json%.decode: ") and code == "INVALID_JSON", damaged)
  end
  if i % 500 == 0 then
    collectgarbage()
  end
end
