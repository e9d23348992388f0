/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where nobody asks for single entries, walks take what is left of a table at once.  A VM whose rig is
 * asked at each entry whether to give way goes by the entry: the reference.
 */
#include "test_helpers.h"
#include "own_process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 8192u
#define BASE (GIB_PAGES - 1024) /* across the border of a 1G entry */

struct side;

/* Threads that want mmu_lock while an operation runs, so that its walks give way. */
struct crowd {
    pthread_t threads[2];
    atomic_bool over;
    bool comes, is_there;
};

struct side {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu;
    atomic_uint flushes, asked;
    _Atomic uint64_t flushed; /* of their ranges, for one thread */
    struct crowd crowd;
    void (*on_yield)(struct side *s); /* in the middle of an operation, mmu_lock free */
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

/* Unlike the questions about giving way, this leaves rows on. */
static void yielded(void *ctx, struct kvm *kvm)
{
    struct side *s = ctx;

    (void)kvm;
    if (s->on_yield)
        s->on_yield(s);
}

static int all_huge(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx, (void)kvm, (void)slot, (void)gfn;
    return PG_LEVEL_2M;
}

/* With the host's side of `host`. */
static void side_open_with(struct side *s, const struct machine *m, bool by_entry, struct tdpmmu_ops host)
{
    struct tdpmmu_vm_config config = m->config;

    memset(s, 0, sizeof(*s));
    s->ops = (struct tdpmmu_ops){ .size = sizeof(s->ops), .flush_tlb = count_flush, .yielded = yielded,
                                  .need_resched = by_entry ? never : NULL, .mapping_level = host.mapping_level,
                                  .gfn_to_pfn = host.gfn_to_pfn };
    config.size = sizeof(config);
    config.ops = &s->ops;
    config.ops_ctx = s;
    s->kvm = tdpmmu_create_vm(&config);
    assert_non_null(s->kvm);
    s->vcpu = tdpmmu_create_vcpu(s->kvm, 0);
    assert_int_equal(add_slot(s->kvm, 0, 0, BASE & ~511ull, PAGES, WORLD_HVA + ((BASE & ~511ull) << 12)), 0);
    assert_int_equal(kvm_mmu_load(s->vcpu), 0);
}

static void side_open(struct side *s, const struct machine *m, bool by_entry)
{
    side_open_with(s, m, by_entry, (struct tdpmmu_ops){ .mapping_level = all_huge });
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

static void *want_lock(void *arg)
{
    struct side *s = arg;

    for (unsigned turn = 0; turn < 20 && !atomic_load(&s->crowd.over); turn++) {
        write_lock(&s->kvm->mmu_lock);
        write_unlock(&s->kvm->mmu_lock);
    }
    return NULL;
}

static void crowd_begin(struct side *s)
{
    struct crowd *crowd = &s->crowd;

    if (!crowd->comes)
        return;
    atomic_store(&crowd->over, false);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&crowd->threads[i], NULL, want_lock, s), 0);
    crowd->is_there = true;
}

