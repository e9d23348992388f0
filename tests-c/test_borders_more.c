/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * More borders: which regions are slots, which of them overlap; which gfns an invalidation keeps faults from; host
 * ranges over slots that share the host's pages; the end of the address space; which accesses a fast fault lets
 * through; pages that are another page now, or may not be written.
 */
#include "border_model.h"

static unsigned long cases;

/* ---- regions ------------------------------------------------------------------------------- */

/* What a region may be, in the header's words; by a slot's own numbers, without another slot. */
static int expected_of(const struct kvm_userspace_memory_region *g)
{
    uint64_t id = g->slot & 0xffff, space = g->slot >> 16, end;

    if (id >= KVM_USER_MEM_SLOTS || space > 1 || g->flags & ~3u)
        return -EINVAL;
    if (g->memory_size % 4096 || g->guest_phys_addr % 4096 || g->userspace_addr % 4096)
        return -EINVAL;
    if (g->memory_size == 0) /* nothing to delete */
        return -EINVAL;
    if (__builtin_add_overflow(g->guest_phys_addr, g->memory_size, &end) || end > END_OF_GFNS << 12)
        return -EINVAL;
    if (__builtin_add_overflow(g->userspace_addr, g->memory_size, &end) || end > 1ull << 56)
        return -EINVAL;
    if (g->memory_size >> 12 >= 1ull << 31)
        return -EINVAL;
    return 0;
}

static void regions(void **state)
{
    static const uint32_t slots[] = { 0, KVM_USER_MEM_SLOTS - 1, KVM_USER_MEM_SLOTS, 0xffff, 1u << 16, 1u << 16 | 5, 2u << 16,
                                      0xffff0000, UINT32_MAX };
    static const uint32_t flags[] = { 0, 1, 2, 3, 4, 8, 0x80000000 };
    const uint64_t end = END_OF_GFNS << 12;
    const uint64_t at[] = { 0, 4096, 4095, 1, 2048, end - 4096, end - 8192, end - 8191, end, UINT64_MAX - 4095, UINT64_MAX };
    const uint64_t sizes[] = { 0, 4096, 8192, 4095, 4097, 1, end, end - 4096, end + 4096, UINT64_MAX - 4095,
                               ((1ull << 31) - 1) << 12, 1ull << 43 };
    const uint64_t hosts[] = { 0, 4096, 1, 4095, (1ull << 56) - 4096, (1ull << 56) - 8192, 1ull << 56, UINT64_MAX - 4095 };
    struct rig *r = rig_new(&machines[0], (struct tdpmmu_vm_config){ 0 }, false);

    (void)state;
    cases = 0;
#define COUNT(array) (sizeof(array) / sizeof(array[0]))
    for (unsigned a = 0; a < COUNT(at); a++)
        for (unsigned s = 0; s < COUNT(sizes); s++)
            for (unsigned h = 0; h < COUNT(hosts); h++)
                for (unsigned i = 0; i < COUNT(slots) * COUNT(flags); i++) {
                    struct kvm_userspace_memory_region g = {
                        .slot = slots[i % COUNT(slots)], .flags = flags[i / COUNT(slots)], .guest_phys_addr = at[a],
                        .memory_size = sizes[s], .userspace_addr = hosts[h] };
                    int ret, expected = expected_of(&g);

                    /* Those that are fine in three of the five are of interest; a bitmap of all would be large. */
                    if (i % 4 && (a > 1 || s > 2 || h > 1))
                        continue;
                    if (expected == 0 && g.flags & 1 && g.memory_size > 1 << 20)
                        continue;
                    ret = kvm_set_memory_region(r->kvm, &g);
                    if (ret != expected)
                        fail_msg("slot %x flags %x at 0x%llx size 0x%llx host 0x%llx: %d, not %d", g.slot, g.flags,
                                 (unsigned long long)g.guest_phys_addr, (unsigned long long)g.memory_size,
                                 (unsigned long long)g.userspace_addr, ret, expected);
                    cases++;
                    if (ret)
                        continue;
                    g.memory_size = 0;
                    assert_int_equal(kvm_set_memory_region(r->kvm, &g), 0);
                }
    assert_true(cases > 3000);
    rig_free(r);
}

