/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where nobody asks for single entries, walks take what is left of a table at once.  A VM whose rig is
 * asked at each entry whether to give way goes by the entry: the reference.
 */
#include "test_helpers.h"

#define PAGES 8192u
#define BASE (GIB_PAGES - 1024) /* across the border of a 1G entry */

struct side {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu;
    atomic_uint flushes, asked;
    _Atomic uint64_t flushed; /* of their ranges, for one thread */
    struct tdpmmu_ops ops;
};

static void count_flush(void *ctx, struct kvm *kvm, gfn_t start, uint64_t npages)
{
    struct side *s = ctx;

    (void)kvm;
    atomic_fetch_add(&s->flushes, 1);
    atomic_store(&s->flushed, (atomic_load(&s->flushed) ^ start ^ npages << 20) * 0x100000001b3ull);
}

static bool never(void *ctx, struct kvm *kvm)
{
    (void)kvm;
    atomic_fetch_add(&((struct side *)ctx)->asked, 1);
    return false;
}

static int all_huge(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx, (void)kvm, (void)slot, (void)gfn;
    return PG_LEVEL_2M;
}

static void side_open(struct side *s, const struct machine *m, bool by_entry)
{
    struct tdpmmu_vm_config config = m->config;

    memset(s, 0, sizeof(*s));
    s->ops = (struct tdpmmu_ops){ .size = sizeof(s->ops), .flush_tlb = count_flush, .mapping_level = all_huge,
                                  .need_resched = by_entry ? never : NULL };
    config.size = sizeof(config);
    config.ops = &s->ops;
    config.ops_ctx = s;
    s->kvm = tdpmmu_create_vm(&config);
    assert_non_null(s->kvm);
    s->vcpu = tdpmmu_create_vcpu(s->kvm, 0);
    assert_int_equal(add_slot(s->kvm, 0, 0, BASE & ~511ull, PAGES, WORLD_HVA + ((BASE & ~511ull) << 12)), 0);
    assert_int_equal(kvm_mmu_load(s->vcpu), 0);
}

static void side_close(struct side *s)
{
    kvm_mmu_uninit_tdp_mmu(s->kvm);
    assert_int_equal(stats_of(s->kvm).pages_4k, 0);
    assert_int_equal(stats_of(s->kvm).tables_stray, 0);
    tdpmmu_destroy_vcpu(s->vcpu);
    tdpmmu_destroy_vm(s->kvm);
}

static const struct kvm_memory_slot *slot_in(struct kvm *kvm)
{
    const struct kvm_memory_slot *slot;

    rcu_read_lock();
    slot = gfn_to_memslot(kvm, BASE);
    rcu_read_unlock();
    return slot;
}

/* Of leaves all, of tables only that they are there: theirs are other addresses. */
static uint64_t leaves_sum(struct kvm_vcpu *vcpu)
{
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(vcpu);
    uint64_t sum = 0xcbf29ce484222325ull;
    struct tdp_iter iter;

    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, (int)root->role.level, 0, UINT64_MAX) {
        bool is_table = is_shadow_present_pte(iter.old_spte) && !is_last_spte(iter.old_spte, iter.level);

        if (iter.old_spte == SHADOW_NONPRESENT_VALUE)
            continue;
        sum = (sum ^ iter.gfn ^ (uint64_t)iter.level << 56) * 0x100000001b3ull;
        sum = (sum ^ (is_table ? iter.old_spte & 0xfff : iter.old_spte)) * 0x100000001b3ull;
    }
    rcu_read_unlock();
    return sum;
}

enum { FAULT, FAULT_HUGE, WRITE, READ, AGE, TEST_AGE, WRPROT, CLEAR_DIRTY, MASKED, FAST, ZAP, ZAP_RANGE,
       ZAP_ALL, NEW_ROOT, SPLIT, COLLAPSE, RECOVER, OPERATIONS };
static const unsigned char weight[OPERATIONS] = { 20, 3, 20, 20, 12, 12, 10, 10, 25, 10, 14, 3, 1, 1, 2, 1, 1 };

