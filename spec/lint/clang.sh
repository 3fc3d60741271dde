#!/bin/sh
# Compiles every C file with clang as well, with the same warnings as errors.
set -eu
flags="-std=gnu11 -D_GNU_SOURCE -DH2O_USE_LIBUV=0 -DBUNTIME_VERSION=\"lint\"
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -Iruntime -Iruntime/http/compat"
libraries=$(pkg-config --cflags libh2o-evloop luajit libuv yaml-0.1 openssl libcurl libpq hiredis | sed 's/-I/-isystem/g')
find runtime spec/c spec/fuzz bench cmake -name '*.c' | LC_ALL=C sort |
  xargs -P 2 -n 8 clang -fsyntax-only $flags $libraries
