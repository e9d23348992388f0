// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What the guest does in one step, in its order, and how far it has come.
///
/// The guest runs a few instructions at gpa 0x1000 (see the traces' README): it
/// makes the accesses of the step one after the other and halts.  An access that
/// faults proves that all before it were made; a step that ends well proves
/// them all.  So Accessed and Dirty bits are set where a CPU sets them, without
/// a look at the SPTEs that the kernel found later.
struct GuestRun {
    enum Program {
        case touch(TouchStep)
        case batch([GuestAccess])
        case halt
        /// One access in SMM, which the firmware's handler makes.
        case smi(GuestAccess)
        /// Any other guest, whose accesses the trace tells one by one.
        case told
    }

    let vcpu: Int
    /// The host's task that runs the vCPU.
    let task: Int
    let program: Program
    let longMode: Bool
    let walksAreWrites: Bool
    /// Accesses known to have been made.
    private(set) var made = 0
    /// The access whose fault was answered last: it is made at any moment, or faults again.
    fileprivate var answered: Int?
    /// The vCPU has left the guest since that answer.
    fileprivate var hasLeft = false
    /// That one was made before a change took the bits away that it had set.
    fileprivate var isBehind = false
    /// Accesses of which only a later look at the SPTE tells whether their bits were taken away.
    fileprivate private(set) var doubtful: [GuestAccess] = []

    init(vcpu: Int, task: Int, program: Program, longMode: Bool, walksAreWrites: Bool) {
        self.vcpu = vcpu
        self.task = task
        self.program = program
        self.longMode = longMode
        self.walksAreWrites = walksAreWrites
    }

    var count: Int {
        switch program {
        case .touch(let step): step.count
        case .batch(let accesses): accesses.count
        case .halt, .told: 0
        case .smi: 1
        }
    }

    func access(_ index: Int) -> GuestAccess {
        switch program {
        case .touch(let step):
            GuestAccess(gpa: step.gpa &+ step.stride &* UInt64(clamping: index), access: step.access)
        case .batch(let accesses):
            accesses.indices.contains(index) ? accesses[index] : GuestAccess(gpa: 0, access: 0)
        case .smi(let access):
            access
        case .halt, .told:
            GuestAccess(gpa: 0, access: 0)
        }
    }

    /// The first access from here on that lies in [gfn, gfn + pages), and writes
    /// if it must.
    func next(in gfn: UInt64, pages: UInt64, write: Bool = false) -> Int? {
        let candidates: Range<Int>
        if case .touch(let step) = program {
            // The only one that can be it, found by arithmetic: a step may have many.
            let index = max(made, step.firstIndex(at: gfn &<< Paging.pageShift))
            candidates = index..<max(index, min(index &+ 1, count))
        } else {
            candidates = made..<max(made, count)
        }
        return candidates.first { access($0).isInside(gfn, pages: pages) && access($0).satisfies(write: write) }
    }

    /// All accesses before `index` were made; returns those that are new.
    mutating func advance(to index: Int) -> [GuestAccess] {
        let stop = min(max(index, made), count)
        defer {
            made = stop
            (answered, isBehind) = (nil, false)
        }
        if isBehind, let answered, made..<stop ~= answered { doubtful.append(access(answered)) }
        return (made..<stop).filter { !(isBehind && $0 == answered) }.flatMap { [access($0)] + supporting(access($0)) }
    }

    /// Code, stack and list: what the guest uses before each access of the step.
    var surroundings: [GuestAccess] {
        // Only the handler's code is where the CPU says; what else it uses is the firmware's.
        if case .smi = program { return [GuestAccess(gpa: GuestLayout.smiHandler, access: PageFaultBits.fetch)] }
        if case .told = program { return [] }
        let vcpuOffset = UInt64(clamping: vcpu) &* 0x1000
        var pages = [GuestAccess(gpa: GuestLayout.code, access: PageFaultBits.fetch)]
        if case .batch = program {
            pages.append(GuestAccess(gpa: GuestLayout.list &+ vcpuOffset, access: 0))
        }
        if case .touch(let step) = program, step.access == PageFaultBits.fetch, step.count > 0 {
            pages.append(GuestAccess(gpa: GuestLayout.stackTop &+ vcpuOffset &- 8, access: PageFaultBits.write))
        }
        return pages + pages.flatMap { supporting($0) }
    }

    /// The guest's own page tables that an access goes through.  To nested paging, and to EPT
    /// with A/D bits, a walk of them is a write, as their Accessed bits may be set by it.
    private func supporting(_ access: GuestAccess) -> [GuestAccess] {
        guard longMode else { return [] }
        let directory = GuestLayout.pageTables &+ 0x1000 &* (1 &+ access.gpa >> 39)
        return [GuestLayout.pageTables, directory].map {
            GuestAccess(gpa: $0, access: walksAreWrites ? PageFaultBits.write : 0)
        }
    }

