--- The request: what `c.req` is, and what hooks and `fetch` get.
---
--- The object is made in C and read on demand; this adds the methods that need no C.

local core = require("buntime.core.request")
local timer = require("buntime.core.timer")
local json = require("buntime.core.json")
local later = require("buntime.later")
local errors = later("buntime.error")
local cookie = later("buntime.cookie")
local form = later("buntime.form")

--- @class buntime.Request
local Request = core.class

--- The most fields of one form.
local MAX_FIELDS = 10000

--- From so many bytes on decoding takes long enough for others to have a turn before the handler goes on.
local LARGE = 256 * 1024

--- Where the task may not wait (in a function that table.sort calls) there is no turn.
local function give_turn()
  local may_wait, ok, problem = pcall(timer.sleep, 0)
  if may_wait and not ok then
    error(problem, 0) -- the client is gone
  end
end

--- The body as it came.
--- @return string
function Request:text()
  return self.body
end

--- The body as JSON. Raises an error that becomes 400 INVALID_JSON unless it is caught. Waits a turn of the
--- loop when the body is large.
--- @return any
function Request:json()
  local body = self.body
  if body == "" then
    error(errors.new(400, "INVALID_JSON", "the body is empty"), 2)
  end
  local value, message = json.decode(body)
  if message then
    error(errors.new(400, "INVALID_JSON", message), 2)
  end
  if #body > LARGE then
    give_turn()
  end
  return value
end

--- The cookie of that name, decoded.
--- @param name string
--- @return string?
function Request:cookie(name)
  return cookie.get(self:header("cookie"), name)
end

--- @param body string|buntime.Request Of a request, files are told by where they are.
local function parts(body, content_type, level)
  local boundary = form.boundary(content_type)
  if not boundary then
    error(errors.new(400, "INVALID_FORM", "the content type has no valid boundary"), level + 1)
  end
  local list, message = form.parse(body, boundary)
  if not list then
    error(errors.new(400, "INVALID_FORM", message), level + 1)
  end
  return list
end

local function collect(list)
  local lists = {}
  for _, part in ipairs(list) do
    if not part.filename then
      local values = lists[part.name] or {}
      values[#values + 1] = part.data
      lists[part.name] = values
    end
  end
  return lists
end

local function form_lists(req)
  local content_type = req:header("content-type") or ""
  local kind = content_type:lower():match("^%s*([^;%s]*)")
  if kind == "multipart/form-data" then
    return collect(parts(req, content_type, 3))
  elseif kind == "" or kind == "application/x-www-form-urlencoded" then
    local lists = core.parse_query(req.body, MAX_FIELDS)
    if not lists then
      error(errors.new(400, "INVALID_FORM", ("more than %d fields"):format(MAX_FIELDS)), 3)
    end
    return lists
  end
  local message = ("the body is %s, a form was expected"):format(kind)
  error(errors.new(415, "UNSUPPORTED_MEDIA_TYPE", message), 3)
end

--- The fields of a form, urlencoded or multipart: the first value of each, and as a second result a table
--- of lists. Raises an error that becomes 400 INVALID_FORM, or 415 for another kind of body.
--- @return table<string, string> first
--- @return table<string, string[]> all
function Request:form()
  local lists = form_lists(self)
  local first = {}
  for name, values in pairs(lists) do
    first[name] = values[1]
  end
  return first, lists
end

--- The files of a multipart form, in order. Empty for any other body. What is over a limit of the options
--- raises an error that becomes 413 UPLOAD_TOO_LARGE unless it is caught.
---
--- With `to = "disk"` each has a `path` in the plugin's data folder in place of `data`; this waits. The file
--- is removed when the request is over, unless `file:move(path)` or `fs.rename` gave it another name.
--- @param options? buntime.FilesOptions
--- @return buntime.File[]
function Request:files(options)
  options = form.check_options(options)
  local content_type = self:header("content-type") or ""
  if not content_type:lower():find("^%s*multipart/form%-data%f[;%s%z]") then
    return {}
  end
  local body = options.to == "disk" and self or self.body
  return form.files(self, parts(body, content_type, 2), options)
end

--- @class buntime.request
local M = {}

--- Whether a value is a request.
--- @type fun(value: any): boolean
M.is = core.is

return M
