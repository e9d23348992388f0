/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stress: every operation at once.  In one process two VMs of different sorts, each
 * with two vCPUs that read, write and fetch, and with threads for the dirty log,
 * aging, memory notifiers, splitting and putting together, slots that come and
 * go, and roots that are invalidated.
 *
 *     stress_mmu [SECONDS [SEED]]
 *
 * The books.  Slot 0 is logged all the time.  A vCPU takes a ticket just before
 * each access and, if the access wrote, notes it for the page; the dirty-log thread
 * takes a ticket just after each harvest and notes it for the pages named.  At the
 * end, when the vCPUs have stopped and after one more harvest, no page may have a
 * write that is younger than the last harvest that named it: that write would be
 * lost to who copies dirty pages.  The change callback counts leaves and changes;
 * both must agree with the tables and the library's counters.  By bit 2 of the seed nobody is told of
 * changes or asked about giving way, so that walks take whole rows of a table: then tables and
 * counters must agree.
 * Exit status 0: nothing lost, nothing wrong, no warning, everything freed.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tdpmmu.h>

#include "eyes.h"

#define GIB UINT64_C(0x40000) /* in pages */
#define LOG KVM_MEM_LOG_DIRTY_PAGES
#define HOST_FRAME (16 * GIB)        /* slot memory in the host: frame = gfn + this */
#define ALT_FRAME (512 * GIB)        /* where the notifier moves single pages to */

/* Slot 0, logged, never changed; 1, comes and goes; 2, huge pages, sometimes logged. */
#define LOGGED_PAGES 4200u           /* eight 2M pages and a ragged end */
#define LOGGED_WORDS ((LOGGED_PAGES + 63) / 64)
#define MOVING_BASE (4 * GIB)
#define MOVING_PAGES 2048u
#define HUGE_BASE (8 * GIB)
#define HUGE_PAGES (2 * GIB)
#define MMIO_BASE (12 * GIB)
#define SMM_SLOT (1u << 16)          /* the memory of slot 0 again, in SMM, not logged */

enum { VCPUS = 2, THREADS = 8 };
enum { READS, WRITES, FETCHES, FAULTS, FAST, RETRIES, HARVESTS, REPORTED, AGES, NOTIFIES, SPLITS, RECOVERS,
       COLLAPSES, NX_STEPS, TABLES, SLOTS, ROOTS, DONE };
static const char *const done_names[DONE] = {
    "reads", "writes", "fetches", "faults", "fast faults", "retries", "harvests", "pages reported", "agings",
    "notifications", "splits", "recoveries", "collapses", "NX steps", "single tables", "slot changes",
    "root changes",
};

struct vm {
    char name[64];
    struct kvm *kvm;
    struct kvm_vcpu *vcpu[VCPUS], *other; /* `other` walks for the threads that are no vCPU */
    const struct kvm_memory_slot *logged; /* slot 0; it stays */
    uint64_t seed;
    bool manual, nx, is_told; /* of changes, and asked about giving way */
    atomic_ullong clock;
    atomic_ullong last_write[LOGGED_PAGES], last_report[LOGGED_PAGES];
    atomic_ullong done[DONE];
    atomic_ullong changes, flushes, warnings, wrong;
    atomic_llong leaves[4];
    uint64_t bitmap[LOGGED_WORDS];
};

struct job {
    struct vm *vm;
    int index;
};

static atomic_bool stop;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void wrong(struct vm *vm, const char *what, uint64_t a, uint64_t b)
{
    if (atomic_fetch_add(&vm->wrong, 1) < 10)
        fprintf(stderr, "%s: %s (0x%" PRIx64 ", 0x%" PRIx64 ")\n", vm->name, what, a, b);
}

static void did(struct vm *vm, int what)
{
    atomic_fetch_add_explicit(&vm->done[what], 1, memory_order_relaxed);
}

static bool going_on(void)
{
    return !atomic_load_explicit(&stop, memory_order_relaxed);
}

/* Few cores: who is no vCPU leaves most of them to the vCPUs. */
static void short_pause(void)
{
    struct timespec pause = { 0, 200000 };

    nanosleep(&pause, NULL);
}

static unsigned level_of(struct kvm_mmu_page *sp)
{
    union kvm_mmu_page_role role;

    role.word = __atomic_load_n(&sp->role.word, __ATOMIC_RELAXED);
    return role.level;
}

/* ---- callbacks -------------------------------------------------------------- */

