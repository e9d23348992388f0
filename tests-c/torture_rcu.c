/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RCU torture, after the kernel's rcutorture.
 *
 * Elements age: the current one has age 0; one that was replaced has age 1, and
 * each grace period makes it one older, up to PIPE, when it is used again.  A
 * reader that holds an element of age 2 or more got it before a grace period began
 * and still had it after the end: the grace period was too short.
 *
 * torture_rcu SECONDS [MODE...]: each mode (default: all) with membarrier and then
 * with fences, sharing the seconds; and before that, for each mode, a library whose
 * grace periods of that kind do not wait, which must fail within a second: a torture
 * that cannot fail proves nothing.  Each run is a process of its own.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tdpmmu.h>

#define PIPE 10
#define ELEMENTS 256
#define READERS 3
#define WRITERS 2
#define TOO_OLD 2 /* exit status: some reader saw an age of 2 or more */

enum { SYNC, EXPEDITED, CALL, POLLED, SRCU_SYNC, SRCU_CALL, SRCU_POLLED, MIXED, MODES };
static const struct {
    const char *name;
    unsigned broken; /* what to break */
    bool srcu;
} modes[MODES] = {
    [SYNC] = { "sync", TDPMMU_BREAK_SYNC, false },
    [EXPEDITED] = { "expedited", TDPMMU_BREAK_EXPEDITED, false },
    [CALL] = { "call", TDPMMU_BREAK_CALL, false },
    [POLLED] = { "polled", TDPMMU_BREAK_POLL, false },
    [SRCU_SYNC] = { "srcu", TDPMMU_BREAK_SRCU, true },
    [SRCU_CALL] = { "srcu-call", TDPMMU_BREAK_SRCU, true },
    [SRCU_POLLED] = { "srcu-polled", TDPMMU_BREAK_SRCU, true },
    [MIXED] = { "mixed", ~0u, false },
};

struct element {
    struct rcu_head head;
    atomic_int age;
    atomic_int busy; /* somewhere in the pipe, or current */
    int mode;        /* how it ages */
    int valid;       /* plain: ordered by publication and grace periods only */
};

static struct element elements[ELEMENTS];
static struct element *current;
static int mode;
static bool broken;
static atomic_int stop;
static atomic_ulong ages[PIPE + 1];
static atomic_ulong grace_periods, invalid, lost_callbacks, warned, barriers;
DEFINE_STATIC_SRCU(domain);

static void on_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    fprintf(stderr, "warning: %s: %s\n", warning->function, warning->text);
    atomic_fetch_add(&warned, 1);
}

static double now_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static unsigned next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*seed >> 33);
}

static void nap_us(long us)
{
    nanosleep(&(struct timespec){ 0, us * 1000 }, NULL);
}

/* Updaters ----------------------------------------------------------------- */

static void grow_old(struct rcu_head *head);

/* One older; false when it can be used again. */
static bool older(struct element *e)
{
    atomic_fetch_add(&grace_periods, 1);
    if (atomic_fetch_add_explicit(&e->age, 1, memory_order_relaxed) + 1 < PIPE)
        return true;
    e->valid = 0;
    atomic_store_explicit(&e->busy, 0, memory_order_release);
    return false;
}

static void queue(struct element *e)
{
    if (e->mode == SRCU_CALL)
        call_srcu(&domain, &e->head, grow_old);
    else
        call_rcu(&e->head, grow_old);
}

static void grow_old(struct rcu_head *head)
{
    struct element *e = (struct element *)head;

    if (older(e))
        queue(e);
}

static void poll(uint64_t *seed)
{
    unsigned long cookie;

    switch (next_random(seed) % 4) {
    case 0:
        cond_synchronize_rcu(get_state_synchronize_rcu());
        break;
    case 1:
        cookie = start_poll_synchronize_rcu();
        if (next_random(seed) % 2)
            nap_us(50);
        cond_synchronize_rcu(cookie);
        break;
    default:
        cookie = start_poll_synchronize_rcu();
        while (!poll_state_synchronize_rcu(cookie))
            sched_yield();
    }
}

static void poll_srcu(void)
{
    unsigned long cookie = start_poll_synchronize_srcu(&domain);

    while (!poll_state_synchronize_srcu(&domain, cookie))
        sched_yield();
}

static void wait_for_readers(int kind, uint64_t *seed)
{
    switch (kind) {
    case SYNC: synchronize_rcu(); break;
    case EXPEDITED: synchronize_rcu_expedited(); break;
    case POLLED: poll(seed); break;
    case SRCU_SYNC: synchronize_srcu(&domain); break;
    case SRCU_POLLED: poll_srcu(); break;
    }
}

static struct element *free_element(uint64_t *seed)
{
    while (!atomic_load(&stop)) {
        struct element *e = &elements[next_random(seed) % ELEMENTS];
        int unused = 0;

        if (atomic_compare_exchange_strong_explicit(&e->busy, &unused, 1, memory_order_acquire,
                                                    memory_order_relaxed)) {
            atomic_store_explicit(&e->age, 0, memory_order_relaxed);
            e->valid = 1;
            return e;
        }
        sched_yield();
    }
    return NULL;
}

