/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Torture: in one process an EPT and an NPT VM, each with two faulting threads,
 * one that zaps by every way there is, and one that walks with RCU alone.
 *
 *     torture_mmu [SECONDS [SEED]]
 *
 * Every page's pfn follows from its gfn, so a walker can tell a wrong SPTE from
 * a right one.  The change callback keeps books of its own, which must agree with
 * the tables and with the library's counters at the end.  By an odd seed nobody is told of
 * changes, so that walks take whole rows of a table: then tables and counters must agree, and
 * each leaf that is there at the end is looked at.  Exit status 0: no warning, no wrong value, all
 * books agree, every table freed.
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

#define GIB UINT64_C(0x40000)            /* in pages */
#define FIXED_PAGES (2 * GIB)            /* slot 0, there all the time */
#define MOVING_BASE (4 * GIB)            /* slot 1, deleted and added again */
#define MOVING_PAGES (GIB / 4)
#define PFN_OFFSET (16 * GIB)            /* pfn = gfn + this, also by default through hva */
#define PFN_OF(gfn) ((gfn) + PFN_OFFSET)
#define FAULT_THREADS 2

enum { FIXED, SPURIOUS, RETRY, EMULATE, FAULT_ANSWERS };
enum { ZAP_RANGE, ZAP_LEAFS, ZAP_ALL_ROOTS, UNMAP, INVALIDATE, ZAP_FAST, SLOT, ZAPS };
static const char *const zap_names[ZAPS] = {
    "zap_gfn_range", "zap_leafs", "zap_gfn_range all", "unmap_gfn_range", "invalidate + zap",
    "zap_all_fast", "slot delete/add",
};

struct vm {
    const char *name;
    struct kvm *kvm;
    struct kvm_vcpu *fault_vcpu[FAULT_THREADS], *zap_vcpu, *walk_vcpu;
    uint64_t seed;
    bool is_told; /* of changes */
    atomic_ullong faults[FAULT_ANSWERS], reloads, accesses;
    atomic_ullong zaps[ZAPS];
    atomic_ullong walks, walked_leaves, walked_frozen;
    atomic_ullong changes, flushes, warnings, wrong;
    atomic_llong leaves[4]; /* the callback's books, by level */
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

/* The role of a root changes (invalid) while others look at it. */
static union kvm_mmu_page_role role_of(struct kvm_mmu_page *sp)
{
    union kvm_mmu_page_role role;

    role.word = __atomic_load_n(&sp->role.word, __ATOMIC_RELAXED);
    return role;
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
    gfn_t first = gfn & ~(KVM_PAGES_PER_HPAGE(level) - 1);

