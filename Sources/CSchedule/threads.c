/* SPDX-License-Identifier: GPL-2.0-only */
/* The threads of a scenario, one at a time, and who goes on when one cannot. */
#ifdef TDPMMU_SCHEDULE_POINTS
#define _GNU_SOURCE
#include "engine.h"

#include <asm/prctl.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)256 << 10)

struct cs_engine *cs_the_engine;

static void *explorer_sp; /* these four: see cs_begin() */
static uint64_t explorer_thread_pointer;
static void (*exit_hooks)(void *kinds);
int cs_has_wrfsbase;

/*
 * Keeps the callee's registers on the stack, changes the thread pointer and the stack, takes the others' back.
 * The thread pointer is a register where the system lets us write it, and a system call elsewhere.
 */
void cs_switch(void **save_sp, void *load_sp, uint64_t thread_pointer);
__asm__(".text\n.globl cs_switch\n.hidden cs_switch\n.type cs_switch, @function\n"
        "cs_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, (%rdi)\n"
        "mov %rsi, %r12\n"
        "cmpl $0, cs_has_wrfsbase(%rip)\n"
        "je 1f\n"
        "wrfsbase %rdx\n"
        "jmp 2f\n"
        "1: mov %rdx, %rsi\nmov $0x1002, %edi\nmov $158, %eax\nsyscall\n" /* arch_prctl(ARCH_SET_FS) */
        "2: mov %r12, %rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\n"
        "ret\n"
        ".size cs_switch, .-cs_switch\n.hidden cs_has_wrfsbase\n");

uint64_t cs_thread_pointer(void)
{
    uint64_t value;

    __asm__("mov %%fs:0, %0" : "=r"(value));
    return value;
}

/* ---- going on -------------------------------------------------------------- */

static void note_stretch(void)
{
    if (cs_the_engine->stretch_count < CS_STRETCHES)
        cs_the_engine->stretches[cs_the_engine->stretch_count++] =
            (struct cs_stretch){(uint32_t)cs_the_engine->current, cs_the_engine->stretch_steps};
    cs_the_engine->stretch_steps = 0;
}

void cs_to_explorer(enum cs_outcome outcome)
{
    struct cs_engine *e = cs_the_engine;
    struct cs_thread *from = &e->threads[e->current];

    note_stretch();
    e->outcome = outcome;
    e->current = -1;
    cs_switch(&from->sp, explorer_sp, explorer_thread_pointer);
}

void cs_to_thread(int next)
{
    struct cs_engine *e = cs_the_engine;
    struct cs_thread *from = &e->threads[e->current];

    note_stretch();
    e->current = next;
    cs_switch(&from->sp, e->threads[next].sp, e->threads[next].thread_pointer);
}

static bool foreground_has_ended(const struct cs_engine *e)
{
    for (int i = 0; i < CS_LIBRARY; i++)
        if (e->threads[i].state != CS_UNUSED && e->threads[i].state != CS_ENDED)
            return false;
    return true;
}

void cs_make_ready(int thread)
{
    struct cs_engine *e = cs_the_engine;

    e->threads[thread].state = CS_READY;
    e->threads[thread].reads_used = 0;
    e->ready |= 1u << thread;
    e->yielding &= ~(1u << thread);
}

/* Those that give way until something changes, though nothing can: they go on, as a CPU would. */
static bool release_yielding(void)
{
    struct cs_engine *e = cs_the_engine;
    uint32_t fresh = e->yielding & ~e->released;

    for (int i = 0; i < CS_THREADS; i++)
        if (fresh >> i & 1)
            cs_make_ready(i);
    e->released |= fresh;
    e->clock_ns += 1000;
    return fresh != 0;
}