static void on_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    struct vm *vm = ctx;

    (void)kvm;
    if (atomic_fetch_add(&vm->warnings, 1) < 10)
        fprintf(stderr, "%s: warning: %s: %s (0x%" PRIx64 ", 0x%" PRIx64 ")\n", vm->name,
                warning->function, warning->text, warning->value[0], warning->value[1]);
}

static bool is_leaf(uint64_t spte, int level)
{
    return is_shadow_present_pte(spte) && is_last_spte(spte, level);
}

static void check_leaf(struct vm *vm, gfn_t gfn, int level, uint64_t spte)
{
    kvm_pfn_t pfn = spte_to_pfn(spte);
    gfn_t first = gfn & ~(KVM_PAGES_PER_HPAGE(level) - 1);

    if (pfn != HOST_FRAME + first && !(level == 1 && pfn == ALT_FRAME + gfn))
        wrong(vm, "a leaf maps the wrong page (gfn, spte)", gfn, spte);
}

static void on_change(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level, uint64_t old_spte,
                      uint64_t new_spte, bool shared)
{
    struct vm *vm = ctx;
    bool was_leaf = is_leaf(old_spte, level), now_leaf = is_leaf(new_spte, level);

    (void)kvm;
    (void)as_id;
    (void)shared;
    atomic_fetch_add_explicit(&vm->changes, 1, memory_order_relaxed);
    if (was_leaf && now_leaf && spte_to_pfn(old_spte) != spte_to_pfn(new_spte))
        wrong(vm, "a present leaf changed its pfn (old, new)", old_spte, new_spte);
    if (now_leaf)
        check_leaf(vm, gfn, level, new_spte);
    if (level <= 3 && was_leaf != now_leaf)
        atomic_fetch_add_explicit(&vm->leaves[level], now_leaf ? 1 : -1, memory_order_relaxed);
    /* A split: the 512 children come with the table, untold. */
    if (was_leaf && is_shadow_present_pte(new_spte) && !now_leaf)
        atomic_fetch_add_explicit(&vm->leaves[level - 1], 512, memory_order_relaxed);
}

static void on_flush(void *ctx, struct kvm *kvm, gfn_t start, uint64_t npages)
{
    struct vm *vm = ctx;

    (void)kvm;
    (void)start;
    (void)npages;
    atomic_fetch_add_explicit(&vm->flushes, 1, memory_order_relaxed);
}

/* Now and then, so that walks are cut everywhere. */
static bool need_resched(void *ctx, struct kvm *kvm)
{
    static _Thread_local uint64_t random = 88172645463325252ull;

    (void)ctx;
    (void)kvm;
    return (next_random(&random) & 255) == 0;
}

/* Single pages of slot 0 live at their second place now and then. */
static bool is_moved(struct vm *vm, gfn_t gfn)
{
    return gfn < LOGGED_PAGES && atomic_load_explicit(&vm->last_report[gfn], memory_order_relaxed) % 5 == 1;
}

static kvm_pfn_t gfn_to_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn,
                            bool write, bool *writable, int *max_level)
{
    (void)kvm;
    (void)write;
    *writable = true;
    if (slot->as_id == 0 && slot->id == 0) {
        *max_level = 1;
        return (is_moved(ctx, gfn) ? ALT_FRAME : HOST_FRAME) + gfn;
    }
    *max_level = 3;
    return HOST_FRAME + gfn;
}

static int mapping_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx;
    (void)kvm;
    (void)slot;
    return gfn & 512 ? 3 : 2;
}

/* ---- vCPUs -------------------------------------------------------------------- */

static gfn_t guest_gfn(uint64_t r)
{
    switch (r >> 4 & 15) {
    case 0: return MMIO_BASE + (r >> 16) % 64;
    case 1: case 2: return MOVING_BASE + (r >> 16) % MOVING_PAGES;
    case 3: case 4: case 5: case 6: return HUGE_BASE + (r >> 16) % HUGE_PAGES;
    case 7: case 8: case 9: return (r >> 16) % 64; /* where all meet */
    default: return (r >> 16) % LOGGED_PAGES;
    }
}

static void note_later(atomic_ullong *cell, unsigned long long ticket)
{
    unsigned long long seen = atomic_load_explicit(cell, memory_order_relaxed);

    while (seen < ticket && !atomic_compare_exchange_weak(cell, &seen, ticket))
        ;
}

static void load(struct vm *vm, struct kvm_vcpu *vcpu)
{
    if (kvm_mmu_load(vcpu))
        wrong(vm, "kvm_mmu_load failed", 0, 0);
}

