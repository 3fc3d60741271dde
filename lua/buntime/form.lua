--- Forms: `multipart/form-data` taken apart, and what becomes of its files.

local core = require("buntime.core.multipart")
local blame = require("buntime.blame")
local errors = require("buntime.error")
local spool = require("buntime.wait")(core.spool)

local M = {
  boundary = core.boundary,
  parse = core.parse,
  basename = core.basename,
}

--- @class buntime.File
--- @field name string The field's name.
--- @field filename string The file's own, without folders; "" if it has none that could be used.
--- @field type string "application/octet-stream" unless the client said.
--- @field size integer Bytes.
--- @field data? string What is in it, unless it is on disk.
--- @field path? string Where it is in the data folder, on disk.
local File = {}
File.__index = File

--- Keeps the file beyond the request, under a name of yours. What has that name is replaced.
--- @param path string In the data folder; the folder that it is in has to be there.
--- @return boolean? ok
--- @return string? message
--- @return string? code
function File:move(path)
  local fs = require("buntime.fs")
  if not self.path then
    return fs.write(path, self.data)
  end
  local ok, message, code = fs.rename(self.path, path)
  if ok then
    self.path = path
  end
  return ok, message, code
end

--- @class buntime.FilesOptions
--- @field to? "memory"|"disk" Where the files go; memory unless told.
--- @field max_files? integer
--- @field max_file_size? integer Bytes.
--- @field max_total? integer Bytes of all files together.

local KNOWN = { max_files = true, max_file_size = true, max_total = true }

--- @param options any
--- @return buntime.FilesOptions
function M.check_options(options)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    blame.raise_outside(("req:files: options must be a table, got %s"):format(type(options)))
  end
  for key, value in pairs(options) do
    if key == "to" then
      if value ~= "memory" and value ~= "disk" then
        blame.raise_outside(('req:files: to must be "memory" or "disk", got %s'):format(tostring(value)))
      end
    elseif not KNOWN[key] then
      local message = "req:files: %q is not known (known: to, max_files, max_file_size, max_total)"
      blame.raise_outside(message:format(tostring(key)))
    elseif type(value) ~= "number" or value ~= value or value < 0 then
      blame.raise_outside(("req:files: %s must be a number, got %s"):format(key, tostring(value)))
    end
  end
  return options
end

local function too_large(...)
  error(errors.new(413, "UPLOAD_TOO_LARGE", string.format(...)), 0)
end

--- @param files buntime.File[]
--- @param options buntime.FilesOptions
local function check_limits(files, options)
  local total = 0
  if #files > (options.max_files or math.huge) then
    too_large("%d files were sent, at most %d are taken", #files, options.max_files)
  end
  for _, file in ipairs(files) do
    total = total + file.size
    if file.size > (options.max_file_size or math.huge) then
      too_large("a file has %d bytes, at most %d are taken", file.size, options.max_file_size)
    end
  end
  if total > (options.max_total or math.huge) then
    too_large("the files have %d bytes, at most %d are taken", total, options.max_total)
  end
end

--- The files among the parts. A file input that was left empty is sent as a file without a name.
local function list(parts)
  local files = {}
  for _, part in ipairs(parts) do
    local size = part.size or part.data and #part.data
    if part.filename and not (part.filename == "" and size == 0) then
      files[#files + 1] = setmetatable({
        name = part.name,
        filename = core.basename(part.filename),
        type = part.type or "application/octet-stream",
        size = size,
        data = part.data,
        offset = part.offset,
      }, File)
    end
  end
  return files
end

--- What `req:files(options)` gives.
--- @param req buntime.Request
--- @param parts buntime.FormPart[]
--- @param options buntime.FilesOptions
--- @return buntime.File[]
function M.files(req, parts, options)
  local files = list(parts)
  check_limits(files, options)
  for _, file in ipairs(files) do
    if options.to == "disk" then
      local path, message, code = spool(req, file.offset, file.size)
      if not path then
        error(errors.new(500, code, message), 0)
      end
      file.path = path
    end
    file.offset = nil
  end
  return files
end

return M
