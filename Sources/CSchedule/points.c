/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The points: each atomic operation of the library.  The compiler calls these functions for them, as it would those of
 * a thread sanitizer.  Where nothing is explored they are the operations and nothing else.
 */
#ifdef TDPMMU_SCHEDULE_POINTS
#include "engine.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define PLAIN __attribute__((disable_sanitizer_instrumentation)) /* no_sanitize leaves the atomics in */
#define WORDS (1u << 16)

static struct cs_word *words;

struct cs_word *cs_word_at(uint64_t address)
{
    uint64_t key = address & ~UINT64_C(7);
    uint32_t i = (uint32_t)(key * UINT64_C(0x9e3779b97f4a7c15) >> 48);

    if (!words) { /* in no data of the library's, which are put back */
        words = mmap(NULL, WORDS * sizeof(*words), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (words == MAP_FAILED)
            __builtin_trap();
    }
    while (words[i].address != key && words[i].address != 0)
        i = (i + 1) & (WORDS - 1);
    words[i].address = key;
    return &words[i];
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    a = (a ^ b) * UINT64_C(0xff51afd7ed558ccd);
    a = (a ^ a >> 32) * UINT64_C(0xc4ceb9fe1a85ec53);
    return a ^ a >> 29;
}

static void note_thread(struct cs_engine *e, struct cs_word *w, uint32_t bit, bool writes)
{
    uint32_t all;

    w->readers |= bit;
    if (writes)
        w->writers |= bit;
    all = w->readers;
    if (!w->is_shared && !w->is_ignored && w->writers && (all & (all - 1))) {
        w->is_shared = true;
        e->found_shared = true;
    }
}

/* The current thread is about to make a step: perhaps after others.  NULL: nothing is explored. */
static struct cs_word *enter(uint64_t address, bool writes)
{
    struct cs_engine *e = cs_the_engine;
    uint32_t bit = 1u << e->current;
    struct cs_word *w;

    if (++e->steps > e->max_steps) {
        snprintf(e->failure, sizeof(e->failure), "it does not end within %u steps", e->max_steps);
        cs_to_explorer(CS_FAILED);
    }
    if (!e->is_exploring)
        return NULL;
    w = cs_word_at(address);
    if (!(w->readers & bit) || (writes && !(w->writers & bit)))
        note_thread(e, w, bit, writes);
    if ((e->ready & ~bit) && (w->is_shared || e->all_points)) {
        struct cs_thread *t = &e->threads[e->current];
        int before = e->current, next;

        t->pending = w;
        t->pending_writes = writes;
        e->current = -1;
        next = e->decide(e->context, before, e->ready, false);
        e->current = before;
        if (next < 0)
            cs_to_explorer(cs_why_left(next));
        else if (next != before)
            cs_to_thread(next);
    }
    e->stretch_steps++;
    return w;
}

/* It has made the step. */
static void leave(struct cs_word *w, enum cs_kind kind, bool wrote, uint64_t address, uint64_t old_value,
                  uint64_t new_value, const void *caller)
{
    struct cs_engine *e = cs_the_engine;
    struct cs_thread *t = &e->threads[e->current];

    if (t->reads_used < CS_READS)
        t->reads[t->reads_used] = w->address;
    if (t->reads_used <= CS_READS)
        t->reads_used++;
    if (w->is_shared) {
        uint64_t hash;

        if (w->run != e->run) {
            w->run = e->run;
            w->last_write = w->reads = 0;
        }
        hash = mix(mix(t->hash, w->address), w->last_write);
        if (wrote) {
            hash = mix(hash, w->reads);
            w->last_write = hash;
            w->reads = 0;
        } else {
            w->reads += hash;
        }
        t->hash = hash;
        for (uint32_t left = e->asleep; left; left &= left - 1) {
            struct cs_thread *sleeper = &e->threads[__builtin_ctz(left)];

            if (sleeper->pending == w && (wrote || sleeper->pending_writes))
                e->asleep &= ~(left & -left);
        }
    }
    if (wrote && old_value != new_value && (e->yielding | e->released)) {
        e->released = 0;
        for (uint32_t left = e->yielding & ~(1u << e->current); left; left &= left - 1) {
            struct cs_thread *other = &e->threads[__builtin_ctz(left)];
            bool looked = other->reads_used > CS_READS;

            for (int i = 0; i < other->reads_used && i < CS_READS; i++)
                looked = looked || other->reads[i] == w->address;
            if (looked)
                cs_make_ready(__builtin_ctz(left));
        }
    }
    if (e->is_recording)
        cs_record(kind, address, old_value, new_value, caller);
}

void cs_record(enum cs_kind kind, uint64_t address, uint64_t old_value, uint64_t new_value, const void *caller)
{
    struct cs_engine *e = cs_the_engine;

    if (e->step_count < e->step_room)
        e->steps_seen[e->step_count++] =
            (struct cs_step){(uint8_t)e->current, (uint8_t)kind, address, old_value, new_value, caller};
}

void cs_point(const void *address, bool writes)
{
    if (cs_is_scheduled()) {
        struct cs_word *w = enter((uintptr_t)address, writes);

        if (w)
            leave(w, CS_POINT, writes, (uintptr_t)address, 0, 1, __builtin_return_address(0));
    }
}

void cs_ignore(const void *address, size_t bytes)
{
    for (uint64_t at = (uintptr_t)address & ~UINT64_C(7); at < (uintptr_t)address + bytes; at += 8) {
        struct cs_word *w = cs_word_at(at);

        w->is_ignored = true;
        w->is_shared = false;
    }
}

uint32_t cs_shared_words(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < WORDS; i++)
        count += words[i].is_shared;
    return count;
}

