// SPDX-License-Identifier: GPL-2.0-only
// Warnings: a check that failed, told to a handler instead of a crash.
import CPlatform
import CTDPMMU
import Synchronization

/// Which check spoke; the values of `enum tdpmmu_warning_kind`.
package enum WarningKind: UInt32 {
    case argument = 1
    case lock
    case spte
    case leak
    case rcu
    case check
    case flush
}

/// The C form of a warning, valid for ever: its strings are static.
package func makeWarning(
    _ kind: WarningKind, _ function: StaticString, _ text: StaticString,
    _ value0: UInt64 = 0, _ value1: UInt64 = 0
) -> tdpmmu_warning {
    tdpmmu_warning(
        kind: tdpmmu_warning_kind(rawValue: kind.rawValue),
        function: UnsafeRawPointer(function.utf8Start).assumingMemoryBound(to: CChar.self),
        text: UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self),
        value: (value0, value1))
}

/// Give a warning to the process-wide handler.  A VM with a handler of its own
/// does not come here.
@inline(never)
package func warn(
    _ kind: WarningKind, _ function: StaticString, _ text: StaticString,
    _ value0: UInt64 = 0, _ value1: UInt64 = 0, kvm: UnsafeMutablePointer<kvm>? = nil
) {
    var warning = makeWarning(kind, function, text, value0, value1)
    giveWarning(&warning, kvm)
}

/// The same with a text that was composed; it need last only for the call.
@inline(never)
package func warn(
    _ kind: WarningKind, _ function: StaticString, composed text: UnsafePointer<CChar>,
    _ value0: UInt64 = 0, _ value1: UInt64 = 0
) {
    var warning = makeWarning(kind, function, "", value0, value1)
    warning.text = text
    giveWarning(&warning, nil)
}

/// The same about a function whose name comes from C, and perhaps the text as well.
@inline(never)
package func warnAbout(
    _ kind: WarningKind, _ function: UnsafePointer<CChar>?, _ text: StaticString,
    composed: UnsafePointer<CChar>? = nil
) {
    var warning = makeWarning(kind, "unknown", text)
    if let function { warning.function = function }
    if let composed { warning.text = composed }
    giveWarning(&warning, nil)
}

/// To the process-wide handler, or to stderr.
package func giveWarning(_ warning: inout tdpmmu_warning, _ kvm: UnsafeMutablePointer<kvm>?) {
    noteWarning(&warning)
    // Acquire: pairs with the release in setWarnHandler, for the context.
    let raw = shared(cp_warn_handler()).pointee.load(ordering: .acquiring)
    let handler = unsafeBitCast(raw, to: tdpmmu_warn_fn?.self)
    let context = UnsafeMutableRawPointer(
        bitPattern: shared(cp_warn_context()).pointee.load(ordering: .relaxed))
    // Whoever writes a line comes through a cancellation point, and locks may be held here.
    withoutCancellation {
        if let handler { handler(context, kvm, &warning) } else { cp_print_warning(&warning) }
    }
}

/// Replace the process-wide handler; nil brings back the line on stderr.  Not
/// while another thread may warn: function and context are two words.
package func setWarnHandler(_ function: tdpmmu_warn_fn?, _ context: UnsafeMutableRawPointer?) {
    shared(cp_warn_context()).pointee.store(UInt(bitPattern: context), ordering: .relaxed)
    // Release: pairs with the acquire in warn.
    shared(cp_warn_handler()).pointee.store(
        unsafeBitCast(function, to: UInt.self), ordering: .releasing)
}

/// A warning ends a schedule that is explored, whoever is told of it.
@inline(__always)
package func noteWarning(_ warning: inout tdpmmu_warning) {
    #if SCHEDULE_POINTS
    cp_warned(&warning)
    #endif
}