    if (spte_to_pfn(spte) != PFN_OF(first))
        wrong(vm, "a leaf maps the wrong page (gfn, spte)", gfn, spte);
}

static void on_change(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level,
                      uint64_t old_spte, uint64_t new_spte, bool shared)
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

/* ---- threads ---------------------------------------------------------------- */

static gfn_t random_gfn(uint64_t *random)
{
    uint64_t r = next_random(random);

    /* Half of them crowd in 64 MiB, so that threads meet. */
    return r & 1 ? (r >> 8) % FIXED_PAGES : (r >> 8) % (GIB / 16);
}

static void count_fault(struct vm *vm, struct kvm_vcpu *vcpu, int ret)
{
    int answer;

    switch (ret) {
    case RET_PF_FIXED: answer = FIXED; break;
    case RET_PF_SPURIOUS: answer = SPURIOUS; break;
    case RET_PF_EMULATE: answer = EMULATE; break;
    case RET_PF_RETRY:
        answer = RETRY;
        if (role_of(tdpmmu_vcpu_root(vcpu)).invalid)
            atomic_fetch_add_explicit(&vm->reloads, 1, memory_order_relaxed);
        if (kvm_mmu_load(vcpu))
            wrong(vm, "kvm_mmu_load failed", 0, 0);
        break;
    default:
        wrong(vm, "a fault was answered with", (uint64_t)(int64_t)ret, 0);
        return;
    }
    atomic_fetch_add_explicit(&vm->faults[answer], 1, memory_order_relaxed);
}

static void *fault_thread(void *arg)
{
    const struct job *job = arg;
    struct vm *vm = job->vm;
    struct kvm_vcpu *vcpu = vm->fault_vcpu[job->index];
    const bool caches = getenv("TDPMMU_TEST_EYES");
    uint64_t random = vm->seed * 31 + (uint64_t)job->index * 17 + 1;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t r = next_random(&random);
        uint64_t error_code = r & 3 ? PFERR_WRITE_MASK : 0;
        gfn_t gfn = random_gfn(&random);
        int ret;

        if (r >> 8 & 15) {
            int level = r >> 16 & 31 ? PG_LEVEL_4K : PG_LEVEL_2M;

            read_lock(&vm->kvm->mmu_lock);
            /* CPUs that cache go on writing to what a host takes the right from without a notifier. */
            ret = kvm_tdp_mmu_map(vcpu, gfn << 12, error_code, ((caches ? gfn >> 9 : r >> 24) & 7) != 0, level,
                                  PFN_OF(gfn), (r >> 32 & 63) == 0);
            read_unlock(&vm->kvm->mmu_lock);
        } else { /* the slot that comes and goes; MMIO while it is away */
            ret = kvm_tdp_mmu_page_fault(vcpu, (MOVING_BASE + gfn % MOVING_PAGES) << 12, error_code);
        }
        count_fault(vm, vcpu, ret);
        if ((r >> 40 & 7) == 0) {
            ret = tdpmmu_cpu_access(vcpu, random_gfn(&random) << 12, error_code, NULL);
            if (ret < 0)
                wrong(vm, "tdpmmu_cpu_access", (uint64_t)(int64_t)ret, 0);
            atomic_fetch_add_explicit(&vm->accesses, 1, memory_order_relaxed);
        }
    }
    return NULL;
}

static void set_slot(struct vm *vm, uint32_t id, gfn_t base, uint64_t npages)
{
    struct kvm_userspace_memory_region region = {
        .slot = id, .guest_phys_addr = base << 12, .memory_size = npages << 12,
        .userspace_addr = PFN_OF(base) << 12,
    };
    int ret = kvm_set_memory_region(vm->kvm, &region);

    if (ret)
        wrong(vm, "kvm_set_memory_region", (uint64_t)(int64_t)ret, id);
}

static void short_pause(void)
{
    struct timespec pause = { 0, 50000 };

    nanosleep(&pause, NULL);
}

