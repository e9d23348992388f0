// SPDX-License-Identifier: GPL-2.0-only
// What an entry point demands of the thread that calls it, as one value, and the one
// place where it is looked at whether the thread has it.
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

typealias KVMPointer = UnsafeMutablePointer<kvm>
typealias PagePointer = UnsafeMutablePointer<kvm_mmu_page>

/// Where a thread is, and what it holds: locks and readers of one VM.
struct Held: OptionSet {
    let rawValue: UInt8

    @inline(__always) init(rawValue: UInt8) { self.rawValue = rawValue }

    /// mmu_lock.
    @inline(__always) static var read: Held { Held(rawValue: 1) }
    @inline(__always) static var write: Held { Held(rawValue: 2) }
    /// Inside an RCU reader, or one of kvm->srcu.
    @inline(__always) static var rcu: Held { Held(rawValue: 4) }
    @inline(__always) static var srcu: Held { Held(rawValue: 8) }
    /// Inside a callback of call_rcu(), or told of a stall: where rcu_barrier() refuses; or
    /// in a callback of the VM's own.
    @inline(__always) static var callback: Held { Held(rawValue: 16) }
}

/// What an entry point gets to show for the contract that its caller kept: a proof that the
/// operations ask for, made where it is looked at whether the thread has it.
protocol CallersProof: ~Copyable {
    /// nil: the thread has nothing of `needs`.
    static func look(_ vm: VM, _ needs: Held) -> Self?
}

/// Where nothing is asked for, or only that something is not held.
struct NothingAsked: CallersProof, ~Copyable {
    @inline(__always) static func look(_ vm: VM, _ needs: Held) -> NothingAsked? { NothingAsked() }
}

/// RCU, or mmu_lock held either way: what is named may be looked at, and no more.
struct NamedStays: CallersProof, ~Copyable {
    @inline(__always)
    static func look(_ vm: VM, _ needs: Held) -> NamedStays? {
        rcuReadLockHeld() || vm.lock.isHeldForRead || vm.lock.isHeldForWrite ? NamedStays() : nil
    }
}

extension HeldForWrite: CallersProof {
    @inline(__always)
    static func look(_ vm: VM, _ needs: Held) -> HeldForWrite? { vm.lock.callersWriteHold }
}

extension HeldForRead: CallersProof {
    @inline(__always)
    static func look(_ vm: VM, _ needs: Held) -> HeldForRead? {
        needs.contains(.write) ? vm.lock.callersHold : vm.lock.callersReadHold
    }
}

extension InsideRCU: CallersProof {
    @inline(__always)
    static func look(_ vm: VM, _ needs: Held) -> InsideRCU? { callersRCU() }
}

extension TablesKept: CallersProof {
    @inline(__always)
    static func look(_ vm: VM, _ needs: Held) -> TablesKept? {
        if let rcu = callersRCU() { return TablesKept(rcu) }
        if let hold = vm.lock.callersWriteHold { return TablesKept(hold) }
        return nil
    }
}

extension SlotsKept: CallersProof {
    @inline(__always)
    static func look(_ vm: VM, _ needs: Held) -> SlotsKept? {
        if let rcu = callersRCU() { return SlotsKept(rcu) }
        if let srcu = vm.srcu.callersReader { return SlotsKept(srcu) }
        return nil
    }
}

/// One of the sentences that header comments end with; scripts/contracts.py has the
/// list and compares.
struct Rule<Proof: CallersProof & ~Copyable> {
    /// At least one of these, unless there are none.
    let needs: Held
    let forbids: Held

    @inline(__always) init(needs: Held = [], forbids: Held = []) {
        self.needs = needs
        self.forbids = forbids
    }
}

