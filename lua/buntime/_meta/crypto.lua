--- @meta buntime.core.crypto
--- Implemented in runtime/bind/bind_crypto.c; digests and signatures are bytes here.

local crypto = {}

--- @alias buntime.Digest "sha256"|"sha1"|"sha384"|"sha512"|"md5"

--- @param algorithm buntime.Digest
--- @param text string
--- @return string bytes
function crypto.digest(algorithm, text) end

--- @param algorithm buntime.Digest
--- @param key string
--- @param text string
--- @return string bytes
function crypto.hmac(algorithm, key, text) end

--- @param count integer
--- @return string bytes
function crypto.random(count) end

--- @param a string
--- @param b string
--- @return boolean
function crypto.equals(a, b) end

--- @param bytes string
--- @param url? boolean
--- @return string
function crypto.base64(bytes, url) end

--- @param text string
--- @param url? boolean
--- @return string? bytes
function crypto.unbase64(text, url) end

--- @param bytes string
--- @return string
function crypto.hex(bytes) end

--- @param text string
--- @return string? bytes
function crypto.unhex(text) end

--- @class buntime.Key

--- @param pem string
--- @param private boolean
--- @return buntime.Key? key
--- @return string? message
function crypto.key(pem, private) end

--- @param algorithm string RS256, PS256, ES256 and so on.
--- @param key buntime.Key
--- @param text string
--- @return string? bytes
--- @return string? message
function crypto.sign(algorithm, key, text) end

--- @param algorithm string
--- @param key buntime.Key
--- @param text string
--- @param signature string
--- @return boolean? valid nil when the key does not fit the algorithm.
--- @return string? message
function crypto.verify(algorithm, key, text, signature) end

return crypto
