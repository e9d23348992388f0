/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Borders of slots: what is done to a slot as a whole, to its dirty log, to its place.  Slots of 512n - 1, 512n,
 * 512n + 1 pages (n is 1, 2, 512), aligned or not, with neighbours on both sides, in both address spaces.
 */
#include "border_model.h"

static unsigned long cases;

static unsigned stride(void) { return mode_is("plain") || !getenv("TDPMMU_TEST_MODE") ? 1 : 29; }

/* The slot in the middle is number 1 of its space, between 0 and 2; the other space has one over all. */
struct place {
    int as_id;
    gfn_t base;
    uint64_t npages, host_shift;
};

#define BESIDE 600u

static gfn_t end_of_place(const struct place *p) { return p->base + p->npages; }

static void lay_out(struct rig *r, const struct place *p, uint32_t flags)
{
    uint64_t hva = WORLD_HVA + ((p->base + p->host_shift) << 12);

    assert_int_equal(rig_slot(r, p->as_id, 1, flags, p->base, p->npages, hva), 0);
    assert_int_equal(rig_slot(r, p->as_id, 0, 0, p->base - BESIDE, BESIDE, hva - (BESIDE << 12)), 0);
    assert_int_equal(rig_slot(r, p->as_id, 2, 0, end_of_place(p), BESIDE, hva + (p->npages << 12)), 0);
    assert_int_equal(rig_slot(r, !p->as_id, 7, 0, p->base - BESIDE, p->npages + 2 * BESIDE,
                              WORLD_HVA + ((p->base - BESIDE) << 12)), 0);
}

static unsigned spots_of(const struct place *p, gfn_t *spots)
{
    gfn_t end = end_of_place(p), huge = (p->base | 511) + 1, last = end & ~511ull;
    const gfn_t all[] = { p->base - 2, p->base - 1, p->base, p->base + 1, huge - 1, huge, huge + 1, huge + 511, huge + 512,
                          p->base + p->npages / 2, p->base + p->npages / 2 + 1, last - 1, last, last + 1,
                          end - 2, end - 1, end, end + 1, end + BESIDE - 1 };
    unsigned n = 0;

    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i] >= p->base - BESIDE && all[i] < end + BESIDE)
            spots[n++] = all[i];
    return n;
}

static void map_spots(struct rig *r, const struct place *p, unsigned style)
{
    gfn_t spots[32];
    unsigned n = spots_of(p, spots);

    zap_everything(r);
    for (unsigned i = 0; i < n; i++) {
        int level = style == 0 ? 1 : style == 1 ? 3 : style == 2 ? 2 : 1 + (int)(i % 3);

        r->host_writable = (i + style) % 6 != 5;
        for (int as_id = 0; as_id < 2; as_id++)
            map_one(r, as_id, spots[i], i % 5 == 4 ? 0 : PFERR_WRITE_MASK, level);
    }
    r->host_writable = true;
}

/* Whole stretches of small pages, which could be one huge page. */
static void map_stretch(struct rig *r, const struct place *p, gfn_t start, unsigned pages, unsigned hole)
{
    for (gfn_t gfn = start; gfn < start + pages; gfn++)
        if (gfn >= p->base && gfn < end_of_place(p) && gfn != start + hole)
            map_one(r, p->as_id, gfn, PFERR_WRITE_MASK, 1);
}

/* ---- whole slots --------------------------------------------------------------------------- */

typedef void (*slot_operation)(struct rig *r, const struct place *p, int level);

static const struct kvm_memory_slot *slot_of(struct rig *r, const struct place *p) { return rig_slot_of(r, p->as_id, 1); }

static void expect_change(struct rig *r, const struct place *p, int level, bool flush, bool owes, leaf_change change)
{
    unsigned changed = model_change(r, p->as_id, p->base, end_of_place(p), level, owes, change);

    if (flush != (changed > 0))
        complain(r, "returns something else than whether anything changed", changed);
    compare(r);
    check_flushes(r, flush);
}