/* Every stretch that begins and ends at borders of two slots: it overlaps, or it is a slot itself. */
static void overlaps(void **state)
{
    static const gfn_t borders[] = { 50, 98, 99, 100, 101, 150, 198, 199, 200, 201, 202, 299, 300, 301, 349, 350, 351 };
    struct rig *r = rig_new(&machines[0], (struct tdpmmu_vm_config){ 0 }, false);

    (void)state;
    for (int as_id = 0; as_id < 2; as_id++)
        for (unsigned others = 0; others < 130; others += 43) {
            /* More of them, so that they stand in chunks; behind, and a third of them before. */
            for (unsigned n = 0; n < others; n++)
                assert_int_equal(add_slot(r->kvm, (uint32_t)as_id << 16 | (1000 + n), 0, n % 3 ? 1000 + 2 * n : n / 3, 1,
                                          WORLD_HVA), 0);
            assert_int_equal(add_slot(r->kvm, (uint32_t)as_id << 16 | 1, 0, 100, 100, WORLD_HVA), 0);
            assert_int_equal(add_slot(r->kvm, (uint32_t)as_id << 16 | 2, 0, 300, 50, WORLD_HVA), 0);
            for (unsigned i = 0; i < COUNT(borders); i++)
                for (unsigned j = i + 1; j < COUNT(borders); j++) {
                    gfn_t s = borders[i], e = borders[j];
                    bool first = s < 200 && e > 100, second = s < 350 && e > 300;
                    int ret = add_slot(r->kvm, (uint32_t)as_id << 16 | 3, 0, s, e - s, WORLD_HVA + (1 << 30));

                    if (ret != (first || second ? -EEXIST : 0))
                        fail_msg("[%d, %d) is a slot or is not: %d", (int)s, (int)e, ret);
                    if (!ret)
                        assert_int_equal(delete_slot(r->kvm, (uint32_t)as_id << 16 | 3), 0);
                    /* The other space has nothing there. */
                    assert_int_equal(add_slot(r->kvm, (uint32_t)!as_id << 16 | 3, 0, s, e - s, WORLD_HVA), 0);
                    assert_int_equal(delete_slot(r->kvm, (uint32_t)!as_id << 16 | 3), 0);
                    cases++;
                }
            /* The first one moves: over itself it may, over the other not. */
            for (gfn_t to = 195; to < 352; to++) {
                bool hits = to < 350 && to + 100 > 300;
                int ret = add_slot(r->kvm, (uint32_t)as_id << 16 | 1, 0, to, 100, WORLD_HVA);

                if (ret != (hits ? -EEXIST : 0))
                    fail_msg("a move to %d: %d", (int)to, ret);
                if (!ret)
                    assert_int_equal(add_slot(r->kvm, (uint32_t)as_id << 16 | 1, 0, 100, 100, WORLD_HVA), 0);
            }
            /* Which gfn is whose. */
            rcu_read_lock();
            for (gfn_t gfn = 95; gfn < 360; gfn++) {
                const struct kvm_memory_slot *slot = as_id ? NULL : gfn_to_memslot(r->kvm, gfn);
                int expected = gfn >= 100 && gfn < 200 ? 1 : gfn >= 300 && gfn < 350 ? 2 : -1;

                if (as_id)
                    slot = kvm_vcpu_gfn_to_memslot(r->vcpu[1], gfn);
                if ((slot ? slot->id : -1) != expected)
                    fail_msg("gfn %d is of slot %d", (int)gfn, slot ? slot->id : -1);
            }
            rcu_read_unlock();
            for (unsigned n = 0; n < others; n++)
                assert_int_equal(delete_slot(r->kvm, (uint32_t)as_id << 16 | (1000 + n)), 0);
            assert_int_equal(delete_slot(r->kvm, (uint32_t)as_id << 16 | 1), 0);
            assert_int_equal(delete_slot(r->kvm, (uint32_t)as_id << 16 | 2), 0);
        }
    for (int i = 0; i < 2; i++)
        kvm_mmu_unload(r->vcpu[i]);
    rig_free(r);
}

