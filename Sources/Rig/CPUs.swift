// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync
import Synchronization

/// How the CPUs of a VM use the freedom that hardware has.
package struct CPUBehaviour: OptionSet {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// A flush of anything drops all.
    package static let weak = CPUBehaviour(rawValue: 1)
    /// Now and then a translation goes of itself.
    package static let evicts = CPUBehaviour(rawValue: 2)
    /// Nothing is filled ahead of an access; at each moment that there is.  Neither: at random.
    package static let fillsNever = CPUBehaviour(rawValue: 4)
    package static let fillsAlways = CPUBehaviour(rawValue: 8)
    /// Huge leaves are cached by the 4K piece; whole.  Neither: at random.
    package static let pieces = CPUBehaviour(rawValue: 16)
    package static let wholes = CPUBehaviour(rawValue: 32)
    /// Rights that are cached and do not suffice: a fault at once; a walk.  Neither: at random.
    package static let faultsStale = CPUBehaviour(rawValue: 64)
    package static let walksStale = CPUBehaviour(rawValue: 128)
    package static let all = CPUBehaviour(rawValue: 255)
}

/// Something that a CPU has, and must not have.
package struct CPUReport {
    package var text: StaticString
    package var vcpu: OpaquePointer?
    package var gfn: GFN
    package var cached: CachedTranslation?
    package var present = SPTE(0)
    package var level = Level(0)
    /// Address of the name of the operation that changed it, or of the one that began last; 0: none.
    package var operation: UInt = 0
}

package typealias ReportCPU = @convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer) -> Void

/// The caching CPUs of a VM: one for each vCPU that has a root.
package struct CPUSet: ~Copyable {
    package let behaviour: CPUBehaviour
    let cpus: CPU
    let end: CPU
    let bits: HardwareBits
    let isEPT: Bool
    /// Whoever takes reports: the ABI's.
    let report: ReportCPU
    package let reportFunction: UInt
    package let reportContext: UnsafeMutableRawPointer?
    /// Of random choices.  Relaxed: two threads that draw the same number do no harm.
    fileprivate let seed: Atomic<UInt64>
    /// Sights so far: the time.
    fileprivate let sights = Atomic<UInt64>(0)
    /// Tags of NPT given out.
    fileprivate let tags = Atomic<UInt64>(0)
    /// gfns that changed lately, and where the next goes.
    fileprivate let recent = Atomic<UInt64>(0)
    fileprivate let older = Atomic<UInt64>(0)
    /// Operations under way.
    fileprivate let operations = Atomic<Int64>(0)
    /// After how many operations all that is cached is looked at; 0: by how much there is.  How many of them are left, and
    /// whether anything was taken away since.  Relaxed: one more or less does no harm.
    let checkEvery: UInt32
    let untilCheck: Atomic<UInt32>
    let tookAway = Atomic<Bool>(false)
    /// Address of its name; 0: none yet.
    fileprivate let operation = Atomic<UInt>(0)
    fileprivate let reports = Atomic<Int32>(0)

    private init(
        _ vm: VM, _ behaviour: CPUBehaviour, count: Int, _ cpus: CPU, seed: UInt64, checkEvery: UInt32, _ report: ReportCPU,
        _ function: UInt, _ context: UnsafeMutableRawPointer?
    ) {
        self.behaviour = behaviour
        self.checkEvery = checkEvery
        self.cpus = cpus
        end = Self.end(cpus, count)
        bits = vm.hardwareBits
        isEPT = bits.isEPT
        self.report = report
        reportFunction = function
        reportContext = context
        self.seed = Atomic<UInt64>(seed | 1)
        untilCheck = Atomic<UInt32>(checkEvery)
    }

    private static func end(_ cpus: CPU, _ count: Int) -> CPU {
        (UnsafeMutableRawPointer(cpus) + count &* MemoryLayout<CPUCache>.stride).assumingMemoryBound(to: CPUCache.self)
    }

    /// nil: no memory.
    package static func make(
        _ vm: VM, _ behaviour: CPUBehaviour, count: Int, translations: Int, seed: UInt64, checkEvery: UInt32,
        _ report: ReportCPU, _ function: UInt, _ context: UnsafeMutableRawPointer?
    ) -> UnsafeMutablePointer<CPUSet>? {
        let first = (MemoryLayout<CPUSet>.size &+ 63) & ~63, each = (CPUCache.bytes(translations) &+ 63) & ~63
        let headers = first &+ count &* MemoryLayout<CPUCache>.stride
        guard let memory = cp_alloc_zeroed(headers &+ count &* each) else { return nil }
        let cpus = (memory + first).assumingMemoryBound(to: CPUCache.self)
        var caches = memory + headers, cpu = cpus
        while cpu != end(cpus, count) {
            cpu.initialize(to: CPUCache(caches, translations: translations))
            caches += each
            cpu += 1
        }
        let set = memory.assumingMemoryBound(to: CPUSet.self)
        set.initialize(to: CPUSet(
            vm, behaviour, count: count, cpus, seed: seed, checkEvery: checkEvery, report, function, context))
        return set
    }

    package static func of(_ vm: VM) -> UnsafeMutablePointer<CPUSet>? {
        EyesTable.context(of: .cpus, in: vm)?.assumingMemoryBound(to: CPUSet.self)
    }

    /// CPUs begin to look, with a ledger that tells them what may still be used.
    package static func attach(_ set: UnsafeMutablePointer<CPUSet>, to vm: VM) -> EyesTable.Attachment {
        if LedgerWatch.attach(to: vm, nil, nil, isAsked: false) == .noMemory { return .noMemory }
        let attachment = EyesTable.attach(.cpus, to: vm, set, seeForCPUs)
        if attachment == .done { vm.forEachVCPU { _ = set.cpuWithRoot($0) } }
        return attachment
    }

    package static func detach(from vm: VM) -> Bool {
        guard let set = EyesTable.detach(.cpus, from: vm) else { return false }
        LedgerWatch.detach(from: vm, isAsked: false)
        cp_free_zeroed(set)
        return true
    }

    @inline(never)
    fileprivate func random() -> UInt64 {
        var x = seed.load(ordering: .relaxed)
        x ^= x &<< 13
        x ^= x &>> 7
        x ^= x &<< 17
        seed.store(x, ordering: .relaxed)
        return x &>> 16
    }

    @inline(never)
    fileprivate func choose(_ no: CPUBehaviour, _ yes: CPUBehaviour) -> Bool {
        behaviour.contains(yes) || !behaviour.contains(no) && random() & 1 != 0
    }
}

