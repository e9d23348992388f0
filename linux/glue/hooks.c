// SPDX-License-Identifier: GPL-2.0-only
/* What Linux's code asks and tells while it works: it goes to the rig's callbacks. */
#include <sched.h>
#include <time.h>

#include "face.h"

__thread struct face_frame *face_now;
__thread struct kvm_vcpu *linux_running_vcpu;

/* ---- the way in ------------------------------------------------------------------- */
void face_enter(struct face_frame *frame, struct kvm *kvm)
{
    frame->outer = face_now;
    frame->kvm = kvm;
    frame->vcpu = NULL;
    frame->tries = 0;
    frame->host_level = 0;
    frame->poisoned = frame->out_of_tables = frame->any_lock = false;
    frame->changes_slots = face_now && face_now->kvm == kvm && face_now->changes_slots;
    frame->held_read = tdpmmu_read_lock_held(&kvm->mmu_lock);
    frame->held_write = tdpmmu_write_lock_held(&kvm->mmu_lock);
    frame->held_rcu = rcu_read_lock_held();
    face_now = frame;
    linux_machine_load(kvm);
}

void face_leave(struct face_frame *frame)
{
    face_now = frame->outer;
    if (face_now && face_now->kvm != frame->kvm)
        linux_machine_load(face_now->kvm);
}

void face_abandon(struct face_frame *frame)
{
    struct kvm *kvm = frame->kvm;

    while (!frame->held_rcu && rcu_read_lock_held())
        rcu_read_unlock();
    if (!frame->held_write && tdpmmu_write_lock_held(&kvm->mmu_lock))
        tdpmmu_write_unlock(&kvm->mmu_lock);
    while (!frame->held_read && tdpmmu_read_lock_held(&kvm->mmu_lock))
        tdpmmu_read_unlock(&kvm->mmu_lock);
    if (linux_mutex_is_mine(&kvm->slots_arch_lock))
        mutex_unlock(&kvm->slots_arch_lock);
    if (linux_mutex_is_mine(&kvm->slots_lock))
        mutex_unlock(&kvm->slots_lock);
}

/* ---- complaints ---------------------------------------------------------------------- */
void face_warn(struct kvm *kvm, enum tdpmmu_warning_kind kind, const char *function, const char *text, u64 value0,
               u64 value1)
{
    struct tdpmmu_warning warning = { kind, function, text, { value0, value1 } };

    if (kvm) {
        count_up(&kvm->face->counters.warnings);
        if (kvm->face->ops.warn) {
            kvm->face->ops.warn(kvm->face->ctx, kvm, &warning);
            return;
        }
    }
    tdpmmu_peer_warn(kvm, &warning);
}

void face_refuse(struct kvm *kvm, const char *function, const char *text, u64 value0, u64 value1)
{
    face_warn(kvm, TDPMMU_WARN_ARGUMENT, function, text, value0, value1);
}

void face_lacking(const char *function, bool *told)
{
    if (!__atomic_exchange_n(told, true, __ATOMIC_RELAXED))
        fprintf(stderr, "libtdpmmu: this Linux has no %s(): calls of it do nothing\n", function);
}

void linux_warn(const char *function, const char *condition)
{
    face_warn(face_now ? face_now->kvm : NULL, TDPMMU_WARN_SPTE, function, condition, 0, 0);
}

void linux_lock_warn(const char *function, const char *text)
{
    if (!face_now || !face_now->any_lock)
        face_warn(face_now ? face_now->kvm : NULL, TDPMMU_WARN_LOCK, function, text, 0, 0);
}

void linux_bug(const char *function, const char *condition)
{
    fprintf(stderr, "Linux: BUG in %s(): %s; the call ends here, and the VM is not to be trusted any more\n",
            function, condition);
    face_warn(face_now ? face_now->kvm : NULL, TDPMMU_WARN_SPTE, function, condition, 0, 0);
    if (face_now)
        longjmp(face_now->after_bug, 1);
    pthread_exit(NULL);
}