/* One operation on gfns [gfn, gfn + n); what it returned. */
static int perform(struct side *s, int what, gfn_t gfn, uint64_t n, uint64_t mask)
{
    const struct kvm_memory_slot *slot = slot_in(s->kvm);
    struct kvm_gfn_range range = { .slot = (struct kvm_memory_slot *)slot, .start = gfn, .end = gfn + n };
    int sum = 0;

    switch (what) {
    case FAULT:
    case FAULT_HUGE:
        read_lock(&s->kvm->mmu_lock);
        for (gfn_t i = gfn; i < gfn + n; i += 1 + mask % 5)
            sum += kvm_tdp_mmu_map(s->vcpu, i << 12, i % 3 ? PFERR_WRITE_MASK : 0, i % 7 != 0,
                                   what == FAULT ? 1 : 2, pfn_for(i), i % 11 == 0);
        read_unlock(&s->kvm->mmu_lock);
        return sum;
    case WRITE:
    case READ:
        for (gfn_t i = gfn; i < gfn + n; i += 1 + mask % 7)
            sum += tdpmmu_cpu_access(s->vcpu, i << 12, what == WRITE ? PFERR_WRITE_MASK : 0, NULL);
        return sum;
    case AGE:
        return kvm_tdp_mmu_age_gfn_range(s->kvm, &range);
    case TEST_AGE:
        return kvm_tdp_mmu_test_age_gfn(s->kvm, &range);
    case WRPROT:
    case CLEAR_DIRTY:
        read_lock(&s->kvm->mmu_lock);
        sum = what == WRPROT ? kvm_tdp_mmu_wrprot_slot(s->kvm, slot, PG_LEVEL_4K)
                             : kvm_tdp_mmu_clear_dirty_slot(s->kvm, slot);
        read_unlock(&s->kvm->mmu_lock);
        return sum;
    case MASKED:
        write_lock(&s->kvm->mmu_lock);
        for (gfn_t i = gfn & ~63ull; i < gfn + n && i >= slot->base_gfn; i += 64)
            kvm_tdp_mmu_clear_dirty_pt_masked(s->kvm, slot, i, mask, mask & 1);
        write_unlock(&s->kvm->mmu_lock);
        return 0;
    case FAST:
        for (gfn_t i = gfn; i < gfn + n; i += 1 + mask % 3)
            sum += tdpmmu_fast_page_fault(s->vcpu, i << 12, PFERR_WRITE_MASK | PFERR_PRESENT_MASK);
        return sum;
    case ZAP:
    case ZAP_RANGE:
    case ZAP_ALL:
        write_lock(&s->kvm->mmu_lock);
        if (what == ZAP_ALL)
            kvm_tdp_mmu_zap_all(s->kvm);
        else
            sum = what == ZAP ? kvm_tdp_mmu_zap_leafs(s->kvm, gfn, gfn + n, false)
                              : kvm_tdp_mmu_zap_gfn_range(s->kvm, gfn, gfn + n);
        write_unlock(&s->kvm->mmu_lock);
        return sum;
    case NEW_ROOT:
        write_lock(&s->kvm->mmu_lock);
        kvm_tdp_mmu_invalidate_all_roots(s->kvm);
        write_unlock(&s->kvm->mmu_lock);
        kvm_tdp_mmu_zap_invalidated_roots(s->kvm);
        return kvm_mmu_load(s->vcpu);
    default:
        read_lock(&s->kvm->mmu_lock);
        if (what == SPLIT)
            sum = kvm_tdp_mmu_try_split_huge_pages(s->kvm, slot, gfn, gfn + n, PG_LEVEL_4K, true);
        else if (what == COLLAPSE)
            kvm_tdp_mmu_zap_collapsible_sptes(s->kvm, slot);
        else
            kvm_tdp_mmu_recover_huge_pages(s->kvm, slot);
        read_unlock(&s->kvm->mmu_lock);
        return sum;
    }
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static int choose(uint64_t r)
{
    unsigned total = 0, i;

    for (i = 0; i < OPERATIONS; i++)
        total += weight[i];
    r %= total;
    for (i = 0; r >= weight[i]; i++)
        r -= weight[i];
    return (int)i;
}

static void random_lists_leave_the_same(void **state)
{
    (void)state;
    for_each_machine(m) {
        for (uint64_t seed = 1; seed <= rounds(20); seed++) {
            uint64_t x = seed * 0x9e3779b97f4a7c15ull;
            struct side a, b;

            side_open(&a, m, true);
            side_open(&b, m, false);
            for (unsigned step = 0; step < 120; step++) {
                int what = choose(next_random(&x));
                gfn_t gfn = (BASE & ~511ull) + next_random(&x) % PAGES;
                uint64_t most = (BASE & ~511ull) + PAGES - gfn, n = 1 + next_random(&x) % 1500, mask = next_random(&x);
                struct tdpmmu_stats in_a, in_b;
                int of_a, of_b;

                n = n < most ? n : most;
                /* whole words, and runs in them */
                mask = step % 3 == 0 ? ~0ull : step % 3 == 1 ? (1ull << (mask % 63 + 1)) - 1 : mask | 1ull << 63;
                of_a = perform(&a, what, gfn, n, mask);
                of_b = perform(&b, what, gfn, n, mask);
                rcu_barrier();
                in_a = stats_of(a.kvm);
                in_b = stats_of(b.kvm);
                if (of_a != of_b || leaves_sum(a.vcpu) != leaves_sum(b.vcpu) || a.flushes != b.flushes ||
                    a.flushed != b.flushed || memcmp(&in_a, &in_b, sizeof(in_a)))
                    fail_msg("%s, seed %u, step %u, operation %d on %#llx + %llu: %d and %d", m->name, (unsigned)seed,
                             step, what, (unsigned long long)gfn, (unsigned long long)n, of_a, of_b);
            }
            assert_int_not_equal(a.asked, 0);
            side_close(&a);
            side_close(&b);
        }
    }
}

/* By the row, beside threads that fault, write and zap. */
static struct {
    struct side side;
    atomic_bool stop;
    atomic_uint epoch; /* odd: the log is being read */
    atomic_uint written[PAGES]; /* the epoch in which the last whole write was */
    atomic_uint writes, zaps;
} beside;

static void *write_pages(void *arg)
{
    uint64_t x = (uintptr_t)arg * 77 + 1;
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(beside.side.kvm, 1 + (int)(uintptr_t)arg);

    while (!atomic_load(&beside.stop)) {
        unsigned page = (unsigned)(next_random(&x) % PAGES), before = atomic_load(&beside.epoch);

        guest_write(vcpu, (BASE & ~511ull) + page);
        if (before % 2 == 0 && atomic_load(&beside.epoch) == before)
            atomic_store(&beside.written[page], before + 1);
        atomic_fetch_add(&beside.writes, 1);
    }
    tdpmmu_destroy_vcpu(vcpu);
    return NULL;
}

static void *zap_pages(void *arg)
{
    struct side *s = &beside.side;
    uint64_t x = 99;

    (void)arg;
    while (!atomic_load(&beside.stop)) {
        gfn_t gfn = (BASE & ~511ull) + next_random(&x) % (PAGES - 100);
        bool flush;

        write_lock(&s->kvm->mmu_lock);
        flush = kvm_tdp_mmu_zap_leafs(s->kvm, gfn, gfn + 100, false);
        if (flush)
            kvm_flush_remote_tlbs(s->kvm);
        write_unlock(&s->kvm->mmu_lock);
        atomic_fetch_add(&beside.zaps, 1);
        sleep_ms(1);
    }
    return NULL;
}

static void read_log(uint64_t *bitmap)
{
    struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };
    unsigned in = atomic_fetch_add(&beside.epoch, 1);

    assert_int_equal(kvm_vm_ioctl_get_dirty_log(beside.side.kvm, &log), 0);
    atomic_fetch_add(&beside.epoch, 1);
    for (unsigned page = 0; page < PAGES; page++) {
        if (atomic_load(&beside.written[page]) == in + 1 && !(bitmap[page / 64] >> page % 64 & 1))
            fail_msg("%s: page %u was written, and the log of that round has it not", machine_at, page);
    }
}