/* ---- host ranges over several slots ------------------------------------------------------------ */

/* Four slots, of which three share pages of the host, in both spaces; each range at each border of each. */
static const struct { int as_id, id; gfn_t base; uint64_t npages, host; } shared[] = {
    { 0, 0, 512, 600, 1000 }, { 0, 1, 4096, 520, 1300 }, { 1, 0, 1024, 512, 1024 }, { 0, 2, 9000, 100, 1600 },
};

static void in_each_slot(struct rig *r, uint64_t first, uint64_t last, void (*body)(struct rig *, int, gfn_t, gfn_t))
{
    for (int i = 0; i < MODEL_SLOTS; i++) {
        const struct model_slot *s = &r->slot[i];
        gfn_t from = s->base, to = s->base;

        /* Page by page. */
        for (uint64_t n = 0; n < s->npages; n++)
            if (s->hva + (n << 12) < last && s->hva + ((n + 1) << 12) > first) {
                if (to == s->base)
                    from = s->base + n;
                to = s->base + n + 1;
            }
        if (from < to)
            body(r, s->as_id, from, to);
    }
}

static void zap_there(struct rig *r, int as_id, gfn_t from, gfn_t to) { model_zap(r, as_id, from, to); }

static unsigned young_there;

static void age_there(struct rig *r, int as_id, gfn_t from, gfn_t to)
{
    young_there += model_change(r, as_id, from, to, 1, false, clear_a);
}

static void host_ranges(void **state)
{
    (void)state;
    cases = 0;
    for_each_machine(m) {
        struct rig *r = rig_new(m, (struct tdpmmu_vm_config){ 0 }, m == machines + 3);
        uint64_t borders[40];
        unsigned count = 0, turn = 0, every = mode_is("plain") || !getenv("TDPMMU_TEST_MODE") ? 1 : 17;

        for (int i = 0; i < 4; i++) {
            assert_int_equal(rig_slot(r, shared[i].as_id, shared[i].id, 0, shared[i].base, shared[i].npages,
                                      WORLD_HVA + (shared[i].host << 12)), 0);
            for (int d = -1; d <= 1; d++) {
                borders[count++] = WORLD_HVA + ((shared[i].host + (uint64_t)(int64_t)d) << 12);
                borders[count++] = WORLD_HVA + ((shared[i].host + shared[i].npages + (uint64_t)(int64_t)d) << 12);
            }
            borders[count++] = WORLD_HVA + ((shared[i].host + shared[i].npages / 2) << 12);
        }
        for (unsigned i = 0; i < count; i++)
            for (unsigned j = 0; j < count; j++) {
                uint64_t first = borders[i] + (i % 3 == 2 ? 4095 : 0), last = borders[j] + (j % 3 == 1 ? 1 : 0);
                bool flush;

                if (first >= last || turn++ % every)
                    continue;
                zap_everything(r);
                for (int n = 0; n < 4; n++)
                    for (uint64_t p = 0; p < shared[n].npages; p += p < 3 ? 1 : p + 40 > shared[n].npages ? 13 : 37)
                        if (!leaf_at(&r->space[shared[n].as_id], shared[n].base + p))
                            map_one(r, shared[n].as_id, shared[n].base + p, PFERR_WRITE_MASK, p % 5 ? 1 : 2);
                for (int n = 0; n < 4; n++)
                    if (!leaf_at(&r->space[shared[n].as_id], shared[n].base + shared[n].npages - 1))
                        map_one(r, shared[n].as_id, shared[n].base + shared[n].npages - 1, PFERR_WRITE_MASK, 1);
                begin(r, "clear_young over slots", first, last, 0);
                young_there = 0;
                in_each_slot(r, first, last, age_there);
                if (kvm_mmu_notifier_clear_young(r->kvm, first, last) != (young_there > 0))
                    complain(r, "clear_young is wrong", young_there);
                compare(r);
                begin(r, "invalidate over slots", first, last, 0);
                in_each_slot(r, first, last, zap_there);
                if (j % 2) {
                    kvm_mmu_notifier_invalidate_range_start(r->kvm, first, last, i % 2);
                    compare(r);
                    check_flushes(r, false);
                    kvm_mmu_notifier_invalidate_range_end(r->kvm, first, last);
                } else {
                    write_lock(&r->kvm->mmu_lock);
                    flush = kvm_tdp_mmu_zap_hva_range(r->kvm, first, last);
                    write_unlock(&r->kvm->mmu_lock);
                    compare(r);
                    check_flushes(r, flush);
                    if (flush != (r->losses > 0))
                        complain(r, "zap_hva_range returns something else", r->losses);
                }
                cases++;
            }
        rig_free(r);
    }
    assert_true(cases > 50);
}