/* The next of those that sleep for a time; is_settling: of the library's threads none does. */
static bool release_timed(void)
{
    struct cs_engine *e = cs_the_engine;
    int first = -1;

    for (int i = 0; i < CS_THREADS; i++)
        if (e->threads[i].state == CS_WAITS && e->threads[i].is_timed &&
            (first < 0 || e->threads[i].deadline < e->threads[first].deadline))
            first = i;
    if (first < 0)
        return false;
    if (e->clock_ns < e->threads[first].deadline)
        e->clock_ns = e->threads[first].deadline;
    e->threads[first].timed_out = true;
    e->released = 0;
    cs_make_ready(first);
    return true;
}

static void describe_deadlock(void)
{
    static const char *const states[] = {"unused", "ready", "gives way", "waits", "ended"};
    struct cs_engine *e = cs_the_engine;
    size_t used = (size_t)snprintf(e->failure, sizeof(e->failure), "deadlock:");

    for (int i = 0; i < CS_THREADS && used < sizeof(e->failure); i++)
        if (e->threads[i].state == CS_WAITS) {
            char name[96];

            cs_describe(e->threads[i].wait_address, name, sizeof(name));
            used += (size_t)snprintf(e->failure + used, sizeof(e->failure) - used, " %c %s for %s;", cs_letter(i),
                                     states[e->threads[i].state], name);
        }
}

enum cs_outcome cs_why_left(int answer)
{
    struct cs_engine *e = cs_the_engine;

    if (answer != CS_DIFFERS)
        return CS_ABANDONED;
    snprintf(e->failure, sizeof(e->failure), "the scenario is not the same twice: it depends on what is not put back");
    return CS_FAILED;
}

/* A thread that can go on, or -1: none of the scenario's is left; the deadlock is told. */
static int pick(void)
{
    struct cs_engine *e = cs_the_engine;

    while (e->ready == 0) {
        if (foreground_has_ended(e)) {
            e->outcome = CS_DONE;
            return -1;
        }
        if (release_yielding() || release_timed())
            continue;
        if (e->yielding) {
            e->released = 0;
            if (++e->steps <= e->max_steps)
                continue;
            snprintf(e->failure, sizeof(e->failure), "it does not end: all that can go on give way for ever");
        } else {
            int before = e->current;

            e->current = -1; /* to name an address takes steps that are none */
            describe_deadlock();
            e->current = before;
        }
        e->outcome = CS_FAILED;
        return -1;
    }
    if (e->is_exploring && foreground_has_ended(e)) {
        e->outcome = CS_DONE;
        return -1;
    }
    if (e->is_exploring) {
        int before = e->current, next;

        e->current = -1; /* what decides is the explorer's */
        next = e->decide(e->context, before, e->ready, true);
        e->current = before;
        if (next < 0)
            e->outcome = cs_why_left(next);
        return next;
    }
    return __builtin_ctz(e->ready);
}

/* The current thread cannot go on. */
void cs_block(void)
{
    struct cs_engine *e = cs_the_engine;
    int next;

    e->ready &= ~(1u << e->current);
    next = pick();
    if (next < 0)
        cs_to_explorer(e->outcome);
    else if (next != e->current)
        cs_to_thread(next);
}

static void thread_begins(void)
{
    struct cs_engine *e = cs_the_engine;
    struct cs_thread *t = &e->threads[e->current];

    t->body(t->argument);
    if (t->exit_kinds && exit_hooks)
        exit_hooks((void *)(uintptr_t)t->exit_kinds);
    t->state = CS_ENDED;
    for (int i = 0; i < CS_THREADS; i++) /* those that join it */
        if (e->threads[i].state == CS_WAITS && e->threads[i].wait_address == (uintptr_t)t)
            cs_make_ready(i);
    cs_block();
    abort(); /* nobody switches to a thread that has ended */
}

void cs_give(int thread, void *(*body)(void *), void *argument)
{
    struct cs_engine *e = cs_the_engine;
    struct cs_thread *t = &e->threads[thread];
    void **top = (void **)(t->stack + STACK_BYTES - 64);

    /* Seven words that cs_switch() takes, the last of them where it returns to; aligned as at a call. */
    memset(top - 8, 0, 8 * sizeof(*top));
    top[-2] = (void *)thread_begins;
    t->sp = top - 8;
    t->body = body;
    t->argument = argument;
    t->hash = (uint64_t)thread * 0x9e3779b97f4a7c15u;
    t->pending = NULL;
    t->exit_kinds = 0;
    t->is_timed = false;
    cs_make_ready(thread);
}

