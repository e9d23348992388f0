/* SPDX-License-Identifier: GPL-2.0-only */
/* What a slot's change refuses, in which order, and with which effects; quirks; logs by slot number. */
#include "test_helpers.h"

#define MAX_PAGES ((1ull << 31) - 1)

static int raw(struct world *w, uint32_t slot, uint32_t flags, uint64_t gpa, uint64_t bytes, uint64_t hva)
{
    struct kvm_userspace_memory_region region = { slot, flags, gpa, bytes, hva };

    return kvm_set_memory_region(w->kvm, &region);
}

static struct world *bare_world(void)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .maxphyaddr = 46 });

    assert_int_equal(delete_slot(w->kvm, 0), 0);
    return w;
}

/* The overlap is seen before MAXPHYADDR is looked at, and both behind what is wrong in itself. */
static void order_of_checks(void **state)
{
    const uint64_t top = 1ull << 46;
    struct world *w = bare_world();
    uint64_t generation;

    (void)state;
    assert_int_equal(raw(w, 0, 0, top - 0x1000, 0x1000, WORLD_HVA), 0);
    assert_int_equal(raw(w, 1, 0, top - 0x1000, 0x2000, WORLD_HVA), -EEXIST);
    assert_int_equal(raw(w, 1, 0, top - 0x2000, 0x3000, WORLD_HVA), -EEXIST);
    assert_int_equal(raw(w, 1, 0, top, 0x1000, WORLD_HVA), -EINVAL);
    assert_int_equal(raw(w, 1, 4, top - 0x1000, 0x2000, WORLD_HVA), -EINVAL);
    assert_int_equal(raw(w, 1, 0, top - 0x1000, (MAX_PAGES + 1) << 12, WORLD_HVA), -EINVAL);
    assert_int_equal(raw(w, 32764, 0, top - 0x1000, 0x1000, WORLD_HVA), -EINVAL);
    assert_int_equal(raw(w, 1, 0, 0, 0x1000, WORLD_HVA), 0);
    generation = tdpmmu_memslots_generation(w->kvm, 0);
    /* Another change of slot 1 than a move comes before the overlap with slot 0. */
    assert_int_equal(raw(w, 1, KVM_MEM_READONLY, top - 0x1000, 0x1000, WORLD_HVA), -EINVAL);
    assert_int_equal(raw(w, 1, 0, top - 0x1000, 0x2000, WORLD_HVA), -EINVAL);
    assert_int_equal(raw(w, 1, 0, top - 0x1000, 0x1000, WORLD_HVA), -EEXIST);
    assert_int_equal(tdpmmu_memslots_generation(w->kvm, 0), generation);
    world_forget(w); /* the refusals */
    world_free(w);
}

/* A move above MAXPHYADDR is refused late: the slot was invalid meanwhile, and is back. */
static void refused_move(void **state)
{
    (void)state;
    for (uint32_t zap_slot_only = 0; zap_slot_only < 2; zap_slot_only++) {
        struct world *w = world_from((struct tdpmmu_vm_config){ .maxphyaddr = 46, .zap_slot_only = zap_slot_only });
        const struct kvm_memory_slot *before, *after;
        uint64_t generation, bits[1] = { 0 };
        struct kvm_dirty_log log = { .slot = 7, .dirty_bitmap = bits };

        assert_int_equal(delete_slot(w->kvm, 0), 0);
        assert_int_equal(raw(w, 7, KVM_MEM_LOG_DIRTY_PAGES, 0x12000, 0x1000, WORLD_HVA), 0);
        guest_write(w->vcpu, 0x12);
        rcu_read_lock();
        before = gfn_to_memslot(w->kvm, 0x12);
        rcu_read_unlock();
        generation = tdpmmu_memslots_generation(w->kvm, 0);
        assert_int_equal(raw(w, 7, KVM_MEM_LOG_DIRTY_PAGES, 1ull << 46, 0x1000, WORLD_HVA), -EINVAL);
        assert_int_equal(tdpmmu_memslots_generation(w->kvm, 0), generation + 4);
        assert_int_equal(stats_of(w->kvm).pages_4k, 0); /* zapped */
        rcu_read_lock();
        after = gfn_to_memslot(w->kvm, 0x12);
        assert_ptr_equal(after, before);
        assert_int_equal(after->flags, KVM_MEM_LOG_DIRTY_PAGES);
        rcu_read_unlock();
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
        assert_int_equal(bits[0], 1); /* its log is not lost */
        world_forget(w);
        assert_int_equal(guest_write(w->vcpu, 0x12), 1);
        assert_no_warning(w);
        world_free(w);
    }
}

