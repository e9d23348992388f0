#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Pack what is committed: the same commit gives the same bytes.
# Usage: dist.sh VERSION FOLDER
set -eu
name=libtdpmmu-$1
out=$2/$name.tar.gz

if ! git rev-parse --verify -q HEAD >/dev/null 2>&1; then
    echo "make dist: packs what git has committed, and here is no git; this tree is unpacked already" >&2
    exit 1
fi
[ -z "$(git status --porcelain)" ] || echo "make dist: what is not committed is left out" >&2
mkdir -p "$2"
git archive --format=tar --prefix="$name/" HEAD | gzip -9n >"$out.new"
mv "$out.new" "$out"
echo "$out: $(wc -c <"$out") bytes, sha256 $(sha256sum <"$out" | cut -d' ' -f1)"