static void zap_once(struct vm *vm, unsigned round, uint64_t *random)
{
    uint64_t r = next_random(random);
    gfn_t start = random_gfn(random);
    gfn_t end = start + 1 + (r >> 20) % ((r & 7) == 1 ? 4096 : 64);
    struct kvm_gfn_range range = { .start = start, .end = end, .may_block = (r & 2) != 0 };
    /* Small zaps often, big hammers now and then, all in turn. */
    int way = (int)(round % 8 ? round % 4 : INVALIDATE + round / 8 % 3);
    bool flush = false;

    if (kvm_mmu_load(vm->zap_vcpu))
        wrong(vm, "kvm_mmu_load failed", 1, 0);
    if (end > FIXED_PAGES)
        range.end = end = FIXED_PAGES;
    switch (way) {
    case ZAP_RANGE:
    case ZAP_LEAFS:
    case ZAP_ALL_ROOTS:
    case UNMAP:
        /* Only this thread changes slots, so slot 0 stays what it is. */
        rcu_read_lock();
        range.slot = tdpmmu_id_to_memslot(vm->kvm, 0, 0);
        rcu_read_unlock();
        write_lock(&vm->kvm->mmu_lock);
        if (way == ZAP_RANGE)
            flush = zap_gfn_range(vm->kvm, tdpmmu_vcpu_root(vm->zap_vcpu), start, end, (r & 4) != 0);
        else if (way == ZAP_LEAFS)
            flush = kvm_tdp_mmu_zap_leafs(vm->kvm, start, end, false);
        else if (way == ZAP_ALL_ROOTS)
            flush = kvm_tdp_mmu_zap_gfn_range(vm->kvm, start, end);
        else
            flush = kvm_tdp_mmu_unmap_gfn_range(vm->kvm, &range, false);
        if (flush) /* huge pages may reach out of the range */
            kvm_flush_remote_tlbs(vm->kvm);
        write_unlock(&vm->kvm->mmu_lock);
        break;
    case INVALIDATE:
        write_lock(&vm->kvm->mmu_lock);
        kvm_tdp_mmu_invalidate_all_roots(vm->kvm);
        write_unlock(&vm->kvm->mmu_lock);
        kvm_tdp_mmu_zap_invalidated_roots(vm->kvm);
        break;
    case ZAP_FAST:
        kvm_mmu_zap_all_fast(vm->kvm);
        break;
    case SLOT:
        set_slot(vm, 1, 0, 0);
        short_pause();
        set_slot(vm, 1, MOVING_BASE, MOVING_PAGES);
        break;
    }
    atomic_fetch_add_explicit(&vm->zaps[way], 1, memory_order_relaxed);
}

static void *zap_thread(void *arg)
{
    const struct job *job = arg;
    uint64_t random = job->vm->seed * 37 + 5;

    for (unsigned round = 0; !atomic_load_explicit(&stop, memory_order_relaxed); round++) {
        zap_once(job->vm, round, &random);
        short_pause(); /* let something be there to zap */
    }
    return NULL;
}

/* Inside RCU: one walk by get_walk, one by the iterator over a few tables. */
static void walk_once(struct vm *vm, uint64_t *random)
{
    gfn_t gfn = random_gfn(random), start = random_gfn(random) & ~UINT64_C(511);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(vm->walk_vcpu);
    uint64_t sptes[6] = { 0 }, leaves = 0, frozen = 0;
    struct tdp_iter iter;
    int root_level = 0;
    int level = kvm_tdp_mmu_get_walk(vm->walk_vcpu, gfn << 12, sptes, &root_level);

    if (level < 1 || level > root_level)
        wrong(vm, "get_walk ended at level", (uint64_t)(int64_t)level, gfn);
    else if (is_leaf(sptes[level], level))
        check_leaf(vm, gfn, level, sptes[level]);
    else if (is_shadow_present_pte(sptes[level]) && level == 1)
        wrong(vm, "get_walk ended in the middle", sptes[level], gfn);

    for_each_tdp_pte(iter, root->spt, (int)role_of(root).level, start, start + 1024) {
        struct kvm_mmu_page *sp = sptep_to_sp(iter.sptep);

        /* The table cannot have been freed or put to other use: we are in RCU. */
        if (!sp || sp->kvm != vm->kvm || (int)role_of(sp).level != iter.level)
            wrong(vm, "the walk stands in a page that is no table of its level", iter.gfn,
                  (uint64_t)iter.level);
        if (is_leaf(iter.old_spte, iter.level)) {
            check_leaf(vm, iter.gfn, iter.level, iter.old_spte);
            leaves++;
        } else if (is_frozen_spte(iter.old_spte)) {
            frozen++;
        } else if (!is_shadow_present_pte(iter.old_spte) &&
                   iter.old_spte != SHADOW_NONPRESENT_VALUE && !is_mmio_spte(vm->kvm, iter.old_spte)) {
            wrong(vm, "an SPTE that cannot be (gfn, spte)", iter.gfn, iter.old_spte);
        }
    }
    atomic_fetch_add_explicit(&vm->walks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&vm->walked_leaves, leaves, memory_order_relaxed);
    atomic_fetch_add_explicit(&vm->walked_frozen, frozen, memory_order_relaxed);
}