extension AccessResult {
    fileprivate init(hit cached: CachedTranslation, _ gfn: GFN) {
        self.init(end: .done, isHit: true, level: cached.level, spte: cached.spte,
                  pfn: cached.pfn &+ (gfn.raw &- cached.gfn.raw), rights: cached.rights)
    }
}

extension UnsafeMutablePointer where Pointee == CPUCache {
    /// What a hit on gfn would come to.
    package func hit(_ gfn: GFN) -> AccessResult? {
        translation(pointee.tag.load(ordering: .relaxed), gfn, largestFirst: false).map { AccessResult(hit: $0, gfn) }
    }
}

extension UnsafeMutablePointer where Pointee == CPUSet {
    /// The vCPU's CPU, if it has walked a root since the CPUs are there.
    @inline(never)
    package func cpu(of vcpu: OpaquePointer?) -> CPU? {
        let word = UInt(bitPattern: vcpu)
        var cpu = pointee.cpus
        while cpu != pointee.end {
            if cpu.pointee.vcpu.load(ordering: .acquiring) == word { return cpu }
            cpu += 1
        }
        return nil
    }

    /// The same, or one that is free.  Each vCPU's thread does that for itself.
    @inline(never) @_optimize(size)
    private func cpuToBe(of vcpu: OpaquePointer) -> CPU? {
        if let cpu = cpu(of: vcpu) { return cpu }
        var next = pointee.cpus
        while next != pointee.end {
            let cpu = next, old = cpu.pointee.vcpu.load(ordering: .relaxed)
            next += 1
            guard old == 0 || cpu.pointee.tag.load(ordering: .relaxed) == 0 else { continue }
            if cpu.pointee.vcpu.compareExchange(
                expected: old, desired: UInt(bitPattern: vcpu), ordering: .acquiringAndReleasing).exchanged {
                cpu.drop(GFN(0), GFN(.max), asked: true)
                return cpu
            }
        }
        return nil
    }

    /// It walks this root from here on, and by a new tag.
    @inline(never) @_optimize(size)
    private func enter(_ root: Table, _ vcpu: OpaquePointer) -> CPU? {
        guard let cpu = cpuToBe(of: vcpu) else { return nil }
        let tag = pointee.isEPT ? root.address : pointee.tags.wrappingAdd(1, ordering: .relaxed).newValue
        if !pointee.isEPT { cpu.drop(GFN(0), GFN(.max), asked: true) }
        cpu.enter(tag, root.address)
        return cpu
    }

    // Walks ---------------------------------------------------------------------

    private func isDirty(_ walk: HardwareWalk) -> Bool {
        pointee.bits.dirty == 0 || walk.spte.raw & pointee.bits.dirty != 0
    }

