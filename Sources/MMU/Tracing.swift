// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization
import Tracing

/// Events go to the VM's callback, and to the calling thread's ring.  Off, each costs a
/// load and a branch; all else is out of line.
extension VM {
    /// Does the rig's callback or a ring want this event?
    @inline(__always)
    package func traces(_ event: tdpmmu_trace_id) -> Bool {
        state.pointee.tracedEvents.load(ordering: .relaxed) & Self.bit(event) != 0
    }

    /// Does anybody want any, or look on?  (The upper two bits are no events: VMState.swift.)
    @inline(__always)
    package var tracesAny: Bool { state.pointee.tracedEvents.load(ordering: .relaxed) &<< 2 != 0 }

    /// Does anybody want to hear of anything: a trace, eyes, the checker, the rig of changes?
    @inline(__always)
    var tellsAny: Bool { state.pointee.tracedEvents.load(ordering: .relaxed) != 0 }

    @inline(__always)
    static func bit(_ event: tdpmmu_trace_id) -> UInt64 { 1 &<< UInt64(event.rawValue) }

    /// Sends these events to rings from now on; a callback gets all.
    package func traceToRings(_ events: UInt64) {
        state.pointee.ringEvents.store(events, ordering: .relaxed)
        setTracedEvents(state.pointee.config.rig.traces ? allEvents : events)
    }

    /// Notes an event, if it is wanted.  `fill` fills in its fields.
    @inline(__always)
    package func trace(_ id: tdpmmu_trace_id, _ fill: (inout tdpmmu_trace_event) -> Void = { _ in }) {
        guard traces(id) else { return }
        var event = tdpmmu_trace_event()
        fill(&event)
        send(id, &event)
    }

    @inline(never)
    private func send(_ id: tdpmmu_trace_id, _ event: inout tdpmmu_trace_event) {
        event.count = shared(cp_trace_count()).pointee.wrappingAdd(1, ordering: .relaxed).newValue
        event.kvm = UInt64(UInt(bitPattern: kvm))
        event.thread = cp_cached_tid()
        event.cpu = cp_current_cpu()
        event.id = UInt16(id.rawValue)
        if state.pointee.ringEvents.load(ordering: .relaxed) & Self.bit(id) != 0 {
            if let ring = TraceRing.own { ring.put(&event) } else { TraceRings.countLost() }
        }
        rig.happened(&event)
    }

    /// A line of the rig's own, in as many events as it takes.
    @inline(never)
    package func mark(_ text: UnsafePointer<CChar>, length: Int) {
        let room = Int(TDPMMU_TRACE_TEXT)
        var done = 0
        repeat {
            let part = min(length - done, room)
            trace(TDPMMU_TRACE_MARK) { event in
                event.mark.length = UInt16(part)
                event.mark.continues = done + part < length
                withUnsafeMutableBytes(of: &event.mark.text) {
                    $0.baseAddress.unsafelyUnwrapped.copyMemory(from: text + done, byteCount: part)
                }
            }
            done += part
        } while done < length
    }

    /// What a call returned.
    @inline(__always)
    func traceReturn(_ id: tdpmmu_trace_id, _ value: Int32 = 0) {
        if traces(id) { noteReturn(id, value) }
    }

    @inline(__always)
    func traceReturn(_ id: tdpmmu_trace_id, _ flag: Bool) { traceReturn(id, flag ? 1 : 0) }

    /// A call on [start, end).
    @inline(__always)
    func traceRange(
        _ id: tdpmmu_trace_id, _ start: GFN, _ end: GFN, flush: Bool = false, target: Level = Level(0),
        shared: Bool = false
    ) {
        trace(id) {
            $0.range = tdpmmu_trace_range(
                start: start.raw, end: end.raw, target: target.raw, flush: flush, shared: shared)
        }
    }

    @inline(__always)
    func traceSlot(_ id: tdpmmu_trace_id, _ slot: kvm_memory_slot, from lowest: Level = Level(0)) {
        trace(id) {
            $0.slot = tdpmmu_trace_slot(base_gfn: slot.base_gfn, npages: slot.npages, min_level: lowest.raw)
        }
    }

    /// A table is made or on its way out.
    @inline(__always)
    func tracePage(_ id: tdpmmu_trace_id, _ table: Table, created: Bool = false) {
        trace(id) {
            $0.page.gfn = table.gfn.raw
            $0.page.role = table.role.raw
            $0.page.root_count = UInt32(bitPattern: table.referenceCount)
            $0.page.created = created
        }
    }