static void wrprot_slot(struct rig *r, const struct place *p, int level)
{
    bool flush;

    read_lock(&r->kvm->mmu_lock);
    flush = kvm_tdp_mmu_wrprot_slot(r->kvm, slot_of(r, p), level);
    read_unlock(&r->kvm->mmu_lock);
    expect_change(r, p, level, flush, true, clear_w);
}

static void clear_dirty_slot(struct rig *r, const struct place *p, int level)
{
    bool flush;

    (void)level;
    read_lock(&r->kvm->mmu_lock);
    flush = kvm_tdp_mmu_clear_dirty_slot(r->kvm, slot_of(r, p));
    read_unlock(&r->kvm->mmu_lock);
    expect_change(r, p, 1, flush, true, clear_d);
}

static void set_dirty_slot(struct rig *r, const struct place *p, int level)
{
    bool changed;

    clear_dirty_slot(r, p, level);
    forget(r);
    write_lock(&r->kvm->mmu_lock);
    changed = kvm_tdp_mmu_slot_set_dirty(r->kvm, slot_of(r, p));
    write_unlock(&r->kvm->mmu_lock);
    expect_change(r, p, 1, changed, false, set_d);
}

/* May one huge leaf stand for the table at this level around gfn? */
static bool could_be_huge(struct rig *r, const struct place *p, gfn_t first, int level)
{
    struct model_slot *slot = model_slot_at(r, p->as_id, first);

    return first >= p->base && first < end_of_place(p) && slot && !(slot->flags & KVM_MEM_LOG_DIRTY_PAGES) &&
           model_level(slot, first, first, level) == level && r->host_level >= level;
}

/* Leaves [from, to) of the space lie in the huge page and are smaller. */
static void smaller_leaves(struct space *s, gfn_t first, int level, unsigned *from, unsigned *to)
{
    *from = *to = find_leaf(s, first);
    while (*to < s->count && s->leaves[*to].gfn < first + pages_of(level) && s->leaves[*to].level < level)
        ++*to;
}

static void model_zap_collapsible(struct rig *r, const struct place *p)
{
    struct space *s = &r->space[p->as_id];

    for (int level = 3; level > 1; level--)
        for (unsigned i = find_leaf(s, p->base); i < s->count && s->leaves[i].gfn < end_of_place(p);) {
            gfn_t first = s->leaves[i].gfn & ~(pages_of(level) - 1);
            unsigned from, to;

            smaller_leaves(s, first, level, &from, &to);
            if (to > from && could_be_huge(r, p, first, level)) {
                for (unsigned n = from; n < to; n++)
                    lose_leaf(r, &s->leaves[n]);
                remove_leaves(s, from, to);
                i = from;
            } else {
                i = to > i ? to : i + 1;
            }
        }
}

static void zap_collapsible(struct rig *r, const struct place *p, int level)
{
    r->host_level = level;
    read_lock(&r->kvm->mmu_lock);
    kvm_tdp_mmu_zap_collapsible_sptes(r->kvm, slot_of(r, p));
    read_unlock(&r->kvm->mmu_lock);
    model_zap_collapsible(r, p);
    r->host_level = 3;
    r->moves_tables = true;
    finish(r, false);
}

static void model_recover(struct rig *r, const struct place *p)
{
    struct space *s = &r->space[p->as_id];

    for (int level = 3; level > 1; level--)
        for (unsigned i = find_leaf(s, p->base); i < s->count && s->leaves[i].gfn < end_of_place(p);) {
            gfn_t first = s->leaves[i].gfn & ~(pages_of(level) - 1);
            struct leaf huge;
            unsigned from, to;
            bool same;

            smaller_leaves(s, first, level, &from, &to);
            if (to == from) {
                i++;
                continue;
            }
            huge = s->leaves[from];
            huge.pfn -= huge.gfn - first;
            same = could_be_huge(r, p, first, level) && huge.pfn % pages_of(level) == 0;
            for (unsigned n = from; n < to; n++) {
                const struct leaf *l = &s->leaves[n];

                same = same && l->level == level - 1 && l->pfn - huge.pfn == l->gfn - first && l->w == huge.w &&
                       l->mmu_w == huge.mmu_w && l->host_w == huge.host_w && (has_accessed(r) || l->a == huge.a);
                huge.a = huge.a || l->a;
                huge.d = huge.d || l->d;
            }
            if (!same) {
                i = to;
                continue;
            }
            huge.gfn = first;
            huge.level = level;
            huge.x = !r->nx;
            for (unsigned n = from; n < to; n++)
                lose_leaf(r, &s->leaves[n]);
            s->leaves[from] = huge;
            remove_leaves(s, from + 1, to);
            i = from + 1;
        }
}