/* ---- invalidations and faults beside them ---------------------------------------------------------- */

static int fault_now(struct rig *r, gfn_t gfn)
{
    return kvm_tdp_mmu_page_fault(r->vcpu[0], gfn << 12, PFERR_WRITE_MASK);
}

static void invalidation_windows(void **state)
{
    static const gfn_t borders[] = { 512, 513, 700, 1023, 1024, 1025, 1100, 1536 };
    static const gfn_t gfns[] = { 511, 512, 513, 699, 700, 701, 1022, 1023, 1024, 1025, 1026, 1099, 1100, 1101, 1535, 1536, 1537 };

    (void)state;
    for_each_machine(m) {
        struct rig *r = rig_new(m, (struct tdpmmu_vm_config){ .invalidate_seq = UINT64_MAX - 20 }, false);

        r->host_level = 1;
        assert_int_equal(add_slot(r->kvm, 0, 0, 0, 4096, WORLD_HVA), 0);
        for (unsigned i = 0; i < COUNT(borders); i++)
            for (unsigned j = i + 1; j < COUNT(borders); j++)
                for (unsigned k = 0; k < COUNT(borders); k += 3) {
                    /* One, and perhaps a second one: then all between is kept, too. */
                    gfn_t s = borders[i], e = borders[j], s2 = borders[k], e2 = borders[k] + 1;
                    bool two = (i + j) % 2;
                    gfn_t from = two && s2 < s ? s2 : s, to = two && e2 > e ? e2 : e;

                    zap_everything(r);
                    kvm_mmu_notifier_invalidate_range_start(r->kvm, WORLD_HVA + (s << 12), WORLD_HVA + (e << 12), true);
                    if (two)
                        kvm_mmu_notifier_invalidate_range_start(r->kvm, WORLD_HVA + (s2 << 12), WORLD_HVA + (e2 << 12), true);
                    for (unsigned g = 0; g < COUNT(gfns); g++) {
                        bool kept = gfns[g] >= from && gfns[g] < to;
                        int ret = fault_now(r, gfns[g]);

                        if ((ret == RET_PF_RETRY) != kept || (ret != RET_PF_RETRY && ret != RET_PF_FIXED && ret != RET_PF_SPURIOUS))
                            fail_msg("%s: [%d, %d)%s [%d, %d): a fault at %d is %d", m->name, (int)s, (int)e, two ? " and" : ", not",
                                     (int)s2, (int)e2, (int)gfns[g], ret);
                        if (kept && mapped(r->vcpu[0], gfns[g]))
                            fail_msg("mapped, and going away");
                    }
                    kvm_mmu_notifier_invalidate_range_end(r->kvm, WORLD_HVA + (s << 12), WORLD_HVA + (e << 12));
                    if (two) {
                        assert_int_equal(fault_now(r, s2), RET_PF_RETRY);
                        kvm_mmu_notifier_invalidate_range_end(r->kvm, WORLD_HVA + (s2 << 12), WORLD_HVA + (e2 << 12));
                    }
                    for (unsigned g = 0; g < COUNT(gfns); g++)
                        assert_int_not_equal(fault_now(r, gfns[g]), RET_PF_RETRY);
                }
        rig_free(r);
    }
}