/* The fault of an access; false if the access is to be given up. */
static bool handle_fault(struct vm *vm, struct kvm_vcpu *vcpu, gfn_t gfn, uint64_t error_code)
{
    int ret = kvm_tdp_mmu_page_fault(vcpu, gfn << 12, error_code);

    did(vm, FAULTS);
    switch (ret) {
    case RET_PF_FIXED:
    case RET_PF_SPURIOUS:
        return true;
    case RET_PF_RETRY:
        did(vm, RETRIES);
        load(vm, vcpu);
        return true;
    case RET_PF_EMULATE: /* MMIO, for ever or because the slot is away */
        if (gfn < MOVING_BASE || (gfn >= HUGE_BASE && gfn < MMIO_BASE))
            wrong(vm, "memory was taken for MMIO (gfn, error code)", gfn, error_code);
        return false;
    default:
        wrong(vm, "a fault was answered with", (uint64_t)(int64_t)ret, gfn);
        return false;
    }
}

static void guest_access(struct vm *vm, struct kvm_vcpu *vcpu, gfn_t gfn, uint64_t access)
{
    for (int tries = 0; tries < 100 && going_on(); tries++) {
        unsigned long long ticket = atomic_fetch_add(&vm->clock, 1) + 1;
        uint64_t error_code = 0;
        int ret = tdpmmu_cpu_access(vcpu, gfn << 12, access, &error_code);

        if (ret > 0) {
            if (access & PFERR_WRITE_MASK && gfn < LOGGED_PAGES && tdpmmu_vcpu_as_id(vcpu) == 0) {
                if (ret != 1)
                    wrong(vm, "a logged page was written through a leaf at level", (uint64_t)ret, gfn);
                note_later(&vm->last_write[gfn], ticket);
            }
            did(vm, access & PFERR_WRITE_MASK ? WRITES : access & PFERR_FETCH_MASK ? FETCHES : READS);
            return;
        }
        if (ret < 0) {
            wrong(vm, "tdpmmu_cpu_access", (uint64_t)(int64_t)ret, gfn);
            return;
        }
        if (!handle_fault(vm, vcpu, gfn, error_code))
            return;
    }
}

static void *vcpu_thread(void *arg)
{
    const struct job *job = arg;
    struct vm *vm = job->vm;
    struct kvm_vcpu *vcpu = vm->vcpu[job->index];
    uint64_t random = vm->seed * 31 + (uint64_t)job->index * 17 + 1;

    while (going_on()) {
        uint64_t r = next_random(&random);
        static const uint64_t accesses[8] = { 0, PFERR_FETCH_MASK, 0, PFERR_WRITE_MASK, PFERR_WRITE_MASK,
                                              PFERR_WRITE_MASK, PFERR_WRITE_MASK, PFERR_WRITE_MASK };
        gfn_t gfn = guest_gfn(r);

        if (job->index == 1 && (r >> 50 & 1023) == 0) { /* into SMM, or back */
            if (tdpmmu_vcpu_set_as_id(vcpu, !tdpmmu_vcpu_as_id(vcpu)))
                wrong(vm, "tdpmmu_vcpu_set_as_id", 0, 0);
            load(vm, vcpu);
        }
        if (tdpmmu_vcpu_as_id(vcpu) == 1)
            gfn %= 4096; /* all that SMM has */
        guest_access(vm, vcpu, gfn, accesses[r & 7]);
    }
    return NULL;
}

/* ---- the others ----------------------------------------------------------------- */

/*
 * The pages a harvest named, noted after it: their writes so far are not lost,
 * since who harvests copies the pages after it.
 */
static void note_reported(struct vm *vm)
{
    unsigned long long ticket = atomic_fetch_add(&vm->clock, 1) + 1;
    unsigned long long pages = 0;

    for (unsigned page = 0; page < LOGGED_PAGES; page++)
        if (vm->bitmap[page / 64] >> (page % 64) & 1) {
            note_later(&vm->last_report[page], ticket);
            pages++;
        }
    atomic_fetch_add(&vm->done[REPORTED], pages);
    did(vm, HARVESTS);
}

