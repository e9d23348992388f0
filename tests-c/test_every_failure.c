/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every failure: whatever the library asks of the system is refused once at each place where it
 * is asked for, and from there on.  What fails says so by an error that its header names and leaves
 * all as it was; nothing is lost; and the same call works when there is memory.
 */
#include "test_helpers.h"
#include "own_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#define HERE TDPMMU_FAIL_HERE
#define ANY TDPMMU_FAIL_ANY

static void no_failures(void) { tdpmmu_fail_nth(ANY, 0); }

/* ---- what must not be lost ------------------------------------------------- */

/* Blocks of memory that are there.  The sanitizers have allocators of their own, and look at the end. */
static atomic_long blocks;

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define OTHER_ALLOCATOR 1
#endif
#endif

#ifndef OTHER_ALLOCATOR
void *__libc_malloc(size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *memory);

void *malloc(size_t bytes)
{
    void *memory = __libc_malloc(bytes);

    atomic_fetch_add(&blocks, memory != NULL);
    return memory;
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    *memory = __libc_memalign(alignment, bytes);
    atomic_fetch_add(&blocks, *memory != NULL);
    return *memory ? 0 : ENOMEM;
}

void free(void *memory)
{
    atomic_fetch_sub(&blocks, memory != NULL);
    __libc_free(memory);
}
#endif

static long entries_of(const char *path)
{
    DIR *folder = opendir(path);
    long count = 0;

    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

struct belongings {
    long blocks, descriptors, threads;
};

static struct belongings what_there_is(void)
{
    return (struct belongings){ atomic_load(&blocks), entries_of("/proc/self/fd"), entries_of("/proc/self/task") };
}

static void assert_nothing_lost(const char *name, struct belongings before)
{
    struct belongings now;

    rcu_barrier();
    now = what_there_is();
    if (now.blocks != before.blocks || now.descriptors != before.descriptors || now.threads != before.threads)
        fail_msg("%s: blocks %ld -> %ld, descriptors %ld -> %ld, threads %ld -> %ld", name, before.blocks, now.blocks,
                 before.descriptors, now.descriptors, before.threads, now.threads);
}

/* The checker, in a library that has it. */
extern int tdpmmu_check(struct kvm *kvm) __attribute__((weak));

/* Counters against a walk of the root that the vCPU has, and all else where there is a checker. */
static void assert_whole(struct world *w, const char *name)
{
    struct tdpmmu_stats stats;
    uint64_t leaves[4] = { 0 }, tables = 0;
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct tdp_iter iter;

    rcu_barrier();
    if (tdpmmu_check && tdpmmu_check(w->kvm) > 0)
        fail_msg("%s: the checker complains", name);
    stats = stats_of(w->kvm);
    if (!root || stats.roots != 1)
        return; /* the others' tables are not in this walk */
    rcu_read_lock();
    tables = 1;
    for_each_tdp_pte(iter, root->spt, (int)root->role.level, 0, UINT64_MAX) {
        if (!is_shadow_present_pte(iter.old_spte))
            continue;
        if (is_last_spte(iter.old_spte, iter.level))
            leaves[iter.level]++;
        else
            tables++;
    }
    rcu_read_unlock();
    if (stats.pages_4k != leaves[1] || stats.pages_2m != leaves[2] || stats.pages_1g != leaves[3] ||
        stats.tables != tables || stats.tables_stray)
        fail_msg("%s: the counters are not what a walk finds: tables %llu, walked %llu, strays %llu", name,
                 (unsigned long long)stats.tables, (unsigned long long)tables, (unsigned long long)stats.tables_stray);
}

/* ---- single calls, in a process where all is warm ---------------------------- */

struct operation {
    const char *name;
    void (*prepare)(struct world *w); /* may be NULL, as may undo */
    long (*run)(struct world *w);     /* 0, or a negative errno */
    void (*undo)(struct world *w);
    long errors[3];                   /* those that the header names */
    bool undone_by_failure;           /* it has changed something, as its header says, though it failed */
    struct tdpmmu_vm_config config;
};

static struct kvm *other_kvm;
static struct kvm_vcpu *other_vcpu;

static long null_is_errno(const void *made)
{
    return made ? 0 : -errno;
}

static long make_vm(struct world *w)
{
    (void)w;
    errno = 0;
    other_kvm = tdpmmu_create_vm(NULL);
    return null_is_errno(other_kvm);
}

static void end_vm(struct world *w)
{
    (void)w;
    tdpmmu_destroy_vm(other_kvm);
}

static long make_vcpu(struct world *w)
{
    errno = 0;
    other_vcpu = tdpmmu_create_vcpu(w->kvm, 7);
    return null_is_errno(other_vcpu);
}

static void end_vcpu(struct world *w)
{
    (void)w;
    tdpmmu_destroy_vcpu(other_vcpu);
}

/* A VM with rings, and no vCPU yet but the one that is made. */
static void prepare_rings(struct world *w)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { 65536 } };

    (void)w;
    other_kvm = tdpmmu_create_vm(NULL);
    assert_int_equal(kvm_vm_ioctl_enable_cap(other_kvm, &cap), 0);
}

static long make_vcpu_with_ring(struct world *w)
{
    (void)w;
    errno = 0;
    other_vcpu = tdpmmu_create_vcpu(other_kvm, 0);
    return null_is_errno(other_vcpu);
}

/* Slots 100, 101, ... far up, each with room to be moved. */
#define FAR_BASE (64ull * GIB_PAGES)
#define FAR_STEP 16ull
#define FAR_GFN(i) (FAR_BASE + (i) * FAR_STEP)
#define FAR_HVA(i) (WORLD_HVA + (FAR_GFN(i) << 12))