/* ---- the end of the address space ------------------------------------------------------------------- */

static void end_of_addresses(void **state)
{
    static const uint64_t sizes[] = { 1, 511, 512, 513, 1024 };

    (void)state;
    for_each_machine(m)
        for (unsigned s = 0; s < COUNT(sizes); s++) {
            gfn_t base = END_OF_GFNS - sizes[s];
            const gfn_t starts[] = { 0, base - 1, base, END_OF_GFNS - 1, END_OF_GFNS - 512, END_OF_GFNS - 513 };
            const gfn_t ends[] = { 0, 1, base, base + 1, END_OF_GFNS - 1, END_OF_GFNS, END_OF_GFNS + 1, UINT64_MAX };
            struct rig *r = rig_new(m, (struct tdpmmu_vm_config){ 0 }, s & 1);

            assert_int_equal(rig_slot(r, 0, 0, 0, base, sizes[s], WORLD_HVA + (base << 12) % (1ull << 40)), 0);
            assert_int_equal(rig_slot(r, 0, 1, 0, 0, 1, WORLD_HVA), 0);
            assert_int_equal(rig_slot(r, 1, 0, 0, base, sizes[s], WORLD_HVA + (base << 12) % (1ull << 40)), 0);
            for (unsigned i = 0; i < COUNT(starts) * COUNT(ends) * 5; i++) {
                gfn_t start = starts[i % COUNT(starts)], end = ends[i / COUNT(starts) % COUNT(ends)];
                gfn_t last = end > END_OF_GFNS ? END_OF_GFNS : end;
                bool flush = false;

                if (start > end)
                    continue;
                zap_everything(r);
                for (int as_id = 0; as_id < 2; as_id++) {
                    map_one(r, as_id, END_OF_GFNS - 1, PFERR_WRITE_MASK, 3);
                    map_one(r, as_id, base, PFERR_WRITE_MASK, 1);
                }
                map_one(r, 0, 0, PFERR_WRITE_MASK, 3);
                begin(r, "at the end of all addresses", start, end, i / (COUNT(starts) * COUNT(ends)));
                write_lock(&r->kvm->mmu_lock);
                switch (i / (COUNT(starts) * COUNT(ends))) {
                case 0: flush = zap_gfn_range(r->kvm, tdpmmu_vcpu_root(r->vcpu[0]), start, end, false); break;
                case 1: flush = kvm_tdp_mmu_zap_gfn_range(r->kvm, start, end); break;
                case 2: flush = kvm_tdp_mmu_zap_leafs(r->kvm, start, end, false); break;
                case 3:
                    assert_int_equal(kvm_tdp_mmu_try_split_huge_pages(r->kvm, rig_slot_of(r, 0, 0), start, end, 1, false), 0);
                    break;
                case 4: kvm_tdp_mmu_zap_all(r->kvm); break;
                }
                write_unlock(&r->kvm->mmu_lock);
                r->moves_tables = true;
                switch (i / (COUNT(starts) * COUNT(ends))) {
                case 0: model_zap(r, 0, start, last); break;
                case 1:
                case 2:
                    model_zap(r, 0, start, last);
                    model_zap(r, 1, start, last);
                    break;
                case 3: model_split(r, 0, start, last, 1); break;
                case 4:
                    model_zap(r, 0, 0, END_OF_GFNS);
                    model_zap(r, 1, 0, END_OF_GFNS);
                    break;
                }
                finish(r, flush);
            }
            /* Beyond it there is nothing: no fault, no slot. */
            assert_int_equal(kvm_tdp_mmu_page_fault(r->vcpu[0], END_OF_GFNS << 12, PFERR_WRITE_MASK), RET_PF_EMULATE);
            assert_int_equal(kvm_tdp_mmu_page_fault(r->vcpu[0], UINT64_MAX, PFERR_WRITE_MASK), RET_PF_EMULATE);
            assert_int_equal(rig_slot(r, 0, 3, 0, END_OF_GFNS, 1, WORLD_HVA), -EINVAL);
            assert_int_equal(rig_slot(r, 0, 3, 0, END_OF_GFNS - 1, 2, WORLD_HVA), sizes[s] ? -EEXIST : -EINVAL);
            rig_free(r);
        }
}