static bool complain(struct kvm *kvm, const char *function, const char *text)
{
    face_warn(kvm, TDPMMU_WARN_LOCK, function, text, 0, 0);
    return false;
}

bool face_wants_write(struct kvm *kvm, const char *function)
{
    return tdpmmu_write_lock_held(&kvm->mmu_lock) || complain(kvm, function, "mmu_lock is not held for write");
}

bool face_wants_read(struct kvm *kvm, const char *function)
{
    return tdpmmu_read_lock_held(&kvm->mmu_lock) || complain(kvm, function, "mmu_lock is not held for read");
}

bool face_wants_lock(struct kvm *kvm, const char *function)
{
    return tdpmmu_read_lock_held(&kvm->mmu_lock) || tdpmmu_write_lock_held(&kvm->mmu_lock) ||
           complain(kvm, function, "mmu_lock is not held");
}

bool face_wants_none(struct kvm *kvm, const char *function, bool no_rcu, bool no_srcu)
{
    if (tdpmmu_read_lock_held(&kvm->mmu_lock) || tdpmmu_write_lock_held(&kvm->mmu_lock))
        return complain(kvm, function, "mmu_lock is held, and the function takes it or waits");
    if (no_rcu && rcu_read_lock_held())
        return complain(kvm, function, "called inside an RCU reader, and the function may wait");
    if (no_srcu && srcu_read_lock_held(&kvm->srcu))
        return complain(kvm, function, "called inside a reader of kvm->srcu, and the function waits for them");
    if (no_srcu && linux_mutex_is_mine(&kvm->slots_lock))
        return complain(kvm, function, "called by a callback under the lock that serialises slot changes");
    return true;
}

bool face_may_end(struct kvm *kvm, const char *function)
{
    const struct face_frame *frame = face_now;

    while (frame && frame->kvm != kvm)
        frame = frame->outer;
    if (frame)
        return complain(kvm, function, "called by a callback of this VM");
    return tdpmmu_peer_may_wait() ||
           complain(kvm, function, "called where rcu_barrier() is refused: in an RCU callback, or a report of a stall");
}

bool face_is_set_up(struct kvm *kvm, const char *function)
{
    if (atomic_load(&kvm->face->set_up))
        return true;
    face_refuse(kvm, function, "the TDP MMU is not set up", 0, 0);
    return false;
}

/* ---- locks ------------------------------------------------------------------------------ */
void mutex_init(struct mutex *m)
{
    pthread_mutex_init(&m->mutex, NULL);
    m->held = false;
}

void mutex_lock(struct mutex *m)
{
    pthread_mutex_lock(&m->mutex);
    m->owner = pthread_self();
    __atomic_store_n(&m->held, true, __ATOMIC_RELEASE);
}

void mutex_unlock(struct mutex *m)
{
    __atomic_store_n(&m->held, false, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&m->mutex);
}

bool linux_mutex_is_mine(struct mutex *m)
{
    return __atomic_load_n(&m->held, __ATOMIC_ACQUIRE) && pthread_equal(m->owner, pthread_self());
}

/*
 * An invalidation that has begun keeps a change of slots waiting.  In the kernel its end comes from
 * another thread; a rig may have forgotten it.
 */
void linux_wait_for_invalidations(void)
{
    struct timespec tick = { 0, 1000000 };

    for (int i = 0; i < 10000; i++) {
        nanosleep(&tick, NULL);
        if (!READ_ONCE(face_now->kvm->mn_active_invalidate_count))
            return;
    }
    linux_bug(__func__, "a change of slots waits for an invalidation that does not end");
}

bool linux_signal_pending(void)
{
    if (face_now->tries++)
        sched_yield();
    return face_now->tries > 1000;
}

/* ---- yields ------------------------------------------------------------------------------- */
static bool wants_yield_at(const struct tdp_iter *iter)
{
    struct face_vm *face = face_now->kvm->face;
    struct face_tdp_iter shown;

    if (!face->ops.yield_at)
        return false;
    face_show_iter(&shown, iter);
    return face->ops.yield_at(face->ctx, face_now->kvm, &shown);
}