static void harvest(struct vm *vm, unsigned first_word, unsigned words)
{
    struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = vm->bitmap };
    struct kvm_clear_dirty_log clear = { .slot = 0, .first_page = first_word * 64 };
    unsigned last_page = (first_word + words) * 64;

    if (kvm_vm_ioctl_get_dirty_log(vm->kvm, &log))
        wrong(vm, "kvm_vm_ioctl_get_dirty_log", 0, 0);
    if (vm->bitmap[LOGGED_WORDS - 1] >> (LOGGED_PAGES % 64))
        wrong(vm, "the bitmap names pages beyond the slot", vm->bitmap[LOGGED_WORDS - 1], 0);
    if (vm->manual) {
        /* A part of it; what is not cleared counts as not harvested. */
        for (unsigned i = 0; i < LOGGED_WORDS; i++)
            if (i < first_word || i >= first_word + words)
                vm->bitmap[i] = 0;
        clear.num_pages = (last_page < LOGGED_PAGES ? last_page : LOGGED_PAGES) - first_word * 64;
        clear.dirty_bitmap = vm->bitmap + first_word;
        if (kvm_vm_ioctl_clear_dirty_log(vm->kvm, &clear))
            wrong(vm, "kvm_vm_ioctl_clear_dirty_log", first_word, words);
    }
    note_reported(vm);
}

static void *dirty_log_thread(void *arg)
{
    struct vm *vm = ((const struct job *)arg)->vm;
    uint64_t random = vm->seed * 37 + 1;

    while (going_on()) {
        uint64_t r = next_random(&random);
        unsigned first = (unsigned)(r >> 8) % LOGGED_WORDS;

        if (r & 3)
            harvest(vm, first, 1 + (unsigned)(r >> 20) % (LOGGED_WORDS - first));
        else
            harvest(vm, 0, LOGGED_WORDS);
        read_lock(&vm->kvm->mmu_lock); /* more to be seen can only help */
        if (r & 4 ? kvm_tdp_mmu_wrprot_slot(vm->kvm, vm->logged, 1 + (int)((r >> 34) % 3))
                  : (r & 24) == 8 && kvm_tdp_mmu_clear_dirty_slot(vm->kvm, vm->logged))
            kvm_flush_remote_tlbs(vm->kvm);
        read_unlock(&vm->kvm->mmu_lock);
        if ((r >> 40 & 7) == 0) {
            write_lock(&vm->kvm->mmu_lock);
            kvm_tdp_mmu_clear_dirty_pt_masked(vm->kvm, vm->logged, first * 64, r, r >> 45 & 1);
            kvm_tdp_mmu_write_protect_gfn(vm->kvm, vm->logged, (r >> 16) % LOGGED_PAGES, 1);
            kvm_flush_remote_tlbs(vm->kvm);
            write_unlock(&vm->kvm->mmu_lock);
        }
        tdpmmu_mark_page_dirty(vm->kvm, 0, (r >> 20) % LOGGED_PAGES);
        short_pause();
    }
    return NULL;
}

static void *aging_thread(void *arg)
{
    struct vm *vm = ((const struct job *)arg)->vm;
    uint64_t random = vm->seed * 41 + 1;

    while (going_on()) {
        uint64_t r = next_random(&random);
        gfn_t start = (r >> 8) % LOGGED_PAGES, end = start + 1 + (r >> 40) % (LOGGED_PAGES - start);
        struct kvm_gfn_range range = { .slot = vm->logged, .start = start, .end = end };
        uint64_t hva = (HOST_FRAME + HUGE_BASE + (r >> 8) % HUGE_PAGES) << 12;

        switch (r & 3) {
        case 0: kvm_tdp_mmu_age_gfn_range(vm->kvm, &range); break;
        case 1: kvm_tdp_mmu_test_age_gfn(vm->kvm, &range); break;
        case 2: kvm_tdp_mmu_age_hva_range(vm->kvm, hva, hva + (64ull << 20)); break;
        case 3: kvm_tdp_mmu_test_age_hva(vm->kvm, hva); break;
        }
        did(vm, AGES);
        short_pause();
    }
    return NULL;
}

