#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make check-gdb: gdb/test_gdb.c stopped in gdb, alive and as a core file, with the script that lies beside the library.

Each entry that gdb shows must be one that the library's own functions show, with the same reading; gdb must load the
script and the debug information without a complaint; what structs say, and bad input, must be as expected here."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, "build")
SECONDS = 120
KINDS = ["ept", "ept5", "ept-noad", "ept-l1tf", "npt"]

# What is asked at look_here(), where frame 0 has the arguments, and what must be found in the answer.
PRINTED = [
    ("print *kvm", r"VM 0x[0-9a-f]+: ept, 4 levels, MAXPHYADDR 46, NX huge pages; 2 roots, 3 vCPUs; mmu_lock held for read 1 time"),
    ("print kvm->mmu_lock", r"= held for read 1 time$"),
    ("print *iter", r"level 1 of 4 down to 1, address space 0, gfn 0x801, spte 0x[0-9a-f]+ \(4K leaf, RWX AD?-?HM WB, pfn 0x100801\)"),
    ("print *slot", r"slot 1, address space 0, gfns 0x4000 to 0x43ff, host 0x44000000, logged$"),
    ("print *range", r"gfns 0x5 to before 0x9, may block, slot 0x[0-9a-f]+"),
    ("print root->role", r"level 4, address space 0 \(0x[0-9a-f]+\)"),
    ("print *root", r"root, level 4, gfn 0x0, address space 0, 3 references, entries at 0x[0-9a-f]+, VM 0x[0-9a-f]+"),
    ("print heads[0]", r"queued, to be called: a_callback"),
    ("print heads[1]", r"not queued, function a_callback"),
    ("print $tdpmmu_spte(0x8000000000000000)", r"= \"ept: nothing; ept-noad: nothing; npt: nothing\"$"),
    # The NUL that ends it, without which printf goes on behind it; and a core file has no process for printf to put it in.
    ("print $tdpmmu_spte(0x8000000000000000)[45]", r"= 0 '\\000'$"),
    ('printf "%s|\\n", $tdpmmu_spte(0x80000000000005a0)', r"\A(?:; )?(?:(?:ept|ept-noad|npt): frozen: [^;|]+(?:; )?){3}\|\n\Z"),
    ('printf "%s|\\n", $tdpmmu_spte(0x8000000000000000)', r"\Aept: nothing; ept-noad: nothing; npt: nothing\|\n\Z"),
    ("print $tdpmmu_spte(iter->old_spte)", r"= \"ept: 4K leaf, RWX AD?-?HM WB, pfn 0x100801; "),
    ('printf "%s|\\n", $tdpmmu_spte(iter->old_spte)', r"\Aept: 4K leaf, RWX AD?-?HM WB, pfn 0x100801; .*[0-9a-z]\|\n\Z"),
    ("tdpmmu-spte 0x80000000000005a0", r"frozen"),
    ("tdpmmu-spte 0x8600000000201877 ept", r"^4K leaf, RWX --HM WB, pfn 0x201$"),
    ("tdpmmu-spte 0x86000000002019f7 ept 2", r"^2M leaf, RWX A-HM WB, pfn 0x201$"),
    ("tdpmmu-spte 0x201e67 npt", r"^4K leaf, RWX ADHM, pfn 0x201$"),
    ("tdpmmu-spte 0x8610000000206870 ept-noad", r"^4K leaf, --- T-HM WB, pfn 0x206, after the next access R$"),
    ("tdpmmu-tables kvm 0x801", r"(?s)level 1  gfn 801 .*4K leaf .*pfn 100801\n4 tables, 1 leaf of 4K\n"),
    ("tdpmmu-tables *kvm 0x4000 0x4007", r"level 1  gfn 4000-400\d"),
    ("tdpmmu-tables vcpu 0 0x1ff", r"level 2  gfn 0-1ff +2M leaf +RW- "),
    ("tdpmmu-tables", r"(?s)which VM\?.*ept, 4 levels, MAXPHYADDR 46, NX huge pages\n.*npt, 4 levels"),
]
BAD = [
    ("tdpmmu-tables 16", r"16: there is no VM, nor vCPU, at 0x10"),
    ("tdpmmu-tables nobody", r"nobody: No symbol \"nobody\""),
    ("tdpmmu-tables root", r"there is no VM, nor vCPU, at"),
    ("tdpmmu-tables -all kvm", r"tdpmmu-tables \[-entries\] \[KVM"),
    ("tdpmmu-tables kvm 5 4", r"no gfn is from 0x5 to 0x4"),
    ("tdpmmu-tables kvm *root", r"is no number"),
    ("tdpmmu-spte", r"tdpmmu-spte VALUE"),
    ("tdpmmu-spte 1 amd", r"amd: No symbol"),
    ("tdpmmu-spte 1 ept 9", r"LEVEL is 1 to 5"),
    ("print $tdpmmu_spte()", r"\AREFUSED \$tdpmmu_spte\(VALUE\)\n\Z"),
    ("print $tdpmmu_spte(1, 2)", r"\AREFUSED \$tdpmmu_spte\(VALUE\)\n\Z"),
    ("print $tdpmmu_spte(*root)", r"\AREFUSED \$tdpmmu_spte\(VALUE\): that is no number\n\Z"),
]
# Memory that was written over, in the living program alone: it is named and not followed, and no list is endless.
BROKEN = [
    ("set var root->spt[5] = root->spt[0]", r"^$"),
    ("tdpmmu-tables kvm 0x28000000", r"level 4  gfn 28000000-2fffffff +[0-9a-f]+: no table of this VM stands there$"),
    ("set var root->next = root", r"^$"),
    ("tdpmmu-tables kvm 0x40000000", r"(?s)\A[^\n]+\nroot [^\n]+\n1 table\nroot [^\n]+\n1 table\n\Z"),
    ("set var root->spt[5] = 0x8000000000000000", r"^$"),
    ("set var root->next = 0", r"^$"),
]
# A script of another build.
OTHER = ["python tdpmmu_gdb.LAYOUT['variables']['witness'] += 16", "print *kvm", "tdpmmu-tables kvm 0"]
# The table that is used where there is no VM, against what VMs have.
TABLE = """python
for name, address in (%s):
    vm = tdpmmu_gdb.VM.at(address)
    table = tdpmmu_gdb.KINDS[name]
    same = [key for key in table if getattr(vm.masks, key) == table[key]]
    print("KIND %%s %%d of %%d" %% (name, len(same), len(table)))
end"""
# But for the page that no program may read, of which gdb's own writing of core files complains.
COMPLAINTS = re.compile(r"(?i)warning:(?! Memory read failed for corefile section, \d+ bytes at 0xffffffffff600000)|DWO|complaint|declined|Traceback|Python Exception|Error in sourced|no debugging symbols")


