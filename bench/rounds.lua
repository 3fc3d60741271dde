--- Contestants in turn, round after round, so that what disturbs the machine disturbs all of them.

local measure = require("bench.measure")

local M = {}

--- How long to measure; BENCH_SECONDS and BENCH_ROUNDS are heard.
--- @return table plan { seconds, rounds, warm }; warm: seconds
function M.plan(seconds, rounds, warm)
  return {
    seconds = tonumber(os.getenv("BENCH_SECONDS")) or seconds,
    rounds = tonumber(os.getenv("BENCH_ROUNDS")) or rounds,
    warm = warm or 1,
  }
end

--- @param contestants table[] each with a title
--- @param plan table
--- @param ask fun(contestant: table, seconds: number): table a sample: names and numbers
--- @return table<string, table[]> samples by title, one a round
function M.alternate(contestants, plan, ask)
  local samples = {}
  for _, c in ipairs(contestants) do
    samples[c.title] = {}
    if plan.warm > 0 then
      ask(c, plan.warm)
    end
  end
  for round = 1, plan.rounds do
    for _, c in ipairs(contestants) do
      samples[c.title][round] = ask(c, plan.seconds)
    end
  end
  return samples
end

--- One sample, in which each number is the median over those of the rounds.
--- @param samples table[]
--- @return table
function M.median(samples)
  local median = {}
  for name in pairs(samples[1]) do
    local list = {}
    for round, sample in ipairs(samples) do
      list[round] = sample[name]
    end
    median[name] = measure.median(list)
  end
  return median
end

--- The median of what two contestants' samples of the same round give together.
--- @param combine fun(a: table, b: table): number
function M.within(a, b, combine)
  local list = {}
  for round, sample in ipairs(a) do
    list[round] = combine(sample, b[round])
  end
  return measure.median(list)
end

return M
