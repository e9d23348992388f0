#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Install into folders of every sort, use what is there as a stranger would, and
# take it back: nothing may be left.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
passed=0
failed=0
where='the build'
verdict() {
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "install: FAILED: $where: $2" >&2
        [ ! -s "$tmp/log" ] || tail -n 20 "$tmp/log" >&2
    fi
}

# What the make above was told is not for those below.
unset MAKEFLAGS MFLAGS MAKELEVEL
top=$PWD
use=$top/tests-package/use.c
version=$(sed -n 's/^#define TDPMMU_VERSION_[A-Z]* \([0-9]*\)$/\1/p' include/tdpmmu/types.h | paste -sd.)
real=libtdpmmu.so.1.${version#*.}
# From another folder: make goes to ours.
mk() {
    target=$1
    shift
    (cd "$tmp" && make --no-print-directory -C "$top" "$target" DESTDIR="$root" "PREFIX=$prefix" "LIBDIR=$libdir" \
        ${bindir:+"BINDIR=$bindir"} "$@") >"$tmp/log" 2>&1
}
pc() { PKG_CONFIG_LIBDIR=$root$libdir/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root pkg-config "$@" tdpmmu; }
# As a shell reads it: a blank in a path comes with a backslash.
compile() { # OUT FLAGS
    : >"$tmp/log"
    eval "${CC:-cc} -Wall -Werror \"\$use\" -o \"\$1\" $2" >"$tmp/log" 2>&1
}
says_version() { # TEXT PROGRAM
    out=$("$2" 2>&1)
    [ "$out" = "$version" ]
    verdict $? "$1 said '$out', the header has $version"
}

# By the two targets of the CMake package, where there is a cmake.
by_cmake() { # PREFIX, or the very folder
    command -v cmake >/dev/null || return 0
    rm -rf "$tmp/cmake"
    next=$((${version%%.*} + 1)).0
    cmake -S "$top/tests-package/cmake" -B "$tmp/cmake" -DCMAKE_PREFIX_PATH="$1" -DUSE_C="$use" -DVERSION="$version" \
        -DTOO_NEW="${version%.*}.999" -DOTHER_MAJOR="$next" >"$tmp/log" 2>&1 && cmake --build "$tmp/cmake" >"$tmp/log" 2>&1
    verdict $? "cmake with -DCMAKE_PREFIX_PATH=$1"
    for program in use_shared use_static use_cpp; do
        says_version "$program by cmake" "$tmp/cmake/$program"
    done
    ldd "$tmp/cmake/use_shared" | grep -q libtdpmmu && ! ldd "$tmp/cmake/use_static" | grep -q libtdpmmu
    verdict $? 'tdpmmu::tdpmmu is not the shared library, or tdpmmu::static is'
}

# Statically: without Swift's runtime, also where nothing is shared, and where the linker drops what is not used.
statically() {
    compile "$tmp/use" "$(pc --cflags) -Wl,-Bstatic $(pc --libs) -Wl,-Bdynamic -lpthread"
    verdict $? 'a program with libtdpmmu.a'
    says_version 'a program with libtdpmmu.a' "$tmp/use"
    libraries=$(ldd "$tmp/use" | grep -vE 'linux-vdso|libc\.so|libpthread|ld-linux')
    [ -z "$libraries" ]
    verdict $? "a program with libtdpmmu.a needs $libraries"
    for flags in -static '-static -O2 -Wl,--gc-sections' -static-pie; do
        compile "$tmp/use" "$flags $(pc --cflags) $(pc --static --libs)"
        verdict $? "a program linked with $flags: $(pc --static --libs)"
        says_version "a program linked with $flags" "$tmp/use"
    done
    names=$(nm -g --defined-only "$root$libdir/libtdpmmu.a" | awk 'NF == 3 { print $3 }' | sort)
    [ "$names" = "$(sed -n 's/^    \([A-Za-z_0-9]*\);$/\1/p' tdpmmu.map | sort)" ]
    verdict $? 'libtdpmmu.a has other names than tdpmmu.map'
}

files() { find "$root$prefix" ! -type d | sort; }

# WHERE ROOT PREFIX LIBDIR [BINDIR]: the tool finds its library, and a C program all it needs.
usable() {
    where=$1 root=$2 prefix=$3 libdir=$4 bindir=${5:-}
    mkdir -p "$root$prefix/include" "$root$prefix/share/man/man1" "$root$prefix/share/man/man3"
    echo mine >"$root$prefix/include/mine.h"
    # Pages that are nobody's but the user's, though they speak of the library.
    echo '.\" about libtdpmmu.so' >"$root$prefix/share/man/man1/mine.1"
    echo '.\" about tdpmmu_create_vm' >"$root$prefix/share/man/man3/mine.3"
    echo '.so man3/mine.3' >"$root$prefix/share/man/man3/mine_too.3"
    before=$(files)
    mk install
    verdict $? 'make install'

    # The links as ldconfig would make them, and the file by its version.
    [ "$(readlink "$root$libdir/libtdpmmu.so")" = libtdpmmu.so.1 ] && [ "$(readlink "$root$libdir/libtdpmmu.so.1")" = "$real" ] &&
        [ -f "$root$libdir/$real" ] && [ ! -L "$root$libdir/$real" ]
    verdict $? "the links of the library: $(ls -l "$root$libdir")"

    compile "$tmp/use" "$(pc --cflags) $(pc --libs)"
    verdict $? "a program compiled with what pkg-config says: $(pc --cflags --libs)"
    out=$(LD_LIBRARY_PATH=$root$libdir "$tmp/use" 2>&1)
    [ "$out" = "$version" ] && [ "$out" = "$(pc --modversion)" ]
    verdict $? "the program said '$out', pkg-config says '$(pc --modversion)', the header has $version"

    # The tool finds the installed library by itself, and not the one in build/.
    tool=$root${bindir:-$prefix/bin}/tdpmmuctl
    found=$(ldd "$tool" 2>/dev/null | sed -n 's/.*libtdpmmu.so.1 => \(.*\) (0x.*/\1/p')
    [ -n "$found" ] && [ "$(readlink -f "$found")" = "$(readlink -f "$root$libdir/libtdpmmu.so.1")" ]
    verdict $? "tdpmmuctl does not find the installed library, but '$found'"
    "$tool" --help >"$tmp/log" 2>&1
    verdict $? 'tdpmmuctl --help'
    cmp -s "$tool" build/installed/tdpmmuctl
    verdict $? 'tdpmmuctl was changed after it was linked'
    guides_lead_somewhere
    ! grep -rqF "$top" "$root$prefix" "$root$libdir"
    verdict $? "an installed file names the build directory: $(grep -rlF "$top" "$root$prefix" "$root$libdir")"
}

# Each link of an installed guide leads to what is installed, or to the network.
guides_lead_somewhere() {
    grep -noE '\]\([^()#[:space:]]+' -r "$root$prefix/share/doc/libtdpmmu" --include='*.md' | grep -v ':\](https\?:' | while IFS=: read -r file line target; do
        [ -e "$(dirname "$file")/${target#??}" ] || echo "$file:$line: ${target#??}"
    done >"$tmp/dead"
    [ -f "$root$prefix/share/doc/libtdpmmu/README.md" ] && [ ! -s "$tmp/dead" ]
    verdict $? "links that lead nowhere: $(cat "$tmp/dead")"
}

gone() { # ARGUMENTS OF MAKE
    mk uninstall "$@"
    verdict $? 'make uninstall'
    left=$(cd "$tmp" && find . -name '*tdpmmu*' ! -type d)
    [ -z "$left" ] && [ ! -e "$root$prefix/share/doc/libtdpmmu" ]
    verdict $? "after uninstall there is: $left"
    [ "$(files)" = "$before" ]
    verdict $? "files before the install and after uninstall differ: $(files | wc -l), $(echo "$before" | wc -l)"
}

# ---- what a user does -----------------------------------------------------------

usable 'a staged root' "$tmp/root" /opt/tdp /opt/tdp/lib64
statically
by_cmake "$root/opt/tdp/lib64/cmake/tdpmmu"

# The module map is for Swift and clang: does it name files that are there?
missing=$(sed -n 's/.*header "\(.*\)".*/\1/p' "$root/opt/tdp/include/tdpmmu/module.modulemap" |
    while read -r h; do [ -f "$root/opt/tdp/include/tdpmmu/$h" ] || echo "$h"; done)
[ -z "$missing" ]
verdict $? "the module map names $missing"

printf 'import CTDPMMU\nlet vm: UnsafeMutablePointer<kvm>? = tdpmmu_create_vm(nil)\ntdpmmu_destroy_vm(vm)\n' >"$tmp/use.swift"
"${SWIFT:-swift}c" -typecheck -I "$root/opt/tdp/include/tdpmmu" "$tmp/use.swift" >"$tmp/log" 2>&1
verdict $? 'a Swift program that imports CTDPMMU'
# The module map says what to link.
"${SWIFT:-swift}c" -I "$root/opt/tdp/include/tdpmmu" -L "$root/opt/tdp/lib64" -Xlinker -rpath -Xlinker "$root/opt/tdp/lib64" \
    -o "$tmp/use-swift" "$tmp/use.swift" >"$tmp/log" 2>&1 && "$tmp/use-swift" >>"$tmp/log" 2>&1
verdict $? 'a Swift program that is linked by the module map'
rm -f "$tmp/use-swift"
# All moved together, by another name: what was installed is found there.
where='a staged root that was moved'
mv "$tmp/root" "$tmp/moved"
"$tmp/moved/opt/tdp/bin/tdpmmuctl" --version >"$tmp/log" 2>&1
verdict $? 'tdpmmuctl'
by_cmake "$tmp/moved/opt/tdp/lib64/cmake/tdpmmu"
said=$(PKG_CONFIG_LIBDIR=$tmp/moved/opt/tdp/lib64/pkgconfig pkg-config --define-variable=prefix="$tmp/moved/opt/tdp" --libs --cflags tdpmmu)
compile "$tmp/use" "$said"
verdict $? "pkg-config with another prefix: $said"
mv "$tmp/moved" "$tmp/root"
where='a staged root'
gone

usable 'paths with blanks' "$tmp/a root" '/opt/my tdp' '/opt/my tdp/my lib'
by_cmake "$root$prefix/my lib/cmake/tdpmmu"
gone
usable 'slashes at the end' "$tmp/slashes" /opt/tdp/ /opt/tdp/lib64//
mk uninstall TOOL=no
[ -f "$root/opt/tdp/bin/tdpmmuctl" ] && [ -f "$root/opt/tdp/share/man/man1/tdpmmuctl.1" ] && [ ! -e "$root/opt/tdp/lib64/libtdpmmu.a" ]
verdict $? 'make uninstall TOOL=no took something of the tool, or left the library'
gone
deep=/srv/$(printf 'a-very-long-name-of-a-folder/%.0s' $(seq 20))lib
usable 'a library far from its prefix' "$tmp/far" /opt/tdp "$deep"
where='a build that is gone'
gone O="$tmp/never-built"
mkdir -p "$tmp/elsewhere/deep/down"
ln -s "$tmp/elsewhere/deep/down" "$tmp/bin-link"
usable 'no root, and programs behind a link' '' "$tmp/direct" "$tmp/direct/lib" "$tmp/bin-link"
mk install
grep -q -- '-Wl,-rpath,' "$tmp/log"
verdict $? "a folder that the loader does not look into is not spoken of"
by_cmake "$prefix"
gone

# A folder that the loader looks into, so the tool needs no run path; ldconfig is not called for anybody, but named.
where='a folder of the system'
system=$(/lib64/ld-linux-x86-64.so.2 --help | sed -n 's/^  \(.*\) (system search path)$/\1/p' | head -n 1)
root=$tmp/system prefix=/usr libdir=$system bindir=
mk install-tool
verdict $? 'make install-tool'
! readelf -d "$root/usr/bin/tdpmmuctl" | grep -qE '\((RPATH|RUNPATH)\)' && [ ! -e "$root$libdir/libtdpmmu.so.1" ]
verdict $? 'tdpmmuctl has a run path, or install-tool put the library there'
DESTDIR='' PREFIX=/usr LIBDIR=$libdir python3 scripts/install.py hint | grep -q 'run ldconfig'
verdict $? "after an install into $libdir nobody speaks of ldconfig"
rm -rf "$root"

where='without the tool'
root=$tmp/library prefix=/opt/tdp libdir=/opt/tdp/lib bindir=
for way in 'install-lib' 'install TOOL=no'; do
    # shellcheck disable=SC2086
    mk $way
    [ -f "$root/opt/tdp/lib/libtdpmmu.so.1" ] && [ ! -e "$root/opt/tdp/bin" ]
    verdict $? "make $way: $(find "$root" -name '*tdpmmu*' | head -n 5)"
    mk uninstall
done

where='the packages'
for said in "$(sed -n '1s/libtdpmmu (\(.*\)-.*/\1/p' debian/changelog)" "$(sed -n 's/^Version: *//p' tdpmmu.spec)" \
    "$(sed -n '/^%changelog/{n;s/.* - \(.*\)-.*/\1/p}' tdpmmu.spec)"; do
    [ "$said" = "$version" ]
    verdict $? "a package says it is version $said, the header has $version"
done

# ---- what a user mistypes ----------------------------------------------------------

where='mistyped'
refused() { # WORD OF THE ONE LINE, ARGUMENTS OF MAKE
    word=$1
    shift
    make --no-print-directory "$@" >"$tmp/log" 2>&1
    status=$?
    told=$(grep -Ecv '^make(\[[0-9]*\])?: \*\*\* \[' "$tmp/log")
    [ $status -ne 0 ] && [ "$told" -eq 1 ] && grep -qF -- "$word" "$tmp/log"
    verdict $? "make $*: not one line with '$word'"
}
refused 'PREFIX= and not prefix=' install prefix="$tmp/no"
refused 'DESTDIR= and not destdir=' install destdir="$tmp/no"
refused 'nothing here asks for DESDIR' install DESDIR="$tmp/no"
for name in VERSION B Q BUILD SONAME; do
    refused "nothing here asks for $name:" dist "$name=$tmp/no"
done
refused "PREFIX has to be a whole path" install PREFIX=no
refused "PREFIX has to be a whole path" install PREFIX=
refused 'PREFIX has a " in it' install-lib PREFIX="$tmp/no\""
refused "LIBDIR has to be a whole path" install PREFIX="$tmp/no" LIBDIR=lib
refused "DESTDIR: nobody reads the ~" install DESTDIR='~/no'
refused "it has a ':' or a '\$'" install PREFIX="$tmp/no" LIBDIR="$tmp/no/a:b"
refused 'TOOL=perhaps: say yes or no' install TOOL=perhaps PREFIX="$tmp/no"
refused 'V=loud: say 0 or 1' lib V=loud
refused 'no targets with blanks' lib O="$tmp/a folder"
refused 'Tests are made in build/' check-c O="$tmp/no"
refused 'run make in the folder of the sources' -C "$tmp" -f "$top/Makefile" lib
echo 'no folder' >"$tmp/file"
refused 'nothing was installed' install-lib PREFIX="$tmp/file"
mkdir -p "$tmp/taken/lib/libtdpmmu.a"
refused 'nothing was installed' install-lib PREFIX="$tmp/taken"
left=$(find "$tmp/taken" "$tmp/no" 2>/dev/null | tr '\n' ' ')
[ "$left" = "$tmp/taken $tmp/taken/lib $tmp/taken/lib/libtdpmmu.a " ]
verdict $? "half of it was installed: $left"

! SOURCE_DATE_EPOCH=abc python3 scripts/tool_man.py build/tdpmmuctl "$tmp/no" >"$tmp/log" 2>&1 &&
    [ "$(wc -l <"$tmp/log")" -eq 1 ] && grep -q SOURCE_DATE_EPOCH "$tmp/log"
verdict $? 'SOURCE_DATE_EPOCH=abc: not one line'

if ! command -v cmake >/dev/null; then
    echo 'install: the CMake package was not tried: there is no cmake here'
fi
echo "install: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