static void *walk_thread(void *arg)
{
    const struct job *job = arg;
    struct vm *vm = job->vm;
    uint64_t random = vm->seed * 41 + 7;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        /* Not always at once to the new root: walk in dying ones, too. */
        if ((next_random(&random) & 15) == 0 && kvm_mmu_load(vm->walk_vcpu))
            wrong(vm, "kvm_mmu_load failed", 2, 0);
        rcu_read_lock();
        walk_once(vm, &random);
        rcu_read_unlock();
        if ((next_random(&random) & 3) == 0)
            short_pause(); /* few cores: leave some for the others */
    }
    return NULL;
}

/* ---- beginning and end --------------------------------------------------------- */

static struct kvm_vcpu *make_vcpu(struct vm *vm, int id)
{
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(vm->kvm, id);

    if (!vcpu || kvm_mmu_load(vcpu)) {
        fprintf(stderr, "%s: cannot make a vCPU\n", vm->name);
        exit(2);
    }
    return vcpu;
}

static void make_vm(struct vm *vm, const char *name, enum tdpmmu_vendor vendor, uint32_t level, bool is_told)
{
    struct tdpmmu_ops ops = {
        .size = sizeof(ops), .warn = on_warning, .spte_changed = is_told ? on_change : NULL, .flush_tlb = on_flush,
    };
    struct tdpmmu_vm_config config = {
        .size = sizeof(config), .vendor = vendor, .root_level = level, .ops = &ops, .ops_ctx = vm,
    };

    vm->name = name;
    vm->is_told = is_told;
    vm->kvm = tdpmmu_create_vm(&config);
    if (!vm->kvm) {
        perror("tdpmmu_create_vm");
        exit(2);
    }
    tdpmmu_check_always(vm->kvm, 4099);
    open_eyes(vm->kvm, true);
    set_slot(vm, 0, 0, FIXED_PAGES);
    set_slot(vm, 1, MOVING_BASE, MOVING_PAGES);
    for (int i = 0; i < FAULT_THREADS; i++)
        vm->fault_vcpu[i] = make_vcpu(vm, i);
    vm->zap_vcpu = make_vcpu(vm, FAULT_THREADS);
    vm->walk_vcpu = make_vcpu(vm, FAULT_THREADS + 1);
}

/* All threads are gone: tables, counters and our own books must agree. */
static void compare_books(struct vm *vm)
{
    struct kvm_mmu_page *root;
    struct tdpmmu_stats stats;
    struct tdp_iter iter;
    uint64_t found[4] = { 0 };

    kvm_tdp_mmu_zap_invalidated_roots(vm->kvm);
    kvm_mmu_load(vm->walk_vcpu);
    root = tdpmmu_vcpu_root(vm->walk_vcpu);
    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, (int)role_of(root).level, 0, UINT64_MAX) {
        if (is_leaf(iter.old_spte, iter.level)) {
            check_leaf(vm, iter.gfn, iter.level, iter.old_spte);
            found[iter.level]++;
        }
        if (is_frozen_spte(iter.old_spte))
            wrong(vm, "an entry stayed frozen (gfn, level)", iter.gfn, (uint64_t)iter.level);
    }
    rcu_read_unlock();
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
}

static void print_vm(struct vm *vm, const struct tdpmmu_stats *stats)
{
    printf("%s: faults: %llu fixed, %llu spurious, %llu retry (%llu new roots), %llu emulate; "
           "%llu guest accesses\n", vm->name, atomic_load(&vm->faults[FIXED]),
           atomic_load(&vm->faults[SPURIOUS]), atomic_load(&vm->faults[RETRY]),
           atomic_load(&vm->reloads), atomic_load(&vm->faults[EMULATE]), atomic_load(&vm->accesses));
    printf("%s: zaps:", vm->name);
    for (int i = 0; i < ZAPS; i++)
        printf("%s %llu %s", i ? "," : "", atomic_load(&vm->zaps[i]), zap_names[i]);
    printf("\n%s: walks: %llu, met %llu leaves and %llu frozen entries\n", vm->name,
           atomic_load(&vm->walks), atomic_load(&vm->walked_leaves), atomic_load(&vm->walked_frozen));
    printf("%s: %" PRIu64 " SPTE changes, %llu flushes, %" PRIu64 " yields; %llu warnings, %llu wrong\n",
           vm->name, stats->spte_changes, atomic_load(&vm->flushes), stats->yields,
           atomic_load(&vm->warnings), atomic_load(&vm->wrong));
}

