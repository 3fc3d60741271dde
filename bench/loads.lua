--- The loads of bench/table, and what is right in answer to them.

local cjson = require("cjson")
local h2 = require("spec.support.h2")
local h2load = require("bench.h2load")
local http = require("spec.support.http")
local measure = require("bench.measure")
local process = require("spec.support.process")
local servers = require("bench.servers")

local GREETING = { message = "Hello from Buntime" }
local GREETING_BYTES = #cjson.encode(GREETING)

local TEN_HEADERS = {
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
  "Accept-Language: en-US,en;q=0.7,de;q=0.3",
  "Referer: http://127.0.0.1/hello/some/page/of/this/site?with=a&query=string",
  "Cookie: theme=dark; session=4b1e0c7a9d3f4f0e8a6b2c5d7e9f0a1b; consent=all; visited=1732500000",
  "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
  "X-Forwarded-For: 203.0.113.7, 198.51.100.23",
  "X-Forwarded-Proto: https",
  "X-Request-Id: 0f8fad5b-d9cb-469f-a165-70867728950e",
  "Cache-Control: no-cache",
}

local M = {}

local function greeting(title, load)
  load.title, load.path, load.json = title, "/hello/api/greeting", GREETING
  return load
end

--- `json` or `body`: the answer; `headers`: of the request; `post`: its body; `without`: those that cannot.
--- @return table[]
function M.list()
  local files, body = servers.files(), process.read("bench/body.json")
  return {
    greeting("greeting, 64 connections", { connections = 64 }),
    greeting("greeting, 512 connections", { connections = 512 }),
    greeting("greeting, 10 request headers", { headers = TEN_HEADERS }),
    greeting("greeting, keep-alive off", { headers = { "Connection: close" } }),
    {
      title = "JSON echo, 1 KiB",
      path = "/hello/api/echo",
      script = "bench/echo.lua",
      post = body,
      json = cjson.decode(body),
      without = { ["bare h2o"] = true },
    },
    { title = "static file, 1 KiB", path = "/pages/1k.bin", body = files["1k.bin"] },
    { title = "static file, 100 KiB", path = "/pages/100k.bin", body = files["100k.bin"] },
  }
end

--- What is asked over TLS, by h2load.
function M.http2()
  local load = { clients = 8, at_a_time = 8, bytes = GREETING_BYTES, tls = true }
  return greeting("greeting, HTTP/2 over TLS", load)
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  for key in pairs(b) do
    if a[key] == nil then
      return false
    end
  end
  for key, value in pairs(a) do
    if not same(value, b[key]) then
      return false
    end
  end
  return true
end

--- What is wrong with an answer, if anything.
--- @param load table
--- @param res table { status, headers?, body }
--- @return string?
function M.fault(load, res)
  if res.status ~= 200 then
    return "status " .. tostring(res.status)
  elseif res.headers and res.headers["content-encoding"] then
    return "the answer is compressed"
  elseif load.body then
    return res.body ~= load.body and ("another file of %d bytes"):format(#res.body) or nil
  end
  local ok, value = pcall(cjson.decode, res.body)
  if not ok or not same(value, load.json) then
    return "another answer: " .. res.body
  elseif res.headers and not res.headers["x-request-id"] then
    return "no x-request-id"
  end
end

local function ask(server, load)
  if load.tls then
    return h2.get(server.tls_port, load.path)
  end
  local options = { headers = { ["Content-Type"] = load.post and "application/json" }, body = load.post }
  for _, line in ipairs(load.headers or {}) do
    local name, value = line:match("^(%S+): (.*)$")
    options.headers[name] = value
  end
  return http.request(server.port, load.post and "POST" or "GET", load.path, options)
end

--- Asks once, and raises unless the answer is right.
--- @param title string the contestant's
function M.check(title, server, load)
  local fault = M.fault(load, ask(server, load))
  if fault then
    error(("%s, %s: %s"):format(title, load.title, fault), 0)
  end
end

--- @return table { rps, us, p50, p99 }
function M.sample(server, load, seconds)
  if load.tls then
    return h2load.sample(server, load, seconds)
  end
  return measure.sample(server, load, seconds, load.connections)
end

return M