static void recover(struct rig *r, const struct place *p, int level)
{
    r->host_level = level;
    read_lock(&r->kvm->mmu_lock);
    kvm_tdp_mmu_recover_huge_pages(r->kvm, slot_of(r, p));
    read_unlock(&r->kvm->mmu_lock);
    model_recover(r, p);
    r->host_level = 3;
    r->moves_tables = true;
    finish(r, false);
}

/* A stretch of small pages around each border, whole but for a hole or one page that differs. */
static void recover_stretches(struct rig *r, const struct place *p, int level)
{
    gfn_t first = (p->base + 511) & ~511ull;

    zap_everything(r);
    map_stretch(r, p, first, 512, level == 3 ? 100 : 1000);
    if (p->npages > 1024)
        map_stretch(r, p, first + 512, 512, 511);
    begin(r, "recover stretches", p->base, end_of_place(p), (uint64_t)level);
    recover(r, p, level);
    /* What is not to be as the rest. */
    for (unsigned i = 0; i < 3; i++) {
        static const unsigned odd[] = { 0, 255, 511 };

        zap_everything(r);
        r->host_writable = true;
        map_stretch(r, p, first, 512, 1000);
        if (!leaf_at(&r->space[p->as_id], first + odd[i]))
            continue;
        if (level == 2) {
            write_lock(&r->kvm->mmu_lock);
            kvm_tdp_mmu_write_protect_gfn(r->kvm, slot_of(r, p), first + odd[i], 1);
            write_unlock(&r->kvm->mmu_lock);
            clear_w_for_good(r, leaf_at(&r->space[p->as_id], first + odd[i]));
        } else {
            write_lock(&r->kvm->mmu_lock);
            kvm_tdp_mmu_clear_dirty_pt_masked(r->kvm, slot_of(r, p), first + odd[i], 1, false);
            write_unlock(&r->kvm->mmu_lock);
            clear_d(r, leaf_at(&r->space[p->as_id], first + odd[i]));
        }
        begin(r, "recover, one differs", p->base, first + odd[i], (uint64_t)level);
        recover(r, p, level);
        cases++;
    }
}

static void recover_after_split(struct rig *r, const struct place *p, int level)
{
    int target = level == 3 && p->npages > 4096 ? 2 : 1;
    gfn_t end = p->npages > 4096 ? p->base + 2000 : end_of_place(p);

    read_lock(&r->kvm->mmu_lock);
    kvm_tdp_mmu_try_split_huge_pages(r->kvm, slot_of(r, p), p->base, end, target, true);
    read_unlock(&r->kvm->mmu_lock);
    model_split(r, p->as_id, p->base, end, target);
    compare(r);
    begin(r, "recover after a split", p->base, end_of_place(p), (uint64_t)level);
    recover(r, p, level);
}

static const struct { const char *name; slot_operation run; } slot_operations[] = {
    { "wrprot_slot", wrprot_slot }, { "clear_dirty_slot", clear_dirty_slot }, { "zap_collapsible", zap_collapsible },
    /* Not of Linux 6.12. */
    { "slot_set_dirty", set_dirty_slot }, { "recover", recover }, { "recover after a split", recover_after_split },
};
enum { OF_6_12 = 3, SLOT_OPERATIONS = sizeof(slot_operations) / sizeof(slot_operations[0]) };
static bool of_6_12; /* which of them a test is about */

static const uint64_t sizes[] = { 511, 512, 513, 1023, 1024, 1025, 512 * 512 - 1, 512 * 512, 512 * 512 + 1 };
/* Of the guest's addresses and of the host's beside them. */
static const uint64_t shifts[][2] = { { 0, 0 }, { 3, 0 }, { 0, 3 }, { 509, 3 }, { 512, 0 } };
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), SHIFTS = sizeof(shifts) / sizeof(shifts[0]) };

