// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import MMU
import Synchronization

/// Those who may look at a VM, in the order in which they are told: books first, so that who looks for mistakes finds them
/// kept.
package enum Watcher: Int {
    case ledger
    case cpus
    case checker
    case spare
}

/// A VM's eyes, shared among its watchers.  Made with the first one, and there until the VM is destroyed: so nobody
/// looks through what is gone.
package struct EyesTable: ~Copyable {
    package typealias See = @convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer) -> Void

    private struct Place: ~Copyable {
        /// What the watcher wants to be called with; 0: nobody is here.
        let context = Atomic<UInt>(0)
        var see: See?
    }

    private var eyes: Eyes
    private var ledger = Place(), cpus = Place(), checker = Place(), spare = Place()

    private init(_ context: UnsafeMutableRawPointer) { eyes = Eyes(context: context, see: seeAll) }

    private static func place(_ watcher: Watcher, _ table: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Place> {
        (table + MemoryLayout<Eyes>.size).alignedUp(for: Place.self).assumingMemoryBound(to: Place.self) + watcher.rawValue
    }

    /// The VM's table, made if there is none.  nil: no memory.
    private static func table(of vm: VM) -> UnsafeMutableRawPointer? {
        if let eyes = vm.eyes { return UnsafeMutableRawPointer(eyes) }
        guard let memory = cp_alloc_zeroed(MemoryLayout<EyesTable>.size) else { return nil }
        memory.assumingMemoryBound(to: EyesTable.self).initialize(to: EyesTable(memory))
        if vm.attach(memory.assumingMemoryBound(to: Eyes.self)) { return memory }
        cp_free_zeroed(memory)
        return vm.eyes.map { UnsafeMutableRawPointer($0) }
    }

    package enum Attachment {
        case done
        case exists
        case noMemory
    }

    /// From here on `see` is called with `context` and each Seen.
    @inline(never) @_optimize(size)
    package static func attach(_ watcher: Watcher, to vm: VM, _ context: UnsafeMutableRawPointer, _ see: See) -> Attachment {
        guard let table = table(of: vm) else { return .noMemory }
        let place = place(watcher, table)
        guard place.pointee.context.load(ordering: .acquiring) == 0 else { return .exists }
        place.pointee.see = see
        // Release: pairs with context(of:in:).
        place.pointee.context.store(UInt(bitPattern: context), ordering: .releasing)
        vm.openEyes(true)
        return .done
    }

    /// The watcher's context, which it gets back; nil: it was not there.  A thread that is in a call on the VM may still
    /// be telling it.
    @inline(never) @_optimize(size)
    package static func detach(_ watcher: Watcher, from vm: VM) -> UnsafeMutableRawPointer? {
        guard let eyes = vm.eyes else { return nil }
        let table = UnsafeMutableRawPointer(eyes)
        let word = place(watcher, table).pointee.context.exchange(0, ordering: .acquiringAndReleasing)
        var isAnyLeft = false
        var i = 0
        while let other = Watcher(rawValue: i) {
            if context(of: other, table) != nil { isAnyLeft = true }
            i &+= 1
        }
        if !isAnyLeft { vm.openEyes(false) }
        return UnsafeMutableRawPointer(bitPattern: word)
    }

    /// What a watcher is called with; nil: it does not look.
    package static func context(of watcher: Watcher, in vm: VM) -> UnsafeMutableRawPointer? {
        vm.eyes.flatMap { context(of: watcher, UnsafeMutableRawPointer($0)) }
    }

    /// Acquire: pairs with attach().
    private static func context(of watcher: Watcher, _ table: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        UnsafeMutableRawPointer(bitPattern: place(watcher, table).pointee.context.load(ordering: .acquiring))
    }

    fileprivate static func tell(_ table: UnsafeMutableRawPointer, _ seen: UnsafeRawPointer) {
        var i = 0
        while let watcher = Watcher(rawValue: i) {
            i &+= 1
            guard let context = context(of: watcher, table) else { continue }
            place(watcher, table).pointee.see?(context, seen)
        }
        if seen.assumingMemoryBound(to: Seen.self).pointee.sight == .destroyed { cp_free_zeroed(table) }
    }
}

private let seeAll: EyesTable.See = { EyesTable.tell($0, $1) }
