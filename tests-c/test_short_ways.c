/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Nearly all faults go a short way, which leaves to the long one what is out of the ordinary.  A VM whose events go to
 * its rig has every fault by the long way: the reference.  Two VMs do the same at random, one of each kind.
 */
#include "test_helpers.h"

#define PAGES (2 * GIB_PAGES)
#define HALF GIB_PAGES /* two slots; the second not aligned as its pages are */
#define BEHIND 2048u /* gfns that no slot holds */

struct side {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu;
    uint64_t told; /* changes and flushes */
    unsigned warnings;
    struct tdpmmu_ops ops;
};

/* One thing done, to both alike. */
struct step {
    unsigned what;
    gfn_t gfn;
    uint64_t code, a, b;
};

static uint64_t seed_now, weather;

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

static uint64_t draw(void) { return mix(seed_now += 0x9e3779b97f4a7c15ull); }

/* The host's pages: of all sizes, some read-only, absent or no page at all, some answers wrong. */
static kvm_pfn_t host_page(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                           bool *writable, int *max_level)
{
    uint64_t m = mix(gfn / 1024 + weather * 7919);

    (void)ctx, (void)kvm, (void)write;
    if ((m >> 12 & 63) == 0)
        return KVM_PFN_ERR_FAULT;
    if ((m >> 12 & 63) == 1)
        return KVM_PFN_NOSLOT;
    if ((m & 15) == 0)
        *writable = false;
    else if ((m >> 20 & 127) == 0)
        *writable = true;
    *max_level = (m >> 27 & 127) == 0 ? 9 : (m >> 4) % 8 < 5 ? 1 : (m >> 4) % 8 < 7 ? 2 : 3;
    return ((slot->userspace_addr >> 12) + (gfn - slot->base_gfn) + (m >> 40 & 1) * 512) & 0xffffff;
}

/* Two VMs have their tables in different places. */
static uint64_t without_table(uint64_t spte, int level)
{
    return is_shadow_present_pte(spte) && !is_last_spte(spte, level) ? spte & 0xfff : spte;
}

static void note_change(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level, uint64_t old_spte, uint64_t new_spte,
                        bool shared)
{
    struct side *s = ctx;

    (void)kvm;
    s->told = mix(s->told ^ (unsigned)as_id) ^ mix(gfn * 8 + (unsigned)level) ^ mix(without_table(old_spte, level)) * 3 ^
              mix(without_table(new_spte, level)) * 5 ^ shared;
}

static void note_flush(void *ctx, struct kvm *kvm, gfn_t start, uint64_t npages)
{
    struct side *s = ctx;

    (void)kvm;
    s->told = mix(s->told ^ start) ^ mix(npages);
}

static void note_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)kvm, (void)warning;
    ((struct side *)ctx)->warnings++;
}

static void look_on(void *ctx, struct kvm *kvm, const struct tdpmmu_trace_event *event)
{
    (void)ctx, (void)kvm, (void)event;
}

static int set_half(struct side *s, unsigned id, uint32_t flags, bool there)
{
    return add_slot(s->kvm, id, flags, id ? HALF : 0, there ? HALF : 0, WORLD_HVA + (id ? (HALF << 12) + (1 << 12) : 0));
}

