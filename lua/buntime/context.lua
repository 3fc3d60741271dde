--- The context: one request and what is being made of it. Handlers and middleware get it as `c`.
---
--- `c.req` is the request, `c.res` the response once there is one, `c.var` a table for whatever middleware
--- wants to hand on. What `c:header`, `c:cookie` and `c:status` set before there is a response is put into
--- the one that is made.

local json = require("buntime.core.json")
local core = require("buntime.core.request")
local later = require("buntime.later")
local blame = later("buntime.blame")
local cookie = later("buntime.cookie")
local errors = later("buntime.error")
local response = require("buntime.response")

local encode = json.encode
local setmetatable, type = setmetatable, type
local response_meta, headers_meta = response.meta, response.headers_meta

--- @class buntime.Context
--- @field req buntime.Request
--- @field res? buntime.Response
--- @field var table
--- @field private _status integer
--- @field private _headers table|false
--- @field private _route table
local Context = {}

local meta = { __index = Context }

local M = {}

--- @param req buntime.Request
--- @param route table The router's record of the route.
--- @return buntime.Context
function M.new(req, route)
  -- The library is bytecode, which sizes a table by those keys alone that have a constant there.
  local c = { req = 0, res = 0, var = 0, _route = 0, _status = 200, _headers = false }
  c.req, c.res, c.var, c._route = req, nil, {}, route
  return setmetatable(c, meta)
end

local function misuse(c, what, problem, ...)
  local route = c._route
  blame.raise(("c:%s: "):format(what) .. problem:format(...), route and route.handler)
end

--- Called by `encode` about a value that is no JSON.
--- @param message string
--- @private
function Context:_misfit(message)
  local route = self._route
  blame.raise_from_c(message, route and route.handler)
end

local function is_status(value)
  return type(value) == "number" and value % 1 == 0 and value >= 200 and value <= 599
end

local function check_status(c, what, status)
  if not is_status(status) then
    misuse(c, what, "status must be an integer from 200 to 599, got %s", tostring(status))
  end
  return status
end

--- The headers of a response by `c:NAME(…, headers)`.
local function with_headers(c, what, content_type, headers)
  if type(headers) ~= "table" then
    misuse(c, what, "headers must be a table, got %s", type(headers))
  end
  return response.add_headers({ ["content-type"] = content_type }, headers, c._route and c._route.handler)
end

--- A response whose headers are made when somebody looks at them.
local function lean(status, body, content_type)
  local res = { status = 0, body = 0, _type = 0 } -- constants: see M.new
  res.status, res.body, res._type = status, body, content_type
  return setmetatable(res, response_meta)
end

local function make(c, what, content_type, body, status, headers)
  if status ~= nil then
    check_status(c, what, status)
  end
  status = status or c._status
  if headers == nil then
    return lean(status, body, content_type)
  end
  return response.raw(status, with_headers(c, what, content_type, headers), body)
end

--- Answers with JSON.
--- @param value any What `json.encode` takes.
--- @param status? integer 200 unless told.
--- @param headers? table<string, string|number|(string|number)[]>
--- @return buntime.Response
function Context:json(value, status, headers)
  if status or headers then
    return make(self, "json", "application/json", encode(value, self), status, headers)
  end
  return lean(self._status, encode(value, self), "application/json")
end

local function to_text(c, what, value)
  local kind = type(value)
  if kind == "number" or kind == "boolean" then
    return tostring(value)
  elseif kind ~= "string" then
    misuse(c, what, "the body must be a string, got %s", kind)
  end
  return value
end

--- @param text string
--- @param status? integer
--- @param headers? table
--- @return buntime.Response
function Context:text(text, status, headers)
  text = to_text(self, "text", text)
  return make(self, "text", "text/plain; charset=utf-8", text, status, headers)
end

--- @param html string
--- @param status? integer
--- @param headers? table
--- @return buntime.Response
function Context:html(html, status, headers)
  html = to_text(self, "html", html)
  return make(self, "html", "text/html; charset=utf-8", html, status, headers)
end

--- Answers with bytes. Says nothing about their type; `headers` may.
--- @param body? string
--- @param status? integer
--- @param headers? table
--- @return buntime.Response
function Context:body(body, status, headers)
  body = body ~= nil and to_text(self, "body", body) or nil
  return make(self, "body", nil, body, status, headers)
end

local function check_writer(c, what, fn)
  if type(fn) ~= "function" then
    misuse(c, what, "expected a function, got %s", type(fn))
  end