static void *writer(void *number)
{
    uint64_t seed = (uintptr_t)number;
    struct element *removed[PIPE]; /* those that this thread makes older */
    int count = 0;

    while (!atomic_load(&stop)) {
        struct element *fresh = free_element(&seed), *old;
        int kind = mode, kept = 0;

        if (!fresh)
            break;
        if (mode == MIXED)
            kind = (int)(next_random(&seed) % (POLLED + 1));
        old = __atomic_exchange_n(&current, fresh, __ATOMIC_ACQ_REL);
        atomic_fetch_add_explicit(&old->age, 1, memory_order_relaxed);
        old->mode = kind;
        if (kind == CALL || kind == SRCU_CALL) {
            queue(old);
            if (next_random(&seed) % 16 == 0)
                nap_us(100);
            continue;
        }
        removed[count++] = old;
        wait_for_readers(kind, &seed);
        for (int i = 0; i < count; i++)
            if (older(removed[i]))
                removed[kept++] = removed[i];
        count = kept;
    }
    return NULL;
}

/* After a barrier, all callbacks queued before have run. */
static void count_one(struct rcu_head *head)
{
    atomic_fetch_add((atomic_uint *)(head + 1), 1);
}

static void *barrier_checker(void *number)
{
    struct { struct rcu_head head; atomic_uint ran; } items[64];
    uint64_t seed = (uintptr_t)number;

    while (!atomic_load(&stop)) {
        unsigned count = next_random(&seed) % 64;

        memset(items, 0, sizeof(items));
        for (unsigned i = 0; i < count; i++) {
            if (modes[mode].srcu)
                call_srcu(&domain, &items[i].head, count_one);
            else
                call_rcu(&items[i].head, count_one);
        }
        if (modes[mode].srcu)
            srcu_barrier(&domain);
        else
            rcu_barrier();
        for (unsigned i = 0; i < count; i++)
            if (atomic_load(&items[i].ran) != 1)
                atomic_fetch_add(&lost_callbacks, 1);
        atomic_fetch_add(&barriers, 1);
        nap_us(300);
    }
    return NULL;
}

/* Readers ------------------------------------------------------------------ */

static int enter(void)
{
    if (modes[mode].srcu)
        return srcu_read_lock(&domain);
    rcu_read_lock();
    return 0;
}

static void leave(int index)
{
    if (modes[mode].srcu)
        srcu_read_unlock(&domain, index);
    else
        rcu_read_unlock();
}

static void linger(uint64_t *seed)
{
    unsigned dice = next_random(seed) % 8192;

    if (dice == 0)
        nap_us(1000);
    else if (dice < 8)
        nap_us(20);
    else if (dice < 64)
        sched_yield();
    else if (dice < 512)
        for (volatile unsigned i = 0; i < dice; i++)
            ;
}

static void read_once(uint64_t *seed)
{
    bool nested = next_random(seed) % 4 == 0;
    int outer = enter(), inner = 0;
    struct element *e = rcu_dereference(current);
    int age;

    if (nested)
        inner = enter();
    linger(seed);
    if (nested) {
        leave(inner);
        linger(seed);
    }
    if (!e->valid)
        atomic_fetch_add(&invalid, 1);
    age = atomic_load_explicit(&e->age, memory_order_relaxed);
    atomic_fetch_add_explicit(&ages[age > PIPE ? PIPE : age], 1, memory_order_relaxed);
    leave(outer);
    if (next_random(seed) % 4096 == 0)
        tdpmmu_rcu_thread_offline();
}

static void *reader(void *number)
{
    uint64_t seed = (uintptr_t)number;

    while (!atomic_load_explicit(&stop, memory_order_relaxed))
        read_once(&seed);
    return NULL;
}

static void *short_lived_reader(void *number)
{
    uint64_t seed = (uintptr_t)number;

    for (int i = 0; i < 100; i++)
        read_once(&seed);
    return NULL;
}

/* One run ------------------------------------------------------------------ */

/* In a child: 0 if RCU works there. */
static int use_in_child(void)
{
    struct { struct rcu_head head; atomic_uint ran; } item;

    memset(&item, 0, sizeof(item));
    leave(enter());
    synchronize_rcu();
    synchronize_srcu(&domain);
    if (modes[mode].srcu) {
        call_srcu(&domain, &item.head, count_one);
        srcu_barrier(&domain);
    } else {
        call_rcu(&item.head, count_one);
        rcu_barrier();
    }
    return atomic_load(&item.ran) == 1 ? 0 : 1;
}

static bool fork_once(void)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        _exit(use_in_child());
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static bool too_old(void)
{
    for (int age = 2; age <= PIPE; age++)
        if (atomic_load(&ages[age]))
            return true;
    return false;
}

static bool each_part_ran(void)
{
    return atomic_load(&ages[0]) && atomic_load(&grace_periods) && atomic_load(&barriers);
}

/* Until its time is over; on a busy machine longer, if some thread has not had its turn. */
static bool must_go_on(bool broken, double end)
{
    if (broken)
        return now_seconds() < end && !too_old();
    return now_seconds() < (each_part_ran() ? end : end + 60);
}

