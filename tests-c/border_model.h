/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A small model of what must be mapped: for each of two address spaces the leaves, in order, each with its frame
 * and rights, and for each slot which pages are dirty.  It knows nothing of tables or of entries; what an operation
 * does to leaves is written down here once more, in the words of the headers.  The tests of borders perform each
 * operation on the library and on the model and compare all.
 */
#ifndef BORDER_MODEL_H
#define BORDER_MODEL_H

#include "test_helpers.h"

/* The checker, in a library that has it. */
extern int tdpmmu_check(struct kvm *kvm) __attribute__((weak));

#define MODEL_SLOTS 4
#define END_OF_GFNS (1ull << 34) /* of MAXPHYADDR 46 */

struct leaf {
    gfn_t gfn;
    kvm_pfn_t pfn;
    int level;
    bool w, mmu_w, host_w, a, d, x;
};

struct space {
    struct leaf *leaves;
    unsigned count, room;
};

struct model_slot {
    gfn_t base;
    uint64_t npages, hva; /* none: 0 pages */
    uint32_t flags;
    uint64_t *bitmap;
    int as_id, id;
};

/* What was taken away, and has to be flushed. */
struct loss {
    gfn_t start, end;
};

struct rig {
    const struct machine *machine;
    bool nx, by_row;
    int as;              /* the space that it is about */
    bool prefetches;     /* nobody asked for what is mapped */
    struct kvm *kvm;
    struct kvm_vcpu *vcpu[2];
    struct space space[2];
    struct model_slot slot[MODEL_SLOTS];
    struct loss loss[8192];
    unsigned losses;
    struct loss flush[1024];
    unsigned flushes, changes, warned;
    unsigned tables;     /* below the roots, before the operation */
    bool moves_tables;   /* it makes some or drops some */
    unsigned compared;   /* how often all was compared */
    uint64_t splits;     /* huge leaves that were split, ever */
    struct tdpmmu_stats before; /* as it began */
    const char *doing;   /* the operation and its range, for a failure */
    gfn_t first, last;
    uint64_t more;
    int host_level;      /* what mapping_level and gfn_to_pfn say */
    bool host_writable;
};

static inline uint64_t pages_of(int level) { return KVM_PAGES_PER_HPAGE(level); }
static inline gfn_t end_of(const struct leaf *l) { return l->gfn + pages_of(l->level); }
static inline bool touches(const struct leaf *l, gfn_t start, gfn_t end) { return l->gfn < end && end_of(l) > start; }

static inline void complain(struct rig *r, const char *text, gfn_t gfn)
{
    while (rcu_read_lock_held()) /* for the tests that come */
        rcu_read_unlock();
    fail_msg("%s%s%s: %s [0x%llx, 0x%llx) 0x%llx: %s, gfn 0x%llx", r->machine->name, r->nx ? ", NX huge pages" : "",
             r->by_row ? ", by row" : "", r->doing, (unsigned long long)r->first, (unsigned long long)r->last,
             (unsigned long long)r->more, text, (unsigned long long)gfn);
}

/* ---- the list of leaves --------------------------------------------------------- */