static void side_open(struct side *s, const struct machine *m, uint64_t kind, bool at_length)
{
    struct tdpmmu_vm_config config = m->config;

    memset(s, 0, sizeof(*s));
    s->ops = (struct tdpmmu_ops){ .size = sizeof(s->ops), .gfn_to_pfn = host_page, .flush_tlb = note_flush,
                                  .warn = note_warning, .trace = at_length ? look_on : NULL,
                                  .spte_changed = kind & 1 ? note_change : NULL };
    config.size = sizeof(config);
    config.ops = &s->ops;
    config.ops_ctx = s;
    config.root_level = kind & 2 ? 5 : 4;
    config.maxphyaddr = kind & 4 ? 36 : 46;
    config.nx_huge_pages = kind & 8 ? 1 : 0;
    config.zap_slot_only = kind & 16 ? 1 : 0;
    s->kvm = tdpmmu_create_vm(&config);
    assert_non_null(s->kvm);
    s->vcpu = tdpmmu_create_vcpu(s->kvm, 0);
    assert_int_equal(set_half(s, 0, 0, true) | set_half(s, 1, 0, true), 0);
    assert_int_equal(add_slot(s->kvm, 1u << 16, 0, 0, PAGES, WORLD_HVA), 0);
    assert_int_equal(kvm_mmu_load(s->vcpu), 0);
}

static int fault(struct side *s, const struct step *o) { return kvm_tdp_mmu_page_fault(s->vcpu, o->gfn << 12, o->code); }

static int map(struct side *s, const struct step *o)
{
    kvm_pfn_t pfn = o->a % 50 == 0 ? KVM_PFN_NOSLOT : o->a % 50 < 30 ? o->gfn & 0xffffff : o->a >> 8 & 0xffffff;
    int ret;

    read_lock(&s->kvm->mmu_lock);
    ret = kvm_tdp_mmu_map(s->vcpu, o->gfn << 12, o->code, o->b % 3 != 0, 1 + (int)(o->b / 3 % 3), pfn, o->b / 9 % 6 == 0);
    read_unlock(&s->kvm->mmu_lock);
    return ret;
}

static int fast_fault(struct side *s, const struct step *o)
{
    return tdpmmu_fast_page_fault(s->vcpu, o->gfn << 12, o->code | PFERR_PRESENT_MASK);
}

static int access_memory(struct side *s, const struct step *o)
{
    uint64_t code = 0;
    int ret = tdpmmu_cpu_access(s->vcpu, o->gfn << 12, o->code & (PFERR_WRITE_MASK | PFERR_FETCH_MASK), &code);

    return ret ? 1000 * ret + kvm_tdp_mmu_page_fault(s->vcpu, o->gfn << 12, code ? code : o->code) : 0;
}

static int age(struct side *s, const struct step *o)
{
    uint64_t start = WORLD_HVA + (o->gfn << 12);

    return kvm_tdp_mmu_age_hva_range(s->kvm, start, start + (1 + o->a % 600) * 4096);
}

static int pre_fault(struct side *s, const struct step *o)
{
    struct kvm_pre_fault_memory range = { .gpa = o->gfn << 12, .size = (1 + o->a % 8) << 12 };

    return kvm_vcpu_pre_fault_memory(s->vcpu, &range);
}

static int host_takes_away(struct side *s, const struct step *o)
{
    uint64_t start = WORLD_HVA + (o->gfn << 12), end = start + (1 + o->a % 700) * 4096;
    int ret;

    kvm_mmu_notifier_invalidate_range_start(s->kvm, start, end, true);
    ret = fault(s, o);
    kvm_mmu_notifier_invalidate_range_end(s->kvm, start, end);
    return ret;
}

static int log_on_or_off(struct side *s, const struct step *o)
{
    return set_half(s, o->a & 1, o->a & 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0, true);
}

static int slot_goes_and_comes(struct side *s, const struct step *o)
{
    int ret = set_half(s, o->a & 1, 0, false);

    ret = 100 * ret + fault(s, o);
    return 100 * ret + set_half(s, o->a & 1, o->b % 3 == 0 ? KVM_MEM_READONLY : o->b % 3 == 1 ? KVM_MEM_LOG_DIRTY_PAGES : 0, true);
}