typedef void (*in_place)(const struct machine *m, const struct place *p, unsigned nx, bool by_row);

static void for_each_place(in_place body)
{
    unsigned turn = 0;

    for_each_machine(m)
        for (unsigned i = 0; i < SIZES * SHIFTS; i++)
            for (int as_id = 0; as_id < 2; as_id++)
                for (unsigned nx = 0; nx < 2; nx++) {
                    struct place p = { as_id, GIB_PAGES + shifts[i % SHIFTS][0], sizes[i / SHIFTS], shifts[i % SHIFTS][1] };

                    if (turn++ % stride() == 0)
                        body(m, &p, nx, (turn / 2) % 2);
                }
}

static void slots_in_place(const struct machine *m, const struct place *p, unsigned nx, bool by_row)
{
    struct rig *r = rig_new(m, (struct tdpmmu_vm_config){ .nx_huge_pages = nx }, by_row);

    lay_out(r, p, 0);
    for (unsigned o = of_6_12 ? 0 : OF_6_12; o < (of_6_12 ? OF_6_12 : SLOT_OPERATIONS); o++)
        for (unsigned style = 0; style < 4; style++)
            for (int level = 1; level <= 3; level++) {
                map_spots(r, p, style);
                begin(r, slot_operations[o].name, p->base, end_of_place(p), style * 10 + (unsigned)level);
                slot_operations[o].run(r, p, level);
                cases++;
            }
    for (int level = 2; level <= 3 && !of_6_12; level++)
        recover_stretches(r, p, level);
    rig_free(r);
}

static void slots_by(bool of)
{
    of_6_12 = of;
    cases = 0;
    for_each_place(slots_in_place);
    print_message("%lu cases\n", cases);
    assert_true(cases > 500);
}

static void whole_slots(void **state)
{
    (void)state;
    slots_by(true);
}

static void whole_slots_of_other_kernels(void **state)
{
    (void)state;
    slots_by(false);
}

/* ---- the dirty log ------------------------------------------------------------------------------ */

static bool logs_by_dirty_bits(const struct rig *r) { return r->machine->dirty && !r->machine->config.no_pml && r->machine->config.vendor == TDPMMU_EPT; }

/* The guest writes; what the CPU logs is there when it has left. */
static void write_as_guest(struct rig *r, int as_id, gfn_t gfn)
{
    struct model_slot *slot = model_slot_at(r, as_id, gfn);
    bool logged = slot->flags & KVM_MEM_LOG_DIRTY_PAGES;

    for (int tries = 0; tries < 5; tries++) {
        struct leaf *l = leaf_at(&r->space[as_id], gfn);
        uint64_t error_code = 0;
        int ret = tdpmmu_cpu_access(r->vcpu[as_id], gfn << 12, PFERR_WRITE_MASK, &error_code);

        if (ret > 0) {
            if (!l || !l->w || l->level != ret)
                complain(r, "the CPU writes, and should not", gfn);
            l->a = true;
            if (has_dirty(r) && !l->d) {
                l->d = true;
                if (logs_by_dirty_bits(r) && logged) /* of all that the CPU logs, what is in a logged slot */
                    model_mark(slot, gfn);
            }
            tdpmmu_cpu_exit(r->vcpu[as_id]);
            return;
        }
        if (ret < 0 || (l && l->w))
            complain(r, "the CPU cannot write, and should", gfn);
        ret = kvm_tdp_mmu_page_fault(r->vcpu[as_id], gfn << 12, error_code);
        if (ret != RET_PF_FIXED)
            complain(r, "the fault fails", gfn);
        if (l && l->mmu_w && !(l->level > 1 && logged) && (l->a || has_accessed(r) || true) &&
            (error_code & PFERR_PRESENT_MASK || !has_accessed(r))) {
            l->w = true; /* without the lock */
            if (!has_accessed(r))
                l->a = true;
            if (logged)
                model_mark(slot, gfn);
        } else {
            model_map(r, as_id, gfn, false, r->host_writable, r->host_level);
        }
    }
    complain(r, "the guest never gets to write", gfn);
}

