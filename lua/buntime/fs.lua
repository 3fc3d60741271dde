--- Files, without holding up the server.
---
---     assert(fs.write("notes/today.txt", "…"))
---     local text, message, code = fs.read("notes/today.txt")
---
--- A path is relative to the plugin's data folder, which survives reloads and upgrades. What reads (`read`,
--- `list`, `stat`) looks in the plugin's own folder when the data folder has no such path; that one is never
--- written to. No path leaves the two: `..`, an absolute path and a link that leads out are EACCES.
---
--- What fails gives nil, a message and a code: ENOENT, EACCES, EEXIST, ENOTDIR, EISDIR, ENOTEMPTY, EFBIG,
--- ENOSPC, …; misuse raises.

local core = require("buntime.core.fs")
local json = require("buntime.core.json")
local sql = require("buntime.sql")

local settle, misuse = sql.settle, sql.misuse

--- @class buntime.fs
local M = {}

local READ_MAX = 64 * 1024 * 1024

local function check_options(what, options, known)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    misuse(what, "options must be a table, got %s", type(options))
  end
  for key in pairs(options) do
    if key ~= known then
      misuse(what, "%q is not known (known: %s)", tostring(key), known)
    end
  end
  return options
end

--- A whole file.
--- @param path string
--- @param options? { max: integer } Bytes that it may have, 64 MB unless told; more is EFBIG.
--- @return string? data, string? message, string? code
function M.read(path, options)
  local max = check_options("fs.read", options, "max").max or READ_MAX
  if type(max) ~= "number" or not (max >= 0 and max <= 2 ^ 31) then
    misuse("fs.read", "max must be a number of bytes up to 2 GB, got %s", tostring(max))
  end
  return settle("fs.read", core.read(path, max))
end

--- Writes a whole file, in one step: a reader sees the old one or the new one, also after a crash. Its folder
--- has to be there.
--- @param path string
--- @param data string
--- @return boolean? ok, string? message, string? code
function M.write(path, data)
  if type(data) ~= "string" then
    misuse("fs.write", "data must be a string, got %s", type(data))
  end
  return settle("fs.write", core.write(path, data))
end

local function mark(names, ...)
  if names then
    return json.array(names)
  end
  return names, ...
end

--- The names in a folder, sorted.
--- @param path? string The folder itself unless told.
--- @return string[]? names, string? message, string? code
function M.list(path)
  return mark(settle("fs.list", core.list(path == nil and "" or path)))
end

--- @class buntime.FileInfo
--- @field type "file"|"directory"|"other"
--- @field size integer Bytes.
--- @field mtime number Seconds since 1970.
--- @field mode integer Permission bits, such as 420 (octal 644).

--- @param path string
--- @return buntime.FileInfo? info, string? message, string? code
function M.stat(path)
  return settle("fs.stat", core.stat(path))
end

--- Removes a file, or a folder that is empty.
--- @param path string
--- @param options? { recursive: boolean } A folder with all that is in it.
--- @return boolean? ok, string? message, string? code
function M.remove(path, options)
  local recursive = check_options("fs.remove", options, "recursive").recursive
  return settle("fs.remove", core.remove(path, recursive == true))
end

--- Gives a file or a folder another name, in one step. A file that has that name is replaced.
--- @param path string
--- @param to string The folder that it is in has to be there.
--- @return boolean? ok, string? message, string? code
function M.rename(path, to)
  if type(to) ~= "string" then
    misuse("fs.rename", "the new path must be a string, got %s", type(to))
  end
  return settle("fs.rename", core.rename(path, to))
end

--- Makes a folder and the folders above it; fine when it is there already.
--- @param path string
--- @return boolean? ok, string? message, string? code
function M.mkdir(path)
  return settle("fs.mkdir", core.mkdir(path))
end

return M