    /// Something this run does, or may still do, that explains an access to
    /// [gfn, gfn + pages).
    func explains(_ gfn: UInt64, pages: UInt64, write: Bool) -> GuestAccess? {
        if let index = next(in: gfn, pages: pages, write: write) { return access(index) }
        return (doubtful + surroundings).first { $0.isInside(gfn, pages: pages) && $0.satisfies(write: write) }
    }
}

extension TouchStep {
    /// The first access at or behind `address`.
    fileprivate func firstIndex(at address: UInt64) -> Int {
        let base = gpa & ~Paging.pageMask
        guard address > base, stride > 0 else { return 0 }
        return Int(clamping: (address - base - 1) / stride) &+ 1
    }
}

/// Guest-physical addresses of the guest's own things.
enum GuestLayout {
    static let code: UInt64 = 0x1000
    static let stackTop: UInt64 = 0x9000
    static let list: UInt64 = 0x10000
    static let pageTables: UInt64 = 0x18000
    /// At SMBASE, as it is after a reset, plus 0x8000.
    static let smiHandler: UInt64 = 0x38000
}

extension GuestAccess {
    func isInside(_ gfn: UInt64, pages: UInt64) -> Bool {
        let page = gpa >> Paging.pageShift
        return page >= gfn && page - gfn < pages
    }

    fileprivate func satisfies(write: Bool) -> Bool {
        !write || access & PageFaultBits.write != 0
    }
}

/// The runs that are going on, one per vCPU.
struct GuestModel {
    var longMode = false
    var walksAreWrites = true
    /// Each exit from a guest is told by left(), and no guest runs while the host does anything.
    var showsExits = false
    private var runs: [Int: GuestRun] = [:]

    mutating func begin(vcpu: Int, task: Int, _ program: GuestRun.Program) {
        runs[vcpu] = GuestRun(vcpu: vcpu, task: task, program: program, longMode: longMode, walksAreWrites: walksAreWrites)
    }

    /// The vCPU faulted at gpa: what it has done before.  A fault on code, stack or
    /// list itself tells nothing.
    mutating func fault(vcpu: Int, gpa: UInt64) -> [GuestAccess] {
        guard var run = runs[vcpu] else { return [] }
        defer { runs[vcpu] = run }
        if let index = run.answered, run.access(index).isInside(gpa >> Paging.pageShift, pages: 1) {
            run.isBehind = false
            return []
        }
        guard let index = run.next(in: gpa >> Paging.pageShift, pages: 1) else { return [] }
        return run.surroundings + run.advance(to: index)
    }

    /// It has written to gfn by now: that, and what it has done before, if it is to do so at all.
    mutating func writes(vcpu: Int, to gfn: UInt64) -> [GuestAccess] {
        guard var run = runs[vcpu], let index = run.next(in: gfn, pages: 1, write: true) else { return [] }
        defer { runs[vcpu] = run }
        return run.surroundings + run.advance(to: index + 1)
    }

    /// Its fault at gpa has been answered.
    mutating func answer(vcpu: Int, gpa: UInt64) {
        guard let index = runs[vcpu]?.next(in: gpa >> Paging.pageShift, pages: 1) else { return }
        runs[vcpu]?.answered = index
        runs[vcpu]?.isBehind = false
        runs[vcpu]?.hasLeft = false
    }

    /// The vCPU has left the guest.
    mutating func left(vcpu: Int) { runs[vcpu]?.hasLeft = true }

    /// Accessed or Dirty of a page are gone: who was about to set them has done so before, unless he was not
    /// in the guest at all.
    mutating func drop(gfn: UInt64) {
        for (vcpu, run) in runs {
            guard let index = run.answered, run.access(index).isInside(gfn, pages: 1),
                run.hasLeft || !showsExits
            else { continue }
            runs[vcpu]?.isBehind = true
        }
    }

    /// The vCPU's step is over.  If all went well, the guest did all of it.
    mutating func end(vcpu: Int, succeeded: Bool) -> (made: [GuestAccess], doubtful: [GuestAccess]) {
        guard var run = runs.removeValue(forKey: vcpu), succeeded else { return ([], []) }
        let made = run.surroundings + run.advance(to: run.count)
        return (made, run.doubtful)
    }

    /// An access that a vCPU may have made by now and that explains a bit in an
    /// SPTE which `task` looks at.  A task that runs a vCPU itself explains
    /// nothing: its guest stands still, and how far it has come is known.
    func explanation(_ gfn: UInt64, pages: UInt64, write: Bool, task: Int)
        -> (vcpu: Int, access: GuestAccess)?
    {
        for (vcpu, run) in runs where run.task != task {
            if let access = run.explains(gfn, pages: pages, write: write) { return (vcpu, access) }
        }
        return nil
    }

    var isRunning: Bool { !runs.isEmpty }
}
