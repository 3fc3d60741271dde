#!/bin/sh
# The browser tests, against $BUNTIME_BIN. Installs the packages that they need when they are not there.
set -eu
cd "$(dirname "$0")"

if ! cmp -s package-lock.json node_modules/installed.json; then
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || {
    echo "skipped: the packages cannot be fetched here"
    exit 77
  }
  cp package-lock.json node_modules/installed.json
fi
exec node --test --test-concurrency=1 ./*.test.js
