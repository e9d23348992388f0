// SPDX-License-Identifier: GPL-2.0-only
/* Slots, dirty logs, rings, notifiers: functions of kvm_main.c. */
#include "face.h"

/* A slot is good for readers of kvm->srcu and, as vm.h has it, for those of RCU. */
#define synchronize_srcu_expedited(domain) do { (synchronize_srcu_expedited)(domain); synchronize_rcu(); } while (0)
/*
 * Slots that are allocated: a caller may name one that was replaced as long as a reader keeps it, and
 * a pointer to nothing must be known as such.
 */
struct slot_memory {
    struct kvm_memory_slot slot; /* first */
    struct kvm *kvm;
    struct slot_memory *next;
};
static struct slot_memory *slot_memories; /* slots_mutex */
static pthread_mutex_t slots_mutex = PTHREAD_MUTEX_INITIALIZER;

void face_lock_slots(void) { pthread_mutex_lock(&slots_mutex); }
void face_unlock_slots(void) { pthread_mutex_unlock(&slots_mutex); }

static struct kvm_memory_slot *slot_alloc(void)
{
    struct slot_memory *memory = calloc(1, sizeof(*memory));

    if (!memory)
        return NULL;
    memory->kvm = face_now->kvm;
    pthread_mutex_lock(&slots_mutex);
    memory->next = slot_memories;
    slot_memories = memory;
    pthread_mutex_unlock(&slots_mutex);
    return &memory->slot;
}

static void slot_free(struct kvm_memory_slot *slot)
{
    struct slot_memory **at;

    if (!slot)
        return;
    pthread_mutex_lock(&slots_mutex);
    for (at = &slot_memories; &(*at)->slot != slot; at = &(*at)->next)
        ;
    *at = (*at)->next;
    pthread_mutex_unlock(&slots_mutex);
    free(slot);
}

bool face_slot_lives(struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    struct slot_memory *at;

    pthread_mutex_lock(&slots_mutex);
    for (at = slot_memories; at && &at->slot != slot; at = at->next)
        ;
    pthread_mutex_unlock(&slots_mutex);
    return at && at->kvm == kvm;
}

/* All that these functions of Linux's take by kzalloc() are slots. */
#undef kzalloc
#define kzalloc(size, gfp) slot_alloc()
#undef kzalloc_obj
#define kzalloc_obj(object, ...) slot_alloc()
#undef kfree
#define kfree(slot) slot_free(slot)

/* Between a slot's change and what follows from it the rig may interfere. */
static void tell_commit(struct kvm *kvm, const struct kvm_memory_slot *slot, enum kvm_mr_change change)
{
    struct face_vm *face = kvm->face;

    if (change == KVM_MR_FLAGS_ONLY && face->ops.slot_committing) {
        face->ops.slot_committing(face->ctx, kvm, (const void *)slot);
        linux_machine_load(kvm);
    }
}

/* A prefault on an obsolete root would go round until a signal comes: rig.h's vCPU answers first. */
#undef vcpu_load
#define vcpu_load(vcpu) (linux_running_vcpu = (vcpu), face_answer_requests(vcpu))
/* The next page of a prefault. */
#undef signal_pending
#define signal_pending(task) (face_now->tries = 0, false)
/* tdpmmu_mark_page_dirty() is about no vCPU. */
#define kvm_arch_allow_write_without_running_vcpu(kvm) true
#define kvm_arch_commit_memory_region(kvm, old, new, change) \
    (tell_commit((kvm), (new), (change)), (kvm_arch_commit_memory_region)((kvm), (old), (new), (change)))
/* A slot that goes has its log still: the flush makes the kernel's vCPUs exit. */
#define kvm_arch_flush_shadow_memslot(kvm, slot) \
    ((kvm_arch_flush_shadow_memslot)((kvm), (slot)), face_exit_all(kvm))
#include "linux_names.h"
#include "kvm_main_forward.inc"
#include "kvm_main.inc"