extension Rule where Proof == NothingAsked {
    @inline(__always) static var anyLock: Rule { Rule() }
    /// Takes mmu_lock for write, if need be.
    @inline(__always) static var noLockOrLockW: Rule { Rule(forbids: .read) }
    @inline(__always) static var noLock: Rule { Rule(forbids: [.read, .write]) }
    /// Takes mmu_lock, or waits in another way.
    @inline(__always) static var noLockNotRCU: Rule { Rule(forbids: [.read, .write, .rcu]) }
    /// Takes the slots lock, whose holder waits for readers of kvm->srcu.
    @inline(__always) static var noLockNotRCUNotSRCU: Rule { Rule(forbids: [.read, .write, .rcu, .srcu]) }
    /// Waits for rcu_barrier() as well.
    @inline(__always) static var noLockNoReaderNoCallback: Rule {
        Rule(forbids: [.read, .write, .rcu, .srcu, .callback])
    }
    // Of functions that are about a lock or a domain which they are given, not about a VM's.
    @inline(__always) static var notRCU: Rule { Rule(forbids: .rcu) }
    @inline(__always) static var notLockW: Rule { Rule(forbids: .write) }
    @inline(__always) static var domain: Rule { Rule(needs: .srcu) }
    @inline(__always) static var notDomain: Rule { Rule(forbids: .srcu) }
    // Those that wait for readers or callbacks, for which mmu_lock of any VM is in the way.
    @inline(__always) static var noLockNotRCUNotCallback: Rule { Rule(forbids: [.read, .write, .rcu, .callback]) }
    @inline(__always) static var noLockNotRCUNotDomain: Rule { Rule(forbids: [.read, .write, .rcu, .srcu]) }
    @inline(__always) static var noLockNotRCUNotDomainNotCallback: Rule {
        Rule(forbids: [.read, .write, .rcu, .srcu, .callback])
    }
}

extension Rule where Proof == HeldForRead {
    @inline(__always) static var lockR: Rule { Rule(needs: .read) }
    @inline(__always) static var lockRorW: Rule { Rule(needs: [.read, .write]) }
}

extension Rule where Proof == HeldForWrite {
    @inline(__always) static var lockW: Rule { Rule(needs: .write) }
}

extension Rule where Proof == InsideRCU {
    @inline(__always) static var rcu: Rule { Rule(needs: .rcu) }
}

extension Rule where Proof == TablesKept {
    @inline(__always) static var rcuOrLockW: Rule { Rule(needs: [.rcu, .write]) }
}

extension Rule where Proof == NamedStays {
    @inline(__always) static var rcuOrLockRorW: Rule { Rule(needs: [.rcu, .read, .write]) }
}

extension Rule where Proof == SlotsKept {
    @inline(__always) static var rcuOrSRCU: Rule { Rule(needs: [.rcu, .srcu]) }
}

/// The contracts of all exported functions (Contracts.swift), each under its function's name.
enum Contract {}

/// A function's name and what it demands.
struct ContractFor<Proof: CallersProof & ~Copyable> {
    let function: StaticString
    let rule: Rule<Proof>
    /// Only between kvm_mmu_init_tdp_mmu() and kvm_mmu_uninit_tdp_mmu().
    let whenSetUp: Bool

    @inline(__always)
    init(_ rule: Rule<Proof>, whenSetUp: Bool = false, _ function: StaticString = #function) {
        self.function = function
        self.rule = rule
        self.whenSetUp = whenSetUp
    }
}

/// The way into a VM: that the contract was kept has been looked at, and the proof is here.
/// What else the caller passed is checked through it (Arguments.swift).
struct Entry<Proof: CallersProof & ~Copyable>: ~Copyable {
    let contract: ContractFor<Proof>
    let vm: VM
    var proof: Proof

    @inline(__always)
    fileprivate init(_ contract: ContractFor<Proof>, _ vm: VM, _ proof: consuming Proof) {
        self.contract = contract
        self.vm = vm
        self.proof = proof
    }
}

extension ContractFor where Proof: ~Copyable {
    /// nil, with one warning: kvm is NULL, or the contract is broken.
    @inline(__always)
    func enter(_ kvm: KVMPointer?) -> Entry<Proof>? {
        guard let kvm else {
            refuse("kvm is NULL")
            return nil
        }
        return enter(VM(kvm))
    }

    /// The vCPU that is named, for its VM to be entered; nil, with a warning, for NULL.
    @inline(__always)
    func vcpu(_ vcpu: OpaquePointer?) -> VCPU? {
        guard let vcpu else {
            refuse("vcpu is NULL")
            return nil
        }
        return VCPU(vcpu)
    }