class Checks:
    passed = failed = 0

    def see(self, good, what, output=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print("gdb: FAILED: %s\n%s" % (what, output))


def build(folder):
    program = os.path.join(folder, "test_gdb")
    subprocess.run([*os.environ.get("CC", "cc").split(), "-std=c11", "-g", "-O1", "-D_GNU_SOURCE", "-Wall", "-Wextra",
                    "-Werror", "-I", os.path.join(TOP, "include"), os.path.join(TOP, "gdb", "test_gdb.c"), "-L", BUILD,
                    "-ltdpmmu", "-Wl,-rpath," + BUILD, "-o", program], check=True)
    return program


def gdb(program, commands, core=None, safe=True):
    """Its output; each command's behind a line `== N`."""
    script = ["set pagination off", "set confirm off", "set width 0", "set debuginfod enabled off"]
    for number, command in enumerate(commands):
        # A command that fails ends a script, but not this.
        script.append("python print('== %d')" % number)
        if command.startswith("python\n") or command.split()[0] in ("break", "run", "up", "finish"):
            script.append(command)
        else:
            script.append("python\ntry: gdb.execute(%r)\nexcept gdb.error as e: print('REFUSED ' + str(e))\nend" % command)
    path = os.path.join(os.path.dirname(program), "commands")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(script) + "\n")
    words = ["gdb", "-nx", "-batch"] + (["-iex", "add-auto-load-safe-path " + BUILD] if safe else [])
    words += ["-x", path, program] + ([core] if core else [])
    environment = {name: value for name, value in os.environ.items() if name != "DEBUGINFOD_URLS"}
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                          errors="replace", timeout=SECONDS, env=environment)
    return done.stdout