    /// What a walk has found is kept; false: it has to begin again.
    @inline(never)
    private func keep(_ walk: HardwareWalk, _ cpu: CPU, _ tag: UInt64, _ generation: UInt64) -> Bool {
        let isWhole = walk.level == .page4K || pointee.choose(.pieces, .wholes)
        let gfn = isWhole ? walk.gfn.rounded(to: walk.level) : walk.gfn
        if pointee.behaviour.contains(.evicts), pointee.random() & 7 == 0 { cpu.evictOne(pointee.random()) }
        return cpu.remember(
            CachedTranslation(
                tag: tag, gfn: gfn, pages: isWhole ? walk.level.pages : 1, pfn: walk.pfn &- (walk.gfn.raw &- gfn.raw),
                spte: walk.spte, level: walk.level, rights: walk.rights, isDirty: isDirty(walk),
                filledBy: operation, filledAt: pointee.sights.load(ordering: .relaxed)),
            tag, generation, victim: pointee.random())
    }

    /// The table in front of which the walk stands, and how it came there.
    @inline(never)
    private func child(_ walk: HardwareWalk) -> CachedTable {
        CachedTable(tag: 0, gfn: walk.gfn.rounded(to: walk.level.above), level: walk.level.above, table: walk.table,
                    rights: walk.rights, target: walk.gfn)
    }

    /// A walk to gfn from the root, or from further down.
    @inline(never)
    private func begin(_ gfn: GFN, _ cpu: CPU, _ tag: UInt64, _ root: Table) -> HardwareWalk {
        var walk = HardwareWalk(gfn, from: root.address, at: root.level)
        if pointee.choose(.fillsNever, .fillsAlways), let start = cpu.start(tag, gfn) {
            walk = HardwareWalk(gfn, from: start.table, at: start.level.below)
            walk.rights = start.rights
        }
        return walk
    }

    /// One try of an access, with the CPU in the guest.  suspect: it was a hit, of what the tables do not have.
    @inline(never)
    func tryAccess(
        _ vcpu: VCPU, _ cpu: CPU, _ gfn: GFN, _ wish: Rights, _ root: Table, _ suspect: inout CachedTranslation?,
        _ rcu: borrowing InsideRCU
    ) -> TryResult {
        let generation = cpu.pointee.generation.load(ordering: .acquiring), tag = cpu.pointee.tag.load(ordering: .relaxed)
        if let cached = cpu.translation(tag, gfn, largestFirst: pointee.choose(.pieces, .wholes)) {
            var result = AccessResult(hit: cached, gfn)
            let allows = cached.rights.isSuperset(of: wish)
            if allows && (cached.isDirty || !wish.contains(.write)) {
                if excess(cached, gfn, root, vcpu, rcu) != nil || vcpu.vm.isInvalidating { suspect = cached }
                return .ended(result)
            }
            if !allows && pointee.choose(.walksStale, .faultsStale) {
                _ = cpu.drop(gfn, gfn + 1, tag: tag, asked: false)
                result.end = .faults
                result.isPresent = true
                return .ended(result)
            }
        }
        var walk = begin(gfn, cpu, tag, root), end = StepEnd.down
        while case .down = end {
            end = walk.step(vcpu, wish, pointee.bits, rcu)
            if case .down = end, !cpu.remember(child(walk), tag, generation) { return .disturbed }
        }
        switch end {
        case .leaf: if !keep(walk, cpu, tag, generation) { return .disturbed }
        case .outside, .notPresent, .reserved, .denied: _ = cpu.drop(gfn, gfn + 1, tag: tag, asked: false)
        default: break
        }
        return vcpu.finish(walk, end)
    }

    /// The vCPU's CPU, which walks this root.
    @inline(never)
    func known(_ vcpu: VCPU, _ root: Table) -> CPU? {
        if let cpu = cpu(of: vcpu.pointer), cpu.pointee.root.load(ordering: .relaxed) == root.address { return cpu }
        return enter(root, vcpu.pointer)
    }

    /// The same, if it has a root at this moment.
    package func cpuWithRoot(_ vcpu: VCPU) -> CPU? {
        insideRCU { rcu in vcpu.root(rcu).flatMap { $0.role.isInvalid ? nil : known(vcpu, $0) } }
    }

