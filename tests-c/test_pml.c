/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page modification logging as hardware has it: a CPU's own log of 512 addresses, which is emptied
 * into the dirty log whenever the vCPU leaves the guest.
 */
#include "test_helpers.h"

#include <sched.h>

#define HVA 0x10000000000ull
#define PAGES 3072u /* of slot 0: six 4K tables */
#define LOG KVM_MEM_LOG_DIRTY_PAGES
#define CPU_LOG 512u
#define RESERVE (64u + CPU_LOG)
#define RING_BYTES 16384u /* the smallest under PML: 1024 entries */

struct guest {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu;
    struct kvm_dirty_gfn *ring;
    uint32_t size, next;
    unsigned pushes;
    atomic_uint warnings;
    struct tdpmmu_warning last;
    void (*on_push)(struct guest *g);
};

static void note_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    struct guest *g = ctx;

    (void)kvm;
    g->last = *warning;
    atomic_fetch_add(&g->warnings, 1);
}

static void note_event(void *ctx, struct kvm *kvm, const struct tdpmmu_trace_event *event)
{
    struct guest *g = ctx;

    (void)kvm;
    if (event->id == TDPMMU_TRACE_RING_PUSH && g->on_push)
        g->on_push(g);
}

/* Pages of 4K, so that each has a Dirty bit of its own. */
static kvm_pfn_t small_page(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn,
                            bool write, bool *writable, int *max_level)
{
    (void)ctx;
    (void)kvm;
    (void)write;
    (void)writable;
    *max_level = slot->id == 2 ? 3 : 1; /* but slot 2 has huge ones */
    return (slot->userspace_addr >> 12) + gfn - slot->base_gfn;
}

static int largest_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx;
    (void)kvm;
    (void)gfn;
    return slot->id == 2 ? 3 : 1;
}

/* A VM with one vCPU on its root and no slot.  ring: bytes, or 0 for bitmaps. */
static struct guest *guest_from(struct tdpmmu_vm_config config, uint32_t ring, bool traced)
{
    struct guest *g = calloc(1, sizeof(*g));
    struct tdpmmu_ops ops = {
        .size = sizeof(ops), .gfn_to_pfn = small_page, .mapping_level = largest_level, .warn = note_warning,
        .trace = traced ? note_event : NULL };
    struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL, .args = { ring } };

    assert_non_null(g);
    config.size = sizeof(config);
    config.ops = &ops;
    config.ops_ctx = g;
    g->kvm = tdpmmu_create_vm(&config);
    assert_non_null(g->kvm);
    if (ring)
        assert_int_equal(kvm_vm_ioctl_enable_cap(g->kvm, &cap), 0);
    g->vcpu = tdpmmu_create_vcpu(g->kvm, 0);
    assert_non_null(g->vcpu);
    g->ring = tdpmmu_vcpu_dirty_ring(g->vcpu, &g->size);
    assert_int_equal(kvm_mmu_load(g->vcpu), 0);
    return g;
}

static int set_slot(struct guest *g, uint32_t id, uint32_t flags, gfn_t gfn, uint64_t pages)
{
    return add_slot(g->kvm, id, flags, gfn, pages, HVA + ((uint64_t)id << 33));
}

/* Slot 0 is mapped, and its logging has just begun: all is writable, and nothing dirty. */
static void begin_logging(struct guest *g)
{
    assert_int_equal(set_slot(g, 0, 0, 0, PAGES), 0);
    for (gfn_t gfn = 0; gfn < PAGES; gfn++)
        assert_int_equal(guest_write(g->vcpu, gfn), 1);
    assert_int_equal(set_slot(g, 0, LOG, 0, PAGES), 0);
    assert_int_equal(kvm_mmu_load(g->vcpu), 0);
}

static struct guest *logged_guest(struct tdpmmu_vm_config config, uint32_t ring, bool traced)
{
    struct guest *g = guest_from(config, ring, traced);

    begin_logging(g);
    return g;
}

static void end_guest(struct guest *g)
{
    if (atomic_load(&g->warnings))
        print_error("warning: %s: %s\n", g->last.function, g->last.text);
    assert_int_equal(atomic_load(&g->warnings), 0);
    tdpmmu_destroy_vm(g->kvm);
    assert_int_equal(atomic_load(&g->warnings), 0);
    free(g);
}

