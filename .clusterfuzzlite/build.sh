#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# The fuzz targets for OSS-Fuzz and ClusterFuzzLite, into $OUT: programs, seeds, dictionaries, options.
# $SANITIZER: address, or none of the others that the engines know.  Swift's own clang, linker and libFuzzer are taken,
# since its runtimes go with no other compiler's.
# $SRC is the folder that libtdpmmu/ is in; without it, the sources are those that this script lies in.
set -eu
: "${OUT:?the folder for what is built}"
top=${SRC:+$SRC/libtdpmmu}
top=${top:-$(dirname "$0")/..}
[ -f "$top/fuzz/library.sh" ] || { echo "build.sh: $top is not libtdpmmu; SRC names the folder that libtdpmmu/ is in" >&2; exit 2; }
cd "$top"
case ${SANITIZER:-address} in
address) SANITIZE=address ;;
none | coverage) SANITIZE= ;;
*) echo "build.sh: SANITIZER is address or none here, and not '$SANITIZER'" >&2; exit 2 ;;
esac
export SANITIZE
work=${WORK:-build}/fuzz-engines
# Where targets run, there may be no zlib.
zlib=$(cc -print-file-name=libz.a)
[ -f "$zlib" ] || { echo "build.sh: there is no libz.a: zlib1g-dev" >&2; exit 1; }
mkdir -p "$work/zlib" "$OUT"
ln -sf "$(realpath "$zlib")" "$work/zlib/libz.a"
ZLIB_FOLDER=$work/zlib
export ZLIB_FOLDER
sh fuzz/library.sh "$work/libtdpmmu-fuzz.a"
sh fuzz/targets.sh "$work/libtdpmmu-fuzz.a" "$work"
python3 fuzz/pack.py "$work" "$OUT"
