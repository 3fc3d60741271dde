--- Apps for specs of worker processes, and what there is to see of those.

local process = require("spec.support.process")

local M = {}

--- The files of a plugin that is an app: `index.lua` at /NAME.
--- @param name string
--- @param code string index.lua
--- @param lines? string more of the manifest
function M.app(name, code, lines)
  local manifest = ("name: %s\nbase: /%s\nentrypoint: index.lua\n%s"):format(name, name, lines or "")
  return { ["manifest.yaml"] = manifest, ["index.lua"] = code }
end

--- The processes that the server has started.
--- @return integer[] pids
function M.workers(s)
  local pid = s:pid()
  local list = {}
  local children = process.read(("/proc/%d/task/%d/children"):format(pid, pid)) or ""
  for child in children:gmatch("%d+") do
    list[#list + 1] = tonumber(child)
  end
  return list
end

--- Waits until a worker of the app has ended for the reason. The server logs that at debug.
function M.ended(s, name, reason)
  return s:wait_log(function(line)
    return line.msg == "worker ended" and line.plugin == name and line.reason == reason
  end, 10)
end

--- How many workers of the app were started.
function M.started(s, name)
  local count = 0
  for _, line in ipairs(s:log_lines()) do
    if line.msg == "worker started" and line.plugin == name then
      count = count + 1
    end
  end
  return count
end

return M
