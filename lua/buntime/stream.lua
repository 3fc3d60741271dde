--- Streams: bodies that a function writes piece by piece while they are sent.

local core = require("buntime.core.stream")
local blame = require("buntime.blame")
local format_event = require("buntime.sse")
local awaitable = require("buntime.wait")

local write = awaitable(core.write)

--- Seconds between the comments that keep an idle event stream from being taken for dead.
local HEARTBEAT = 15

--- @class buntime.Stream
--- @field closed boolean Whether the client is gone, or the stream was ended.
--- @field last_event_id? string Of an event stream: what the client has seen last.
local Stream = core.methods

local M = {}

local function put(stream, bytes)
  if write(stream, bytes) then
    return true
  end
  return nil, "the stream is closed", "CLOSED"
end

--- Writes a piece. Waits until the client has taken the one before.
--- @param chunk string|number
--- @return true? written nil when the client is gone
--- @return string? message
--- @return string? code "CLOSED"
function Stream:write(chunk)
  local kind = type(chunk)
  if kind ~= "string" and kind ~= "number" then
    blame.raise_outside(("stream:write: expected a string, got %s"):format(kind))
  end
  return put(self, tostring(chunk))
end

local function check_events(stream, what)
  if not stream.events then
    blame.raise_outside(("stream:%s: this is a plain stream (for events: c:sse)"):format(what))
  end
end

--- Sends an event: its data, or a table of `data`, `event`, `id` and `retry` (milliseconds). Data that is a
--- table is sent as JSON.
--- @param event buntime.Event|string|number
--- @return true? sent nil when the client is gone
--- @return string? message
--- @return string? code "CLOSED"
function Stream:send(event)
  check_events(self, "send")
  local text, problem = format_event.event(event)
  if not text then
    blame.raise_outside("stream:send: " .. problem)
  end
  return put(self, text)
end

--- Sends a comment, which clients ignore.
--- @param text? string
--- @return true? sent
--- @return string? message
--- @return string? code "CLOSED"
function Stream:comment(text)
  check_events(self, "comment")
  return put(self, format_event.comment(text or ""))
end

--- @param fn fun(s: buntime.Stream)
--- @return userdata source
function M.new(fn)
  return core.new(fn, {})
end

--- @param fn fun(s: buntime.Stream)
--- @param last_event_id? string
--- @param heartbeat? number 15 seconds unless told.
--- @return userdata source
function M.events(fn, last_event_id, heartbeat)
  return core.new(fn, { events = true, last_event_id = last_event_id }, heartbeat or HEARTBEAT)
end

return M