def answers(output):
    return {int(number): text for number, text in re.findall(r"(?ms)^== (\d+)\n(.*?)(?=^== |\Z)", output)}


def told(output):
    """What the program says: {name: VM}, {root: [(level, gfn, spte, words)]}."""
    vms, roots, here = {}, {}, None
    for line in output.splitlines():
        words = line.split()
        if line.startswith("MADE "):
            vms[words[1]] = words[2]
        elif line.startswith("ROOT "):
            here = roots.setdefault(int(words[2], 16), [])
        elif line.startswith("ENTRY "):
            here.append((int(words[2]), int(words[3], 16), int(words[4], 16), words[5:]))
    return vms, roots


def shown(text):
    """What tdpmmu-tables -entries says, in the same form but for the words."""
    roots, here = {}, None
    for line in text.splitlines():
        found = re.match(r"root (0x[0-9a-f]+) ", line)
        if found:
            here = roots.setdefault(int(found.group(1), 16), [])
        found = re.match(r"  level (\d) gfn (0x[0-9a-f]+) spte (0x[0-9a-f]+)  (.*)", line)
        if found:
            here.append((int(found.group(1)), int(found.group(2), 16), int(found.group(3), 16), found.group(4)))
    return roots


def agrees(words, text):
    """Do the library's functions and gdb read an entry alike?"""
    if words[0] == "mmio":
        return text == "MMIO, gfn %s, generation %s" % (words[1], words[2])
    if words[0] == "table":
        return text == "table at 0x%x" % (int(words[5], 16) << 12)
    found = re.match(r"\w+ leaf, (.{8})( \S+)?, pfn (0x[0-9a-f]+)", text)
    if not found or found.group(3) != words[5]:
        return False
    letters = found.group(1)
    # Without a bit for it, accessed is what is not tracked, and dirty what may be written.
    accessed = letters[4] == "A" or letters[4] == "-" and words[2] == "a1"
    dirty = letters[5] == "D" or letters[5] == "-" and words[3] == "d1" and letters[1] == "W"
    return (words[1] == "w1") == (letters[1] == "W") and (words[4] == "x1") == (letters[2] == "X") \
        and (words[2] == "a1") == accessed and (words[3] == "d1") == dirty


def compare_tables(checks, name, roots, text):
    seen = shown(text)
    checks.see(len(seen) == 2, "%s: %d roots, and not 2" % (name, len(seen)), text)
    for root, entries in seen.items():
        expected = roots.get(root, [])
        checks.see(bool(expected) and [entry[:3] for entry in entries] == [entry[:3] for entry in expected],
                   "%s: the entries of root 0x%x are others" % (name, root), text)
        wrong = [(one[3], two[3]) for one, two in zip(expected, entries) if not agrees(one[3], two[3])]
        checks.see(not wrong, "%s: entries are read otherwise" % name, str(wrong[:4]))


def look(checks, commands, output, roots, vms):
    answer = answers(output)
    for number, command in enumerate(commands):
        text = answer.get(number, "")
        if command.startswith("tdpmmu-tables -entries 0x"):
            name = next(name for name in vms if vms[name] == command.split()[2])
            compare_tables(checks, name, roots, text)
        if command.startswith("python\n"):
            kinds = re.findall(r"^KIND (\S+) (\d+) of (\d+)$", text, re.M)
            checks.see(len(kinds) == 3 and all(one == other for _, one, other in kinds), "masks are not those of KINDS", text)
        if command == OTHER[-1]:
            checks.see("REFUSED another build of libtdpmmu is loaded" in text, "a script of another build", text)
        if number == len(commands) - 2:
            checks.see("= no VM; mmu_lock held for read 1 time" in text, "struct kvm, with a script of another build", text)
        for wanted, pattern in [] if number == len(commands) - 2 else PRINTED + BAD + BROKEN:
            if wanted == command:
                checks.see(re.search(pattern, text, re.M) and ("REFUSED" in text) == (pattern in dict(BAD).values()
                           or "which VM" in pattern), command, text)


