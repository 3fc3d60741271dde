#!/bin/sh
# Fails if clang-format would change a C file. `make format` mends it.
set -eu
find runtime spec bench cmake -name '*.[ch]' | LC_ALL=C sort | xargs clang-format --dry-run -Werror