static int run(double seconds)
{
    pthread_t threads[READERS + WRITERS + 1], passing;
    const char *test_mode = getenv("TDPMMU_TEST_MODE");
    bool forks_allowed = !broken && !(test_mode && !strcmp(test_mode, "tsan"));
    unsigned long come_and_gone = 0, forks = 0, bad_forks = 0, reads = 0;
    double start = now_seconds(), next_fork = start;
    int count = 0;

    tdpmmu_set_warn_handler(on_warning, NULL);
    atomic_store(&elements[0].busy, 1);
    elements[0].valid = 1;
    current = &elements[0];
    if (broken && !tdpmmu_rcu_break_for_tests(modes[mode].broken))
        return 3;
    for (; count < READERS + WRITERS + 1; count++)
        pthread_create(&threads[count], NULL,
                       count < READERS ? reader : count < READERS + WRITERS ? writer : barrier_checker,
                       (void *)(uintptr_t)(count + 1));
    while (must_go_on(broken, start + seconds)) {
        pthread_create(&passing, NULL, short_lived_reader, (void *)(uintptr_t)(100 + come_and_gone++));
        pthread_join(passing, NULL);
        if (forks_allowed && now_seconds() >= next_fork) {
            forks++;
            bad_forks += !fork_once();
            next_fork = now_seconds() + 0.1;
        }
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PIPE; i++) { /* callbacks queue the next of their kind */
        rcu_barrier();
        srcu_barrier(&domain);
    }
    seconds = now_seconds() - start;
    printf("%-11s %-10s ages", modes[mode].name,
           broken ? "broken" : tdpmmu_rcu_readers_fence_free() ? "" : "fences");
    for (int age = 0; age <= PIPE; age++) {
        printf(" %lu", atomic_load(&ages[age]));
        reads += atomic_load(&ages[age]);
    }
    printf("; %.1f s, %.0f reads/s, %lu grace periods, %lu barriers, %lu threads, %lu forks\n",
           seconds, (double)reads / seconds, atomic_load(&grace_periods), atomic_load(&barriers),
           come_and_gone, forks);
    if (broken ? too_old() : too_old() || atomic_load(&invalid))
        return TOO_OLD;
    if (bad_forks || atomic_load(&lost_callbacks) || atomic_load(&warned)) {
        printf("%s: %lu bad forks, %lu lost callbacks, %lu warnings\n", modes[mode].name, bad_forks,
               atomic_load(&lost_callbacks), atomic_load(&warned));
        return 3;
    }
    return each_part_ran() ? 0 : 4;
}

/* All runs ----------------------------------------------------------------- */

static int mode_number(const char *name)
{
    for (int i = 0; i < MODES; i++)
        if (!strcmp(modes[i].name, name))
            return i;
    fprintf(stderr, "torture_rcu: no mode '%s'\n", name);
    exit(64);
}

static int run_process(const char *program, int number, const char *how, double seconds)
{
    char length[32];
    int status;
    pid_t child;

    fflush(stdout);
    snprintf(length, sizeof(length), "%.3f", seconds);
    child = fork();
    if (child == 0) {
        if (!strcmp(how, "broken"))
            setenv("TDPMMU_ALLOW_BREAKING", "1", 1);
        if (!strcmp(how, "fences"))
            setenv("TDPMMU_RCU_FENCES", "1", 1);
        execl(program, program, "--run", modes[number].name, how, length, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static bool check_mode(const char *program, int number, double seconds)
{
    const char *test_mode = getenv("TDPMMU_TEST_MODE");
    bool sanitized = test_mode && strcmp(test_mode, "plain") != 0;
    int status = 0;
    bool good = true;

    if (!sanitized) { /* a race there is what the sanitizer would stop at */
        status = run_process(program, number, "broken", 1);
        if (status != TOO_OLD) {
            printf("%s: FAILED: with a broken grace period it passes (status %d)\n",
                   modes[number].name, status);
            good = false;
        }
    }
    for (int fences = 0; fences < 2; fences++) {
        status = run_process(program, number, fences ? "fences" : "membarrier", seconds / 2);
        if (status) {
            printf("%s: FAILED: status %d\n", modes[number].name, status);
            good = false;
        }
    }
    return good;
}

int main(int argc, char **argv)
{
    int first = argc > 2 ? 2 : argc, wanted = argc > 2 ? argc - 2 : MODES, bad = 0;
    double seconds = argc > 1 ? atof(argv[1]) : 10;

    if (argc == 5 && !strcmp(argv[1], "--run")) {
        mode = mode_number(argv[2]);
        broken = !strcmp(argv[3], "broken");
        return run(atof(argv[4]));
    }
    printf("reads by age of what they held: 0 current, 1 replaced, 2 and more: a grace period too short\n");
    for (int i = 0; i < wanted; i++)
        bad += !check_mode(argv[0], argc > 2 ? mode_number(argv[first + i]) : i, seconds / wanted);
    printf("torture_rcu: %d modes, %d failed\n", wanted, bad);
    return bad != 0;
}