static void generations_of_two_spaces(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ 0 });

    (void)state;
    assert_int_equal(tdpmmu_memslots_generation(w->kvm, 1), 1);
    assert_int_equal(raw(w, 1 << 16, 0, 0, 0x1000, WORLD_HVA), 0);
    assert_int_equal(tdpmmu_memslots_generation(w->kvm, 1), 3);
    assert_int_equal(tdpmmu_memslots_generation(w->kvm, 0) % 2, 0);
    world_free(w);
}

static uint64_t cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A terabyte, all dirty at first: the time of writing its bitmap, and no bit behind the slot's end. */
static void big_slot_all_dirty(void **state)
{
    const uint64_t pages = (1ull << 28) - 27, words = (pages + 63) / 64;
    struct world *w = world_from((struct tdpmmu_vm_config){
        .maxphyaddr = 46, .dirty_log = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET });
    uint64_t *bits = calloc(words, 8), start = cpu_ms();
    struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bits };

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, 1ull << 30, pages, WORLD_HVA + (1ull << 42)), 0);
    assert_true(cpu_ms() - start < 1000);
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
    for (uint64_t i = 0; i < words - 1; i++)
        assert_true(bits[i] == UINT64_MAX);
    assert_int_equal(bits[words - 1], (1ull << (64 - 27)) - 1);
    free(bits);
    world_free(w);
}

static bool deletion_spares_others(struct world *w)
{
    bool spared;

    assert_int_equal(raw(w, 1, 0, 100 << 20, 0x1000, WORLD_HVA), -EEXIST); /* inside slot 0 */
    assert_int_equal(add_slot(w->kvm, 1, 0, WORLD_SLOT_PAGES, 16, WORLD_HVA), 0);
    guest_write(w->vcpu, 0);
    assert_int_equal(delete_slot(w->kvm, 1), 0);
    spared = stats_of(w->kvm).pages_4k + stats_of(w->kvm).pages_2m + stats_of(w->kvm).pages_1g > 0;
    return spared;
}

static int disable_quirks(struct world *w, uint64_t mask)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_DISABLE_QUIRKS2, .args = { mask } };

    return kvm_vm_ioctl_enable_cap(w->kvm, &cap);
}

static void quirks(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);

    (void)state;
    assert_int_equal(disable_quirks(w, 1ull << 40), -EINVAL);
    assert_int_equal(disable_quirks(w, 1 << 11 | TDPMMU_QUIRK_SLOT_ZAP_ALL), -EINVAL);
    assert_int_equal(disable_quirks(w, 1), 0); /* known, and not ours */
    assert_false(deletion_spares_others(w));
    assert_int_equal(disable_quirks(w, 0x7ff), 0);
    assert_true(deletion_spares_others(w));
    assert_int_equal(disable_quirks(w, 0), 0); /* disabled quirks stay so */
    assert_true(deletion_spares_others(w));
    world_forget(w); /* the refusals */
    world_free(w);
}

static void logs_by_slot_number(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ 0 });
    uint64_t bits[2] = { 0 };
    const struct { uint32_t slot; uint64_t first; uint32_t n; int get, clear; } cases[] = {
        { 1, 0, 100, 0, 0 }, { 1, 64, 36, 0, 0 }, { 1, 1, 63, 0, -EINVAL }, { 1, 64, 64, 0, -EINVAL },
        { 0, 0, 64, -ENOENT, -ENOENT }, { 4, 0, 64, -ENOENT, -ENOENT }, { 4, 1, 64, -ENOENT, -EINVAL },
        { 32764, 0, 64, -EINVAL, -EINVAL }, { 2 << 16, 0, 64, -EINVAL, -EINVAL },
        { 1 << 16 | 1, 0, 64, -ENOENT, -ENOENT }, { UINT32_MAX, 0, 64, -EINVAL, -EINVAL },
    };

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, WORLD_SLOT_PAGES, 100, WORLD_HVA), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kvm_dirty_log log = { .slot = cases[i].slot, .dirty_bitmap = bits };
        struct kvm_clear_dirty_log clear = {
            .slot = cases[i].slot, .first_page = cases[i].first, .num_pages = cases[i].n, .dirty_bitmap = bits };

        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), cases[i].get);
        assert_int_equal(kvm_vm_ioctl_clear_dirty_log(w->kvm, &clear), cases[i].clear);
    }
    world_forget(w); /* the refusals */
    world_free(w);
}

static struct world *changing;

