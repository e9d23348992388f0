/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Readers that note in their own memory what they read: when a lock comes to that, that a
 * writer and a grace period see the notes, at each instruction of a reader, and wake up in the end.
 */
#include "rcu_helpers.h"

#include <linux/membarrier.h>

#include "moments.h"
#include "own_process.h"
#include "steps.h"

#if !defined(__x86_64__)
#error "steps.h is for x86-64"
#endif

#define BIAS (1u << 29)
#define ENOUGH 4096 /* reads without a writer */

static pthread_t main_thread;
static bool in_main(void) { return pthread_equal(pthread_self(), main_thread); }

static atomic_int membarriers, others_sleep, main_sleeps;

static void count_membarrier(void)
{
    atomic_fetch_add(&membarriers, 1);
}

static void count_sleep(uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    atomic_fetch_add(in_main() ? &main_sleeps : &others_sleep, 1);
}

static rwlock_t lock;
static long guarded[2]; /* equal whenever the lock is free */

static int begin(void **state)
{
    forget_moments();
    at_moment.membarrier = count_membarrier;
    at_moment.wait = count_sleep;
    sleeps_are_short = true;
    atomic_store(&lost_wakeups, 0);
    tdpmmu_rwlock_init(&lock);
    allow_steps();
    return setup(state);
}

static int end(void **state)
{
    forget_moments();
    return no_warning_left(state) || atomic_load(&lost_wakeups) ? -1 : 0;
}

#define FENCES "TDPMMU_RCU_FENCES"

/* Else readers count themselves: then most of this must be the same. */
static bool notes_are_made(void)
{
    return !getenv(FENCES) && raw_syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0, 0, 0, 0) > 0;
}

/* For what is not promised where readers count themselves. */
static void need_notes(void)
{
    if (!notes_are_made()) {
        print_message("no membarrier here: readers count themselves\n");
        skip();
    }
}

/* A lock's word with one reader, after many. */
static unsigned one_reader(void)
{
    return notes_are_made() ? BIAS : 1;
}

static bool has_bias(const rwlock_t *of)
{
    return __atomic_load_n(&of->state, __ATOMIC_RELAXED) & BIAS;
}

static void read_often(rwlock_t *what)
{
    for (int i = 0; i < ENOUGH; i++) {
        read_lock(what);
        read_unlock(what);
    }
}

/* A thread that has made notes and stays, until it is told to go ---------------- */

static atomic_int stays, may_go;

static void *stay(void *unused)
{
    read_often(&lock);
    atomic_store(&stays, 1);
    wait_until(&may_go);
    return unused;
}

static pthread_t start_staying(void)
{
    pthread_t thread;

    atomic_store(&stays, 0);
    atomic_store(&may_go, 0);
    assert_int_equal(pthread_create(&thread, NULL, stay, NULL), 0);
    wait_until(&stays);
    return thread;
}

static void end_staying(pthread_t thread)
{
    atomic_store(&may_go, 1);
    pthread_join(thread, NULL);
}

/* The lock's word tells: a reader by note is not counted there; a writer takes the bias away. */
static void comes_with_reads_goes_with_a_write(void **state)
{
    pthread_t thread;

    (void)state;
    thread = start_staying();
    read_often(&lock);
    assert_int_equal(has_bias(&lock), notes_are_made());
    read_lock(&lock);
    read_lock(&lock);
    assert_int_equal(lock.state, one_reader());
    assert_true(tdpmmu_read_lock_held(&lock));
    assert_false(rwlock_needbreak(&lock));
    write_lock(&lock);
    assert_one_warning("write_lock");
    read_unlock(&lock);
    assert_true(tdpmmu_read_lock_held(&lock));
    read_unlock(&lock);
    assert_false(tdpmmu_read_lock_held(&lock));
    read_unlock(&lock);
    assert_one_warning("read_unlock");
    atomic_store(&membarriers, 0);
    write_lock(&lock);
    assert_int_equal(atomic_load(&membarriers), notes_are_made());
    assert_false(rwlock_needbreak(&lock));
    write_unlock(&lock);
    assert_int_equal(lock.state, 0);
    end_staying(thread);
}

