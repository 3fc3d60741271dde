--- JSON.
---
--- `[]` decoded and encoded again is `[]`: a decoded array is marked, and stays one when it is empty.
--- A table of your own is an array when its keys are 1 to n, an object when they are strings; an empty
--- one is `{}` unless `json.array` marked it. Numbers that are not 1 to n are the names of an object
--- (`{ [2024] = 1 }` is `{"2024":1}`); mixed keys and lists with holes raise. Metatables are not asked.
--- 64-bit integers of the FFI are written exactly. Nesting ends at 1,000.

local core = require("buntime.core.json")

--- @class buntime.json
local M = {}

--- The text of a value. Raises, with the path of what is wrong, for NaN and infinity, text that is not
--- UTF-8, functions, cycles and the like: `json.encode: a.b[3]: number is NaN`.
--- @type fun(value: any): string
M.encode = core.encode

--- The value of a text, strictly by RFC 8259. `null` is `json.null`, also inside tables.
---
--- For text that is not JSON: nil, a message with path, line and column, and "INVALID_JSON".
--- @type fun(text: string): any, string?, string?
M.decode = core.decode

--- Marks a table, or a new one, as an array and returns it.
---
---     json.encode({ tags = json.array() })  --> {"tags":[]}
--- @type fun(t?: table): table
M.array = core.array

--- Whether a value is a table marked as an array: by `array`, or because it was decoded from one.
--- @type fun(value: any): boolean
M.is_array = core.is_array

--- What `null` is in Lua; the same value as `cjson.null`.
--- @type lightuserdata
M.null = core.null

--- A constant that is written as `[]`.
--- @type lightuserdata
M.empty_array = core.empty_array

return M
