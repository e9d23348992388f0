/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that run one at a time, and memory that is put back: what the explorer (module Explorer) is built upon.
 * All of it is there in a build with TDPMMU_SCHEDULE_POINTS only (make rig).  It knows nothing of RCU or page tables.
 *
 * A thread of a scenario has a stack of its own and the thread-local memory of a real thread, which sleeps for as long
 * as the process lives; the one thread that explores runs them all, and a switch is a change of stack and of the
 * thread pointer.  The compiler calls __tsan_atomic*() in the place of each atomic operation (-sanitize=thread with
 * all but the atomics left out), and these are the points at which another thread may go on (points.c).
 */
#ifndef CSCHEDULE_H
#define CSCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/* What a step is. */
enum cs_kind {
    CS_LOAD, CS_STORE, CS_EXCHANGE, CS_COMPARE, CS_ARITHMETIC, /* atomics */
    CS_WAIT, CS_WAKE,                                          /* futex */
    CS_YIELD, CS_SLEEP, CS_START, CS_JOIN, CS_FENCE, CS_POINT, CS_END, CS_KINDS
};

enum cs_state { CS_UNUSED, CS_READY, CS_YIELDS, CS_WAITS, CS_ENDED };

/* The set-up's thread, those of the scenario, those that the library starts. */
#define CS_MAIN 0
#define CS_FIRST 1
#define CS_SCENARIO_THREADS 4
#define CS_LIBRARY 5
#define CS_THREADS 12
#define CS_READS 12

/* A word that threads have made steps at, by its address without the low three bits. */
struct cs_word {
    uint64_t address;
    uint32_t readers, writers; /* a bit for each thread, in any schedule so far */
    bool is_shared;            /* of these two differ, and one writes */
    bool is_ignored;
    uint32_t run;              /* the schedule that what follows is of */
    uint64_t last_write;       /* hash of the step that wrote it, and the sum of those that read it since */
    uint64_t reads;
};

typedef void (*cs_function)(void);

struct cs_thread {
    void *_Nullable sp;        /* while it does not run */
    uint64_t thread_pointer;
    char *_Nullable stack;     /* low end */
    enum cs_state state;
    bool is_timed, timed_out;
    uint8_t reads_used;        /* more than there is room for: any write counts */
    uint32_t exit_kinds;      /* what the library has to do at its exit, and what was asked for before it was kept */
    uint32_t kept_kinds;
    uint64_t deadline;
    uint64_t wait_address;     /* futex it sleeps on, thread it joins */
    uint64_t hash;             /* of its steps, and of what they saw */
    struct cs_word *_Nullable pending; /* the word of the step that it is about to make */
    bool pending_writes;
    uint64_t reads[CS_READS];  /* since its last pause */
    void *_Nullable (*_Nullable body)(void *_Nullable);
    void *_Nullable argument;
};

enum cs_outcome { CS_RUNS, CS_DONE, CS_ABANDONED, CS_FAILED };

/* A step as the table of a failure shows it. */
struct cs_step {
    uint8_t thread, kind;
    uint64_t address, old_value, new_value;
    const void *_Nullable caller;
};

/* A stretch of steps of one thread: after so many of them another goes on. */
struct cs_stretch { uint32_t thread, steps; };

#define CS_STRETCHES 4096

/*
 * Who goes on?  ready: a bit for each thread that can.  is_free: the current one cannot, or gives way.
 * A thread's number, or CS_LEAVE: this schedule; or CS_DIFFERS: the same schedule is not the same.
 */
#define CS_LEAVE (-1)
#define CS_DIFFERS (-2)
typedef int (*cs_decide)(void *context, int current, uint32_t ready, bool is_free);