static unsigned far_slots; /* how many there are */

static int far_slot(struct world *w, unsigned i, gfn_t moved, uint32_t flags)
{
    return add_slot(w->kvm, 100 + i, flags, FAR_GFN(i) + moved, 8, FAR_HVA(i));
}

static void prepare_slots(struct world *w)
{
    for (unsigned i = 0; i < far_slots; i++)
        assert_int_equal(far_slot(w, i, 0, 0), 0);
}

static long add_one(struct world *w) { return far_slot(w, far_slots, 0, 0); }
static long add_logged(struct world *w) { return far_slot(w, far_slots, 0, KVM_MEM_LOG_DIRTY_PAGES); }
static void delete_added(struct world *w) { assert_int_equal(delete_slot(w->kvm, 100 + far_slots), 0); }
static long delete_middle(struct world *w) { return delete_slot(w->kvm, 100 + far_slots / 2); }
static void add_middle(struct world *w) { assert_int_equal(far_slot(w, far_slots / 2, 0, 0), 0); }
static long move_middle(struct world *w) { return far_slot(w, far_slots / 2, 4, 0); }
static void move_back(struct world *w) { assert_int_equal(far_slot(w, far_slots / 2, 0, 0), 0); }
static long log_middle(struct world *w) { return far_slot(w, far_slots / 2, 0, KVM_MEM_LOG_DIRTY_PAGES); }

static long move_too_far(struct world *w)
{
    long ret = add_slot(w->kvm, 100 + far_slots / 2, 0, (1ull << 34) - 4, 8, FAR_HVA(far_slots / 2));

    return ret == -EINVAL ? 0 : ret ? ret : -1; /* refused, as it should be */
}

static struct srcu_struct domains[6];

static long enter_domains(struct world *w)
{
    int indices[6], entered = 0;

    (void)w;
    for (; entered < 6; entered++) {
        indices[entered] = srcu_read_lock(&domains[entered]);
        if (indices[entered] < 0)
            break;
    }
    for (int i = 0; i < entered; i++)
        srcu_read_unlock(&domains[i], indices[i]);
    return entered == 6 ? 0 : -ENOMEM;
}

static void make_domains(struct world *w)
{
    (void)w;
    for (int i = 0; i < 6; i++)
        assert_int_equal(init_srcu_struct(&domains[i]), 0);
}

static void end_domains(struct world *w)
{
    (void)w;
    for (int i = 0; i < 6; i++)
        cleanup_srcu_struct(&domains[i]);
}

/* Locks that a rig holds beside: what the library takes for itself then must not fail half-way. */
static struct tdpmmu_rwlock locks[8];
static unsigned locks_held;

static long with_locks(long (*body)(struct world *), struct world *w)
{
    unsigned held = 0;
    long ret;

    for (; held < locks_held; held++) {
        read_lock(&locks[held]);
        if (!tdpmmu_read_lock_held(&locks[held]))
            break;
    }
    ret = held == locks_held ? body(w) : -ENOMEM;
    while (held--)
        read_unlock(&locks[held]);
    return ret;
}

static void prepare_locks(struct world *w)
{
    for (unsigned i = 0; i < 8; i++)
        tdpmmu_rwlock_init(&locks[i]);
    map_pages(w, 0, 1, 1);
}

static bool page_is_there(struct world *w) { return mapped(w->vcpu, 0); }

static long take_page_away(struct world *w)
{
    kvm_mmu_notifier_invalidate_range_start(w->kvm, WORLD_HVA, WORLD_HVA + 4096, true);
    if (page_is_there(w))
        return -EFAULT; /* it would be the guest's still, and the host's */
    kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA, WORLD_HVA + 4096);
    return 0;
}

static long fault_page(struct world *w)
{
    int ret = kvm_tdp_mmu_page_fault(w->vcpu, 5 << 12, PFERR_WRITE_MASK);

    return ret == RET_PF_FIXED || ret == RET_PF_SPURIOUS ? 0 : ret;
}

static long take_away_with_locks(struct world *w) { return with_locks(take_page_away, w); }
static long fault_with_locks(struct world *w) { return with_locks(fault_page, w); }

/* Inside of as many domains as a thread notes without memory, and of one more in its own word. */
static long fault_in_domains(struct world *w)
{
    int indices[5], entered = 0;
    long ret = -ENOMEM;

    for (; entered < 5; entered++) {
        indices[entered] = srcu_read_lock(&domains[entered]);
        if (indices[entered] < 0)
            break;
    }
    if (entered == 5)
        ret = fault_page(w);
    while (entered--)
        srcu_read_unlock(&domains[entered], indices[entered]);
    return ret;
}

static void map_again(struct world *w)
{
    if (!page_is_there(w))
        map_pages(w, 0, 1, 1);
}

