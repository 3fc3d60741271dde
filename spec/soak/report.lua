--- The table at the end of a soak.

local MB = 1024 * 1024
local VIOLATIONS_MAX = 40

local M = {}

local function sorted(map)
  local keys = {}
  for key in pairs(map) do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

local function row(...)
  print(("  %-22s %10s %10s %10s"):format(...))
end

local function print_requests(soak)
  row("requests", "asked", "failed", "longest")
  local all = 0
  for _, kind in ipairs(sorted(soak.kinds)) do
    local count = soak.kinds[kind]
    all = all + count.requests
    row(kind, count.requests, count.failures, ("%.2f s"):format(count.longest))
  end
  row("all", all, "", "")
  for _, key in ipairs(sorted(soak.excused)) do
    print(("    excused: %s: %d"):format(key, soak.excused[key]))
  end
end

local function print_events(soak)
  print("  what happened")
  for _, what in ipairs(sorted(soak.done)) do
    row("  " .. what, soak.done[what], "", "")
  end
end

local function mb(bytes)
  return ("%.1f MB"):format(bytes / MB)
end

local function print_held(soak)
  row("held", "at first", "before", "after")
  row("memory", mb(soak.bare.memory), mb(soak.before.memory), mb(soak.after.memory))
  row("descriptors", soak.bare.descriptors, soak.before.descriptors, soak.after.descriptors)
  row("worker processes", soak.bare.children, soak.before.children, soak.after.children)
  local empty = soak.empty
  row("without plugins again", mb(empty.memory), empty.descriptors .. " fds", empty.children .. " workers")
  local text = "  memory was %s at most; after %d reloads %s, after as many again %s"
  print(text:format(mb(soak.highest), soak.reload_times, mb(soak.warm), mb(soak.reloaded)))
  text = "  the log: %d lines, %d errors of what was broken or killed"
  print(text:format(soak.log.lines, #soak.log.errors))
  for kind, rows in pairs(soak.rows) do
    print(("  %s: %d rows, %d acknowledged"):format(kind, rows, soak.acknowledged[kind] or 0))
  end
end

--- @param soak table
function M.print(soak)
  local build = soak.sanitized and ", with sanitizers" or ""
  print(("soak of %d s, seed %d%s"):format(soak.seconds, soak.seed, build))
  for _, part in ipairs({ "postgres", "redis" }) do
    if not soak[part] then
      print("  without " .. part .. ": it is not installed")
    end
  end
  if soak.kinds then
    print_requests(soak)
    print_events(soak)
    print_held(soak)
  end
  for i = 1, math.min(#soak.violations, VIOLATIONS_MAX) do
    print("  VIOLATION " .. soak.violations[i])
  end
  print(#soak.violations == 0 and "  all invariants hold" or ("  %d violations"):format(#soak.violations))
end

return M