/* ---- accesses ------------------------------------------------------------------------------------------ */

enum { MAPPED, NOT_WRITABLE, PROTECTED, PROTECTED_FOR_GOOD, AGED, AGED_AND_PROTECTED, NOTHING, STATES };

static void put_in_state(struct rig *r, gfn_t gfn, int state, int level)
{
    struct kvm_gfn_range range = { .slot = rig_slot_of(r, 0, 0), .start = gfn, .end = gfn + 1 };

    if (state == NOTHING)
        return;
    r->host_writable = state != NOT_WRITABLE;
    map_one(r, 0, gfn, PFERR_WRITE_MASK, level);
    r->host_writable = true;
    if (state == PROTECTED || state == AGED_AND_PROTECTED) {
        read_lock(&r->kvm->mmu_lock);
        kvm_tdp_mmu_wrprot_slot(r->kvm, range.slot, 1);
        read_unlock(&r->kvm->mmu_lock);
        clear_w(r, leaf_at(&r->space[0], gfn));
    }
    if (state == PROTECTED_FOR_GOOD) {
        write_lock(&r->kvm->mmu_lock);
        kvm_tdp_mmu_write_protect_gfn(r->kvm, range.slot, gfn, 1);
        write_unlock(&r->kvm->mmu_lock);
        clear_w_for_good(r, leaf_at(&r->space[0], gfn));
    }
    if (state == AGED || state == AGED_AND_PROTECTED) {
        kvm_tdp_mmu_age_gfn_range(r->kvm, &range);
        clear_a(r, leaf_at(&r->space[0], gfn));
    }
}