/* The one struct of the engine.  Not in the library's data, for those are put back. */
struct cs_engine {
    int current;               /* -1: the explorer itself */
    bool is_exploring;         /* points are decided about; else a thread goes on as long as it can */
    bool all_points;           /* not only at words that are shared */
    bool is_recording;
    bool found_shared;         /* a word has become shared that was not */
    uint32_t ready;            /* bits of threads that can go on */
    uint32_t yielding;
    uint32_t asleep;           /* a bit: to let this thread go on is of no use before its word is touched (Explorer) */
    uint32_t run;              /* number of the schedule */
    uint32_t max_steps;
    uint32_t steps;            /* of this schedule */
    uint32_t stretch_steps;    /* since the last switch */
    uint32_t stretch_count;
    uint32_t released;         /* threads that yielded and went on without a write since the last one */
    uint64_t clock_ns;
    uint64_t end;              /* what the scenario calls the state in which the schedule ended */
    enum cs_outcome outcome;
    cs_decide _Nullable decide;
    void *_Nullable context;
    struct cs_thread threads[CS_THREADS];
    struct cs_stretch stretches[CS_STRETCHES];
    char failure[512];
    struct cs_step *_Nullable steps_seen; /* while it records */
    uint32_t step_count, step_room;
};

extern struct cs_engine *_Nullable cs_the_engine;
static inline struct cs_engine *_Nonnull cs_now(void) { return (struct cs_engine *_Nonnull)cs_the_engine; }
static inline struct cs_thread *cs_thread_at(struct cs_engine *e, int32_t i) { return &e->threads[i]; }
static inline struct cs_stretch *cs_stretch_at(struct cs_engine *e, uint32_t i) { return &e->stretches[i]; }

/* Is the caller a thread of a scenario? */
static inline bool cs_is_scheduled(void)
{
    return __builtin_expect(cs_the_engine != NULL && cs_the_engine->current >= 0, 0);
}

/* Once, before anything else: 0 or an errno. */
int cs_begin(void);

/* The thread is to run this when the threads next go; one that ran it has ended. */
void cs_give(int thread, void *_Nullable (*_Nonnull body)(void *_Nullable), void *_Nullable argument);
/* Let threads run until those of the scenario, and that of the set-up, have ended or none can go on. */
enum cs_outcome cs_go(void);
/* Let the library's own threads come to rest. */
enum cs_outcome cs_settle(void);

/* Remember all memory as it is, and put it back. */
void cs_keep_memory(void);
void cs_put_memory_back(void);

/* From a thread of a scenario: it ends here, with this reason. */
void cs_fail(const char *text);
void cs_fail_with_warning(const char *function, const char *text, uint64_t value);

/* A point of a scenario's own. */
void cs_point(const void *_Nullable address, bool writes);
void cs_ignore(const void *address, size_t bytes);

/* What blocks, by CPlatform. */
void cs_futex_wait(void *word, uint32_t expected, uint64_t timeout_ns);
void cs_futex_wake(void *word, int count);
void cs_yield(void);
void cs_sleep_ns(uint64_t ns);
uint64_t cs_clock_ns(void);
/* From a thread of a scenario: later, for all that wait for a time. */
void cs_pass_time(uint64_t ns);
void cs_fence(void);
int cs_thread_start(uint64_t *thread, void *_Nullable (*_Nonnull body)(void *_Nullable), void *_Nullable argument);
bool cs_thread_join(uint64_t thread, uint64_t ns);
void cs_thread_exits_with(uint32_t kinds, void (*_Nonnull run)(void *_Nullable kinds));

/* Memory of the library's while threads are scheduled: freed memory is not given out again. */
void *_Nullable cs_alloc(size_t bytes, size_t alignment);
bool cs_owns(const void *_Nullable address);
void cs_region_is_used(void *address, size_t bytes);

/* Names, for the table.  A namer writes what it knows of an address and returns true. */
typedef bool (*cs_namer)(uint64_t address, char *text, size_t room);
void cs_set_namer(cs_namer _Nullable namer);
void cs_name(const void *address, size_t bytes, const char *name);
void cs_describe(uint64_t address, char *text, size_t room);
void cs_describe_caller(const void *_Nullable caller, char *text, size_t room);
void cs_print_table(uint32_t threads);
void cs_write_entry(char *text, size_t room, int32_t level, uint64_t gfn, bool in_root);
void cs_fail_at(const char *_Nullable what, const char *_Nullable file, int32_t line);

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
