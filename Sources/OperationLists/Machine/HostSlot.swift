// SPDX-License-Identifier: GPL-2.0-only

/// A slot, and what the host has behind it.
final class HostSlot {
    let id: Int, addressSpace: Int
    var first: UInt64
    let pages: UInt64
    /// Of its first page; the others follow.
    let pfn: UInt64
    /// Of each of its 2M frames: the level at which the host maps it.
    private var levels: [UInt8]

    private static let usualLevel: UInt8 = 2

    init(id: Int, addressSpace: Int, first: UInt64, pages: UInt64, pfn: UInt64) {
        (self.id, self.addressSpace, self.first, self.pages, self.pfn) = (id, addressSpace, first, pages, pfn)
        let frames = pages == 0 ? 0 : ((first &+ pages &- 1) >> 9) &- (first >> 9) &+ 1
        levels = [UInt8](repeating: Self.usualLevel, count: Int(min(frames, 1 << 22)))
    }

    func contains(_ gfn: UInt64) -> Bool { gfn >= first && gfn - first < pages }

    /// Where the host has the memory: at the address of its frame, so that both are aligned alike.
    var hostAddress: UInt64 { pfn << 12 }
    func hostAddress(of gfn: UInt64) -> UInt64 { (pfn &+ gfn &- first) << 12 }

    func pfn(of gfn: UInt64) -> UInt64 { pfn &+ gfn &- first }

    func level(of gfn: UInt64) -> Int {
        let frame = (gfn >> 9) &- (first >> 9)
        return frame < UInt64(levels.count) ? Int(levels[Int(frame)]) : Int(Self.usualLevel)
    }

    /// False if there is no such frame.
    func setLevel(frame: UInt64, _ level: UInt64) -> Bool {
        if frame == Parameter.allFrames {
            for index in levels.indices { levels[index] = UInt8(level) }
            return true
        }
        guard frame < UInt64(levels.count) else { return false }
        levels[Int(frame)] = UInt8(level)
        return true
    }
}
