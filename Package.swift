// swift-tools-version: 6.2
// SPDX-License-Identifier: GPL-2.0-only
import PackageDescription

// The shipped libtdpmmu.so is built in Embedded Swift, which cannot be imported
// by normal modules; tests build the same sources in normal mode.  Naming a trait
// (`swift build --traits Embedded`) leaves out the default one.
let traits: Set<Trait> = [
    .default(enabledTraits: ["Tools"]),
    .trait(name: "Tools", description: "the command line, and what it depends on"),
    .trait(name: "Embedded", description: "the modules of the shared library, in Embedded Swift"),
]

// What `make` says for its builds: folders, flags of the packager's (docs/PACKAGING.md).
func told(_ name: String) -> String? {
    guard let value = Context.environment["TDPMMU_" + name], !value.isEmpty else { return nil }
    return value
}

// C is compiled by the toolchain's clang, with the hardening and the CFLAGS that the Makefile tells.
let flagsOfC = (told("CFLAGS") ?? "").split(separator: " ").map(String.init)
let hardened: [CSetting] = flagsOfC.isEmpty ? [] : [.unsafeFlags(flagsOfC, .when(configuration: .release))]

// The walls of docs/DESIGN.md, bottom to top: a module may use those below it.
let library: [SwiftSetting] = [
    .enableExperimentalFeature("Embedded", .when(traits: ["Embedded"])),
    // A section per function, so that the linker drops what several modules
    // emitted and what nobody calls.
    .unsafeFlags(["-wmo", "-enforce-exclusivity=unchecked", "-Xfrontend", "-function-sections",
                  "-Xfrontend", "-disable-stack-protector"], .when(traits: ["Embedded"])),
    // The debug information names no file of the compiler's own cache: debuggers would look for it.
    .unsafeFlags(["-Xfrontend", "-no-clang-module-breadcrumbs"], .when(traits: ["Embedded"])),
]

// Written for size: what is cold, and the border, whose few hot functions are marked.
let small = library + [.unsafeFlags(["-Osize"], .when(traits: ["Embedded"]))]

let products: [Product] = [
    .library(name: "tdpmmu-objects", type: .static, targets: ["ABI"]),
    .library(name: "tdpmmu-kvm-objects", type: .static, targets: ["KVMDevice"]),
    .library(name: "tdpmmu-fuzz-targets", type: .static, targets: ["FuzzTargets"]),
]

let modules: [Target] = [
    .systemLibrary(name: "CTDPMMU", path: "include"),
    .target(name: "CSchedule", dependencies: ["CTDPMMU"], cSettings: hardened),
    .target(name: "CPlatform", dependencies: ["CTDPMMU", "CSchedule"],
            cSettings: hardened + [.define("TDPMMU_SHARED_LIBRARY", .when(traits: ["Embedded"]))]),
    .target(name: "Sync", dependencies: ["CTDPMMU", "CPlatform"], swiftSettings: library),
    .target(name: "RCU", dependencies: ["Sync"], swiftSettings: library),
    .target(name: "PageTable", dependencies: ["RCU"], swiftSettings: library),
    .target(name: "Tracing", dependencies: ["Sync"], swiftSettings: library),
    .target(name: "MMU", dependencies: ["PageTable", "Tracing"], swiftSettings: library),
    .target(name: "Rig", dependencies: ["MMU"], swiftSettings: small),
    .target(name: "Explorer", dependencies: ["CSchedule"], swiftSettings: small),
    .target(name: "ABI", dependencies: ["Rig", "Explorer"], swiftSettings: small),
]

// The command line is a client of the built libtdpmmu.so, like any C program.  Where the linker
// finds that, and the run path by which the loader does: the linker writes it, and nobody changes it afterwards.
let libraryFolder = told("LIBRARY_FOLDER") ?? Context.packageDirectory + "/build"
let linkFlags = (told("LDFLAGS") ?? "").split(separator: " ").flatMap { ["-Xclang-linker", String($0)] }
let client: [LinkerSetting] = [
    .linkedLibrary("tdpmmu"),
    .unsafeFlags(["-L", libraryFolder, "-Xlinker", "--build-id=sha1", "-Xlinker", "-z", "-Xlinker", "now"]
                 // What is to be installed has no debug information: its build-id is to be of what it has.
                 + (told("RUN_PATH") == nil ? [] : ["-Xlinker", "-s"])
                 + (told("RUN_PATH") == "none" ? [] : ["-Xlinker", "-rpath", "-Xlinker", told("RUN_PATH") ?? libraryFolder])
                 + linkFlags),
]

// /dev/kvm in userspace: a client as well, in Embedded Swift as the library.
let device: [Target] = [
    .target(name: "CKVMDevice", dependencies: ["CTDPMMU"], cSettings: hardened),
    .target(name: "KVMDevice", dependencies: ["CKVMDevice"], swiftSettings: library),
]

let tools: [Target] = [
    .systemLibrary(name: "CZlib", path: "Sources/CZlib"),
    .target(name: "KernelTrace", dependencies: ["CZlib"]),
    .target(name: "LibraryClient", dependencies: ["KernelTrace", "CTDPMMU"], linkerSettings: client),
    .target(name: "Replay", dependencies: ["LibraryClient"]),
    .target(name: "TablePicture", dependencies: ["KernelTrace"]),
    .target(name: "HostRecorder", resources: [.embedInCode("kprobes.txt"), .embedInCode("record-host.sh")]),
    .target(name: "OperationLists", dependencies: ["LibraryClient"]),
    .executableTarget(
        name: "tdpmmuctl",
        dependencies: ["Replay", "OperationLists", "TablePicture", "HostRecorder", .product(name: "ArgumentParser", package: "swift-argument-parser",
                                          condition: .when(traits: ["Tools"]))]),
    .target(name: "FuzzTargets", dependencies: ["Replay", "OperationLists"], path: "fuzz/Targets"),
    .target(name: "RecordedTraces", dependencies: ["KernelTrace"], path: "Tests/RecordedTraces"),
    .testTarget(name: "KernelTraceTests", dependencies: ["KernelTrace", "RecordedTraces"]),
    .testTarget(name: "LibraryClientTests", dependencies: ["LibraryClient"]),
    .testTarget(name: "OperationListsTests", dependencies: ["OperationLists"]),
    .testTarget(name: "ReplayTests", dependencies: ["Replay", "RecordedTraces"]),
    .testTarget(name: "TablePictureTests", dependencies: ["TablePicture"]),
    .testTarget(name: "tdpmmuctlTests", dependencies: ["tdpmmuctl", "LibraryClient", "RecordedTraces"]),
    .testTarget(name: "SyncTests", dependencies: ["Sync"]),
    .testTarget(name: "RCUTests", dependencies: ["RCU"]),
    .testTarget(name: "PageTableTests", dependencies: ["PageTable"]),
    .testTarget(name: "MMUTests", dependencies: ["MMU", "Rig"]),
]

// The one dependency, of the command line alone: this version, or a folder that has it, for a build without a network.
let argumentParser: Package.Dependency = if let folder = told("ARGUMENT_PARSER") {
    .package(name: "swift-argument-parser", path: folder)
} else {
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2")
}

let package = Package(
    name: "libtdpmmu",
    products: products,
    traits: traits,
    dependencies: [argumentParser],
    targets: modules + device + tools,
    swiftLanguageModes: [.v6]
)