static void *switch_logging(void *unused)
{
    (void)unused;
    assert_int_equal(add_slot(changing->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, WORLD_SLOT_PAGES, 512, WORLD_HVA + 4096), 0);
    return NULL;
}

/* A slot that was looked up inside kvm->srcu is good until the reader leaves, replaced or not. */
static void replaced_slot_in_srcu(void **state)
{
    struct world *w = changing = world_new(TDPMMU_NPT, 4);
    const struct kvm_memory_slot *slot, *now;
    pthread_t thread;
    int index;

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1, 0, WORLD_SLOT_PAGES, 512, WORLD_HVA + 4096), 0);
    guest_write(w->vcpu, WORLD_SLOT_PAGES);
    world_forget(w);
    index = srcu_read_lock(&w->kvm->srcu);
    now = slot = gfn_to_memslot(w->kvm, WORLD_SLOT_PAGES);
    assert_int_equal(pthread_create(&thread, NULL, switch_logging, NULL), 0);
    while (now == slot)
        now = gfn_to_memslot(w->kvm, WORLD_SLOT_PAGES);
    read_lock(&w->kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_wrprot_slot(w->kvm, slot, 1));
    read_unlock(&w->kvm->mmu_lock);
    assert_no_warning(w);
    srcu_read_unlock(&w->kvm->srcu, index);
    pthread_join(thread, NULL);
    read_lock(&w->kvm->mmu_lock); /* freed */
    assert_false(kvm_tdp_mmu_wrprot_slot(w->kvm, slot, 1));
    read_unlock(&w->kvm->mmu_lock);
    assert_int_equal(warnings(w), 1);
    world_forget(w); /* the refusals */
    world_free(w);
}

static uint64_t pages_logged(struct world *w, uint32_t slot)
{
    uint64_t bits[64] = { 0 }, n = 0;
    struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bits };

    assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
    for (int i = 0; i < 64; i++)
        n += (uint64_t)__builtin_popcountll(bits[i]);
    return n;
}

/* As in the kernel (docs/KERNELS.md): what "initially set" left writable stays so, unlogged, when the
 * capability is switched off in between. */
static void capability_switched_while_logged(void **state)
{
    struct kvm_enable_cap off = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };
    struct world *w = world_from((struct tdpmmu_vm_config){
        .dirty_log = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET });

    (void)state;
    world_forges(w); /* the checker says it at the end: Linux's own mistake */
    assert_int_equal(add_slot(w->kvm, 1, 0, WORLD_SLOT_PAGES, 1024, WORLD_HVA), 0);
    assert_int_equal(guest_write(w->vcpu, WORLD_SLOT_PAGES), PG_LEVEL_2M);
    assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, WORLD_SLOT_PAGES, 1024, WORLD_HVA), 0);
    assert_int_equal(kvm_vm_ioctl_enable_cap(w->kvm, &off), 0);
    assert_int_equal(pages_logged(w, 1), 1024);
    assert_int_equal(pages_logged(w, 1), 0);
    assert_int_equal(guest_write(w->vcpu, WORLD_SLOT_PAGES + 5), PG_LEVEL_2M);
    assert_int_equal(pages_logged(w, 1), 0); /* lost */
    w->fault = "the log has it not";
    assert_no_warning(w);
    world_free(w);
}

/* Linux's own (docs/KERNELS.md): of a word of the log, a huge page that begins with the last page is
 * not protected, because rounded-up ends are compared. */
static void huge_page_at_the_masks_last_page(void **state)
{
    (void)state;
    for (uint64_t base = 0x1c1; base <= 0x1c2; base++) {
        struct world *w = world_from((struct tdpmmu_vm_config){
            .vendor = TDPMMU_NPT, .no_eager_split = 1,
            .dirty_log = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET });
        const gfn_t at = WORLD_SLOT_PAGES + base, huge = WORLD_SLOT_PAGES + 0x200;
        uint64_t all = UINT64_MAX;
        struct kvm_clear_dirty_log clear = { .slot = 1, .num_pages = 64, .dirty_bitmap = &all };

        world_forges(w); /* the checker says it at the end: Linux's own mistake */
        assert_int_equal(add_slot(w->kvm, 1, 0, at, 0x800, WORLD_HVA + (base << 12)), 0);
        guest_write(w->vcpu, at);
        assert_int_equal(guest_write(w->vcpu, huge), PG_LEVEL_2M);
        assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, at, 0x800, WORLD_HVA + (base << 12)), 0);
        assert_int_equal(kvm_vm_ioctl_clear_dirty_log(w->kvm, &clear), 0);
        /* From 0x1c1 the word ends with the huge page's first page, from 0x1c2 with its second. */
        assert_int_equal(is_writable_pte(spte_at(w->vcpu, huge, PG_LEVEL_2M)), base == 0x1c1);
        assert_int_equal(tdpmmu_cpu_access(w->vcpu, (huge + 1) << 12, PFERR_WRITE_MASK, NULL),
                         base == 0x1c1 ? PG_LEVEL_2M : 0);
        w->fault = base == 0x1c1 ? "the log has it not" : NULL;
        world_free(w);
    }
}