static unsigned leaves_in(struct kvm_vcpu *vcpu)
{
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(vcpu);
    struct tdp_iter iter;
    unsigned count = 0;

    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, (int)root->role.level, 0, UINT64_MAX) {
        assert_false(is_frozen_spte(iter.old_spte));
        count += iter.level == 1 && is_shadow_present_pte(iter.old_spte);
    }
    rcu_read_unlock();
    return count;
}

/* No write is lost from the log, no page from the counts. */
static void beside_threads(void **state)
{
    static uint64_t bitmap[PAGES / 64];
    struct side *s = &beside.side;

    (void)state;
    for_each_machine(m) {
        pthread_t threads[3];

        memset(&beside, 0, sizeof(beside));
        side_open(s, m, false);
        assert_int_equal(add_slot(s->kvm, 0, KVM_MEM_LOG_DIRTY_PAGES, BASE & ~511ull, PAGES,
                                  WORLD_HVA + ((BASE & ~511ull) << 12)), 0);
        pthread_create(&threads[0], NULL, write_pages, (void *)0);
        pthread_create(&threads[1], NULL, write_pages, (void *)1);
        pthread_create(&threads[2], NULL, zap_pages, NULL);
        for (unsigned i = 0; i < rounds(150) || atomic_load(&beside.writes) < 100 || atomic_load(&beside.zaps) < 3; i++) {
            perform(s, i % 3 ? AGE : CLEAR_DIRTY + (i % 2 ? WRPROT - CLEAR_DIRTY : 0), BASE & ~511ull, PAGES, ~0ull);
            if (i % 3 == 0) /* the slot's bits were cleared past the log, whose round is void */
                atomic_fetch_add(&beside.epoch, 2);
            read_log(bitmap);
            if (i % 40 == 39)
                perform(s, NEW_ROOT, 0, 0, 0);
        }
        atomic_store(&beside.stop, true);
        for (unsigned i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        rcu_barrier();
        assert_int_equal(kvm_mmu_load(s->vcpu), 0);
        assert_int_equal(stats_of(s->kvm).pages_4k, leaves_in(s->vcpu));
        assert_int_equal(stats_of(s->kvm).tables_stray, 0);
        side_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lists_leave_the_same),
        cmocka_unit_test(beside_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