enum cs_outcome cs_go(void)
{
    struct cs_engine *e = cs_the_engine;
    int first;

    e->outcome = CS_RUNS;
    e->steps = e->stretch_steps = e->stretch_count = e->step_count = 0;
    e->released = 0;
    e->run++;
    e->failure[0] = 0;
    first = pick();
    if (first < 0)
        return e->outcome;
    e->current = first;
    cs_switch(&explorer_sp, e->threads[first].sp, e->threads[first].thread_pointer);
    return e->outcome;
}

enum cs_outcome cs_settle(void)
{
    struct cs_engine *e = cs_the_engine;

    e->is_exploring = false;
    if (!e->ready)
        return CS_DONE;
    e->outcome = CS_RUNS;
    e->current = __builtin_ctz(e->ready);
    cs_switch(&explorer_sp, e->threads[e->current].sp, e->threads[e->current].thread_pointer);
    return e->outcome;
}

void cs_fail(const char *text)
{
    if (!cs_is_scheduled()) {
        fprintf(stderr, "%s\n", text);
        return;
    }
    snprintf(cs_the_engine->failure, sizeof(cs_the_engine->failure), "%s", text);
    cs_to_explorer(CS_FAILED);
}

void cs_fail_at(const char *what, const char *file, int32_t line)
{
    char text[400];

    snprintf(text, sizeof(text), "assertion: %s (%s:%d)", what ? what : "?", file ? file : "?", line);
    cs_fail(text);
}

void cs_fail_with_warning(const char *function, const char *text, uint64_t value)
{
    snprintf(cs_the_engine->failure, sizeof(cs_the_engine->failure), "warning: %s: %s (0x%llx)", function, text,
             (unsigned long long)value);
    cs_to_explorer(CS_FAILED);
}

void cs_thread_exits_with(uint32_t kinds, void (*run)(void *))
{
    exit_hooks = run;
    cs_the_engine->threads[cs_the_engine->current].exit_kinds |= kinds;
}

/* ---- the beginning ---------------------------------------------------------- */

static void *lend_thread_local_memory(void *argument)
{
    __atomic_store_n((uint64_t *)argument, cs_thread_pointer(), __ATOMIC_RELEASE);
    for (;;)
        pause();
    return NULL;
}

/* A real thread that sleeps for ever, and a stack. */
static int make_thread(struct cs_thread *t)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    char *stack = mmap(NULL, STACK_BYTES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int error;

    if (stack == MAP_FAILED)
        return ENOMEM;
    mprotect(stack, 4096, PROT_NONE);
    t->stack = stack + 4096;
    pthread_attr_init(&attributes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &attributes, lend_thread_local_memory, &t->thread_pointer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error)
        return error;
    while (__atomic_load_n(&t->thread_pointer, __ATOMIC_ACQUIRE) == 0)
        usleep(100);
    return 0;
}

int cs_begin(void)
{
    struct cs_engine *e;

    if (cs_the_engine)
        return 0;
    e = mmap(NULL, sizeof(*e), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (e == MAP_FAILED)
        return ENOMEM;
    e->current = -1;
    e->clock_ns = 1000000000;
    cs_has_wrfsbase = (getauxval(AT_HWCAP2) & 2) != 0;
    explorer_thread_pointer = cs_thread_pointer();
    for (int i = 0; i < CS_THREADS; i++) {
        int error = make_thread(&e->threads[i]);

        if (error)
            return error;
    }
    cs_the_engine = e;
    (void)cs_word_at(8); /* its table is there before memory is kept */
    cs_name("", 0, "");
    return cs_watch_memory();
}

size_t cs_stack_in_use(const struct cs_thread *t)
{
    return (size_t)(t->stack + STACK_BYTES - (char *)t->sp);
}
#endif
