--- @meta buntime.core.stream
--- Implemented in runtime/bind/bind_stream.c; buntime.stream has the methods.

local core = {}

--- The body of a response, as its `source`: `fn` is called with it once the head is out.
--- @param fn fun(stream: buntime.Stream)
--- @param fields table What the stream shows besides its methods. It becomes the stream's own.
--- @param heartbeat? number Seconds between comments of an event stream.
--- @return buntime.Stream
function core.new(fn, fields, heartbeat) end

--- Waits until the client took what was written before.
--- @param stream buntime.Stream
--- @param bytes string
--- @return boolean ok
--- @return boolean|string open false when the client is gone; a message if not ok
function core.write(stream, bytes) end

--- The methods of every stream.
--- @type table
core.methods = nil

return core
