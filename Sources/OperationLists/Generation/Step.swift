// SPDX-License-Identifier: GPL-2.0-only

/// What may come next in a random list, and how often.
enum Step: CaseIterable {
    case fault, mmio, map, hardware, fastFault, prefault
    case zapLeafs, unmap, zapTable, zapAll, zapFast, invalidate
    case writeProtect, writeProtectGFN, clearDirty, clearDirtyMasked, age
    case split, collapse, hostLevel
    case switchLog, harvest, markDirty, logMode, fillLog, exit
    case switchNX, recover, switchEager
    case invalidation, hostAge
    case moveSlot, replaceSlot, changeSpace, reload

    var weight: UInt64 {
        switch self {
        case .fault: 340
        case .hardware: 110
        case .map, .clearDirtyMasked, .age, .harvest: 50
        case .zapLeafs, .fastFault: 40
        case .mmio, .unmap, .writeProtect, .writeProtectGFN, .clearDirty, .split, .collapse, .switchLog: 30
        case .invalidate, .zapTable, .hostLevel, .hostAge, .invalidation: 20
        case .zapAll, .prefault, .recover, .changeSpace, .fillLog, .exit: 12
        case .zapFast, .switchNX, .switchEager, .markDirty, .reload, .moveSlot, .replaceSlot: 6
        case .logMode: 3
        }
    }
}
