// SPDX-License-Identifier: GPL-2.0-only

extension Array {
    /// The first index whose element fulfils a condition that all behind it fulfil.
    func partitioningIndex(_ isBehind: (Element) -> Bool) -> Int {
        var low = 0, high = count
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
