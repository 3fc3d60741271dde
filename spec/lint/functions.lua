--- Fails if a function is longer than 60 lines: C in runtime/, Lua in lua/. Run from the repository root.

local MOST = 60
local problems = 0

local function report(file, number, length)
  if length > MOST then
    io.stderr:write(("%s:%d: a function of %d lines (at most %d)\n"):format(file, number, length, MOST))
    problems = problems + 1
  end
end

local function files(command)
  return io.popen(command .. " | LC_ALL=C sort"):lines()
end

--- clang-format puts a function's braces, and no others', alone at the start of a line.
local function check_c(file)
  local number, start = 0, nil
  for line in io.lines(file) do
    number = number + 1
    if line == "{" then
      start = number
    elseif line == "}" and start then
      report(file, start, number - start - 1)
      start = nil
    end
  end
end

--- The `end` of a function has its indentation. Only functions without a deeper one count:
--- a constructor full of closures is as long as they are together.
local function check_lua(file)
  local number, open = 0, {}
  for line in io.lines(file) do
    number = number + 1
    local indent, rest = line:match("^(%s*)(.*)$")
    local opened = open[#open]
    if opened and rest:match("^end%f[%W]") and indent == opened.indent then
      if not opened.outer then
        report(file, opened.number, number - opened.number - 1)
      end
      open[#open] = nil
    elseif rest:match("%f[%w]function%f[%W][^()]*%b()%s*$") then
      if opened then
        opened.outer = true
      end
      open[#open + 1] = { indent = indent, number = number }
    end
  end
end

for file in files("find runtime -name '*.[ch]'") do
  check_c(file)
end
for file in files("find lua -name '*.lua' -not -path '*/_meta/*'") do
  check_lua(file)
end
os.exit(problems == 0 and 0 or 1)