bool linux_need_resched_at(const struct tdp_iter *iter)
{
    struct face_vm *face = face_now->kvm->face;

    if (face->ops.need_resched && (face->ops.need_resched)(face->ctx, face_now->kvm))
        return true;
    return iter && wants_yield_at(iter);
}

void face_tell_pause(struct kvm *kvm)
{
    if (kvm->face->ops.yielded)
        kvm->face->ops.yielded(kvm->face->ctx, kvm);
    linux_machine_load(kvm);
}

static void tell_yield(struct kvm *kvm)
{
    count_up(&kvm->face->counters.yields);
    face_tell_pause(kvm);
}

void linux_unlock_in_walk(rwlock_t *lock, const struct tdp_iter *around, bool write)
{
    bool wanted = around && wants_yield_at(around);

    if (write)
        tdpmmu_write_unlock(lock);
    else
        tdpmmu_read_unlock(lock);
    if (wanted)
        tell_yield(face_now->kvm);
}

void linux_yield_read(rwlock_t *l)
{
    tdpmmu_read_unlock(l);
    tell_yield(face_now->kvm);
    tdpmmu_read_lock(l);
}

void linux_yield_write(rwlock_t *l)
{
    tdpmmu_write_unlock(l);
    tell_yield(face_now->kvm);
    tdpmmu_write_lock(l);
}

/* ---- flushes and requests --------------------------------------------------------------------- */
static void flush(struct kvm *kvm, gfn_t start, u64 npages)
{
    count_up(&kvm->face->counters.flushes);
    if (kvm->face->ops.flush_tlb)
        kvm->face->ops.flush_tlb(kvm->face->ctx, kvm, start, npages);
}

int kvm_arch_flush_remote_tlbs(struct kvm *kvm)
{
    struct tdpmmu_trace_event event = { 0 };

    face_event(kvm, TDPMMU_TRACE_FLUSH, &event);
    flush(kvm, 0, UINT64_MAX);
    return 0;
}

int kvm_arch_flush_remote_tlbs_range(struct kvm *kvm, gfn_t gfn, u64 npages)
{
    struct tdpmmu_trace_event event = { .gfn = { .gfn = gfn, .n = npages } };

    face_event(kvm, TDPMMU_TRACE_FLUSH_RANGE, &event);
    flush(kvm, gfn, npages);
    return 0;
}

struct kvm_vcpu *linux_next_vcpu(struct kvm *kvm, struct kvm_vcpu *vcpu)
{
    struct kvm_vcpu *next;

    pthread_mutex_lock(&kvm->face->vcpus_mutex);
    next = vcpu ? vcpu->face_next : kvm->face->vcpus;
    pthread_mutex_unlock(&kvm->face->vcpus_mutex);
    return next;
}

static void ask(struct kvm_vcpu *vcpu, enum tdpmmu_request request)
{
    struct face_vm *face = vcpu->kvm->face;

    if (face->ops.vcpu_request)
        face->ops.vcpu_request(face->ctx, vcpu->kvm, vcpu, request);
}

/* With the vCPU of rig.h's CPU model out of the guest, and its log emptied, whatever the rig does. */
static void make_leave(struct kvm_vcpu *vcpu, enum tdpmmu_request request)
{
    ask(vcpu, request);
    face_wait_out_of_guest(vcpu);
    face_exit_guest(vcpu);
}

bool kvm_make_all_cpus_request(struct kvm *kvm, unsigned int request)
{
    struct kvm_vcpu *vcpu;
    unsigned long i;

    if (request == KVM_REQ_MMU_FREE_OBSOLETE_ROOTS)
        face_show_roots(kvm);
    kvm_for_each_vcpu(i, vcpu, kvm) {
        kvm_make_request(request, vcpu);
        if (request != KVM_REQ_MMU_FREE_OBSOLETE_ROOTS && request != KVM_REQ_UPDATE_CPU_DIRTY_LOGGING)
            continue;
        make_leave(vcpu, request == KVM_REQ_MMU_FREE_OBSOLETE_ROOTS ? TDPMMU_REQ_FREE_OBSOLETE_ROOTS
                                                                     : TDPMMU_REQ_LEAVE_GUEST);
    }
    return true;
}

