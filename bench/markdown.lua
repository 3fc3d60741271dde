--- What bench/table has measured, as Markdown.

local M = {}

--- 12345.6 as "12,346".
--- @param number number
function M.thousands(number)
  local text = ("%.0f"):format(number):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

--- @param rows string[][] the head first; all but the first column are numbers
function M.table(rows)
  local out = {}
  for i, row in ipairs(rows) do
    out[#out + 1] = "| " .. table.concat(row, " | ") .. " |"
    if i == 1 then
      out[2] = "|---|" .. ("---:|"):rep(#row - 1)
    end
  end
  return table.concat(out, "\n") .. "\n"
end

local function head(r)
  local row = { "" }
  for _, c in ipairs(r.contestants) do
    row[#row + 1] = c.title
  end
  return row
end

--- A row for each load, a column for each contestant.
--- @param cell fun(sample: table): string
local function by_load(r, cell)
  local rows = { head(r) }
  for _, load in ipairs(r.rows) do
    local row = { load.title }
    for _, c in ipairs(r.contestants) do
      local sample = load.medians[c.title]
      row[#row + 1] = sample and cell(sample) or "n/a"
    end
    rows[#rows + 1] = row
  end
  return M.table(rows)
end

local function of_processes(r)
  local start = { "start to the first 200, ms" }
  local idle, loaded = { "memory when started, MiB" }, { "memory after it all, MiB" }
  for i, c in ipairs(r.contestants) do
    start[i + 1] = ("%.0f"):format(c.start)
    idle[i + 1] = ("%.1f"):format(c.idle)
    loaded[i + 1] = ("%.1f"):format(c.loaded)
  end
  return M.table({ head(r), start, idle, loaded })
end

local INTRODUCTION = [[
# Buntime beside others

%s.

%s.

Medians of %d round(s) of %g s; the contestants take turns in each. Every server has core 0 to itself, the
load tool core 1. 64 connections unless it says otherwise; HTTP/2: 8, each with 8 requests at a time. Nothing
is compressed. Before each load all answers are compared with the right one; a request that fails under it
ends the run.
]]

local function introduction(r)
  local versions = {}
  for i, c in ipairs(r.contestants) do
    versions[i] = c.version
  end
  local text = INTRODUCTION:format(r.machine, table.concat(versions, "; "), r.plan.rounds, r.plan.seconds)
  for _, title in ipairs(r.left_out) do
    text = text .. "\nLeft out, as it could not be fetched or started: " .. title .. ".\n"
  end
  return text
end

--- @param r table of compare.run()
--- @return string
function M.report(r)
  return table.concat({
    introduction(r),
    "Requests a second:\n",
    by_load(r, function(s)
      return M.thousands(s.rps)
    end),
    "CPU of the server, user and system, in microseconds a request:\n",
    by_load(r, function(s)
      return ("%.1f"):format(s.us)
    end),
    "Latency in milliseconds, half of the requests / 99 of 100:\n",
    by_load(r, function(s)
      return ("%.2f / %.2f"):format(s.p50 / 1000, s.p99 / 1000)
    end),
    "Start, and resident memory of all processes of a server:\n",
    of_processes(r),
    "n/a: the bare handler decodes no JSON; Bun's server speaks no HTTP/2.\n",
  }, "\n")
end

return M