/* The first leaf that ends behind gfn. */
static inline unsigned find_leaf(const struct space *s, gfn_t gfn)
{
    unsigned low = 0, high = s->count;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (end_of(&s->leaves[middle]) > gfn)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static inline struct leaf *leaf_at(struct space *s, gfn_t gfn)
{
    unsigned i = find_leaf(s, gfn);

    return i < s->count && s->leaves[i].gfn <= gfn ? &s->leaves[i] : NULL;
}

static inline void remove_leaves(struct space *s, unsigned from, unsigned to)
{
    memmove(s->leaves + from, s->leaves + to, (s->count - to) * sizeof(struct leaf));
    s->count -= to - from;
}

static inline void make_room(struct space *s, unsigned at, unsigned n)
{
    if (s->count + n > s->room) {
        s->room = 2 * (s->count + n);
        s->leaves = realloc(s->leaves, s->room * sizeof(struct leaf));
        assert_non_null(s->leaves);
    }
    memmove(s->leaves + at + n, s->leaves + at, (s->count - at) * sizeof(struct leaf));
    s->count += n;
}

/* ---- what is owed ------------------------------------------------------------------ */

static inline void lose(struct rig *r, gfn_t start, gfn_t end)
{
    if (r->losses > 0 && r->loss[r->losses - 1].end == start) {
        r->loss[r->losses - 1].end = end;
        return;
    }
    assert_true(r->losses < sizeof(r->loss) / sizeof(r->loss[0]));
    r->loss[r->losses++] = (struct loss){ start, end };
}

static inline void lose_leaf(struct rig *r, const struct leaf *l) { lose(r, l->gfn, end_of(l)); }

/* Is it all flushed, or will the caller do it, who is told so? */
static inline void check_flushes(struct rig *r, bool told)
{
    for (unsigned i = 0; i < r->losses && !told; i++) {
        gfn_t reached = r->loss[i].start;

        for (bool more = true; more && reached < r->loss[i].end;) {
            more = false;
            for (unsigned f = 0; f < r->flushes; f++)
                if (r->flush[f].start <= reached && r->flush[f].end > reached) {
                    reached = r->flush[f].end;
                    more = true;
                }
        }
        if (reached < r->loss[i].end)
            complain(r, "this was taken away, and no CPU was told", reached);
    }
}

/* ---- what operations do ------------------------------------------------------------- */

/* Drops all leaves that touch [start, end), whole: also one that is around an empty range. */
static inline unsigned model_zap(struct rig *r, int as_id, gfn_t start, gfn_t end)
{
    struct space *s = &r->space[as_id];
    unsigned from = find_leaf(s, start), to = from;

    while (to < s->count && s->leaves[to].gfn < end)
        lose_leaf(r, &s->leaves[to++]);
    remove_leaves(s, from, to);
    return to - from;
}

/* A leaf becomes 512 of the level below. */
static inline void model_split_leaf(struct rig *r, struct space *s, unsigned i)
{
    struct leaf huge = s->leaves[i];
    int level = huge.level - 1;

    r->splits++;
    make_room(s, i, 511);
    for (unsigned n = 0; n < 512; n++) {
        struct leaf *l = &s->leaves[i + n];

        *l = huge;
        l->level = level;
        l->gfn += n * pages_of(level);
        l->pfn += n * pages_of(level);
        /* What must not be executed as a huge page may be as a small one. */
        if (level == 1)
            l->x = true;
    }
}

static inline void model_split(struct rig *r, int as_id, gfn_t start, gfn_t end, int target)
{
    struct space *s = &r->space[as_id];

    for (unsigned i = find_leaf(s, start); i < s->count && s->leaves[i].gfn < end;) {
        if (s->leaves[i].level > target && touches(&s->leaves[i], start, end))
            model_split_leaf(r, s, i);
        else
            i++;
    }
}

/* For each leaf of a range at or above a level: true if it was changed, and then something is owed or not. */
typedef bool (*leaf_change)(struct rig *r, struct leaf *l);

static inline unsigned model_change(struct rig *r, int as_id, gfn_t start, gfn_t end, int min_level, bool owes, leaf_change change)
{
    struct space *s = &r->space[as_id];
    unsigned changed = 0;

    for (unsigned i = find_leaf(s, start); i < s->count && s->leaves[i].gfn < end; i++) {
        struct leaf *l = &s->leaves[i];

        if (l->level < min_level || !change(r, l))
            continue;
        changed++;
        if (owes)
            lose_leaf(r, l);
    }
    return changed;
}

static inline bool has_dirty(const struct rig *r) { return r->machine->dirty != 0; }
static inline bool has_accessed(const struct rig *r) { return r->machine->accessed != 0; }

static inline bool clear_w(struct rig *r, struct leaf *l)
{
    bool had = l->w;

    (void)r;
    l->w = false;
    return had;
}

static inline bool clear_w_for_good(struct rig *r, struct leaf *l)
{
    bool had = l->w || l->mmu_w;

    (void)r;
    l->w = l->mmu_w = false;
    return had;
}

static inline bool clear_d(struct rig *r, struct leaf *l)
{
    bool had = l->d;

    if (!has_dirty(r))
        return clear_w(r, l);
    l->d = false;
    return had;
}

static inline bool set_d(struct rig *r, struct leaf *l)
{
    bool had = l->d;

    if (has_dirty(r))
        l->d = true;
    return has_dirty(r) && !had;
}

/* Where there is no Accessed bit, all rights go, and W is not among those that come back by themselves. */
static inline bool clear_a(struct rig *r, struct leaf *l)
{
    bool had = l->a;

    l->a = false;
    if (had && !has_accessed(r))
        l->w = false;
    return had;
}

/* ---- faults ------------------------------------------------------------------------ */

static inline struct model_slot *model_slot_at(struct rig *r, int as_id, gfn_t gfn)
{
    for (int i = 0; i < MODEL_SLOTS; i++)
        if (r->slot[i].npages && r->slot[i].as_id == as_id && gfn >= r->slot[i].base &&
            gfn < r->slot[i].base + r->slot[i].npages)
            return &r->slot[i];
    return NULL;
}

/* The frame of a gfn is that of the host's address. */
static inline kvm_pfn_t model_pfn(const struct model_slot *s, gfn_t gfn)
{
    return ((s->hva >> 12) + (gfn - s->base)) & ((1ull << 34) - 1);
}

/* Page by page: is all of the huge page in the slot, and do frames begin where gfns do? */
static inline int model_level(const struct model_slot *s, gfn_t gfn, kvm_pfn_t pfn, int most)
{
    for (int level = most; level > 1; level--) {
        uint64_t pages = pages_of(level);
        gfn_t first = gfn - gfn % pages;

        if (s->flags & KVM_MEM_LOG_DIRTY_PAGES)
            continue;
        if (first < s->base || first + pages > s->base + s->npages)
            continue;
        if (s->base % pages != (s->hva >> 12) % pages)
            continue;
        if (pfn % pages != gfn % pages)
            continue;
        return level;
    }
    return 1;
}

static inline void model_mark(struct model_slot *s, gfn_t gfn)
{
    if (s->bitmap)
        s->bitmap[(gfn - s->base) / 64] |= 1ull << ((gfn - s->base) % 64);
}

/* A fault that maps; what is huge and in the way is split or replaced.  Not for pages of NX splits. */
static inline void model_map(struct rig *r, int as_id, gfn_t gfn, bool fetch, bool host_writable, int most)
{
    struct space *s = &r->space[as_id];
    struct model_slot *slot = model_slot_at(r, as_id, gfn);
    kvm_pfn_t pfn = model_pfn(slot, gfn);
    int level = model_level(slot, gfn, pfn, most);
    bool writable = host_writable && !(slot->flags & KVM_MEM_READONLY), was_writable = false;
    struct leaf *old;
    gfn_t first;
    unsigned i;

    if (r->nx && fetch)
        level = 1;
    first = gfn - gfn % pages_of(level);
    while ((old = leaf_at(s, gfn)) && old->level > level)
        model_split_leaf(r, s, (unsigned)(old - s->leaves));
    old = leaf_at(s, gfn);
    if (old && old->level == level) {
        was_writable = old->w;
        i = (unsigned)(old - s->leaves);
    } else {
        model_zap(r, as_id, first, first + pages_of(level));
        i = find_leaf(s, first);
        make_room(s, i, 1);
        s->leaves[i] = (struct leaf){ 0 };
    }
    s->leaves[i] = (struct leaf){
        .gfn = first, .pfn = pfn - pfn % pages_of(level), .level = level, .w = writable, .mmu_w = writable,
        .host_w = writable, .a = true, .d = has_dirty(r) && writable && !was_writable, .x = level == 1 || !r->nx,
    };
    /* What has no rights until it is used is marked then. */
    if (writable && slot->flags & KVM_MEM_LOG_DIRTY_PAGES && (has_accessed(r) || !r->prefetches))
        model_mark(slot, gfn);
}

/* ---- the library beside it ------------------------------------------------------------- */

static inline void rig_flush(void *ctx, struct kvm *kvm, gfn_t start, uint64_t npages)
{
    struct rig *r = ctx;

    (void)kvm;
    assert_true(r->flushes < 1024);
    r->flush[r->flushes++] = (struct loss){ start, start + npages < start || npages == UINT64_MAX ? UINT64_MAX : start + npages };
}

static inline void rig_changed(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level, uint64_t old_spte,
                               uint64_t new_spte, bool shared)
{
    struct rig *r = ctx;

    (void)kvm, (void)shared;
    if (old_spte == new_spte || gfn % pages_of(level) || as_id < 0 || as_id > 1)
        complain(r, "a change that is none, or at no place", gfn);
    r->changes++;
}

static inline void rig_warn(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    struct rig *r = ctx;

    (void)kvm;
    r->warned++;
    print_error("%s: %s\n", warning->function, warning->text);
}

static inline int rig_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)kvm, (void)slot, (void)gfn;
    return ((struct rig *)ctx)->host_level;
}

