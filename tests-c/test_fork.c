/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sync/ForkList.swift: a child of fork() makes, uses and destroys VMs, whatever the threads
 * that it does not have were doing; it frees the strays that it inherited, and only those.
 */
/* modes: plain asan valgrind (the thread sanitizer lets no child of a threaded program start threads) */
#include "test_helpers.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S 60 /* longer than any machine is busy */

static bool under_mode(const char *name)
{
    const char *mode = getenv("TDPMMU_TEST_MODE");

    return mode && !strcmp(mode, name);
}

static atomic_uint complaints;

static void complain(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    fprintf(stderr, "%d: %s: %s\n", (int)getpid(), warning->function, warning->text);
    atomic_fetch_add(&complaints, 1);
}

static int setup(void **state)
{
    (void)state;
    tdpmmu_set_warn_handler(complain, NULL);
    atomic_store(&complaints, 0);
    return 0;
}

static struct kvm *new_vm(struct kvm_vcpu **vcpu)
{
    struct tdpmmu_vm_config config = { .size = sizeof(config) };
    struct kvm *kvm = tdpmmu_create_vm(&config);

    *vcpu = tdpmmu_create_vcpu(kvm, 0);
    add_slot(kvm, 0, 0, 0, 1ull << 28, WORLD_HVA);
    kvm_mmu_load(*vcpu);
    return kvm;
}

/* A table of its own for each page. */
static void map_apart(struct kvm *kvm, struct kvm_vcpu *vcpu, int pages)
{
    for (int i = 0; i < pages; i++) {
        read_lock(&kvm->mmu_lock);
        kvm_tdp_mmu_map(vcpu, (uint64_t)i << 30, PFERR_WRITE_MASK, true, 1, 100 + i, false);
        read_unlock(&kvm->mmu_lock);
    }
}

static void zap_everything(struct kvm *kvm)
{
    write_lock(&kvm->mmu_lock);
    kvm_tdp_mmu_zap_all(kvm);
    write_unlock(&kvm->mmu_lock);
}

static void make_and_destroy(void)
{
    struct kvm_vcpu *vcpu;
    struct kvm *kvm = new_vm(&vcpu);

    map_apart(kvm, vcpu, 64);
    tdpmmu_destroy_vm(kvm);
}

/*
 * Ends the child; 0: all is well.  What the parent's threads had in hand is lost in the child,
 * which is no leak of the library's: valgrind does not look if another program ends it.
 */
static void end_child(int code)
{
    if (code == 0 && atomic_load(&complaints) == 0 && under_mode("valgrind"))
        execl("/bin/true", "true", NULL);
    _exit(code ? code : atomic_load(&complaints) ? 99 : 0);
}

static void assert_child_well(pid_t child)
{
    int status = -1;

    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0); /* 14: hung; 99: a warning */
    assert_int_equal(atomic_load(&complaints), 0);
}

/* Threads inside everything that has a lock -------------------------------- */

static atomic_bool stop;

static void *keep_making(void *unused)
{
    while (!atomic_load(&stop))
        make_and_destroy();
    return unused;
}

static void *keep_reading_rings(void *unused)
{
    static struct tdpmmu_trace_event events[256];

    while (!atomic_load(&stop))
        tdpmmu_trace_read(events, 256, NULL);
    return unused;
}

/* The domain is not on the stack: a child has the parent's domains, but not its threads. */
static void *short_lived(void *domain)
{
    struct srcu_struct *ssp = domain;

    init_srcu_struct(ssp);
    srcu_read_unlock(ssp, srcu_read_lock(ssp));
    synchronize_srcu(ssp);
    cleanup_srcu_struct(ssp);
    return NULL;
}

static void *keep_starting_threads(void *unused)
{
    static struct srcu_struct domain;
    pthread_t thread;

    while (!atomic_load(&stop))
        if (pthread_create(&thread, NULL, short_lived, &domain) == 0)
            pthread_join(thread, NULL);
    return unused;
}

static void child_uses_all(void)
{
    struct kvm_vcpu *vcpu;
    struct tdpmmu_trace_event event;
    struct srcu_struct domain;
    struct kvm *kvm;
    int events = 0;

    alarm(PATIENCE_S);
    make_and_destroy();
    short_lived(&domain);
    while (tdpmmu_trace_read(&event, 1, NULL) == 1)
        ; /* what the parent had not read */
    kvm = new_vm(&vcpu);
    if (tdpmmu_trace_enable(kvm, TDPMMU_TRACE_ALL))
        end_child(1);
    map_apart(kvm, vcpu, 4);
    while (tdpmmu_trace_read(&event, 1, NULL) == 1)
        if (event.thread == (int32_t)getpid())
            events++;
    tdpmmu_destroy_vm(kvm);
    end_child(events ? 0 : 2);
}

