// SPDX-License-Identifier: GPL-2.0-only
/* Thin wrappers of system calls and pthreads. */
#define _GNU_SOURCE
#include "cplatform.h"
#ifdef TDPMMU_SCHEDULE_POINTS
#include "cschedule.h"
#endif

#include <errno.h>
#include <limits.h>
#include <link.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) && !defined(CP_TSAN) && !defined(TDPMMU_SCHEDULE_POINTS)
#error "a build for the thread sanitizer has -DCP_TSAN: Swift's view of the headers does not know otherwise"
#endif
#endif

/* In the library that explores (make rig), a thread of a scenario that would call the system does something else. */
#ifdef TDPMMU_SCHEDULE_POINTS
#define IF_SCHEDULED(action) if (cs_is_scheduled()) { action; }
#else
#define IF_SCHEDULED(action)
#endif

#ifdef CP_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#endif

void cp_reader_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#ifdef CP_TSAN
    __tsan_acquire(&tdpmmu_rcu_gp);
#endif
}

void cp_grace_period_fence(void)
{
#ifdef CP_TSAN
    __tsan_release(&tdpmmu_rcu_gp);
#endif
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#ifdef CP_TSAN
static char fence_of_sections; /* its address */

void cp_section_noted(void)
{
    __tsan_acquire(&fence_of_sections);
}

void cp_sections_fenced(void)
{
    __tsan_release(&fence_of_sections);
}
#endif

/* Membarrier -------------------------------------------------------------- */

static bool fences_forced; /* by the environment */
static bool has_membarrier;

static bool membarrier_register(void)
{
    return !cp_fails(TDPMMU_FAIL_MEMBARRIER) && syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void cp_membarrier_renew(void)
{
    int saved = errno;

    has_membarrier = !fences_forced && membarrier_register();
#ifndef CP_TSAN /* RCU's readers run fences there in any case */
    if (!has_membarrier)
#endif
        __atomic_fetch_or(&tdpmmu_rcu_gp, TDPMMU_RCU_FENCE, __ATOMIC_RELAXED);
    errno = saved;
}

bool cp_has_membarrier(void)
{
    return has_membarrier;
}

void cp_membarrier(void)
{
    IF_SCHEDULED(cs_fence(); return)
    int saved = errno;
    bool fails = cp_fails(TDPMMU_FAIL_MEMBARRIER); /* once: the next attempt is the kernel's */

    while (fails || syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0) {
        if (fails || errno == ENOMEM) { /* some kernels allocate a mask of CPUs for it */
            fails = false;
            sched_yield();
            continue;
        }
        /* Otherwise, registered, it fails only in a sandbox shut after the start. */
        static const char text[] =
            "libtdpmmu: membarrier was taken away after the start: RCU cannot go on\n";
        (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
        abort();
    }
    errno = saved;
}

/* Futex ------------------------------------------------------------------- */

void cp_futex_wait(void *word, uint32_t expected, uint64_t timeout_ns)
{
    struct timespec limit = {(time_t)(timeout_ns / 1000000000), (long)(timeout_ns % 1000000000)};
    int saved = errno;

    if (cp_fails(TDPMMU_FAIL_FUTEX))
        return;
    IF_SCHEDULED(cs_futex_wait(word, expected, timeout_ns); return)
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns ? &limit : NULL, NULL, 0);
    errno = saved;
}

void cp_futex_wake(void *word, int count)
{
    int saved = errno;

    IF_SCHEDULED(cs_futex_wake(word, count); return)
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
    errno = saved;
}

/* Time -------------------------------------------------------------------- */

int32_t cp_gettid(void)
{
    IF_SCHEDULED(return 1000 + cs_now()->current)
    return (int32_t)syscall(SYS_gettid);
}

uint64_t cp_monotonic_ns(void)
{
    struct timespec now;

    IF_SCHEDULED(return cs_clock_ns())
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void cp_sleep_ns(uint64_t ns)
{
    struct timespec length = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    int saved = errno;

    IF_SCHEDULED(cs_sleep_ns(ns); return)
    syscall(SYS_nanosleep, &length, NULL); /* the function of that name is a cancellation point */
    errno = saved;
}

void cp_yield(void)
{
    IF_SCHEDULED(cs_yield(); return)
    sched_yield();
}

#ifdef TDPMMU_SCHEDULE_POINTS
void cp_warned(const struct tdpmmu_warning *warning)
{
    IF_SCHEDULED(cs_fail_with_warning(warning->function, warning->text, warning->value[0]))
}
#endif

/* Threads ----------------------------------------------------------------- */

_Static_assert(sizeof(pthread_t) == sizeof(uint64_t), "a pthread_t is kept in a uint64_t");

struct cp_signals cp_signals_block(void)
{
    struct cp_signals before = {0};
    uint64_t all = ~UINT64_C(0);

    IF_SCHEDULED(return before) /* one real thread, and no signals but those of its faults */
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before.bits, sizeof(all));
    return before;
}

void cp_signals_restore(struct cp_signals before)
{
    IF_SCHEDULED(return)
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before.bits, NULL, sizeof(before.bits));
}

static bool threads_refused;

void cp_test_refuse_threads(bool refuse)
{
    threads_refused = refuse;
}

int32_t cp_cancel_hold(void)
{
    int before = PTHREAD_CANCEL_ENABLE;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

void cp_cancel_restore(int32_t before)
{
    int unused;

    pthread_setcancelstate(before, &unused);
}

/* The thread-local memory of one loaded object, as large as it can be where it lies. */
static int add_thread_local(struct dl_phdr_info *object, size_t size, void *sum)
{
    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_TLS)
            *(size_t *)sum += object->dlpi_phdr[i].p_memsz + object->dlpi_phdr[i].p_align;
    return 0;
}

/*
 * The C library takes the program's thread-local memory out of a thread's stack: that of the objects
 * that are there at start, since later ones get theirs elsewhere.  Counted at load, for
 * dl_iterate_phdr() takes a lock of the loader that a forked child finds held for ever if another
 * thread of its parent was inside.
 */
static size_t thread_local_bytes;

/* What is left shall be what a thread has without any. */
static void set_stack_size(pthread_attr_t *attributes)
{
    size_t stack, page = (size_t)sysconf(_SC_PAGESIZE);

    if (!pthread_attr_getstacksize(attributes, &stack))
        pthread_attr_setstacksize(attributes, (stack + thread_local_bytes + page - 1) & ~(page - 1));
}

int cp_thread_start(uint64_t *thread, cp_thread_body body, void *argument)
{
    struct cp_signals before;
    pthread_attr_t attributes;
    pthread_t made;
    int error;

    if (threads_refused || cp_fails(TDPMMU_FAIL_THREAD))
        return EAGAIN;
    IF_SCHEDULED(return cs_thread_start(thread, body, argument))
    error = pthread_attr_init(&attributes);
    if (error)
        return error;
    set_stack_size(&attributes);
    before = cp_signals_block();
    error = pthread_create(&made, &attributes, body, argument);
    cp_signals_restore(before);
    pthread_attr_destroy(&attributes);
    if (!error)
        *thread = (uint64_t)made;
    return error;
}

void cp_thread_waits_its_turn(void)
{
    const struct sched_param no_priority = { 0 };

    IF_SCHEDULED(return)
    if (sched_getscheduler(0) == SCHED_OTHER)
        (void)sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &no_priority);
}