static int write_to(struct guest *g, gfn_t gfn)
{
    return tdpmmu_cpu_access(g->vcpu, (gfn << 12) + 0x123, PFERR_WRITE_MASK, NULL);
}

/* The next entry of the ring, harvested; UINT64_MAX if there is none.  The slot in bits 63:32. */
static uint64_t take(struct guest *g)
{
    struct kvm_dirty_gfn *entry = &g->ring[g->next % g->size];
    uint64_t what;

    if (__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
        return UINT64_MAX;
    what = entry->offset | (uint64_t)entry->slot << 32;
    __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    g->next++;
    return what;
}

#define NOTHING UINT64_MAX

/* The bitmap of a slot of up to PAGES pages; returns how many bits. */
static unsigned get_log(struct guest *g, uint32_t slot, uint64_t bits[PAGES / 64])
{
    struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bits };
    unsigned count = 0;

    memset(bits, 0, PAGES / 8);
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(g->kvm, &log), 0);
    for (unsigned i = 0; i < PAGES / 64; i++)
        count += (unsigned)__builtin_popcountll(bits[i]);
    return count;
}

static bool has(const uint64_t *bits, gfn_t page)
{
    return bits[page / 64] >> page % 64 & 1;
}

/* ---- order ---------------------------------------------------------------------- */

/* The guest writes 9, 10 and 11; nothing is told before the exit. */
static void the_newest_first(void **state)
{
    (void)state;
    for (unsigned oldest_first = 0; oldest_first < 2; oldest_first++) {
        struct guest *g = logged_guest(
            (struct tdpmmu_vm_config){ .pml_oldest_first = oldest_first }, RING_BYTES, false);

        for (gfn_t gfn = 9; gfn <= 11; gfn++)
            assert_int_equal(write_to(g, gfn), 1);
        assert_int_equal(take(g), NOTHING);
        assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 3);
        for (gfn_t i = 0; i < 3; i++)
            assert_int_equal(take(g), oldest_first ? 9 + i : 11 - i);
        assert_int_equal(take(g), NOTHING);
        assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 0);
        assert_int_equal(write_to(g, 10), 1); /* dirty already */
        assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 0);
        end_guest(g);
    }
}

/* The same for a log that is full, where the index has wrapped. */
static void a_full_log_in_order(void **state)
{
    (void)state;
    for (unsigned oldest_first = 0; oldest_first < 2; oldest_first++) {
        struct guest *g = logged_guest(
            (struct tdpmmu_vm_config){ .pml_oldest_first = oldest_first }, 65536, false);

        for (gfn_t gfn = 0; gfn < CPU_LOG; gfn++)
            assert_int_equal(write_to(g, gfn), 1);
        assert_int_equal(tdpmmu_cpu_exit(g->vcpu), CPU_LOG);
        for (gfn_t i = 0; i < CPU_LOG; i++)
            assert_int_equal(take(g), oldest_first ? i : CPU_LOG - 1 - i);
        assert_int_equal(take(g), NOTHING);
        assert_int_equal(stats_of(g->kvm).pml_full, 0);
        assert_int_equal(stats_of(g->kvm).pml_flushes, 1);
        end_guest(g);
    }
}

/* ---- a full log ------------------------------------------------------------------- */

/* It is found before Dirty is set: one exit, and the write that made it is logged once like the others. */
static void the_513th_page(void **state)
{
    static uint64_t bits[PAGES / 64];
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, 0, false);

    (void)state;
    for (gfn_t gfn = 0; gfn < CPU_LOG; gfn++)
        assert_int_equal(write_to(g, gfn), 1);
    assert_int_equal(stats_of(g->kvm).pml_full, 0);
    assert_int_equal(write_to(g, 7), 1); /* sets no bit */
    assert_int_equal(stats_of(g->kvm).pml_full, 0);
    assert_int_equal(write_to(g, CPU_LOG), 1);
    assert_int_equal(stats_of(g->kvm).pml_full, 1);
    assert_int_equal(stats_of(g->kvm).pml_flushes, 1);
    assert_true(is_dirty_spte(g->kvm, spte_at(g->vcpu, CPU_LOG, 1)));
    assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 1); /* the 513th itself */
    assert_int_equal(get_log(g, 0, bits), CPU_LOG + 1);
    for (gfn_t gfn = 0; gfn <= CPU_LOG; gfn++)
        assert_true(has(bits, gfn));
    assert_int_equal(get_log(g, 0, bits), 0);
    end_guest(g);
}

