--- HTTP requests to other servers.
---
---     local fetch = require("buntime.fetch")
---     local res, message, code = fetch("https://api.example.com/todos", { json = { title = "write" } })
---     if not res then
---       return c:error(502, code, message)
---     end
---     return c:json(res:json())
---
--- It waits without holding up the server; a task that is cancelled ends the transfer. Connections are kept
--- alive and shared by all plugins. Certificates are verified. Proxies are those of the environment
--- (`https_proxy`, `http_proxy`, `no_proxy`). The id of the request that is being answered goes along as
--- X-Request-Id. Compressed answers are unpacked, unless the caller gives an `accept-encoding` of its own.
---
--- Any status is a response. Without one: nil, a message without credentials and query, and a code:
--- CONNECTION_REFUSED, CONNECTION_FAILED, CONNECTION_CLOSED, DNS_FAILED, TLS_FAILED, TIMEOUT,
--- TOO_MANY_REDIRECTS, REDIRECT_FAILED, BODY_TOO_LARGE, BAD_RESPONSE, INVALID_URL, FETCH_LIMIT, FETCH_FAILED.

local core = require("buntime.core.fetch")
local blame = require("buntime.blame")
local json = require("buntime.core.json")
local response = require("buntime.response")

local wait = require("buntime.wait")(core.wait)

local TIMEOUT, REDIRECTS, MAX_SIZE = 30, 10, 64 * 1024 * 1024
local REDIRECTS_MOST, TIMEOUT_MOST = 50, 1e6

--- @class buntime.FetchOptions
--- @field method? string "GET" unless told; "POST" with a body.
--- @field headers? table<string, string|number|(string|number)[]>
--- @field body? string|fun(): string? A function gives pieces, then nil; it may wait.
--- @field json? any Encoded as the body, with its content type.
--- @field timeout? number|false Seconds for everything, of a stream seconds without a byte; 30 unless told.
--- @field redirect? integer|false How many redirects are followed, 10 unless told; false: they are responses.
--- @field stream? boolean Return once the headers are there; the body is read piece by piece.
--- @field max_size? integer|string Bytes of the unpacked body, or "10mb"; 64 MB unless told, for a stream
---   no limit.

-- Responses ------------------------------------------------------------------------------------------

--- @class buntime.FetchResponse
--- @field status integer
--- @field headers table<string, string|string[]> Names are in lower case; a list where one was repeated.
--- @field url string Where it came from, after redirects; without credentials and fragment.
--- @field body? string Of a stream nil, until `text` or `json` has read it.
--- @field transfer? userdata While there is something to read.
--- @field problem? { [1]: string, [2]: string } Why reading ended.
local Response = {}
Response.__index = Response

--- What `chunks` raises.
--- @class buntime.FetchError
--- @field code string
--- @field message string
local failure_meta = {
  __tostring = function(failure)
    return failure.code .. ": " .. failure.message
  end,
}

--- Ends reading, for the reason given if there is one.
local function stop(res, message, code)
  local transfer = res.transfer
  res.transfer = nil
  if transfer then
    core.close(transfer)
  end
  if message then
    res.problem = { message, code }
  end
  return nil, message, code
end

--- The next piece of the body. Waits until there is one; what is not read is not received.
--- @return string? chunk nil at the end
--- @return string? message
--- @return string? code As from fetch; "CLOSED" after `close`.
function Response:read()
  if self.problem then
    return nil, unpack(self.problem)
  elseif not self.transfer then
    return nil
  end
  wait(self.transfer, "bytes")
  local bytes, message, code = core.take(self.transfer)
  if bytes and bytes ~= "" then
    return bytes
  end
  return stop(self, message, code)
end

--- The body piece by piece. A failure on the way raises a table with `code` and `message`.
---
---     for chunk in res:chunks() do
---       s:write(chunk)
---     end
--- @return fun(): string?
function Response:chunks()
  local body = self.body
  return function()
    if body then
      local whole = body
      body = ""
      return whole ~= "" and whole or nil
    end
    local chunk, message, code = self:read()
    if message then
      error(setmetatable({ code = code, message = message }, failure_meta), 0)
    end
    return chunk
  end