void cp_thread_join(uint64_t thread)
{
    IF_SCHEDULED(cs_thread_join(thread, 0); return)
    pthread_join((pthread_t)thread, NULL);
}

bool cp_thread_join_within(uint64_t thread, uint64_t ns)
{
    struct timespec end;

    IF_SCHEDULED(return cs_thread_join(thread, ns))
    clock_gettime(CLOCK_REALTIME, &end);
    ns += (uint64_t)end.tv_nsec;
    end.tv_sec += (time_t)(ns / 1000000000);
    end.tv_nsec = (long)(ns % 1000000000);
    return pthread_timedjoin_np((pthread_t)thread, NULL, &end) == 0;
}

void cp_thread_detach(uint64_t thread)
{
    IF_SCHEDULED(return)
    pthread_detach((pthread_t)thread);
}

void cp_thread_detach_self(void)
{
    IF_SCHEDULED(return)
    pthread_detach(pthread_self());
}

static pthread_key_t exit_key;
static bool exit_key_valid;
static void (*thread_exit_hooks[CP_EXIT_KINDS])(void);

static void run_hook(void (**hook)(void))
{
    void (*function)(void) = __atomic_load_n(hook, __ATOMIC_RELAXED);

    if (function)
        function();
}

/* The key's value has a bit for each kind of hook that the thread asked for. */
static void run_thread_exit_hooks(void *kinds)
{
    for (int kind = 0; kind < CP_EXIT_KINDS; kind++)
        if ((uintptr_t)kinds >> kind & 1)
            run_hook(&thread_exit_hooks[kind]);
}

