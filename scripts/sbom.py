#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""make sbom: sbom.py OUT

What is in the built library and the built tool, and what they load, as SPDX 2.3 in JSON.  It is read off the files:
which archives of the toolchain have symbols in them, which packages' objects were linked, which shared objects they
need and of which version.  What has no licence in LICENCES is told and is no SBOM."""
import datetime
import glob
import hashlib
import json
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY, TOOL = "build/libtdpmmu.so.1", "build/tdpmmuctl"
LINKED_TOOL = ".build/release/tdpmmuctl"  # before its names are stripped
SWIFT = "Apache-2.0 WITH Swift-exception"
# Archive of the toolchain: (package, licence).
ARCHIVES = {
    "libswiftCore.a": ("swift-standard-library", SWIFT),
    "libswiftGlibc.a": ("swift-standard-library", SWIFT),
    "libswiftSynchronization.a": ("swift-standard-library", SWIFT),
    "libswiftRuntime.a": ("swift-standard-library", SWIFT),
    "libswiftObservation.a": ("swift-standard-library", SWIFT),
    "libswift_Concurrency.a": ("swift-standard-library", SWIFT),
    "libswift_RegexParser.a": ("swift-standard-library", SWIFT),
    "libswift_StringProcessing.a": ("swift-standard-library", SWIFT),
    "libFoundationEssentials.a": ("swift-foundation", SWIFT),
    "libFoundationInternationalization.a": ("swift-foundation", SWIFT),
    "lib_FoundationCShims.a": ("swift-foundation", SWIFT),
    "lib_FoundationCollections.a": ("swift-collections", SWIFT),
    "lib_FoundationICU.a": ("swift-foundation-icu", "Unicode-3.0"),
    "libFoundation.a": ("swift-corelibs-foundation", SWIFT),
    "libCoreFoundation.a": ("swift-corelibs-foundation", SWIFT),
    "libdispatch.a": ("swift-corelibs-libdispatch", SWIFT),
    "libswiftDispatch.a": ("swift-corelibs-libdispatch", SWIFT),
    "libBlocksRuntime.a": ("swift-corelibs-libdispatch", SWIFT),
    "libclang_rt.builtins": ("compiler-rt", "Apache-2.0 WITH LLVM-exception"),
}
# Shared object: (package, licence).
SHARED = {
    "libc.so": ("glibc", "LGPL-2.1-or-later"),
    "libm.so": ("glibc", "LGPL-2.1-or-later"),
    "ld-linux-x86-64.so": ("glibc", "LGPL-2.1-or-later"),
    "libz.so": ("zlib", "Zlib"),
    "libstdc++.so": ("libstdc++", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libgcc_s.so": ("libgcc", "GPL-3.0-or-later WITH GCC-exception-3.1"),
}
SOURCE_PACKAGES = {"swift-argument-parser": SWIFT}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def stop(why):
    sys.exit("sbom: " + why)


def symbols(path, kinds):
    rows = (line.split() for line in subprocess.run(["nm", path], capture_output=True, text=True).stdout.splitlines())
    return {row[2] for row in rows if len(row) == 3 and row[1] in kinds}


def toolchain():
    """(its root, the tag that all its parts have)"""
    swift = os.environ.get("SWIFT", "swift")
    version = re.search(r"Swift version .*?\((.*?)[ )]", output(swift, "--version"))
    return output("sh", "scripts/toolchain.sh").strip(), version.group(1) if version else None


def archives_in(binary, root):
    """Those of the toolchain's archives with more than a chance name in the binary."""
    there = symbols(binary, "TDBRtdbr") - {"main"}
    paths = glob.glob(root + "/lib/swift_static/linux/*.a") + glob.glob(root + "/lib/clang/*/lib/**/libclang_rt.builtins*.a", recursive=True)
    return sorted({os.path.basename(path) for path in paths if len(symbols(path, "TDBR") & there) > 1})


def needed(binary):
    """{shared object: the newest of its symbols' versions that are asked for, or None}"""
    names = re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-dW", binary))
    asked, of = {name: [] for name in names}, None
    for line in output("readelf", "-VW", binary).splitlines():
        file = re.search(r"Version: 1\s+File: (\S+)", line)
        name = re.search(r"Name: [A-Za-z+]+_([\d.]+)\s", line)
        of = file.group(1) if file else of
        if name and of in asked:
            asked[of].append(tuple(map(int, name.group(1).split("."))))
    return {name: ".".join(map(str, max(versions))) if versions else None for name, versions in asked.items()}


def packages_in_tool():
    """Packages other than ours whose objects were linked, with their versions."""
    with open(".build/workspace-state.json") as file:
        dependencies = json.load(file)["object"]["dependencies"]
    with open(".build/release/tdpmmuctl.product/Objects.LinkFileList") as file:
        objects = file.read()
    for dependency in dependencies:
        reference = dependency["packageRef"]
        modules = {os.path.basename(os.path.dirname(path)) for path in
                   glob.glob(".build/checkouts/%s/Sources/*/" % reference["name"])}
        if any("/%s.build/" % module in objects for module in modules):
            yield reference["name"], dependency["state"]["checkoutState"]["version"], reference["location"]


