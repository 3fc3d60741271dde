#!/bin/bash
# run.sh WORK: builds the image as `make image` does and runs it the hostile way: read-only root, no
# capabilities, no new privileges, 256 MB, 64 processes. Exits 77 where no container can be run.
set -Eeuo pipefail
cd "$(dirname "$0")/../.."
. spec/image/lib.sh
set_up "${1:?WORK}"
make_base

image=localhost/buntime:test
name=buntime-test-$$
key=image-test-root-key
limit=$((30 * 1024 * 1024))
plugins=$(mktemp -d "$work/plugins.XXXXXX")
trap 'podman rm -f "$name" >/dev/null 2>&1 || :; rm -rf "$plugins"' EXIT

build . "$image"

# inspect FORMAT
inspect() { podman image inspect "$image" -f "$1"; }

# The image as it lies there
size=$(inspect '{{.Size}}')
echo "size: $size bytes"
[ "$size" -le $limit ] || fail "$size bytes are more than $limit"
case $(inspect '{{.Config.User}}') in '' | 0 | 0:* | root*) fail "it runs as root" ;; esac
[ "$(podman image inspect "$image" | grep -c '"Test"')" -gt 0 ] || fail "no HEALTHCHECK"
files=$(podman create --name "$name" "$image" >/dev/null && podman export "$name" | tar -tv && podman rm "$name" >/dev/null)
! grep -E '/(ba|da)?sh$|busybox|/apt|/dpkg' <<<"$files" || fail "there is a shell or a package manager in it"
! grep -E '^-..s|^-.....s' <<<"$files" || fail "there is a setuid file in it"
for package in libc6 libssl3 libh2o-evloop0.13 ca-certificates tzdata; do
  grep -q "usr/share/doc/$package/copyright" <<<"$files" || fail "no copyright file of $package"
done

# A plugin directory of the host's, which the image's user may only read
mkdir -p "$plugins/greeter"
printf 'name: greeter\nbase: /greeter\n' >"$plugins/greeter/manifest.yaml"
greeter() {
  printf 'local routes = require("buntime.router").new()
routes:get("/", function(c) return c:text("%s") end)
return { routes = routes }\n' "$1" >"$plugins/greeter/plugin.lua"
}
greeter one
chmod -R go+rX "$plugins" "$work"

podman run -d --name "$name" --network host -e HOST=127.0.0.1 -e PORT=0 -e RUNTIME_ROOT_KEY=$key \
  -v "$plugins:/data/plugins:ro" \
  --read-only --tmpfs /tmp:rw,noexec,nosuid,nodev,size=16m --tmpfs /data/state:rw,size=16m,mode=1777 \
  --cap-drop ALL --security-opt no-new-privileges --memory 256m --pids-limit 64 "$image" >/dev/null ||
  skip "podman cannot run a container here"

port() { podman logs "$name" 2>&1 | sed -n 's/.*"port":\([0-9]*\).*/\1/p' | head -1; }
for _ in $(seq 100); do [ -n "$(port)" ] && break || sleep .1; done
url=http://127.0.0.1:$(port)
ask() { curl -fsS -m 5 "$@" || { podman logs "$name" 2>&1 | tail -20; fail "no answer to: $*"; }; }

# expect WANTED GOT
expect() { [ "$1" = "$2" ] || fail "wanted $1, got $2"; }

ask "$url/api/health/ready" >/dev/null
expect '{"message":"Hello from Buntime"}' "$(ask "$url/hello/api/greeting")"
expect one "$(ask "$url/greeter")"
expect 401 "$(curl -sS -m 5 -o /dev/null -w '%{http_code}' -X POST "$url/api/plugins/reload")"

# Hot reload of the mounted plugin
greeter two
ask -X POST -H "X-API-Key: $key" "$url/api/plugins/reload" >"$work/reload.json"
expect two "$(ask "$url/greeter")"

# What the program opens when it is wanted: libcurl with its certificates, SQLite's file in the state folder
expect 201 "$(curl -sS -m 5 -o /dev/null -w '%{http_code}' -H 'content-type: application/json' -d '{"title":"x"}' "$url/todo/api/todos")"

# A worker app, in a process that the kernel holds back, within the container's own limits
expect 200 "$(curl -sS -m 10 -o "$work/greet" -w '%{http_code}' "$url/greet/")" || cat "$work/greet"
podman logs "$name" 2>&1 | grep -i '"sandbox' && fail "the sandbox is not whole in the container" || :

podman exec "$name" /usr/bin/buntime health --host 127.0.0.1 --port "${url##*:}" >/dev/null || fail "buntime health says no"
podman logs "$name" 2>&1 | grep -v '^{.*}$' && fail "a log line is not JSON"
! podman logs "$name" 2>&1 | grep -F $key || fail "the root key is in the log"

podman stop -t 20 "$name" >/dev/null 2>&1
expect 0 "$(podman inspect "$name" -f '{{.State.ExitCode}}')"
echo "image ok"