/* First of all tests: what a fork has to set right is known by its first use, whatever that is. */
static void before_any_vm(void **state)
{
    pthread_t thread;

    (void)state;
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, keep_reading_rings, NULL), 0);
    for (unsigned i = 0; i < rounds(400); i++) {
        struct tdpmmu_trace_event event;
        pid_t child = fork();

        if (child == 0) {
            alarm(PATIENCE_S);
            end_child(tdpmmu_trace_read(&event, 1, NULL) == 0 ? 0 : 1);
        }
        assert_child_well(child);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
}

static void child_makes_vms_of_its_own(void **state)
{
    void *(*const bodies[])(void *) = {
        keep_making, keep_making, keep_reading_rings, keep_starting_threads,
    };
    pthread_t threads[4];

    (void)state;
    atomic_store(&stop, false);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, bodies[i], NULL), 0);
    for (unsigned i = 0; i < rounds(400); i++) {
        pid_t child = fork();

        if (child == 0)
            child_uses_all();
        assert_child_well(child);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* Strays -------------------------------------------------------------------- */

static atomic_uint ran;

static void count_run(struct rcu_head *head)
{
    (void)head;
    atomic_fetch_add(&ran, 1);
}

/* All that the parent has cut off comes back in the child, and none of the test's own callbacks. */
static void child_frees_strays(struct kvm *kvm, unsigned expected)
{
    alarm(PATIENCE_S);
    atomic_store(&ran, 0);
    if (stats_of(kvm).tables_stray != expected)
        end_child(1);
    rcu_barrier();
    if (stats_of(kvm).tables_stray != 0)
        end_child(2);
    if (atomic_load(&ran) != 0)
        end_child(3);
    make_and_destroy();
    tdpmmu_destroy_vm(kvm);
    end_child(0);
}

static atomic_int reader_state;

static void *hold_up(void *unused)
{
    rcu_read_lock();
    atomic_store(&reader_state, 1);
    while (atomic_load(&reader_state) != 2)
        sched_yield();
    rcu_read_unlock();
    return unused;
}

static void *zap_in_thread(void *kvm)
{
    static struct rcu_head heads[9];
    static int used;

    call_rcu(&heads[used++], count_run);
    zap_everything(kvm);
    call_rcu(&heads[used++], count_run);
    call_rcu(&heads[used++], count_run);
    return NULL;
}

static void run_to_end(void *(*body)(void *), void *argument)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, body, argument), 0);
    pthread_join(thread, NULL);
}

/* Collected by the callback thread, left behind by a thread that has gone, and queued. */
static void strays_come_back(void **state)
{
    struct kvm_vcpu *vcpu;
    struct kvm *kvm = new_vm(&vcpu);
    pthread_t reader;
    pid_t child;

    (void)state;
    atomic_store(&reader_state, 0);
    assert_int_equal(pthread_create(&reader, NULL, hold_up, NULL), 0);
    while (atomic_load(&reader_state) != 1)
        sched_yield();
    map_apart(kvm, vcpu, 16);
    run_to_end(zap_in_thread, kvm);
    usleep(20000); /* the callback thread has those, and waits for the reader */
    kvm_mmu_load(vcpu);
    map_apart(kvm, vcpu, 16);
    run_to_end(zap_in_thread, kvm);
    kvm_mmu_load(vcpu);
    map_apart(kvm, vcpu, 16);
    zap_in_thread(kvm);
    child = fork();
    if (child == 0)
        child_frees_strays(kvm, (unsigned)stats_of(kvm).tables_stray);
    assert_child_well(child);
    assert_true(stats_of(kvm).tables_stray >= 3 * 16);
    atomic_store(&ran, 0);
    atomic_store(&reader_state, 2);
    pthread_join(reader, NULL);
    rcu_barrier();
    assert_int_equal(stats_of(kvm).tables_stray, 0);
    assert_int_equal(atomic_load(&ran), 9);
    tdpmmu_destroy_vm(kvm);
    assert_int_equal(atomic_load(&complaints), 0);
}

/* The child is inside the reader itself, and a callback of the test's own forked. */
static void inside_a_reader(void **state)
{
    struct kvm_vcpu *vcpu;
    struct kvm *kvm = new_vm(&vcpu);
    pid_t child;

    (void)state;
    map_apart(kvm, vcpu, 16);
    rcu_read_lock();
    zap_everything(kvm);
    child = fork();
    if (child == 0) {
        rcu_read_unlock();
        child_frees_strays(kvm, (unsigned)stats_of(kvm).tables_stray);
    }
    rcu_read_unlock();
    assert_child_well(child);
    tdpmmu_destroy_vm(kvm);
}

