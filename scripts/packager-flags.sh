#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Of a distribution's flags, which are its compiler's, print those that the toolchain's clang knows.  What is left out
# is said on stderr.  No LTO: the objects are looked into before they are linked.
# Usage: packager-flags.sh c|link FLAG ...
set -eu
kind=$1
shift
clang=

known() { # FLAG
    case $1 in
    -flto* | -ffat-lto-objects | -specs=*) return 1 ;;
    esac
    [ "$kind" = c ] || return 0
    [ -n "$clang" ] || clang=$(sh "$(dirname "$0")/toolchain.sh")/bin/clang
    "$clang" -Werror -O2 "$1" -fsyntax-only -x c /dev/null 2>/dev/null
}

for flag; do
    if known "$flag"; then
        printf ' %s' "$flag"
    else
        echo "make: $flag is left out, which the toolchain's clang does not take here" >&2
    fi
done
