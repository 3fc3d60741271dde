# What the image tests share: podman with a storage of its own, and a Debian base image made from this machine's
# own package sources where there is no registry. Sourced; needs root.
#
# - runc, as crun 1.8 refuses hybrid cgroups; ulimits are set, as podman asks for more than root may have
# - a FROM debian:bookworm-slim resolves to the image imported here, with --pull=never
# - --format docker, or HEALTHCHECK is lost; without systemd its timer does not run: `podman healthcheck run`
# - --network host leaves no firewall tables behind

skip() {
  echo "skipped: $*"
  exit 77
}

fail() {
  echo "FAIL: $*" >&2
  exit 1
}

# set_up WORK: installs what is missing, and points podman at WORK.
set_up() {
  mkdir -p "$1"
  work=$(readlink -f "$1")
  [ "$(id -u)" = 0 ] || skip "the image is built and run as root"
  tools/deps podman || skip "podman is not to be had here"
  local limit
  limit=$(ulimit -Hn)
  cat >"$work/storage.conf" <<S
[storage]
driver="overlay"
graphroot="$work/storage"
runroot="$work/runroot"
S
  cat >"$work/containers.conf" <<S
[containers]
default_ulimits=["nofile=$limit:$limit","nproc=4096:4096"]
[engine]
runtime="runc"
cgroup_manager="cgroupfs"
events_logger="file"
S
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
}

# A root file system like debian:bookworm-slim, imported under its name.
make_base() {
  podman image inspect debian:bookworm-slim >/dev/null 2>&1 && return
  local sources
  sources=$(mktemp -d)
  cat /etc/apt/sources.list 2>/dev/null | grep -E '^deb ' >"$sources/list" || :
  # shellcheck disable=SC2046 # a list of files
  mmdebstrap --variant=minbase --mode=root --format=tar \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include=debian-archive-keyring,usr-is-merged,mawk \
    --customize-hook='rm -f "$1/etc/resolv.conf" "$1/etc/hostname"; rm -rf "$1"/var/lib/apt/lists/*' \
    bookworm "$work/base.tar" $([ ! -s "$sources/list" ] || echo "$sources/list") \
    $(ls /etc/apt/sources.list.d/*.sources 2>/dev/null || :) >"$work/base.log" 2>&1 ||
    { tail -20 "$work/base.log" && rm -rf "$sources" && skip "no base image can be made here"; }
  rm -rf "$sources"
  podman import --change 'CMD ["bash"]' "$work/base.tar" docker.io/library/debian:bookworm-slim \
    >>"$work/base.log" 2>&1 || { tail -20 "$work/base.log"; skip "podman cannot import an image here"; }
  rm -f "$work/base.tar"
}

# build CONTEXT TAG
build() {
  podman build --pull=never --format docker --network host -t "$2" "$1" >"$work/build.log" 2>&1 ||
    { tail -40 "$work/build.log"; fail "the image does not build"; }
  podman image prune -f >/dev/null
}
