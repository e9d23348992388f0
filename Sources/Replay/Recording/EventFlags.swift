// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// Where an event has a C bool, of which a file may have made anything: only 0 and 1 are one that Swift may look at.
enum EventFlags {
    /// Whether all of them are, in the bytes of an event.
    static func areSound(_ event: Slice<UnsafeRawBufferPointer>, _ id: UInt16) -> Bool {
        // Behind what all events have.
        let fields = event.startIndex + 24
        return places(tdpmmu_trace_id(rawValue: UInt32(id))).allSatisfy { event[fields + $0] <= 1 }
    }

    private static func places(_ id: tdpmmu_trace_id) -> [Int] {
        switch id {
        case TDPMMU_TRACE_GET_PAGE, TDPMMU_TRACE_PREPARE_ZAP_PAGE: page
        case TDPMMU_TRACE_SET_SPTE: setSPTE
        case TDPMMU_TRACE_SMM_TRANSITION: smm
        case TDPMMU_TRACE_MAP: map
        case TDPMMU_TRACE_ZAP_LEAFS, TDPMMU_TRACE_ZAP_ROOT, TDPMMU_TRACE_ZAP_ROOT_LEVEL: root
        case TDPMMU_TRACE_KVM_ZAP_LEAFS, TDPMMU_TRACE_UNMAP_GFN_RANGE, TDPMMU_TRACE_SPLIT: range
        case TDPMMU_TRACE_CLEAR_DIRTY_PT_MASKED: gfn
        case TDPMMU_TRACE_MARK: mark
        default: []
        }
    }

    private static let page = offsets([\tdpmmu_trace_page.unsync, \.created])
    private static let setSPTE = offsets([\tdpmmu_trace_set_spte.r, \.x])
    private static let smm = offsets([\tdpmmu_trace_smm_transition.entering])
    private static let map = offsets([\tdpmmu_trace_map.prefetch, \.exec, \.write, \.present, \.nxwa, \.map_writable])
    private static let root = offsets([\tdpmmu_trace_root.can_yield, \.flush, \.shared])
    private static let range = offsets([\tdpmmu_trace_range.flush, \.shared])
    private static let gfn = offsets([\tdpmmu_trace_gfn.wrprot])
    private static let mark = offsets([\tdpmmu_trace_text.continues])

    private static func offsets<Fields>(_ flags: [KeyPath<Fields, Bool>]) -> [Int] {
        flags.map { MemoryLayout<Fields>.offset(of: $0)! }
    }
}