/* Takes host pages away, as the kernel does it: begin, zap, flush, end. */
static void *notifier_thread(void *arg)
{
    struct vm *vm = ((const struct job *)arg)->vm;
    uint64_t random = vm->seed * 43 + 1;

    while (going_on()) {
        uint64_t r = next_random(&random);
        gfn_t gfn = r & 1 ? (r >> 8) % LOGGED_PAGES : r & 2 ? HUGE_BASE + (r >> 8) % HUGE_PAGES
                                                       : MOVING_BASE + (r >> 8) % MOVING_PAGES;
        uint64_t npages = 1 + (r >> 40) % (r & 4 ? 600 : 4), hva = (HOST_FRAME + gfn) << 12;

        write_lock(&vm->kvm->mmu_lock);
        kvm_mmu_invalidate_begin(vm->kvm);
        kvm_mmu_invalidate_range_add(vm->kvm, gfn, gfn + npages);
        if (r & 8 && gfn < LOGGED_PAGES)
            kvm_tdp_mmu_set_spte_hva(vm->kvm, hva, (is_moved(vm, gfn) ? ALT_FRAME : HOST_FRAME) + gfn, r & 16);
        else if (kvm_tdp_mmu_zap_hva_range(vm->kvm, hva, hva + (npages << 12)))
            kvm_flush_remote_tlbs(vm->kvm); /* huge pages may reach out of the range */
        write_unlock(&vm->kvm->mmu_lock);
        if (r & 32)
            short_pause(); /* faults meet a running one */
        write_lock(&vm->kvm->mmu_lock);
        kvm_mmu_invalidate_end(vm->kvm);
        write_unlock(&vm->kvm->mmu_lock);
        did(vm, NOTIFIES);
        short_pause();
    }
    return NULL;
}

static void set_slot(struct vm *vm, uint32_t id, uint32_t flags, gfn_t base, uint64_t npages)
{
    struct kvm_userspace_memory_region region = {
        .slot = id, .flags = flags, .guest_phys_addr = base << 12, .memory_size = npages << 12,
        .userspace_addr = npages ? (HOST_FRAME + base) << 12 : 0,
    };
    int ret = kvm_set_memory_region(vm->kvm, &region);

    if (ret)
        wrong(vm, "kvm_set_memory_region", (uint64_t)(int64_t)ret, id);
}

/* Slot 2 by id: only the split thread changes it, and holds no lock then. */
static const struct kvm_memory_slot *huge_slot(struct vm *vm)
{
    const struct kvm_memory_slot *slot;

    rcu_read_lock();
    slot = tdpmmu_id_to_memslot(vm->kvm, 0, 2);
    rcu_read_unlock();
    return slot;
}

static void zap_some_table(struct vm *vm, gfn_t gfn)
{
    struct kvm_mmu_page *sp = NULL, *root;
    struct tdp_iter iter;

    load(vm, vm->other);
    root = tdpmmu_vcpu_root(vm->other);
    write_lock(&vm->kvm->mmu_lock);
    rcu_read_lock();
    for_each_tdp_pte_min_level(iter, root->spt, (int)level_of(root), 2, gfn, gfn + 1)
        if (is_shadow_present_pte(iter.old_spte) && !is_last_spte(iter.old_spte, iter.level) && iter.level <= 3)
            sp = sptep_to_sp(spte_to_child_pt(iter.old_spte, iter.level));
    if (sp && !kvm_tdp_mmu_zap_sp(vm->kvm, sp))
        wrong(vm, "a linked table was not zapped", gfn, level_of(sp));
    rcu_read_unlock();
    write_unlock(&vm->kvm->mmu_lock);
    did(vm, TABLES);
}

static void *split_thread(void *arg)
{
    struct vm *vm = ((const struct job *)arg)->vm;
    uint64_t random = vm->seed * 47 + 1;

    for (unsigned round = 0; going_on(); round++) {
        const struct kvm_memory_slot *slot = huge_slot(vm);
        uint64_t r = next_random(&random);
        gfn_t start = HUGE_BASE + (r >> 8) % HUGE_PAGES, end = start + (r >> 40) % 5000;
        bool shared = r & 16;
        int ret;

        if (end > HUGE_BASE + HUGE_PAGES)
            end = HUGE_BASE + HUGE_PAGES;
        switch (r & 7) {
        case 0: case 1: case 2:
            if (shared)
                read_lock(&vm->kvm->mmu_lock);
            else
                write_lock(&vm->kvm->mmu_lock);
            ret = kvm_tdp_mmu_try_split_huge_pages(vm->kvm, slot, start, end, 1 + (r >> 5 & 1), shared);
            if (shared)
                read_unlock(&vm->kvm->mmu_lock);
            else
                write_unlock(&vm->kvm->mmu_lock);
            if (ret)
                wrong(vm, "kvm_tdp_mmu_try_split_huge_pages", (uint64_t)(int64_t)ret, start);
            did(vm, SPLITS);
            break;
        case 3: case 4:
            read_lock(&vm->kvm->mmu_lock);
            kvm_tdp_mmu_recover_huge_pages(vm->kvm, slot);
            read_unlock(&vm->kvm->mmu_lock);
            did(vm, RECOVERS);
            break;
        case 5:
            read_lock(&vm->kvm->mmu_lock);
            kvm_tdp_mmu_zap_collapsible_sptes(vm->kvm, slot);
            read_unlock(&vm->kvm->mmu_lock);
            did(vm, COLLAPSES);
            break;
        case 6:
            if (tdpmmu_nx_recover(vm->kvm, 2) < 0)
                wrong(vm, "tdpmmu_nx_recover", 0, 0);
            did(vm, NX_STEPS);
            break;
        case 7:
            zap_some_table(vm, r & 32 ? start : (r >> 8) % LOGGED_PAGES);
            break;
        }
        if (round % 64 == 0) { /* logged for a while, and back to huge pages */
            set_slot(vm, 2, LOG, HUGE_BASE, HUGE_PAGES);
            short_pause();
            set_slot(vm, 2, 0, HUGE_BASE, HUGE_PAGES);
            did(vm, SLOTS);
        }
        if (round % 512 == 511 && tdpmmu_set_nx_huge_pages(vm->kvm, vm->nx = !vm->nx))
            wrong(vm, "tdpmmu_set_nx_huge_pages", 0, 0);
        short_pause();
    }
    return NULL;
}