static void zap_all_pages(struct world *w)
{
    write_lock(&w->kvm->mmu_lock);
    if (kvm_tdp_mmu_zap_leafs(w->kvm, 0, WORLD_SLOT_PAGES, false))
        kvm_flush_remote_tlbs(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
}

static long start_recovery(struct world *w) { (void)w; return tdpmmu_set_nx_recovery(other_kvm, 2, 1000); }

static int null_fd = -1;

static long write_events(struct world *w)
{
    long ret = tdpmmu_trace_write(null_fd);

    (void)w;
    return ret < 0 ? ret : 0;
}

static void trace_something(struct world *w)
{
    assert_int_equal(tdpmmu_trace_enable(w->kvm, TDPMMU_TRACE_ALL), 0);
    map_pages(w, 0, 600, 1);
    tdpmmu_trace_enable(w->kvm, 0);
    zap_all_pages(w);
}

static long forget_object(struct world *w)
{
    (void)w;
    tdpmmu_kfree_rcu_mightsleep(malloc(8), NULL);
    return 0;
}

static long wait_for_all(struct world *w)
{
    (void)w;
    synchronize_rcu();
    synchronize_rcu_expedited();
    synchronize_srcu(&domains[0]);
    rcu_barrier();
    return poll_state_synchronize_rcu(get_completed_synchronize_rcu()) ? 0 : -1;
}

static void undo_rings(struct world *w) { (void)w; tdpmmu_destroy_vcpu(other_vcpu); }

#define OP(...) { __VA_ARGS__ }
static const struct operation operations[] = {
    OP(.name = "create VM", .run = make_vm, .undo = end_vm, .errors = { -ENOMEM }),
    OP(.name = "create vCPU, PML", .run = make_vcpu, .undo = end_vcpu, .errors = { -ENOMEM }),
    OP(.name = "create vCPU, NPT", .run = make_vcpu, .undo = end_vcpu, .errors = { -ENOMEM }, .config = { .vendor = TDPMMU_NPT }),
    OP(.name = "create vCPU, ring", .prepare = prepare_rings, .run = make_vcpu_with_ring, .undo = undo_rings, .errors = { -ENOMEM }),
    OP(.name = "add slot", .prepare = prepare_slots, .run = add_one, .undo = delete_added, .errors = { -ENOMEM }),
    OP(.name = "add logged slot", .prepare = prepare_slots, .run = add_logged, .undo = delete_added, .errors = { -ENOMEM }),
    OP(.name = "delete slot", .prepare = prepare_slots, .run = delete_middle, .undo = add_middle, .errors = { -ENOMEM }),
    OP(.name = "move slot", .prepare = prepare_slots, .run = move_middle, .undo = move_back, .errors = { -ENOMEM }),
    OP(.name = "move slot, slots zapped alone", .prepare = prepare_slots, .run = move_middle, .undo = move_back,
       .errors = { -ENOMEM }, .config = { .zap_slot_only = 1 }),
    OP(.name = "move slot too far", .prepare = prepare_slots, .run = move_too_far, .errors = { -ENOMEM }),
    OP(.name = "log slot", .prepare = prepare_slots, .run = log_middle, .undo = move_back, .errors = { -ENOMEM }),
    OP(.name = "SRCU readers", .prepare = make_domains, .run = enter_domains, .errors = { -ENOMEM }),
    OP(.name = "notifier, locks held", .prepare = prepare_locks, .run = take_away_with_locks, .undo = map_again, .errors = { -ENOMEM }),
    OP(.name = "fault, locks held", .prepare = prepare_locks, .run = fault_with_locks, .undo = zap_all_pages, .errors = { -ENOMEM }),
    OP(.name = "fault, in SRCU readers", .prepare = make_domains, .run = fault_in_domains, .undo = zap_all_pages,
       .errors = { -ENOMEM }),
    OP(.name = "NX recovery", .run = start_recovery, .errors = { -EAGAIN, -ENOMEM }),
    OP(.name = "write events", .run = write_events, .undo = trace_something, .errors = { -ENOMEM, -ENOSPC }),
    OP(.name = "forget object", .run = forget_object),
    OP(.name = "wait", .prepare = make_domains, .run = wait_for_all),
};
enum { OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

static bool is_among(long error, const long *errors)
{
    return error == errors[0] || (errors[1] && error == errors[1]) || (errors[2] && error == errors[2]);
}

static unsigned refusals; /* operations that failed */
static bool counts_lives; /* what is lost is seen at the VM's end */

/* The n-th call fails, and with onwards all after it.  False: there are not so many. */
static bool fail_once(struct world *w, const struct operation *o, uint64_t n, unsigned onwards)
{
    struct belongings before;
    uint64_t sum = checksum(w->vcpu), generation = tdpmmu_memslots_generation(w->kvm, 0), calls;
    long ret;

    rcu_barrier();
    before = what_there_is();
    assert_int_equal(tdpmmu_fail_nth(ANY | HERE | onwards, n), 0);
    ret = o->run(w);
    no_failures();
    calls = tdpmmu_fail_count(ANY);
    if (ret != 0) {
        if (calls < n || !is_among(ret, o->errors))
            fail_msg("%s: call %llu of %llu fails%s, and it returns %ld", o->name, (unsigned long long)n,
                     (unsigned long long)calls, onwards ? ", and all after it" : "", ret);
        refusals++;
        assert_whole(w, o->name);
        if (checksum(w->vcpu) != sum || tdpmmu_memslots_generation(w->kvm, 0) != generation)
            fail_msg("%s: it has failed at call %llu, and something has changed", o->name, (unsigned long long)n);
        world_forget(w); /* of locks that could not be remembered, for one */
        ret = o->run(w);
        if (ret != 0)
            fail_msg("%s: call %llu failed once, and now it returns %ld", o->name, (unsigned long long)n, ret);
    } else {
        assert_no_warning(w);
    }
    assert_whole(w, o->name);
    if (o->undo)
        o->undo(w);
    assert_whole(w, o->name);
    if (!counts_lives)
        assert_nothing_lost(o->name, before);
    assert_no_warning(w);
    return calls >= n;
}

/* Where the first time is another than the second: a full chunk of slots parts, and does not become one again. */
static void try_on_new_vms(const struct operation *o, unsigned onwards)
{
    bool more = true;
    long usual = 0; /* of a life without failures, which is the first */

    counts_lives = true;
    for (uint64_t n = 0; more; n++) {
        long before = atomic_load(&blocks), left;
        struct world *w = world_from(o->config);

        o->prepare(w);
        if (n)
            more = fail_once(w, o, n, onwards);
        world_free(w);
        left = atomic_load(&blocks) - before;
        if (n && left != usual)
            fail_msg("%s: call %llu has failed, and %ld blocks are left", o->name, (unsigned long long)n, left - usual);
        usual = left;
    }
    counts_lives = false;
}

static void try_operation(const struct operation *o, unsigned onwards)
{
    struct world *w = world_from(o->config);

    other_kvm = NULL;
    if (o->run == start_recovery)
        other_kvm = tdpmmu_create_vm(NULL);
    if (o->prepare)
        o->prepare(w);
    /* What it leaves for the next time, the events' rings for instance, is there afterwards. */
    if (o->run != start_recovery) {
        for (int i = 0; i < 2; i++) {
            assert_int_equal(o->run(w), 0);
            if (o->undo)
                o->undo(w);
        }
    }
    world_forget(w);
    if (o->run == start_recovery) {
        /* A thread that is started once and for all: no more than one failure for each VM. */
        assert_int_equal(tdpmmu_fail_nth(ANY | HERE | onwards, 1), 0);
        assert_true(is_among(o->run(w), o->errors));
        no_failures();
        assert_int_equal(o->run(w), 0);
        refusals++;
    } else {
        for (uint64_t n = 1; fail_once(w, o, n, onwards); n++)
            assert_true(n < 1000);
    }
    if (o->prepare == make_domains)
        end_domains(w);
    if (other_kvm && (o->prepare == prepare_rings || o->run == start_recovery))
        tdpmmu_destroy_vm(other_kvm);
    world_free(w);
}

static void every_call_of_each(void **state)
{
    static const unsigned slots[] = { 1, 2, 63, 64, 65, 126, 127, 128, 200 }; /* beside the one that is there */
    static const unsigned held[] = { 0, 3, 4, 5, 8 };

    (void)state;
    refusals = 0;
    null_fd = open("/dev/null", O_WRONLY);
    for (const struct operation *o = operations; o < operations + OPERATIONS; o++) {
        unsigned variants = o->prepare == prepare_slots ? sizeof(slots) / sizeof(slots[0])
                          : o->prepare == prepare_locks ? sizeof(held) / sizeof(held[0]) : 1;

        for (unsigned v = 0; v < variants; v++) {
            far_slots = o->prepare == prepare_slots ? slots[v] : 0;
            locks_held = o->prepare == prepare_locks ? held[v] : 0;
            for (unsigned onwards = 0; onwards <= TDPMMU_FAIL_ONWARDS; onwards += TDPMMU_FAIL_ONWARDS) {
                try_operation(o, onwards);
                if (far_slots == 127)
                    try_on_new_vms(o, onwards);
            }
        }
    }
    close(null_fd);
    assert_true(refusals > 400);
}

/* ---- table_limit at every count ----------------------------------------------- */

#define SPARE 2048ull /* a stretch that only keeps tables, until there is to be memory */

struct tables_case {
    const char *name;
    long (*run)(struct world *w); /* 0 or -ENOMEM */
    bool (*prepare)(struct world *w);
    bool goes_on; /* what was done before there was no table any more stays */
    struct tdpmmu_vm_config config;
};

static long map_at(struct world *w, gfn_t gfn, uint64_t access, int level)
{
    int ret = fault_on(w, w->vcpu, gfn, access, true, level, pfn_for(gfn), false);

    if (ret == RET_PF_FIXED && spte_at(w->vcpu, gfn, level) == NO_SPTE && !(access & PFERR_FETCH_MASK))
        fail_msg("mapped, and not at level %d", level);
    return ret == RET_PF_FIXED || ret == RET_PF_SPURIOUS ? 0 : ret;
}

static bool map_huge_1g(struct world *w) { return map_at(w, GIB_PAGES, PFERR_WRITE_MASK, 3) == 0; }
static bool map_huge_2m(struct world *w) { return map_at(w, GIB_PAGES, PFERR_WRITE_MASK, 2) == 0; }
static long map_4k(struct world *w) { return map_at(w, GIB_PAGES + 7, PFERR_WRITE_MASK, 1); }
static long map_2m(struct world *w) { return map_at(w, GIB_PAGES + 512, PFERR_WRITE_MASK, 2); }
static long map_1g(struct world *w) { return map_at(w, GIB_PAGES, PFERR_WRITE_MASK, 3); }
static long fetch(struct world *w) { return map_at(w, GIB_PAGES + 7, PFERR_FETCH_MASK, 3); }

static long split_to(struct world *w, int level, uint64_t pages)
{
    int ret;

    read_lock(&w->kvm->mmu_lock);
    ret = kvm_tdp_mmu_try_split_huge_pages(w->kvm, slot_by_id(w, 0, 0), GIB_PAGES, GIB_PAGES + pages, level, true);
    read_unlock(&w->kvm->mmu_lock);
    return ret;
}

static long split_2m(struct world *w) { return split_to(w, 1, 512); }
static long split_1g(struct world *w) { return split_to(w, 2, GIB_PAGES); }
static long split_some_of_1g(struct world *w) { return split_to(w, 1, 3 * 512); }

static long load_in_smm(struct world *w)
{
    assert_int_equal(tdpmmu_vcpu_set_as_id(w->vcpu, 1), 0);
    return kvm_mmu_load(w->vcpu);
}

static long prefault(struct world *w)
{
    struct kvm_pre_fault_memory range = { .gpa = (GIB_PAGES + 3 * 512) << 12, .size = 4096 };
    int ret = kvm_vcpu_pre_fault_memory(w->vcpu, &range);

    return ret;
}

static const struct tables_case tables_cases[] = {
    { .name = "4K", .run = map_4k, .goes_on = true },
    { .name = "4K, NPT, five levels", .run = map_4k, .goes_on = true, .config = { .vendor = TDPMMU_NPT, .root_level = 5, .maxphyaddr = 52 } },
    { .name = "2M", .run = map_2m, .goes_on = true },
    { .name = "1G", .run = map_1g, .goes_on = true },
    { .name = "4K in 2M", .run = map_4k, .prepare = map_huge_2m },
    { .name = "4K in 1G", .run = map_4k, .prepare = map_huge_1g, .goes_on = true },
    { .name = "2M in 1G", .run = map_2m, .prepare = map_huge_1g, .goes_on = true },
    { .name = "fetch, NX huge pages", .run = fetch, .goes_on = true, .config = { .nx_huge_pages = 1 } },
    { .name = "fetch in 1G, NX huge pages", .run = fetch, .prepare = map_huge_1g, .goes_on = true, .config = { .nx_huge_pages = 1 } },
    { .name = "split 2M", .run = split_2m, .prepare = map_huge_2m },
    { .name = "split 1G", .run = split_1g, .prepare = map_huge_1g },
    { .name = "split 1G to 4K", .run = split_some_of_1g, .prepare = map_huge_1g, .goes_on = true },
    { .name = "split 2M, no A/D", .run = split_2m, .prepare = map_huge_2m, .config = { .ad_disabled = 1 } },
    { .name = "root in SMM", .run = load_in_smm, .goes_on = true },
    { .name = "prefault", .run = prefault, .goes_on = true },
};

/* What a walk to each gfn of interest finds, huge or not: frames and rights must not change by what fails. */
static uint64_t seen_by_guest(struct world *w)
{
    uint64_t sum = 0;

    for (gfn_t gfn = GIB_PAGES; gfn < GIB_PAGES + 2048; gfn += 7) {
        int level;
        uint64_t spte;

        if (!tdpmmu_vcpu_root(w->vcpu))
            return 0;
        spte = walk_end(w->vcpu, gfn, &level);
        if (is_shadow_present_pte(spte) && is_last_spte(spte, level))
            sum = sum * 31 + gfn + ((spte_to_pfn(spte) & ~(KVM_PAGES_PER_HPAGE(level) - 1)) |
                                    (gfn & (KVM_PAGES_PER_HPAGE(level) - 1))) + is_writable_pte(spte);
    }
    return sum;
}

/* Whether it needed no more tables than the limit gives. */
static bool with_limit(const struct tables_case *c, uint64_t limit)
{
    struct tdpmmu_vm_config config = c->config;
    struct tdpmmu_stats stats;
    uint64_t sum, seen;
    bool fits;
    struct world *w;
    long ret;

    config.table_limit = limit;
    w = world_from(config);
    /* The stretch takes what is left but for what is tried; and can be given back. */
    if ((c->prepare && !c->prepare(w)) || map_at(w, SPARE, PFERR_WRITE_MASK, 1) != 0) {
        assert_whole(w, c->name);
        world_free(w);
        return false;
    }
    sum = checksum(w->vcpu);
    seen = seen_by_guest(w);
    ret = c->run(w);
    fits = ret == 0;
    if (!fits) {
        if (ret != -ENOMEM)
            fail_msg("%s: %llu tables, and it returns %ld", c->name, (unsigned long long)limit, ret);
        if (!c->goes_on)
            assert_int_equal(checksum(w->vcpu), sum);
        if (c->run != load_in_smm && seen_by_guest(w) != seen)
            fail_msg("%s: %llu tables, and the guest sees something else", c->name, (unsigned long long)limit);
    }
    assert_whole(w, c->name);
    stats = stats_of(w->kvm);
    assert_true(stats.tables <= limit && stats.tables_stray == 0);
    if (!fits && limit > 6 && stats.tables < limit)
        fail_msg("%s: there is a table left, %llu of %llu are used", c->name, (unsigned long long)stats.tables,
                 (unsigned long long)limit);
    world_free(w);
    return fits;
}

/* Each count up to what is enough; and one less would not have been. */
static void every_table_limit(void **state)
{
    (void)state;
    for (const struct tables_case *c = tables_cases; c < tables_cases + sizeof(tables_cases) / sizeof(*c); c++) {
        uint64_t limit = 1, refused = 0;

        while (!with_limit(c, limit)) {
            refused++;
            assert_true(++limit < 64);
        }
        assert_true(refused > 0);
        assert_true(with_limit(c, limit + 1));
    }
}

/* Strays count, and when they are gone the same fault works. */
static void works_when_tables_are_there(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        struct world *w;

        config.table_limit = 6;
        w = world_from(config);
        map_pages(w, SPARE, 1, 1);
        map_pages(w, SPARE + 512, 1, 1);
        map_pages(w, SPARE + 1024, 1, 1);
        assert_int_equal(stats_of(w->kvm).tables, 6);
        assert_int_equal(map_4k(w), -ENOMEM);
        write_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_zap_gfn_range(w->kvm, SPARE, SPARE + 1536);
        write_unlock(&w->kvm->mmu_lock);
        rcu_barrier();
        assert_int_equal(map_4k(w), 0);
        assert_whole(w, m->name);
        world_free(w);
    }
}

/* ---- a whole life, in a process of its own where nothing is warm ---------------- */

enum { LIFE_DONE = 0, LIFE_FEWER_CALLS = 7 };

static uint64_t life_n;
static unsigned life_kinds, life_failed, life_complaints;
static bool life_persists;

static void life_heard(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    life_complaints++;
    /* No thread, no memory to remember: nothing else may be complained of. */
    if (!strstr(warning->text, "no thread for callbacks") && !strstr(warning->text, "no memory to remember")) {
        fprintf(stderr, "%s: %s\n", warning->function, warning->text);
        abort();
    }
}

static void life_error(const char *call, long result)
{
    fprintf(stderr, "call %llu fails, kinds %x: %s gives %ld, errno %d\n", (unsigned long long)life_n, life_kinds, call,
            result, errno);
    abort();
}

/* Once it may fail, by one of these errors; then it may not. */
#define LIVE(call, good, ...) do { \
        static const long errors_[] = { __VA_ARGS__ 0 }; \
        long r = (long)(call); \
        if (!(good)) { \
            bool named = false; \
            if (r == 0) \
                r = -errno; \
            for (const long *e_ = errors_; *e_; e_++) \
                named = named || r == *e_; \
            if (!named || tdpmmu_fail_count(ANY) < (life_failed && life_persists ? 1 : life_n)) \
                life_error(#call, r); \
            life_failed++; \
            tdpmmu_fail_nth(ANY, 0); \
            r = (long)(call); \
            if (!(good)) \
                life_error("once more: " #call, r); \
            if (life_persists) \
                tdpmmu_fail_nth(life_kinds | TDPMMU_FAIL_ONWARDS, 1); \
        } \
    } while (0)

#define LIVE_FAULT(gfn, access, level) \
    LIVE((read_lock(&kvm->mmu_lock), ret = kvm_tdp_mmu_map(vcpu, (gfn_t)(gfn) << 12, access, true, level, pfn_for(gfn), false), \
          read_unlock(&kvm->mmu_lock), ret), r == RET_PF_FIXED, -ENOMEM,)

struct ended { struct rcu_head head; atomic_int *count; };

static void count_end(struct rcu_head *head)
{
    atomic_fetch_add(((struct ended *)head)->count, 1);
}

static void *another_thread(void *vm)
{
    struct kvm *kvm = vm;

    rcu_read_lock();
    rcu_read_unlock();
    read_lock(&kvm->mmu_lock);
    read_unlock(&kvm->mmu_lock);
    srcu_read_unlock(&kvm->srcu, srcu_read_lock(&kvm->srcu));
    synchronize_rcu();
    return NULL;
}

static struct kvm_userspace_memory_region region_of(uint32_t id, uint32_t flags, gfn_t gfn, uint64_t pages)
{
    return (struct kvm_userspace_memory_region){ .slot = id, .flags = flags, .guest_phys_addr = gfn << 12,
                                                 .memory_size = pages << 12, .userspace_addr = WORLD_HVA };
}

static void live_among_callbacks(struct kvm *kvm)
{
    static struct srcu_struct domain;
    static atomic_int ended;
    static struct ended heads[3] = { { .count = &ended }, { .count = &ended }, { .count = &ended } };
    unsigned long cookie;

    LIVE(init_srcu_struct(&domain), r == 0, -ENOMEM,);
    call_rcu(&heads[0].head, count_end);
    call_srcu(&domain, &heads[1].head, count_end);
    cookie = start_poll_synchronize_rcu();
    tdpmmu_kfree_rcu_mightsleep(calloc(1, 8), NULL);
    synchronize_srcu(&domain);
    synchronize_srcu(&kvm->srcu);
    synchronize_rcu();
    cond_synchronize_rcu(cookie);
    synchronize_rcu_expedited();
    call_rcu(&heads[2].head, count_end);
    srcu_barrier(&domain);
    rcu_barrier();
    if (atomic_load(&ended) != 3)
        life_error("callbacks", atomic_load(&ended));
    cleanup_srcu_struct(&domain);
}

static void live_with_tables(struct kvm *kvm, struct kvm_vcpu *vcpu)
{
    long log[64];
    struct kvm_userspace_memory_region region;
    struct kvm_dirty_log dirty = { .slot = 0, .dirty_bitmap = log };
    struct tdpmmu_stats stats;
    int ret;

    LIVE(kvm_mmu_load(vcpu), r == 0, -ENOMEM,);
    LIVE_FAULT(0, PFERR_WRITE_MASK, 2);
    for (gfn_t i = 1; i < 4; i++)
        LIVE_FAULT(i * 512, PFERR_WRITE_MASK, 1);
    /* More tables than the first block of the arena has, and than the second. */
    for (gfn_t i = 0; i < 560; i++)
        LIVE_FAULT(8192 + i * 512, PFERR_WRITE_MASK, 1);
    region = region_of(0, KVM_MEM_LOG_DIRTY_PAGES, 0, 1 << 20);
    LIVE(kvm_set_memory_region(kvm, &region), r == 0, -ENOMEM,);
    LIVE(kvm_tdp_mmu_page_fault(vcpu, 3 << 12, PFERR_WRITE_MASK), r == RET_PF_FIXED || r == RET_PF_SPURIOUS, -ENOMEM,);
    dirty.dirty_bitmap = calloc(1, (1 << 20) / 8);
    LIVE(kvm_vm_ioctl_get_dirty_log(kvm, &dirty), r == 0, -ENOMEM,);
    free(dirty.dirty_bitmap);
    region.flags = 0;
    LIVE(kvm_set_memory_region(kvm, &region), r == 0, -ENOMEM,);
    write_lock(&kvm->mmu_lock);
    kvm_tdp_mmu_zap_gfn_range(kvm, 0, 1ull << 34);
    write_unlock(&kvm->mmu_lock);
    rcu_barrier();
    tdpmmu_get_stats(kvm, &stats, sizeof(stats));
    if (stats.tables != 1 || stats.tables_stray || stats.pages_4k || stats.pages_2m)
        life_error("tables are left", (long)stats.tables);
}

/* A life in which the n-th call fails: run by every_call_of_a_life in a process of its own. */
static int a_life(const char *plan)
{
    struct kvm_userspace_memory_region region = region_of(0, 0, 0, 1 << 20);
    struct tdpmmu_stats stats;
    struct kvm_vcpu *vcpu = NULL;
    struct kvm *kvm = NULL;
    int onwards, fd;
    pthread_t thread;

    if (sscanf(plan, "%x %d %llu", &life_kinds, &onwards, (unsigned long long *)&life_n) != 3)
        return 1;
    life_persists = onwards != 0;
    tdpmmu_set_warn_handler(life_heard, NULL);
    tdpmmu_fail_nth(life_kinds | (onwards ? TDPMMU_FAIL_ONWARDS : 0), life_n);
    LIVE((kvm = tdpmmu_create_vm(NULL)) != NULL, r, -ENOMEM,);
    LIVE((vcpu = tdpmmu_create_vcpu(kvm, 0)) != NULL, r, -ENOMEM,);
    LIVE(kvm_set_memory_region(kvm, &region), r == 0, -ENOMEM,);
    tdpmmu_trace_enable(kvm, TDPMMU_TRACE_ALL);
    live_with_tables(kvm, vcpu);
    fd = open("/dev/null", O_WRONLY);
    LIVE(tdpmmu_trace_write(fd), r >= 0, -ENOMEM, -ENOSPC,);
    tdpmmu_trace_enable(kvm, 0);
    live_among_callbacks(kvm);
    LIVE(tdpmmu_set_nx_recovery(kvm, 2, 100000), r == 0, -EAGAIN, -ENOMEM,);
    if (pthread_create(&thread, NULL, another_thread, kvm) == 0)
        pthread_join(thread, NULL);
    region.memory_size = 0;
    LIVE(kvm_set_memory_region(kvm, &region), r == 0, -ENOMEM,);
    kvm_mmu_uninit_tdp_mmu(kvm);
    tdpmmu_get_stats(kvm, &stats, sizeof(stats));
    if (stats.tables || stats.roots || stats.tables_stray)
        life_error("something is left", (long)stats.tables);
    tdpmmu_destroy_vm(kvm);
    tdpmmu_fail_nth(ANY, 0);
    fflush(NULL);
    return life_failed == 0 && tdpmmu_fail_count(ANY) < life_n ? LIFE_FEWER_CALLS : LIFE_DONE;
}

static const char *program;

static bool live(unsigned kinds, bool onwards, uint64_t n)
{
    char plan[64];
    int status;

    snprintf(plan, sizeof(plan), "%x %d %llu", kinds, onwards, (unsigned long long)n);
    status = status_of_own_process(program, "TDPMMU_TEST_LIFE", plan, NULL, NULL);
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != LIFE_DONE && WEXITSTATUS(status) != LIFE_FEWER_CALLS))
        fail_msg("a life with plan %s ends with status %x", plan, (unsigned)status);
    return WEXITSTATUS(status) == LIFE_DONE;
}

