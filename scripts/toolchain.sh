#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Print the root of the Swift toolchain, e.g. /usr if swiftc is /usr/bin/swiftc,
# also where `swift` is only a wrapper.
set -eu
resources=$("${SWIFT:-swift}" -print-target-info | sed -n 's/.*"runtimeResourcePath": "\(.*\)".*/\1/p')
[ -d "$resources" ] || { echo "toolchain.sh: cannot tell where the Swift toolchain is" >&2; exit 1; }
cd "$resources/../.." && pwd -P