    @inline(__always)
    func enter(_ vm: VM) -> Entry<Proof>? {
        guard let proof = Proof.look(vm, rule.needs), !holdsForbidden(vm) else {
            complain(in: vm)
            return nil
        }
        // The order of locks knows of other VMs, and of the callbacks under the slots lock.
        guard !rule.forbids.contains(.srcu) || vm.mayTake(.slots, function) else { return nil }
        guard !whenSetUp || vm.isSetUp else {
            refuse("the TDP MMU is not set up", vm.kvm)
            return nil
        }
        return Entry(self, vm, proof)
    }

    /// A table of whatever VM it belongs to; nil also if that VM is gone by now.
    @inline(__always)
    func enter(_ table: Table) -> Entry<Proof>? {
        guard let kvm = KVMPointer(bitPattern: table.ownerAddress) else { return nil }
        return enter(VM(kvm))
    }

    /// Rules are constants where this is inlined: only what is asked for is looked at.  Mostly a thread holds no lock
    /// and is in no reader, which is seen here; what takes more than that is out of line.
    @inline(__always)
    private func holdsForbidden(_ vm: VM) -> Bool {
        let forbids = rule.forbids
        if forbids.isEmpty { return false }
        if forbids.isSubset(of: [.read, .write, .rcu]), LockHolds.isEmpty, !forbids.contains(.rcu) || !rcuReadLockHeld() {
            return false
        }
        return vm.holds(forbids)
    }

    @inline(never)
    private func complain(in vm: VM) {
        let lock = vm.lock
        if !rule.needs.isEmpty {
            vm.warn(.lock, function, rule.needs.missingText)
        } else if lock.isHeldForRead || lock.isHeldForWrite {
            vm.warn(.lock, function, "mmu_lock is held, and the function takes it or waits")
        } else if rcuReadLockHeld() {
            vm.warn(.lock, function, "called inside an RCU reader, and the function may wait")
        } else if vm.srcu.isReadLockHeld {
            vm.warn(.lock, function, "called inside a reader of kvm->srcu, and the function waits for them")
        } else if vm.rig.isRunning {
            vm.warn(.lock, function, "called by a callback of this VM")
        } else {
            vm.warn(.lock, function, "called where rcu_barrier() is refused: in an RCU callback, or a report of a stall")
        }
    }

    /// One warning about something that the caller passed; the text names it.
    @inline(never)
    func refuse(_ text: StaticString, _ kvm: KVMPointer?, _ value0: UInt64 = 0, _ value1: UInt64 = 0) {
        if let kvm {
            VM(kvm).warn(.argument, function, text, value0, value1)
        } else {
            warn(.argument, function, text, value0, value1)
        }
    }

    /// The same where there is no value to be told: short, for those who call it.
    @inline(never)
    func refuse(_ text: StaticString, in kvm: KVMPointer?) { refuse(text, kvm, 0, 0) }

    @inline(__always)
    func refuse(_ text: StaticString) { refuse(text, in: nil) }
}

extension VM {
    /// Does the calling thread hold one of these, or is it inside?
    @inline(never)
    fileprivate func holds(_ held: Held) -> Bool {
        held.contains(.read) && lock.isHeldForRead
            || held.contains(.write) && lock.isHeldForWrite
            || held.contains(.rcu) && rcuReadLockHeld()
            || held.contains(.srcu) && srcu.isReadLockHeld
            || held.contains(.callback) && (!mayWaitForCallbacks || rig.isRunning)
    }
}

extension Held {
    fileprivate var missingText: StaticString {
        switch self {
        case .write: "mmu_lock is not held for write"
        case .read: "mmu_lock is not held for read"
        case [.read, .write]: "mmu_lock is not held"
        case [.rcu, .srcu]: "called outside a reader of kvm->srcu or RCU"
        case .rcu: "called outside an RCU reader"
        case [.rcu, .write]: "called outside an RCU reader, and mmu_lock is not held for write"
        default: "called outside an RCU reader, and mmu_lock is not held"
        }
    }
}
