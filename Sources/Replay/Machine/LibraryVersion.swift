// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// Of the library that was loaded.
package var libraryVersion: String { String(cString: tdpmmu_version()) }