/* Nor does a writer call anybody where it comes often. */
static void frequent_writers_call_nobody(void **state)
{
    pthread_t thread;

    (void)state;
    thread = start_staying();
    write_lock(&lock);
    write_unlock(&lock);
    atomic_store(&membarriers, 0);
    for (int i = 0; i < 100; i++) {
        for (int k = 0; k < 1000; k++) {
            read_lock(&lock);
            read_unlock(&lock);
        }
        write_lock(&lock);
        write_unlock(&lock);
    }
    assert_int_equal(atomic_load(&membarriers), 0);
    end_staying(thread);
}

/* Nobody else makes notes: a writer needs no membarrier. */
static void alone(void **state)
{
    (void)state;
    read_often(&lock);
    assert_int_equal(has_bias(&lock), notes_are_made());
    atomic_store(&membarriers, 0);
    write_lock(&lock);
    write_unlock(&lock);
    assert_int_equal(atomic_load(&membarriers), 0);
}

/* As of any lock that is written over while it is held. */
static void written_over(void **state)
{
    (void)state;
    read_often(&lock);
    read_lock(&lock);
    assert_int_equal(lock.state, one_reader());
    lock.state = 0; /* somebody's memset() */
    read_unlock(&lock);
    assert_one_warning("read_unlock");
    read_often(&lock);
    read_lock(&lock);
    read_lock(&lock);
    tdpmmu_rwlock_init(&lock);
    assert_one_warning("tdpmmu_rwlock_init");
    assert_false(tdpmmu_read_lock_held(&lock));
    write_lock(&lock);
    write_unlock(&lock);
}

/* A second lock has no room for a note, and is as good. */
static void two_locks(void **state)
{
    rwlock_t second = { 0 };

    (void)state;
    read_often(&lock);
    read_often(&second);
    assert_int_equal(has_bias(&second), notes_are_made());
    read_lock(&lock);
    read_lock(&second);
    assert_int_equal(second.state, notes_are_made() ? BIAS + 1 : 1);
    read_unlock(&lock);
    assert_true(tdpmmu_read_lock_held(&second));
    read_lock(&second); /* a second hold never waits, and is no note although there is room now */
    assert_int_equal(second.state, notes_are_made() ? BIAS + 1 : 1);
    read_unlock(&second);
    assert_true(tdpmmu_read_lock_held(&second));
    write_lock(&lock);
    write_unlock(&lock);
    read_unlock(&second);
    assert_false(tdpmmu_read_lock_held(&second));
    write_lock(&second);
    write_unlock(&second);
}

/* Threads that go ------------------------------------------------------------ */

static void *end_with_the_lock(void *unused)
{
    read_often(&lock);
    read_lock(&lock);
    EXPECT(lock.state == BIAS);
    return unused;
}

/* A note goes with its thread. */
static void thread_ends_with_a_note(void **state)
{
    pthread_t thread;

    (void)state;
    need_notes();
    for (int i = 0; i < 20; i++) { /* the next thread has the same memory, perhaps */
        pthread_create(&thread, NULL, end_with_the_lock, NULL);
        pthread_join(thread, NULL);
        assert_one_warning("read_lock");
        write_lock(&lock);
        write_unlock(&lock);
    }
}

static atomic_int holds, may_let_go;

static void *hold(void *unused)
{
    sleeps_are_short = true;
    read_often(&lock);
    read_lock(&lock);
    EXPECT(lock.state == BIAS);
    atomic_store(&holds, 1);
    wait_until(&may_let_go);
    read_unlock(&lock);
    return unused;
}

