#!/bin/sh
# deploy.sh: what is under deploy/ renders, and says what an operator relies on. Exits 77 without kubectl.
set -eu
cd "$(dirname "$0")/../.."
command -v kubectl >/dev/null || { echo "skipped: no kubectl here" && exit 77; }
out=$(mktemp)
trap 'rm -f "$out"' EXIT

# has WHAT TIMES: lines that match, in what was rendered last
has() {
  count=$(grep -cE -- "$1" "$out" || :)
  [ "$count" = "$2" ] || { echo "FAIL: $count lines match '$1' in $kind, not $2" && exit 1; }
}

for kind in base overlays/databases; do
  kubectl kustomize "deploy/$kind" >"$out"
  # shellcheck disable=SC2016 # a directive that must not be left over
  has '\$retainKeys|\$patch' 0
  has '^kind: (Deployment|Service|ConfigMap|Secret|PodDisruptionBudget|NetworkPolicy|Namespace)$' \
    "$([ $kind = base ] && echo 7 || echo 9)"
  has 'path: /api/health/(ready|live)' 3
  has 'readOnlyRootFilesystem: true' 1
  has 'runAsNonRoot: true' "$([ $kind = base ] && echo 1 || echo 3)"
  has '^  replicas: 1$' "$([ $kind = base ] && echo 1 || echo 0)"
  has '^    type: Recreate$' "$([ $kind = base ] && echo 1 || echo 0)"
done
has '^  (DATABASE_URL|REDIS_URL): ' 2
has '^  replicas: 3$' 1

# Its settings are ones that the program knows
for name in $(grep -ohE '^ +RUNTIME_[A-Z_]+' deploy/base/*.yaml compose.yaml | sort -u); do
  "${BUNTIME_BIN:?}" serve --help | grep -q "^ *.*$name" || { echo "FAIL: no setting $name" && exit 1; }
done
echo "deploy ok"
