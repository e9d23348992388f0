#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Compile and run the very text of the README's example.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

if python3 scripts/readme-example.py >"$tmp/example.c" &&
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror -Iinclude "$tmp/example.c" -Lbuild -ltdpmmu \
        -Wl,-rpath,"$PWD/build" -o "$tmp/example" &&
    "$tmp/example" >"$tmp/out" 2>"$tmp/err" && [ -s "$tmp/out" ] && [ ! -s "$tmp/err" ]; then
    echo 'readme: 1 passed, 0 failed'
else
    cat "$tmp/out" "$tmp/err" >&2
    echo 'readme: 0 passed, 1 failed'
    exit 1
fi
