--- @meta buntime.core.fs
--- Implemented in runtime/bind/bind_fs.c. Each waits and gives `true` and the answer; `true, nil, message,
--- code` for what failed; `nil, message` for misuse. See buntime.sql.

local fs = {}

--- @param path string
--- @param most integer Bytes.
--- @return boolean? ok
--- @return string? data
--- @return string? message
--- @return string? code
function fs.read(path, most) end

--- @param path string
--- @param data string
--- @return boolean? ok
--- @return boolean? done
--- @return string? message
--- @return string? code
function fs.write(path, data) end

--- @param path string
--- @return boolean? ok
--- @return string[]? names
--- @return string? message
--- @return string? code
function fs.list(path) end

--- @param path string
--- @return boolean? ok
--- @return buntime.FileInfo? info
--- @return string? message
--- @return string? code
function fs.stat(path) end

--- @param path string
--- @param recursive boolean
--- @return boolean? ok
--- @return boolean? done
--- @return string? message
--- @return string? code
function fs.remove(path, recursive) end

--- @param path string
--- @return boolean? ok
--- @return boolean? done
--- @return string? message
--- @return string? code
function fs.mkdir(path) end

--- @param path string
--- @param to string
--- @return boolean? ok
--- @return boolean? done
--- @return string? message
--- @return string? code
function fs.rename(path, to) end

return fs
