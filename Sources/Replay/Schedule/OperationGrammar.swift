// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Which lines make up an operation.
struct OperationGrammar {
    let mode: ReplayMode

    enum Role {
        case change, detail, end
        /// The operation is over, and this line is not of it.
        case outside
        /// Another operation, before this one goes on.
        case nested
        case impossible
    }

    /// What the other mode takes, and this one does not.
    func isPassedOver(_ event: TraceEvent) -> Bool {
        switch event {
        case .hostUnmapped, .hostAged, .hostTestAged, .invalidateEnd: mode == .calls
        default: false
        }
    }

    func kindBegun(by event: TraceEvent) -> Operation.Kind? {
        if mode == .guest, let kind = Self.kindBegunByGuest(event) { return kind }
        if case .step(let step) = event { return Self.kindBegun(by: step) }
        return Self.kindOfCall(event)
    }

    private static func kindBegunByGuest(_ event: TraceEvent) -> Operation.Kind? {
        switch event {
        case .pageFault: .fault
        case .step(.prefault): .prefault
        case .hostUnmapped: .hostUnmap
        case .hostAged: .hostAge
        case .hostTestAged: .hostTestAge
        default: nil
        }
    }

    static func kindOfCall(_ event: TraceEvent) -> Operation.Kind? {
        switch event {
        case .map: .map
        case .unmap: .unmap
        case .zapLeafs: .zapLeafs
        case .allocRoot: .loadRoot
        case .zapAll: .zapAll
        case .zapAllFast: .zapAllFast
        case .zapInvalidatedRoots: .uninit
        case .age: .age
        case .testAge: .testAge
        case .writeProtectSlot: .writeProtectSlot
        case .clearDirtySlot: .clearDirtySlot
        case .clearDirtyMasked: .clearDirtyMasked
        case .writeProtect: .writeProtect
        case .split: .split
        case .zapCollapsible: .zapCollapsible
        case .zapTable: .zapTable
        default: nil
        }
    }

    private static func kindBegun(by step: Step) -> Operation.Kind? {
        switch step {
        case .memslot: .memslot
        case .parameter: .parameter
        case .getDirtyLog: .getDirtyLog
        case .clearDirtyLog: .clearDirtyLog
        case .resetDirtyRings: .resetDirtyRings
        default: nil
        }
    }

    /// begin: the line that began the operation.
    func role(of event: TraceEvent, in kind: Operation.Kind, begin: TraceEvent) -> Role {
        if case .spteChanged = event { return .change }
        if Self.ends(event, kind) { return .end }
        if kind == .fault || kind == .prefault { return role(of: event, inFault: kind) }
        if kind.isStep { return role(of: event, inStep: begin) }
        if Self.isHostCall(kind) { return Self.isPartOfHostCall(event) ? .detail : .outside }
        if Self.isOpenEnded(kind) { return Self.isPartOfWalk(event) ? .detail : .outside }
        if kind == .zapAllFast, Self.isPartOfFastZap(event) { return .detail }
        if kindBegun(by: event) != nil { return .impossible }
        if case .step = event { return .impossible }
        if case .done = event { return .impossible }
        return .detail
    }

    /// The library does the whole of it.
    private func role(of event: TraceEvent, inFault kind: Operation.Kind) -> Role {
        switch event {
        case .hostUnmapped, .hostAged, .hostTestAged, .invalidateEnd, .allocRoot, .zapTable: .nested
        case .step, .done, .pageFault, .mmioExit, .loadRoot: .outside
        case .unmap, .zapLeafs, .zapAll, .zapAllFast: .impossible
        default: .detail
        }
    }

    private func role(of event: TraceEvent, inStep begin: TraceEvent) -> Role {
        switch event {
        case .unmap: return Self.zapsSlot(begin) ? .detail : .nested
        case .age, .testAge, .hostUnmapped, .hostAged, .hostTestAged, .invalidateEnd: return .nested
        case .step, .done, .map, .allocRoot, .zapAll, .zapTable: return .impossible
        default: return .detail
        }
    }

    /// A slot that goes or moves may be zapped alone, without all the rest.
    private static func zapsSlot(_ begin: TraceEvent) -> Bool {
        guard case .step(.memslot(let step)) = begin else { return false }
        return step.operation == "memslot_delete" || step.operation == "memslot_move"
    }

    private static func ends(_ event: TraceEvent, _ kind: Operation.Kind) -> Bool {
        switch (kind, event) {
        case (.map, .mapReturn), (.unmap, .unmapReturn), (.loadRoot, .loadRoot),
            (.age, .ageReturn), (.testAge, .testAgeReturn), (.writeProtectSlot, .writeProtectSlotReturn),
            (.split, .splitReturn), (.zapCollapsible, .zapCollapsibleReturn),
            (.fault, .pageFaultReturn), (.fault, .mmioHandled),
            (.zapAllFast, .zapInvalidatedRootsReturn), (.uninit, .zapInvalidatedRootsReturn): true
        case (.prefault, .done(let done)): done.operation == "prefault"
        case (.memslot, .done(let done)): OperationTable.memslotSteps.contains(done.operation)
        case (.parameter, .done(let done)): done.operation == "param"
        case (.getDirtyLog, .done(let done)): done.operation == "get_dirty_log"
        case (.clearDirtyLog, .done(let done)): done.operation == "clear_dirty_log"
        case (.resetDirtyRings, .done(let done)): done.operation == "reset_dirty_rings"
        default: false
        }
    }

    static func isReturn(_ event: TraceEvent) -> Bool {
        switch event {
        case .mapReturn, .unmapReturn, .zapInvalidatedRootsReturn, .ageReturn, .testAgeReturn,
            .writeProtectSlotReturn, .splitReturn, .zapCollapsibleReturn: true
        default: false
        }
    }

    /// These have no line for their return: they last until the task does
    /// something that cannot be part of them.
    static func isOpenEnded(_ kind: Operation.Kind) -> Bool {
        switch kind {
        case .hostUnmap, .hostAge, .hostTestAge: true
        case .zapAll, .zapLeafs, .zapTable, .clearDirtySlot, .clearDirtyMasked, .writeProtect: true
        default: false
        }
    }

    private static func isHostCall(_ kind: Operation.Kind) -> Bool {
        kind == .hostUnmap || kind == .hostAge || kind == .hostTestAge
    }

    private static func isPartOfHostCall(_ event: TraceEvent) -> Bool {
        switch event {
        case .unmap, .unmapReturn, .age, .ageReturn, .testAge, .testAgeReturn: true
        default: isPartOfWalk(event)
        }
    }

    private static func isPartOfWalk(_ event: TraceEvent) -> Bool {
        switch event {
        case .detail, .iteratorStart, .iteratorRestart, .zapLeafsOfRoot, .zapLeafsOfRootReturn: true
        default: false
        }
    }

    private static func isPartOfFastZap(_ event: TraceEvent) -> Bool {
        switch event {
        case .zapAllFast, .invalidateAllRoots, .zapInvalidatedRoots, .zapInvalidatedRootsReturn: true
        default: false
        }
    }
}
