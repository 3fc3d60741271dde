--- Asks one path over and over, and tells what came: one line of JSON at the end, or on SIGTERM's file.
---
---   luajit spec/support/steady.lua PORT PATH BODY STOPFILE [CONNECTIONS]
---
--- Ends when STOPFILE exists. Anything but 200 with BODY is an error. Times in milliseconds.

local cjson = require("cjson")
local lfs = require("lfs")
local socket = require("socket")

local http = require("spec.support.http")

local port, path, body, stop = tonumber(arg[1]), arg[2], arg[3], arg[4]
local errors, times, first = 0, {}, nil

http.TIMEOUT = 30

local function once(conn)
  local began = socket.gettime()
  local ok, res = pcall(conn.get, conn, path)
  times[#times + 1] = (socket.gettime() - began) * 1000
  if ok and res.status == 200 and res.body == body then
    return true
  end
  errors = errors + 1
  first = first or (ok and res.status .. " " .. res.body:sub(1, 200) or tostring(res))
  return ok
end

http.parallel(tonumber(arg[5] or 4), function()
  local conn = http.connect(port)
  while not lfs.attributes(stop) do
    if not once(conn) then
      conn:close()
      conn = http.connect(port)
    end
  end
  conn:close()
end)

table.sort(times)

local function percentile(part)
  return times[math.max(1, math.floor(#times * part))]
end

print(cjson.encode({
  requests = #times,
  errors = errors,
  first_error = first,
  p50 = percentile(0.5),
  p99 = percentile(0.99),
  max = times[#times],
}))