static inline kvm_pfn_t rig_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                                bool *writable, int *max_level)
{
    struct rig *r = ctx;

    (void)kvm, (void)write;
    *writable = r->host_writable;
    *max_level = r->host_level;
    return ((slot->userspace_addr >> 12) + (gfn - slot->base_gfn)) & ((1ull << 34) - 1);
}

static inline struct rig *rig_new(const struct machine *m, struct tdpmmu_vm_config more, bool by_row)
{
    struct rig *r = calloc(1, sizeof(*r));
    struct tdpmmu_ops ops = { .size = sizeof(ops), .flush_tlb = rig_flush, .warn = rig_warn, .mapping_level = rig_level,
                              .gfn_to_pfn = rig_pfn };

    assert_non_null(r);
    r->machine = m;
    r->by_row = by_row;
    r->host_level = 3;
    r->host_writable = true;
    r->doing = "nothing yet";
    if (!by_row)
        ops.spte_changed = rig_changed;
    more.size = sizeof(more);
    more.vendor = m->config.vendor;
    more.ad_disabled = m->config.ad_disabled;
    more.no_pml = m->config.no_pml;
    more.ops = &ops;
    more.ops_ctx = r;
    r->nx = more.nx_huge_pages != 0;
    tdpmmu_set_warn_handler(rig_warn, r);
    r->kvm = tdpmmu_create_vm(&more);
    assert_non_null(r->kvm);
    for (int i = 0; i < 2; i++) {
        r->vcpu[i] = tdpmmu_create_vcpu(r->kvm, i);
        assert_non_null(r->vcpu[i]);
        assert_int_equal(tdpmmu_vcpu_set_as_id(r->vcpu[i], i), 0);
        assert_int_equal(kvm_mmu_load(r->vcpu[i]), 0);
    }
    return r;
}