/* Sleeps and fences are as many as it happens: so many of them and no more. */
static void every_call_of_a_life(void **state)
{
    static const struct { unsigned kinds; uint64_t most; } plans[] = {
        { TDPMMU_FAIL_ALLOCATION, 1000 }, { TDPMMU_FAIL_MMAP, 1000 }, { TDPMMU_FAIL_THREAD, 1000 },
        { TDPMMU_FAIL_WRITE, 12 }, { TDPMMU_FAIL_MEMBARRIER, 12 }, { TDPMMU_FAIL_FUTEX, 12 },
        { ANY & ~(TDPMMU_FAIL_FUTEX | TDPMMU_FAIL_MEMBARRIER), 3 },
    };
    uint64_t lives = 0;

    (void)state;
    for (unsigned i = 0; i < sizeof(plans) / sizeof(plans[0]); i++)
        for (int onwards = 0; onwards < 2; onwards++) {
            uint64_t n = 1, step = mode_is("plain") ? 1 : 5;

            while (n <= plans[i].most && live(plans[i].kinds, onwards, n)) {
                n += step;
                lives++;
            }
            print_message("kinds %x%s: %llu calls\n", plans[i].kinds, onwards ? ", and all after" : "", (unsigned long long)n - 1);
            /* Nobody may have had to sleep; and the thread sanitizer sees fences only that readers make. */
            assert_true(n > 1 || plans[i].kinds == TDPMMU_FAIL_FUTEX ||
                        (plans[i].kinds == TDPMMU_FAIL_MEMBARRIER && mode_is("tsan")));
        }
    print_message("%llu lives\n", (unsigned long long)lives);
    assert_true(lives > (mode_is("plain") ? 60 : 12));
}