static uint64_t *got; /* the log as it was read */

static void read_log(struct rig *r, const struct place *p, bool manual)
{
    struct model_slot *slot = model_slot_at(r, p->as_id, p->base);
    unsigned words = (unsigned)((p->npages + 63) / 64);
    struct kvm_dirty_log log = { .slot = (uint32_t)(p->as_id << 16 | 1), .dirty_bitmap = got };

    memset(got, 0xee, (words + 1) * 8);
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(r->kvm, &log), 0);
    for (unsigned i = 0; i < words; i++)
        if (got[i] != slot->bitmap[i])
            complain(r, "another word of the dirty log", i);
    if (got[words] != 0xeeeeeeeeeeeeeeee)
        complain(r, "more of the log than there is", words);
    if (manual)
        return;
    for (unsigned i = 0; i < words; i++)
        for (unsigned bit = 0; bit < 64; bit++) {
            struct leaf *l = leaf_at(&r->space[p->as_id], p->base + i * 64 + bit);

            if (!(slot->bitmap[i] >> bit & 1) || !l || l->level > 1)
                continue;
            if (logs_by_dirty_bits(r) ? clear_d(r, l) : clear_w(r, l))
                lose_leaf(r, l);
        }
    memset(slot->bitmap, 0, words * 8);
}

/* Clears what it names; true if the library takes the range. */
static void clear_log(struct rig *r, const struct place *p, uint64_t first, uint32_t pages, bool initially_set, bool eager)
{
    struct model_slot *slot = model_slot_at(r, p->as_id, p->base);
    unsigned words = (pages + 63) / 64;
    uint64_t *bits = malloc((words + 1) * 8);
    struct kvm_clear_dirty_log log = { .slot = (uint32_t)(p->as_id << 16 | 1), .first_page = first, .num_pages = pages,
                                       .dirty_bitmap = bits };
    bool fits = first % 64 == 0 && first + pages <= p->npages && (pages % 64 == 0 || first + pages == p->npages);
    int ret;

    for (unsigned i = 0; i <= words; i++)
        bits[i] = i % 3 == 2 ? 0x8000000180000001 : ~0ull; /* also of pages behind the end */
    ret = kvm_vm_ioctl_clear_dirty_log(r->kvm, &log);
    if (ret != (fits ? 0 : -EINVAL))
        complain(r, "clear_dirty_log returns something else", (gfn_t)ret);
    for (unsigned i = 0; fits && i < words; i++) {
        uint64_t *word = &slot->bitmap[first / 64 + i], mask = *word & bits[i];
        gfn_t base = p->base + first + 64 * i;

        *word &= ~mask;
        if (!mask)
            continue;
        if (initially_set) {
            gfn_t from = base + (gfn_t)__builtin_ctzll(mask), to = base + 63 - (gfn_t)__builtin_clzll(mask);

            if (eager)
                model_split(r, p->as_id, from, to + 1, 1);
            /* What stays huge is to be split by the next write: nothing lets it through before. */
            model_change(r, p->as_id, from, from + 1, 2, true, clear_w_for_good);
            if ((from + 511) / 512 != (to + 511) / 512) /* in the kernel's words: is there a border in between? */
                model_change(r, p->as_id, to, to + 1, 2, true, clear_w_for_good);
        }
        for (unsigned bit = 0; bit < 64; bit++) {
            struct leaf *l = leaf_at(&r->space[p->as_id], base + bit);

            if (mask >> bit & 1 && l && l->level == 1 && (logs_by_dirty_bits(r) ? clear_d(r, l) : clear_w(r, l)))
                lose_leaf(r, l);
        }
    }
    free(bits);
    compare(r);
    check_flushes(r, false);
}

