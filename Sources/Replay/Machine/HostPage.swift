// SPDX-License-Identifier: GPL-2.0-only

/// What the host says of a guest's page.
struct HostPage {
    var pfn: UInt64
    var isWritable: Bool
    var level: Int

    /// The host cannot map it: KVM_PFN_ERR_FAULT.
    static let fault = HostPage(pfn: 0x7ff << 52, isWritable: false, level: 1)
}
