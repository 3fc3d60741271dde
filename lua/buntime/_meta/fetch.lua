--- @meta buntime.core.fetch
--- Implemented in runtime/bind/bind_fetch.c; for the function that waits see buntime.wait.

local fetch = {}

--- Begins a request. Headers are { name, value, name, value, … }, checked.
--- @param url string
--- @param method string In upper case.
--- @param headers string[]
--- @param body? string|boolean true: it comes by `send`.
--- @param body_size number Of what comes by `send`; negative: not known.
--- @param stream? boolean
--- @param timeout number Seconds; 0: none.
--- @param redirects number Negative: they are not followed.
--- @param max_size number Bytes; negative: no limit.
--- @return userdata? transfer
--- @return string? message
--- @return string? code
function fetch.open(url, method, headers, body, body_size, stream, timeout, redirects, max_size) end

--- Waits for what is named, or for the end.
--- @param transfer userdata
--- @param what "head"|"done"|"bytes"|"sent"
--- @return boolean ok
--- @return string? message
function fetch.wait(transfer, what) end

--- @param transfer userdata
--- @return integer? status
--- @return table<string, string|string[]>|string headers The message if there is no response.
--- @return string url The code if there is no response.
function fetch.head(transfer) end

--- @param transfer userdata
--- @return string? bytes What was received since; "" at the end.
--- @return string? message
--- @return string? code
function fetch.take(transfer) end

--- @param transfer userdata
--- @return string? message nil: it has not failed.
--- @return string? code
function fetch.failed(transfer) end

--- @param transfer userdata
--- @param bytes? string nil ends the body.
--- @return boolean wanted Whether the server takes more.
function fetch.send(transfer, bytes) end

--- @param transfer userdata
function fetch.close(transfer) end

--- @param text string "10mb"
--- @return integer? bytes
function fetch.size(text) end

return fetch
