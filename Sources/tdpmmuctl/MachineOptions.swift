// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace

/// What machine a trace was recorded on, where it does not say so, or whatever it says.
struct MachineOptions: ParsableArguments {
    @Option(help: ArgumentHelp("AMD's nested paging or Intel's extended page tables.", valueName: "npt|ept"))
    var vendor: Vendor?

    @Flag(inversion: .prefixedNo, help: "The CPU sets Accessed and Dirty bits.")
    var ad: Bool?

    @Flag(inversion: .prefixedNo, help: "The CPU logs which pages become dirty.")
    var pml: Bool?

    @Option(name: .customLong("root-level"), help: ArgumentHelp("Levels of the tables, 4 or 5.", valueName: "levels"))
    var rootLevel: Int?

    @Option(name: .customLong("maxphyaddr"), help: ArgumentHelp("Physical address bits, 36 to 52.", valueName: "bits"))
    var physicalBits: Int?

    @Option(name: .customLong("l1tf-cache-bits"), help: ArgumentHelp(
        "Address bits of the caches, 36 to 46, where L1TF is mitigated; 0: it is not.", valueName: "bits"))
    var l1tfCacheBits: Int?

    var facts: MachineFacts {
        var facts = MachineFacts()
        (facts.vendor, facts.hasAD, facts.hasPML) = (vendor, ad, pml)
        (facts.rootLevel, facts.physicalBits, facts.l1tfCacheBits) = (rootLevel, physicalBits, l1tfCacheBits)
        return facts
    }

    func validate() throws {
        if let problem = facts.contradiction { throw ValidationError("no machine has this: \(problem)") }
        if let rootLevel, !(4...5).contains(rootLevel) { throw ValidationError("--root-level takes 4 or 5") }
        if let physicalBits, !(36...52).contains(physicalBits) { throw ValidationError("--maxphyaddr takes 36 to 52") }
        if let l1tfCacheBits, l1tfCacheBits != 0, !(36...46).contains(l1tfCacheBits) {
            throw ValidationError("--l1tf-cache-bits takes 0, or 36 to 46")
        }
    }
}

extension Vendor: ExpressibleByArgument {}
