#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make check-kvm: programs of ours under tdpmmu-kvm (tests-kvm/, examples/), its options, and what it says
without an engine; then three of KVM's own selftests, if they are built already."""
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "kvm"))
import engine  # noqa: E402

BUILD = os.path.join(TOP, "build")
RUN = os.path.join(BUILD, "tdpmmu-kvm")
OUT = os.path.join(BUILD, "tests-kvm")
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"]
SECONDS = 120
CONTROL = os.path.join(BUILD, "tdpmmuctl")
MODES = ("ept-pml", "ept", "ept-noad", "npt")
# examples/kvm_*.c, and what each says.
EXAMPLES = {"hello": "hello, world", "read_only": "16 stores into read-only memory, 0 where it was writable",
            "dirty_log": "350 dirty pages in 20 rounds", "two_vcpus": "40000 increments, 100 passes"}


def run(command, **environment):
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                              timeout=SECONDS, env=dict(os.environ, **environment))
    except subprocess.TimeoutExpired:
        return -1, "it hangs"
    return done.returncode, done.stdout + done.stderr


def compiled(path, *libraries):
    os.makedirs(OUT, exist_ok=True)
    program = os.path.join(OUT, os.path.splitext(os.path.basename(path))[0])
    compiler = os.environ.get("CC", "cc").split() or ["cc"]
    status, text = run(compiler + FLAGS + ["-o", program, os.path.join(TOP, path), *libraries])
    if status:
        sys.exit("check-kvm: %s does not compile:\n%s" % (path, text))
    return program


class Count:
    def __init__(self):
        self.passed = self.failed = 0

    def note(self, name, good, text=""):
        good = bool(good)
        self.passed, self.failed = self.passed + good, self.failed + (not good)
        if not good:
            print("not ok: %s\n%s" % (name, text[-2000:]))


def cmocka(count, program, mode):
    """Each test of a program counts, and one that does not report has failed."""
    status, text = run([RUN, "--quiet", "--mmu", mode, program], CMOCKA_MESSAGE_OUTPUT="TAP")
    name = "%s, %s" % (os.path.basename(program), mode)
    plan = re.search(r"^1\.\.(\d+)$", text, re.M)
    good, bad = re.findall(r"^ok \d+ - (.*)$", text, re.M), re.findall(r"^not ok \d+ - (.*)$", text, re.M)
    count.passed += len(good)
    for test in bad:
        count.note("%s: %s" % (name, test), False, text)
    # Bad input is the device's to refuse: what it passes on the library has no complaint about.
    count.note(name + ": the library warns", "libtdpmmu: warning" not in text, text)
    lost = int(plan[1]) - len(good) - len(bad) if plan else 1
    if lost or status and not bad:
        count.note("%s: status %d, %d tests did not report" % (name, status, lost), False, text)


def launcher(count, hello):
    """What the command says of options that cannot be, and without an engine."""
    for options, wanted in ((["--mmu", "shadow"], "TDPMMU_KVM_MMU=shadow"), (["--levels", "3"], "TDPMMU_KVM_LEVELS=3"),
                            (["--maxphyaddr", "36"], "TDPMMU_KVM_MAXPHYADDR=36"), (["--frob"], "no option --frob"),
                            (["--levels"], "--levels wants a value"), ([], "which program?")):
        program = [hello] if options and options != ["--levels"] else []
        status, text = run([RUN] + options + program, TDPMMU_KVM_ENGINE=engine.ENGINE)
        count.note(" ".join(options) or "no program", status == 2 and wanted in text, text)
    status, text = run([RUN, hello], TDPMMU_KVM_ENGINE="/nowhere/libunicorn.so.2")
    count.note("no engine", status == 1 and "no engine" in text and "make kvm" in text, text)