    /// Something is done to, or below, a root.
    @inline(__always)
    func traceRoot(
        _ id: tdpmmu_trace_id, _ root: Table, start: GFN = GFN(0), end: GFN = GFN(0), level: Level = Level(0),
        canYield: Bool = false, flush: Bool = false, shared: Bool = false
    ) {
        trace(id) {
            $0.root = tdpmmu_trace_root(
                root: UInt64(root.word), spt: root.address, start: start.raw, end: end.raw,
                role: root.role.raw, level: level.raw, can_yield: canYield, flush: flush, shared: shared)
        }
    }

    /// A walk begins.
    @inline(never)
    func traceWalk(_ root: Table, from gfn: GFN, minLevel: Level) {
        traceRoot(TDPMMU_TRACE_ITER_START, root, start: gfn, level: minLevel)
        traceRestart(gfn, yielded: GFN(0))
    }

    @inline(__always)
    func traceRestart(_ next: GFN, yielded: GFN) {
        trace(TDPMMU_TRACE_ITER_RESTART) {
            $0.iter_restart = tdpmmu_trace_iter_restart(next_gfn: next.raw, yielded_gfn: yielded.raw)
        }
    }

    @inline(__always)
    func traceHost(_ id: tdpmmu_trace_id, _ start: UInt64, _ end: UInt64) {
        trace(id) { $0.hva = tdpmmu_trace_hva(start: start, end: end) }
    }
}

// What hot paths note, out of line.
extension VM {
    @inline(never)
    private func noteReturn(_ id: tdpmmu_trace_id, _ value: Int32) { trace(id) { $0.ret.ret = value } }

    @inline(never)
    func traceChange(_ addressSpace: Int32, _ gfn: GFN, _ level: Level, _ old: SPTE, _ new: SPTE) {
        trace(TDPMMU_TRACE_SPTE_CHANGED) {
            $0.spte_changed = tdpmmu_trace_spte_changed(
                gfn: gfn.raw, old_spte: old.raw, new_spte: new.raw, level: UInt8(truncatingIfNeeded: level.raw),
                as_id: UInt8(truncatingIfNeeded: addressSpace))
        }
    }

    /// What a fault left in the entry it came for.  To the kernel all is readable where present entries have a bit that says so.
    @inline(never)
    func traceSet(_ gfn: GFN, _ level: Level, _ slot: SPTESlot, _ rcu: borrowing InsideRCU) {
        let spte = slot.load(rcu)
        trace(TDPMMU_TRACE_SET_SPTE) {
            $0.set_spte = tdpmmu_trace_set_spte(
                gfn: gfn.raw, spte: spte.raw, sptep: address(of: slot), level: UInt8(truncatingIfNeeded: level.raw),
                r: true, x: masks.isExecutable(spte), u: masks.userBit(spte))
        }
    }

    @inline(never)
    func traceMMIO(_ slot: SPTESlot, _ gfn: GFN, _ spte: SPTE) {
        trace(TDPMMU_TRACE_MARK_MMIO_SPTE) {
            $0.mmio = tdpmmu_trace_mmio(
                sptep: address(of: slot), addr: 0, gfn: gfn.raw, access: UInt32(spte.raw & 7),
                gen: UInt32(spte.mmioGeneration))
        }
    }

    @inline(never)
    func traceSplit(_ gfn: GFN, _ level: Level, _ huge: SPTE) {
        trace(TDPMMU_TRACE_SPLIT_HUGE_PAGE) {
            $0.split_huge_page = tdpmmu_trace_split(gfn: gfn.raw, spte: huge.raw, level: level.raw, error: 0)
        }
    }

    @inline(never)
    func traceFlush(_ start: GFN, pages: UInt64) {
        guard pages != .max else { return trace(TDPMMU_TRACE_FLUSH) }
        trace(TDPMMU_TRACE_FLUSH_RANGE) {
            $0.gfn.gfn = start.raw
            $0.gfn.n = pages
        }
    }

    /// Host-physical address of an entry.
    func address(of slot: SPTESlot) -> UInt64 {
        let here = slot.address
        return Table(containing: here).address &+ UInt64(here & UInt(tableBytes - 1))
    }
}