def main():
    checks = Checks()
    if not shutil.which("gdb"):
        print("gdb: skipped: there is no gdb here (Debian's package gdb)")
        return 0
    with tempfile.TemporaryDirectory(prefix="tdpmmu-gdb-") as folder:
        program = build(folder)
        core = os.path.join(folder, "core")
        try:
            subprocess.run(["gdb", "-nx", "-batch", "-ex", "python print(1)"], check=True, stdout=subprocess.PIPE)
            first = gdb(program, ["break look_here", "run"])
        except (OSError, subprocess.SubprocessError) as error:
            checks.see(False, "gdb: %s" % error)
            print("gdb: %d passed, %d failed" % (checks.passed, checks.failed))
            return 1
        loaded = subprocess.run(["gdb", "-nx", "-batch", "-ex", "info functions ^kvm_mmu_load$", "-ex", "info types VMMemory",
                                 os.path.join(BUILD, "libtdpmmu.so.1")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                stdin=subprocess.DEVNULL, text=True, errors="replace").stdout
        checks.see("kvm_mmu_load" in loaded and "VMMemory" in loaded and not re.search(r"DWO|debug_names|complaint", loaded),
                   "gdb complains of the debug information", loaded)
        sourced = subprocess.run(["gdb", "-nx", "-batch", "-ex", "source build/libtdpmmu.so.1-gdb.py", "-ex", 'printf "%s|\\n", $tdpmmu_spte(0)'],
                                 cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True).stdout
        checks.see(sourced == "ept: nothing; ept-noad: nothing; npt: nothing|\n", "the script by hand, as docs/GDB.md has it", sourced)
        vms, roots = told(first)
        if "ptrace" in first and not vms:
            print("gdb: skipped: gdb may start no program here: %s" % first.strip().splitlines()[-1])
            return 0
        checks.see(sorted(vms) == sorted(KINDS), "the program tells of other VMs", first)
        # Addresses are the same in each run under gdb: it turns randomization off.  Where it cannot, this will differ.
        table = TABLE % ", ".join("(%r, %s)" % (name, vms[name]) for name in ("ept", "npt", "ept-noad") if name in vms)
        asked = ["tdpmmu-tables -entries %s" % vms[name] for name in vms] + [table]
        asked += [command for command, _ in PRINTED + BAD]
        live = ["break on_warning", "run", "print *warning", "break look_here", "python gdb.execute('continue')"]
        here = asked + [command for command, _ in BROKEN]
        output = gdb(program, live + here + ["generate-core-file " + core] + OTHER)
        vms, roots = told(output)
        found = re.search(r"^\$\d+ = lock: kvm_tdp_mmu_zap_leafs: .+\(0x[0-9a-f]+, 0x[0-9a-f]+\)$", answers(output).get(2, ""), re.M)
        checks.see(found, "print *warning", answers(output).get(2, ""))
        shifted = re.sub(r"(?m)^== (\d+)$", lambda m: "== %d" % (int(m.group(1)) - len(live)), output)
        look(checks, here + ["generate-core-file"] + OTHER, shifted, roots, vms)
        checks.see(not COMPLAINTS.search(output), "gdb complains", "\n".join(
            line for line in output.splitlines() if COMPLAINTS.search(line)))
        checks.see(os.path.exists(core) and os.path.getsize(core) < 1 << 28, "no core file, or a huge one", answers(output).get(len(live) + len(here), ""))
        dead = gdb(program, asked + OTHER, core)
        look(checks, asked + OTHER, dead, roots, vms)
        for n, name in enumerate(vms):
            alive, lain = answers(shifted).get(n, ""), answers(dead).get(n, "")
            checks.see(shown(alive) == shown(lain) != {}, "%s: a core file shows other tables" % name, alive + lain)
        quiet = [line for line in dead.splitlines() if COMPLAINTS.search(line)]
        checks.see(not quiet, "gdb complains of the core file", "\n".join(quiet))
    print("gdb: %d passed, %d failed" % (checks.passed, checks.failed))
    return 1 if checks.failed or not checks.passed else 0


sys.exit(main())