class Document:
    def __init__(self, version):
        self.version, self.packages, self.files, self.relations = version, {}, [], []

    def identifier(self, name):
        return "SPDXRef-" + re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")

    def package(self, name, version, licence, where=None, comment=None, **more):
        entry = self.packages.setdefault(name, {
            "SPDXID": self.identifier("Package-" + name), "name": name, "downloadLocation": where or "NOASSERTION",
            "filesAnalyzed": False, "licenseConcluded": licence, "licenseDeclared": licence, "copyrightText": "NOASSERTION", **more})
        if version:
            entry["versionInfo"] = version
        if comment:
            entry["comment"] = "; ".join(sorted(set(entry.get("comment", "").split("; ") + [comment]) - {""}))
        return entry["SPDXID"]

    def relate(self, one, kind, other):
        entry = {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
        if entry not in self.relations:
            self.relations.append(entry)

    def file(self, path):
        with open(path, "rb") as file:
            content = file.read()
        sums = [{"algorithm": name.upper(), "checksumValue": getattr(hashlib, name)(content).hexdigest()} for name in ("sha1", "sha256")]
        entry = {"SPDXID": self.identifier("File-" + os.path.basename(path)), "fileName": "./" + os.path.basename(path),
                 "checksums": sums, "fileTypes": ["BINARY"], "licenseConcluded": "GPL-2.0-only",
                 "licenseInfoInFiles": ["GPL-2.0-only"], "copyrightText": "NOASSERTION"}
        self.files.append(entry)
        return entry["SPDXID"]

    def text(self):
        key = hashlib.sha256("".join(one["checksums"][1]["checksumValue"] for one in self.files).encode()).hexdigest()
        return json.dumps({
            "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "libtdpmmu-" + self.version,
            "documentNamespace": "https://spdx.org/spdxdocs/libtdpmmu-%s-%s" % (self.version, key),
            "creationInfo": {"created": created(), "creators": ["Tool: libtdpmmu-sbom.py-" + self.version]},
            "packages": list(self.packages.values()), "files": self.files, "relationships": self.relations}, indent=2) + "\n"


def created():
    """Of the source, not of the day on which it is built again."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if not seconds:
        git = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True)
        seconds = git.stdout.strip() or str(int(os.path.getmtime("include/tdpmmu/types.h")))
    if not seconds.isdigit():
        stop("SOURCE_DATE_EPOCH='%s' is no number of seconds" % seconds)
    return datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def own_version():
    with open("include/tdpmmu/types.h") as header:
        return ".".join(re.findall(r"define TDPMMU_VERSION_(?:MAJOR|MINOR|PATCH)\s+(\d+)", header.read()))


def add_archives(document, file, binary, root, version):
    for name in archives_in(binary, root):
        key = re.sub(r"(builtins).*", r"\1", name)
        if key not in ARCHIVES:
            stop("%s has code of %s, of which ARCHIVES in scripts/sbom.py knows nothing" % (binary, name))
        package, licence = ARCHIVES[key]
        document.relate(file, "STATIC_LINK", document.package(package, version, licence, comment=name))


def add_shared(document, file, binary):
    for name, version in sorted(needed(binary).items()):
        if name.startswith("libtdpmmu.so"):
            document.relate(file, "DYNAMIC_LINK", document.files[0]["SPDXID"])
            continue
        key = name[:name.index(".so") + 3]
        if key not in SHARED:
            stop("%s needs %s, of which SHARED in scripts/sbom.py knows nothing" % (binary, name))
        package, licence = SHARED[key]
        comment = name + (", symbols of version %s" % version if version else "")
        document.relate(file, "DYNAMIC_LINK", document.package(package, None, licence, comment=comment))


def document():
    library_file = os.path.relpath(os.path.realpath(LIBRARY))
    for path in (LIBRARY, library_file + ".debug", TOOL, LINKED_TOOL):
        if not os.path.exists(path):
            stop("there is no %s: `make` builds it" % path)
    made, (root, version) = Document(own_version()), toolchain()
    ours = made.package("libtdpmmu", own_version(), "GPL-2.0-only")
    made.relate("SPDXRef-DOCUMENT", "DESCRIBES", ours)
    library, tool = made.file(library_file), made.file(TOOL)
    for file in (library, tool):
        made.relate("SPDXRef-DOCUMENT", "DESCRIBES", file)
        made.relate(file, "GENERATED_FROM", ours)
    # Embedded Swift's library is no archive: the compiler takes what is used of it into the program's own objects.
    embedded = made.package("swift-standard-library", version, SWIFT, comment="generic code of it, compiled into " + os.path.basename(library_file))
    made.relate(library, "STATIC_LINK", embedded)
    add_archives(made, library, library_file + ".debug", root, version)
    add_archives(made, tool, LINKED_TOOL, root, version)
    for name, release, where in packages_in_tool():
        if name not in SOURCE_PACKAGES:
            stop("tdpmmuctl has code of %s, of which SOURCE_PACKAGES in scripts/sbom.py knows nothing" % name)
        made.relate(tool, "STATIC_LINK", made.package(name, release, SOURCE_PACKAGES[name], where="git+%s@%s" % (where, release)))
    add_shared(made, library, LIBRARY)
    add_shared(made, tool, TOOL)
    return made


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = os.path.abspath(sys.argv[1])
    os.chdir(TOP)
    made = document()
    try:
        with open(out + ".new", "w") as file:
            file.write(made.text())
        os.replace(out + ".new", out)
    except OSError as error:
        if os.path.exists(out + ".new"):
            os.unlink(out + ".new")
        stop("%s cannot be written: %s" % (out, error.strerror))
    print("sbom: %s: %d files, %d packages, %d relations" % (os.path.relpath(out), len(made.files), len(made.packages), len(made.relations)))


if __name__ == "__main__":
    main()