static int roots_go(struct side *s, const struct step *o)
{
    int ret;

    write_lock(&s->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(s->kvm);
    write_unlock(&s->kvm->mmu_lock);
    ret = fault(s, o);
    ret = 100 * ret + fast_fault(s, o);
    ret = 100 * ret + fault(s, o);
    kvm_tdp_mmu_zap_invalidated_roots(s->kvm);
    return 100 * ret + kvm_mmu_load(s->vcpu);
}

static int zap(struct side *s, const struct step *o)
{
    write_lock(&s->kvm->mmu_lock);
    if (o->a % 3)
        kvm_tdp_mmu_zap_leafs(s->kvm, o->gfn, o->gfn + 1 + o->b % 2000, false);
    else
        kvm_tdp_mmu_zap_all(s->kvm);
    write_unlock(&s->kvm->mmu_lock);
    return 0;
}

static int change_address_space(struct side *s, const struct step *o)
{
    int ret = tdpmmu_vcpu_set_as_id(s->vcpu, o->a % 4 == 0);

    return 100 * ret + kvm_mmu_load(s->vcpu);
}

static int switch_nx(struct side *s, const struct step *o)
{
    return o->a % 3 ? tdpmmu_nx_recover(s->kvm, 1 + (unsigned)(o->b % 3)) : tdpmmu_set_nx_huge_pages(s->kvm, o->b & 1);
}

static int read_log(struct side *s, const struct step *o)
{
    static uint64_t bitmap[HALF / 64];
    struct kvm_dirty_log log = { .slot = o->a & 1, .dirty_bitmap = bitmap };
    int ret;

    memset(bitmap, 0, sizeof(bitmap));
    ret = kvm_vm_ioctl_get_dirty_log(s->kvm, &log);
    for (unsigned i = 0; i < HALF / 64; i++)
        s->told = mix(s->told ^ bitmap[i]) + i;
    return ret;
}

static int collapse(struct side *s, const struct step *o)
{
    const struct kvm_memory_slot *slot;
    int index = srcu_read_lock(&s->kvm->srcu);

    slot = tdpmmu_id_to_memslot(s->kvm, 0, o->a & 1);
    read_lock(&s->kvm->mmu_lock);
    kvm_tdp_mmu_zap_collapsible_sptes(s->kvm, slot);
    read_unlock(&s->kvm->mmu_lock);
    srcu_read_unlock(&s->kvm->srcu, index);
    return 0;
}

static const struct {
    int (*perform)(struct side *s, const struct step *o);
    unsigned weight;
} kinds[] = {
    { fault, 45 }, { map, 15 }, { fast_fault, 6 }, { access_memory, 10 }, { age, 4 }, { pre_fault, 3 }, { host_takes_away, 3 },
    { log_on_or_off, 2 }, { slot_goes_and_comes, 1 }, { roots_go, 1 }, { zap, 1 }, { change_address_space, 2 },
    { switch_nx, 2 }, { read_log, 2 }, { collapse, 1 },
};

/* Mostly near the last one, in the same table or in the same GiB. */
static gfn_t draw_gfn(void)
{
    static gfn_t last;
    uint64_t r = draw();

    if (r % 6 == 0)
        last = draw() % (PAGES + BEHIND);
    r = draw();
    return r % 8 < 5 ? (last & ~7ull) + r / 8 % 16 : r % 8 < 7 ? (last & ~511ull) + r / 8 % 512 : r / 8 % (PAGES + BEHIND);
}

static struct step draw_step(void)
{
    struct step o = { .gfn = draw_gfn(), .a = draw(), .b = draw() };
    uint64_t r = draw(), c = draw();

    r %= 98;
    while (r >= kinds[o.what].weight)
        r -= kinds[o.what++].weight;
    o.code = (c & 1 ? PFERR_WRITE_MASK : c >> 1 & 3 ? 0 : PFERR_FETCH_MASK) | ((c >> 4) % 3 ? 0 : PFERR_PRESENT_MASK) |
             ((c >> 8) % 40 ? 0 : PFERR_RSVD_MASK);
    if ((c >> 16) % 400 == 0)
        o.gfn = 1ull << 36; /* above MAXPHYADDR */
    return o;
}

static uint64_t leaves_sum_of(struct kvm_vcpu *vcpu)
{
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(vcpu);
    uint64_t sum = 1;
    struct tdp_iter iter;

    if (!root)
        return 0;
    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, (int)root->role.level, 0, UINT64_MAX)
        if (iter.old_spte != SHADOW_NONPRESENT_VALUE)
            sum = mix(sum ^ iter.gfn ^ (uint64_t)iter.level << 56) ^ mix(without_table(iter.old_spte, iter.level));
    rcu_read_unlock();
    return sum;
}

