--- Runs a program as on a kernel that lacks some system calls: they fail with ENOSYS.
---
---   luajit spec/support/lack.lua 444,445 PROGRAM ARGUMENT…
---
--- A filter of its own (seccomp), which the program and its children inherit. 444 to 446 are Landlock's on
--- every architecture.

local bit = require("bit")
local ffi = require("ffi")

ffi.cdef([[
struct lack_step { uint16_t code; uint8_t yes, no; uint32_t value; };
struct lack_program { uint16_t len; struct lack_step *steps; };
int prctl(int option, ...);
int execvp(const char *file, char *const argv[]);
]])

local PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
local LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
local ALLOW, ERRNO, ENOSYS = 0x7fff0000, 0x00050000, 38

local numbers = {}
for number in arg[1]:gmatch("%d+") do
  numbers[#numbers + 1] = tonumber(number)
end

local count = #numbers + 3
local steps = ffi.new("struct lack_step[?]", count)
steps[0] = { LOAD, 0, 0, 0 }
for i, number in ipairs(numbers) do
  steps[i] = { JUMP_EQUAL, #numbers - i + 1, 0, number }
end
steps[count - 2] = { RETURN, 0, 0, ALLOW }
steps[count - 1] = { RETURN, 0, 0, bit.bor(ERRNO, ENOSYS) }

local one, none = ffi.cast("unsigned long", 1), ffi.cast("unsigned long", 0)
local program = ffi.new("struct lack_program", count, steps)
assert(ffi.C.prctl(PR_SET_NO_NEW_PRIVS, one, none, none, none) == 0)
assert(ffi.C.prctl(PR_SET_SECCOMP, ffi.cast("unsigned long", FILTER), program, none, none) == 0)

local argv = ffi.new("char *[?]", #arg)
for i = 2, #arg do
  argv[i - 2] = ffi.cast("char *", arg[i])
end
ffi.C.execvp(argv[0], argv)
error("cannot run " .. arg[2])
