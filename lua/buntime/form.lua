--- Forms in memory: `multipart/form-data` taken apart.
---
--- The input is hostile until proven otherwise: the number of parts and the size of their headers are
--- bounded, nothing is searched twice, and a file's name is never more than its last part. Requires nothing.

local M = {}

local find, gsub, lower, match, sub = string.find, string.gsub, string.lower, string.match, string.sub

--- The most parts of one form.
M.MAX_PARTS = 1000
--- The most bytes of one part's headers, and of those of all parts.
M.MAX_PART_HEADERS = 8192
M.MAX_HEADERS = 262144

--- @class buntime.FormPart
--- @field name string
--- @field filename? string The raw name; nil for a field.
--- @field type? string
--- @field data string

--- The boundary of a content type. nil when it has none, or one that RFC 2046 does not allow.
--- @param content_type string
--- @return string?
function M.boundary(content_type)
  local at = find(lower(content_type), ";%s*boundary=")
  if not at then
    return nil
  end
  local value = sub(content_type, (find(content_type, "=", at, true)) + 1)
  local boundary = match(value, '^"([^"]*)"') or match(value, "^[^;%s]+")
  if not boundary or #boundary > 70 or not find(boundary, "^[%w'()+_,./:=? -]+$") then
    return nil
  end
  return boundary
end

--- The end of the quoted string that starts at `from`, behind its quote.
local function quote_end(text, from)
  while true do
    local at = find(text, '["\\]', from)
    if not at then
      return #text + 1
    elseif sub(text, at, at) == '"' then
      return at
    end
    from = at + (find(text, '^["\\]', at + 1) and 2 or 1)
  end
end

--- The parameters of a Content-Disposition. Browsers write a quote as %22, curl as \".
local function parameters(text)
  local out, at = {}, 1
  while true do
    local _, after, name = find(text, "^%s*;%s*([%w*_-]+)%s*=%s*", at)
    if not name then
      return out
    end
    local value, stop
    if sub(text, after + 1, after + 1) == '"' then
      stop = quote_end(text, after + 2)
      value = gsub(sub(text, after + 2, stop - 1), '\\(["\\])', "%1")
    else
      _, stop = find(text, "^[^;%s]*", after + 1)
      value = sub(text, after + 1, stop)
    end
    at = stop + 1
    name = lower(name)
    out[name] = out[name] or value
  end
end

local function unescape(text)
  return (gsub(text, "%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local ESCAPES = { ["22"] = '"', ["0D"] = "\r", ["0d"] = "\r", ["0A"] = "\n", ["0a"] = "\n" }

--- Only what browsers escape.
local function unescape_name(text)
  return (gsub(text, "%%([02][2AaDd])", ESCAPES))
end

--- In two steps: one pattern for both ends takes quadratic time on long runs of spaces.
local function trim(text)
  local first = find(text, "%S")
  return first and match(text, "^.*%S", first) or ""
end

local function read_headers(text)
  local out = {}
  for line in string.gmatch(text .. "\r\n", "(.-)\r\n") do
    local name, value = match(line, "^([%w-]+):(.*)$")
    if name then
      name = lower(name)
      out[name] = out[name] or trim(value)
    end
  end
  return out
end

local function read_part(head, data)
  local headers = read_headers(head)
  local disposition = headers["content-disposition"] or ""
  local rest = match(lower(disposition), "^form%-data()")
  local params = rest and parameters(sub(disposition, rest)) or {}
  if not params.name then
    return nil, "a part has no name"
  end
  local extended = params["filename*"] and match(params["filename*"], "^[Uu][Tt][Ff]%-8'[^']*'(.*)$")
  return {
    name = unescape_name(params.name),
    filename = extended and unescape(extended) or params.filename and unescape_name(params.filename),
    type = headers["content-type"],
    data = data,
  }
end

--- Where the headers of the part behind `at` and its data start. Headers may be missing altogether, so the
--- line end of the boundary counts as the one before the empty line.
--- @return integer? head
--- @return integer|string data Or what is wrong.
local function find_head(body, at)
  local _, line = find(body, "^[ \t]*\r\n", at + 1)
  if not line then
    return nil, "a boundary is not followed by a line end"
  end
  local window = sub(body, line - 1, line + M.MAX_PART_HEADERS)
  local _, stop = find(window, "\r\n\r\n", 1, true)
  if not stop then
    return nil, "the headers of a part do not end"
  end
  return line + 1, line + stop - 1
end

local function first_boundary(body, delimiter)
  local opening = sub(delimiter, 3)
  if sub(body, 1, #opening) == opening then
    return #opening
  end
  local _, at = find(body, delimiter, 1, true)
  return at
end

--- Takes a multipart body apart.
--- @param body string
--- @param boundary string
--- @return buntime.FormPart[]? parts
--- @return string? message
function M.parse(body, boundary)
  local delimiter = "\r\n--" .. boundary
  local at = first_boundary(body, delimiter)
  local parts, headers = {}, 0
  while at and sub(body, at + 1, at + 2) ~= "--" do
    local head, data = find_head(body, at)
    if not head then
      return nil, data
    end
    headers = headers + data - head
    local stop, after = find(body, delimiter, data - 2, true)
    if not stop then
      return nil, "the last boundary is missing"
    elseif #parts == M.MAX_PARTS then
      return nil, ("more than %d parts"):format(M.MAX_PARTS)
    elseif headers > M.MAX_HEADERS then
      return nil, "the headers of the parts are too long"
    end
    local part, problem = read_part(sub(body, head, data - 5), sub(body, data, stop - 1))
    if not part then
      return nil, problem
    end
    parts[#parts + 1] = part
    at = after
  end
  if not at then
    return nil, "the first boundary is missing"
  end
  return parts
end

--- The last part of a file's name, safe to show and to store under: no folder, no control characters, and
--- "" for what would be no name.
--- @param name string
--- @return string
function M.basename(name)
  local base = gsub(match(name, "[^/\\]*$"), "%c", "")
  if base == "." or base == ".." then
    return ""
  end
  return base
end

return M
