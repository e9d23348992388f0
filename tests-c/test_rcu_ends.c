/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rcu.h at the ends: exit() with callbacks pending, no thread to be had, threads that are cancelled
 * or past their exit handlers, callbacks that end their thread.  Each case is a process of its
 * own, which SIGALRM ends if it hangs.
 */
#include "rcu_helpers.h"

#include <errno.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define HANG_SECONDS 60
#define SKIPPED 77

static char *program;
static char said[4096]; /* what the last case wrote to stderr */

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);         \
            _exit(1);                                                               \
        }                                                                           \
    } while (0)

static void nap_us(long us)
{
    nanosleep(&(struct timespec){ 0, us * 1000 }, NULL);
}

static pthread_t start(void *(*body)(void *), void *argument)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, body, argument) == 0);
    return thread;
}

/* From now on the calling thread can start no other: EAGAIN. */
static void refuse_threads(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_clone, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog rules = { sizeof(filter) / sizeof(filter[0]), filter };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &rules))
        _exit(SKIPPED);
}

static atomic_int ran;
static pthread_mutex_t callers = PTHREAD_MUTEX_INITIALIZER;

static void count(struct rcu_head *head)
{
    (void)head;
    atomic_fetch_add(&ran, 1);
}

static void count_and_free(struct rcu_head *head)
{
    atomic_fetch_add(&ran, 1);
    free(head);
}

static void take_lock(struct rcu_head *head)
{
    (void)head;
    pthread_mutex_lock(&callers);
    pthread_mutex_unlock(&callers);
    atomic_fetch_add(&ran, 1);
}

static void queue(int number)
{
    for (int i = 0; i < number; i++)
        call_rcu(malloc(sizeof(struct rcu_head)), count_and_free);
}

/* exit() -------------------------------------------------------------------- */

#define BUSY 3
static atomic_int stop;
static pthread_t busy_threads[BUSY];

static void *queues_and_waits(void *unused)
{
    struct rcu_head head = {0};

    while (!atomic_load(&stop)) {
        call_rcu(&head, count);
        rcu_barrier();
    }
    return unused;
}

static void join_busy(void)
{
    atomic_store(&stop, 1);
    for (int i = 0; i < BUSY; i++)
        pthread_join(busy_threads[i], NULL);
}

/* An exit handler joins threads that are in call_rcu() and rcu_barrier() at any moment. */
static void exit_beside_barriers(const char *argument)
{
    atexit(join_busy);
    for (int i = 0; i < BUSY; i++)
        busy_threads[i] = start(queues_and_waits, NULL);
    nap_us(500 + atoi(argument) * 37 % 777);
    exit(0);
}

static void exit_with_callbacks(const char *argument)
{
    queue(1 + atoi(argument) % 50);
    exit(0);
}

static void *reads_for_ever(void *flag)
{
    rcu_read_lock();
    atomic_store((atomic_int *)flag, 1);
    pause();
    return NULL;
}

/* Callbacks that cannot run: told, and not waited for. */
static void exit_beside_reader(const char *unused)
{
    static atomic_int inside;

    (void)unused;
    start(reads_for_ever, &inside);
    wait_until(&inside);
    queue(5000);
    exit(0);
}

static void queue_in_handler(void)
{
    static struct rcu_head head;

    pthread_mutex_lock(&callers);
    call_rcu(&head, take_lock);
    CHECK(atomic_load(&ran) == 1);
    pthread_mutex_unlock(&callers);
}

static void wait_in_handler(void)
{
    rcu_barrier();
    CHECK(atomic_load(&ran) == 2);
}

/* Handlers run after the library's own, for they were there first. */
static void exit_handler_queues(const char *unused)
{
    (void)unused;
    atexit(wait_in_handler);
    atexit(queue_in_handler);
    queue(1);
    rcu_barrier();
    exit(0);
}

