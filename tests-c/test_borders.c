/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Borders: every operation on ranges that begin and end at, before and behind each border there is: of slots, of huge
 * pages, of tables, of the address space.  The cases are made by loops; what must come of them says border_model.h.
 */
#include "border_model.h"

#include <time.h>

static unsigned long cases;

/* ---- layouts -------------------------------------------------------------------------- */

/* Slot 0 of the normal space, a neighbour that begins where it ends, and a slot of SMM over both. */
struct layout {
    uint64_t npages;
    gfn_t base;
    uint64_t host_shift; /* pages by which the host's addresses are off */
};

#define BASE 4096ull
#define NEIGHBOUR_PAGES 70u

static void lay_out(struct rig *r, const struct layout *l, uint32_t flags)
{
    uint64_t hva = WORLD_HVA + ((l->base + l->host_shift) << 12);

    assert_int_equal(rig_slot(r, r->as, 0, flags, l->base, l->npages, hva), 0);
    assert_int_equal(rig_slot(r, r->as, 1, flags, l->base + l->npages, NEIGHBOUR_PAGES, hva + (l->npages << 12)), 0);
    assert_int_equal(rig_slot(r, !r->as, 0, flags, l->base - 512, l->npages + 1024, WORLD_HVA + (l->base << 12) + (1ull << 41)), 0);
}

/* ---- the borders of a layout ------------------------------------------------------------ */

struct borders {
    gfn_t at[64];
    unsigned count;
};

static void add_border(struct borders *b, gfn_t gfn)
{
    unsigned i = b->count;

    for (unsigned n = 0; n < b->count; n++)
        if (b->at[n] == gfn)
            return;
    assert_true(b->count < 64);
    while (i > 0 && b->at[i - 1] > gfn) {
        b->at[i] = b->at[i - 1];
        i--;
    }
    b->at[i] = gfn;
    b->count++;
}

static struct borders borders_of(const struct layout *l, bool outside)
{
    struct borders b = { .count = 0 };
    gfn_t end = l->base + l->npages;

    for (int d = -1; d <= 1; d++) {
        if (outside || d >= 0)
            add_border(&b, l->base + (gfn_t)d);
        if (outside || d <= 0)
            add_border(&b, end + (gfn_t)d);
        for (gfn_t gfn = (l->base | 511) + 1; gfn < end; gfn += 512)
            if ((outside || (gfn + (gfn_t)d >= l->base && gfn + (gfn_t)d <= end)))
                add_border(&b, gfn + (gfn_t)d);
    }
    add_border(&b, l->base + l->npages / 2);
    if (outside)
        add_border(&b, end + NEIGHBOUR_PAGES);
    return b;
}

/* Pages at all of these, in 4K, as huge as may be, or mixed. */
static void map_borders(struct rig *r, const struct layout *l, unsigned style)
{
    struct borders b = borders_of(l, true);

    zap_everything(r);
    for (unsigned i = 0; i < b.count; i++) {
        int level = style == 0 ? 1 : style == 1 ? 3 : i % 3 == 0 ? 1 : 3;
        uint64_t access = i % 4 == 3 ? 0 : PFERR_WRITE_MASK;

        r->host_writable = i % 5 != 4;
        for (int as_id = 0; as_id < 2; as_id++)
            if (model_slot_at(r, as_id, b.at[i]))
                map_one(r, as_id, b.at[i], access, level);
    }
    r->host_writable = true;
}

/* ---- operations ---------------------------------------------------------------------------- */

struct operation {
    const char *name;
    void (*run)(struct rig *r, gfn_t start, gfn_t end);
    bool in_slot; /* the range must be the slot's */
    bool empty;   /* may be empty */
};

static struct kvm_gfn_range range_in_slot(struct rig *r, gfn_t start, gfn_t end)
{
    return (struct kvm_gfn_range){ .slot = rig_slot_of(r, r->as, 0), .start = start, .end = end, .may_block = true };
}

/* Exactly the tables inside of the range are gone. */
static void finish_zap(struct rig *r, int as_id, gfn_t start, gfn_t end, unsigned were_inside, bool flush)
{
    r->moves_tables = true;
    finish(r, flush);
    if (tables_in(r, as_id, start, end))
        complain(r, "a table in the range is left", tables_in(r, as_id, start, end));
    if (tables_in(r, -1, 0, UINT64_MAX) != r->tables - were_inside)
        complain(r, "another number of tables has gone", were_inside);
}

