--- Archives for specs, written by hand so that they can hold what no program would write. Nothing is
--- compressed.
---
---   archives.tgz({ { "hello/manifest.yaml", "name: hello\n" }, { "link", link = "/etc/passwd" } })

local bit = require("bit")

local M = {}

local band, bnot, bxor, rshift = bit.band, bit.bnot, bit.bxor, bit.rshift

local function crc_table()
  local list = {}
  for i = 0, 255 do
    local c = i
    for _ = 1, 8 do
      c = band(c, 1) == 1 and bxor(rshift(c, 1), 0xEDB88320) or rshift(c, 1)
    end
    list[i] = c
  end
  return list
end

local CRC = crc_table()

local function crc32(text)
  local c = -1
  for i = 1, #text do
    c = bxor(rshift(c, 8), CRC[band(bxor(c, text:byte(i)), 255)])
  end
  return bnot(c)
end

local function le(n, bytes)
  local out = {}
  for i = 1, bytes do
    out[i] = string.char(band(rshift(n, 8 * (i - 1)), 255))
  end
  return table.concat(out)
end

--- @class archives.Entry
--- @field [1] string path; a folder's ends in "/"
--- @field [2]? string content
--- @field link? string what a symbolic link names
--- @field hard? string what a hard link names
--- @field type? string the type of a tar's entry: "3" is a character device, "6" a pipe
--- @field mode? integer

local function field(text, size)
  return text .. ("\0"):rep(size - #text)
end

local function tar_entry(entry)
  local path, content = entry[1], entry[2] or ""
  local kind = entry.type or entry.link and "2" or entry.hard and "1" or path:sub(-1) == "/" and "5" or "0"
  local mode = entry.mode or kind == "5" and 0x1ed or 0x1a4 -- 0755, 0644
  local head = field(path, 100)
    .. ("%07o\0%07o\0%07o\0%011o\0%011o\0"):format(mode, 0, 0, #content, 0)
    .. (" "):rep(8)
    .. kind
    .. field(entry.link or entry.hard or "", 100)
    .. "ustar\00000"
    .. ("\0"):rep(247)
  local sum = 0
  for i = 1, #head do
    sum = sum + head:byte(i)
  end
  head = head:sub(1, 148) .. ("%06o\0 "):format(sum) .. head:sub(157)
  return head .. content .. ("\0"):rep(-#content % 512)
end

--- @param entries archives.Entry[]
--- @return string
function M.tar(entries)
  local out = {}
  for i, entry in ipairs(entries) do
    out[i] = tar_entry(entry)
  end
  return table.concat(out) .. ("\0"):rep(1024)
end

--- @param text string
--- @return string
function M.gzip(text)
  local out = { "\31\139\8\0\0\0\0\0\0\255" }
  for at = 1, math.max(#text, 1), 65535 do
    local block = text:sub(at, at + 65534)
    local last = at + 65535 > #text and 1 or 0
    out[#out + 1] = string.char(last) .. le(#block, 2) .. le(band(bnot(#block), 65535), 2) .. block
  end
  return table.concat(out) .. le(crc32(text), 4) .. le(#text, 4)
end

--- @param entries archives.Entry[]
--- @return string
function M.tgz(entries)
  return M.gzip(M.tar(entries))
end

--- @param entries archives.Entry[] A link's target is its content.
--- @return string
function M.zip(entries)
  local files, directory, at = {}, {}, 0
  for i, entry in ipairs(entries) do
    local path, content = entry[1], entry[2] or entry.link or ""
    local kind = entry.link and 0xa1ff or path:sub(-1) == "/" and 0x41ed or 0x81a4
    local about = le(0, 2) .. le(0, 4) .. le(crc32(content), 4) .. le(#content, 4):rep(2) .. le(#path, 2)
    files[i] = "PK\3\4" .. le(20, 2) .. le(0, 2) .. about .. le(0, 2) .. path .. content
    directory[i] = "PK\1\2"
      .. le(0x314, 2)
      .. le(20, 2)
      .. le(0, 2)
      .. about
      .. le(0, 8)
      .. le(kind * 0x10000, 4)
      .. le(at, 4)
      .. path
    at = at + #files[i]
  end
  local list = table.concat(directory)
  local ending = "PK\5\6" .. le(0, 4) .. le(#entries, 2):rep(2) .. le(#list, 4) .. le(at, 4) .. le(0, 2)
  return table.concat(files) .. list .. ending
end

--- A multipart form with one file, as options of a request.
--- @param name string the file's name
--- @param bytes string
--- @param field_name? string "file"
--- @return http.Request
function M.form(name, bytes, field_name)
  local boundary = "x-boundary-of-a-spec"
  local head = 'Content-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: application/gzip'
  return {
    headers = { ["Content-Type"] = "multipart/form-data; boundary=" .. boundary },
    body = ("--%s\r\n%s\r\n\r\n"):format(boundary, head:format(field_name or "file", name))
      .. bytes
      .. ("\r\n--%s--\r\n"):format(boundary),
  }
end

return M