bool cp_thread_at_exit(enum cp_exit_kind kind, void (*hook)(void))
{
    uintptr_t kinds;

    if (!exit_key_valid || cp_fails(TDPMMU_FAIL_ALLOCATION))
        return false;
    __atomic_store_n(&thread_exit_hooks[kind], hook, __ATOMIC_RELAXED);
    IF_SCHEDULED(cs_thread_exits_with(1u << kind, run_thread_exit_hooks); return true)
    kinds = (uintptr_t)pthread_getspecific(exit_key) | (uintptr_t)1 << kind;
    return pthread_setspecific(exit_key, (void *)kinds) == 0;
}

static struct {
    void (*prepare)(void);
    void (*parent)(void);
    void (*child)(void);
} fork_hooks;

static void run_fork_prepare(void)
{
    run_hook(&fork_hooks.prepare);
}

static void run_fork_parent(void)
{
    run_hook(&fork_hooks.parent);
}

static void run_fork_child(void)
{
    cp_membarrier_renew();
    run_hook(&fork_hooks.child);
}

/* Every thread that adds to the list sets them, to the same: atomic, but no more. */
void cp_set_fork_hooks(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
    __atomic_store_n(&fork_hooks.child, child, __ATOMIC_RELAXED);
    __atomic_store_n(&fork_hooks.parent, parent, __ATOMIC_RELAXED);
    __atomic_store_n(&fork_hooks.prepare, prepare, __ATOMIC_RELAXED);
}

int cp_at_process_exit(void (*hook)(void))
{
    IF_SCHEDULED((void)hook; return 0)
    return cp_fails(TDPMMU_FAIL_ALLOCATION) ? -1 : atexit(hook);
}

static void (*end_hook)(void);

void cp_at_process_end(void (*hook)(void))
{
    __atomic_store_n(&end_hook, hook, __ATOMIC_RELAXED);
}

/* After all exit handlers: the library is never unloaded before. */
__attribute__((destructor)) static void at_end(void)
{
    run_hook(&end_hook);
}

void *cp_malloc(size_t bytes)
{
    return cp_fails(TDPMMU_FAIL_ALLOCATION) ? NULL : malloc(bytes);
}

void cp_free(void *address)
{
    free(address);
}

uintptr_t cp_free_function(void)
{
    void (*function)(void *) = free;
    uintptr_t address;

    memcpy(&address, &function, sizeof(address));
    return address;
}

void cp_call_free(uintptr_t address, void *object)
{
    void (*function)(void *);

    memcpy(&function, &address, sizeof(function));
    function(object);
}

bool cp_environment_has(const char *name)
{
    const char *value = getenv(name);

    return value && *value && strcmp(value, "0") != 0;
}

uint64_t cp_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

void cp_say(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

void cp_set_errno(int value)
{
    errno = value;
}

/* Valgrind ---------------------------------------------------------------- */

/*
 * Valgrind's client requests: a sequence that does nothing on a CPU (the
 * rotations add up to 128 bits) and that valgrind recognises.
 */
static uint64_t valgrind_request(uint64_t fallback, uint64_t request, uint64_t a, uint64_t b)
{
#if defined(__x86_64__)
    volatile uint64_t arguments[6] = {request, a, b, 0, 0, 0};
    uint64_t result;

    __asm__ volatile("rolq $3, %%rdi; rolq $13, %%rdi; rolq $61, %%rdi; rolq $51, %%rdi;"
                     "xchgq %%rbx, %%rbx"
                     : "=d"(result)
                     : "a"(arguments), "0"(fallback)
                     : "cc", "memory");
    return result;
#else
    (void)request, (void)a, (void)b;
    return fallback;
#endif
}

void cp_valgrind_defined(void *address, size_t bytes)
{
    const uint64_t memcheck_make_mem_defined = ((uint64_t)'M' << 24) + ((uint64_t)'C' << 16) + 2;

    valgrind_request(0, memcheck_make_mem_defined, (uint64_t)address, bytes);
}

/* At load ----------------------------------------------------------------- */

/* Early, so that constructors of programs that link this statically may use RCU. */
__attribute__((constructor(101))) static void at_load(void)
{
    const uint64_t running_on_valgrind = 0x1001;

    fences_forced = cp_environment_has("TDPMMU_RCU_FENCES");
    cp_membarrier_renew();
    dl_iterate_phdr(add_thread_local, &thread_local_bytes);
    cp_under_valgrind = valgrind_request(0, running_on_valgrind, 0, 0) != 0;
    exit_key_valid = pthread_key_create(&exit_key, run_thread_exit_hooks) == 0;
    pthread_atfork(run_fork_prepare, run_fork_parent, run_fork_child);
}
