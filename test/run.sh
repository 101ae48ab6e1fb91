#!/usr/bin/env bash
# What `make test` runs: packages in $RACE under the race detector, the rest without, then the whole-system tests under test/
# one package at a time, since they measure time and start many processes. Every group runs even when one before it failed.
# TESTFLAGS is passed on to go test (for example TESTFLAGS='-run Outbox').
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
: >build/test.log
export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
flags=(-count=1 -timeout 10m)

race=$(go list $RACE) || exit 1
all=$(go list ./...) || exit 1
system=$(grep '^tidemark/test/' <<<"$all")
plain=$(grep -v '^tidemark/test/' <<<"$all" | grep -vxF "$race")

failed=0
group() { # group TITLE COMMAND...
  echo "== $1"
  shift
  "$@" ${TESTFLAGS:-} 2>&1 </dev/null | grep --line-buffered -v '\[no test files\]$' | tee -a build/test.log
  [ "${PIPESTATUS[0]}" -eq 0 ] || failed=1
}
# shellcheck disable=SC2086
{
  CGO_ENABLED=1 group "with the race detector" go test -race "${flags[@]}" $race
  CGO_ENABLED=0 group "without it" go test "${flags[@]}" $plain
  CGO_ENABLED=0 group "the whole system" go test -p 1 "${flags[@]}" $system
}
exit $failed