static void age(struct guest *g, gfn_t gfn)
{
    struct kvm_gfn_range range = { .start = gfn, .end = gfn + 1, .may_block = true };

    rcu_read_lock();
    range.slot = tdpmmu_id_to_memslot(g->kvm, 0, 0);
    assert_true(kvm_tdp_mmu_age_gfn_range(g->kvm, &range));
    rcu_read_unlock();
}

/* Setting Accessed looks at the index as well; what sets nothing does not. */
static void a_read_finds_the_log_full(void **state)
{
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, 0, false);

    (void)state;
    age(g, 1000);
    for (gfn_t gfn = 0; gfn < CPU_LOG; gfn++)
        assert_int_equal(write_to(g, gfn), 1);
    assert_int_equal(tdpmmu_cpu_access(g->vcpu, 1001 << 12, 0, NULL), 1);
    assert_int_equal(stats_of(g->kvm).pml_full, 0);
    assert_int_equal(tdpmmu_cpu_access(g->vcpu, 1000 << 12, 0, NULL), 1);
    assert_int_equal(stats_of(g->kvm).pml_full, 1);
    assert_true(is_accessed_spte(g->kvm, spte_at(g->vcpu, 1000, 1)));
    assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 0);
    end_guest(g);
}

/* ---- exits ------------------------------------------------------------------------ */

static void by_load(struct guest *g) { assert_int_equal(kvm_mmu_load(g->vcpu), 0); }
static void by_unload(struct guest *g) { kvm_mmu_unload(g->vcpu); }
static void by_fast_fault(struct guest *g) { tdpmmu_fast_page_fault(g->vcpu, 0, PFERR_PRESENT_MASK); }
static void by_address_space(struct guest *g) { assert_int_equal(tdpmmu_vcpu_set_as_id(g->vcpu, 0), 0); }
static void by_destruction_of_roots(struct guest *g) { kvm_mmu_zap_all_fast(g->kvm); }
static void by_reset(struct guest *g) { assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(g->kvm), 0); }

static void by_fault(struct guest *g)
{
    assert_int_equal(kvm_tdp_mmu_page_fault(g->vcpu, 100ull << 30, 0), RET_PF_EMULATE); /* MMIO */
}

static void by_fault_beyond(struct guest *g)
{
    assert_int_equal(kvm_tdp_mmu_page_fault(g->vcpu, 1ull << 50, 0), RET_PF_EMULATE);
}

static void by_map(struct guest *g)
{
    read_lock(&g->kvm->mmu_lock);
    kvm_tdp_mmu_map(g->vcpu, 100ull << 30, 0, false, 1, KVM_PFN_NOSLOT, false);
    read_unlock(&g->kvm->mmu_lock);
}

static void by_prefault(struct guest *g)
{
    struct kvm_pre_fault_memory range = { .gpa = 100ull << 30, .size = 4096 };

    assert_int_equal(kvm_vcpu_pre_fault_memory(g->vcpu, &range), -ENOENT);
}

static void by_root(struct guest *g)
{
    hpa_t hpa = kvm_tdp_mmu_get_vcpu_root_hpa(g->vcpu);

    assert_int_not_equal(hpa, INVALID_PAGE);
    kvm_tdp_mmu_put_root(g->kvm, to_shadow_page(hpa));
}

static void by_invalidation(struct guest *g)
{
    write_lock(&g->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(g->kvm);
    write_unlock(&g->kvm->mmu_lock);
    kvm_tdp_mmu_zap_invalidated_roots(g->kvm);
}

static void exits_tell(void **state)
{
    static const struct {
        const char *name;
        void (*act)(struct guest *g);
    } exits[] = {
        { "load", by_load }, { "unload", by_unload }, { "fast fault", by_fast_fault },
        { "address space", by_address_space }, { "zap", by_destruction_of_roots }, { "reset", by_reset },
        { "fault", by_fault }, { "fault beyond", by_fault_beyond }, { "map", by_map },
        { "prefault", by_prefault }, { "root", by_root }, { "invalidation", by_invalidation },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(exits) / sizeof(exits[0]); i++) {
        struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, RING_BYTES, false);
        uint64_t first;

        assert_int_equal(write_to(g, 9), 1);
        assert_int_equal(write_to(g, 10), 1);
        exits[i].act(g);
        first = take(g);
        if (first != 10 || take(g) != 9 || take(g) != NOTHING)
            fail_msg("after %s: %llx", exits[i].name, (unsigned long long)first);
        assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 0);
        end_guest(g);
    }
}