    /// A CPU walks ahead of any access, as it may at any time; or goes on with a walk, or stops in the middle of one.
    @inline(never)
    package func fill(_ cpu: CPU, _ gfn: GFN, wholeWay: Bool = false) -> Level? {
        cpu.fillingAlone { insideRCU { rcu in
            let generation = cpu.pointee.generation.load(ordering: .acquiring), tag = cpu.pointee.tag.load(ordering: .acquiring)
            let address = cpu.pointee.root.load(ordering: .relaxed)
            guard tag != 0, let pointer = OpaquePointer(bitPattern: cpu.pointee.vcpu.load(ordering: .relaxed)),
                  let root = Table(checkedAddress: Table.entries(of: address)), !root.role.isInvalid else { return nil }
            let vcpu = VCPU(pointer)
            var walk = begin(gfn, cpu, tag, root)
            if !wholeWay, let old = cpu.takeWalk(tag) {
                walk = HardwareWalk(old.target, from: old.table, at: old.level.below)
                walk.rights = old.rights
            }
            guard walk.gfn < vcpu.vm.gfnLimit else { return nil }
            while true {
                switch walk.step(vcpu, [], isSpeculative: true, pointee.bits, rcu) {
                case .down:
                    guard cpu.remember(child(walk), tag, generation) else { return nil }
                    if !wholeWay && pointee.random() & 7 == 0 {
                        cpu.standStill(child(walk), tag, generation)
                        return nil
                    }
                case .leaf: return keep(walk, cpu, tag, generation) ? walk.level : nil
                case .outside:
                    tell("a CPU walks through a table that is freed", pointer, gfn, nil)
                    return nil
                default: return nil
                }
            }
        } }
    }

    // What CPUs may not have ------------------------------------------------------

    /// The present entry, if it does not cover what is cached.
    @inline(never)
    func excess(
        _ cached: CachedTranslation, _ gfn: GFN, _ root: Table, _ vcpu: VCPU, _ rcu: borrowing InsideRCU
    ) -> (SPTE, Level)? {
        var walk = HardwareWalk(gfn, from: root.address, at: root.level)
        let vm = vcpu.vm, bits = pointee.bits.settingNone
        var end = StepEnd.down
        while case .down = end { end = walk.step(vcpu, [], isSpeculative: true, bits, rcu) }
        let masks = vm.masks
        // Aging takes rights without a flush: those of an access-tracked entry count as there.
        let isTracked = masks.tracksAccess && masks.isAccessTracked(walk.spte)
        guard isTracked || { if case .leaf = end { true } else { false } }() else { return (walk.spte, walk.level) }
        var rights = isTracked ? Rights.all : walk.rights
        // And W that a fast fault may give back at any time, as long as nobody logs.  Where aging takes it, a fault may bring back the rest
        // without: it is gone from a logged page, too, and the CPU may write on as long as the log has the page, until a harvest flushes.
        if masks.isMMUWritable(walk.spte), !rights.contains(.write), !vm.isLogged(gfn, root.role.addressSpace, rcu)
            || masks.tracksAccess && (vm.isDirty(gfn, addressSpace: root.role.addressSpace) ?? true || !isQuiet) {
            rights.insert(.write)
        }
        let isSame = cached.pfn &+ (gfn.raw &- cached.gfn.raw) == walk.pfn
        return isSame && rights.isSuperset(of: cached.rights) ? nil : (walk.spte, walk.level)
    }

    /// How often something was told.
    package var reports: Int32 { pointee.reports.load(ordering: .relaxed) & .max }

    @inline(never) @_optimize(size)
    func tell(
        _ text: StaticString, _ vcpu: OpaquePointer?, _ gfn: GFN, _ cached: CachedTranslation?, _ present: SPTE = SPTE(0),
        _ level: Level = Level(0)
    ) {
        pointee.reports.wrappingAdd(1, ordering: .relaxed)
        var report = CPUReport(
            text: text, vcpu: vcpu, gfn: gfn, cached: cached, present: present, level: level, operation: operation)
        if let vcpu {
            let vcpu = VCPU(vcpu), end = gfn.raw &+ (cached?.pages ?? 1)
            if let changer = LedgerWatch.of(vcpu.vm)?.ledger.changer(vcpu.addressSpace, gfn.raw, end) {
                report.operation = UInt(bitPattern: changer)
            }
            vcpu.vm.warn(.spte, "tdpmmu_cpus", text, cached?.spte.raw ?? gfn.raw, present.raw)
        }
        withUnsafePointer(to: report) { pointee.report(self, $0) }
    }

    /// No operation is under way.
    var isQuiet: Bool {
        pointee.operations.load(ordering: .relaxed) == 0
    }

    /// The name of the one that began last, or 0.
    package var operation: UInt { pointee.operation.load(ordering: .relaxed) }

    // What they see ---------------------------------------------------------------

