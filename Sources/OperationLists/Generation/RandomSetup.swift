// SPDX-License-Identifier: GPL-2.0-only

/// A random VM.
extension Setup {
    static func random(_ vendor: Vendor, fixed words: [Substring], _ random: inout RandomNumbers) -> Setup {
        var setup = Setup()
        setup.vendor = vendor
        setup.rootLevel = random.isTrue(percent: 30) ? 5 : 4
        setup.physicalBits = random.element([36, 39, 46, 46, 48, 48, 52])
        setup.noExecutableHugePages = random.isTrue(percent: 25)
        setup.pageModificationLogging = vendor == .ept && random.isTrue(percent: 40)
        setup.l1tfCacheBits = random.isTrue(percent: 25) ? Int(random.below(11)) + 36 : 0
        setup.log = random.weighted([(3, .plain), (3, .manual), (2, .initset)])
        setup.ringBytes = random.isTrue(percent: 15) ? random.element([16384, 65536]) : 0
        setup.splitsEagerly = random.isTrue(percent: 60)
        setup.zapsSlotOnly = random.isTrue(percent: 25)
        for word in words { _ = setup.take(word) }
        return setup
    }

    /// All gfns of a guest are below it.
    var gfnLimit: UInt64 { 1 << UInt64(min(physicalBits, rootLevel == 4 ? 48 : 57) - 12) }
}