static void *slot_thread(void *arg)
{
    struct vm *vm = ((const struct job *)arg)->vm;

    for (unsigned round = 0; going_on(); round++) {
        set_slot(vm, 1, 0, 0, 0);
        short_pause();
        set_slot(vm, 1, round & 1 ? LOG : 0, MOVING_BASE, MOVING_PAGES);
        did(vm, SLOTS);
        for (int i = 0; i < 20 && going_on(); i++)
            short_pause();
    }
    return NULL;
}

static void *root_thread(void *arg)
{
    struct vm *vm = ((const struct job *)arg)->vm;
    uint64_t random = vm->seed * 53 + 1;

    while (going_on()) {
        uint64_t r = next_random(&random);
        gfn_t start = (r >> 8) % (HUGE_BASE + HUGE_PAGES), end = start + (r >> 40) % 100000;

        switch (r & 15) {
        case 0:
            kvm_mmu_zap_all_fast(vm->kvm);
            break;
        case 1:
            write_lock(&vm->kvm->mmu_lock);
            kvm_tdp_mmu_invalidate_all_roots(vm->kvm);
            write_unlock(&vm->kvm->mmu_lock);
            short_pause(); /* others meet invalid roots that still map */
            kvm_tdp_mmu_zap_invalidated_roots(vm->kvm);
            break;
        case 2:
            write_lock(&vm->kvm->mmu_lock);
            kvm_tdp_mmu_zap_all(vm->kvm);
            write_unlock(&vm->kvm->mmu_lock);
            break;
        default:
            write_lock(&vm->kvm->mmu_lock);
            if (r & 16 ? kvm_tdp_mmu_zap_gfn_range(vm->kvm, start, end)
                       : kvm_tdp_mmu_zap_leafs(vm->kvm, start, end, false))
                kvm_flush_remote_tlbs(vm->kvm);
            write_unlock(&vm->kvm->mmu_lock);
        }
        did(vm, ROOTS);
        for (int i = 0; i < 10 && going_on(); i++)
            short_pause();
    }
    return NULL;
}

