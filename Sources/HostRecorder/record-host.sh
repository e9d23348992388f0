#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Records what KVM's TDP MMU does for one process, as ftrace text; to be run as root, and to be read before.
#
# It makes an ftrace instance (instances/tdpmmu-PID) and a group of kprobes (tdpmmu_PID) of its own, changes nothing
# else, and takes both away when it ends: by Ctrl-C, with the process, or after so many seconds.  The probes read
# arguments of KVM's functions, and structs by their offsets: those of one kernel release.
set -u

pid=@PID@
out=@OUT@
seconds=@SECONDS@ # 0: until Ctrl-C, or until the process ends
megabytes=@MEGABYTES@ # for each CPU; where they do not do, the oldest events are lost, and that is told
release=@RELEASE@ # of the kernel that the offsets are of; "any": whatever runs here
tasks=@TASKS@ # process: its threads, and its thread that recovers huge pages; all: reclaim and KSM, too, of all VMs
tracefs=@TRACEFS@
proc=@PROC@
sys=@SYS@

group=tdpmmu_$pid
instance=$tracefs/instances/tdpmmu-$pid
part=$out.$pid.new

die() { echo "tdpmmuctl record: $*" >&2; exit 2; }
unwritten() { echo "tdpmmuctl record: $out: cannot be written" >&2; exit 1; }

# ---- nothing is changed before all this holds

case $pid in '' | *[!0-9]*) die "'$pid' is no process" ;; esac
[ -d "$proc/$pid" ] || die "there is no process $pid"
if [ ! -w "$tracefs/kprobe_events" ]; then
    [ "$(id -u)" -eq 0 ] || die "this takes root: $tracefs/kprobe_events cannot be written"
    die "no kprobes in $tracefs: is it mounted (mount -t tracefs tracefs $tracefs), and in this container?"
fi
running=$(cat "$proc/sys/kernel/osrelease")
case $release:$running in
any:* | "$release:$release".* | "$release:$release"-* | "$release:$release") ;;
*) die "the probes are for Linux $release, and this is $running, whose structs may differ: --any-kernel tries it all the same" ;;
esac
if [ -d "$sys/module/kvm_amd" ]; then
    vendor=npt ad=1 pml=0
elif [ -d "$sys/module/kvm_intel" ]; then
    vendor=ept ad=0 pml=0
    [ "$(cat "$sys/module/kvm_intel/parameters/eptad")" != Y ] || ad=1
    [ "$(cat "$sys/module/kvm_intel/parameters/pml")" != Y ] || pml=1
else
    die "KVM is not there: neither kvm_amd nor kvm_intel"
