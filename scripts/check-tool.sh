#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# What tdpmmuctl writes for other programs, given to those: completions to the shells, the man page to mandoc, the
# script that records a host to sh and shellcheck, pictures to graphviz and an XML parser; and what each command does
# where its output cannot be written, a file cannot be read, or it is called wrongly.  What is not installed here is said.
# Usage: check-tool.sh TOOL FOLDER   (FOLDER: with completions/ and man/)
set -u
tool=$1
built=$2
passed=0
failed=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

verdict() { # STATUS WHAT
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
    else
        echo "tool: FAILED: $2" >&2
        [ ! -s "$tmp/log" ] || head -n 5 "$tmp/log" >&2
        failed=$((failed + 1))
    fi
}
passes() { # WHAT COMMAND...
    what=$1
    shift
    "$@" >"$tmp/log" 2>&1
    verdict $? "$what"
}
has() { command -v "$1" >/dev/null || { echo "tool: not done, as there is no $1: $2"; return 1; }; }

# ---- completions

completions=$built/completions
if has bash "bash's completions"; then
    # Each word completes to what begins so, as readline would ask for it.
    cat >"$tmp/complete.bash" <<'BASH'
source "$1"
COMP_WORDS=(tdpmmuctl "${@:2}") COMP_CWORD=$(($# - 1)) COMP_LINE="tdpmmuctl ${*:2}" COMP_POINT=${#COMP_LINE} COMPREPLY=()
$(complete -p tdpmmuctl | sed 's/.*-F \([^ ]*\).*/\1/') tdpmmuctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
BASH
    completes() { # WANTED WORD...
        wanted=$1
        shift
        bash "$tmp/complete.bash" "$completions/tdpmmuctl.bash" "$@" 2>"$tmp/log" | sed 's/ *$//' | grep -qx -e "$wanted"
        verdict $? "bash does not complete 'tdpmmuctl $*' to $wanted"
    }
    completes tables ta
    completes watch wa
    completes html tables --format h
    completes --print-script record --pr
fi
has zsh "zsh's completions" && passes "zsh does not take $completions/_tdpmmuctl" zsh -n "$completions/_tdpmmuctl"
has fish "fish's completions" && passes "fish does not take $completions/tdpmmuctl.fish" fish -n "$completions/tdpmmuctl.fish"
! grep -rq perform-lists "$completions"
verdict $? 'a completion names what is no command for users'

# ---- man page

page=$built/man/man1/tdpmmuctl.1
if has mandoc 'the man page looked at'; then
    mandoc -Tlint "$page" >"$tmp/log" 2>&1
    [ ! -s "$tmp/log" ]
    verdict $? "mandoc -Tlint $page"
    mandoc -Tascii "$page" | col -b >"$tmp/page" 2>/dev/null
    for command in replay dump tables trace watch record compare explore; do
        "$tool" "$command" --help | grep -o -e ' --[a-z0-9-]*' | sort -u | while read -r option; do
            case $option in --help | --version) continue ;; esac
            grep -q -e "$option" "$tmp/page" || { echo "$command $option"; break; }
        done >"$tmp/log"
        [ ! -s "$tmp/log" ]
        verdict $? "an option that the man page has not"
    done
fi

# ---- the script that is run as root

"$tool" record --pid 1 -o "a b'c" --print-script >"$tmp/record.sh"
passes 'sh does not take the script of record' sh -n "$tmp/record.sh"
has shellcheck "the recorder's script looked at" && passes 'shellcheck, of the script of record' shellcheck "$tmp/record.sh"
"$tool" record --print-script >"$tmp/record.sh"
passes 'sh does not take the script of record for any process' sh -n "$tmp/record.sh"
grep -vxF -f "$tmp/record.sh" Sources/HostRecorder/kprobes.txt >"$tmp/log"
[ ! -s "$tmp/log" ]
verdict $? 'a probe is not in the script of record'

# ---- pictures

trace=traces/612-03a_dirtylog_plain.txt.gz
for beside in '' '--beside 1'; do
    # shellcheck disable=SC2086
    for format in svg html dot json text; do
        "$tool" tables --format $format --at 3 $beside -o "$tmp/picture.$format" $trace 2>"$tmp/log"
        verdict $? "tables --format $format $beside"
    done
    passes "svg $beside is no XML" python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$tmp/picture.svg"
    passes "json $beside is none" python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$tmp/picture.json"
    passes "html $beside: a tag is not closed" python3 scripts/html_closed.py "$tmp/picture.html"
    ! grep -q '<script' "$tmp/picture.html" "$tmp/picture.svg"
    verdict $? "a script in a picture $beside"
    awk 'length > 80 { exit 1 }' "$tmp/picture.text"
    verdict $? "text $beside is wider than 80 columns"
    has dot "pictures for graphviz $beside" && passes "graphviz does not take dot $beside" dot -Tsvg -o "$tmp/dot.svg" "$tmp/picture.dot"
done

# ---- files that cannot be read, as JSON

unreadable() { # COMMAND...
    "$tool" "$@" --json >"$tmp/out.json" 2>"$tmp/log"
    [ $? -eq 2 ] && [ "$(wc -l <"$tmp/log")" -eq 1 ] && [ "$(wc -l <"$tmp/out.json")" -eq 1 ] \
        && python3 -c 'import json, sys; [bad] = json.load(open(sys.argv[1]))["unreadable"]; assert bad["file"] == sys.argv[2]' \
            "$tmp/out.json" "$tmp/none" 2>>"$tmp/log"
    verdict $? "tdpmmuctl $* --json does not say what cannot be read"
}
unreadable replay "$tmp/none"
unreadable replay $trace --library "$tmp/none"
unreadable dump "$tmp/none"
unreadable tables "$tmp/none"
unreadable trace "$tmp/none"
unreadable watch "$tmp/none"
unreadable watch --once "$tmp/none"
unreadable compare --list "$tmp/none"
unreadable compare --with "$tmp/none"
unreadable explore --merge "$tmp/none"

# ---- wrong usage: one line, which names the command's help

refused() { # WORDS-OF-THE-MESSAGE COMMAND...
    words=$1
    shift
    "$tool" "$@" >"$tmp/out" 2>"$tmp/log"
    [ $? -eq 64 ] && [ ! -s "$tmp/out" ] && [ "$(wc -l <"$tmp/log")" -eq 1 ] && grep -qF -e "$words" "$tmp/log"
    verdict $? "tdpmmuctl $* is not refused by '$words'"
}
dumps=traces/612-03a_dirtylog_plain.npt.txt.gz
printf 'init npt\nzapall\n' >"$tmp/list.ops"
refused '--dumps takes a trace' tables --dumps "$tmp/none" $dumps
refused '--at-end takes a trace' tables --at-end $dumps
for option in --lists --seed --steps --yield; do refused "$option is for random lists" compare --list "$tmp/list.ops" "$option" 3; done
refused '--vendor is for random lists' compare --list "$tmp/list.ops" --vendor npt
refused '--init is for random lists' compare --list "$tmp/list.ops" --init nx=1
refused '--without is for random lists' compare --list "$tmp/list.ops" --without smm
refused 'no command "tabels"' help tabels
refused 'no command "rplay"' rplay x
refused 'no command "a\nb"' "$(printf 'a\nb')"
cp $trace "$tmp/copy.txt.gz"
refused 'See tdpmmuctl tables --help' tables -o "$tmp/copy.txt.gz" "$tmp/copy.txt.gz"
refused 'See tdpmmuctl replay --help' replay --guest --record "$tmp/copy.txt.gz" "$tmp/copy.txt.gz"

# ---- names: a line's end in one, and one that is wider than the terminal

broken=$(printf '%s/a\nb' "$tmp")
for command in replay dump tables trace watch 'compare --list' 'explore --merge'; do
    # shellcheck disable=SC2086
    "$tool" $command "$broken" >"$tmp/out" 2>"$tmp/log"
    [ $? -eq 2 ] && [ "$(wc -l <"$tmp/log")" -eq 1 ] && grep -qF '/a\nb: No such file' "$tmp/log"
    verdict $? "tdpmmuctl $command, of a name with a line's end in it"
done
long=$tmp/$(printf '%0100d' 0)
mkdir "$long"
cp $trace "$long/X.txt.gz"
cp $dumps "$long/X.npt.txt.gz"
python3 scripts/progress_width.py 60 "$tool" replay "$long/X.txt.gz" >"$tmp/log" 2>&1
verdict $? 'progress is wider than the terminal'

# ---- output that cannot be written

result=$tmp/result
printf '%s\n' 'tdpmmu-explore 1' 'scenario s' 'threads 2' 'mode all' 'limit 0' 'shard 1/1' 'shared 3' 'schedules 5' 'left 1' \
    'seconds 0.5' 'failed 0' end >"$result"
full() {
    "$tool" "$@" >/dev/full 2>"$tmp/log"
    [ $? -eq 1 ] && [ "$(wc -l <"$tmp/log")" -eq 1 ]
    verdict $? "tdpmmuctl $* to a full device"
}
for json in '' --json; do
    # shellcheck disable=SC2086
    {
        full replay $json $trace
        full dump $json $trace
        full tables $json $trace
        full watch --once $json $trace
        full compare $json --list "$tmp/list.ops"
        full explore --merge $json "$result"
    }
done
gzip -dc $trace >"$tmp/plain.txt"
full watch "$tmp/plain.txt" --interval 0.1
full record --pid 1 --print-script
full --help
full help tables
full --version
full --generate-completion-script bash
full --experimental-dump-help

echo "tool: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
