// SPDX-License-Identifier: GPL-2.0-only
// refused: initializer is inaccessible due to 'fileprivate' protection level
import PageTable

func claims(_ change: SPTEChange) { _ = UnsettledChange(change) }