/* What is done to a slot whose pages are to be logged from now on. */
static void model_begin_logging(struct rig *r, const struct place *p, bool initially_set, bool eager)
{
    if (initially_set) {
        struct model_slot *slot = model_slot_at(r, p->as_id, p->base);

        for (uint64_t n = 0; n < p->npages; n++)
            slot->bitmap[n / 64] |= 1ull << (n % 64);
        return;
    }
    if (eager)
        model_split(r, p->as_id, p->base, end_of_place(p), 1);
    if (logs_by_dirty_bits(r)) {
        model_change(r, p->as_id, p->base, end_of_place(p), 1, true, clear_d);
        model_change(r, p->as_id, p->base, end_of_place(p), 2, true, clear_w);
    } else {
        model_change(r, p->as_id, p->base, end_of_place(p), 1, true, clear_w);
    }
}

static void write_spots(struct rig *r, const struct place *p)
{
    gfn_t spots[32];
    unsigned n = spots_of(p, spots);

    for (unsigned i = 0; i < n; i++)
        if (spots[i] >= p->base && spots[i] < end_of_place(p)) {
            write_as_guest(r, p->as_id, spots[i]);
            write_as_guest(r, !p->as_id, spots[i]); /* of the other space's slot, which is not logged */
        }
}

/* mode: 0 plain, 1 manual, 2 manual and initially set; 3 plain and not eager, 4 as 2 and not eager. */
static void logs_with(const struct machine *m, const struct place *p, unsigned nx, bool by_row, unsigned mode)
{
    bool manual = mode == 1 || mode == 2 || mode == 4, set = mode == 2 || mode == 4, eager = mode < 3;
    struct tdpmmu_vm_config config = {
        .nx_huge_pages = nx, .no_eager_split = !eager,
        .dirty_log = (manual ? KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE : 0) | (set ? KVM_DIRTY_LOG_INITIALLY_SET : 0),
    };
    struct rig *r = rig_new(m, config, by_row);
    uint64_t hva = WORLD_HVA + ((p->base + p->host_shift) << 12);
    static const uint64_t firsts[] = { 0, 64, 63, 65, 448, 512, 960, 1024 };

    got = malloc((p->npages / 64 + 2) * 8);
    lay_out(r, p, 0);
    map_spots(r, p, 3);
    begin(r, "logging on", p->base, end_of_place(p), mode);
    assert_int_equal(rig_slot(r, p->as_id, 1, KVM_MEM_LOG_DIRTY_PAGES, p->base, p->npages, hva), 0);
    model_begin_logging(r, p, set, eager);
    compare(r);
    check_flushes(r, false);
    for (unsigned round = 0; round < 2; round++) {
        begin(r, "write to a logged slot", p->base, end_of_place(p), mode);
        write_spots(r, p);
        compare(r);
        begin(r, "get_dirty_log", p->base, end_of_place(p), mode);
        read_log(r, p, manual);
        compare(r);
        check_flushes(r, false);
        cases++;
        if (!manual)
            continue;
        for (unsigned i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++)
            for (unsigned j = 0; j < 5; j++) {
                const uint64_t left = firsts[i] < p->npages ? p->npages - firsts[i] : 0;
                const uint64_t counts[] = { 64, 63, 128, left, left + 1 };

                begin(r, "clear_dirty_log", firsts[i], counts[j], mode);
                clear_log(r, p, firsts[i], (uint32_t)counts[j], set, eager);
                begin(r, "get_dirty_log after clearing", firsts[i], counts[j], mode);
                read_log(r, p, true);
                if (i % 2)
                    write_spots(r, p);
                cases++;
            }
    }
    begin(r, "mark by hand", p->base, end_of_place(p), mode);
    for (uint64_t n = 0; n < p->npages; n += n < 130 ? 1 : p->npages / 7 + 1) {
        tdpmmu_mark_page_dirty(r->kvm, p->as_id, p->base + n);
        model_mark(model_slot_at(r, p->as_id, p->base), p->base + n);
    }
    tdpmmu_mark_page_dirty(r->kvm, p->as_id, p->base - 1); /* of slots that are not logged */
    tdpmmu_mark_page_dirty(r->kvm, p->as_id, end_of_place(p));
    tdpmmu_mark_page_dirty(r->kvm, !p->as_id, p->base);
    read_log(r, p, manual);
    begin(r, "logging off", p->base, end_of_place(p), mode);
    assert_int_equal(rig_slot(r, p->as_id, 1, 0, p->base, p->npages, hva), 0);
    model_zap_collapsible(r, p);
    r->moves_tables = true;
    finish(r, false);
    rig_free(r);
    free(got);
}

