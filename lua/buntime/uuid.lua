--- UUIDs, from the kernel's randomness.

local sys = require("buntime.core.sys")

--- @class buntime.uuid
local M = {}

--- A random one.
--- @type fun(): string
M.v4 = sys.uuid4

--- One that begins with the time: those made by one VM sort in the order they were made.
--- @type fun(): string
M.v7 = sys.uuid7

return M
