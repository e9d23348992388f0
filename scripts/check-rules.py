#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Are the rules that the types hold really held?  Each file of tests-rules/ breaks one, and
its second line says how it must be refused:
  // accepted: ...               compiles and links (else the others' refusals say nothing)
  // refused: REGEX              the compiler's error
  // refused by the linker inside MODULE: NAME
                              the undefined name that a dropped value calls; the file is one
                              more of that module, where the compiler sees what it drops
The others are compiled against the modules of the embedded build, as a module of the package."""
import concurrent.futures
import glob
import os
import re
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, ".build-embedded", "release")
RULE = re.compile(r"^// (accepted|refused|refused by the linker inside (\w+)): (.*)$", re.M)


def run(command):
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, errors="replace")
    return done.returncode, done.stdout + done.stderr


def compiler():
    """swiftc with what SwiftPM gave it for the module MMU, but for what it makes."""
    with open(os.path.join(TOP, ".build-embedded", "release.yaml")) as file:
        package = re.search(r'"-package-name","([^"]+)"', file.read()).group(1)
    return [os.environ.get("SWIFT", "swift") + "c", "-parse-as-library", "-wmo", "-O", "-swift-version", "6",
            "-enable-experimental-feature", "Embedded", "-enforce-exclusivity=unchecked",
            "-Xfrontend", "-function-sections", "-Xfrontend", "-disable-stack-protector",
            "-package-name", package, "-I", os.path.join(BUILD, "Modules"), "-Xcc", "-fPIC",
            "-Xcc", "-fmodule-map-file=" + os.path.join(BUILD, "CPlatform.build", "module.modulemap"),
            "-Xcc", "-I", "-Xcc", os.path.join(TOP, "Sources", "CPlatform", "include"),
            "-Xcc", "-fmodule-map-file=" + os.path.join(TOP, "include", "module.modulemap")]


def link(linker, objects, out):
    """As the library is linked, with the rule's object in place of the module ABI."""
    with open(out + ".map", "w") as file:
        file.write("{ global: tdpmmu_version; local: *; };\n")
    return run([linker, "-shared", "-o", out + ".so", *objects, "-fuse-ld=lld", "-Wl,--gc-sections",
                "-Wl,--no-undefined", "-Wl,--version-script=" + out + ".map", "-lpthread"])


def check(path, swiftc, linker, objects, folder):
    """Returns what is wrong, or None."""
    name = os.path.splitext(os.path.basename(path))[0]
    with open(path) as file:
        rule = RULE.search(file.read())
    if not rule:
        return "its second line says neither accepted nor refused"
    kind, home, wanted = rule.groups()
    out = os.path.join(folder, name)
    sources = [path] + (glob.glob(os.path.join(TOP, "Sources", home, "*.swift")) if home else [])
    status, text = run(swiftc + ["-module-name", home or "Rule", "-c", *sources, "-o", out + ".o"])
    if kind == "refused":
        if status == 0:
            return "the compiler accepts it"
        return None if re.search(wanted, text) else "refused for another reason:\n" + text
    if status:
        return "the compiler refuses it:\n" + text
    rest = [each for each in objects if "%s%s.build%s" % (os.sep, home, os.sep) not in each]
    status, text = link(linker, [out + ".o"] + rest, out)
    if kind == "accepted":
        return None if status == 0 else "the linker refuses it:\n" + text
    if status == 0:
        return "the linker accepts it"
    return None if "undefined" in text and wanted in text else "refused for another reason:\n" + text


def main():
    files = sorted(glob.glob(os.path.join(TOP, "tests-rules", "*.swift")))
    tools = subprocess.run(["sh", os.path.join(TOP, "scripts", "toolchain.sh")], capture_output=True,
                           text=True, check=True).stdout.strip()
    linker = os.path.join(tools, "bin", "clang")
    swiftc = compiler()
    # Of the device, which is built beside the library, none is the library's.
    left_out = tuple("%s%s.build%s" % (os.sep, module, os.sep) for module in ("ABI", "KVMDevice", "CKVMDevice"))
    objects = [path for path in glob.glob(os.path.join(BUILD, "*.build", "**", "*.o"), recursive=True)
               if not any(part in path for part in left_out)]
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda path: check(path, swiftc, linker, objects, folder), files)
        for path, wrong in zip(files, results):
            if wrong:
                print("%s: %s" % (os.path.relpath(path, TOP), wrong))
            passed, failed = passed + (wrong is None), failed + (wrong is not None)
    print("rules: %d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


main()