/* What the CPU logged comes before what the fault marks that made it exit. */
static void logged_before_the_fault(void **state)
{
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, RING_BYTES, false);

    (void)state;
    write_lock(&g->kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_zap_leafs(g->kvm, 20, 21, false));
    write_unlock(&g->kvm->mmu_lock);
    assert_int_equal(write_to(g, 9), 1);
    assert_int_equal(kvm_tdp_mmu_page_fault(g->vcpu, 20 << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
    assert_int_equal(take(g), 9);
    assert_int_equal(take(g), 20);
    assert_int_equal(take(g), NOTHING);
    end_guest(g);
}

/* A vCPU's end is an exit, and a bitmap outlives it. */
static void a_vcpu_goes(void **state)
{
    static uint64_t bits[PAGES / 64];
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, 0, false);

    (void)state;
    assert_int_equal(write_to(g, 9), 1);
    tdpmmu_destroy_vcpu(g->vcpu);
    assert_int_equal(stats_of(g->kvm).pml_flushes, 1);
    assert_int_equal(get_log(g, 0, bits), 1);
    assert_true(has(bits, 9));
    end_guest(g);
}

/* Who clears a log that was got before has what was written in between. */
static void clearing_makes_vcpus_leave(void **state)
{
    static uint64_t bits[PAGES / 64];
    struct guest *g = logged_guest(
        (struct tdpmmu_vm_config){ .dirty_log = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE }, 0, false);
    struct kvm_clear_dirty_log clear = { .slot = 0, .num_pages = 64, .dirty_bitmap = bits };

    (void)state;
    assert_int_equal(write_to(g, 9), 1);
    assert_int_equal(write_to(g, 10), 1);
    memset(bits, 0, sizeof(bits));
    bits[0] = 1 << 9;
    assert_int_equal(kvm_vm_ioctl_clear_dirty_log(g->kvm, &clear), 0);
    assert_false(is_dirty_spte(g->kvm, spte_at(g->vcpu, 9, 1)));
    assert_int_equal(get_log(g, 0, bits), 1);
    assert_true(has(bits, 10));
    end_guest(g);
}

/* ---- rings ------------------------------------------------------------------------ */

/* A ring without room for 64 and 512 is refused; with it, 512 of the CPU's always fit. */
static void the_ring_keeps_room(void **state)
{
    static bool seen[PAGES];
    struct guest *g = guest_from((struct tdpmmu_vm_config){ 0 }, 0, false);
    unsigned stops = 0, named = 0;

    (void)state;
    tdpmmu_destroy_vcpu(g->vcpu);
    for (uint64_t bytes = 4096; bytes <= RING_BYTES; bytes *= 2) {
        struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING_ACQ_REL, .args = { bytes } };

        assert_int_equal(kvm_vm_ioctl_enable_cap(g->kvm, &cap), bytes < RESERVE * 16 ? -EINVAL : 0);
    }
    end_guest(g);
    g = logged_guest((struct tdpmmu_vm_config){ 0 }, RING_BYTES, false);
    memset(seen, 0, sizeof(seen));
    for (gfn_t gfn = 0; gfn < PAGES; gfn++) {
        uint64_t offset;
        int ret = write_to(g, gfn);

        assert_int_equal(is_dirty_spte(g->kvm, spte_at(g->vcpu, gfn, 1)), ret == 1);
        if (ret == 1)
            continue;
        assert_int_equal(ret, -ENOBUFS);
        assert_int_equal(write_to(g, gfn), -ENOBUFS);
        assert_int_equal(write_to(g, gfn - 1), 1); /* dirty already: the guest goes on */
        assert_int_equal(gfn % CPU_LOG, 0); /* after a whole log, which had its room */
        stops++;
        while ((offset = take(g)) != NOTHING) {
            assert_false(seen[offset]);
            seen[offset] = true;
        }
        assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(g->kvm), CPU_LOG);
        assert_int_equal(write_to(g, gfn), 1);
    }
    assert_true(tdpmmu_cpu_exit(g->vcpu) > 0);
    for (uint64_t offset; (offset = take(g)) != NOTHING; seen[offset] = true)
        assert_false(seen[offset]);
    for (gfn_t gfn = 0; gfn < PAGES; gfn++)
        named += seen[gfn];
    assert_int_equal(named, PAGES);
    assert_int_equal(stops, PAGES / CPU_LOG - 1);
    end_guest(g);
}

