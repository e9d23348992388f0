#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Is all there that the build and the tests use?  Each thing is looked for itself, not by the package manager:
# where nothing is missing, nothing is called and no network is needed.
# What is missing for the build is told in one line, and nothing is installed.  What is missing for tests is
# installed where YES=1 says so or the one at the terminal does; else one line says what to run.
# Usage: need.sh lib|build|check|valgrind|models|docs|check-docs|package|abi
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

# The system's python will do: scripts/htmldocs.py looks for it.
has_markdown() {
    python3 -c 'import markdown' 2>/dev/null || /usr/bin/python3 -c 'import markdown' 2>/dev/null
}

fail_swift() {
    echo "A Swift toolchain is needed, 6.3 or newer: $1 Get one from https://www.swift.org/install/linux/ and put its usr/bin into PATH." >&2
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
    has abidw || wish abigail-tools
    has cmake || wish cmake
    has gdb || wish gdb
    wish_docs
}

# What scripts/check-package.py looks with.
wish_package() {
    need_build
    has pkg-config || wish pkg-config
    has cmake || wish cmake
    has abidw || wish abigail-tools
    has dpkg-buildpackage || wish dpkg-dev
    has dh || wish debhelper
    has lintian || wish lintian
    has rpmbuild || wish rpm
    has setpriv || wish util-linux
    python3 -c 'import yaml' 2>/dev/null || /usr/bin/python3 -c 'import yaml' 2>/dev/null || wish python3-yaml
    has_header cmocka.h || wish libcmocka-dev
    wish_docs
}

wish_docs() {
    has mandoc || wish mandoc
    has_markdown || wish python3-markdown
}

# How packages come here, and by what names.
manager=
for one in apt-get dnf; do
    if has $one; then manager=$one; break; fi
done

names_here() { # NAME...: Debian's names in those of the package manager here
    for name; do
        case $manager:$name in
        dnf:libc6-dev) name=glibc-devel ;;
        dnf:linux-libc-dev) name=kernel-headers ;;
        dnf:zlib1g-dev) name=zlib-devel ;;
        dnf:g++) name=gcc-c++ ;;
        dnf:pkg-config) name=pkgconf-pkg-config ;;
        dnf:libcmocka-dev) name=libcmocka-devel ;;
        dnf:liburcu-dev) name=userspace-rcu-devel ;;
        dnf:abigail-tools) name=libabigail ;;
        esac
        printf ' %s' "$name"
    done
}

line_for() { # PACKAGE...: the command that installs them
    case $manager in
    apt-get) echo "apt-get install -y --no-install-recommends$(names_here "$@")" ;;
    dnf) echo "dnf install -y --setopt=install_weak_deps=False$(names_here "$@")" ;;
    esac
}

as_root() { # the words to put before it
    [ "$(id -u)" -eq 0 ] || echo 'sudo '
}

stop() { # MESSAGE: no package manager, or no leave to call it
    printf '%s\n' "$1" >&2
    exit 1
}

tell_missing() { # HINT
    # shellcheck disable=SC2086
    [ -n "$manager" ] || stop "Missing here, under the names that Debian gives them:$missing"
    # shellcheck disable=SC2086
    stop "Missing here:$(names_here $missing). To install: $(as_root)$(line_for $missing)$1"
}

# May it be installed?  Only a plain yes is one.
may_install() {
    case ${YES-} in
    1) return 0 ;;
    0) return 1 ;;
    esac
    [ -n "$manager" ] && [ -t 0 ] && [ -t 2 ] || return 1
    # shellcheck disable=SC2086
    {
        [ -z "$missing" ] || echo "The tests need:$(names_here $missing)" >&2
        [ -z "$wished" ] || echo "Some tests are skipped without:$(names_here $wished)" >&2
        printf 'Install by  %s%s  ? [y/N] ' "$(as_root)" "$(line_for $missing $wished)" >&2
    }
    read -r answer || answer=
    case $answer in
    [yY] | [yY][eE][sS]) return 0 ;;
    *) return 1 ;;
    esac
}

# The package lists are fetched only if the first try shows that they must be.
updated=no
install() { # PACKAGE...
    line=$(line_for "$@")
    [ -n "$line" ] || return 1
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || return 1
        sudo=sudo
        # Who is not there to answer is not asked for a password.
        [ -t 0 ] || sudo='sudo -n'
    fi
    echo "Installing: $line"
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    # shellcheck disable=SC2086
    $sudo $line >/dev/null 2>&1 </dev/null && return 0
    [ "$updated" = no ] || return 1
    updated=yes
    [ "$manager" != apt-get ] || $sudo apt-get update >/dev/null 2>&1 </dev/null
    # shellcheck disable=SC2086
    $sudo $line >/dev/null </dev/null
}

# One that this distribution has not got is no reason to go without the others.
install_wished() {
    # shellcheck disable=SC2086
    install $wished && wished= && return
    left=
    for one in $wished; do
        install "$one" || left="$left $one"
    done
    wished=$left
}

need_is_met() {
    [ -n "$missing$wished" ] || return 0
    [ "$only_build" = no ] || tell_missing ''
    if may_install; then
        # shellcheck disable=SC2086
        [ -z "$missing" ] || install $missing || tell_missing '. Trying that failed.'
        [ -z "$wished" ] || install_wished
    elif [ -n "$missing" ]; then
        tell_missing ', or do the same again with YES=1'
    fi
    # shellcheck disable=SC2086
    [ -z "$wished" ] || echo "Some tests will be skipped for want of:$(names_here $wished)  (YES=1 installs them)"
}

case ${YES-} in
'' | 0 | 1) ;;
*) stop "YES='$YES' is neither 1 nor 0" ;;
esac
only_build=yes
for kind in "${@:-build}"; do
    case $kind in
    lib | build) ;;
    *) only_build=no ;;
    esac
    case $kind in
    lib) need_lib ;;
    build) need_build ;;
    check) need_check ;;
    models)
        has python3 || want python3
        has "${CC:-cc}" || want gcc
        has spin || want spin
        ;;
    docs)
        has python3 || want python3
        has_markdown || want python3-markdown
        ;;
    check-docs) wish_docs ;;
    package) wish_package ;;
    valgrind) need_check; has valgrind || want valgrind ;;
    abi)
        has python3 || want python3
        has "${CC:-cc}" || want gcc
        has abidw || want abigail-tools
        ;;
    *) echo "need.sh: unknown kind '$kind'" >&2; exit 2 ;;
    esac
done
need_is_met
