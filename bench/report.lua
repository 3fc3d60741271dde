--- Collects figures and prints them as two tables: what was measured, and what was aimed at.

local M = {}
local figures, targets = {}, {}

--- One server under one load.
--- @param rps number requests a second
--- @param us number microseconds of CPU a request
function M.figure(case, server, rps, us)
  figures[#figures + 1] = { case, server, ("%.0f"):format(rps), ("%.2f"):format(us) }
end

--- One aim, and what came of it.
--- @param what string
--- @param value number
--- @param relation "<="|">="|"<"
--- @param limit number
--- @param unit? string
function M.target(what, value, relation, limit, unit)
  local met = relation == "<=" and value <= limit or relation == ">=" and value >= limit
    or relation == "<" and value < limit
  unit = unit or ""
  targets[#targets + 1] = {
    what,
    ("%.2f%s"):format(value, unit),
    ("%s %g%s"):format(relation, limit, unit),
    met and "ok" or "MISSED",
  }
end

function M.failed(case)
  targets[#targets + 1] = { case, "-", "-", "DID NOT RUN" }
end

local function print_table(head, rows)
  local widths = {}
  for _, row in ipairs({ head, unpack(rows) }) do
    for i, cell in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, #cell)
    end
  end
  local function line(row)
    local out = {}
    for i, cell in ipairs(row) do
      local pad = (" "):rep(widths[i] - #cell)
      out[i] = i < 3 and cell .. pad or pad .. cell
    end
    print((table.concat(out, "  "):gsub("%s+$", "")))
  end
  line(head)
  for _, row in ipairs(rows) do
    line(row)
  end
  print()
end

function M.print()
  if #figures > 0 then
    print_table({ "case", "server", "req/s", "CPU us/req" }, figures)
  end
  if #targets > 0 then
    print_table({ "target", "measured", "aim", "" }, targets)
  end
end

return M
