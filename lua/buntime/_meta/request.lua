--- @meta buntime.core.request
--- Implemented in runtime/bind/bind_request.c and request_*.c; buntime.request has what needs no C.

local core = {}

--- A request. Fields that are assigned count once a hook returns the request.
--- @class buntime.Request
--- @field method string
--- @field path string Without the plugin's base, still escaped.
--- @field url string Whole, as the client wrote it.
--- @field query string Without "?"; "" if there is none. `req:query(name)` is the first value of that name.
--- @field headers table<string, string> Lower-case names; what repeats is joined with ", ".
--- @field body string
--- @field id string The request id.
--- @field ip string
--- @field scheme "http"|"https"
--- @field authority string
local Request = {}

--- @param name string In any case.
--- @return string?
function Request:header(name) end

--- @param name string
--- @param value string|number|nil nil removes it.
function Request:set_header(name, value) end

--- A parameter of the route, unescaped; "*" is what the wildcard matched.
--- @param name string
--- @return string?
function Request:param(name) end

--- Every value of the query by name.
--- @return table<string, string[]>
function Request:queries() end

--- The class of requests: methods are added to it by buntime.request.
--- @type table
core.class = nil

--- The metatables of responses and of their headers; buntime.response fills them.
--- @type table
core.response_meta = nil
--- @type table
core.headers_meta = nil

--- Makes a request without a socket.
--- @param method string
--- @param target string
--- @param body? string
--- @param headers string[] { name, value, name, value, … }
--- @param ip? string
--- @param id? string
--- @param pieces? integer After so many pieces of a stream its client goes.
--- @return buntime.Request? request nil when the server would refuse the target.
function core.new(method, target, body, headers, ip, id, pieces) end

--- @param value any
--- @return boolean
function core.is(value) end

--- Makes what was assigned to the request part of it. Raises, and changes nothing, if a value would not do.
--- @param req buntime.Request
function core.apply(req) end

--- Makes the response, so far unsent.
--- @param req buntime.Request
--- @param res buntime.Response
function core.respond(req, res) end

--- @param req buntime.Request
--- @return buntime.Response? view nil when there is no response yet.
function core.response_view(req) end

--- Makes a changed view the response. Raises, and changes nothing, if something in it would not do.
--- @param req buntime.Request
--- @param res buntime.Response
function core.apply_response(req, res) end

--- Sends a request made by `new` and waits for the end of its body.
--- @param req buntime.Request
--- @return boolean ok
--- @return string? message
function core.finish(req) end

--- @param req buntime.Request Made by `new`, finished.
--- @return boolean failed Whether its stream was aborted.
--- @return any err What its function raised.
function core.stream_error(req) end

--- @param name any
--- @param value any
--- @return string? name In lower case.
--- @return string text The value, or what is wrong.
function core.check_header(name, value) end

--- @param text string
--- @param most integer
--- @return table<string, string[]>? lists nil when there are more than `most` pairs.
function core.parse_query(text, most) end

--- Resolves %XX, and with `plus` also "+" as a space.
--- @param text string
--- @param plus? boolean
--- @return string
function core.unescape(text, plus) end

return core
