--- Responses: plain tables `{ status, headers, body }` that a handler or hook returns.
---
---     Response.new("no", { status = 403, headers = { ["X-Reason"] = "blocked" } })
---     Response.json({ ok = true })

local core = require("buntime.core.request")
local json = require("buntime.core.json")
local blame = require("buntime.later")("buntime.blame")

local encode, decode = json.encode, json.decode
local lower = string.lower

--- The metatables are made in C, which gives them to the responses that hooks see.
local meta, headers_meta = core.response_meta, core.headers_meta

--- Header names in any case; kept in lower case.
function headers_meta.__index(headers, name)
  return type(name) == "string" and rawget(headers, lower(name)) or nil
end

function headers_meta.__newindex(headers, name, value)
  rawset(headers, type(name) == "string" and lower(name) or name, value)
end

--- @class buntime.Response
--- @field status integer 200 to 599.
--- @field headers table<string, string|string[]> Lower-case names; a list where a header repeats.
--- @field body? string
--- @field source? userdata A stream or a file, in place of the body.
--- @field private _type? string The content type, as long as nobody asked for the headers.
local methods = {}

--- Most answers have one header that nobody looks at: the table of them is made when somebody does.
function meta.__index(res, key)
  if key ~= "headers" then
    return methods[key]
  end
  local headers = setmetatable({ ["content-type"] = rawget(res, "_type") }, headers_meta)
  rawset(res, "headers", headers)
  return headers
end

--- @return string
function methods:text()
  return self.body or ""
end

--- Decodes the body. Raises if it is not JSON.
--- @return any
function methods:json()
  local value, message = decode(self.body or "")
  if message then
    blame.raise("response:json(): " .. message)
  end
  return value
end

--- @class buntime.ResponseOptions
--- @field status? integer 200 unless told.
--- @field headers? table<string, string|number|(string|number)[]>

--- @class buntime.response
local M = { meta = meta, headers_meta = headers_meta }

--- Whether a value was made by this module (or by `c:json` and its like).
--- @return boolean
function M.is(value)
  return getmetatable(value) == meta
end

local function check_header(name, value, handler)
  local key, text = core.check_header(name, value)
  if not key then
    blame.raise(text, handler)
  end
  return key, text
end

--- Adds the headers of `from` to `into`, each checked.
--- @param into table
--- @param from table
--- @param handler? function Whom to blame when the caller is not known.
--- @return table into
function M.add_headers(into, from, handler)
  for name, value in pairs(from) do
    if type(value) == "table" then
      local list = {}
      for i = 1, #value do
        name, list[i] = check_header(name, value[i], handler)
      end
      into[name] = list
    else
      local key, text = check_header(name, value, handler)
      into[key] = text
    end
  end
  return into
end

--- Makes a response without looking at anything.
--- @return buntime.Response
function M.raw(status, headers, body)
  local res = { status = 0, headers = 0, body = 0 } -- constants: see context.new
  res.status, res.headers, res.body = status, setmetatable(headers, headers_meta), body
  return setmetatable(res, meta)
end

local function misuse(what, problem, ...)
  blame.raise(what .. ": " .. problem:format(...))
end

--- For `encode`, about a value that is no JSON.
local misfits = {
  _misfit = function(_, message)
    blame.raise_from_c(message)
  end,
}

local function make(what, body, content_type, options)
  local headers = setmetatable({ ["content-type"] = content_type }, headers_meta)
  local status = 200
  if options ~= nil then
    if type(options) ~= "table" then
      misuse(what, "options must be a table, got %s", type(options))
    end
    status = options.status == nil and 200 or options.status
    if type(status) ~= "number" or status % 1 ~= 0 or status < 200 or status > 599 then
      misuse(what, "status must be an integer from 200 to 599, got %s", tostring(status))
    end
    if options.headers ~= nil and type(options.headers) ~= "table" then
      misuse(what, "headers must be a table, got %s", type(options.headers))
    end
    M.add_headers(headers, options.headers or {})
  end
  return M.raw(status, headers, body)
end

--- @param body? string Sent as it is. Text, unless the headers say otherwise.
--- @param options? buntime.ResponseOptions
--- @return buntime.Response
function M.new(body, options)
  if type(body) == "number" then
    body = tostring(body)
  elseif body ~= nil and type(body) ~= "string" then
    misuse("Response.new", "body must be a string, got %s (for JSON: Response.json)", type(body))
  end
  return make("Response.new", body, body and "text/plain; charset=utf-8", options)
end

--- @param value any What `json.encode` takes.
--- @param options? buntime.ResponseOptions
--- @return buntime.Response
function M.json(value, options)
  return make("Response.json", encode(value, misfits), "application/json", options)
end

local function is_status(value)
  return type(value) == "number" and value % 1 == 0
end

--- Whether a value is a response, or a plain table that is one: `{ status = 403, body = "no" }`.
--- @param value any
--- @return boolean
function M.looks_like(value)
  return type(value) == "table" and (getmetatable(value) == meta or is_status(rawget(value, "status")))
end

--- A body of whatever kind, with its content type.
local function with_body(what, status, headers, body)
  local options = { status = status, headers = headers }
  local kind = type(body)
  if kind == "table" then
    return make(what, encode(body, misfits), "application/json", options)
  elseif kind == "string" or kind == "number" then
    return make(what, tostring(body), "text/plain; charset=utf-8", options)
  elseif body ~= nil then
    misuse(what, "the body must be a string or a table, got %s", kind)
  end
  return make(what, nil, nil, options)
end

--- Makes a response of what a function without a context returned: a response, a plain table that is one,
--- a string, a table (JSON), or a status and a body.
--- @param value any
--- @param body? any
--- @param what string Whose value it is, for errors.
--- @return buntime.Response
function M.from(value, body, what)
  local kind = type(value)
  if kind == "number" then
    if getmetatable(body) == meta then
      body.status = value
      return body
    end
    return with_body(what, value, nil, body)
  elseif M.looks_like(value) then
    if getmetatable(value) == meta then
      return value
    end
    return with_body(what, value.status, value.headers, value.body)
  elseif kind == "string" or kind == "table" then
    return with_body(what, 200, nil, value)
  end
  return misuse(what, "expected a response, a string, a table, or status and body, got %s", kind)
end

--- The error shape that all of buntime answers with.
--- @param status integer
--- @param code string
--- @param message string
--- @param request_id? string
--- @return buntime.Response
function M.error(status, code, message, request_id)
  local body = require("buntime.error").body(code, message, request_id)
  return M.raw(status, { ["content-type"] = "application/json" }, body)
end

return M