/* Takes the VM down; true if all is well. */
static bool finish_vm(struct vm *vm)
{
    struct tdpmmu_stats stats;
    unsigned long long zaps = 0;
    bool idle;

    compare_books(vm);
    tdpmmu_get_stats(vm->kvm, &stats, sizeof(stats));
    print_vm(vm, &stats);
    kvm_mmu_uninit_tdp_mmu(vm->kvm);
    tdpmmu_get_stats(vm->kvm, &stats, sizeof(stats));
    printf("%s: after uninit: %" PRIu64 " tables, %" PRIu64 " strays, %" PRIu64 " roots, %" PRIu64
           " leaves\n", vm->name, stats.tables, stats.tables_stray, stats.roots,
           stats.pages_4k + stats.pages_2m + stats.pages_1g);
    for (int i = 0; i < ZAPS; i++)
        zaps += atomic_load(&vm->zaps[i]);
    idle = !zaps || !atomic_load(&vm->faults[FIXED]) || !atomic_load(&vm->walked_leaves);
    if (idle)
        printf("%s: a thread did nothing: this run proves little\n", vm->name);
    if (tdpmmu_check(vm->kvm) > 0)
        atomic_fetch_add(&vm->wrong, 1);
    tdpmmu_destroy_vm(vm->kvm);
    return !idle && !atomic_load(&vm->warnings) && !atomic_load(&vm->wrong) && !stats.tables &&
           !stats.tables_stray && !stats.roots && !stats.pages_4k && !stats.pages_2m && !stats.pages_1g;
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 10;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
    static struct vm vms[2], process = { .name = "process" };
    void *(*const roles[])(void *) = { fault_thread, fault_thread, zap_thread, walk_thread };
    enum { THREADS = sizeof(roles) / sizeof(roles[0]) };
    pthread_t threads[2][THREADS];
    struct job jobs[2][THREADS];
    bool good = true;

    if (seconds == 0 || seed == 0) {
        fprintf(stderr, "usage: torture_mmu [SECONDS [SEED]]\n");
        return 2;
    }
    printf("torture: %u s, seed %" PRIu64 ", %s\n", seconds, seed,
           seed & 1 ? "nobody is told of changes: by the row" : "told of each change: by the entry");
    fflush(stdout);
    tdpmmu_set_warn_handler(on_warning, &process);
    vms[0].seed = seed * 2 + 1;
    vms[1].seed = seed * 2 + 2;
    make_vm(&vms[0], "EPT", TDPMMU_EPT, 4, !(seed & 1));
    make_vm(&vms[1], "NPT", TDPMMU_NPT, 5, !(seed & 1));
    for (int v = 0; v < 2; v++)
        for (int t = 0; t < THREADS; t++) {
            jobs[v][t] = (struct job){ &vms[v], t };
            if (pthread_create(&threads[v][t], NULL, roles[t], &jobs[v][t])) {
                perror("pthread_create");
                return 2;
            }
        }
    sleep(seconds);
    atomic_store(&stop, true);
    for (int v = 0; v < 2; v++)
        for (int t = 0; t < THREADS; t++)
            pthread_join(threads[v][t], NULL);
    for (int v = 0; v < 2; v++)
        good &= finish_vm(&vms[v]);
    good &= !atomic_load(&process.warnings);
    printf("torture: %s\n", good ? "good" : "BAD");
    return good ? 0 : 1;
}
