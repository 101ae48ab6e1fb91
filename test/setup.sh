#!/usr/bin/env bash
# Installs the Debian packages that the tests run against. Safe to run again: when all of them are there it says nothing,
# changes nothing and needs no root. This list is the only one: a test that needs another program gets it added here.
set -euo pipefail

packages=(
  make gcc libc6-dev       # make; the race detector; C programs that the tests build
  spin                     # the sync protocol's model (test/model)
  mosquitto                # an MQTT broker that is not ours: external broker tests, and the peer of the benchmark
  mosquitto-clients
  python3-cbor2            # reads our golden vectors with a CBOR decoder that is not ours
  python3-pymodbus python3-serial-asyncio # a Modbus slave that is not ours, and what it needs for a serial line
  libmodbus-dev            # another one, in C
  e2fsprogs mount          # small file systems in a file: full disk, power cut
  chromium                 # the console in a real browser
)

missing=()
installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' 2>/dev/null || true)
for package in "${packages[@]}"; do
  grep -qx "$package installed" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "test/setup.sh: the tests need these Debian packages, and this system has no apt-get: ${missing[*]}" >&2
  echo "test/setup.sh: install their equivalents, or run the tests on Debian 12." >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null || { ! sudo -n true 2>/dev/null && ! [ -t 0 ]; }; then
    echo "test/setup.sh: the tests need Debian packages that are missing here: ${missing[*]}" >&2
    echo "test/setup.sh: this user cannot become root; run once as root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

# The tests start their own brokers on free ports. Debian starts a service as soon as its package is installed: forbid that
# while we install, unless this machine has a policy of its own, and keep a service that a person already runs.
policy=/usr/sbin/policy-rc.d
ours=
if ! [ -e "$policy" ]; then
  ours=$policy
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi
cleanup() { [ -z "$ours" ] || "${as_root[@]}" rm -f "$ours"; }
trap cleanup EXIT

echo "test/setup.sh: installing ${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" </dev/null; }
log=$(mktemp)
if ! { apt -qq update && apt -qq -y --no-install-recommends install "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "test/setup.sh: apt-get could not install ${missing[*]}; its last lines stand above, the whole log in $log" >&2
  exit 1
fi
rm -f "$log"

# Installed but not started is not enough: without this the service would come up with the next boot and hold port 1883.
case " ${missing[*]} " in *" mosquitto "*)
  if command -v systemctl >/dev/null; then "${as_root[@]}" systemctl disable mosquitto >/dev/null 2>&1 || true; fi ;;
esac
echo "test/setup.sh: done"