/* Each state of a page, each access, with each error code: what the fast fault says, and what is there then. */
static void fast_faults(void **state)
{
    static const uint64_t accesses[] = { 0, PFERR_WRITE_MASK, PFERR_FETCH_MASK };
    static const uint64_t more[] = { 0, PFERR_PRESENT_MASK, PFERR_RSVD_MASK | PFERR_PRESENT_MASK, PFERR_USER_MASK };

    (void)state;
    for_each_machine(m)
        for (unsigned variant = 0; variant < 4; variant++) {
            bool logged = variant & 1, nx = variant & 2;
            struct rig *r = rig_new(m, (struct tdpmmu_vm_config){ .nx_huge_pages = nx,
                                        .dirty_log = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE }, false);

            assert_int_equal(rig_slot(r, 0, 0, logged ? KVM_MEM_LOG_DIRTY_PAGES : 0, 512, 1024, WORLD_HVA + (512 << 12)), 0);
            for (unsigned i = 0; i < STATES * 3 * 4 * 2; i++) {
                int st = (int)(i % STATES), level = i / STATES / 12 ? 2 : 1;
                uint64_t access = accesses[i / STATES % 3], error = access | more[i / STATES / 3 % 4];
                gfn_t gfn = 600 + i % 7;
                struct leaf *l;
                bool present = error & PFERR_PRESENT_MASK, readable, allowed;
                int ret, expected = RET_PF_INVALID;

                zap_everything(r);
                put_in_state(r, gfn, st, level);
                begin(r, "fast fault", gfn, (gfn_t)st, error);
                l = leaf_at(&r->space[0], gfn);
                readable = l && (has_accessed(r) || l->a);
                allowed = readable && (access == PFERR_WRITE_MASK ? l->w : access == PFERR_FETCH_MASK ? l->x : true);
                /* Of a present entry only writes are for it; of an absent one, only where rights are taken to see use. */
                if (l && !(error & PFERR_RSVD_MASK) && (present ? access == PFERR_WRITE_MASK : !has_accessed(r))) {
                    bool gives_w = access == PFERR_WRITE_MASK && l->mmu_w && !(logged && l->level > 1);

                    if (allowed)
                        expected = RET_PF_SPURIOUS;
                    else if (access == PFERR_WRITE_MASK ? gives_w : access == PFERR_FETCH_MASK ? !readable && l->x : !readable)
                        expected = RET_PF_FIXED;
                    if (expected == RET_PF_FIXED) {
                        if (!has_accessed(r))
                            l->a = true;
                        if (gives_w) {
                            l->w = true;
                            if (logged)
                                model_mark(&r->slot[0], gfn);
                        }
                    }
                }
                ret = tdpmmu_fast_page_fault(r->vcpu[0], gfn << 12, error);
                if (ret != expected) {
                    print_error("state %d level %d logged %d: %d, not %d\n", st, level, logged, ret, expected);
                    complain(r, "the fast fault says something else", gfn);
                }
                finish(r, false);
                compare_logs(r);
            }
            rig_free(r);
        }
}

/* A page that is another page of the host's now: never from one to the other in one step. */
static void other_pages(void **state)
{
    (void)state;
    for_each_machine(m)
        for (unsigned i = 0; i < 3 * 3 * 2; i++) {
            int before = 1 + (int)(i % 3), after = 1 + (int)(i / 3 % 3);
            bool writable_then = i / 9;
            struct rig *r = rig_new(m, (struct tdpmmu_vm_config){ 0 }, false);
            gfn_t gfn = GIB_PAGES + 777;
            struct leaf *l, old;
            kvm_pfn_t pfn = 4 * GIB_PAGES + 777;
            int ret;

            assert_int_equal(rig_slot(r, 0, 0, 0, GIB_PAGES, 2 * GIB_PAGES, WORLD_HVA), 0);
            map_one(r, 0, gfn, PFERR_WRITE_MASK, before);
            begin(r, "another page", gfn, (gfn_t)before, (uint64_t)after);
            read_lock(&r->kvm->mmu_lock);
            ret = kvm_tdp_mmu_map(r->vcpu[0], gfn << 12, PFERR_WRITE_MASK, writable_then, after, pfn, false);
            read_unlock(&r->kvm->mmu_lock);
            assert_int_equal(ret, RET_PF_FIXED);
            while ((l = leaf_at(&r->space[0], gfn)) && l->level > after)
                model_split_leaf(r, &r->space[0], (unsigned)(l - r->space[0].leaves));
            old = *l;
            lose_leaf(r, &old);
            model_zap(r, 0, gfn & ~(pages_of(after) - 1), (gfn & ~(pages_of(after) - 1)) + pages_of(after));
            make_room(&r->space[0], find_leaf(&r->space[0], gfn), 1);
            r->space[0].leaves[find_leaf(&r->space[0], gfn)] = (struct leaf){ 0 };
            for (unsigned n = 0; n < r->space[0].count; n++)
                if (r->space[0].leaves[n].level == 0)
                    r->space[0].leaves[n] = (struct leaf){
                        .gfn = gfn & ~(pages_of(after) - 1), .pfn = pfn & ~(pages_of(after) - 1), .level = after, .w = writable_then,
                        .mmu_w = writable_then, .host_w = writable_then, .a = true, .d = writable_then && has_dirty(r), .x = true };
            r->moves_tables = true;
            finish(r, false);
            rig_free(r);
        }
}