static inline int rig_slot(struct rig *r, int as_id, int id, uint32_t flags, gfn_t base, uint64_t npages, uint64_t hva)
{
    struct model_slot *s = NULL;
    int ret = add_slot(r->kvm, (uint32_t)(as_id << 16 | id), flags, base, npages, hva);

    if (ret)
        return ret;
    for (int i = 0; i < MODEL_SLOTS && !s; i++)
        if (r->slot[i].npages && r->slot[i].as_id == as_id && r->slot[i].id == id)
            s = &r->slot[i];
    for (int i = 0; i < MODEL_SLOTS && !s; i++)
        if (!r->slot[i].npages)
            s = &r->slot[i];
    assert_non_null(s);
    if (!(flags & KVM_MEM_LOG_DIRTY_PAGES) || !npages) {
        free(s->bitmap);
        s->bitmap = NULL;
    } else if (!s->bitmap) {
        s->bitmap = calloc((npages + 63) / 64, 8);
    }
    *s = (struct model_slot){ base, npages, hva, flags, s->bitmap, as_id, id };
    return 0;
}

static inline const struct kvm_memory_slot *rig_slot_of(struct rig *r, int as_id, int id)
{
    const struct kvm_memory_slot *slot;

    rcu_read_lock();
    slot = tdpmmu_id_to_memslot(r->kvm, as_id, id);
    rcu_read_unlock();
    assert_non_null(slot);
    return slot;
}

