// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What is under test: our VM, from the trace's vm_create to its end, and the switches of the
/// module that it obeys.
final class Subject {
    let trace: Trace
    /// What the trace was recorded on, and our VM is made after.
    let recorded: RecordedMachine
    let layout: SPTELayout
    var machine: Machine?
    var parameters = ModuleParameters()
    /// What our VM does, in a kernel's words.
    var recording: Recording?
    /// Who is asked in the middle of what the VM does.
    unowned var observer: (any WalkObserver)?

    init(_ trace: Trace, _ recorded: RecordedMachine) {
        (self.trace, self.recorded) = (trace, recorded)
        layout = SPTELayout(recorded)
    }

    /// The VM, which must have been created by now.
    func require(_ line: TraceLine) throws(BadInput) -> Machine {
        guard let machine else { throw trace.badInput(line.number, "there is no VM here") }
        return machine
    }

    /// A VM as the trace says.  In the calls mode it is never to ask for a page.
    func create(_ line: TraceLine, hostLevel: @escaping (UInt64) -> Int, hostPage: @escaping (UInt64) -> HostPage)
        throws(BadInput)
    {
        guard let created = Machine(recorded, parameters: parameters, hostLevel: hostLevel, hostPage: hostPage) else {
            throw trace.badInput(line.number, "no VM can have \(MachineFacts(recorded).text)")
        }
        if recording != nil { created.record() }
        created.observer = observer
        machine = created
    }
}