/* ---- beginning and end --------------------------------------------------------- */

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void make_vm(struct vm *vm, uint64_t seed, bool is_told)
{
    static const char *const names[4] = { "EPT", "EPT without PML", "EPT without A/D", "NPT" };
    int kind = (int)(seed & 3);
    struct tdpmmu_ops ops = {
        .size = sizeof(ops), .warn = on_warning, .spte_changed = is_told ? on_change : NULL, .flush_tlb = on_flush,
        .need_resched = is_told ? need_resched : NULL, .gfn_to_pfn = gfn_to_pfn, .mapping_level = mapping_level,
    };
    struct tdpmmu_vm_config config = {
        .size = sizeof(config), .ops = &ops, .ops_ctx = vm,
        .vendor = kind == 3 ? TDPMMU_NPT : TDPMMU_EPT, .no_pml = kind == 1, .ad_disabled = kind == 2,
        .root_level = 4 + (seed >> 2 & 1), .nx_huge_pages = seed >> 3 & 1, .no_eager_split = seed >> 4 & 1,
        .dirty_log = seed >> 5 & 1 ? KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE : 0,
    };

    if (config.dirty_log && seed >> 6 & 1)
        config.dirty_log |= KVM_DIRTY_LOG_INITIALLY_SET;
    snprintf(vm->name, sizeof(vm->name), "%s, %u levels%s%s%s%s", names[kind], config.root_level,
             config.nx_huge_pages ? ", NX" : "", config.no_eager_split ? ", lazy" : "",
             config.dirty_log ? ", manual" : "", config.dirty_log > 1 ? ", all set" : "");
    vm->seed = seed;
    vm->is_told = is_told;
    vm->manual = config.dirty_log != 0;
    vm->nx = config.nx_huge_pages;
    vm->kvm = tdpmmu_create_vm(&config);
    if (!vm->kvm)
        fail("tdpmmu_create_vm");
    tdpmmu_check_always(vm->kvm, 4099);
    open_eyes(vm->kvm, true);
    set_slot(vm, 0, LOG, 0, LOGGED_PAGES);
    set_slot(vm, SMM_SLOT, 0, 0, 4096);
    set_slot(vm, 1, 0, MOVING_BASE, MOVING_PAGES);
    set_slot(vm, 2, 0, HUGE_BASE, HUGE_PAGES);
    rcu_read_lock();
    vm->logged = tdpmmu_id_to_memslot(vm->kvm, 0, 0);
    rcu_read_unlock();
    for (int i = 0; i <= VCPUS; i++) {
        struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(vm->kvm, i);

        if (!vcpu || kvm_mmu_load(vcpu))
            fail("tdpmmu_create_vcpu");
        if (i < VCPUS)
            vm->vcpu[i] = vcpu;
        else
            vm->other = vcpu;
    }
}

static bool has_idle_part(struct vm *vm)
{
    for (int i = 0; i < DONE; i++)
        if (i != FAST && !atomic_load(&vm->done[i]))
            return true;
    return false;
}

/* Every write is in the harvests; the vCPUs have stopped. */
static void compare_writes(struct vm *vm)
{
    unsigned written = 0;

    harvest(vm, 0, LOGGED_WORDS);
    for (unsigned page = 0; page < LOGGED_PAGES; page++) {
        unsigned long long write = atomic_load(&vm->last_write[page]);

        written += write != 0;
        if (write > atomic_load(&vm->last_report[page]))
            wrong(vm, "a write is in no bitmap (page, its ticket)", page, write);
    }
    printf("%s: %u of %u logged pages were written\n", vm->name, written, LOGGED_PAGES);
}

/* Tables, counters and the callback's books agree. */
static void compare_leaves(struct vm *vm)
{
    struct tdpmmu_stats stats;
    uint64_t found[4] = { 0 };

    for (int space = 0; space < 2; space++) {
        struct kvm_mmu_page *root;
        struct tdp_iter iter;

        if (tdpmmu_vcpu_set_as_id(vm->other, space))
            wrong(vm, "tdpmmu_vcpu_set_as_id", (uint64_t)space, 0);
        load(vm, vm->other);
        root = tdpmmu_vcpu_root(vm->other);
        rcu_read_lock();
        for_each_tdp_pte(iter, root->spt, (int)level_of(root), 0, UINT64_MAX) {
            if (is_leaf(iter.old_spte, iter.level)) {
                check_leaf(vm, iter.gfn, iter.level, iter.old_spte);
                found[iter.level]++;
            }
            if (is_frozen_spte(iter.old_spte))
                wrong(vm, "an entry stayed frozen (gfn, level)", iter.gfn, (uint64_t)iter.level);
        }
        rcu_read_unlock();
    }
    tdpmmu_get_stats(vm->kvm, &stats, sizeof(stats));
    for (int level = 1; level <= 3; level++) {
        uint64_t counted = level == 1 ? stats.pages_4k : level == 2 ? stats.pages_2m : stats.pages_1g;

        if (found[level] != counted)
            wrong(vm, "leaves in the tables, leaves in the counters", found[level], counted);
        if (vm->is_told && found[level] != (uint64_t)atomic_load(&vm->leaves[level]))
            wrong(vm, "leaves in the tables, leaves by the changes told", found[level],
                  (uint64_t)atomic_load(&vm->leaves[level]));
    }
    if (vm->is_told && stats.spte_changes != atomic_load(&vm->changes))
        wrong(vm, "changes counted, changes told", stats.spte_changes, atomic_load(&vm->changes));
    if (stats.tlb_flushes != atomic_load(&vm->flushes))
        wrong(vm, "flushes counted, flushes told", stats.tlb_flushes, atomic_load(&vm->flushes));
    atomic_store(&vm->done[FAST], stats.fast_faults);
    printf("%s: %" PRIu64 " SPTE changes, %" PRIu64 " flushes, %" PRIu64 " yields, %" PRIu64 " splits\n",
           vm->name, stats.spte_changes, stats.tlb_flushes, stats.yields, stats.splits);
}