static pthread_t start_holding(void)
{
    pthread_t thread;

    atomic_store(&holds, 0);
    atomic_store(&may_let_go, 0);
    assert_int_equal(pthread_create(&thread, NULL, hold, NULL), 0);
    wait_until(&holds);
    return thread;
}

/* In a child of fork() nobody has what another thread of the parent noted. */
static void child_has_no_notes_of_others(void **state)
{
    pthread_t thread;
    pid_t child;
    int status;

    (void)state;
    need_notes();
    thread = start_holding();
    read_lock(&lock);
    child = fork();
    if (child == 0) {
        alarm(20);
        read_unlock(&lock); /* its own it has */
        write_lock(&lock);
        write_unlock(&lock);
        read_often(&lock);
        write_lock(&lock);
        _exit(atomic_load(&warning_count) != 0);
    }
    read_unlock(&lock);
    atomic_store(&may_let_go, 1);
    pthread_join(thread, NULL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* A writer ------------------------------------------------------------------- */

static atomic_int writer_is_in, writer_may_leave, writer_has_left;

/* In the library's system calls no more than once: the moments of a thread that waits. */
static void *write_once(void *unused)
{
    sleeps_are_short = true;
    write_lock(&lock);
    guarded[0]++;
    atomic_store(&writer_is_in, 1);
    while (!atomic_load(&writer_may_leave) && !atomic_load(&main_sleeps))
        raw_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
    guarded[1]++;
    write_unlock(&lock);
    atomic_store(&writer_has_left, 1);
    return unused;
}

static pthread_t writer;

static void start_writer(void)
{
    atomic_store(&writer_is_in, 0);
    atomic_store(&writer_may_leave, 0);
    atomic_store(&writer_has_left, 0);
    atomic_store(&others_sleep, 0);
    atomic_store(&main_sleeps, 0);
    pthread_create(&writer, NULL, write_once, NULL);
}

/* It is in, or asleep because it cannot be. */
static void wait_for_writer(void)
{
    while (!atomic_load(&writer_is_in) && !atomic_load(&others_sleep))
        raw_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/* Readers see that a writer waits for their notes, and others wait behind it. */
static void writer_waits_and_is_seen(void **state)
{
    (void)state;
    read_often(&lock);
    read_lock(&lock);
    start_writer();
    wait_for_writer();
    assert_false(atomic_load(&writer_is_in));
    assert_true(rwlock_needbreak(&lock));
    atomic_store(&writer_may_leave, 1);
    read_unlock(&lock);
    read_lock(&lock); /* who lets go does not get it back before the writer */
    assert_true(atomic_load(&writer_is_in));
    read_unlock(&lock);
    pthread_join(writer, NULL);
}

static long seen[2];
static pthread_t staying;

static void read_both(void)
{
    read_lock(&lock);
    seen[0] = *(volatile long *)&guarded[0];
    seen[1] = *(volatile long *)&guarded[1];
    read_unlock(&lock);
}

static void begin_writing(void)
{
    start_writer();
    wait_for_writer();
}

/*
 * At each instruction of a reader a writer comes.  Where it is in at once it stays until the
 * reader has had its turn, or sleeps; where it is not, the reader's end must wake it.
 */
static void readers_stopped_anywhere(void **state)
{
    long at = 1, met = 0;

    (void)state;
    if (mode_is("tsan") || mode_is("asan") || mode_is("valgrind")) {
        print_message("single steps are for the library that ships\n");
        skip();
    }
    staying = start_staying();
    for (;; at++) {
        read_often(&lock);
        assert_int_equal(has_bias(&lock), notes_are_made());
        if (!run_in_steps(at, begin_writing, read_both))
            break;
        atomic_store(&writer_may_leave, 1);
        pthread_join(writer, NULL);
        met += atomic_load(&others_sleep) != 0;
        if (seen[0] != seen[1])
            fail_msg("a writer was in beside the reader that was stopped at instruction %ld", at);
        assert_int_equal(atomic_load(&lost_wakeups), 0);
    }
    assert_in_range(at, 20, 10000);
    assert_in_range(met, 5, at);
    end_staying(staying);
}

/* Two threads read without a pause, and a writer comes whenever readers make notes: a thread sanitizer sees both. */
static atomic_int enough, sweeps;

static void *sweep(void *unused)
{
    while (!atomic_load(&enough)) {
        read_lock(&lock);
        EXPECT(guarded[0] == guarded[1]);
        read_unlock(&lock);
        atomic_fetch_add_explicit(&sweeps, 1, memory_order_relaxed);
    }
    return unused;
}

static void readers_beside_a_rare_writer(void **state)
{
    pthread_t readers[2];

    (void)state;
    atomic_store(&enough, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, sweep, NULL), 0);
    for (int i = 0; i < 20; i++) {
        atomic_store(&sweeps, 0);
        while (notes_are_made() ? !has_bias(&lock) : atomic_load(&sweeps) < ENOUGH)
            raw_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
        write_lock(&lock);
        guarded[0]++;
        guarded[1]++;
        write_unlock(&lock);
    }
    atomic_store(&enough, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
}

/* A VM's SRCU domain ----------------------------------------------------------- */

static struct kvm *vm;
static atomic_int is_inside, may_leave, has_left;

static void *be_inside(void *unused)
{
    int outer, inner;

    sleeps_are_short = true;
    outer = srcu_read_lock(&vm->srcu);
    inner = srcu_read_lock(&vm->srcu);
    EXPECT(srcu_read_lock_held(&vm->srcu));
    srcu_read_unlock(&vm->srcu, inner);
    EXPECT(srcu_read_lock_held(&vm->srcu));
    atomic_store(&is_inside, 1);
    wait_until(&may_leave);
    atomic_store(&has_left, 1);
    srcu_read_unlock(&vm->srcu, outer);
    EXPECT(!srcu_read_lock_held(&vm->srcu));
    return unused;
}

static pthread_t start_inside(void)
{
    pthread_t thread;

    atomic_store(&is_inside, 0);
    atomic_store(&may_leave, 0);
    atomic_store(&has_left, 0);
    assert_int_equal(pthread_create(&thread, NULL, be_inside, NULL), 0);
    wait_until(&is_inside);
    return thread;
}

static void let_leave(uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    if (in_main())
        atomic_store(&may_leave, 1);
}

static struct kvm *make_vm(void)
{
    struct tdpmmu_vm_config config = { .size = sizeof(config) };

    return tdpmmu_create_vm(&config);
}

/* A grace period sees a noted reader, sleeps, and is woken. */
static void grace_period_waits_for_notes(void **state)
{
    pthread_t thread;

    (void)state;
    vm = make_vm();
    assert_non_null(vm);
    for (int i = 0; i < 4; i++) { /* by both indexes */
        at_moment.wait = NULL;
        thread = start_inside();
        at_moment.wait = let_leave;
        atomic_store(&membarriers, 0);
        synchronize_srcu(&vm->srcu);
        assert_true(atomic_load(&has_left));
        assert_int_equal(atomic_load(&membarriers), notes_are_made() ? 2 : 0); /* as it begins, as it asks to be woken */
        pthread_join(thread, NULL);
    }
    tdpmmu_destroy_vm(vm);
}

/* Who holds mmu_lock by a note and by no entry is told as any holder is. */
static void contracts_see_a_noted_hold(void **state)
{
    struct kvm_userspace_memory_region memory = { .memory_size = 1 << 21, .userspace_addr = UINT64_C(1) << 40 };
    struct kvm_vcpu *vcpu;

    (void)state;
    vm = make_vm();
    assert_int_equal(kvm_set_memory_region(vm, &memory), 0);
    vcpu = tdpmmu_create_vcpu(vm, 0);
    assert_non_null(vcpu);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    read_often(&vm->mmu_lock);
    read_lock(&vm->mmu_lock);
    assert_int_equal(vm->mmu_lock.state, one_reader());
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, 0, PFERR_WRITE_MASK), -EINVAL);
    assert_one_warning("kvm_tdp_mmu_page_fault");
    assert_int_equal(kvm_tdp_mmu_map(vcpu, 0, PFERR_WRITE_MASK, true, 1, 1, false), RET_PF_FIXED);
    assert_int_equal(warnings(), 0);
    read_unlock(&vm->mmu_lock);
    tdpmmu_destroy_vm(vm);
}

static void *end_inside(void *unused)
{
    srcu_read_lock(&vm->srcu);
    srcu_read_lock(&vm->srcu);
    return unused;
}

static void thread_ends_inside(void **state)
{
    pthread_t thread;

    (void)state;
    vm = make_vm();
    assert_int_equal(pthread_create(&thread, NULL, end_inside, NULL), 0);
    pthread_join(thread, NULL);
    assert_one_warning("srcu_read_lock");
    assert_int_equal(last_warning.value[0], 2);
    synchronize_srcu(&vm->srcu);
    tdpmmu_destroy_vm(vm);
}

/* The child has its own thread's section, and none of the others'. */
static void child_has_its_own_section(void **state)
{
    pthread_t thread;
    pid_t child;
    int status, index;

    (void)state;
    need_threads_in_children();
    vm = make_vm();
    thread = start_inside();
    index = srcu_read_lock(&vm->srcu);
    child = fork();
    if (child == 0) {
        unsigned long cookie;

        alarm(20);
        cookie = start_poll_synchronize_srcu(&vm->srcu);
        if (poll_state_synchronize_srcu(&vm->srcu, cookie))
            _exit(1);
        srcu_read_unlock(&vm->srcu, index);
        synchronize_srcu(&vm->srcu);
        _exit(atomic_load(&warning_count) != 0);
    }
    srcu_read_unlock(&vm->srcu, index);
    atomic_store(&may_leave, 1);
    pthread_join(thread, NULL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    tdpmmu_destroy_vm(vm);
}

/* All of the above once more, where membarrier counts as refused. */
static const char *program;

static void the_same_with_fences(void **state)
{
    (void)state;
    if (getenv(FENCES)) {
        read_often(&lock);
        assert_false(has_bias(&lock));
        return;
    }
    assert_int_equal(status_of_own_process(program, FENCES, "1", NULL, NULL), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(alone, begin, end),
        cmocka_unit_test_setup_teardown(comes_with_reads_goes_with_a_write, begin, end),
        cmocka_unit_test_setup_teardown(frequent_writers_call_nobody, begin, end),
        cmocka_unit_test_setup_teardown(written_over, begin, end),
        cmocka_unit_test_setup_teardown(two_locks, begin, end),
        cmocka_unit_test_setup_teardown(thread_ends_with_a_note, begin, end),
        cmocka_unit_test_setup_teardown(child_has_no_notes_of_others, begin, end),
        cmocka_unit_test_setup_teardown(writer_waits_and_is_seen, begin, end),
        cmocka_unit_test_setup_teardown(readers_stopped_anywhere, begin, end),
        cmocka_unit_test_setup_teardown(readers_beside_a_rare_writer, begin, end),
        cmocka_unit_test_setup_teardown(grace_period_waits_for_notes, begin, end),
        cmocka_unit_test_setup_teardown(contracts_see_a_noted_hold, begin, end),
        cmocka_unit_test_setup_teardown(thread_ends_inside, begin, end),
        cmocka_unit_test_setup_teardown(child_has_its_own_section, begin, end),
        cmocka_unit_test_setup_teardown(the_same_with_fences, begin, end),
    };

    (void)argc;
    program = argv[0];
    main_thread = pthread_self();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