/* ---- as many slots as there may be ------------------------------------------------------ */

#define MOST_SLOTS 32764u
#define STRIDE 8u                       /* gfns from place to place; a slot has fewer pages */
#define PLACES (MOST_SLOTS + 1000)

/* The plain model: per id what was asked for, per place who is there. */
static struct { unsigned place, host_page, npages; uint64_t put_in; } many[MOST_SLOTS];
static int holder[PLACES];              /* an id, or -1 */
static unsigned slots_wanted, slots_there;
static uint64_t times_put_in;
static unsigned seed;

static unsigned any(unsigned limit)
{
    seed = seed * 1664525u + 1013904223u;
    return (unsigned)((uint64_t)seed * limit >> 32);
}

static bool is_there(unsigned id)
{
    return many[id].npages > 0;
}

/* Adds a slot or moves it; false, and nothing done, if the place is taken. */
static bool try_to_put(struct world *w, unsigned id, unsigned place)
{
    bool is_free = holder[place] < 0 || holder[place] == (int)id, was_there = is_there(id);
    unsigned host_page = was_there ? many[id].host_page : any(slots_wanted / 2) * 3;
    unsigned npages = was_there ? many[id].npages : id % 991 == 7 ? 2000 : 1 + any(STRIDE);
    gfn_t gfn = (gfn_t)place * STRIDE;

    if (npages > STRIDE) /* long ones lie elsewhere, and stay there */
        gfn = (gfn_t)PLACES * STRIDE + (gfn_t)id * 2048;
    assert_int_equal(add_slot(w->kvm, id, 0, gfn, npages, WORLD_HVA + ((uint64_t)host_page << 12)),
                     is_free || npages > STRIDE ? 0 : -EEXIST);
    if (npages > STRIDE ? was_there : !is_free || (was_there && many[id].place == place))
        return false;
    if (npages <= STRIDE) {
        if (was_there)
            holder[many[id].place] = -1;
        holder[place] = (int)id;
    }
    many[id].place = place;
    many[id].host_page = host_page;
    many[id].npages = npages;
    many[id].put_in = ++times_put_in;
    slots_there += !was_there;
    return true;
}

static void take_away(struct world *w, unsigned id)
{
    assert_int_equal(delete_slot(w->kvm, id), is_there(id) ? 0 : -EINVAL);
    if (!is_there(id))
        return;
    if (many[id].npages <= STRIDE)
        holder[many[id].place] = -1;
    many[id].npages = 0;
    slots_there--;
}

static gfn_t gfn_of(unsigned id)
{
    return many[id].npages > STRIDE ? (gfn_t)PLACES * STRIDE + (gfn_t)id * 2048 : (gfn_t)many[id].place * STRIDE;
}

static void assert_found_by_id_and_gfn(struct world *w)
{
    rcu_read_lock();
    for (unsigned id = 0; id < slots_wanted; id++) {
        const struct kvm_memory_slot *slot = tdpmmu_id_to_memslot(w->kvm, 0, (int)id);

        assert_int_equal(slot != NULL, is_there(id));
        if (!slot)
            continue;
        assert_int_equal(slot->id, id);
        assert_int_equal(slot->base_gfn, gfn_of(id));
        assert_int_equal(slot->npages, many[id].npages);
        assert_ptr_equal(gfn_to_memslot(w->kvm, gfn_of(id)), slot);
        assert_ptr_equal(gfn_to_memslot(w->kvm, gfn_of(id) + many[id].npages - 1), slot);
        if (many[id].npages != STRIDE)
            assert_ptr_not_equal(gfn_to_memslot(w->kvm, gfn_of(id) + many[id].npages), slot);
    }
    for (unsigned place = 0; place < PLACES; place++)
        if (holder[place] < 0)
            assert_null(gfn_to_memslot(w->kvm, (gfn_t)place * STRIDE));
    rcu_read_unlock();
}