static inline struct leaf decoded(struct rig *r, const struct tdp_iter *iter)
{
    const struct machine *m = r->machine;
    uint64_t spte = iter->old_spte;
    bool tracked = !m->accessed && (spte & 7) == 0;

    return (struct leaf){
        .gfn = iter->gfn, .pfn = (spte & 0x000ffffffffff000) >> 12, .level = iter->level, .w = spte & W_BIT,
        .mmu_w = spte & m->mmu_writable, .host_w = spte & m->host_writable,
        .a = m->accessed ? (spte & m->accessed) != 0 : !tracked, .d = m->dirty && spte & m->dirty,
        /* EPT: X is bit 2, and of a tracked entry it stands 54 bits up; NPT: bit 63 forbids. */
        .x = m->config.vendor == TDPMMU_NPT ? !(spte >> 63) : (tracked ? spte >> 54 : spte) & 4,
    };
}

/* Tables below the roots, and how many of them in [start, end) of a space, or with -1 of both. */
static inline unsigned tables_in(struct rig *r, int only, gfn_t start, gfn_t end)
{
    unsigned count = 0;

    for (int as_id = 0; as_id < 2; as_id++) {
        struct kvm_mmu_page *root = tdpmmu_vcpu_root(r->vcpu[as_id]);
        struct tdp_iter iter;

        if (only == !as_id || !root)
            continue;
        rcu_read_lock();
        for_each_tdp_pte_min_level(iter, root->spt, (int)root->role.level, 2, 0, END_OF_GFNS)
            count += is_shadow_present_pte(iter.old_spte) && !is_last_spte(iter.old_spte, iter.level) &&
                     iter.gfn >= start && iter.gfn + pages_of(iter.level) <= end;
        rcu_read_unlock();
    }
    return count;
}

/* All that is mapped, counted, marked. */
static inline void compare(struct rig *r)
{
    uint64_t pages[4] = { 0 };
    struct tdpmmu_stats stats = stats_of(r->kvm);

    if (r->warned)
        complain(r, "a warning", 0);
    for (int as_id = 0; as_id < 2; as_id++) {
        struct kvm_mmu_page *root = tdpmmu_vcpu_root(r->vcpu[as_id]);
        struct space *s = &r->space[as_id];
        struct tdp_iter iter;
        unsigned n = 0;

        rcu_read_lock();
        for_each_tdp_pte(iter, root->spt, (int)root->role.level, 0, END_OF_GFNS) {
            struct leaf found, *l = &s->leaves[n];

            if (!is_shadow_present_pte(iter.old_spte) || !is_last_spte(iter.old_spte, iter.level))
                continue;
            found = decoded(r, &iter);
            pages[iter.level]++;
            if (n == s->count || l->gfn != found.gfn || l->level != found.level)
                complain(r, n < s->count && l->gfn < found.gfn ? "this leaf is not there" : "this leaf should not be there",
                         n < s->count && l->gfn < found.gfn ? l->gfn : found.gfn);
            if (l->pfn != found.pfn)
                complain(r, "another frame", l->gfn);
            if (l->w != found.w || l->mmu_w != found.mmu_w || l->host_w != found.host_w)
                complain(r, l->w ? "should be writable" : "wrong W, MMU-writable or host-writable", l->gfn);
            if (l->a != found.a)
                complain(r, l->a ? "should be accessed" : "should not be accessed", l->gfn);
            if (l->d != found.d)
                complain(r, l->d ? "should be dirty" : "should not be dirty", l->gfn);
            if (l->x != found.x)
                complain(r, l->x ? "should be executable" : "should not be executable", l->gfn);
            n++;
        }
        rcu_read_unlock();
        if (n < s->count)
            complain(r, "this leaf is not there", s->leaves[n].gfn);
    }
    if (stats.pages_4k != pages[1] || stats.pages_2m != pages[2] || stats.pages_1g != pages[3])
        complain(r, "the counters are not what a walk finds", stats.pages_4k);
    if (stats.splits != r->splits)
        complain(r, "another number of splits is counted", stats.splits);
    /* Strays go at any time: the counts are not of one moment. */
    if (stats.tables < tables_in(r, -1, 0, UINT64_MAX) + stats.roots)
        complain(r, "more tables than are counted", stats.tables);
    /* It looks at everything, and that takes its time. */
    if (tdpmmu_check && r->compared++ % 64 == 0 && tdpmmu_check(r->kvm) > 0)
        complain(r, "the checker complains", 0);
}