/* ---- the plan itself -------------------------------------------------------------- */

static void plans(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm *vm;

    (void)state;
    assert_int_equal(tdpmmu_fail_nth(TDPMMU_FAIL_ALLOCATION, 2), 0);
    assert_int_equal(tdpmmu_fail_count(ANY), 0);
    assert_null(tdpmmu_create_vm(NULL));
    assert_int_equal(errno, ENOMEM);
    assert_int_equal(tdpmmu_fail_count(TDPMMU_FAIL_ALLOCATION), 2);
    assert_int_equal(tdpmmu_fail_count(ANY & ~TDPMMU_FAIL_ALLOCATION), 0);
    vm = tdpmmu_create_vm(NULL); /* once: from here on all work, and are counted */
    assert_non_null(vm);
    tdpmmu_destroy_vm(vm);
    assert_int_equal(tdpmmu_fail_count(TDPMMU_FAIL_ALLOCATION), 5);
    assert_int_equal(tdpmmu_fail_nth(TDPMMU_FAIL_ALLOCATION | TDPMMU_FAIL_ONWARDS, 2), 0);
    assert_null(tdpmmu_create_vm(NULL));
    assert_null(tdpmmu_create_vm(NULL));
    assert_int_equal(tdpmmu_fail_count(ANY), 3);
    assert_int_equal(tdpmmu_fail_nth(ANY, 0), 0);
    vm = tdpmmu_create_vm(NULL);
    assert_non_null(vm);
    tdpmmu_destroy_vm(vm);
    assert_int_equal(tdpmmu_fail_count(ANY), 3); /* not counted any more, and the count stays */
    assert_no_warning(w);
    assert_int_equal(tdpmmu_fail_nth(0, 1), -EINVAL);
    assert_int_equal(tdpmmu_fail_nth(TDPMMU_FAIL_HERE, 1), -EINVAL);
    assert_int_equal(tdpmmu_fail_nth(ANY | 1 << 6, 1), -EINVAL);
    assert_int_equal(warnings(w), 3);
    world_forget(w);
    vm = tdpmmu_create_vm(NULL);
    assert_non_null(vm);
    tdpmmu_destroy_vm(vm);
    world_free(w);
}

