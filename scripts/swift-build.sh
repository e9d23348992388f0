#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# `swift build`, for anyone: also for a user without HOME, or whose HOME is not there, as builders of packages are.
# Usage: swift-build.sh SCRATCH [-c release ...]
# SHIPPED=1 in the environment: what is installed.  Its C has the hardening of HARDENING_CFLAGS and the packager's
# CPPFLAGS and CFLAGS, its links the LDFLAGS; nothing else has, since sanitizers and mutants want other flags than those.
# Swift imports C by the toolchain's own clang, so CC has no say here: SwiftPM would take it.
set -eu
scratch=$1
shift
unset CC

if [ -z "${HOME:-}" ] || [ ! -d "$HOME" ] || [ ! -w "$HOME" ]; then
    mkdir -p "$scratch/home"
    HOME=$(cd "$scratch/home" && pwd -P)
    export HOME
    set -- "$@" --cache-path "$HOME/cache" --config-path "$HOME/config" --security-path "$HOME/security"
fi

TDPMMU_CFLAGS=
TDPMMU_LDFLAGS=
if [ -n "${SHIPPED:-}" ]; then
    # shellcheck disable=SC2086
    given=$(sh scripts/packager-flags.sh c ${CPPFLAGS:-} ${CFLAGS:-})
    hardening=" ${HARDENING_CFLAGS:-} "
    # One level of it at a time, or each file says that it was redefined.
    case $given in
    *_FORTIFY_SOURCE*) hardening=$(printf '%s' "$hardening" | sed 's/ -D_FORTIFY_SOURCE=[0-9] / /') ;;
    esac
    TDPMMU_CFLAGS="$hardening $given"
    # shellcheck disable=SC2086
    TDPMMU_LDFLAGS=$(sh scripts/packager-flags.sh link ${LDFLAGS:-})
fi
export TDPMMU_CFLAGS TDPMMU_LDFLAGS
[ "${V:-0}" != 1 ] || set -- "$@" --verbose
exec "${SWIFT:-swift}" build --scratch-path "$scratch" "$@"