fi
[ "$(cat "$sys/module/kvm/parameters/tdp_mmu")" = Y ] || die "kvm runs without its TDP MMU (tdp_mmu=N)"
vms=0
for descriptor in "$proc/$pid"/fd/*; do
    case $(readlink "$descriptor") in anon_inode:kvm-vm*) vms=$((vms + 1)) ;; esac
done
[ "$vms" -gt 0 ] || die "process $pid has no VM"
[ "$vms" -eq 1 ] || echo "tdpmmuctl record: process $pid has $vms VMs, whose events will be mixed" >&2
[ ! -e "$instance" ] || die "$instance is there already: is process $pid being recorded?"
[ ! -d "$out" ] || unwritten
(: >"$part") 2>/dev/null || unwritten

# ---- taken away at the end, however it comes

placed=
finish() {
    status=$?
    trap '' HUP INT TERM
    if [ -d "$instance" ]; then
        echo 0 >"$instance/tracing_on"
        echo >"$instance/set_event"
    fi
    for name in $placed; do echo "-:$group/$name" >>"$tracefs/kprobe_events"; done
    if [ -d "$instance" ]; then rmdir "$instance"; fi
    rm -f "$part"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

put() { echo "$1" 2>/dev/null >"$2" || die "$2 does not take \"$1\""; }
add() { echo "$1" 2>/dev/null >>"$2" || die "$2 does not take \"$1\""; }

mkdir "$instance" || die "$instance cannot be made"
put 0 "$instance/tracing_on"
put $((megabytes * 1024)) "$instance/buffer_size_kb"
put counter "$instance/trace_clock"

# ---- probes: p at a function's beginning, r10 at its return, with a word before those that not all machines have

has=$vendor
[ $pml -eq 0 ] || has="$has pml"
missing=
while read -r word rest; do
    case $word in
    '' | '#'*) continue ;;
    ept | npt | pml) case " $has " in *" $word "*) probe=$rest ;; *) continue ;; esac ;;
    *) probe="$word $rest" ;;
    esac
    name=${probe#*:tdp/}
    name=${name%% *}
    if echo "${probe%%:tdp/*}:$group/${probe#*:tdp/}" 2>/dev/null >>"$tracefs/kprobe_events"; then
        placed="$placed $name"
    else
        missing="$missing $name"
    fi
done <<'PROBES'
@PROBES@
PROBES
[ -n "$placed" ] || die "no probe could be placed"
[ -z "$missing" ] || echo "tdpmmuctl record: not in this kernel:$missing" >&2

# ---- events of this process

add "$group:*" "$instance/set_event"
add 'kvmmmu:*' "$instance/set_event"
for event in kvm_page_fault kvm_mmio kvm_userspace_exit kvm_smm_transition kvm_unmap_hva_range kvm_age_hva kvm_test_age_hva \
    kvm_dirty_ring_push kvm_dirty_ring_reset kvm_dirty_ring_exit; do
    echo "kvm:$event" 2>/dev/null >>"$instance/set_event" || echo "tdpmmuctl record: not in this kernel: kvm:$event" >&2
done
if [ "$tasks" = process ]; then
    put event-fork "$instance/trace_options" # threads that it makes later
    for task in "$proc/$pid"/task/*; do
        [ ! -d "$task" ] || add "${task##*/}" "$instance/set_event_pid"
    done
    for comm in "$proc"/[0-9]*/comm; do
        [ "$(cat "$comm" 2>/dev/null)" = "kvm-nx-lpage-recovery-$pid" ] || continue
        task=${comm%/comm}
        add "${task##*/}" "$instance/set_event_pid"
    done
fi

# ---- until it ends

bits=$(sed -n 's/^address sizes.*: \([0-9]*\) bits physical.*/\1/p' "$proc/cpuinfo" | head -n 1)
[ -d "$proc/$pid" ] || die "process $pid ended before all was set up"
put 1 "$instance/tracing_on"
put "INFO vendor=$vendor ad=$ad pml=$pml${bits:+ maxphyaddr=$bits}" "$instance/trace_marker"
echo "tdpmmuctl record: recording process $pid; Ctrl-C ends it" >&2
passed=0
stopped=no
trap 'stopped=yes' HUP INT TERM
while [ $stopped = no ] && [ -d "$proc/$pid" ] && { [ "$seconds" -eq 0 ] || [ $passed -lt "$seconds" ]; }; do
    sleep 1
    passed=$((passed + 1))
done
trap '' HUP INT TERM
put 0 "$instance/tracing_on"
cat "$instance/trace" >"$part" || unwritten
kept=$(sed -n 's|^# entries-in-buffer/entries-written: \([0-9]*\)/.*|\1|p' "$part" | head -n 1)
written=$(sed -n 's|^# entries-in-buffer/entries-written: [0-9]*/\([0-9]*\).*|\1|p' "$part" | head -n 1)
mv "$part" "$out" || unwritten
echo "tdpmmuctl record: ${kept:-0} events in $out" >&2
[ "${written:-0}" -eq "${kept:-0}" ] ||
    echo "tdpmmuctl record: $((written - kept)) older ones did not fit: --buffer makes room" >&2