static void *make_and_end_vm(void *unused)
{
    struct kvm *vm = tdpmmu_create_vm(NULL);

    if (!vm)
        return unused;
    tdpmmu_destroy_vm(vm);
    return "made";
}

static void other_threads_go_on(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    pthread_t thread;
    void *result;

    (void)state;
    assert_int_equal(tdpmmu_fail_nth(ANY | HERE | TDPMMU_FAIL_ONWARDS, 1), 0);
    pthread_create(&thread, NULL, make_and_end_vm, NULL);
    pthread_join(thread, &result);
    assert_non_null(result);
    assert_int_equal(tdpmmu_fail_count(ANY), 0);
    assert_null(tdpmmu_create_vm(NULL));
    assert_int_equal(tdpmmu_fail_nth(TDPMMU_FAIL_ALLOCATION | TDPMMU_FAIL_ONWARDS, 1), 0);
    pthread_create(&thread, NULL, make_and_end_vm, NULL);
    pthread_join(thread, &result);
    assert_null(result);
    no_failures();
    world_free(w);
}

/* ---- sleeps that end at once, fences that there are not ----------------------------- */

static struct world *shared_world;
static long counted; /* under the write lock */

static void *count_among_others(void *unused)
{
    for (int i = 0; i < 100; i++) {
        write_lock(&shared_world->kvm->mmu_lock);
        counted++;
        if (i % 32 == 0)
            sleep_ms(1); /* so that the other has to wait */
        write_unlock(&shared_world->kvm->mmu_lock);
        rcu_read_lock();
        if (i % 64 == 0)
            sleep_ms(1);
        rcu_read_unlock();
        read_lock(&shared_world->kvm->mmu_lock);
        read_unlock(&shared_world->kvm->mmu_lock);
        if (i % 16 == 0) {
            synchronize_rcu();
            synchronize_srcu(&shared_world->kvm->srcu);
        }
    }
    return unused;
}