static bool are_alike(const struct side *a, const struct side *b, bool look_everywhere)
{
    struct tdpmmu_stats in_a, in_b;

    if (a->told != b->told || a->warnings != b->warnings)
        return false;
    if (!look_everywhere)
        return true;
    rcu_barrier(); /* tables that went are gone */
    in_a = stats_of(a->kvm);
    in_b = stats_of(b->kvm);
    return !memcmp(&in_a, &in_b, sizeof(in_a)) && leaves_sum_of(a->vcpu) == leaves_sum_of(b->vcpu);
}

static void random_lists_end_alike(void **state)
{
    (void)state;
    for_each_machine(m) {
        for (uint64_t seed = 1; seed <= rounds(30); seed++) {
            struct side a, b;

            seed_now = weather = seed;
            side_open(&a, m, seed, false);
            side_open(&b, m, seed, true);
            for (unsigned step = 0; step < 1500; step++) {
                struct step o = draw_step();
                int of_a, of_b;

                if (step % 100 == 99)
                    weather = draw() % 1000;
                of_a = kinds[o.what].perform(&a, &o);
                of_b = kinds[o.what].perform(&b, &o);
                if (of_a != of_b || !are_alike(&a, &b, step % 128 == 127))
                    fail_msg("%s, seed %u, step %u, kind %u at %#llx, code %#llx: %d by the short way, %d by the long one", m->name,
                             (unsigned)seed, step, o.what, (unsigned long long)o.gfn, (unsigned long long)o.code, of_a, of_b);
            }
            tdpmmu_destroy_vm(a.kvm);
            tdpmmu_destroy_vm(b.kvm);
        }
    }
}

/* A write in a read-only slot is emulated, also where the table stands and the caller knows no better. */
static void read_only_where_the_table_stands(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    assert_int_equal(add_slot(w->kvm, 5, KVM_MEM_READONLY, 2 * WORLD_SLOT_PAGES, 512, WORLD_HVA * 2), 0);
    for (gfn_t gfn = 2 * WORLD_SLOT_PAGES; gfn < 2 * WORLD_SLOT_PAGES + 4; gfn++) {
        assert_int_equal(fault_on(w, w->vcpu, gfn, 0, true, 1, 100, false), RET_PF_FIXED);
        assert_false(spte_at(w->vcpu, gfn, 1) & W_BIT);
        assert_int_equal(fault_on(w, w->vcpu, gfn + 4, PFERR_WRITE_MASK, true, 1, 100, false), RET_PF_EMULATE);
    }
    world_free(w);
}

/* What is mapped ahead of the guest was not accessed, also beside a page that was. */
static void ahead_of_the_guest(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    map_pages(w, 0, 2, 1);
    assert_int_equal(fault_on(w, w->vcpu, 1, 0, true, 1, pfn_for(1), false), RET_PF_FIXED); /* drops Dirty */
    assert_int_equal(fault_on(w, w->vcpu, 3, 0, true, 1, pfn_for(3), true), RET_PF_FIXED);
    assert_true(spte_at(w->vcpu, 0, 1) & 0x20);
    assert_false(spte_at(w->vcpu, 3, 1) & 0x20);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lists_end_alike),
        cmocka_unit_test(read_only_where_the_table_stands),
        cmocka_unit_test(ahead_of_the_guest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