/* The most that may wait in a ring: one entry less than makes it soft-full, and a whole log. */
static void the_reserve_is_enough(void **state)
{
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, RING_BYTES, false);
    const unsigned most = RING_BYTES / 16 - RESERVE - 1 + CPU_LOG;
    unsigned named = 0;

    (void)state;
    for (gfn_t gfn = 0; gfn < most; gfn++) {
        assert_int_equal(write_to(g, gfn), 1);
        if (gfn == most - CPU_LOG - 1)
            assert_int_equal(tdpmmu_cpu_exit(g->vcpu), most - CPU_LOG);
    }
    assert_int_equal(write_to(g, most), -ENOBUFS);
    while (take(g) != NOTHING)
        named++;
    assert_int_equal(named, most);
    end_guest(g);
}

/* Another thread may make the vCPU exit before the ring is read, and so does a reset. */
static void exits_by_others(void **state)
{
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, RING_BYTES, false);

    (void)state;
    assert_int_equal(write_to(g, 9), 1);
    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(g->kvm), 0);
    assert_int_equal(take(g), 9);
    assert_int_equal(write_to(g, 10), 1);
    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(g->kvm), 1); /* page 9 */
    assert_int_equal(take(g), 10);
    assert_int_equal(write_to(g, 9), 1);
    assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 1);
    assert_int_equal(take(g), 9);
    end_guest(g);
}

/* A callback that is made while the log is emptied may not come back into it. */
static void exit_again(struct guest *g)
{
    g->pushes++;
    assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 0);
}

static void no_way_back_from_a_callback(void **state)
{
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, RING_BYTES, true);

    (void)state;
    assert_int_equal(write_to(g, 9), 1);
    g->on_push = exit_again;
    assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 1);
    assert_int_equal(g->pushes, 1);
    assert_int_equal(atomic_load(&g->warnings), 1);
    assert_int_equal(g->last.kind, TDPMMU_WARN_LOCK);
    atomic_store(&g->warnings, 0);
    g->on_push = NULL;
    assert_int_equal(take(g), 9);
    assert_int_equal(take(g), NOTHING);
    end_guest(g);
}

/* Nor may the guest go on there, with the log full until all is marked. */
static void write_again(struct guest *g)
{
    if (g->pushes++ == 0)
        assert_int_equal(write_to(g, CPU_LOG), -ENOBUFS);
}

static void no_access_from_a_callback(void **state)
{
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, 65536, true);

    (void)state;
    for (gfn_t gfn = 0; gfn < CPU_LOG; gfn++)
        assert_int_equal(write_to(g, gfn), 1);
    g->on_push = write_again;
    assert_int_equal(tdpmmu_cpu_exit(g->vcpu), CPU_LOG);
    assert_int_equal(g->pushes, CPU_LOG);
    assert_int_equal(atomic_load(&g->warnings), 1);
    assert_int_equal(g->last.kind, TDPMMU_WARN_LOCK);
    atomic_store(&g->warnings, 0);
    g->on_push = NULL;
    assert_false(is_dirty_spte(g->kvm, spte_at(g->vcpu, CPU_LOG, 1)));
    assert_int_equal(write_to(g, CPU_LOG), 1);
    end_guest(g);
}

/* ---- slots ------------------------------------------------------------------------ */

/* A slot that is deleted takes its log along; of what stands in another's place nothing is marked. */
static void a_slot_is_deleted(void **state)
{
    static uint64_t bits[PAGES / 64];

    (void)state;
    for (unsigned slot_only = 0; slot_only < 2; slot_only++) {
        struct guest *g = logged_guest((struct tdpmmu_vm_config){ .zap_slot_only = slot_only }, 0, false);

        assert_int_equal(write_to(g, 9), 1);
        assert_int_equal(set_slot(g, 0, 0, 0, 0), 0);
        assert_int_equal(set_slot(g, 1, LOG, 0, PAGES), 0);
        assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 0); /* it left when the slot was zapped */
        assert_int_equal(get_log(g, 1, bits), 0);
        end_guest(g);
    }
}

