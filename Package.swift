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
    .target(name: "CSchedule", dependencies: ["CTDPMMU"]),
    .target(name: "CPlatform", dependencies: ["CTDPMMU", "CSchedule"],
            cSettings: [.define("TDPMMU_SHARED_LIBRARY", .when(traits: ["Embedded"]))]),
    .target(name: "Sync", dependencies: ["CTDPMMU", "CPlatform"], swiftSettings: library),
    .target(name: "RCU", dependencies: ["Sync"], swiftSettings: library),
    .target(name: "PageTable", dependencies: ["RCU"], swiftSettings: library),
    .target(name: "Tracing", dependencies: ["Sync"], swiftSettings: library),
    .target(name: "MMU", dependencies: ["PageTable", "Tracing"], swiftSettings: library),
    .target(name: "Rig", dependencies: ["MMU"], swiftSettings: small),
    .target(name: "Explorer", dependencies: ["CSchedule"], swiftSettings: small),
    .target(name: "ABI", dependencies: ["Rig", "Explorer"], swiftSettings: small),
]

// The command line is a client of the built libtdpmmu.so, like any C program.
let buildDirectory = Context.packageDirectory + "/build"
// Slashes more than one are one, and leave room for the run path that an installed tool gets.
let roomyBuildDirectory = String(repeating: "/", count: 1024) + buildDirectory.drop { $0 == "/" }
let client: [LinkerSetting] = [
    .linkedLibrary("tdpmmu"),
    .unsafeFlags(["-L", buildDirectory, "-Xlinker", "-rpath", "-Xlinker", "$ORIGIN",
                  "-Xlinker", "-rpath", "-Xlinker", roomyBuildDirectory]),
]

// /dev/kvm in userspace: a client as well, in Embedded Swift as the library.
let device: [Target] = [
    .target(name: "CKVMDevice", dependencies: ["CTDPMMU"]),
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

let package = Package(
    name: "libtdpmmu",
    products: products,
    traits: traits,
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    ],
    targets: modules + device + tools,
    swiftLanguageModes: [.v6]
)