/* The logs, which reading does not change: for VMs with manual protection. */
static inline void compare_logs(struct rig *r)
{
    for (int i = 0; i < MODEL_SLOTS; i++) {
        struct model_slot *s = &r->slot[i];
        uint64_t bits[64];
        struct kvm_dirty_log log = { .slot = (uint32_t)(s->as_id << 16 | s->id), .dirty_bitmap = bits };

        if (!s->bitmap)
            continue;
        assert_true(s->npages <= 64 * 64);
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(r->kvm, &log), 0);
        for (uint64_t word = 0; word < (s->npages + 63) / 64; word++)
            if (bits[word] != s->bitmap[word])
                complain(r, "another word of a dirty log", s->base + 64 * word);
    }
}

static inline void forget(struct rig *r)
{
    r->losses = r->flushes = r->changes = 0;
}

/* Begin an operation: what it takes away from here on is its own. */
static inline void begin(struct rig *r, const char *doing, gfn_t first, gfn_t last, uint64_t more)
{
    forget(r);
    r->doing = doing;
    r->first = first;
    r->last = last;
    r->more = more;
    r->moves_tables = false;
    r->tables = tables_in(r, -1, 0, UINT64_MAX);
    r->before = stats_of(r->kvm);
}

/* Both have done it.  told: does the caller have to flush?  must_not: nothing was to change. */
static inline void finish(struct rig *r, bool told)
{
    struct tdpmmu_stats now = stats_of(r->kvm);

    compare(r);
    check_flushes(r, told);
    if (now.tlb_flushes - r->before.tlb_flushes != r->flushes)
        complain(r, "flushes are counted otherwise than told", now.tlb_flushes - r->before.tlb_flushes);
    if (!r->by_row && now.spte_changes - r->before.spte_changes != r->changes)
        complain(r, "changes are counted otherwise than told", now.spte_changes - r->before.spte_changes);
    if (!r->moves_tables && tables_in(r, -1, 0, UINT64_MAX) != r->tables)
        complain(r, "a table has come or gone", r->tables);
    if (told && r->losses == 0)
        complain(r, "a flush is asked for, and nothing was taken away", 0);
}

static inline void map_one(struct rig *r, int as_id, gfn_t gfn, uint64_t access, int level)
{
    struct model_slot *slot = model_slot_at(r, as_id, gfn);
    int ret;

    read_lock(&r->kvm->mmu_lock);
    ret = kvm_tdp_mmu_map(r->vcpu[as_id], gfn << 12, access, r->host_writable, level, model_pfn(slot, gfn), false);
    read_unlock(&r->kvm->mmu_lock);
    if (ret != RET_PF_FIXED && ret != RET_PF_SPURIOUS)
        complain(r, "the fault fails", gfn);
    model_map(r, as_id, gfn, access & PFERR_FETCH_MASK, r->host_writable, level);
}

static inline void zap_everything(struct rig *r)
{
    write_lock(&r->kvm->mmu_lock);
    kvm_tdp_mmu_zap_all(r->kvm);
    write_unlock(&r->kvm->mmu_lock);
    r->space[0].count = r->space[1].count = 0;
}

static inline void rig_free(struct rig *r)
{
    struct tdpmmu_stats stats;

    kvm_mmu_uninit_tdp_mmu(r->kvm);
    stats = stats_of(r->kvm);
    assert_int_equal(stats.tables, 0);
    assert_int_equal(stats.roots, 0);
    assert_int_equal(stats.pages_4k + stats.pages_2m + stats.pages_1g, 0);
    tdpmmu_destroy_vm(r->kvm);
    assert_int_equal(r->warned, 0);
    tdpmmu_set_warn_handler(NULL, NULL);
    for (int i = 0; i < 2; i++)
        free(r->space[i].leaves);
    for (int i = 0; i < MODEL_SLOTS; i++)
        free(r->slot[i].bitmap);
    free(r);
}

#endif
