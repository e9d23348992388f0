// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// Dirty logs and rings.
extension Performer {
    func logResult(_ call: Call) -> String? {
        switch call.kind {
        case .dirty: call.slot.map { dirty(call, $0) } ?? "none"
        case .clearlog: call.slot.map { clear(call, $0) } ?? "none"
        case .markdirty: mark(call)
        case .harvest: call.withVCPU { harvest(call, $0) }
        case .resetring: text(status: Int(kvm_vm_ioctl_reset_dirty_pages(call.kvm)))
        default: nil
        }
    }

    private func id(_ slot: HostSlot) -> UInt32 { UInt32(slot.addressSpace) << 16 | UInt32(slot.id) }

    /// The gfns, neighbours together.
    private func dirty(_ call: Call, _ slot: HostSlot) -> String {
        var bitmap = [UInt64](repeating: 0, count: Int(slot.pages / 64) + 1)
        let status = bitmap.withUnsafeMutableBytes { bytes in
            var log = kvm_dirty_log()
            log.slot = id(slot)
            log.dirty_bitmap = bytes.baseAddress
            return Int(kvm_vm_ioctl_get_dirty_log(call.kvm, &log))
        }
        guard status == 0 else { return text(status: status) }
        return GFNRanges(bitmap, from: slot.first).text
    }

    private func clear(_ call: Call, _ slot: HostSlot) -> String {
        var bitmap = [UInt64](repeating: call[3, default: .max], count: Int(min(call[2], slot.pages) / 64) + 1)
        return text(status: bitmap.withUnsafeMutableBytes { bytes in
            var log = kvm_clear_dirty_log()
            log.slot = id(slot)
            log.first_page = call[1]
            log.num_pages = UInt32(clamping: min(call[2], slot.pages))
            log.dirty_bitmap = bytes.baseAddress
            return Int(kvm_vm_ioctl_clear_dirty_log(call.kvm, &log))
        })
    }

    private func mark(_ call: Call) -> String {
        guard call.vm.setup.ringBytes == 0 else { return "none" }
        tdpmmu_mark_page_dirty(call.kvm, Int32(call[0]), call[1])
        return "ok"
    }

    /// Takes what the ring has, as a VMM does: slot and page of each entry.
    private func harvest(_ call: Call, _ vcpu: OpaquePointer) -> String {
        var size: UInt32 = 0
        guard let ring = tdpmmu_vcpu_dirty_ring(vcpu, &size), size > 0 else { return "none" }
        let index = Int(call[0])
        var pages: [String] = []
        // One thread: what is in the ring was written by this one.
        while pages.count < Int(size) {
            let entry = ring + Int(call.vm.harvested[index] % size)
            guard entry.pointee.flags & 1 != 0 else { break }
            pages.append("\(entry.pointee.slot):\(String(entry.pointee.offset, radix: 16))")
            entry.pointee.flags = 1 << 1
            call.vm.harvested[index] &+= 1
        }
        return pages.isEmpty ? "nothing" : pages.joined(separator: " ")
    }
}

/// The pages of a bitmap, in words: "5 100-1ff", hexadecimal.
struct GFNRanges {
    private(set) var text: String

    init(_ bitmap: [UInt64], from base: UInt64) {
        var parts: [String] = []
        var first: UInt64?
        func end(before gfn: UInt64) {
            guard let start = first else { return }
            let name = String(start, radix: 16)
            parts.append(gfn - start == 1 ? name : "\(name)-\(String(gfn - 1, radix: 16))")
            first = nil
        }
        for (index, word) in bitmap.enumerated() {
            let gfn = base &+ UInt64(index) * 64
            if word == 0 {
                end(before: gfn)
            } else if word == .max {
                first = first ?? gfn
            } else {
                for bit in 0..<UInt64(64) {
                    if word >> bit & 1 == 0 { end(before: gfn &+ bit) } else { first = first ?? gfn &+ bit }
                }
            }
        }
        end(before: base &+ UInt64(bitmap.count) * 64)
        text = parts.isEmpty ? "nothing" : parts.joined(separator: " ")
    }
}