static void exit_handler_forgets(const char *unused)
{
    (void)unused;
    atexit(queue_in_handler);
    queue(1);
    rcu_barrier();
    exit(0);
}

/* In the child there is nothing to be told of. */
static void exit_after_fork(const char *unused)
{
    int status;
    pid_t child;

    (void)unused;
    rcu_read_lock();
    queue(100);
    child = fork();
    if (child == 0) {
        alarm(HANG_SECONDS);
        rcu_read_unlock();
        exit(0);
    }
    rcu_read_unlock();
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    rcu_barrier();
    exit(0);
}

static int inside_loader(struct dl_phdr_info *object, size_t size, void *ends)
{
    (void)object, (void)size;
    CHECK(write(((const int *)ends)[1], "", 1) == 1);
    for (;;)
        pause();
    return 1;
}

static void *stays_inside_loader(void *ends)
{
    dl_iterate_phdr(inside_loader, ends);
    return NULL;
}

/* Another thread is in the loader, as one that starts the callback thread was once: in the child it is so for ever. */
static void fork_beside_loader(const char *unused)
{
    int ends[2], status;
    char byte;
    pid_t child;

    (void)unused;
    CHECK(pipe(ends) == 0);
    start(stays_inside_loader, ends);
    CHECK(read(ends[0], &byte, 1) == 1);
    child = fork();
    if (child == 0) {
        alarm(HANG_SECONDS / 2);
        queue(3);
        rcu_barrier();
        exit(atomic_load(&ran) == 3 ? 0 : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    _exit(0);
}

/* No thread ------------------------------------------------------------------ */

static struct rcu_head again_head;
static atomic_int again_left = 1000000000;

static void again(struct rcu_head *head)
{
    if (atomic_fetch_sub(&again_left, 1) > 0)
        call_rcu(head, again);
}

/* Callbacks never run inside call_rcu(), and all that waits does come back. */
static void no_thread(const char *unused)
{
    static struct rcu_head heads[2];
    unsigned long cookie;

    (void)unused;
    refuse_threads();
    pthread_mutex_lock(&callers);
    call_rcu(&heads[0], take_lock);
    call_rcu(&heads[1], take_lock);
    CHECK(warnings() == 1); /* said once that there is no thread */
    cookie = start_poll_synchronize_rcu();
    while (!poll_state_synchronize_rcu(cookie))
        sched_yield();
    synchronize_rcu();
    cond_synchronize_rcu(get_state_synchronize_rcu());
    CHECK(atomic_load(&ran) == 0); /* the lock is ours */
    pthread_mutex_unlock(&callers);
    rcu_barrier();
    CHECK(atomic_load(&ran) == 2);
    call_rcu(&again_head, again); /* there is always another */
    rcu_barrier();
    rcu_barrier();
    atomic_store(&again_left, 0);
    rcu_barrier();
    CHECK(warnings() == 0);
    exit(0);
}

static void no_thread_srcu(const char *unused)
{
    static struct srcu_struct domain;
    static struct rcu_head head;
    unsigned long cookie;

    (void)unused;
    refuse_threads();
    init_srcu_struct(&domain);
    pthread_mutex_lock(&callers);
    call_srcu(&domain, &head, take_lock);
    cookie = start_poll_synchronize_srcu(&domain);
    while (!poll_state_synchronize_srcu(&domain, cookie))
        sched_yield();
    synchronize_srcu(&domain);
    CHECK(atomic_load(&ran) == 0);
    pthread_mutex_unlock(&callers);
    srcu_barrier(&domain);
    CHECK(atomic_load(&ran) == 1);
    cleanup_srcu_struct(&domain);
    CHECK(warnings() == 1);
    exit(0);
}

static pthread_barrier_t both;

static void *queues_in_readers(void *unused)
{
    refuse_threads();
    pthread_barrier_wait(&both);
    for (int i = 0; i < 30000; i++) {
        rcu_read_lock();
        queue(1);
        rcu_read_unlock();
    }
    atomic_store(&stop, 1);
    return unused;
}

static void *barriers(void *unused)
{
    refuse_threads();
    pthread_barrier_wait(&both);
    while (!atomic_load(&stop))
        rcu_barrier();
    return unused;
}

/* One thread's start of the worker fails while another has seen the worker's word. */
static void barrier_beside_failing_start(const char *unused)
{
    pthread_t queues, waits;

    (void)unused;
    pthread_barrier_init(&both, NULL, 2);
    queues = start(queues_in_readers, NULL);
    waits = start(barriers, NULL);
    pthread_join(queues, NULL);
    pthread_join(waits, NULL);
    rcu_barrier(); /* this thread may start one */
    CHECK(atomic_load(&ran) == 30000);
    exit(0);
}

/* Cancellation ---------------------------------------------------------------- */

static struct srcu_struct domain;
static atomic_int inside, may_leave, waits, ended;

static void cancellation_point(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    record_warning(ctx, kvm, warning);
    pthread_testcancel();
}

static void *reader_of_both(void *unused)
{
    int index = srcu_read_lock(&domain);

    rcu_read_lock();
    atomic_store(&inside, 1);
    wait_until(&may_leave);
    rcu_read_unlock();
    srcu_read_unlock(&domain, index);
    return unused;
}

static void wait_cond(void)
{
    cond_synchronize_rcu(get_state_synchronize_rcu());
}

static void wait_srcu(void)
{
    synchronize_srcu(&domain);
}

static void wait_srcu_expedited(void)
{
    synchronize_srcu_expedited(&domain);
}

static void wait_srcu_barrier(void)
{
    srcu_barrier(&domain);
}

static void (*const waiting[])(void) = {
    synchronize_rcu, synchronize_rcu_expedited, wait_cond, rcu_barrier,
    wait_srcu, wait_srcu_expedited, wait_srcu_barrier,
};
#define WAITING (sizeof(waiting) / sizeof(waiting[0]))

static void note_end(void *unused)
{
    (void)unused;
    atomic_store(&ended, 1);
}

struct cancelled {
    void (*wait)(void);
    int type;
};

static void *is_cancelled(void *argument)
{
    const struct cancelled *how = argument;
    int unused;

    pthread_cleanup_push(note_end, NULL);
    /* Before the type, so that it is cancelled nowhere but in the call or after it. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &unused);
    CHECK(tdpmmu_rcu_register_thread() == 0);
    pthread_setcanceltype(how->type, &unused);
    atomic_store(&waits, 1);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &unused);
    how->wait();
    for (;;)
        pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancel_one(void (*wait)(void), int type)
{
    static struct rcu_head heads[2];
    struct cancelled how = { wait, type };
    pthread_t reader, waiter;
    void *result;

    atomic_store(&inside, 0);
    atomic_store(&may_leave, 0);
    atomic_store(&waits, 0);
    atomic_store(&ended, 0);
    reader = start(reader_of_both, NULL);
    wait_until(&inside);
    call_rcu(&heads[0], count);
    call_srcu(&domain, &heads[1], count);
    waiter = start(is_cancelled, &how);
    wait_until(&waits);
    nap_ms(20); /* it is most likely waiting by now */
    warnings();
    pthread_cancel(waiter);
    while (warnings() == 0) /* some thread reports the stall, this one perhaps */
        nap_ms(1);
    nap_ms(20);
    CHECK(atomic_load(&ended) == 0);
    atomic_store(&may_leave, 1);
    pthread_join(reader, NULL);
    pthread_join(waiter, &result);
    /* C libraries differ in the result of one that becomes due when cancellation is let in again. */
    CHECK(result == PTHREAD_CANCELED || type == PTHREAD_CANCEL_ASYNCHRONOUS);
    synchronize_rcu();
    synchronize_srcu(&domain);
    rcu_barrier();
    srcu_barrier(&domain);
}

static void cancelled_waits(const char *which)
{
    int type = *which == 'a' ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED;

    tdpmmu_set_warn_handler(cancellation_point, NULL);
    init_srcu_struct(&domain);
    tdpmmu_rcu_set_stall_timeout_ms(30);
    for (size_t i = 0; i < WAITING; i++)
        cancel_one(waiting[i], type);
    tdpmmu_rcu_set_stall_timeout_ms(0);
    warnings();
    cleanup_srcu_struct(&domain);
    CHECK(warnings() == 0);
    exit(0);
}

static struct kvm *vm;

static void *cancelled_locker(void *type)
{
    pthread_setcanceltype(*(int *)type, &(int){0});
    atomic_store(&waits, 1);
    write_lock(&vm->mmu_lock);
    for (;;)
        pthread_testcancel();
    return NULL;
}

/* Who is cancelled while it waits for mmu_lock has it, and its end releases it. */
static void cancelled_lock(const char *which)
{
    int type = *which == 'a' ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED;
    pthread_t thread;

    vm = tdpmmu_create_vm(NULL);
    CHECK(vm);
    for (int i = 0; i < 20; i++) {
        atomic_store(&waits, 0);
        write_lock(&vm->mmu_lock);
        thread = start(cancelled_locker, &type);
        wait_until(&waits);
        nap_ms(5);
        pthread_cancel(thread);
        nap_ms(1);
        write_unlock(&vm->mmu_lock);
        pthread_join(thread, NULL);
        read_lock(&vm->mmu_lock);
        read_unlock(&vm->mmu_lock);
    }
    warnings();
    tdpmmu_destroy_vm(vm);
    CHECK(warnings() == 0);
    exit(0);
}

/* Past the exit handler -------------------------------------------------------- */

static pthread_key_t late_key;
static atomic_int is_late;
static atomic_ulong handled;

static void reads(int number)
{
    (void)number;
    rcu_read_lock();
    CHECK(rcu_read_lock_held());
    rcu_read_unlock();
    atomic_fetch_add(&handled, 1);
}

/* In a later round than the library's own destructor. */
static void waits_late(void *round)
{
    if ((uintptr_t)round < 2) {
        pthread_setspecific(late_key, (void *)((uintptr_t)round + 1));
        return;
    }
    atomic_store(&is_late, 1);
    while (!atomic_load(&stop)) {
        synchronize_rcu();
        rcu_read_lock();
        rcu_read_unlock();
    }
}

static void *ends_late(void *unused)
{
    rcu_read_lock();
    rcu_read_unlock();
    pthread_setspecific(late_key, (void *)1);
    return unused;
}

static void late_signals(const char *unused)
{
    pthread_t thread;

    (void)unused;
    signal(SIGUSR1, reads);
    pthread_key_create(&late_key, waits_late);
    thread = start(ends_late, NULL);
    wait_until(&is_late);
    for (unsigned long i = 0; i < 300; i++) {
        pthread_kill(thread, SIGUSR1);
        while (atomic_load(&handled) <= i)
            sched_yield();
        if (i % 30 == 0)
            synchronize_rcu();
    }
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    CHECK(!rcu_read_lock_held());
    CHECK(warnings() == 0);
    exit(0);
}

/* Callbacks that end their thread ------------------------------------------------ */

static void ends_thread(struct rcu_head *head)
{
    (void)head;
    atomic_fetch_add(&ran, 1);
    pthread_exit(NULL);
}

static void queue_with_ends(void)
{
    static struct rcu_head heads[100];

    memset(heads, 0, sizeof(heads));
    atomic_store(&ran, 0);
    rcu_read_lock(); /* so that all are one batch */
    for (int i = 0; i < 100; i++)
        call_rcu(&heads[i], i == 10 || i == 50 || i == 99 ? ends_thread : count);
    rcu_read_unlock();
}

static void callback_ends_thread(const char *unused)
{
    static struct rcu_head heads[50];

    (void)unused;
    for (int i = 0; i < 10; i++) {
        queue_with_ends();
        rcu_barrier();
        CHECK(atomic_load(&ran) == 100);
        CHECK(warnings() == 3);
    }
    init_srcu_struct(&domain);
    atomic_store(&ran, 0);
    may_leave = srcu_read_lock(&domain);
    for (int i = 0; i < 50; i++)
        call_srcu(&domain, &heads[i], i == 20 || i == 49 ? ends_thread : count);
    srcu_read_unlock(&domain, may_leave);
    srcu_barrier(&domain);
    CHECK(atomic_load(&ran) == 50);
    CHECK(warnings() == 2);
    cleanup_srcu_struct(&domain);
    CHECK(warnings() == 0);
    exit(0);
}

static atomic_int turn, came_back;

static void *waits_in_place(void *number)
{
    refuse_threads();
    while (atomic_load(&turn) != (int)(intptr_t)number)
        nap_ms(1);
    rcu_barrier();
    atomic_fetch_add(&came_back, 1);
    return NULL;
}

/* Without a thread it is the one that waits that such a callback ends: three, and the fourth is done. */
static void callback_ends_waiter(const char *unused)
{
    pthread_t threads[4];

    (void)unused;
    for (int i = 0; i < 4; i++)
        threads[i] = start(waits_in_place, (void *)(intptr_t)(i + 1));
    refuse_threads();
    queue_with_ends();
    CHECK(warnings() == 1 && atomic_load(&ran) == 0);
    for (int i = 0; i < 4; i++) {
        atomic_store(&turn, i + 1);
        pthread_join(threads[i], NULL);
        CHECK(warnings() == (i < 3) && atomic_load(&came_back) == (i == 3));
    }
    CHECK(atomic_load(&ran) == 100);
    synchronize_rcu();
    exit(0);
}

static void leaves_reader_open(struct rcu_head *head)
{
    rcu_read_lock();
    rcu_read_lock();
    count(head);
}

static void callback_forgets_reader(const char *unused)
{
    static struct rcu_head heads[2];

    (void)unused;
    call_rcu(&heads[0], leaves_reader_open);
    rcu_barrier();
    CHECK(warnings() == 1);
    call_rcu(&heads[1], count);
    rcu_barrier();
    synchronize_rcu();
    CHECK(atomic_load(&ran) == 2 && warnings() == 0);
    exit(0);
}

/* The cases --------------------------------------------------------------------- */

static const struct run {
    const char *name;
    void (*body)(const char *argument);
} runs[] = {
#define RUN(name) { #name, name }
    RUN(exit_beside_barriers), RUN(exit_with_callbacks), RUN(exit_beside_reader), RUN(exit_handler_queues),
    RUN(exit_handler_forgets), RUN(exit_after_fork), RUN(fork_beside_loader), RUN(no_thread), RUN(no_thread_srcu),
    RUN(barrier_beside_failing_start), RUN(cancelled_waits), RUN(cancelled_lock), RUN(late_signals),
    RUN(callback_ends_thread), RUN(callback_ends_waiter), RUN(callback_forgets_reader),
};

/* What the program does as one of the cases. */
static int as_case(const char *name, const char *argument)
{
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        if (strcmp(runs[i].name, name))
            continue;
        alarm(getenv("TDPMMU_TEST_ONLY") ? HANG_SECONDS / 2 : HANG_SECONDS);
        if (strcmp(argument, "line"))
            tdpmmu_set_warn_handler(record_warning, NULL);
        runs[i].body(argument);
    }
    return 64;
}

static void read_all(int from)
{
    size_t used = 0;
    ssize_t got;

    while ((got = read(from, said + used, sizeof(said) - 1 - used)) > 0)
        used += (size_t)got;
    said[used] = 0;
    close(from);
}

/* Runs a case; its exit status, or 1000 and the signal. */
static int outcome(const char *name, const char *argument)
{
    int ends[2], status;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        /* Callbacks are lost on purpose, and the leak checker needs a thread of its own. */
        setenv("ASAN_OPTIONS", "detect_leaks=0:exitcode=66", 1);
        execl(program, program, name, argument, NULL);
        _exit(127);
    }
    close(ends[1]);
    read_all(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void good(const char *name, const char *argument)
{
    int status = outcome(name, argument);

    if (status == SKIPPED) {
        print_message("# %s: skipped: seccomp is refused here\n", name);
        skip();
    }
    if (status)
        print_error("%s %s: status %d: %s\n", name, argument, status, said);
    assert_int_equal(status, 0);
}

/* A hundred processes in a test, each with its own moment; torture_exit.c has the long form. */
static void many_exits(void **state)
{
    int number = mode_is("plain") || !getenv("TDPMMU_TEST_MODE") ? 150 : 10;
    char moment[16];

    (void)state;
    for (int i = 0; i < number; i++) {
        snprintf(moment, sizeof(moment), "%d", i);
        good("exit_beside_barriers", moment);
        good("exit_with_callbacks", moment);
    }
}

static void callbacks_left_at_exit(void **state)
{
    (void)state;
    good("exit_beside_reader", "line");
    assert_non_null(strstr(said, "callbacks have not run"));
    assert_non_null(strstr(said, "0x1388")); /* 5000 */
    good("exit_handler_queues", "line");
    assert_string_equal(said, "");
    good("exit_handler_forgets", "line");
    assert_non_null(strstr(said, "callbacks have not run"));
    good("exit_after_fork", "line");
    assert_string_equal(said, "");
}

#define CASE(name, argument)                \
    static void run_##name(void **state)    \
    {                                       \
        (void)state;                        \
        good(#name, argument);              \
    }

CASE(no_thread, "")
CASE(no_thread_srcu, "")
CASE(barrier_beside_failing_start, "")
CASE(callback_ends_thread, "")
CASE(callback_ends_waiter, "")
CASE(callback_forgets_reader, "")

static void waits_hold_cancellation_off(void **state)
{
    (void)state;
    good("cancelled_waits", "deferred");
    good("cancelled_lock", "deferred");
    if (!mode_is("tsan")) { /* its runtime is inside itself where an asynchronous one ends the thread */
        good("cancelled_waits", "asynchronous");
        good("cancelled_lock", "asynchronous");
    }
}

static void child_of_a_thread_in_the_loader(void **state)
{
    (void)state;
    if (!mode_is("plain")) {
        print_message("# fork_beside_loader: skipped: this mode's own runtime asks the loader when a thread starts\n");
        skip();
    }
    good("fork_beside_loader", "");
}

static void late_thread_and_signals(void **state)
{
    (void)state;
    if (mode_is("tsan")) {
        print_message("# late_signals: skipped: the sanitizer's own data of the thread is gone by then\n");
        skip();
    }
    good("late_signals", "");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_exits),
        cmocka_unit_test(callbacks_left_at_exit),
        cmocka_unit_test(child_of_a_thread_in_the_loader),
        cmocka_unit_test(run_no_thread),
        cmocka_unit_test(run_no_thread_srcu),
        cmocka_unit_test(run_barrier_beside_failing_start),
        cmocka_unit_test(waits_hold_cancellation_off),
        cmocka_unit_test(late_thread_and_signals),
        cmocka_unit_test(run_callback_ends_thread),
        cmocka_unit_test(run_callback_ends_waiter),
        cmocka_unit_test(run_callback_forgets_reader),
    };

    program = argv[0];
    if (argc == 3)
        return as_case(argv[1], argv[2]);
    return cmocka_run_group_tests_name("rcu_ends", tests, NULL, NULL);
}