end

local function read_all(res)
  local pieces, size = {}, 0
  while true do
    local chunk, message, code = res:read()
    if message then
      return nil, message, code
    elseif not chunk then
      return table.concat(pieces)
    end
    size = size + #chunk
    if size > MAX_SIZE then
      local problem = "the body has more than %d bytes; read it with chunks()"
      return stop(res, problem:format(MAX_SIZE), "BODY_TOO_LARGE")
    end
    pieces[#pieces + 1] = chunk
  end
end

--- The body. Of a stream: reads what is left of it.
--- @return string? text
--- @return string? message
--- @return string? code
function Response:text()
  if self.body then
    return self.body
  end
  local text, message, code = read_all(self)
  self.body = text
  return text, message, code
end

--- The body's value; `null` is `json.null`.
--- @return any value
--- @return string? message
--- @return string? code As from fetch, or "INVALID_JSON".
function Response:json()
  local text, message, code = self:text()
  if not text then
    return nil, message, code
  end
  return json.decode(text)
end

--- Ends a stream early. Leaving the loop over `chunks` does not.
function Response:close()
  if self.transfer then
    stop(self, "the response was closed", "CLOSED")
  end
end

local function whole_response(transfer)
  local message, code = core.failed(transfer)
  if message then
    core.close(transfer)
    return nil, message, code
  end
  local status, headers, url = core.head(transfer)
  local body = core.take(transfer)
  core.close(transfer)
  return setmetatable({ status = status, headers = headers, url = url, body = body }, Response)
end

local function streamed_response(transfer)
  local status, headers, url = core.head(transfer)
  if not status then
    core.close(transfer)
    return nil, headers, url -- message, code
  end
  return setmetatable({ status = status, headers = headers, url = url, transfer = transfer }, Response)
end

-- Options --------------------------------------------------------------------------------------------

local KNOWN = {
  method = true,
  headers = true,
  body = true,
  json = true,
  timeout = true,
  redirect = true,
  stream = true,
  max_size = true,
}

local function misuse(problem, ...)
  blame.raise_outside("fetch: " .. problem:format(...))
end

local function check_options(options)
  if type(options) ~= "table" then
    misuse("the second argument must be a table, got %s", type(options))
  end
  for key in pairs(options) do
    if not KNOWN[key] then
      local names = "method, headers, body, json, timeout, redirect, stream, max_size"
      misuse("%q is not known (known: %s)", tostring(key), names)
    end
  end
end

--- @return string|function|nil body, boolean is_json
local function body_of(options)
  local body = options.body
  if options.json ~= nil then
    if body ~= nil then
      misuse("give either body or json")
    end
    return json.encode(options.json), true
  end
  if body ~= nil and type(body) ~= "string" and type(body) ~= "function" then
    misuse("body must be a string or a function that gives strings, got %s (for tables: json)", type(body))
  end
  return body, false
end

local function method_of(options, body)
  local method = options.method
  if method == nil then
    return body and "POST" or "GET"
  end
  if type(method) ~= "string" or not method:find("^[%w!#$%%&'*+.^_`|~-]+$") then
    misuse("method must be the name of an HTTP method, got %s", tostring(method))
  end
  method = method:upper()
  if method == "CONNECT" or method == "TRACE" then
    misuse("the method %s cannot be used", method)
  elseif method == "HEAD" and body then
    misuse("a HEAD request has no body")
  end
  return method
end

--- @return table<string, string|string[]> headers checked, names in lower case
local function headers_of(options, is_json)
  if options.headers ~= nil and type(options.headers) ~= "table" then
    misuse("headers must be a table, got %s", type(options.headers))
  end
  local ok, headers = pcall(response.add_headers, {}, options.headers or {})
  if not ok then
    misuse("%s", headers)
  elseif headers["transfer-encoding"] then
    misuse("the header transfer-encoding is made by the body")
  end
  if is_json and not headers["content-type"] then
    headers["content-type"] = "application/json"
  end
  return headers
end

--- Takes content-length out: a string knows its length, a function may promise one.
local function promised_size(headers, body)
  local text = headers["content-length"]
  headers["content-length"] = nil
  if type(body) ~= "function" or text == nil then
    return -1
  end
  local size = type(text) == "string" and text:find("^%d+$") and tonumber(text)
  if not size or size > 2 ^ 53 then
    misuse("content-length must be a number of bytes, got %s", tostring(text))
  end
  return size
end

--- As C takes them: { name, value, name, value, … }.
local function flatten(headers)
  local flat, n = {}, 0
  for name, value in pairs(headers) do
    for _, item in ipairs(type(value) == "table" and value or { value }) do
      flat[n + 1], flat[n + 2] = name, item
      n = n + 2
    end
  end
  return flat
end

local function number_of(options, key, default, least, most)
  local value = options[key]
  if value == nil then
    return default
  end
  if type(value) ~= "number" or value ~= value or value < least or value > most then
    misuse("%s must be a number from %g to %g or false, got %s", key, least, most, tostring(value))
  end
  return value
end

local function timeout_of(options)
  return options.timeout == false and 0 or number_of(options, "timeout", TIMEOUT, 0.001, TIMEOUT_MOST)
end

local function redirects_of(options)
  return options.redirect == false and -1 or number_of(options, "redirect", REDIRECTS, 0, REDIRECTS_MOST)
end

local function max_size_of(options)
  local value = options.max_size
  if value == nil then
    return options.stream and -1 or MAX_SIZE
  end
  local size = type(value) == "string" and core.size(value) or value
  if type(size) ~= "number" or size ~= size or size < 0 then
    misuse("max_size must be a number of bytes or a size like 10mb, got %s", tostring(value))
  end
  return size
end

-- Requests -------------------------------------------------------------------------------------------

--- One piece; `sent` bytes have gone, of `size` promised ones.
local function next_piece(pieces, sent, size)
  local piece = pieces()
  if piece ~= nil and type(piece) ~= "string" then
    misuse("the function given as body must return strings and then nil, it returned a %s", type(piece))
  end
  sent = sent + #(piece or "")
  if size >= 0 and (sent > size or not piece and sent < size) then
    misuse("content-length says %d bytes, the function given as body gave %d", size, sent)
  end
  return piece, sent
end

--- Sends what the function gives until it or the server has enough.
local function send_pieces(transfer, pieces, size)
  local total = 0
  repeat
    local ok, piece, sent = pcall(next_piece, pieces, total, size)
    if not ok then
      core.close(transfer)
      error(piece, 0)
    end
    total = sent
    local wanted = core.send(transfer, piece)
    if wanted and piece then
      wait(transfer, "sent")
    end
  until not piece or not wanted
end

--- @param url string http or https; `user:password@` is used and never told.
--- @param options? buntime.FetchOptions
--- @return buntime.FetchResponse? res
--- @return string? message
--- @return string? code
local function fetch(url, options)
  options = options or {}
  if type(url) ~= "string" then
    misuse("url must be a string, got %s", type(url))
  end
  check_options(options)
  local body, is_json = body_of(options)
  local method = method_of(options, body)
  local headers = headers_of(options, is_json)
  local size = promised_size(headers, body)
  local pieces = type(body) == "function" and body or nil
  local transfer, message, code = core.open(
    url,
    method,
    flatten(headers),
    pieces and true or body,
    size,
    options.stream,
    timeout_of(options),
    redirects_of(options),
    max_size_of(options)
  )
  if not transfer then
    return nil, message, code
  end
  if pieces then
    send_pieces(transfer, pieces, size)
  end
  wait(transfer, options.stream and "head" or "done")
  return (options.stream and streamed_response or whole_response)(transfer)
end

return fetch