/* ---- what blocks ------------------------------------------------------------ */

static void step(enum cs_kind kind, const void *address, bool writes, uint64_t value, const void *caller)
{
    struct cs_word *w = enter((uintptr_t)address, writes);

    if (w)
        leave(w, kind, writes, (uintptr_t)address, 0, value, caller);
}

static void wait_for(const void *address, uint64_t ns)
{
    struct cs_engine *e = cs_the_engine;
    struct cs_thread *t = &e->threads[e->current];

    t->state = CS_WAITS;
    t->wait_address = (uintptr_t)address;
    t->is_timed = ns != 0;
    t->timed_out = false;
    t->deadline = e->clock_ns + ns;
    cs_block();
}

void cs_futex_wait(void *word, uint32_t expected, uint64_t timeout_ns)
{
    step(CS_WAIT, word, false, expected, __builtin_return_address(0));
    if (*(volatile uint32_t *)word == expected)
        wait_for(word, timeout_ns);
}

void cs_futex_wake(void *word, int count)
{
    struct cs_engine *e = cs_the_engine;

    step(CS_WAKE, word, true, (uint64_t)count, __builtin_return_address(0));
    for (int i = 0; i < CS_THREADS && count > 0; i++)
        if (e->threads[i].state == CS_WAITS && e->threads[i].wait_address == (uintptr_t)word) {
            cs_make_ready(i);
            count--;
        }
}

void cs_yield(void)
{
    struct cs_engine *e = cs_the_engine;

    if (++e->steps > e->max_steps) {
        snprintf(e->failure, sizeof(e->failure), "it does not end within %u steps", e->max_steps);
        cs_to_explorer(CS_FAILED);
    }
    e->threads[e->current].state = CS_YIELDS;
    e->yielding |= 1u << e->current;
    e->clock_ns += 100;
    cs_block();
}

void cs_sleep_ns(uint64_t ns)
{
    if (++cs_the_engine->steps > cs_the_engine->max_steps) {
        snprintf(cs_the_engine->failure, sizeof(cs_the_engine->failure), "it does not end within %u steps",
                 cs_the_engine->max_steps);
        cs_to_explorer(CS_FAILED);
    }
    wait_for(&cs_the_engine->threads[cs_the_engine->current].deadline, ns ? ns : 1);
}

void cs_pass_time(uint64_t ns)
{
    struct cs_engine *e = cs_the_engine;

    step(CS_POINT, &e->clock_ns, true, ns, __builtin_return_address(0));
    e->clock_ns += ns;
    for (int i = 0; i < CS_THREADS; i++)
        if (e->threads[i].state == CS_WAITS && e->threads[i].is_timed && e->threads[i].deadline <= e->clock_ns) {
            e->threads[i].timed_out = true;
            cs_make_ready(i);
        }
}

uint64_t cs_clock_ns(void)
{
    return cs_the_engine->clock_ns += 10;
}

/* Steps are made in one order that all see, so that there is nothing to do. */
void cs_fence(void)
{
}

int cs_thread_start(uint64_t *thread, void *(*body)(void *), void *argument)
{
    struct cs_engine *e = cs_the_engine;

    for (int i = CS_LIBRARY; i < CS_THREADS; i++)
        if (e->threads[i].state == CS_UNUSED || e->threads[i].state == CS_ENDED) {
            *thread = (uint64_t)i + 1;
            cs_give(i, body, argument);
            step(CS_START, &e->threads[i].state, true, (uint64_t)i, __builtin_return_address(0));
            return 0;
        }
    return 11; /* EAGAIN */
}