end

--- Answers with what `fn` writes, while it writes. Once the head is out an error in it cuts the connection.
---
---     return c:stream(function(s)
---       for line in lines() do s:write(line) end
---     end, "text/csv")
--- @param fn fun(s: buntime.Stream)
--- @param content_type? string "text/plain; charset=utf-8" unless told.
--- @param status? integer
--- @param headers? table
--- @return buntime.Response
function Context:stream(fn, content_type, status, headers)
  check_writer(self, "stream", fn)
  local res = make(self, "stream", content_type or "text/plain; charset=utf-8", nil, status, headers)
  res.source = require("buntime.stream").new(fn)
  return res
end

--- @class buntime.SseOptions
--- @field heartbeat? number Seconds between the comments of an idle stream; 15 unless told.

--- Answers with server-sent events, for as long as `fn` runs and the client stays.
---
---     return c:sse(function(s)
---       while not s.closed do
---         s:send({ data = os.time(), event = "tick" })
---         buntime.sleep(1)
---       end
---     end)
--- @param fn fun(s: buntime.Stream)
--- @param options? buntime.SseOptions
--- @return buntime.Response
function Context:sse(fn, options)
  check_writer(self, "sse", fn)
  local heartbeat = options and options.heartbeat
  if heartbeat ~= nil and (type(heartbeat) ~= "number" or heartbeat <= 0) then
    misuse(self, "sse", "heartbeat must be a number of seconds above 0, got %s", tostring(heartbeat))
  end
  local res = make(self, "sse", "text/event-stream", nil)
  res.headers["cache-control"] = "no-cache"
  res.headers["x-accel-buffering"] = "no"
  res.source = require("buntime.stream").events(fn, self.req:header("last-event-id"), heartbeat)
  return res
end

--- @class buntime.FileOptions
--- @field type? string Its content type; else that of its name.
--- @field download? string The name under which a browser saves it.
--- @field headers? table

--- Answers with a file of the plugin's folder or its data folder, with ETag and ranges; 404 when there is
--- none, or when the path leaves the folder or has a part that begins with a dot.
---
---     return c:file("public/" .. c.req:param("*"))
--- @param path string Relative to either folder.
--- @param options? buntime.FileOptions
--- @return buntime.Response
function Context:file(path, options)
  if type(path) ~= "string" then
    misuse(self, "file", "path must be a string, got %s", type(path))
  end
  options = options or {}
  local source = require("buntime.wait")(require("buntime.core.file").open)(path)
  if not source then
    return self:not_found()
  end
  local res = make(self, "file", options.type, nil, 200, options.headers)
  if options.download then
    local name = options.download:gsub('[%c"\\]', "_")
    res.headers["content-disposition"] = ('attachment; filename="%s"'):format(name)
  end
  res.source = source
  return res
end

--- @param location string
--- @param status? integer 302 unless told.
--- @return buntime.Response
function Context:redirect(location, status)
  status = status == nil and 302 or check_status(self, "redirect", status)
  if status < 300 or status > 399 then
    misuse(self, "redirect", "status must be from 300 to 399, got %d", status)
  end
  local key, text = core.check_header("location", location)
  if not key then
    misuse(self, "redirect", "%s", text)
  end
  return response.raw(status, { location = text })
end

--- Answers 404, as the router's `not_found` says.
--- @return buntime.Response
function Context:not_found()
  local route = self._route
  if route and route.not_found then
    return route.not_found(self)
  end
  return response.error(404, "NOT_FOUND", "Not Found", self.req.id)
end

--- Where headers go now: into the response if there is one, else into the one to come.
local function target(c)
  if c.res then
    return c.res.headers
  end
  c._headers = c._headers or setmetatable({}, headers_meta)
  return c._headers
end