static void sleeps_that_end_at_once(void **state)
{
    pthread_t threads[3];

    (void)state;
    shared_world = world_new(TDPMMU_EPT, 4);
    for (unsigned kind = 0; kind < 2; kind++) {
        counted = 0;
        assert_int_equal(tdpmmu_fail_nth((kind ? TDPMMU_FAIL_MEMBARRIER : TDPMMU_FAIL_FUTEX) | TDPMMU_FAIL_ONWARDS, 1), 0);
        for (int i = 0; i < 3; i++)
            pthread_create(&threads[i], NULL, count_among_others, NULL);
        for (int i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        no_failures();
        assert_int_equal(counted, 300);
        assert_true(tdpmmu_fail_count(ANY) > 0 || (kind && mode_is("tsan")));
    }
    world_free(shared_world);
}

/* A child that is refused the fences does without; and so does all that it does. */
static void a_child_without_fences(void **state)
{
    pid_t child;
    int status;

    (void)state;
    need_threads_in_children();
    fflush(NULL);
    assert_int_equal(tdpmmu_fail_nth(TDPMMU_FAIL_MEMBARRIER | TDPMMU_FAIL_ONWARDS, 1), 0);
    child = fork();
    if (child == 0) {
        shared_world = world_new(TDPMMU_EPT, 4);
        map_pages(shared_world, 0, 100, 1);
        count_among_others(NULL);
        zap_all_pages(shared_world);
        world_free(shared_world);
        /* One that was refused, and no fence was asked for after that. */
        _exit(tdpmmu_fail_count(TDPMMU_FAIL_MEMBARRIER) == 1 ? 0 : 1);
    }
    no_failures();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_of_a_life),
        cmocka_unit_test(every_call_of_each),
        cmocka_unit_test(every_table_limit),
        cmocka_unit_test(works_when_tables_are_there),
        cmocka_unit_test(plans),
        cmocka_unit_test(other_threads_go_on),
        cmocka_unit_test(sleeps_that_end_at_once),
        cmocka_unit_test(a_child_without_fences),
    };

    (void)argc;
    program = argv[0];
    if (getenv("TDPMMU_TEST_LIFE"))
        return a_life(getenv("TDPMMU_TEST_LIFE"));
    return cmocka_run_group_tests_name("every_failure", tests, NULL, NULL);
}