/* What was written before a move is in the log of the slot, wherever it is now. */
static void a_slot_is_moved(void **state)
{
    static uint64_t bits[PAGES / 64];

    (void)state;
    for (unsigned slot_only = 0; slot_only < 2; slot_only++) {
        struct guest *g = logged_guest((struct tdpmmu_vm_config){ .zap_slot_only = slot_only }, 0, false);

        assert_int_equal(write_to(g, 9), 1);
        assert_int_equal(set_slot(g, 0, LOG, 8 * PAGES, PAGES), 0);
        assert_int_equal(get_log(g, 0, bits), 1);
        assert_true(has(bits, 9));
        end_guest(g);
    }
}

/* Not logged any more: the entry is dropped, by the exit or where the last slot's logging ends. */
static void logging_ends(void **state)
{
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, RING_BYTES, false);

    (void)state;
    assert_int_equal(set_slot(g, 1, LOG, PAGES, 512), 0);
    assert_int_equal(kvm_mmu_load(g->vcpu), 0);
    assert_int_equal(write_to(g, 9), 1);
    assert_int_equal(set_slot(g, 0, 0, 0, PAGES), 0);
    assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 1);
    assert_int_equal(take(g), NOTHING);
    assert_int_equal(set_slot(g, 0, LOG, 0, PAGES), 0);
    assert_int_equal(write_to(g, 10), 1);
    assert_int_equal(set_slot(g, 1, 0, PAGES, 512), 0);
    assert_int_equal(set_slot(g, 0, 0, 0, PAGES), 0);
    assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 0);
    assert_int_equal(take(g), NOTHING);
    end_guest(g);
}

/* A huge leaf that becomes dirty: the page that was written, not all of it.  A logged slot has none
 * that is writable, so it begins to be logged when the entry waits already. */
static void a_huge_leaf(void **state)
{
    static uint64_t bits[PAGES / 64];
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, 0, false);
    const gfn_t base = 1 << 18;

    (void)state;
    assert_int_equal(set_slot(g, 2, 0, base, 1024), 0);
    assert_int_equal(guest_write(g->vcpu, base + 512), 2);
    read_lock(&g->kvm->mmu_lock);
    rcu_read_lock();
    assert_true(kvm_tdp_mmu_clear_dirty_slot(g->kvm, tdpmmu_id_to_memslot(g->kvm, 0, 2)));
    rcu_read_unlock();
    read_unlock(&g->kvm->mmu_lock);
    assert_int_equal(write_to(g, base + 512 + 77), 2);
    assert_int_equal(write_to(g, base + 512 + 78), 2); /* dirty already */
    assert_int_equal(set_slot(g, 2, LOG, base, 1024), 0);
    assert_int_equal(get_log(g, 2, bits), 1);
    assert_true(has(bits, 512 + 77));
    end_guest(g);
}

/* The address space of an entry is the one that the vCPU leaves when it enters or leaves SMM. */
static void smm(void **state)
{
    const uint64_t in_smm = 1ull << 48;
    struct guest *g = logged_guest((struct tdpmmu_vm_config){ 0 }, RING_BYTES, false);

    (void)state;
    assert_int_equal(add_slot(g->kvm, 1 << 16, 0, 0, 512, HVA + (1ull << 35)), 0);
    assert_int_equal(tdpmmu_vcpu_set_as_id(g->vcpu, 1), 0);
    assert_int_equal(guest_write(g->vcpu, 9), 1);
    assert_int_equal(guest_write(g->vcpu, 10), 1);
    tdpmmu_cpu_exit(g->vcpu);
    assert_int_equal(add_slot(g->kvm, 1 << 16, LOG, 0, 512, HVA + (1ull << 35)), 0);
    assert_int_equal(take(g), NOTHING);
    assert_int_equal(tdpmmu_vcpu_set_as_id(g->vcpu, 0), 0);
    assert_int_equal(kvm_mmu_load(g->vcpu), 0);
    assert_int_equal(write_to(g, 9), 1);
    assert_int_equal(tdpmmu_vcpu_set_as_id(g->vcpu, 1), 0);
    assert_int_equal(take(g), 9);
    assert_int_equal(kvm_mmu_load(g->vcpu), 0);
    assert_int_equal(write_to(g, 10), 1);
    assert_int_equal(tdpmmu_vcpu_set_as_id(g->vcpu, 0), 0);
    assert_int_equal(take(g), 10 | in_smm);
    assert_int_equal(take(g), NOTHING);
    end_guest(g);
}

