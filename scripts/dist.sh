#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Pack what is committed: the same commit gives the same bytes.
# Usage: dist.sh VERSION FOLDER
set -eu
name=libtdpmmu-$1
out=$2/$name.tar.gz

stop() {
    echo "make dist: $1" >&2
    exit 1
}

command -v git >/dev/null || stop 'packs what git has committed, and there is no git on this machine'
if ! said=$(LC_ALL=C git rev-parse --verify HEAD 2>&1); then
    case $said in
    *'dubious ownership'*) stop "git does not trust this folder, which is another user's: git config --global --add safe.directory '$PWD'" ;;
    *) stop 'packs what git has committed, and here is no git; this tree is unpacked already' ;;
    esac
fi
# A folder above may be under git, and know nothing of this tree.
git cat-file -e HEAD:./Makefile 2>/dev/null ||
    stop "packs what git has committed, and $(git rev-parse --show-toplevel) has not committed this tree; it is unpacked already"
[ -z "$(git status --porcelain .)" ] || echo "make dist: what is not committed is left out" >&2
mkdir -p "$2"
trap 'rm -f "$out.tar" "$out.new"' EXIT
said=$(git archive --format=tar --prefix="$name/" -o "$out.tar" HEAD 2>&1) || stop "git archive: $(echo "$said" | head -n 1)"
gzip -9n <"$out.tar" >"$out.new"
mv "$out.new" "$out"
echo "$out: $(wc -c <"$out") bytes, sha256 $(sha256sum <"$out" | cut -d' ' -f1)"