/* While tables are being freed: each is, in the child, either free or a stray. */
static void while_tables_are_freed(void **state)
{
    struct kvm_vcpu *vcpu;
    struct kvm *kvm = new_vm(&vcpu);

    (void)state;
    for (unsigned i = 0; i < rounds(200); i++) {
        uint64_t strays;
        pid_t child;

        kvm_mmu_load(vcpu);
        map_apart(kvm, vcpu, 400);
        rcu_read_lock();
        zap_everything(kvm);
        strays = stats_of(kvm).tables_stray;
        rcu_read_unlock();
        while (stats_of(kvm).tables_stray == strays)
            ; /* until the callback thread is at it */
        child = fork();
        if (child == 0)
            child_frees_strays(kvm, (unsigned)stats_of(kvm).tables_stray);
        assert_child_well(child);
    }
    tdpmmu_destroy_vm(kvm);
    assert_int_equal(atomic_load(&complaints), 0);
}

/* What a CPU has logged by itself --------------------------------------------- */

#define LOGGED_PAGES 1024u

/* EPT with PML, a logged slot, its pages mapped at 4K, writable and clean. */
static struct kvm *new_logged_vm(struct kvm_vcpu **vcpu)
{
    struct tdpmmu_vm_config config = { .size = sizeof(config) };
    struct kvm *kvm = tdpmmu_create_vm(&config);

    *vcpu = tdpmmu_create_vcpu(kvm, 0);
    /* Off by a page from the host's huge pages: 4K leaves only. */
    assert_int_equal(add_slot(kvm, 0, 0, 0, LOGGED_PAGES, WORLD_HVA + 4096), 0);
    for (gfn_t gfn = 0; gfn < LOGGED_PAGES; gfn++)
        guest_write(*vcpu, gfn);
    assert_int_equal(add_slot(kvm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, LOGGED_PAGES, WORLD_HVA + 4096), 0);
    return kvm;
}

static unsigned dirty_pages(struct kvm *kvm)
{
    uint64_t bits[LOGGED_PAGES / 64] = { 0 };
    struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bits };
    unsigned count = 0;

    if (kvm_vm_ioctl_get_dirty_log(kvm, &log))
        return UINT32_MAX;
    for (unsigned i = 0; i < LOGGED_PAGES / 64; i++)
        count += (unsigned)__builtin_popcountll(bits[i]);
    return count;
}

/* Both have what the CPU had logged, each for itself. */
static void a_cpus_log_is_in_both(void **state)
{
    struct kvm_vcpu *vcpu;
    struct kvm *kvm = new_logged_vm(&vcpu);
    pid_t child;

    (void)state;
    for (gfn_t gfn = 0; gfn < 600; gfn++)
        assert_int_equal(tdpmmu_cpu_access(vcpu, gfn << 12, PFERR_WRITE_MASK, NULL), 1);
    child = fork();
    if (child == 0) {
        alarm(PATIENCE_S);
        if (tdpmmu_cpu_exit(vcpu) != 600 - 512 || dirty_pages(kvm) != 600)
            end_child(1);
        tdpmmu_destroy_vm(kvm);
        end_child(0);
    }
    assert_child_well(child);
    assert_int_equal(dirty_pages(kvm), 600);
    tdpmmu_destroy_vm(kvm);
}

static void *keep_writing(void *argument)
{
    struct kvm_vcpu *vcpu = argument;

    for (gfn_t gfn = 0; !atomic_load(&stop); gfn = (gfn + 1) % LOGGED_PAGES)
        tdpmmu_cpu_access(vcpu, gfn << 12, PFERR_WRITE_MASK, NULL);
    return NULL;
}

/* The child's memory is not of one moment: a page may be dirty of which the log, copied earlier, knows nothing. */
static void make_all_clean(struct kvm *kvm)
{
    read_lock(&kvm->mmu_lock);
    rcu_read_lock();
    kvm_tdp_mmu_clear_dirty_slot(kvm, tdpmmu_id_to_memslot(kvm, 0, 0));
    rcu_read_unlock();
    read_unlock(&kvm->mmu_lock);
}

/* A CPU was in the guest, or about its log, and its thread is not there: the child harvests, and
 * drives the vCPU itself. */
