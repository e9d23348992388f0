# SPDX-License-Identifier: GPL-2.0-only
# For fuzz/library.sh and fuzz/targets.sh: . fuzz/asked.sh, with $usage, whose words are the script's name and its arguments.
# What cannot be made is told in one line, before anything is built.
refuse() {
    echo "$1" >&2
    exit 2
}
# shellcheck disable=SC2086,SC2154
[ $# -eq $(($(printf '%s\n' $usage | wc -l) - 1)) ] || refuse "usage: $usage"
for argument in "$@"; do
    [ -n "$argument" ] || refuse "usage: $usage"
done
case ${SANITIZE:-} in
'' | address) ;;
*) refuse "${usage%% *}: SANITIZE is address or nothing, and not '$SANITIZE'" ;;
esac
case ${ENGINE:-libfuzzer} in
libfuzzer | afl) ;;
*) refuse "${usage%% *}: ENGINE is libfuzzer or afl, and not '$ENGINE'" ;;
esac