static void zap_root_range(struct rig *r, gfn_t start, gfn_t end)
{
    unsigned inside = tables_in(r, r->as, start, end);
    bool flush;

    write_lock(&r->kvm->mmu_lock);
    flush = zap_gfn_range(r->kvm, tdpmmu_vcpu_root(r->vcpu[r->as]), start, end, true);
    write_unlock(&r->kvm->mmu_lock);
    model_zap(r, r->as, start, end);
    finish_zap(r, r->as, start, end, inside, flush);
}

static void zap_both(struct rig *r, gfn_t start, gfn_t end)
{
    unsigned inside = tables_in(r, -1, start, end);
    bool flush;

    write_lock(&r->kvm->mmu_lock);
    flush = kvm_tdp_mmu_zap_gfn_range(r->kvm, start, end);
    write_unlock(&r->kvm->mmu_lock);
    model_zap(r, 0, start, end);
    model_zap(r, 1, start, end);
    finish_zap(r, -1, start, end, inside, flush);
}

static void zap_leafs(struct rig *r, gfn_t start, gfn_t end)
{
    bool flush;

    write_lock(&r->kvm->mmu_lock);
    flush = kvm_tdp_mmu_zap_leafs(r->kvm, start, end, false);
    write_unlock(&r->kvm->mmu_lock);
    model_zap(r, 0, start, end);
    model_zap(r, 1, start, end);
    finish(r, flush);
    if (flush != (r->losses > 0))
        complain(r, "returns whether something was zapped", 0);
}

static void unmap(struct rig *r, gfn_t start, gfn_t end)
{
    struct kvm_gfn_range range = range_in_slot(r, start, end);
    bool flush;

    write_lock(&r->kvm->mmu_lock);
    flush = kvm_tdp_mmu_unmap_gfn_range(r->kvm, &range, false);
    write_unlock(&r->kvm->mmu_lock);
    model_zap(r, r->as, start, end);
    finish(r, flush);
    if (flush != (r->losses > 0))
        complain(r, "returns whether something was zapped", 0);
}

static void age(struct rig *r, gfn_t start, gfn_t end)
{
    struct kvm_gfn_range range = range_in_slot(r, start, end);
    unsigned young = 0;
    bool was;

    for (unsigned i = 0; i < r->space[r->as].count; i++)
        young += touches(&r->space[r->as].leaves[i], start, end) && r->space[r->as].leaves[i].a;
    was = kvm_tdp_mmu_test_age_gfn(r->kvm, &range);
    if (was != (young > 0))
        complain(r, "test_age is wrong", 0);
    was = kvm_tdp_mmu_age_gfn_range(r->kvm, &range);
    if (was != (young > 0))
        complain(r, "age is wrong", 0);
    if (model_change(r, r->as, start, end, 1, false, clear_a) != young)
        complain(r, "the model is wrong", 0);
    if (kvm_tdp_mmu_test_age_gfn(r->kvm, &range))
        complain(r, "young, and aged just now", 0);
    finish(r, false);
}

static void split(struct rig *r, gfn_t start, gfn_t end, int target, bool shared)
{
    int ret;

    if (shared)
        read_lock(&r->kvm->mmu_lock);
    else
        write_lock(&r->kvm->mmu_lock);
    ret = kvm_tdp_mmu_try_split_huge_pages(r->kvm, rig_slot_of(r, r->as, 0), start, end, target, shared);
    if (shared)
        read_unlock(&r->kvm->mmu_lock);
    else
        write_unlock(&r->kvm->mmu_lock);
    assert_int_equal(ret, 0);
    model_split(r, r->as, start, end, target);
    r->moves_tables = true;
    finish(r, false);
}

static void split_shared(struct rig *r, gfn_t start, gfn_t end) { split(r, start, end, 1, true); }
static void split_alone(struct rig *r, gfn_t start, gfn_t end) { split(r, start, end, 1, false); }
static void split_to_2m(struct rig *r, gfn_t start, gfn_t end) { split(r, start, end, 2, true); }

/* The host's addresses of the pages [start, end), and how much of the first and the last page. */
static uint64_t host_of(struct rig *r, gfn_t gfn)
{
    return r->slot[0].hva + ((gfn - r->slot[0].base) << 12);
}

