#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Build and test in Debian's releases as debootstrap makes them, beside the Swift toolchain of this machine: what the
# machine happens to have does not help.  As root, with the network: nothing is left mounted, the roots stay for the next run.
# Usage: check-roots.sh SUITE...        e.g. bookworm trixie; the environment may have
#   ROOTS=folder     where the roots are, some 1.5 GB each; /var/tmp/tdpmmu-roots
#   CHECKS="..."     what make is asked for
#   ROWS="..."       for check-package, if that is among them
#   MIRROR=URL       Debian's mirror
#   GITHUB=folder    OWNER/NAME.git of the tool's package, where no network leads to it
set -u
roots=${ROOTS:-/var/tmp/tdpmmu-roots}
mirror=${MIRROR:-http://deb.debian.org/debian}
targets=${CHECKS:-lib check-symbols check-library check-abi check-headers check-readme check-need all demo check-install}
top=$(cd "$(dirname "$0")/.." && pwd -P)

stop() {
    echo "roots: $1" >&2
    exit 2
}
[ $# -gt 0 ] || stop 'usage: check-roots.sh SUITE... , e.g. bookworm trixie'
[ "$(id -u)" -eq 0 ] || stop 'only root can make and enter a root: sudo make check-roots'
for need in debootstrap unshare chroot; do
    command -v $need >/dev/null || stop "there is no $need: apt-get install -y debootstrap util-linux"
done
# shellcheck disable=SC2015
mkdir -p "$roots" 2>/dev/null && roots=$(cd "$roots" && pwd -P) || stop "ROOTS='$roots' is no folder that can be written"
toolchain=$(sh "$top/scripts/toolchain.sh") || stop 'there is no Swift toolchain to take in'
for suite; do
    case $suite in
    *[!a-z]* | '') stop "'$suite' is no name of a Debian release" ;;
    esac
done

make_root() { # SUITE
    [ -e "$roots/$1/made" ] && return
    rm -rf "${roots:?}/$1" || return
    echo "roots: debootstrap of $1 into $roots/$1"
    if ! debootstrap --variant=minbase --include=ca-certificates "$1" "$roots/$1" "$mirror" >"$roots/$1.log" 2>&1; then
        tail -n 3 "$roots/$1.log" >&2
        return 1
    fi
    touch "$roots/$1/made"
}

# What the toolchain itself is linked with, and what the build asks for; the tests' packages are need.sh's matter.
PACKAGES='make git python3 gcc libc6-dev libstdc++-12-dev|libstdc++-14-dev zlib1g-dev linux-libc-dev binutils
    libcurl4|libcurl4t64 libxml2 libsqlite3-0 libedit2 libncurses6 libuuid1 shared-mime-info|libc6'

# Runs inside: all mounts go with the shell that made them.
inside() { # SUITE
    root=$roots/$1
    for place in "$toolchain" ${GITHUB:-}; do
        mkdir -p "$root$place" && mount --bind "$place" "$root$place" && mount -o remount,bind,ro "$root$place" || return
    done
    mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && cp -L /etc/resolv.conf "$root/etc/" || return
    rm -rf "$root/srv/libtdpmmu" && mkdir -p "$root/srv/libtdpmmu" || return
    (cd "$top" && git ls-files -z | tar --null -T - -cf -) | tar -C "$root/srv/libtdpmmu" -xf - || return
    cat >"$root/srv/run" <<'RUN'
export PATH=$TOOLCHAIN/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
apt-get update -q || exit
for either in $PACKAGES; do
    for one in $(echo "$either" | tr '|' ' '); do
        if apt-cache show "$one" >/dev/null 2>&1; then packages="${packages:-} $one"; break; fi
    done
done
apt-get install -q -y --no-install-recommends $packages || exit
if [ -n "$GITHUB" ]; then
    git config --global url."$GITHUB/".insteadOf https://github.com/
    git config --global safe.directory '*'
fi
# The tarball is made of what git knows.
cd /srv/libtdpmmu && git init -q && git add -A &&
    git -c user.name=root -c user.email=root@localhost commit -q -m 'the tree' || exit
YES=1 sh scripts/need.sh check || exit
status=0
for target in $TARGETS; do
    if make --no-print-directory "$target" >/srv/log 2>&1; then
        grep -E '^[YN] ' /srv/log | sed 's/^/    /'
        echo "Y $target: $(tail -n 1 /srv/log)"
    else
        grep -E '^[YN] ' /srv/log | sed 's/^/    /'
        echo "N $target:"
        tail -n 15 /srv/log
        status=1
    fi
done
exit $status
RUN
    chroot "$root" env -i TOOLCHAIN="$toolchain" PACKAGES="$PACKAGES" GITHUB="${GITHUB:-}" TARGETS="$targets" ROWS="${ROWS:-}" YES=1 \
        sh -c '. /srv/run' >"$roots/$1.log" 2>&1
    status=$?
    grep -E '^ *(Y|N) |^Some tests' "$roots/$1.log" || tail -n 15 "$roots/$1.log"
    return $status
}

if [ "${ROOTS_INSIDE:-}" = 1 ]; then
    inside "$1"
    exit
fi
failed=0
for suite; do
    if make_root "$suite" && ROOTS_INSIDE=1 unshare --mount --propagation private sh "$0" "$suite"; then
        echo "Y $suite"
    else
        echo "N $suite: $roots/$suite.log"
        failed=$((failed + 1))
    fi
done
echo "roots: $(($# - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
