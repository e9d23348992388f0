/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every interleaving of a scenario's threads.  It takes the library that `make rig` builds, of the same soname and
 * interface: there each atomic operation of the library is a point at which another thread may go on, and threads run
 * one at a time.  In the ordinary library tdpmmu_explore_main() says so and returns, and the rest does nothing.
 * docs/RIGS.md has an example.
 */
#ifndef TDPMMU_RIG_EXPLORE_H
#define TDPMMU_RIG_EXPLORE_H

#include "types.h"

TDPMMU_BEGIN_DECLS

#define TDPMMU_SCENARIO_THREADS 4

/* Threads of this scenario end as threads do, and what the library does at a thread's exit is a part of it. */
#define TDPMMU_SCENARIO_EXITS (1u << 0)
/* Its schedules are too many: those of a fixed number of seeds are tried where no option says otherwise. */
#define TDPMMU_SCENARIO_RANDOM (1u << 1)

/*
 * A scenario.  set_up and then prepare for each thread, in that thread, run once; before each schedule
 * all memory is as it was after that: variables of the program, thread-local ones, what the library has allocated and
 * what tdpmmu_explore_alloc() gave.  (Memory of malloc() and of other libraries is not put back.)  Threads
 * may call the library and change memory; they may not block in anything that is not the library's, nor start threads.
 * Then check, which returns whether all is well, and tear_down, alone.
 */
struct tdpmmu_scenario {
    const char *name;         /* of letters, digits, - and _ */
    const char *about;        /* a line, or NULL */
    void (*set_up)(void);     /* may be NULL, as the next */
    void (*prepare)(int thread);
    void (*thread[TDPMMU_SCENARIO_THREADS])(void); /* two to four, the rest NULL */
    bool (*check)(void);      /* these two may be NULL */
    void (*tear_down)(void);
    uint32_t max_steps;       /* a schedule that has more does not end; 0: 100000 */
    uint32_t preemptions;     /* where no option says otherwise; 0: 3 for two threads, 2 for more */
    uint32_t flags;           /* TDPMMU_SCENARIO_* */
    uint64_t (*end)(void);    /* after check: a number for how it ended, for --ends; may be NULL */
};

/*
 * Explore count scenarios, as a program's main(): each in a process of its own.  argc and argv: as main() has them,
 * with these options:
 *
 *     --list                    names
 *     --scenario NAME           this one only (once or more)
 *     --preemptions N           all schedules with at most N preemptions, 0 to 16
 *     --whole                   nothing left out that leads to what is known, for counting
 *     --ends                    the numbers that the scenario's end() gave, each once
 *     --limit N                 no more than N schedules of each
 *     --random SEED,COUNT,DEPTH schedules by random priorities that change DEPTH - 1 times
 *     --schedule STRING         the schedule that a failure printed, with its table; of one scenario
 *     --shard K/N               the K-th of N parts
 *     --progress                on stderr, once a second
 *     --result FILE             for `tdpmmuctl explore --merge`; of one scenario
 *
 * Outside of a scenario; it forks, and memory of the caller's stays as it is.
 * Returns 0: all passed; 1: a schedule failed (an assertion, a warning of the library, a signal, a deadlock, a
 * schedule without end, or check said so); it and its table are printed; 2: options or scenarios are wrong; 3: this
 * library has no schedule points.
 * Any lock.
 */
int tdpmmu_explore_main(int argc, char **argv, const struct tdpmmu_scenario *scenarios, int count);

/*
 * Say that the scenario has failed: the schedule ends here.  what: how, file and line: where, as
 * tdpmmu_explore_assert() fills them in.  Outside of a scenario, and in the ordinary library, a line on stderr
 * and no more.  Any lock.
 */
void tdpmmu_explore_failed(const char *what, const char *file, int line);

#define tdpmmu_explore_assert(condition) \
    ((condition) ? (void)0 : tdpmmu_explore_failed(#condition, __FILE__, __LINE__))

/*
 * Make a schedule point of the scenario's own: the step that follows reads, or if writes is true writes, the word at
 * address.  NULL: nothing.
 * Any lock.
 */
void tdpmmu_schedule_point(const void *address, bool writes);

/* Name so many bytes from address on, for the table of a failure.  NULL: nothing.  Any lock. */
void tdpmmu_explore_name(const void *address, size_t bytes, const char *name);

/*
 * Let it be of no interest that threads share so many bytes from address on: a counter, say.  In set_up.  NULL:
 * nothing.  Any lock.
 */
void tdpmmu_explore_ignore(const void *address, size_t bytes);

/*
 * Let clocks go on by ns nanoseconds: whoever waits no longer than until then can go on, a timer of the library's, say.
 * By themselves they do so only when no thread can go on.  What a thread that is not waiting makes of the time is one of several
 * orders that is not tried.  Outside of a scenario: nothing.  Any lock.
 */
void tdpmmu_explore_pass_time(uint64_t ns);

/*
 * Take so many bytes of memory that is put back before each schedule, filled with 0xa5; never freed.  In set_up or a
 * scenario's thread.  Returns NULL where there is none, or nothing is explored.  Any lock.
 */
void *tdpmmu_explore_alloc(size_t bytes);

TDPMMU_END_DECLS

#endif
