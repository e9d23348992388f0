# SPDX-License-Identifier: GPL-2.0-only
# For scripts that compare lists of operations with tdpmmuctl: . scripts/same.sh, with $suite, $tool, $log, $passed, $failed.

# NAME ARGUMENT...: a comparison that must find nothing.
same() {
    name=$1
    shift
    if "$tool" compare "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
    else
        echo "$suite: FAILED with $?: $name: tdpmmuctl compare $*" >&2
        tail -n 60 "$log" >&2
        failed=$((failed + 1))
    fi
}

# NAME VALUE: a count of random lists; of any other value one line says what it takes, and the script ends.
a_count() {
    case $2 in
    '' | 0* | *[!0-9]* | ??????????*)
        echo "$suite: $1 is a count of lists from 1 to 999999999, and not '$2'" >&2
        exit 2
        ;;
    esac
}
