--- @meta buntime.core.websocket
--- Implemented in runtime/bind/bind_websocket.c.

local core = {}

--- The `source` of a response of status 101. `fn` is called for one event after the other.
--- @param fn fun(ws: buntime.WebSocket, event: string, data: any, more: any)
--- @param max_message number Bytes; over it the socket is closed with 1009.
--- @param ping number Seconds; 0: never.
--- @return buntime.WebSocket
function core.new(fn, max_message, ping) end

--- @class buntime.WebSocket
--- @field data any The plugin's own.
--- @field closed boolean
local WebSocket = {}

--- Sends a message. What a slow client has not taken waits, up to 4 MB; then it is cut (1013).
--- @param data string
--- @param binary? boolean
--- @return boolean sent false when the socket is closed
function WebSocket:send(data, binary) end

--- @param code? integer 1000 unless told.
--- @param reason? string At most 123 bytes.
function WebSocket:close(code, reason) end

--- @param topic string
--- @return boolean added
function WebSocket:subscribe(topic) end

--- @param topic string
--- @return boolean removed
function WebSocket:unsubscribe(topic) end

--- Sends to every other socket of the server that has subscribed to the topic.
--- @param topic string
--- @param data string
--- @param binary? boolean
--- @return integer count
function WebSocket:publish(topic, data, binary) end

return core