void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
    /* A new generation of slots makes vCPUs look at their clocks, which have no part in this. */
    if (face_now->changes_slots)
        return;
    make_leave(vcpu, TDPMMU_REQ_LEAVE_GUEST);
}

void linux_kvm_x86_load_mmu_pgd(struct kvm_vcpu *vcpu, hpa_t root, int level)
{
    struct tdpmmu_trace_event event = {
        .vcpu = { .vcpu = (u64)(uintptr_t)vcpu, .root_hpa = root, .root_level = level } };

    face_event(vcpu->kvm, TDPMMU_TRACE_LOAD_PGD, &event);
}

void linux_kvm_x86_flush_tlb_current(struct kvm_vcpu *vcpu) { ask(vcpu, TDPMMU_REQ_TLB_FLUSH); }

/* ---- the host -------------------------------------------------------------------------------------- */
kvm_pfn_t linux_host_pfn(const struct kvm_memory_slot *slot, gfn_t gfn, bool write, bool *writable)
{
    struct kvm *kvm = face_now->kvm;
    struct face_vm *face = kvm->face;
    u64 mask = (1UL << (kvm->machine.maxphyaddr - 12)) - 1;
    bool may_write = !(slot->flags & KVM_MEM_READONLY), says_writable = may_write;
    int level = KVM_MAX_HUGEPAGE_LEVEL;
    kvm_pfn_t pfn;

    if (write && !may_write)
        return KVM_PFN_ERR_RO_FAULT;
    *writable = may_write;
    face_now->host_level = level;
    if (!face->ops.gfn_to_pfn)
        return ((slot->userspace_addr >> 12) + (gfn - slot->base_gfn)) & mask;
    pfn = face->ops.gfn_to_pfn(face->ctx, kvm, (const void *)slot, gfn, write, &says_writable, &level);
    linux_machine_load(kvm);
    if (pfn == KVM_PFN_ERR_FAULT || pfn == KVM_PFN_ERR_HWPOISON || pfn == KVM_PFN_ERR_RO_FAULT)
        return pfn;
    if (pfn > mask) {
        face_refuse(kvm, "gfn_to_pfn", "pfn is neither below MAXPHYADDR nor a KVM_PFN_ERR_* (pfn, gfn)", pfn, gfn);
        return KVM_PFN_ERR_FAULT;
    }
    if (says_writable && !may_write)
        face_refuse(kvm, "gfn_to_pfn", "writable is set in a read-only slot (writable, gfn)", 1, gfn);
    if (level < PG_LEVEL_4K || level > KVM_MAX_HUGEPAGE_LEVEL) {
        face_refuse(kvm, "gfn_to_pfn", "max_level is not 1 to 3 (max_level, gfn)", (u64)(s64)level, gfn);
        level = PG_LEVEL_4K;
    }
    *writable = says_writable && may_write;
    face_now->host_level = level;
    while (face_now->host_level > PG_LEVEL_4K &&
           (pfn ^ gfn) & (KVM_PAGES_PER_HPAGE(face_now->host_level) - 1))
        face_now->host_level--;
    return pfn;
}

/* In a fault what the host said with the page; else the rig is asked. */
int linux_mapping_level(struct kvm *kvm, gfn_t gfn, const struct kvm_memory_slot *slot)
{
    struct face_vm *face = kvm->face;
    int level;

    if (face_now->host_level)
        return face_now->host_level;
    if (!face->ops.mapping_level)
        return KVM_MAX_HUGEPAGE_LEVEL;
    level = face->ops.mapping_level(face->ctx, kvm, (const void *)slot, gfn);
    linux_machine_load(kvm);
    if (level >= PG_LEVEL_4K && level <= KVM_MAX_HUGEPAGE_LEVEL)
        return level;
    face_refuse(kvm, "mapping_level", "level is not 1 to 3 (level, gfn)", (u64)(s64)level, gfn);
    return PG_LEVEL_4K;
}