/* ---- where there is no log ---------------------------------------------------------- */

/* The CPU logs while a slot is logged, and no longer. */
static void no_slot_is_logged(void **state)
{
    struct guest *g = guest_from((struct tdpmmu_vm_config){ 0 }, RING_BYTES, false);

    (void)state;
    begin_logging(g);
    assert_int_equal(set_slot(g, 0, 0, 0, PAGES), 0);
    assert_int_equal(kvm_mmu_load(g->vcpu), 0);
    for (gfn_t gfn = 0; gfn < PAGES; gfn++)
        assert_int_equal(write_to(g, gfn), 1);
    assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 0);
    assert_int_equal(stats_of(g->kvm).pml_full + stats_of(g->kvm).pml_flushes, 0);
    assert_int_equal(take(g), NOTHING);
    end_guest(g);
}

static void no_pml(void **state)
{
    static const struct tdpmmu_vm_config kinds[] = {
        { .vendor = TDPMMU_NPT }, { .no_pml = 1 }, { .ad_disabled = 1 }, { .vendor = TDPMMU_NPT, .pml_oldest_first = 1 } };
    static uint64_t bits[PAGES / 64];

    (void)state;
    for (int k = 0; k < 4; k++) {
        struct guest *g = logged_guest(kinds[k], 0, false);

        for (gfn_t gfn = 0; gfn < 600; gfn++)
            assert_int_equal(guest_write(g->vcpu, gfn), 1);
        assert_int_equal(tdpmmu_cpu_exit(g->vcpu), 0);
        assert_int_equal(stats_of(g->kvm).pml_full + stats_of(g->kvm).pml_flushes, 0);
        assert_int_equal(get_log(g, 0, bits), 600);
        end_guest(g);
    }
}

/* ---- harvests beside vCPUs that write ------------------------------------------------- */

#define WRITERS 2
#define SOME 700u /* more than a log holds */

static struct guest *shared;
static struct kvm_vcpu *writer[WRITERS];
static atomic_uint version[SOME]; /* of what a page holds: counted up before the guest writes */
static unsigned copied[SOME];
static uint32_t harvested[WRITERS]; /* entries of each ring */
static atomic_uint running;

/* One write, with all the exits that it takes. */
static void write_surely(struct kvm_vcpu *vcpu, gfn_t gfn)
{
    uint64_t code = PFERR_WRITE_MASK;
    int ret;

    atomic_fetch_add(&version[gfn], 1);
    while ((ret = tdpmmu_cpu_access(vcpu, gfn << 12, PFERR_WRITE_MASK, &code)) <= 0) {
        if (ret == -ENOBUFS)
            sched_yield(); /* until the ring is reset */
        else if (kvm_mmu_load(vcpu) == 0)
            kvm_tdp_mmu_page_fault(vcpu, gfn << 12, code);
    }
}