/* Pages of the two slots of space 0, which are neighbours in the host's memory, too. */
static void invalidate_host(struct rig *r, gfn_t start, gfn_t end, uint64_t cut_front, uint64_t add_behind, bool may_block)
{
    uint64_t first = host_of(r, start) + cut_front, last = host_of(r, end) + add_behind;

    kvm_mmu_notifier_invalidate_range_start(r->kvm, first, last, may_block);
    /* Pages that are touched, and of a slot. */
    end += add_behind ? 1 : 0;
    if (start < r->slot[0].base)
        start = r->slot[0].base;
    if (end > r->slot[1].base + r->slot[1].npages)
        end = r->slot[1].base + r->slot[1].npages;
    if (start < end)
        model_zap(r, r->as, start, end);
    finish(r, false);
    if (r->losses == 0 && r->flushes)
        complain(r, "a flush, and nothing was zapped", 0);
    kvm_mmu_notifier_invalidate_range_end(r->kvm, first, last);
}

static void invalidate_exact(struct rig *r, gfn_t start, gfn_t end) { invalidate_host(r, start, end, 0, 0, true); }
static void invalidate_some_bytes(struct rig *r, gfn_t start, gfn_t end) { invalidate_host(r, start, end, 4095, 1, false); }

static void zap_host(struct rig *r, gfn_t start, gfn_t end)
{
    bool flush;

    write_lock(&r->kvm->mmu_lock);
    flush = kvm_tdp_mmu_zap_hva_range(r->kvm, host_of(r, start), host_of(r, end));
    write_unlock(&r->kvm->mmu_lock);
    if (start < r->slot[0].base)
        start = r->slot[0].base;
    if (end > r->slot[1].base + r->slot[1].npages)
        end = r->slot[1].base + r->slot[1].npages;
    if (start < end)
        model_zap(r, r->as, start, end);
    finish(r, flush);
}

static void age_host(struct rig *r, gfn_t start, gfn_t end)
{
    gfn_t from = start < r->slot[0].base ? r->slot[0].base : start;
    gfn_t to = end > r->slot[1].base + r->slot[1].npages ? r->slot[1].base + r->slot[1].npages : end;
    bool was = kvm_mmu_notifier_clear_flush_young(r->kvm, host_of(r, start), host_of(r, end));
    unsigned young = from < to ? model_change(r, r->as, from, to, 1, false, clear_a) : 0;

    if (was != (young > 0))
        complain(r, "clear_flush_young is wrong", 0);
    if ((r->flushes > 0) != was)
        complain(r, "it flushes if one was young", 0);
    for (gfn_t gfn = from; gfn < to && gfn < from + 3; gfn++) {
        struct leaf *l = leaf_at(&r->space[r->as], gfn);

        if (kvm_mmu_notifier_test_young(r->kvm, host_of(r, gfn) + 4095) != (l && l->a))
            complain(r, "test_young is wrong", gfn);
    }
    finish(r, false);
}

static void set_page(struct rig *r, gfn_t start, gfn_t end)
{
    kvm_pfn_t pfn = 0x123456;
    struct leaf *l = leaf_at(&r->space[r->as], start), old;
    bool changed, writable = end & 1;

    write_lock(&r->kvm->mmu_lock);
    changed = kvm_tdp_mmu_set_spte_hva(r->kvm, host_of(r, start), pfn, writable);
    write_unlock(&r->kvm->mmu_lock);
    if (changed != (l != NULL))
        complain(r, "set_spte is wrong", start);
    if (l) {
        old = *l;
        lose_leaf(r, l);
        if (old.level > 1 || writable) { /* a fault will map it */
            unsigned i = (unsigned)(l - r->space[r->as].leaves);

            remove_leaves(&r->space[r->as], i, i + 1);
        } else {
            l->pfn = pfn;
            l->w = l->mmu_w = l->host_w = l->a = false;
        }
    }
    finish(r, false);
}

static void write_protect_one(struct rig *r, gfn_t start, gfn_t end)
{
    int min_level = 1 + (int)(end % 3);
    bool flush;
    unsigned changed;

    write_lock(&r->kvm->mmu_lock);
    flush = kvm_tdp_mmu_write_protect_gfn(r->kvm, rig_slot_of(r, r->as, 0), start, min_level);
    write_unlock(&r->kvm->mmu_lock);
    changed = model_change(r, r->as, start, start + 1, min_level, true, clear_w_for_good);
    finish(r, flush);
    if (flush != (changed > 0))
        complain(r, "write_protect_gfn returns something else", changed);
}

static uint64_t masked_gfns; /* of the operation that runs */
static gfn_t masked_from;

static bool is_masked(const struct leaf *l)
{
    return l->level == 1 && l->gfn >= masked_from && l->gfn - masked_from < 64 && masked_gfns >> (l->gfn - masked_from) & 1;
}

