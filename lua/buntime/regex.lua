--- Regular expressions as JSON Schema has them, the part of ECMAScript's that can be matched in one
--- pass: the time taken grows with text × pattern and never faster, whatever the text is.
---
--- Characters, `.`, classes, `\d \w \s \D \W \S`, `\b \B`, `\xHH \uHHHH`, `^ $`, groups, `|`, and the
--- quantifiers `* + ? {m,n}`, also lazy ones (which match the same texts). Text is UTF-8. There are no
--- back references and no look-around. Requires nothing.

local M = {}

local STATES_MAX = 5000

-- Programs are lists of instructions: { op = "set", set }, "any", "split" (to x and y), "jump" (to x),
-- "start", "stop", "edge", "inside", "match".

local Parser = {}
Parser.__index = Parser

local function fail(parser, message)
  error({ message = message, at = parser.at }, 0)
end

--- The code points of UTF-8; bytes that are none count as themselves.
local function codes(text)
  local list, i = {}, 1
  while i <= #text do
    local b = text:byte(i)
    local more = b >= 0xF0 and 3 or b >= 0xE0 and 2 or b >= 0xC0 and 1 or 0
    local code = more == 3 and b % 8 or more == 2 and b % 16 or more == 1 and b % 32 or b
    local tail = text:sub(i + 1, i + more)
    if #tail < more or tail:find("[^\128-\191]") then
      more, code = 0, b
    else
      for k = 1, more do
        code = code * 64 + tail:byte(k) % 64
      end
    end
    list[#list + 1] = code
    i = i + 1 + more
  end
  return list
end

local function is_word(code)
  return code ~= nil
    and (code >= 48 and code <= 57 or code >= 65 and code <= 90 or code == 95 or code >= 97 and code <= 122)
end

local CLASSES = {
  d = { { 48, 57 } },
  w = { { 48, 57 }, { 65, 90 }, { 95, 95 }, { 97, 122 } },
  s = {
    { 9, 13 },
    { 32, 32 },
    { 0xA0, 0xA0 },
    { 0x1680, 0x1680 },
    { 0x2000, 0x200A },
    { 0x2028, 0x2029 },
    { 0x202F, 0x202F },
    { 0x205F, 0x205F },
    { 0x3000, 0x3000 },
    { 0xFEFF, 0xFEFF },
  },
}

local CONTROLS = { t = 9, n = 10, v = 11, f = 12, r = 13, ["0"] = 0 }

--- The ranges that are left out, as ranges.
local function complement(ranges)
  local out, from = {}, 0
  for _, range in ipairs(ranges) do
    if range[1] > from then
      out[#out + 1] = { from, range[1] - 1 }
    end
    from = range[2] + 1
  end
  out[#out + 1] = { from, 0x10FFFF }
  return out
end

function Parser:peek()
  return self.text[self.at]
end

function Parser:take(char)
  if self.text[self.at] == char:byte() then
    self.at = self.at + 1
    return true
  end
  return false
end

function Parser:hex(count)
  local value = 0
  for _ = 1, count do
    local code = self:peek()
    local digit = code and code < 128 and tonumber(string.char(code), 16)
    if not digit then
      fail(self, ("expected %d hexadecimal digits"):format(count))
    end
    value = value * 16 + digit
    self.at = self.at + 1
  end
  return value
end

--- After a backslash: a code point, or ranges.
function Parser:escape()
  local code = self:peek()
  if not code then
    fail(self, "a backslash at the end")
  end
  self.at = self.at + 1
  local char = code < 128 and string.char(code) or ""
  if CLASSES[char] then
    return nil, CLASSES[char]
  elseif CLASSES[char:lower()] then
    return nil, complement(CLASSES[char:lower()])
  elseif char == "x" then
    return self:hex(2)
  elseif char == "u" then
    return self:hex(4)
  elseif CONTROLS[char] then
    return CONTROLS[char]
  elseif char:find("[%w_]") then
    self.at = self.at - 1
    fail(self, ("\\%s is not supported"):format(char))
  end
  return code
end

--- One end of a range in a class.
function Parser:class_item()
  if self:take("\\") then
    if self:take("b") then
      return 8
    end
    return self:escape()
  end
  local code = self:peek()
  if not code then
    fail(self, "the class has no end")
  end
  self.at = self.at + 1
  return code
end

function Parser:class()
  local negated = self:take("^")
  local set = {}
  while not self:take("]") do
    local from, ranges = self:class_item()
    if ranges then
      for _, range in ipairs(ranges) do
        set[#set + 1] = range
      end
    else
      local to = from
      if self:peek() == 45 and self.text[self.at + 1] and self.text[self.at + 1] ~= 93 then
        self.at = self.at + 1
        to, ranges = self:class_item()
        if ranges or to < from then
          fail(self, "a range that goes backward")
        end
      end
      set[#set + 1] = { from, to }
    end
  end
  return { op = "set", set = set, negated = negated }
end

--- Alternatives as a tree; programs are made of trees, as often as a quantifier asks.
function Parser:alternatives()
  local list = { self:sequence() }
  while self:take("|") do
    list[#list + 1] = self:sequence()
  end
  return #list == 1 and list[1] or { op = "either", list = list }
end

function Parser:group()
  self.depth = self.depth + 1
  if self.depth > 100 then
    fail(self, "groups are nested too deeply")
  end
  if self:take("?") and not self:take(":") then
    fail(self, "look-around and named groups are not supported")
  end
  local inner = self:alternatives()
  if not self:take(")") then
    fail(self, "a group has no end")
  end
  self.depth = self.depth - 1
  return inner
end

local SIMPLE = { ["^"] = "start", ["$"] = "stop", ["."] = "any" }

function Parser:atom()
  local code = self:peek()
  local char = code < 128 and string.char(code) or ""
  self.at = self.at + 1
  if SIMPLE[char] then
    return { op = SIMPLE[char] }
  elseif char == "(" then
    return self:group()
  elseif char == "[" then
    return self:class()
  elseif char == "\\" then
    if self:take("b") then
      return { op = "edge" }
    elseif self:take("B") then
      return { op = "inside" }
    end
    local escaped, ranges = self:escape()
    return { op = "set", set = ranges or { { escaped, escaped } } }
  elseif char == "*" or char == "+" or char == "?" then
    self.at = self.at - 1
    fail(self, "nothing to repeat")
  end
  return { op = "set", set = { { code, code } } }
end

function Parser:number()
  local from = self.at
  local value = 0
  while self:peek() and self:peek() >= 48 and self:peek() <= 57 do
    value = math.min(value * 10 + self:peek() - 48, 1e6)
    self.at = self.at + 1
  end
  return self.at > from and value or nil
end

--- `{m}`, `{m,}` or `{m,n}`; what is none of these stands for itself.
function Parser:braces()
  local from = self.at
  local low = self:take("{") and self:number()
  local high = low
  if low and self:take(",") then
    high = self:number() or math.huge
  end
  if not low or not self:take("}") then
    self.at = from
    return nil
  elseif high < low then
    fail(self, "a quantifier that goes backward")
  elseif low > 1000 or (high > 1000 and high < math.huge) then
    fail(self, "a quantifier over 1000")
  end
  return low, high
end

function Parser:quantified()
  local atom = self:atom()
  local low, high
  if self:take("*") then
    low, high = 0, math.huge
  elseif self:take("+") then
    low, high = 1, math.huge
  elseif self:take("?") then
    low, high = 0, 1
  else
    low, high = self:braces()
  end
  if not low then
    return atom
  end
  self:take("?") -- lazy
  local next_code = self:peek()
  if next_code == 42 or next_code == 43 or next_code == 63 then
    fail(self, "nothing to repeat")
  end
  return { op = "repeat", inner = atom, low = low, high = high }
end

function Parser:sequence()
  local list = {}
  while self:peek() and self:peek() ~= 124 and self:peek() ~= 41 do
    list[#list + 1] = self:quantified()
  end
  return { op = "sequence", list = list }
end

-- Programs ---------------------------------------------------------------------------------------

local emit

local function add(program, instruction)
  if #program >= STATES_MAX then
    error({ message = "the pattern is too large", at = 1 }, 0)
  end
  program[#program + 1] = instruction
  return instruction
end

local EMIT = {
  sequence = function(program, node)
    for _, item in ipairs(node.list) do
      emit(program, item)
    end
  end,
  either = function(program, node)
    local ends = {}
    for i, item in ipairs(node.list) do
      local split = i < #node.list and add(program, { op = "split", x = #program + 2 })
      emit(program, item)
      if split then
        ends[#ends + 1] = add(program, { op = "jump" })
        split.y = #program + 1
      end
    end
    for _, jump in ipairs(ends) do
      jump.x = #program + 1
    end
  end,
  ["repeat"] = function(program, node)
    for _ = 1, node.low do
      emit(program, node.inner)
    end
    if node.high == math.huge then
      local split = add(program, { op = "split", x = #program + 2 })
      local from = #program
      emit(program, node.inner)
      add(program, { op = "jump", x = from })
      split.y = #program + 1
      return
    end
    local splits = {}
    for _ = node.low + 1, node.high do
      splits[#splits + 1] = add(program, { op = "split", x = #program + 2 })
      emit(program, node.inner)
    end
    for _, split in ipairs(splits) do
      split.y = #program + 1
    end
  end,
}

function emit(program, node)
  program.work = (program.work or 0) + 1
  if program.work > 20 * STATES_MAX then -- empty groups, repeated
    error({ message = "the pattern is too large", at = 1 }, 0)
  end
  local maker = EMIT[node.op]
  if maker then
    maker(program, node)
  else
    add(program, node)
  end
end

-- Matching ---------------------------------------------------------------------------------------

local function in_set(instruction, code)
  for _, range in ipairs(instruction.set) do
    if code >= range[1] and code <= range[2] then
      return not instruction.negated
    end
  end
  return instruction.negated == true
end

local LINE_ENDS = { [10] = true, [13] = true, [0x2028] = true, [0x2029] = true }

local function accepts(instruction, code)
  if instruction.op == "any" then
    return not LINE_ENDS[code]
  end
  return in_set(instruction, code)
end

--- Whether a place in the text is what an instruction asks for.
local function holds(op, text, at)
  if op == "start" then
    return at == 1
  elseif op == "stop" then
    return at == #text + 1
  end
  local edge = is_word(text[at - 1]) ~= is_word(text[at])
  return edge == (op == "edge")
end

--- Adds the state and all that it leads to without a character.
local function follow(program, list, seen, state, text, at)
  local stack = { state }
  while #stack > 0 do
    local i = table.remove(stack)
    if seen[i] ~= at then
      seen[i] = at
      local instruction = program[i]
      local op = instruction.op
      if op == "split" then
        stack[#stack + 1] = instruction.y
        stack[#stack + 1] = instruction.x
      elseif op == "jump" then
        stack[#stack + 1] = instruction.x
      elseif op == "set" or op == "any" or op == "match" then
        list[#list + 1] = i
      elseif holds(op, text, at) then
        stack[#stack + 1] = i + 1
      end
    end
  end
end

local Regex = {}
Regex.__index = Regex

--- Whether the pattern matches anywhere in the text.
function Regex:test(text)
  local program, list, seen = self.program, {}, {}
  text = codes(text)
  for at = 1, #text + 1 do
    follow(program, list, seen, 1, text, at)
    local following = {}
    local code = text[at]
    for _, i in ipairs(list) do
      if program[i].op == "match" then
        return true
      elseif code and accepts(program[i], code) then
        follow(program, following, seen, i + 1, text, at + 1)
      end
    end
    list = following
  end
  return false
end

--- @param pattern string
--- @return table? regex
--- @return string? message With the column.
function M.compile(pattern)
  local parser = setmetatable({ text = codes(pattern), at = 1, depth = 0 }, Parser)
  local ok, result = pcall(function()
    local tree = parser:alternatives()
    if parser:peek() then
      fail(parser, "a ) without its (")
    end
    local program = {}
    emit(program, tree)
    add(program, { op = "match" })
    return program
  end)
  if ok then
    return setmetatable({ program = result }, Regex)
  elseif type(result) ~= "table" then
    error(result, 0)
  end
  return nil, ("column %d: %s"):format(result.at, result.message)
end

return M