static void *write_many(void *argument)
{
    struct kvm_vcpu *vcpu = argument;
    uint64_t random = (uint64_t)tdpmmu_vcpu_id(vcpu) + 1;

    assert_int_equal(kvm_mmu_load(vcpu), 0);
    for (unsigned i = 0; i < rounds(200000); i++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        write_surely(vcpu, (random >> 33) % SOME);
        if ((random >> 20) % 1000 == 0)
            tdpmmu_cpu_exit(vcpu);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void copy(gfn_t gfn)
{
    assert_true(gfn < SOME);
    copied[gfn] = atomic_load(&version[gfn]);
}

static void harvest_bitmap(void)
{
    static uint64_t bits[PAGES / 64];

    get_log(shared, 0, bits);
    for (gfn_t gfn = 0; gfn < PAGES; gfn++)
        if (has(bits, gfn))
            copy(gfn);
}

/* Copied when they are protected again: what is written from then on has another entry. */
static void harvest_rings(void)
{
    static gfn_t pages[WRITERS * RING_BYTES / 16];
    unsigned count = 0;

    for (int i = 0; i < WRITERS; i++) {
        uint32_t size;

        shared->ring = tdpmmu_vcpu_dirty_ring(writer[i], &size);
        shared->size = size;
        shared->next = harvested[i];
        tdpmmu_cpu_exit(writer[i]);
        for (uint64_t page; (page = take(shared)) != NOTHING;)
            pages[count++] = page;
        harvested[i] = shared->next;
    }
    assert_true(kvm_vm_ioctl_reset_dirty_pages(shared->kvm) >= 0);
    for (unsigned i = 0; i < count; i++)
        copy(pages[i]);
}

/* The last copy of each page is its last version, or a write was lost; and nobody hangs. */
static void harvest_beside(uint32_t ring, void (*harvest)(void))
{
    pthread_t threads[WRITERS];

    shared = logged_guest((struct tdpmmu_vm_config){ 0 }, ring, false);
    writer[0] = shared->vcpu;
    writer[1] = tdpmmu_create_vcpu(shared->kvm, 1);
    memset(copied, 0, sizeof(copied));
    memset(harvested, 0, sizeof(harvested));
    for (unsigned i = 0; i < SOME; i++)
        atomic_store(&version[i], 0);
    atomic_store(&running, WRITERS);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, writer[i]), 0);
    while (atomic_load(&running))
        harvest();
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    harvest();
    for (unsigned i = 0; i < SOME; i++)
        if (copied[i] != atomic_load(&version[i]))
            fail_msg("page %u: copied at %u, written %u times", i, copied[i], atomic_load(&version[i]));
    assert_true(stats_of(shared->kvm).pml_flushes > 0);
    end_guest(shared);
}

static void bitmaps_beside_writers(void **state)
{
    (void)state;
    harvest_beside(0, harvest_bitmap);
}

static void rings_beside_writers(void **state)
{
    (void)state;
    harvest_beside(RING_BYTES, harvest_rings);
}

/* Logging is switched on and off, and slots move, while vCPUs write. */
static void switching_beside_writers(void **state)
{
    pthread_t threads[WRITERS];
    static uint64_t bits[PAGES / 64];

    (void)state;
    shared = logged_guest((struct tdpmmu_vm_config){ 0 }, 0, false);
    writer[0] = shared->vcpu;
    writer[1] = tdpmmu_create_vcpu(shared->kvm, 1);
    atomic_store(&running, WRITERS);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, writer[i]), 0);
    while (atomic_load(&running)) {
        assert_int_equal(set_slot(shared, 0, 0, 0, PAGES), 0);
        assert_int_equal(set_slot(shared, 0, LOG, 0, PAGES), 0);
        get_log(shared, 0, bits);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    get_log(shared, 0, bits);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(tdpmmu_cpu_exit(writer[i]), 0);
    end_guest(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_first),
        cmocka_unit_test(a_full_log_in_order),
        cmocka_unit_test(the_513th_page),
        cmocka_unit_test(a_read_finds_the_log_full),
        cmocka_unit_test(exits_tell),
        cmocka_unit_test(logged_before_the_fault),
        cmocka_unit_test(a_vcpu_goes),
        cmocka_unit_test(clearing_makes_vcpus_leave),
        cmocka_unit_test(the_ring_keeps_room),
        cmocka_unit_test(the_reserve_is_enough),
        cmocka_unit_test(exits_by_others),
        cmocka_unit_test(no_way_back_from_a_callback),
        cmocka_unit_test(no_access_from_a_callback),
        cmocka_unit_test(a_slot_is_deleted),
        cmocka_unit_test(a_slot_is_moved),
        cmocka_unit_test(logging_ends),
        cmocka_unit_test(a_huge_leaf),
        cmocka_unit_test(smm),
        cmocka_unit_test(no_slot_is_logged),
        cmocka_unit_test(no_pml),
        cmocka_unit_test(bitmaps_beside_writers),
        cmocka_unit_test(rings_beside_writers),
        cmocka_unit_test(switching_beside_writers),
    };

    return cmocka_run_group_tests_name("pml", tests, NULL, NULL);
}
