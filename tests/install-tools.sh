#!/bin/sh
# Installs what the tests use besides Rust: promtool, valgrind, and Python's venv for the SDKs.
# Does nothing where they are there already.
set -eu

missing=""
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
command -v valgrind >/dev/null 2>&1 || missing="$missing valgrind"
command -v curl >/dev/null 2>&1 || missing="$missing curl"
python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing="$missing python3-venv"
[ -z "$missing" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "please install:$missing" >&2
    exit 1
fi
run=""
[ "$(id -u)" = 0 ] || run="sudo"
$run apt-get update -qq
# shellcheck disable=SC2086
$run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
# The package starts a Prometheus server of its own where systemd runs; the tests need none.
if [ -d /run/systemd/system ]; then
    $run systemctl disable --now prometheus >/dev/null 2>&1 || true
fi