    fileprivate func see(_ seen: UnsafePointer<Seen>) {
        // No locked addition: a sight that two threads count as one does no harm.
        pointee.sights.store(pointee.sights.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
        switch seen.pointee.sight {
        case .changed:
            if seen.pointee.byCPU { return }
            if seen.pointee.old.isPresent { pointee.tookAway.store(true, ordering: .relaxed) }
            let inside = seen.pointee.pages > 1 ? pointee.random() & (seen.pointee.pages &- 1) : 0
            let gfn = seen.pointee.gfn + inside
            pointee.older.store(pointee.recent.load(ordering: .relaxed), ordering: .relaxed)
            pointee.recent.store(gfn.raw, ordering: .relaxed)
            // Where something is taken away most is to be seen; pages appear by the million.
            fillAll(gfn, oneIn: seen.pointee.old.isPresent ? 2 : 32)
        case .flushBegins:
            let start = seen.pointee.gfn, pages = seen.pointee.pages
            fillAll(GFN(pointee.recent.load(ordering: .relaxed)), oneIn: 2)
            let (end, isBeyond) = start.raw.addingReportingOverflow(pages)
            let isWeak = pointee.behaviour.contains(.weak)
            forEachCPU {
                $0.drop(isWeak ? GFN(0) : start, isWeak || isBeyond ? GFN(.max) : GFN(end), asked: true)
            }
        case .loads: if let root = seen.pointee.table, let vcpu = seen.pointee.vcpu { _ = enter(root, vcpu) }
        // What it knows stays, and cannot be used.
        case .leaves, .mustLeave: cpu(of: seen.pointee.vcpu)?.leave()
        case .freed:
            if seen.pointee.flag, let table = seen.pointee.table {
                lookForTable(table.address)
                UnsafeMutablePointer<UInt64>(bitPattern: table.entries)?.update(repeating: SPTE.poison.raw, count: entriesPerTable)
            }
        case .begins:
            pointee.operation.store(seen.pointee.name.address, ordering: .relaxed)
            // A fault is over when mmu_lock can be taken for write.
            if seen.pointee.vcpu == nil { pointee.operations.wrappingAdd(1, ordering: .relaxed) }
        case .ends:
            if seen.pointee.vcpu == nil { pointee.operations.wrappingSubtract(1, ordering: .relaxed) }
            if pointee.tookAway.load(ordering: .relaxed) { checkAfterOperation(seen.pointee.vm) }
        case .unlocked: if pointee.tookAway.load(ordering: .relaxed) { checkAfterOperation(seen.pointee.vm) }
        case .flushEnds, .asksHost, .slotCommitting, .givesWay, .isBack, .dirtied:
            fillAll(GFN(pointee.random() & 1 == 0 ? pointee.recent.load(ordering: .relaxed) : pointee.older.load(ordering: .relaxed)),
                    oneIn: seen.pointee.sight == .asksHost ? 64 : 2)
        case .destroyed: cp_free_zeroed(UnsafeMutableRawPointer(self))
        case .handedToRCU, .unlocks: break
        }
    }

    /// Each that a vCPU has had.
    @inline(never)
    func forEachCPU(_ body: (CPU) -> Void) {
        var cpu = pointee.cpus
        while cpu != pointee.end {
            if cpu.pointee.vcpu.load(ordering: .relaxed) != 0 { body(cpu) }
            cpu += 1
        }
    }

    /// A moment at which each CPU may fill.
    @inline(never)
    private func fillAll(_ gfn: GFN, oneIn part: UInt64) {
        if pointee.behaviour.contains(.fillsNever) { return }
        let always = pointee.behaviour.contains(.fillsAlways)
        // Mostly nothing, which is decided at once; else each CPU for itself.
        if !always && pointee.random() & (part &>> 1 &- 1) != 0 { return }
        forEachCPU { cpu in
            if cpu.pointee.tag.load(ordering: .relaxed) == 0 { return }
            if always || pointee.random() & 1 == 0 { _ = fill(cpu, gfn, wholeWay: always) }
        }
    }

    /// A table's page is about to be free.
    @inline(never) @_optimize(size)
    private func lookForTable(_ address: UInt64) {
        forEachCPU { cpu in
            guard let held = cpu.holds(address) else { return }
            tell("a table is freed that a CPU still has", OpaquePointer(bitPattern: cpu.pointee.vcpu.load(ordering: .relaxed)),
                 held.gfn, nil, SPTE(held.table), held.level)
        }
    }
}

private let seeForCPUs: EyesTable.See = {
    $0.assumingMemoryBound(to: CPUSet.self).see($1.assumingMemoryBound(to: Seen.self))
}