static bool clear_masked_w(struct rig *r, struct leaf *l) { return is_masked(l) && clear_w(r, l); }
static bool clear_masked_d(struct rig *r, struct leaf *l) { return is_masked(l) && clear_d(r, l); }

static void clear_masked(struct rig *r, gfn_t gfn, uint64_t mask, bool wrprot)
{
    const struct model_slot *s = &r->slot[0];
    uint64_t left = s->base + s->npages - gfn;

    write_lock(&r->kvm->mmu_lock);
    kvm_tdp_mmu_clear_dirty_pt_masked(r->kvm, rig_slot_of(r, r->as, 0), gfn, mask, wrprot);
    write_unlock(&r->kvm->mmu_lock);
    masked_from = gfn;
    masked_gfns = left >= 64 ? mask : mask & ((1ull << left) - 1); /* the neighbour's are not meant */
    model_change(r, r->as, gfn, gfn + 64, 1, true, wrprot ? clear_masked_w : clear_masked_d);
    finish(r, r->losses > 0); /* the caller flushes */
}

static void clear_all_64(struct rig *r, gfn_t start, gfn_t end) { (void)end; clear_masked(r, start, ~0ull, true); }
static void clear_dirty_64(struct rig *r, gfn_t start, gfn_t end) { (void)end; clear_masked(r, start, ~0ull, false); }
static void clear_up_to(struct rig *r, gfn_t start, gfn_t end)
{
    clear_masked(r, start, end > start && end - start < 64 ? (1ull << (end - start)) - 1 : 1, end & 1);
}
static void clear_the_last(struct rig *r, gfn_t start, gfn_t end)
{
    clear_masked(r, start, 1ull << ((end - start) & 63), true);
}
static void clear_two(struct rig *r, gfn_t start, gfn_t end)
{
    clear_masked(r, start, 1 | 1ull << ((end - start) & 63) | 1ull << 63, false);
}

static void prefault(struct rig *r, gfn_t start, gfn_t end)
{
    struct kvm_pre_fault_memory range = { .gpa = start << 12, .size = (end - start) << 12 };
    gfn_t gfn = start, stop = r->slot[1].base + r->slot[1].npages;
    int ret = kvm_vcpu_pre_fault_memory(r->vcpu[r->as], &range);

    if (end < stop)
        stop = end;
    while (gfn < stop && model_slot_at(r, r->as, gfn)) {
        struct leaf *old = leaf_at(&r->space[r->as], gfn);

        if (!has_accessed(r) && old) {
            /* A fault finds the page readable, or makes it so: nothing else comes of it. */
            old->a = true;
        } else {
            /* As if the guest had read it, but it has not used it. */
            r->prefetches = true;
            model_map(r, r->as, gfn, false, r->host_writable, 3);
            r->prefetches = false;
            old = leaf_at(&r->space[r->as], gfn);
            clear_a(r, old);
        }
        gfn = end_of(old);
    }
    if ((gfn > start) != (ret == 0))
        complain(r, "prefault returns something else", gfn);
    if (gfn > start && range.gpa >> 12 != (gfn < end ? gfn : end))
        complain(r, "prefault tells another end", range.gpa >> 12);
    /* As with any fault, of the same page nothing is flushed; tables that make way are. */
    compare(r);
}

static void mark_by_hand(struct rig *r, gfn_t start, gfn_t end)
{
    (void)end;
    tdpmmu_mark_page_dirty(r->kvm, r->as, start);
    if (model_slot_at(r, r->as, start))
        model_mark(model_slot_at(r, r->as, start), start);
    finish(r, false);
}

/* A fault of the guest's beside the border: what is huge there, and is not to be, is split. */
static void write_one(struct rig *r, gfn_t start, gfn_t end)
{
    int level = 1 + (int)(end % 3);

    map_one(r, r->as, start, PFERR_WRITE_MASK, level);
    compare(r);
}

static void fetch_one(struct rig *r, gfn_t start, gfn_t end)
{
    map_one(r, r->as, start, PFERR_FETCH_MASK, 1 + (int)(end % 3));
    compare(r);
}