/* What may not be written: by the slot, by the host. */
static void read_only(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct rig *r = rig_new(m, (struct tdpmmu_vm_config){ 0 }, false);

        assert_int_equal(rig_slot(r, 0, 0, KVM_MEM_READONLY, 512, 513, WORLD_HVA + (512 << 12)), 0);
        assert_int_equal(rig_slot(r, 0, 1, 0, 512 + 513, 512, WORLD_HVA + (5 << 20)), 0);
        for (int level = 1; level <= 3; level++)
            for (gfn_t gfn = 512 + 510; gfn < 512 + 516; gfn++) {
                struct model_slot *slot = model_slot_at(r, 0, gfn);
                int ret;

                zap_everything(r);
                begin(r, "read-only slot", gfn, gfn, (uint64_t)level);
                read_lock(&r->kvm->mmu_lock);
                ret = kvm_tdp_mmu_map(r->vcpu[0], gfn << 12, PFERR_WRITE_MASK, true, level, model_pfn(slot, gfn), false);
                read_unlock(&r->kvm->mmu_lock);
                if (slot->flags) {
                    assert_int_equal(ret, RET_PF_EMULATE);
                    compare(r); /* nothing is there */
                    assert_int_equal(kvm_tdp_mmu_page_fault(r->vcpu[0], gfn << 12, PFERR_WRITE_MASK), RET_PF_EMULATE);
                    map_one(r, 0, gfn, 0, level); /* to be read */
                } else {
                    model_map(r, 0, gfn, false, true, level);
                }
                compare(r);
                assert_int_equal(leaf_at(&r->space[0], gfn)->w, !slot->flags);
            }
        assert_int_equal(rig_slot(r, 0, 0, 0, 512, 513, WORLD_HVA + (512 << 12)), -EINVAL);
        assert_int_equal(rig_slot(r, 0, 1, KVM_MEM_READONLY, 512 + 513, 512, WORLD_HVA + (5 << 20)), -EINVAL);
        rig_free(r);
    }
}

/* Of so many tables that stand for huge pages, one in so many goes, the oldest first. */
static void nx_steps(void **state)
{
    (void)state;
    for (unsigned count = 0; count < 8; count++)
        for (unsigned ratio = 1; ratio < 10; ratio++) {
            struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .nx_huge_pages = 1 });
            unsigned left = count, first = 0;

            for (unsigned n = 0; n < count; n++)
                assert_int_equal(fault_on(w, w->vcpu, 512 * (n * 5 % 8), PFERR_FETCH_MASK, true, 2, pfn_for(512 * (n * 5 % 8)), false),
                                 RET_PF_FIXED);
            assert_int_equal(stats_of(w->kvm).nx_splits, count);
            while (left) {
                unsigned go = (left + ratio - 1) / ratio;

                world_forget(w);
                assert_int_equal(tdpmmu_nx_recover(w->kvm, ratio), go);
                assert_int_equal(atomic_load(&w->flush_count), 1);
                for (unsigned n = 0; n < count; n++)
                    assert_int_equal(mapped(w->vcpu, 512 * (n * 5 % 8)), n >= first + go);
                first += go;
                left -= go;
                assert_int_equal(stats_of(w->kvm).nx_splits, left);
            }
            assert_int_equal(tdpmmu_nx_recover(w->kvm, ratio), 0);
            world_free(w);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regions),
        cmocka_unit_test(overlaps),
        cmocka_unit_test(host_ranges),
        cmocka_unit_test(invalidation_windows),
        cmocka_unit_test(end_of_addresses),
        cmocka_unit_test(fast_faults),
        cmocka_unit_test(other_pages),
        cmocka_unit_test(read_only),
        cmocka_unit_test(nx_steps),
    };

    return cmocka_run_group_tests_name("borders_more", tests, NULL, NULL);
}
