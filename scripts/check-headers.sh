#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Each header alone, as every C and C++ we promise, with gcc and clang; the macros of RCU and of
# lists in use; and a program whose halves inlined the readers differently.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
clang=$(sh scripts/toolchain.sh)/bin/clang
gcc=${CHECK_GCC:-gcc}
passed=0
failed=0
warnings='-Wall -Wextra -Wpedantic -Werror'

try() {
    if "$@" >"$tmp/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "headers: FAILED: $*" >&2
        head -n 20 "$tmp/log" >&2
    fi
}

c23() { # the name this compiler has for C23
    if "$1" -std=c23 -E -x c /dev/null >/dev/null 2>&1; then echo c23; else echo c2x; fi
}

for header in tdpmmu.h $(cd include && ls tdpmmu/*.h); do
    if [ "$header" = tdpmmu/urcu_flavor.h ] &&
        ! echo '#include <urcu/flavor.h>' | "$gcc" -E -x c - >/dev/null 2>&1; then
        echo "headers: $header skipped: there is no <urcu/flavor.h>, which liburcu-dev has"
        continue
    fi
    printf '#include <%s>\n#include <%s>\nint nothing_%s;\n' "$header" "$header" \
        "$(basename "$header" .h)" >"$tmp/one.c"
    for level in -O0 -O2; do
        for cc in "$gcc" "$clang"; do
            for std in c11 c17 "$(c23 "$cc")"; do
                # shellcheck disable=SC2086
                try "$cc" -x c -std=$std $level $warnings -Iinclude -c "$tmp/one.c" -o "$tmp/one.o"
            done
            for std in c++17 c++20; do
                # shellcheck disable=SC2086
                try "$cc" -x c++ -std=$std $level $warnings -Iinclude -c "$tmp/one.c" -o "$tmp/one.o"
            done
        done
    done
done

for cc in "$gcc" "$clang"; do
    for debug in -DTDPMMU_RCU_DEBUG -DNOTHING; do
        for std in c11 c17 "$(c23 "$cc")"; do
            # shellcheck disable=SC2086
            try "$cc" -x c -std=$std -O2 $debug $warnings -Iinclude -c tests-c/uses_of_names.c -o "$tmp/one.o"
        done
        for std in c++17 c++20; do
            # shellcheck disable=SC2086
            try "$cc" -x c++ -std=$std -O2 $debug $warnings -Iinclude -c tests-c/uses_of_names.c -o "$tmp/one.o"
        done
    done
done

cat >"$tmp/half.c" <<'C'
#include <tdpmmu.h>
#ifdef __cplusplus
extern "C" bool HALF(void);
#else
bool HALF(void);
#endif
bool HALF(void)
{
    bool inside;

    rcu_read_lock();
    rcu_read_lock();
    rcu_read_unlock();
    inside = rcu_read_lock_held();
    rcu_read_unlock();
    return inside && !rcu_read_lock_held();
}
C
cat >"$tmp/main.c" <<'C'
#include <tdpmmu.h>
bool half_a(void);
bool half_b(void);
bool half_c(void);
int main(void)
{
    /* The readers of each half and the grace period must mean the same words. */
    uint64_t before = tdpmmu_rcu_gp;

    if (!half_a() || !half_b() || !half_c())
        return 1;
    synchronize_rcu();
    return tdpmmu_rcu_gp == before ? 2 : 0;
}
C
for cc in "$gcc" "$clang"; do
    for pie in pie no-pie; do
        model=-f$pie
        # shellcheck disable=SC2086
        {
            try "$cc" -std=c11 -O0 $warnings $model -Iinclude -DHALF=half_a -c "$tmp/half.c" -o "$tmp/a.o"
            try "$cc" -std=c11 -O2 $warnings $model -Iinclude -DHALF=half_b -c "$tmp/half.c" -o "$tmp/b.o"
            try "$cc" -x c++ -std=c++17 -O2 $warnings $model -DTDPMMU_NO_INLINE -Iinclude -DHALF=half_c \
                -c "$tmp/half.c" -o "$tmp/c.o"
            try "$cc" -std=c11 -O2 $warnings $model -Iinclude -$pie "$tmp/main.c" "$tmp/a.o" "$tmp/b.o" "$tmp/c.o" \
                -Lbuild -ltdpmmu -Wl,-rpath,"$PWD/build" -o "$tmp/mixed"
            try "$tmp/mixed"
        }
    done
done

echo "headers: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