static const struct operation operations[] = {
    { "zap_gfn_range", zap_root_range, false, true },
    { "kvm_tdp_mmu_zap_gfn_range", zap_both, false, true },
    { "set_spte_hva", set_page, true, false },
    { "zap_leafs", zap_leafs, false, true },
    { "unmap_gfn_range", unmap, true, true },
    { "age", age, true, true },
    { "split", split_shared, false, true },
    { "split under the write lock", split_alone, false, true },
    { "split to 2M", split_to_2m, false, true },
    { "invalidate_range", invalidate_exact, false, false },
    { "invalidate_range, some bytes", invalidate_some_bytes, false, false },
    { "zap_hva_range", zap_host, false, false },
    { "clear_flush_young", age_host, false, false },
    { "write_protect_gfn", write_protect_one, true, false },
    { "clear_dirty_pt_masked, all, W", clear_all_64, true, false },
    { "clear_dirty_pt_masked, all", clear_dirty_64, true, false },
    { "clear_dirty_pt_masked, up to", clear_up_to, true, false },
    { "clear_dirty_pt_masked, one", clear_the_last, true, false },
    { "clear_dirty_pt_masked, two", clear_two, true, false },
    { "prefault", prefault, false, false },
    { "mark_page_dirty", mark_by_hand, true, false },
    { "write", write_one, true, false },
    { "fetch", fetch_one, true, false },
};
enum { OPERATIONS = sizeof(operations) / sizeof(operations[0]), OF_5_12 = 3 /* of these the kernel has none any more */ };

/* How many cases are left out between two, where all takes too long. */
static unsigned stride(void) { return mode_is("plain") || !getenv("TDPMMU_TEST_MODE") ? 1 : 61; }

static void all_ranges(struct rig *r, const struct layout *l, unsigned every, bool of_5_12)
{
    static unsigned turn;

    for (const struct operation *o = operations + (of_5_12 ? 0 : OF_5_12); o < operations + (of_5_12 ? OF_5_12 : OPERATIONS); o++) {
        struct borders b = borders_of(l, !o->in_slot);
        unsigned last = o->in_slot ? b.count : b.count;

        /* The page that begins where the slot ends is none of it. */
        for (unsigned i = 0; i < b.count; i++)
            for (unsigned j = i; j < last; j++) {
                if ((i == j && !o->empty) || turn++ % every)
                    continue;
                map_borders(r, l, (i + j) % 3);
                begin(r, o->name, b.at[i], b.at[j], (i + j) % 3);
                o->run(r, b.at[i], b.at[j]);
                compare_logs(r);
                cases++;
            }
    }
}

/* The operations in SMM, and on logged slots, are no others: a part of the cases is enough. */
static void each_machine_and_layout(bool by_row, bool of_5_12)
{
    static const uint64_t shifts[][2] = { { 0, 0 }, { 3, 0 }, { 0, 3 }, { 511, 512 - 511 } };

    for_each_machine(m)
        for (unsigned variant = 0; variant < 8; variant++)
            for (int n = 1; n <= 2; n++)
                for (int d = -1; d <= 1; d++)
                    for (unsigned s = 0; s < 4; s++) {
                        struct layout l = { 512 * (uint64_t)n + (uint64_t)(int64_t)d, BASE + shifts[s][0], shifts[s][1] };
                        bool nx = variant & 1, smm = variant & 2, logged = variant & 4;
                        struct rig *r;

                        /* All of two pages only where it costs least. */
                        if ((by_row && nx) || (n == 2 && (variant || s > 1 || m != machines)))
                            continue;
                        r = rig_new(m, (struct tdpmmu_vm_config){ .nx_huge_pages = nx,
                                                                  .dirty_log = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE }, by_row);
                        r->as = smm;
                        lay_out(r, &l, logged ? KVM_MEM_LOG_DIRTY_PAGES : 0);
                        all_ranges(r, &l, (variant > 1 ? 5 : 1) * stride(), of_5_12);
                        rig_free(r);
                    }
}

/* That were made since the last time. */
static void assert_cases_above(unsigned long least)
{
    print_message("%lu cases\n", cases);
    assert_true(cases > least);
    cases = 0;
}

static void ranges(void **state)
{
    (void)state;
    each_machine_and_layout(false, false);
    assert_cases_above(1000);
}

static void ranges_by_row(void **state)
{
    (void)state;
    each_machine_and_layout(true, false);
    assert_cases_above(500);
}

/* What later kernels have not: zap_gfn_range() and its like, which take tables along, and set_spte_hva. */
static void ranges_with_tables(void **state)
{
    (void)state;
    each_machine_and_layout(false, true);
    each_machine_and_layout(true, true);
    assert_cases_above(100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges),
        cmocka_unit_test(ranges_by_row),
        cmocka_unit_test(ranges_with_tables),
    };

    return cmocka_run_group_tests_name("borders", tests, NULL, NULL);
}
