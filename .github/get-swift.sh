#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Fetch a Swift toolchain, look at its signature, and put it into /opt/swift; PATH of the job's later steps has it.
# Usage: get-swift.sh VERSION PLATFORM      e.g. 6.3.1 debian12
set -eu
[ $# -eq 2 ] || { echo "usage: get-swift.sh VERSION PLATFORM, e.g. 6.3.1 debian12" >&2; exit 2; }
version=$1
platform=$2
place=${SWIFT_PLACE:-/opt/swift}
site=${SWIFT_SITE:-https://download.swift.org}
keys=${SWIFT_KEYS:-https://www.swift.org/keys/all-keys.asc}
folder=$(echo "$platform" | tr -d .)
name=swift-$version-RELEASE-$platform.tar.gz
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fetch() { curl -fsSL --retry 3 -o "$tmp/$1" "$2" || { echo "get-swift.sh: $2 cannot be fetched" >&2; exit 1; }; }
fetch keys "$keys"
fetch "$name" "$site/swift-$version-release/$folder/swift-$version-RELEASE/$name"
fetch "$name.sig" "$site/swift-$version-release/$folder/swift-$version-RELEASE/$name.sig"
export GNUPGHOME="$tmp"
gpg --batch --quiet --import "$tmp/keys"
gpg --batch --verify "$tmp/$name.sig" "$tmp/$name" || { echo "get-swift.sh: the signature of $name is not good" >&2; exit 1; }
mkdir -p "$place"
tar -xzf "$tmp/$name" --strip-components=1 -C "$place"
"$place/usr/bin/swift" --version
[ -z "${GITHUB_PATH:-}" ] || echo "$place/usr/bin" >>"$GITHUB_PATH"