static void beside_a_running_guest(void **state)
{
    struct kvm_vcpu *vcpu;
    struct kvm *kvm = new_logged_vm(&vcpu);
    pthread_t thread;

    (void)state;
    atomic_store(&stop, false);
    assert_int_equal(pthread_create(&thread, NULL, keep_writing, vcpu), 0);
    for (unsigned i = 0; i < rounds(1000); i++) {
        pid_t child;

        assert_true(dirty_pages(kvm) <= LOGGED_PAGES);
        child = fork();
        if (child == 0) {
            alarm(PATIENCE_S);
            if (dirty_pages(kvm) > LOGGED_PAGES)
                end_child(1);
            make_all_clean(kvm);
            for (gfn_t gfn = 0; gfn < LOGGED_PAGES; gfn++)
                if (tdpmmu_cpu_access(vcpu, gfn << 12, PFERR_WRITE_MASK, NULL) != 1)
                    end_child(2);
            end_child(dirty_pages(kvm) == LOGGED_PAGES ? 0 : 3);
        }
        assert_child_well(child);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    tdpmmu_destroy_vm(kvm);
}

/* A fuzzer's fork server ------------------------------------------------------- */

/* Of the leaves, whatever tables they stand in. */
static uint64_t leaves_of(struct kvm_vcpu *vcpu)
{
    struct tdp_iter iter;
    uint64_t sum = 0;

    rcu_read_lock();
    for_each_tdp_pte(iter, tdpmmu_vcpu_root(vcpu)->spt, 4, 0, 1 << 16)
        if (is_shadow_present_pte(iter.old_spte) && is_last_spte(iter.old_spte, iter.level))
            sum = (sum ^ iter.old_spte ^ iter.gfn << 3 ^ (unsigned)iter.level) * 0x9e3779b97f4a7c15;
    rcu_read_unlock();
    return sum;
}

/* One input: all that a child does to the VM which it was given, with its callback thread and its grace periods. */
static uint64_t one_input(struct kvm *kvm, struct kvm_vcpu *vcpu)
{
    uint64_t sum;

    for (gfn_t gfn = 64; gfn < 128; gfn++)
        if (kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_WRITE_MASK) != RET_PF_FIXED)
            end_child(2);
    write_lock(&kvm->mmu_lock);
    kvm_tdp_mmu_zap_leafs(kvm, 0, 8, false);
    write_unlock(&kvm->mmu_lock);
    if (dirty_pages(kvm) != 128 || add_slot(kvm, 1, 0, 1 << 20, 16, WORLD_HVA + (1ull << 32)))
        end_child(3);
    sum = leaves_of(vcpu);
    kvm_mmu_zap_all_fast(kvm);
    rcu_barrier();
    synchronize_rcu();
    if (stats_of(kvm).tables_stray != 0 || tdpmmu_check(kvm) != 0)
        end_child(4);
    return sum;
}

/* The VM is made once, with all that is to be in it, and each input has a copy: all begin with the same, and end so. */
static void a_vm_for_each_input(void **state)
{
    struct tdpmmu_vm_config config = { .size = sizeof(config) };
    struct kvm *kvm = tdpmmu_create_vm(&config);
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(kvm, 0);
    uint64_t before, first = 0;
    int ends[2];

    (void)state;
    assert_int_equal(add_slot(kvm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, LOGGED_PAGES, WORLD_HVA + 4096), 0);
    kvm_mmu_load(vcpu);
    for (gfn_t gfn = 0; gfn < 64; gfn++)
        kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_WRITE_MASK);
    before = leaves_of(vcpu);
    for (unsigned i = 0; i < rounds(200); i++) {
        uint64_t sum = 0;
        pid_t child;

        assert_int_equal(pipe(ends), 0);
        child = fork();
        if (child == 0) {
            alarm(PATIENCE_S);
            if (leaves_of(vcpu) != before)
                end_child(1);
            sum = one_input(kvm, vcpu);
            if (write(ends[1], &sum, sizeof(sum)) != sizeof(sum))
                end_child(5);
            tdpmmu_destroy_vm(kvm);
            end_child(0);
        }
        close(ends[1]);
        assert_child_well(child);
        assert_int_equal(read(ends[0], &sum, sizeof(sum)), sizeof(sum));
        close(ends[0]);
        if (i == 0)
            first = sum;
        assert_true(sum == first);
        assert_true(sum != before);
        assert_true(leaves_of(vcpu) == before);
    }
    tdpmmu_destroy_vm(kvm);
    assert_int_equal(atomic_load(&complaints), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(before_any_vm, setup),
        cmocka_unit_test_setup(child_makes_vms_of_its_own, setup),
        cmocka_unit_test_setup(strays_come_back, setup),
        cmocka_unit_test_setup(inside_a_reader, setup),
        cmocka_unit_test_setup(while_tables_are_freed, setup),
        cmocka_unit_test_setup(a_cpus_log_is_in_both, setup),
        cmocka_unit_test_setup(beside_a_running_guest, setup),
        cmocka_unit_test_setup(a_vm_for_each_input, setup),
    };

    return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
