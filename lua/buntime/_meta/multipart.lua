--- @meta buntime.core.multipart
--- Implemented in runtime/bind/bind_multipart.c.

local multipart = {}

--- @class buntime.FormPart
--- @field name string
--- @field filename? string The raw name; nil for a field.
--- @field type? string
--- @field data? string
--- @field offset? integer Of a request's file: where it is in the body.
--- @field size? integer

--- The boundary of a content type. nil when it has none, or one that RFC 2046 does not allow.
--- @param content_type string
--- @return string? boundary
function multipart.boundary(content_type) end

--- The last part of a file's name, safe to show and to store under; "" for what would be no name.
--- @param filename string
--- @return string
function multipart.basename(filename) end

--- Takes a body apart. Of a request its files have `offset` and `size`, and no data.
--- @param body string|buntime.Request
--- @param boundary string
--- @return buntime.FormPart[]? parts
--- @return string? message
function multipart.parse(body, boundary) end

--- Puts bytes of the request's body into a temporary file, which goes with the request.
--- @param req buntime.Request
--- @param offset integer
--- @param size integer
--- @return boolean ok
--- @return string? path In the data folder.
--- @return string? message
--- @return string? code
function multipart.spool(req, offset, size) end

return multipart
