// SPDX-License-Identifier: GPL-2.0-only
// rcu_poll.h: the polled grace periods beyond rcu.h's four.  A full state is a cookie in a
// struct: there is one kind of grace period here.
import CTDPMMU
import RCU

extension ContractFor where Proof: ~Copyable {
    /// The cookie in a full state; nil, with a warning, for NULL.
    @inline(__always)
    fileprivate func cookie(in state: UnsafeMutablePointer<rcu_gp_oldstate>?) -> UInt64? {
        guard let state else {
            refuse("rgosp is NULL")
            return nil
        }
        return UInt64(state.pointee.rgos_norm)
    }

    /// Puts a cookie into a full state; a warning for NULL.
    @inline(__always)
    fileprivate func put(into state: UnsafeMutablePointer<rcu_gp_oldstate>?, _ cookie: () -> UInt64) {
        guard let state else {
            refuse("rgosp is NULL")
            return
        }
        state.pointee.rgos_norm = UInt(cookie())
    }
}

@c @implementation
public func get_completed_synchronize_rcu() -> UInt { UInt(rcuCompletedState) }

@c @implementation
public func start_poll_synchronize_rcu_expedited() -> UInt { UInt(rcuStartPoll()) }

@c @implementation
public func cond_synchronize_rcu_expedited(_ cookie: UInt) {
    rcuCondSynchronize(UInt64(cookie), expedited: true, Contract.cond_synchronize_rcu_expedited.function)
}

@c @implementation
public func get_completed_synchronize_rcu_full(_ rgosp: UnsafeMutablePointer<rcu_gp_oldstate>!) {
    Contract.get_completed_synchronize_rcu_full.put(into: rgosp) { rcuCompletedState }
}

@c @implementation
public func get_state_synchronize_rcu_full(_ rgosp: UnsafeMutablePointer<rcu_gp_oldstate>!) {
    Contract.get_state_synchronize_rcu_full.put(into: rgosp, rcuGetState)
}

@c @implementation
public func start_poll_synchronize_rcu_full(_ rgosp: UnsafeMutablePointer<rcu_gp_oldstate>!) {
    Contract.start_poll_synchronize_rcu_full.put(into: rgosp, rcuStartPoll)
}

@c @implementation
public func start_poll_synchronize_rcu_expedited_full(_ rgosp: UnsafeMutablePointer<rcu_gp_oldstate>!) {
    Contract.start_poll_synchronize_rcu_expedited_full.put(into: rgosp, rcuStartPoll)
}

@c @implementation
public func poll_state_synchronize_rcu_full(_ rgosp: UnsafeMutablePointer<rcu_gp_oldstate>!) -> Bool {
    let contract = Contract.poll_state_synchronize_rcu_full
    guard let cookie = contract.cookie(in: rgosp) else { return false }
    return rcuPollState(cookie, contract.function)
}

@c @implementation
public func cond_synchronize_rcu_full(_ rgosp: UnsafeMutablePointer<rcu_gp_oldstate>!) {
    let contract = Contract.cond_synchronize_rcu_full
    guard let cookie = contract.cookie(in: rgosp) else { return }
    rcuCondSynchronize(cookie, contract.function)
}

@c @implementation
public func cond_synchronize_rcu_expedited_full(_ rgosp: UnsafeMutablePointer<rcu_gp_oldstate>!) {
    let contract = Contract.cond_synchronize_rcu_expedited_full
    guard let cookie = contract.cookie(in: rgosp) else { return }
    rcuCondSynchronize(cookie, expedited: true, contract.function)
}

@c @implementation
public func same_state_synchronize_rcu_full(
    _ rgosp1: UnsafeMutablePointer<rcu_gp_oldstate>!, _ rgosp2: UnsafeMutablePointer<rcu_gp_oldstate>!
) -> Bool {
    let contract = Contract.same_state_synchronize_rcu_full
    guard let first = contract.cookie(in: rgosp1), let second = contract.cookie(in: rgosp2) else { return false }
    return first == second
}