static void logs_in_place(const struct machine *m, const struct place *p, unsigned nx, bool by_row)
{
    static unsigned turn;

    if (p->npages > 4096)
        return; /* what is split there to small pages takes its time, and is seen below */
    logs_with(m, p, nx, by_row, turn++ % 5);
    logs_with(m, p, nx, by_row, turn % 5);
}

static void logs(void **state)
{
    (void)state;
    cases = 0;
    for_each_place(logs_in_place);
    print_message("%lu cases\n", cases);
    assert_true(cases > 100);
}

/* ---- moves over itself ------------------------------------------------------------------------------ */

static void moves(void **state)
{
    static const int64_t by[] = { 1, -1, 511, -511, 512, -512, 513, 700 };

    (void)state;
    cases = 0;
    for_each_machine(m)
        for (unsigned only = 0; only < 2; only++)
            for (unsigned as_id = 0; as_id < 2; as_id++)
                for (unsigned i = 0; i < 8; i++)
                    for (unsigned logged = 0; logged < 2; logged++) {
                        struct rig *r = rig_new(m, (struct tdpmmu_vm_config){ .zap_slot_only = only }, false);
                        struct place p = { (int)as_id, GIB_PAGES, 1024, 0 };
                        uint64_t hva = WORLD_HVA + (p.base << 12), generation;
                        uint32_t flags = logged ? KVM_MEM_LOG_DIRTY_PAGES : 0;
                        gfn_t to = p.base + (gfn_t)by[i];

                        if ((i + only + as_id) % stride() > 2)
                            goto next;
                        assert_int_equal(rig_slot(r, (int)as_id, 1, flags, p.base, p.npages, hva), 0);
                        assert_int_equal(rig_slot(r, (int)as_id, 2, 0, p.base + 2048, 100, hva + (2048 << 12)), 0);
                        assert_int_equal(rig_slot(r, !as_id, 3, 0, p.base, 3000, hva), 0);
                        for (unsigned n = 0; n < 1024; n += 73)
                            for (int space = 0; space < 2; space++)
                                map_one(r, space, p.base + n, PFERR_WRITE_MASK, n % 2 ? 1 : 3);
                        map_one(r, (int)as_id, p.base + 2048, PFERR_WRITE_MASK, 1);
                        begin(r, "move", p.base, to, only);
                        generation = tdpmmu_memslots_generation(r->kvm, (int)as_id);
                        assert_int_equal(rig_slot(r, (int)as_id, 1, flags, to, p.npages, hva), 0);
                        assert_int_equal(tdpmmu_memslots_generation(r->kvm, (int)as_id), generation + 4);
                        if (only) {
                            model_zap(r, (int)as_id, p.base, end_of_place(&p));
                        } else {
                            r->space[0].count = r->space[1].count = 0;
                        }
                        for (int space = 0; space < 2; space++)
                            assert_int_equal(kvm_mmu_load(r->vcpu[space]), 0);
                        compare(r);
                        check_flushes(r, false);
                        /* Its pages are where it is now, with the host's of before. */
                        for (gfn_t gfn = to; gfn < to + 1024; gfn += 93)
                            write_as_guest(r, (int)as_id, gfn);
                        write_as_guest(r, (int)as_id, to + 1023);
                        compare(r);
                        if (to > p.base)
                            assert_int_equal(kvm_tdp_mmu_page_fault(r->vcpu[as_id], (to - 1) << 12, 0), RET_PF_EMULATE);
                        if (logged) {
                            p.base = to;
                            got = malloc(1024 / 8 + 8);
                            read_log(r, &p, false);
                            free(got);
                        }
                        cases++;
                    next:
                        rig_free(r);
                    }
    assert_true(cases > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_slots),
        cmocka_unit_test(whole_slots_of_other_kernels),
        cmocka_unit_test(logs),
        cmocka_unit_test(moves),
    };

    return cmocka_run_group_tests_name("borders_slots", tests, NULL, NULL);
}