bool cs_thread_join(uint64_t thread, uint64_t ns)
{
    struct cs_thread *t = &cs_the_engine->threads[thread - 1];

    step(CS_JOIN, &t->state, false, thread - 1, __builtin_return_address(0));
    if (t->state != CS_ENDED)
        wait_for(t, ns);
    return t->state == CS_ENDED;
}

/* ---- the compiler's calls --------------------------------------------------- */

#define VISIBLE __attribute__((visibility("hidden")))
#define AROUND(kind, writes, operation, old_value, new_value, wrote) \
    if (cs_is_scheduled()) { \
        struct cs_word *w = enter((uintptr_t)at, writes); \
        operation; \
        if (w) \
            leave(w, kind, wrote, (uintptr_t)at, (uint64_t)(old_value), (uint64_t)(new_value), \
                  __builtin_return_address(0)); \
    } else { \
        operation; \
    }

#define RMW(bits, name, function, sign) \
    VISIBLE PLAIN uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t *at, uint##bits##_t value, int order) \
    { \
        uint##bits##_t old; \
        (void)order; \
        AROUND(CS_ARITHMETIC, true, old = __atomic_##name(at, value, __ATOMIC_SEQ_CST), old, *at, true) \
        return old; \
    }

#define ATOMICS(bits) \
    VISIBLE PLAIN uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *at, int order) \
    { \
        uint##bits##_t value; \
        (void)order; \
        AROUND(CS_LOAD, false, value = __atomic_load_n(at, __ATOMIC_SEQ_CST), value, value, false) \
        return value; \
    } \
    VISIBLE PLAIN void __tsan_atomic##bits##_store(volatile uint##bits##_t *at, uint##bits##_t value, int order) \
    { \
        uint##bits##_t old = 0; \
        (void)order; \
        AROUND(CS_STORE, true, old = *at; __atomic_store_n(at, value, __ATOMIC_SEQ_CST), old, value, true) \
    } \
    VISIBLE PLAIN uint##bits##_t __tsan_atomic##bits##_exchange(volatile uint##bits##_t *at, uint##bits##_t value, int order) \
    { \
        uint##bits##_t old; \
        (void)order; \
        AROUND(CS_EXCHANGE, true, old = __atomic_exchange_n(at, value, __ATOMIC_SEQ_CST), old, value, true) \
        return old; \
    } \
    VISIBLE PLAIN bool __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t *at, uint##bits##_t *expected, \
                                                             uint##bits##_t value, int order, int failure) \
    { \
        bool done; \
        (void)order, (void)failure; \
        AROUND(CS_COMPARE, true, \
               done = __atomic_compare_exchange_n(at, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST), \
               *expected, done ? value : *expected, done) \
        return done; \
    } \
    VISIBLE PLAIN bool __tsan_atomic##bits##_compare_exchange_weak(volatile uint##bits##_t *at, uint##bits##_t *expected, \
                                                           uint##bits##_t value, int order, int failure) \
    { \
        return __tsan_atomic##bits##_compare_exchange_strong(at, expected, value, order, failure); \
    } \
    VISIBLE PLAIN uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(volatile uint##bits##_t *at, uint##bits##_t expected, \
                                                                    uint##bits##_t value, int order, int failure) \
    { \
        bool done; \
        (void)order, (void)failure; \
        AROUND(CS_COMPARE, true, \
               done = __atomic_compare_exchange_n(at, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST), \
               expected, done ? value : expected, done) \
        return expected; \
    } \
    RMW(bits, fetch_add, add, +) \
    RMW(bits, fetch_sub, sub, -) \
    RMW(bits, fetch_and, and, &) \
    RMW(bits, fetch_or, or, |) \
    RMW(bits, fetch_xor, xor, ^)

#pragma clang diagnostic ignored "-Wmissing-prototypes"
ATOMICS(8)
ATOMICS(16)
ATOMICS(32)
ATOMICS(64)

VISIBLE PLAIN void __tsan_atomic_thread_fence(int order)
{
    (void)order;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

VISIBLE void __tsan_atomic_signal_fence(int order) { (void)order; }
VISIBLE void __tsan_init(void) {}
VISIBLE void __tsan_external_write(void *at, void *caller, void *tag) { (void)at, (void)caller, (void)tag; }
VISIBLE void __tsan_external_read(void *at, void *caller, void *tag) { (void)at, (void)caller, (void)tag; }
VISIBLE void *__tsan_memset(void *at, int value, size_t bytes) { return memset(at, value, bytes); }
VISIBLE void *__tsan_memcpy(void *to, const void *from, size_t bytes) { return memcpy(to, from, bytes); }
VISIBLE void *__tsan_memmove(void *to, const void *from, size_t bytes) { return memmove(to, from, bytes); }
#endif
