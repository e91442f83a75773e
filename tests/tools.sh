#!/bin/sh
# Fetch the Debian packages that the tests start for real. Without root or apt-get it says what is missing, and the tests
# that need it skip with the reason (under CI=true they fail).
set -eu

packages="${*:-}"
if [ -z "$packages" ]; then
    command -v promtool >/dev/null 2>&1 || packages="$packages prometheus"
    command -v prometheus-alertmanager >/dev/null 2>&1 || packages="$packages prometheus-alertmanager"
    command -v javac >/dev/null 2>&1 || packages="$packages openjdk-17-jdk-headless"
    command -v mvn >/dev/null 2>&1 || packages="$packages maven"
    command -v kcat >/dev/null 2>&1 || packages="$packages kcat"
    command -v chromium >/dev/null 2>&1 || packages="$packages chromium"
fi
[ -n "$packages" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$packages" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # RUNLEVEL=1 keeps the packages from starting services: the tests start their own.
    RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $packages >/dev/null
else
    echo "missing (install as root with apt-get):$packages" >&2
fi
