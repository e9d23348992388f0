// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What is under test: our VM, from the trace's vm_create to its end, and the switches of the
/// module that it obeys.
final class Subject {
    let trace: Trace
    var machine: Machine?
    var parameters = ModuleParameters()
    /// What our VM does, in a kernel's words.
    var recording: Recording?
    /// Who is asked in the middle of what the VM does.
    unowned var observer: (any WalkObserver)?

    init(_ trace: Trace) { self.trace = trace }

    /// The VM, which must have been created by now.
    func require(_ line: TraceLine) throws(BadInput) -> Machine {
        guard let machine else { throw trace.badInput(line.number, "there is no VM here") }
        return machine
    }

    /// A VM as the trace says.  In the calls mode it is never to ask for a page.
    func create(_ line: TraceLine, hostLevel: @escaping (UInt64) -> Int, hostPage: @escaping (UInt64) -> HostPage)
        throws(BadInput)
    {
        let created = Machine(rootLevel: rootLevel, physicalAddressBits: physicalAddressBits, parameters: parameters,
                              hostLevel: hostLevel, hostPage: hostPage)
        guard let created else {
            throw trace.badInput(
                line.number, "no VM with \(rootLevel) levels and \(physicalAddressBits) address bits")
        }
        if recording != nil { created.record() }
        created.observer = observer
        machine = created
    }

    /// The level of the first root that is loaded.
    private var rootLevel: Int {
        for line in trace.lines {
            if case .loadRoot(_, _, let level) = line.event { return level }
        }
        return 4
    }

    /// MAXPHYADDR as the recorder read it, else that of the recorded machine's model.
    private var physicalAddressBits: Int {
        for line in trace.lines {
            if case .guestCPUID(let eax) = line.event { return Int(eax & 0xff) }
        }
        return 40
    }
}