static void crowd_end(struct side *s)
{
    if (!s->crowd.is_there)
        return;
    atomic_store(&s->crowd.over, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(s->crowd.threads[i], NULL);
    s->crowd.is_there = false;
}

/* With a crowd: one waits for the lock from the start. */
static void take(struct side *s, bool for_write)
{
    if (for_write)
        write_lock(&s->kvm->mmu_lock);
    else
        read_lock(&s->kvm->mmu_lock);
    crowd_begin(s);
    while (s->crowd.is_there && !rwlock_needbreak(&s->kvm->mmu_lock))
        sched_yield();
}

static void release(struct side *s, bool for_write)
{
    if (for_write)
        write_unlock(&s->kvm->mmu_lock);
    else
        read_unlock(&s->kvm->mmu_lock);
    crowd_end(s);
}

/* One operation on gfns [gfn, gfn + n); what it returned. */
static int perform(struct side *s, int what, gfn_t gfn, uint64_t n, uint64_t mask)
{
    const struct kvm_memory_slot *slot = slot_in(s->kvm);
    struct kvm_gfn_range range = { .slot = (struct kvm_memory_slot *)slot, .start = gfn, .end = gfn + n };
    int sum = 0;

    switch (what) {
    case FAULT:
    case FAULT_HUGE:
        take(s, false);
        for (gfn_t i = gfn; i < gfn + n; i += 1 + mask % 5)
            sum += kvm_tdp_mmu_map(s->vcpu, i << 12, i % 3 ? PFERR_WRITE_MASK : 0, i % 7 != 0,
                                   what == FAULT ? 1 : 2, pfn_for(i), i % 11 == 0);
        release(s, false);
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
        take(s, false);
        sum = what == WRPROT ? kvm_tdp_mmu_wrprot_slot(s->kvm, slot, PG_LEVEL_4K)
                             : kvm_tdp_mmu_clear_dirty_slot(s->kvm, slot);
        release(s, false);
        return sum;
    case MASKED:
        take(s, true);
        for (gfn_t i = gfn & ~63ull; i < gfn + n && i >= slot->base_gfn; i += 64)
            kvm_tdp_mmu_clear_dirty_pt_masked(s->kvm, slot, i, mask, mask & 1);
        release(s, true);
        return 0;
    case FAST:
        for (gfn_t i = gfn; i < gfn + n; i += 1 + mask % 3)
            sum += tdpmmu_fast_page_fault(s->vcpu, i << 12, PFERR_WRITE_MASK | PFERR_PRESENT_MASK);
        return sum;
    case ZAP:
    case ZAP_RANGE:
    case ZAP_ALL:
        take(s, true);
        if (what == ZAP_ALL)
            kvm_tdp_mmu_zap_all(s->kvm);
        else
            sum = what == ZAP ? kvm_tdp_mmu_zap_leafs(s->kvm, gfn, gfn + n, false)
                              : kvm_tdp_mmu_zap_gfn_range(s->kvm, gfn, gfn + n);
        release(s, true);
        return sum;
    case NEW_ROOT:
        write_lock(&s->kvm->mmu_lock);
        kvm_tdp_mmu_invalidate_all_roots(s->kvm);
        write_unlock(&s->kvm->mmu_lock);
        crowd_begin(s);
        kvm_tdp_mmu_zap_invalidated_roots(s->kvm);
        crowd_end(s);
        return kvm_mmu_load(s->vcpu);
    default:
        take(s, false);
        if (what == SPLIT)
            sum = kvm_tdp_mmu_try_split_huge_pages(s->kvm, slot, gfn, gfn + n, PG_LEVEL_4K, true);
        else if (what == COLLAPSE)
            kvm_tdp_mmu_zap_collapsible_sptes(s->kvm, slot);
        else
            kvm_tdp_mmu_recover_huge_pages(s->kvm, slot);
        release(s, false);
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

struct step {
    int what;
    gfn_t gfn;
    uint64_t n, mask;
};

static struct step next_step(uint64_t *x, unsigned number)
{
    int what = choose(next_random(x));
    gfn_t gfn = (BASE & ~511ull) + next_random(x) % PAGES;
    uint64_t most = (BASE & ~511ull) + PAGES - gfn, n = 1 + next_random(x) % 1500, mask = next_random(x);

    n = n < most ? n : most;
    /* whole words, and runs in them */
    mask = number % 3 == 0 ? ~0ull : number % 3 == 1 ? (1ull << (mask % 63 + 1)) - 1 : mask | 1ull << 63;
    return (struct step){ what, gfn, n, mask };
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
                struct step o = next_step(&x, step);
                struct tdpmmu_stats in_a, in_b;
                int of_a, of_b;

                of_a = perform(&a, o.what, o.gfn, o.n, o.mask);
                of_b = perform(&b, o.what, o.gfn, o.n, o.mask);
                rcu_barrier();
                in_a = stats_of(a.kvm);
                in_b = stats_of(b.kvm);
                if (of_a != of_b || leaves_sum(a.vcpu) != leaves_sum(b.vcpu) || a.flushes != b.flushes ||
                    a.flushed != b.flushed || memcmp(&in_a, &in_b, sizeof(in_a)))
                    fail_msg("%s, seed %u, step %u, operation %d on %#llx + %llu: %d and %d", m->name, (unsigned)seed,
                             step, o.what, (unsigned long long)o.gfn, (unsigned long long)o.n, of_a, of_b);
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
    atomic_uint at[2]; /* the page that each thread is writing to */
} beside;

static void *write_pages(void *arg)
{
    uintptr_t me = (uintptr_t)arg;
    uint64_t x = me * 77 + 1;
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(beside.side.kvm, 1 + (int)me);

    while (!atomic_load(&beside.stop)) {
        unsigned page = (unsigned)(next_random(&x) % PAGES), before = atomic_load(&beside.epoch);

        atomic_store(&beside.at[me], page);
        guest_write(vcpu, (BASE & ~511ull) + page);
        /*
         * A fast fault gives W back first and marks second, as the kernel's.  If the other thread stands between
         * the two, its mark is still to come, and perhaps in a later round.
         */
        if (before % 2 == 0 && atomic_load(&beside.epoch) == before && atomic_load(&beside.at[!me]) != page)
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

/* The host's pages are huge, and faults take them one by one. */
static kvm_pfn_t single_pages(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                              bool *writable, int *max_level)
{
    (void)ctx, (void)kvm, (void)slot, (void)write, (void)writable;
    *max_level = PG_LEVEL_4K;
    return pfn_for(gfn);
}

static void *fill_tables(void *arg)
{
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(beside.side.kvm, 1 + (int)(uintptr_t)arg);

    while (!atomic_load(&beside.stop)) {
        for (unsigned i = 0; i < PAGES; i++) {
            gfn_t gfn = (BASE & ~511ull) + i % 16 * 512 + i / 16; /* each table in turn */

            if (kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_WRITE_MASK) == RET_PF_RETRY)
                kvm_mmu_load(vcpu);
        }
        atomic_fetch_add(&beside.writes, 1);
    }
    tdpmmu_destroy_vcpu(vcpu);
    return NULL;
}

/* Tables go by the dozen while faults fill them: what a fault put into one at the last moment is counted out again. */
static void tables_go_beside_faults(void **state)
{
    struct side *s = &beside.side;

    (void)state;
    for_each_machine(m) {
        pthread_t threads[2];

        memset(&beside, 0, sizeof(beside));
        side_open_with(s, m, false, (struct tdpmmu_ops){ .mapping_level = all_huge, .gfn_to_pfn = single_pages });
        for (uintptr_t i = 0; i < 2; i++)
            pthread_create(&threads[i], NULL, fill_tables, (void *)i);
        for (unsigned i = 0; i < rounds(400) || atomic_load(&beside.writes) < 4; i++) {
            perform(s, i % 8 ? COLLAPSE : RECOVER, BASE & ~511ull, PAGES, 0);
            if (i % 8 == 0)
                perform(s, ZAP, BASE & ~511ull, PAGES, 0); /* what is huge would stay so */
            sched_yield();
        }
        atomic_store(&beside.stop, true);
        for (unsigned i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        rcu_barrier();
        assert_int_equal(stats_of(s->kvm).pages_4k, leaves_in(s->vcpu));
        assert_int_equal(stats_of(s->kvm).tables_stray, 0);
        side_close(s);
    }
}

/* Walks that give way ----------------------------------------------------------- */

/* What an operation began with, by which its books are read wherever it gives way. */
static struct {
    struct kvm_mmu_page *root;
    uint64_t changes, sptes[PAGES];
    bool leaves_only; /* each change is one of a leaf, and made once */
    unsigned yields[OPERATIONS];
    int what;
} midway;

/* The leaves below the root by gfn; how many of 4K. */
static uint64_t look_at_leaves(uint64_t *sptes)
{
    uint64_t count = 0;
    struct tdp_iter iter;

    memset(sptes, 0, PAGES * sizeof(*sptes));
    rcu_read_lock();
    for_each_tdp_pte(iter, midway.root->spt, (int)midway.root->role.level, BASE & ~511ull, (BASE & ~511ull) + PAGES) {
        if (!is_shadow_present_pte(iter.old_spte) || !is_last_spte(iter.old_spte, iter.level))
            continue;
        sptes[iter.gfn - (BASE & ~511ull)] = iter.old_spte;
        count += iter.level == 1;
    }
    rcu_read_unlock();
    return count;
}

/* What has been done so far is counted, all of it and no more. */
static void books_are_right(struct side *s)
{
    static uint64_t now[PAGES];
    struct tdpmmu_stats stats = stats_of(s->kvm);
    uint64_t leaves = look_at_leaves(now), changes = 0;

    midway.yields[midway.what]++;
    for (unsigned i = 0; i < PAGES; i++)
        changes += now[i] != midway.sptes[i];
    if (stats.pages_4k != leaves || (midway.leaves_only && stats.spte_changes != midway.changes + changes) ||
        (midway.what != SPLIT && stats.spte_changes < midway.changes + changes)) /* 512 leaves come by one change */
        fail_msg("%s, operation %d gives way: %u leaves counted, %u there; %u changes counted, %u seen", machine_at,
                 midway.what, (unsigned)stats.pages_4k, (unsigned)leaves,
                 (unsigned)(stats.spte_changes - midway.changes), (unsigned)changes);
}

struct outcome {
    int result;
    uint64_t flushes, yields;
    struct tdpmmu_stats stats; /* after it; no flushes, no yields */
};

static struct outcome perform_amid_crowd(struct side *s, const struct step *o)
{
    struct tdpmmu_stats before = stats_of(s->kvm);
    struct outcome out;

    midway.what = o->what;
    midway.root = tdpmmu_vcpu_root(s->vcpu);
    midway.changes = before.spte_changes;
    midway.leaves_only = o->what == ZAP || o->what == WRPROT || o->what == CLEAR_DIRTY;
    look_at_leaves(midway.sptes);
    out.result = perform(s, o->what, o->gfn, o->n, o->mask);
    rcu_barrier();
    out.stats = stats_of(s->kvm);
    assert_int_equal(out.stats.tlb_flushes, atomic_load(&s->flushes));
    out.flushes = out.stats.tlb_flushes - before.tlb_flushes;
    out.yields = out.stats.yields - before.yields;
    out.stats.tlb_flushes = out.stats.yields = 0;
    return out;
}

/* Where a walk that gives way pays what it owes, the flushes depend on when it did, and the answer says only what is
 * owed since. */
static bool pays_when_it_yields(int what)
{
    return what == ZAP || what == ZAP_RANGE || what == ZAP_ALL || what == SPLIT;
}

static bool came_to_the_same(int what, const struct outcome *a, const struct outcome *b)
{
    if (memcmp(&a->stats, &b->stats, sizeof(a->stats)))
        return false;
    if (!pays_when_it_yields(what))
        return a->result == b->result && a->flushes == b->flushes;
    return (a->result || a->flushes) == (b->result || b->flushes) &&
           a->flushes <= 1 + a->yields && b->flushes <= 1 + b->yields;
}

static unsigned seen_by_row[OPERATIONS]; /* yields */

static void lists_amid_a_crowd(const struct machine *m, uint64_t seed)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15ull;
    struct side a, b;

    side_open(&a, m, true);
    side_open(&b, m, false);
    a.on_yield = b.on_yield = books_are_right;
    a.crowd.comes = b.crowd.comes = true;
    for (unsigned step = 0; step < 80; step++) {
        struct step o = next_step(&x, step);
        struct outcome of_a, of_b;
        unsigned by_row;

        if (step % 40 == 39)
            o.what = NEW_ROOT;
        of_a = perform_amid_crowd(&a, &o);
        by_row = midway.yields[o.what];
        of_b = perform_amid_crowd(&b, &o);
        by_row = midway.yields[o.what] - by_row;
        assert_int_equal(by_row, of_b.yields);
        if (leaves_sum(a.vcpu) != leaves_sum(b.vcpu) || !came_to_the_same(o.what, &of_a, &of_b))
            fail_msg("%s, seed %u, step %u, operation %d on %#llx + %llu: by entry %d, %u flushes, %u yields; by row "
                     "%d, %u, %u", m->name, (unsigned)seed, step, o.what, (unsigned long long)o.gfn,
                     (unsigned long long)o.n, of_a.result, (unsigned)of_a.flushes, (unsigned)of_a.yields, of_b.result,
                     (unsigned)of_b.flushes, (unsigned)of_b.yields);
        seen_by_row[o.what] += by_row;
    }
    side_close(&a);
    side_close(&b);
}

/*
 * Have walks by the row, in each operation that must?  What is zapped under an invalid root gives way as well, but that
 * operation takes the lock itself, and nobody can be made to want it just then.
 */
static bool all_gave_way(void)
{
    return seen_by_row[ZAP] && seen_by_row[CLEAR_DIRTY] && seen_by_row[WRPROT];
}

static void yields_leave_the_same(void **state)
{
    (void)state;
    for_each_machine(m) {
        memset(seen_by_row, 0, sizeof(seen_by_row));
        for (uint64_t seed = 1; seed <= rounds(3) || (seed <= 100 && !all_gave_way()); seed++)
            lists_amid_a_crowd(m, seed);
        assert_true(all_gave_way());
    }
}

/* The tables that a walk stood in are gone while it gave way, and what it has still to do is in others. */
static struct {
    uint64_t bit;
    gfn_t from; /* still to do, when it first gave way; 0: not yet */
} moved;

static void move_what_is_left(struct side *s)
{
    const gfn_t end = (BASE & ~511ull) + PAGES;
    gfn_t gfn = BASE & ~511ull;

    if (moved.from)
        return;
    while (gfn < end && !(spte_at(s->vcpu, gfn, 1) & moved.bit))
        gfn++;
    moved.from = gfn;
    write_lock(&s->kvm->mmu_lock);
    if (kvm_tdp_mmu_zap_gfn_range(s->kvm, 0, 4 * GIB_PAGES))
        kvm_flush_remote_tlbs(s->kvm);
    write_unlock(&s->kvm->mmu_lock);
    rcu_barrier();
    for (; gfn < end; gfn++)
        guest_write(s->vcpu, gfn);
}

static int only_4k(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx, (void)kvm, (void)slot, (void)gfn;
    return PG_LEVEL_4K;
}

static kvm_pfn_t pages_of_4k(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                             bool *writable, int *max_level)
{
    (void)ctx, (void)kvm, (void)slot, (void)write;
    *writable = true;
    *max_level = PG_LEVEL_4K;
    return pfn_for(gfn);
}

static void tables_move_at_a_yield(const struct machine *m, bool by_entry)
{
    const gfn_t first = BASE & ~511ull, end = first + PAGES;
    struct side s;

    side_open_with(&s, m, by_entry, (struct tdpmmu_ops){ .mapping_level = only_4k, .gfn_to_pfn = pages_of_4k });
    for (gfn_t gfn = first; gfn < end; gfn++)
        guest_write(s.vcpu, gfn);
    moved.bit = m->dirty ? m->dirty : W_BIT;
    moved.from = 0;
    s.on_yield = move_what_is_left;
    s.crowd.comes = true;
    assert_true(perform(&s, CLEAR_DIRTY, 0, 0, 0));
    assert_true(moved.from > first && moved.from < end);
    for (gfn_t gfn = moved.from; gfn < end; gfn++)
        if (!is_shadow_present_pte(spte_at(s.vcpu, gfn, 1)) || spte_at(s.vcpu, gfn, 1) & moved.bit)
            fail_msg("%s: after a yield at %#llx page %#llx was passed over", m->name,
                     (unsigned long long)moved.from, (unsigned long long)gfn);
    assert_int_equal(stats_of(s.kvm).pages_4k, end - moved.from);
    side_close(&s);
}

static void tables_move_while_others_have_the_lock(void **state)
{
    (void)state;
    for_each_machine(m) {
        tables_move_at_a_yield(m, true);
        tables_move_at_a_yield(m, false);
    }
}

/* All of it by the other twins ---------------------------------------------------- */

#define CHOICE "TDPMMU_ROWS"

static const char *program;

static void in_a_process_of_its_own(const char *twin)
{
    int status = status_of_own_process(program, CHOICE, twin, NULL, NULL);

    if (status)
        fail_msg("%s=%s: status %d", CHOICE, twin, status);
}

static void the_same_by_each_twin(void **state)
{
    const char *mode = getenv("TDPMMU_TEST_MODE");

    (void)state;
    if (getenv(CHOICE)) {
        print_message("this process goes by %s=%s\n", CHOICE, getenv(CHOICE));
        return;
    }
    if (mode && strcmp(mode, "tsan") == 0) {
        print_message("under a thread sanitizer there is only the scalar twin\n");
        return;
    }
    in_a_process_of_its_own("scalar");
    in_a_process_of_its_own("sse2");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lists_leave_the_same),
        cmocka_unit_test(yields_leave_the_same),
        cmocka_unit_test(tables_move_while_others_have_the_lock),
        cmocka_unit_test(beside_threads),
        cmocka_unit_test(tables_go_beside_faults),
        cmocka_unit_test(the_same_by_each_twin),
    };

    (void)argc;
    program = argv[0];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
