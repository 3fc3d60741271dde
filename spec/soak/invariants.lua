--- What has to be true when a soak has ended.

local lfs = require("lfs")

local verdict = require("spec.soak.verdict")

local MB = 1024 * 1024

local M = {}

--- Errors in the log that are part of the soak: of the broken plugin, of what was killed, of what clients
--- and databases do.
local EXPECTED = {
  "^the server process",
  "took the server down",
  "worker",
}

local function is_expected(line)
  if line.plugin == "broken" or line.msg:find("broken", 1, true) or line.plugin == "changing" then
    return true
  end
  for _, pattern in ipairs(EXPECTED) do
    if line.msg:find(pattern) then
      return true
    end
  end
  return false
end

local function check_requests(soak, add)
  soak.excused = {}
  for _, result in ipairs(soak.results) do
    for _, failure in ipairs(result.failures) do
      local excuse = verdict.excuse(failure, soak.windows)
      if excuse then
        local key = ("%s, %s away"):format(failure.kind, excuse)
        soak.excused[key] = (soak.excused[key] or 0) + 1
      else
        add("%s at %.3f to %.3f: %s%s", failure.kind, failure.began, failure.ended, failure.what:sub(1, 200),
          failure.again and "; again: " .. failure.again:sub(1, 100) or "")
      end
    end
  end
end

--- Every kind was asked, and nothing that was acknowledged is lost.
local function check_counts(soak, add)
  soak.kinds, soak.acknowledged = {}, {}
  for _, result in ipairs(soak.results) do
    for kind, count in pairs(result.counts) do
      local sum = soak.kinds[kind] or { requests = 0, failures = 0, longest = 0 }
      sum.requests, sum.failures = sum.requests + count.requests, sum.failures + count.failures
      sum.longest = math.max(sum.longest, count.longest)
      soak.kinds[kind] = sum
    end
    for kind, count in pairs(result.acknowledged) do
      soak.acknowledged[kind] = (soak.acknowledged[kind] or 0) + count
    end
  end
  for kind, count in pairs(soak.kinds) do
    if count.requests <= count.failures then
      add("no %s was answered right, of %d", kind, count.requests)
    end
  end
  for kind, rows in pairs(soak.rows) do
    if rows < (soak.acknowledged[kind] or 0) then
      add("%s has %d rows; %d were acknowledged", kind, rows, soak.acknowledged[kind])
    end
  end
end

--- What a sanitizer keeps of what was freed, and its shadow, are no leak; it tells of leaks itself.
local function check_memory(soak, add)
  local more, each = 16 * MB, 2 * MB
  if soak.sanitized then
    more, each = 160 * MB, 60 * MB
  end
  if soak.after.memory > soak.before.memory + more then
    add("memory: %.1f MB, %.1f before", soak.after.memory / MB, soak.before.memory / MB)
  end
  if soak.reloaded > soak.warm + each then
    add("memory: %d reloads made %.1f MB of %.1f", soak.reload_times, soak.reloaded / MB, soak.warm / MB)
  end
end

local function differences(before, after)
  local list = {}
  for kind, count in pairs(after) do
    if count ~= (before[kind] or 0) then
      list[#list + 1] = ("%s %d → %d"):format(kind, before[kind] or 0, count)
    end
  end
  return table.concat(list, ", ")
end

local function check_held(soak, add)
  if soak.after.descriptors > soak.before.descriptors then
    add("descriptors: %d, %d before (%s)", soak.after.descriptors, soak.before.descriptors,
      differences(soak.before.kinds, soak.after.kinds))
  end
  if soak.empty.descriptors > soak.bare.descriptors then
    add("descriptors without plugins: %d, %d at first (%s)", soak.empty.descriptors, soak.bare.descriptors,
      differences(soak.bare.kinds, soak.empty.kinds))
  end
  if soak.after.supervisor > soak.bare.supervisor then
    add("descriptors of the supervisor: %d, %d at first", soak.after.supervisor, soak.bare.supervisor)
  end
  if soak.after.children > soak.before.children then
    add("worker processes: %d, %d before", soak.after.children, soak.before.children)
  end
  if soak.empty.children > 0 then
    add("worker processes: %d without an app", soak.empty.children)
  end
  for _, at in ipairs({ soak.before, soak.after, soak.empty }) do
    if at.zombies > 0 then
      add("zombies: %d", at.zombies)
    end
  end
end

local function check_log(soak, add)
  for _, text in ipairs(soak.log.bad) do
    add("the log: not a line of JSON: %s", text:sub(1, 300))
  end
  if #soak.log.rest > 0 then
    add("the log: no end of line behind %s", soak.log.rest:sub(1, 300))
  end
  for _, line in ipairs(soak.log.errors) do
    if not is_expected(line) then
      add("the log: an error: %s (plugin %s)", line.msg:sub(1, 300), tostring(line.plugin))
    end
  end
end

local function check_end(soak, add)
  if soak.exit ~= 0 then
    add("the server ended with %s", tostring(soak.exit))
  end
  for pid, one in pairs(soak.left) do
    add("process %d is left, of parent %d, state %s", pid, one.parent, one.state)
  end
  for name in lfs.dir(soak.dir .. "/tmp") do
    if name ~= "." and name ~= ".." then
      add("%s is left in TMPDIR", name)
    end
  end
end

--- @param soak table Gets its violations.
function M.check(soak)
  local function add(...)
    soak.violations[#soak.violations + 1] = string.format(...)
  end
  for _, check in ipairs({ check_requests, check_counts, check_memory, check_held, check_log, check_end }) do
    check(soak, add)
  end
end

return M
