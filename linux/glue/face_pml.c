// SPDX-License-Identifier: GPL-2.0-only
/*
 * rig.h: the log in which a CPU notes the pages whose Dirty bit it sets (PML), and what VMX does with
 * it: it is emptied whenever the vCPU leaves the guest.
 */
#include "face.h"

#define LOG_LAST 511u
#define LOG_FULL 0xffffu /* the index behind the 512th entry */

bool face_alloc_log(struct kvm_vcpu *vcpu)
{
    mutex_init(&vcpu->face_pml.mutex);
    vcpu->face_pml.index = LOG_LAST;
    if (!vcpu->kvm->machine.cpu_dirty_log_size)
        return true;
    vcpu->face_pml.entries = calloc(LOG_LAST + 1, sizeof(u64));
    return vcpu->face_pml.entries != NULL;
}

void face_free_log(struct kvm_vcpu *vcpu) { free(vcpu->face_pml.entries); }

/* Takes the vCPU's log; false, with a warning, in a callback that is made under it. */
static bool take_log(struct kvm_vcpu *vcpu)
{
    if (linux_mutex_is_mine(&vcpu->face_pml.mutex)) {
        face_warn(vcpu->kvm, TDPMMU_WARN_LOCK, "tdpmmu_cpu_exit",
                  "called by a callback that is made under this vCPU's log (vCPU)", (u64)vcpu->vcpu_id, 0);
        return false;
    }
    mutex_lock(&vcpu->face_pml.mutex);
    return true;
}

/* ---- the CPU writes it ------------------------------------------------------------------ */
static bool ring_is_nearly_full(const struct kvm_vcpu *vcpu)
{
    const struct kvm_dirty_ring *ring = &vcpu->dirty_ring;

    return ring->dirty_gfns && READ_ONCE(ring->dirty_index) - READ_ONCE(ring->reset_index) >= ring->soft_limit;
}

static int set(u64 *sptep, u64 spte, u64 marked) { return try_cmpxchg64(sptep, &spte, marked) ? 0 : -EAGAIN; }

/* One hold for the bit and its entry: whoever empties the log finds both or neither. */
static int set_and_log(struct kvm_vcpu *vcpu, u64 *sptep, u64 spte, u64 marked, gfn_t gfn)
{
    int error = -ENOBUFS;

    if (!take_log(vcpu))
        return error;
    if (vcpu->face_pml.index == LOG_FULL) {
        error = -EOVERFLOW;
    } else if (!ring_is_nearly_full(vcpu)) {
        /* What was logged with so much room in the ring finds it there. */
        error = set(sptep, spte, marked);
        if (!error)
            vcpu->face_pml.entries[vcpu->face_pml.index--] = gfn << PAGE_SHIFT;
    }
    mutex_unlock(&vcpu->face_pml.mutex);
    return error;
}

/*
 * The CPU sets Accessed or Dirty bits, and looks at its log's index first, whichever they are.  0; -EAGAIN: the
 * entry has changed; -EOVERFLOW: the log is full, and the CPU must exit; -ENOBUFS: the ring has no room for it.
 */
int face_set_bits(struct kvm_vcpu *vcpu, u64 *sptep, u64 spte, u64 marked, gfn_t gfn, bool dirties)
{
    if (!vcpu->face_pml.entries || !atomic_read(&vcpu->kvm->nr_memslots_dirty_logging))
        return set(sptep, spte, marked);
    if (READ_ONCE(vcpu->face_pml.index) == LOG_FULL)
        return linux_mutex_is_mine(&vcpu->face_pml.mutex) && !take_log(vcpu) ? -ENOBUFS : -EOVERFLOW;
    return dirties ? set_and_log(vcpu, sptep, spte, marked, gfn) : set(sptep, spte, marked);
}

/* ---- VMX empties it --------------------------------------------------------------------- */
static void mark(struct kvm_vcpu *vcpu, u64 entry)
{
    gfn_t gfn = entry >> PAGE_SHIFT;

    mark_page_dirty_in_slot(vcpu->kvm, __gfn_to_memslot(kvm_vcpu_memslots(vcpu), gfn), gfn);
}

static int empty(struct kvm_vcpu *vcpu)
{
    struct kvm_vcpu *outer = linux_running_vcpu;
    unsigned int newest = (u16)(vcpu->face_pml.index + 1), count = LOG_LAST + 1 - newest;

    if (!count)
        return 0;
    rcu_read_lock();
    linux_running_vcpu = vcpu;
    for (unsigned int i = 0; i < count; i++)
        mark(vcpu, vcpu->face_pml.entries[vcpu->kvm->machine.pml_oldest_first ? LOG_LAST - i : newest + i]);
    linux_running_vcpu = outer;
    rcu_read_unlock();
    vcpu->face_pml.index = LOG_LAST;
    count_up(&vcpu->kvm->face->counters.pml_flushes);
    return (int)count;
}

/* The vCPU leaves the guest: how many entries its log had.  By any thread; in a call. */
int face_exit_guest(struct kvm_vcpu *vcpu)
{
    int count;

    if (!vcpu->face_pml.entries || !take_log(vcpu))
        return 0;
    count = empty(vcpu);
    mutex_unlock(&vcpu->face_pml.mutex);
    return count;
}

void face_exit_all(struct kvm *kvm)
{
    struct kvm_vcpu *vcpu;
    unsigned long i;

    kvm_for_each_vcpu(i, vcpu, kvm)
        face_exit_guest(vcpu);
}

int tdpmmu_cpu_exit(struct kvm_vcpu *vcpu)
{
    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    ENTER(vcpu->kvm, -EINVAL);
    return face_exit_guest(vcpu);
}

bool face_log_has(struct kvm_vcpu *vcpu, gfn_t gfn)
{
    unsigned int last = (u16)(READ_ONCE(vcpu->face_pml.index) + 1);

    for (unsigned int i = last; vcpu->face_pml.entries && i <= LOG_LAST; i++)
        if (READ_ONCE(vcpu->face_pml.entries[i]) == gfn << PAGE_SHIFT)
            return true;
    return false;
}
