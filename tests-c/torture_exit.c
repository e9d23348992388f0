/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Processes that exit with callbacks pending, each in a way and at a moment of its own: none
 * hangs, and none crashes.
 * torture_exit [PROCESSES]
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tdpmmu.h>

#define HANG_SECONDS 120
#define AT_ONCE 8 /* most of them sleep */
#define THREADS 3

static atomic_int stop;
static atomic_ulong ran;
static pthread_t threads[THREADS];
static unsigned long number; /* of this process */

/* What is lost at exit() is so on purpose: nothing for the address sanitizer's leak checker. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

static void nap_us(long us)
{
    nanosleep(&(struct timespec){ 0, us * 1000 }, NULL);
}

/* Between 0 and 1.2 ms, all of them in the course of time. */
static long moment_us(void)
{
    return (long)(number * 7919 % 1200);
}

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

static void queue(unsigned long some)
{
    for (unsigned long i = 0; i < some; i++)
        call_rcu(malloc(sizeof(struct rcu_head)), count_and_free);
}

static void start(void *(*body)(void *))
{
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, body, NULL))
            _exit(2);
}

static void join(void)
{
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* The ways ------------------------------------------------------------------- */

static void pending(void)
{
    queue(1 + number % 300);
}

static void *rcu_barriers(void *unused)
{
    struct rcu_head head = {0};

    while (!atomic_load(&stop)) {
        call_rcu(&head, count);
        rcu_barrier();
    }
    return unused;
}

static void beside_rcu_barriers(void)
{
    atexit(join);
    start(rcu_barriers);
    nap_us(moment_us());
}

DEFINE_STATIC_SRCU(domain);

static void *srcu_barriers(void *unused)
{
    struct rcu_head head = {0};

    while (!atomic_load(&stop)) {
        srcu_read_unlock(&domain, srcu_read_lock(&domain));
        call_srcu(&domain, &head, count);
        srcu_barrier(&domain);
    }
    return unused;
}

static void beside_srcu_barriers(void)
{
    atexit(join);
    start(srcu_barriers);
    nap_us(moment_us());
}

static void inside_reader(void)
{
    (void)!srcu_read_lock(&domain);
    rcu_read_lock();
    queue(10);
    nap_us(moment_us());
}

static void wait_for_all(void)
{
    queue(5);
    rcu_barrier();
    queue(5);
}

static void in_exit_handlers(void)
{
    atexit(wait_for_all);
    atexit(wait_for_all);
    queue(5);
    nap_us(moment_us());
}

static void leave(struct rcu_head *head)
{
    (void)head;
    exit(0);
}

static void in_callback(void)
{
    static struct rcu_head head;

    queue(5);
    call_rcu(&head, leave);
    queue(5);
    rcu_barrier(); /* never comes back */
    pause();
}

static void *queues(void *unused)
{
    while (!atomic_load(&stop)) {
        queue(10);
        synchronize_rcu();
    }
    return unused;
}

static bool is_tsan(void)
{
    const char *mode = getenv("TDPMMU_TEST_MODE");

    return mode && !strcmp(mode, "tsan");
}

static void beside_forks(void)
{
    pid_t child;

    if (is_tsan())
        return pending();
    start(queues);
    nap_us(moment_us());
    child = fork();
    if (child == 0) {
        alarm(HANG_SECONDS);
        queue(3);
        if (number % 2)
            rcu_barrier();
        exit(0);
    }
    if (child < 0 || waitpid(child, &(int){0}, 0) != child)
        _exit(3);
}

/* Where no thread can be started, barriers work in place; then there may be one again. */
static void *without_threads(void *unused)
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
        return unused; /* refused here: one way less */
    return rcu_barriers(unused);
}

static void beside_failing_starts(void)
{
    atexit(join);
    start(without_threads);
    nap_us(moment_us());
    if (number % 3 == 0)
        queue(1); /* this thread may start one */
}

static const struct way {
    const char *name;
    void (*body)(void);
} ways[] = {
#define WAY(name) { #name, name }
    WAY(pending), WAY(beside_rcu_barriers), WAY(beside_srcu_barriers), WAY(inside_reader),
    WAY(in_exit_handlers), WAY(in_callback), WAY(beside_forks), WAY(beside_failing_starts),
};
#define WAYS (sizeof(ways) / sizeof(ways[0]))

/* All processes ---------------------------------------------------------------- */

static void say_nothing(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm, (void)warning;
}

/* The parent has not used the library: the child does so for the first time. */
static pid_t start_one(unsigned long which)
{
    pid_t child = fork();

    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);

        dup2(nowhere, STDERR_FILENO); /* "callbacks have not run": so it shall be */
        alarm(HANG_SECONDS);
        number = which;
        tdpmmu_set_warn_handler(say_nothing, NULL);
        ways[which % WAYS].body();
        exit(0);
    }
    return child;
}

static unsigned long bad[WAYS], done[WAYS];

/* Waits for one of those that run, and says which it was. */
static bool end_one(const pid_t *running, const unsigned long *numbers, int *slot)
{
    int status;
    pid_t child = wait(&status);

    if (child < 0)
        return false;
    for (*slot = 0; running[*slot] != child; ++*slot)
        if (*slot == AT_ONCE - 1)
            return false;
    done[numbers[*slot] % WAYS]++;
    if (status) {
        bad[numbers[*slot] % WAYS]++;
        printf("%s, process %lu: %s\n", ways[numbers[*slot] % WAYS].name, numbers[*slot],
               WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "HANGS" : "ended badly");
    }
    return true;
}

int main(int argc, char **argv)
{
    unsigned long processes = argc > 1 ? strtoul(argv[1], NULL, 10) : 800, failed = 0;
    unsigned long numbers[AT_ONCE];
    pid_t running[AT_ONCE];
    int slot = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (unsigned long i = 0; i < processes + AT_ONCE && failed < 20; i++) {
        if (i < AT_ONCE)
            slot = (int)i;
        else if (!end_one(running, numbers, &slot))
            return fprintf(stderr, "torture_exit: a child is lost\n"), 1;
        numbers[slot] = i;
        running[slot] = i < processes ? start_one(i) : 0;
        failed = 0;
        for (size_t way = 0; way < WAYS; way++)
            failed += bad[way];
    }
    if (is_tsan())
        printf("beside_forks: as pending, for the sanitizer lets no child of a threaded program start threads\n");
    printf("exits:");
    for (size_t way = 0; way < WAYS; way++)
        printf(" %s %lu", ways[way].name, done[way]);
    printf("; %lu bad\n", failed);
    return failed != 0 || processes == 0;
}