/* For the rest of the glue: what Linux keeps to this file. */
int face_get_dirty_log(struct kvm *kvm, struct kvm_dirty_log *log) { return linux_kvm_vm_ioctl_get_dirty_log(kvm, log); }

int face_clear_dirty_log(struct kvm *kvm, struct kvm_clear_dirty_log *log)
{
    return linux_kvm_vm_ioctl_clear_dirty_log(kvm, log);
}

/* As kvm_create_vm() leaves them. */
void face_init_slots(struct kvm *kvm, u64 generation)
{
    for (int i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
        for (int j = 0; j < 2; j++) {
            struct kvm_memslots *slots = &kvm->__memslots[i][j];

            slots->hva_tree = RB_ROOT_CACHED;
            slots->gfn_tree = RB_ROOT;
            hash_init(slots->id_hash);
            slots->node_idx = j;
            slots->generation = generation | (u64)i;
        }
        kvm->memslots[i] = &kvm->__memslots[i][0];
    }
}

int face_enable_ring(struct kvm *kvm, u32 size) { return kvm_vm_ioctl_enable_dirty_log_ring(kvm, size); }

int face_reset_rings(struct kvm *kvm) { return linux_kvm_vm_ioctl_reset_dirty_pages(kvm); }

int face_prefault(struct kvm_vcpu *vcpu, struct kvm_pre_fault_memory *range)
{
    return linux_kvm_vcpu_pre_fault_memory(vcpu, range);
}

void face_free_slots(struct kvm *kvm)
{
    for (int i = 0; i < KVM_MAX_NR_ADDRESS_SPACES; i++) {
        kvm_free_memslots(kvm, &kvm->__memslots[i][0]);
        kvm_free_memslots(kvm, &kvm->__memslots[i][1]);
    }
}

void face_range_start(struct kvm *kvm, u64 start, u64 end, bool may_block)
{
    struct mmu_notifier_range range = { start, end, may_block };

    linux_kvm_mmu_notifier_invalidate_range_start(&kvm->mmu_notifier, &range);
}

void face_range_end(struct kvm *kvm, u64 start, u64 end)
{
    struct mmu_notifier_range range = { start, end, true };

    linux_kvm_mmu_notifier_invalidate_range_end(&kvm->mmu_notifier, &range);
}

bool face_clear_flush_young(struct kvm *kvm, u64 start, u64 end)
{
    return linux_kvm_mmu_notifier_clear_flush_young(&kvm->mmu_notifier, NULL, start, end);
}

bool face_clear_young(struct kvm *kvm, u64 start, u64 end)
{
    return linux_kvm_mmu_notifier_clear_young(&kvm->mmu_notifier, NULL, start, end);
}

bool face_test_young(struct kvm *kvm, u64 hva)
{
    return linux_kvm_mmu_notifier_test_young(&kvm->mmu_notifier, NULL, hva);
}

/* Slots that touch [start, end) of the host, as Linux's notifiers go through them. */
void face_each_host_range(struct kvm *kvm, u64 start, u64 end,
                          void (*body)(struct kvm *kvm, struct kvm_gfn_range *range, void *arg), void *arg)
{
    int idx = srcu_read_lock(&kvm->srcu);

    for (int i = 0; i < kvm_arch_nr_memslot_as_ids(kvm); i++) {
        struct kvm_memslots *slots = __kvm_memslots(kvm, i);
        struct interval_tree_node *node;

        kvm_for_each_memslot_in_hva_range(node, slots, start, end - 1) {
            struct kvm_memory_slot *slot = container_of(node, struct kvm_memory_slot, hva_node[slots->node_idx]);
            u64 first = max_t(u64, start, slot->userspace_addr);
            u64 last = min_t(u64, end, slot->userspace_addr + (slot->npages << PAGE_SHIFT));
            struct kvm_gfn_range range = {
                .slot = slot, .start = hva_to_gfn_memslot(first, slot),
                .end = hva_to_gfn_memslot(last + PAGE_SIZE - 1, slot), .may_block = true,
            };

            body(kvm, &range, arg);
        }
    }
    srcu_read_unlock(&kvm->srcu, idx);
}
