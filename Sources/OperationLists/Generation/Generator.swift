// SPDX-License-Identifier: GPL-2.0-only

/// Random lists.  All are such that the kernel allows: what a caller must not do, no list does.
package struct Generator {
    private let options: GeneratorOptions

    package init(_ options: GeneratorOptions) { self.options = options }

    /// The same list for the same options, seed and number.
    package func list(seed: UInt64, number: Int) -> OperationList {
        var random = RandomNumbers(seed: Hash.chain(Hash.chain(0, seed), UInt64(number)))
        let vendor = options.vendors[number % options.vendors.count]
        let setup = Setup.random(vendor, fixed: options.fixedWords, &random)
        var writer = ListWriter(setup, options, random)
        return writer.write()
    }
}

/// One list, as it grows.
struct ListWriter {
    let setup: Setup
    let options: GeneratorOptions
    var random: RandomNumbers
    var layout: GuestLayout
    var operations: [Operation] = []
    /// Some root may be invalid, and vCPUs may be without one.
    var hasStaleRoots = false
    var openInvalidations = 0
    private(set) var isYielding = false

    init(_ setup: Setup, _ options: GeneratorOptions, _ random: RandomNumbers) {
        (self.setup, self.options, self.random) = (setup, options, random)
        layout = GuestLayout(setup, hasSMM: !options.isWithoutSMM, &self.random)
    }

    mutating func write() -> OperationList {
        begin()
        let steps = Step.allCases.map { (weight: $0.weight, element: $0) }
        for _ in 0..<options.steps {
            write(random.weighted(steps))
            if random.isTrue(percent: 8) { look() }
        }
        settle()
        for slot in layout.slots { add(.dirty, slot.id) }
        add(.stats)
        return OperationList(setup, operations)
    }

    private mutating func begin() {
        let every = options.yield ?? random.weighted([(4, 0), (2, 1), (1, 2), (1, 3), (1, 7)])
        isYielding = every > 0
        if isYielding { add(.yield, every) }
        for slot in layout.slots { add(.slot, slot.id, slot.space, slot.first, slot.pages, slot.pfn) }
        add(.hostlevel, 2, Parameter.allFrames, random.element([2, 3, 3]))
        for vcpu in vcpus(space: 0) { add(.vcpu, vcpu) }
        if hasSMM { add(.vcpu, Self.smmVCPU, 1) }
    }

    /// What a walk, the log and the counters say, whatever comes.
    private mutating func look() {
        let index = slotIndex()
        add(.stats)
        add(.walk, vcpu(of: index), layout.gfn(index, &random))
        if setup.ringBytes == 0 { add(.dirty, layout.slots[index].id) }
    }

    mutating func add(_ kind: OperationKind, _ arguments: UInt64...) {
        guard !options.without.contains(kind) else { return }
        operations.append(Operation(kind, arguments: arguments))
    }

    /// Before an operation that walks, now and then something that comes into its middle.
    mutating func prepareMeanwhile() {
        guard isYielding, !options.isWithoutMeanwhile, random.isTrue(percent: 25) else { return }
        let before = operations.count
        write(random.element([Step.fault, .fault, .map, .unmap, .zapLeafs, .writeProtectGFN, .age, .clearDirtyMasked, .zapTable]))
        guard operations.count > before, operations[before].kind.fitsInBetween, operations[before].afterYields == nil else { return }
        operations.removeSubrange((before + 1)...)
        operations[before].afterYields = random.below(6) + 1
    }
}

/// Who and where.
extension ListWriter {
    static let smmVCPU: UInt64 = 2

    var hasSMM: Bool { !options.isWithoutSMM }

    func vcpus(space: UInt64) -> [UInt64] { space == 0 ? [0, 1] : [Self.smmVCPU] }

    var allVCPUs: [UInt64] { vcpus(space: 0) + (hasSMM ? vcpus(space: 1) : []) }

    /// Three in twenty times that of SMM.
    mutating func slotIndex() -> Int {
        hasSMM && random.isTrue(percent: 15) ? 3 : Int(random.below(3))
    }

    mutating func vcpu(of slot: Int) -> UInt64 { random.element(vcpus(space: layout.slots[slot].space)) }

    /// Ends what stands open, so that anything may follow.
    mutating func settle() {
        while openInvalidations > 0 {
            add(.invalend)
            openInvalidations -= 1
        }
        if hasStaleRoots { loadAll() }
    }

    mutating func loadAll() {
        for vcpu in allVCPUs { add(.load, vcpu) }
        hasStaleRoots = false
    }
}
