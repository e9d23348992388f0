#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Make sure that what the build and the tests use is there, and install what is
# missing.  Each thing is looked for itself, not by the package manager: where
# nothing is missing, nothing is called and no network is needed.
# Usage: need.sh lib|build|check|valgrind|models
set -u

missing=
wished= # without these some tests are skipped
wish() { wished="$wished $1"; }
want() { missing="$missing $1"; }
has() { command -v "$1" >/dev/null 2>&1; }
has_header() {
    printf '#include <stddef.h>\n#include <stdint.h>\n#include <stdarg.h>\n#include <setjmp.h>\n#include <%s>\n' "$1" |
        ${CC:-cc} -E -x c - >/dev/null 2>&1
}

fail_swift() {
    cat >&2 <<TEXT
libtdpmmu needs a Swift toolchain, 6.3 or newer: $1
Get one from https://www.swift.org/install/linux/ and put its usr/bin into PATH.
TEXT
    exit 1
}

need_swift() {
    swift=${SWIFT:-swift}
    has "$swift" || fail_swift "there is no '$swift' in PATH."
    version=$("$swift" --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
    [ -n "$version" ] || fail_swift "'$swift --version' names no version."
    major=${version%%.*}
    minor=${version#*.}
    if [ "$major" -lt 6 ] || { [ "$major" -eq 6 ] && [ "$minor" -lt 3 ]; }; then
        fail_swift "this is Swift $version."
    fi
}

# The library alone: no network, no git, no zlib.
need_lib() {
    need_swift
    has make || want make
    has python3 || want python3
    has nm || want binutils
    if has "${CC:-cc}"; then
        has_header stdio.h || want libc6-dev
        has_header linux/kvm.h || want linux-libc-dev
    else
        want gcc
        want libc6-dev
    fi
}

need_build() {
    need_lib
    has git || want git
    if has "${CC:-cc}"; then
        has_header zlib.h || want zlib1g-dev
    else
        want zlib1g-dev
    fi
}

need_check() {
    need_build
    has g++ || want g++
    has gcc || want gcc
    has pkg-config || want pkg-config
    has_header cmocka.h || want libcmocka-dev
    has_header urcu/rculfhash.h || wish liburcu-dev
    has spin || wish spin
}

install_wished() {
    if has apt-get && [ "$(id -u)" -eq 0 ]; then
        # shellcheck disable=SC2086
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $wished >/dev/null 2>&1 && return
    fi
    printf 'Some tests will be skipped for want of:%s\n' "$wished"
}

install_missing() {
    missing=${missing# }
    [ -n "$missing" ] || return 0
    line="apt-get install -y --no-install-recommends $missing"
    if ! has apt-get; then
        printf 'Missing here, under the names Debian gives them: %s\n' "$missing" >&2
        exit 1
    fi
    if [ "$(id -u)" -eq 0 ]; then
        sudo=
    elif has sudo && sudo -n true 2>/dev/null; then
        sudo='sudo -n'
    else
        printf 'Some packages are missing. Please run:\n    sudo %s\n' "$line" >&2
        exit 1
    fi
    printf 'Installing what is missing: %s\n' "$missing"
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    # The package lists are fetched only if the first try shows that they must be.
    # shellcheck disable=SC2086
    $sudo $line >/dev/null 2>&1 && return 0
    $sudo apt-get update && $sudo $line && return 0
    printf 'That failed. What was tried:\n    %s\n' "$line" >&2
    exit 1
}

for kind in "${@:-build}"; do
    case $kind in
    lib) need_lib ;;
    build) need_build ;;
    check) need_check ;;
    models)
        has python3 || want python3
        has "${CC:-cc}" || want gcc
        has spin || want spin
        ;;
    valgrind) need_check; has valgrind || want valgrind ;;
    *) echo "need.sh: unknown kind '$kind'" >&2; exit 2 ;;
    esac
done
install_missing
[ -z "$wished" ] || install_wished