/* Takes the VM down; true if all is well. */
static bool finish_vm(struct vm *vm)
{
    struct tdpmmu_stats stats;

    kvm_tdp_mmu_zap_invalidated_roots(vm->kvm);
    for (int i = 0; i < VCPUS; i++)
        kvm_mmu_unload(vm->vcpu[i]);
    compare_writes(vm);
    compare_leaves(vm);
    /* All stand-ins can be taken away, and then none is left. */
    if (tdpmmu_nx_recover(vm->kvm, 1) < 0)
        wrong(vm, "tdpmmu_nx_recover", 1, 0);
    tdpmmu_get_stats(vm->kvm, &stats, sizeof(stats));
    if (stats.nx_splits)
        wrong(vm, "stand-ins are left after recovery", stats.nx_splits, 0);
    kvm_mmu_uninit_tdp_mmu(vm->kvm);
    tdpmmu_get_stats(vm->kvm, &stats, sizeof(stats));
    if (stats.tables || stats.tables_stray || stats.roots || stats.pages_4k || stats.pages_2m || stats.pages_1g)
        wrong(vm, "left after uninit: tables, leaves", stats.tables + stats.tables_stray + stats.roots,
              stats.pages_4k + stats.pages_2m + stats.pages_1g);
    printf("%s:", vm->name);
    for (int i = 0; i < DONE; i++)
        printf("%s %llu %s", i ? "," : "", atomic_load(&vm->done[i]), done_names[i]);
    printf("\n%s: %llu warnings, %llu wrong\n", vm->name, atomic_load(&vm->warnings),
           atomic_load(&vm->wrong));
    if (tdpmmu_check(vm->kvm) > 0)
        atomic_fetch_add(&vm->wrong, 1);
    tdpmmu_destroy_vm(vm->kvm);
    return !atomic_load(&vm->warnings) && !atomic_load(&vm->wrong);
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 10;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
    static struct vm vms[2], process = { .name = "process" };
    void *(*const roles[THREADS])(void *) = { vcpu_thread, vcpu_thread, dirty_log_thread, aging_thread,
                                              notifier_thread, split_thread, slot_thread, root_thread };
    pthread_t threads[2][THREADS];
    struct job jobs[2][THREADS];
    bool good = true, is_told = !(seed & 4); /* the low bits choose the hardware */

    if (seconds == 0 || seed == 0) {
        fprintf(stderr, "usage: stress_mmu [SECONDS [SEED]]\n");
        return 2;
    }
    printf("stress: %u s, seed %" PRIu64 ", %s\n", seconds, seed,
           is_told ? "told of each change: by the entry" : "nobody is told of changes: by the row");
    fflush(stdout);
    tdpmmu_set_warn_handler(on_warning, &process);
    /* Two of the four sorts of hardware, in turn, and whatever options come out. */
    make_vm(&vms[0], seed * 0x9e3779b97f4a7c15 >> 20 << 2 | (seed & 3), is_told);
    make_vm(&vms[1], seed * 0xbf58476d1ce4e5b9 >> 20 << 2 | ((seed + 2) & 3), is_told);
    for (int v = 0; v < 2; v++)
        for (int t = 0; t < THREADS; t++) {
            jobs[v][t] = (struct job){ &vms[v], t };
            if (pthread_create(&threads[v][t], NULL, roles[t], &jobs[v][t]))
                fail("pthread_create");
        }
    sleep(seconds);
    /* On a slow machine longer: until each thread has done all it can do. */
    while (has_idle_part(&vms[0]) || has_idle_part(&vms[1]))
        sleep(1);
    atomic_store(&stop, true);
    for (int v = 0; v < 2; v++)
        for (int t = 0; t < THREADS; t++)
            pthread_join(threads[v][t], NULL);
    for (int v = 0; v < 2; v++)
        good &= finish_vm(&vms[v]);
    good &= !atomic_load(&process.warnings);
    printf("stress: %s\n", good ? "good" : "BAD");
    return good ? 0 : 1;
}
