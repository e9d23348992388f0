#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# `swift build`, for anyone: also for a user without HOME, or whose HOME is not there, as builders of packages are.
# Usage: swift-build.sh SCRATCH [-c release ...]
# SHIPPED=1 in the environment: what is installed.  Its C has the hardening of HARDENING_CFLAGS and the packager's
# CPPFLAGS and CFLAGS; nothing else has, since sanitizers and mutants want other flags than those.
# The library is linked with the toolchain's own clang and Swift imports C by it, so CC has no say here: SwiftPM would take it.
set -eu
scratch=$1
shift
unset CC
if [ -z "${HOME:-}" ] || [ ! -d "$HOME" ] || [ ! -w "$HOME" ]; then
    mkdir -p "$scratch/home"
    HOME=$(cd "$scratch/home" && pwd -P)
    export HOME
fi
TDPMMU_CFLAGS=
if [ -n "${SHIPPED:-}" ]; then
    TDPMMU_CFLAGS="${HARDENING_CFLAGS:-} ${CPPFLAGS:-} ${CFLAGS:-}"
    TDPMMU_LDFLAGS=${LDFLAGS:-}
    export TDPMMU_LDFLAGS
    # One level of it at a time, or each file says that it was redefined.
    case " ${CPPFLAGS:-} ${CFLAGS:-} " in
    *_FORTIFY_SOURCE*) TDPMMU_CFLAGS=$(printf '%s' "$TDPMMU_CFLAGS" | sed "s/-D_FORTIFY_SOURCE=3//; s/^/-U_FORTIFY_SOURCE /") ;;
    esac
fi
export TDPMMU_CFLAGS
[ "${V:-0}" != 1 ] || set -- "$@" --verbose
exec "${SWIFT:-swift}" build --scratch-path "$scratch" "$@"