/* Slots are known by their pointers, too: no warning. */
static void assert_known_by_pointer(struct world *w)
{
    world_forget(w);
    write_lock(&w->kvm->mmu_lock);
    rcu_read_lock();
    for (unsigned id = 0; id < slots_wanted; id++)
        if (is_there(id))
            kvm_tdp_mmu_slot_set_dirty(w->kvm, tdpmmu_id_to_memslot(w->kvm, 0, (int)id));
    rcu_read_unlock();
    assert_no_warning(w);
    kvm_tdp_mmu_slot_set_dirty(w->kvm, (const void *)(WORLD_HVA + 64)); /* never looked into */
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(warnings(w), 1);
    world_forget(w);
}

static int by_host_address(const void *left, const void *right)
{
    unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;

    if (many[a].host_page != many[b].host_page)
        return many[a].host_page < many[b].host_page ? -1 : 1;
    return many[a].put_in < many[b].put_in ? -1 : 1;
}

/* A page of the host that slots have, and what the host takes away with it. */
static void assert_found_by_host_range(struct world *w)
{
    const unsigned page = any(slots_wanted / 2) * 3;
    const uint64_t hva = WORLD_HVA + ((uint64_t)page << 12);
    unsigned ids[256], count = 0;

    for (unsigned id = 0; id < slots_wanted; id++)
        if (is_there(id) && many[id].host_page <= page && page - many[id].host_page < many[id].npages) {
            assert_true(count < 256);
            ids[count++] = id;
        }
    qsort(ids, count, sizeof(ids[0]), by_host_address);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    for (unsigned i = 0; i < count; i++)
        map_page(w, gfn_of(ids[i]) + page - many[ids[i]].host_page, 1);
    world_forget(w);
    write_lock(&w->kvm->mmu_lock);
    assert_int_equal(kvm_tdp_mmu_zap_hva_range(w->kvm, hva, hva + 4096), count > 0);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(w->change_count, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(w->change[i].gfn, gfn_of(ids[i]) + page - many[ids[i]].host_page);
}

static void assert_as_the_model(struct world *w)
{
    assert_found_by_id_and_gfn(w);
    assert_known_by_pointer(w);
    for (unsigned i = 0; i < 40; i++)
        assert_found_by_host_range(w);
}

/* In random order of ids and places, so that each order of a table gets and loses slots everywhere. */
static void fill_up(struct world *w, unsigned count)
{
    for (unsigned id = any(slots_wanted); slots_there < count; id = (id + 7919) % slots_wanted)
        while (!is_there(id))
            try_to_put(w, id, any(PLACES));
}

static void thin_out(struct world *w, unsigned count)
{
    for (unsigned id = any(slots_wanted); slots_there > count; id = (id + 7919) % slots_wanted)
        take_away(w, id);
}

static void as_many_slots_as_there_may_be(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .maxphyaddr = 46, .zap_slot_only = 1 });

    (void)state;
    tdpmmu_check_always(w->kvm, 997); /* each look is at all slots */
    assert_int_equal(delete_slot(w->kvm, 0), 0);
    slots_wanted = rounds(MOST_SLOTS);
    if (slots_wanted < MOST_SLOTS)
        print_message("%u slots, not %u: they would take minutes here\n", slots_wanted, MOST_SLOTS);
    memset(holder, 0xff, sizeof(holder));
    fill_up(w, slots_wanted);
    assert_as_the_model(w);
    thin_out(w, slots_wanted / 2);
    assert_as_the_model(w);
    for (unsigned i = 0; i < slots_wanted / 4; i++) {
        unsigned id = any(slots_wanted);

        if (is_there(id))
            try_to_put(w, id, any(PLACES));
    }
    assert_as_the_model(w);
    fill_up(w, slots_wanted);
    assert_as_the_model(w);
    /* Down to where a table is small, over that border again and again, and up. */
    for (unsigned count = 200; count > 3; count -= count > 70 ? 11 : 3) {
        thin_out(w, count);
        fill_up(w, count + 2);
        assert_found_by_id_and_gfn(w);
        assert_known_by_pointer(w);
        assert_found_by_host_range(w);
    }
    fill_up(w, 500);
    assert_as_the_model(w);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_checks),
        cmocka_unit_test(refused_move),
        cmocka_unit_test(generations_of_two_spaces),
        cmocka_unit_test(big_slot_all_dirty),
        cmocka_unit_test(quirks),
        cmocka_unit_test(logs_by_slot_number),
        cmocka_unit_test(replaced_slot_in_srcu),
        cmocka_unit_test(capability_switched_while_logged),
        cmocka_unit_test(huge_page_at_the_masks_last_page),
        cmocka_unit_test(as_many_slots_as_there_may_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