def guests(count, hello):
    for mode in MODES:
        for program in ("tests-kvm/test_bad_input.c", "tests-kvm/test_calls.c", "tests-kvm/test_guests.c",
                        "tests-kvm/test_instructions.c"):
            cmocka(count, compiled(program, "-lcmocka", "-lpthread"), mode)
    for options in ([], ["--levels", "5"], ["--nx-huge-pages"], ["--maxphyaddr", "52"], ["--no-cache"]):
        status, text = run([RUN] + options + [hello])
        count.note("hello %s" % options, status == 0 and text == "hello, world\n", text)
    status, text = run([RUN, "--trace", hello])
    count.note("--trace", status == 0 and "KVM_EXIT_HLT" in text and "ioctl(vm, KVM_CREATE_VCPU, 0x0) = " in text, text)
    for name, said in EXAMPLES.items():
        program = compiled("examples/kvm_%s.c" % name, "-lpthread")
        for mode in MODES:
            recorded(count, program, mode, said + "\n")
    several_vms(count)
    forked_vms(count)


def recorded(count, program, mode, said, vms=1, options=()):
    """A program that is run and recorded: what it says, and that the recording of each of its VMs replays."""
    name = "%s, %s" % (os.path.basename(program), mode)
    with tempfile.TemporaryDirectory() as folder:
        events = os.path.join(folder, "events")
        status, text = run([RUN, "--quiet", "--mmu", mode, "--events", events, *options, program])
        count.note(name, status == 0 and re.fullmatch(said, text.replace(events, "FILE"), re.S), text)
        wanted = ["events"] + ["events.%d" % number for number in range(2, vms + 1)]
        count.note(name + ": files", sorted(os.listdir(folder)) == wanted, str(os.listdir(folder)))
        for file in wanted:
            replayed(count, "%s, %s" % (name, file), os.path.join(folder, file))


def replayed(count, name, events):
    status, text = run([CONTROL, "trace", events])
    count.note(name + ": tdpmmuctl trace", status == 0 and "kvm_page_fault" in text, text)
    with open(events + ".txt", "w") as file:
        file.write(text)
    for how in ("--calls", "--guest"):
        status, text = run([CONTROL, "replay", how, events + ".txt"])
        row = re.search(r"^\S+ +(\d+) +(\d+) .* (\d+)$", text, re.M)
        good = status == 0 and row and int(row[1]) > 0 and int(row[2]) > 0 and row[3] == "0"
        count.note("%s: replay %s" % (name, how), good, text)


def several_vms(count):
    """Each VM of a program has a recording of its own, beside the lines of --trace."""
    program = compiled("tests-kvm/several_vms.c")
    said = (r"30 pages of 3 VMs\n.*ioctl\(vm, KVM_CREATE_VCPU, 0x0\) = .*KVM_EXIT_HLT.*"
            r"there were 3 VMs: their events are in FILE and FILE\.2 to \.3\n.*")
    recorded(count, program, "ept-pml", said, vms=3, options=["--trace"])


def forked_vms(count):
    """A process that another forks has a recording of its own, without the other's VMs; FILE is the first's."""
    program = compiled("tests-kvm/forked_vms.c")
    with tempfile.TemporaryDirectory() as folder:
        events = os.path.join(folder, "events")
        status, text = run([RUN, "--quiet", "--events", events, program])
        files = sorted(os.listdir(folder))
        own = [name for name in files if re.fullmatch(r"events\.\d{2,}", name)]
        count.note("forked_vms", status == 0 and text.count("another process records, too") == 2, text)
        count.note("forked_vms: files", len(own) == 2 and set(files) == {"events", "events.2", *own}, str(files))
        for file in files:
            replayed(count, "forked_vms, " + file, os.path.join(folder, file))


def main():
    count = Count()
    hello = compiled("examples/kvm_hello.c")
    launcher(count, hello)
    if engine.found():
        guests(count, hello)
    else:
        print("kvm guests: skipped: there is no engine: `make kvm` fetches it")
    status, text = run([sys.executable, os.path.join(TOP, "kvm", "selftests.py"), "--quick"])
    if status == 0 and re.search("^kvm-selftests: skipped: ", text, re.M):
        print(text.strip())
    else:
        count.note("three of KVM's selftests", status == 0, text)
    print("kvm: %d passed, %d failed" % (count.passed, count.failed))
    sys.exit(1 if count.failed or not count.passed else 0)


if __name__ == "__main__":
    main()