local function append(headers, key, value)
  local old = headers[key]
  if old == nil then
    headers[key] = value
  elseif type(old) == "table" then
    old[#old + 1] = value
  else
    headers[key] = { old, value }
  end
end

--- Sets a header of the response.
--- @param name string
--- @param value? string|number nil takes it away.
--- @param add? boolean Adds a further one instead of replacing.
function Context:header(name, value, add)
  local key, text = core.check_header(name, value == nil and "" or value)
  if not key then
    misuse(self, "header", "%s", text)
  end
  if value == nil then
    target(self)[key] = nil
  elseif add then
    append(target(self), key, text)
  else
    target(self)[key] = text
  end
end

--- Sets the status of the response.
--- @param status integer 200 to 599.
function Context:status(status)
  check_status(self, "status", status)
  if self.res then
    self.res.status = status
  else
    self._status = status
  end
end

--- Sets a cookie.
---
---     c:cookie("session", id, { max_age = 3600, http_only = true, same_site = "Lax" })
--- @param name string
--- @param value string|number|nil nil deletes it (with the path and domain it was set with).
--- @param options? buntime.CookieOptions
function Context:cookie(name, value, options)
  local text, problem = cookie.serialize(name, value, options)
  if not text then
    misuse(self, "cookie", "%s", problem)
  end
  append(target(self), "set-cookie", text)
end

--- Keeps a value in `c.var` for those who come later.
function Context:set(name, value)
  self.var[name] = value
end

--- @return any
function Context:get(name)
  return self.var[name]
end

--- Puts what was set before into a response. What the response says itself wins, but cookies add up.
local function add_pending(c, res)
  local headers = res.headers
  for name, value in pairs(c._headers) do
    if rawget(headers, name) == nil then
      headers[name] = value
    elseif name == "set-cookie" then
      for _, item in ipairs(type(value) == "table" and value or { value }) do
        append(headers, name, item)
      end
    end
  end
  c._headers = false
end

--- Blames a handler for what it returned.
local function refuse(c, fn, problem)
  local route = c._route and c._route.name or "?"
  error(("%s%s %s"):format(blame.definition(fn), route, problem), 0)
end

local EXPECTED = " (expected a response such as c:json(value), a string, a table, or status and body)"

local function from_status(c, fn, status, body)
  if getmetatable(body) == response_meta then
    body.status = status
    return body
  elseif body == nil then
    return response.raw(status, {}, nil)
  elseif type(body) == "string" or type(body) == "number" then
    return make(c, "", "text/plain; charset=utf-8", tostring(body), nil, nil)
  elseif type(body) == "table" then
    return make(c, "", "application/json", encode(body, c), nil, nil)
  end
  refuse(c, fn, ("returned a status and a %s as its body"):format(type(body)) .. EXPECTED)
end

--- A response of whatever a handler may return.
local function convert(c, fn, value, more)
  local kind = type(value)
  if kind == "number" then
    local res = from_status(c, fn, value, more)
    res.status = value
    return res
  elseif more ~= nil then
    refuse(c, fn, ("returned a %s and a %s"):format(kind, type(more)) .. EXPECTED)
  elseif kind == "string" then
    return make(c, "", "text/plain; charset=utf-8", value, nil, nil)
  elseif kind == "table" then
    return make(c, "", "application/json", encode(value, c), nil, nil)
  elseif kind ~= "nil" then
    refuse(c, fn, ("returned a %s"):format(kind) .. EXPECTED)
  end
  local res = response.looks_like(c.res) and response.from(c.res, nil, "c.res")
  if not res then
    refuse(c, fn, "returned nothing, and c.res is not set" .. EXPECTED)
  end
  return res
end

--- Makes the response of what the handler or middleware `fn` returned.
--- @param c buntime.Context
--- @param fn function
--- @param value any
--- @param more any
--- @return buntime.Response
function M.settle(c, fn, value, more)
  local res = value
  if getmetatable(value) ~= response_meta or more ~= nil then
    res = convert(c, fn, value, more)
  end
  local status = res.status
  if status ~= 200 and not is_status(status) and not (status == 101 and res.source) then
    local problem = "answered with status %s (an integer from 200 to 599 was expected)"
    refuse(c, fn, problem:format(tostring(status)))
  end
  if c._headers then
    add_pending(c, res)
  end
  return res
end

--- The same for a middleware, which may also leave the answer to the rest of the chain.
function M.settle_middleware(c, fn, value, more)
  if value == nil and more == nil then
    refuse(c, fn, "stands in the way: a middleware neither returned a response nor called next()")
  end
  return M.settle(c, fn, value, more)
end

--- The answer to an error that carries a status, or nil.
--- @param c buntime.Context
--- @param err any
--- @return buntime.Response?
function M.answer_error(c, err)
  if not errors.is(err) then
    return nil
  end
  local code = type(err.code) == "string" and err.code or errors.code(err.status)
  local res = response.error(err.status, code, tostring(err.message or code), c.req.id)
  if c._headers then
    add_pending(c, res)
  end
  return res
end

M.class = Context

return M
