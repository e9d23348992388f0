/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libtdpmmu's RCU beside liburcu's flavors, in one run.
 *
 * bench_rcu [REPETITIONS] [ROW...]: for each row, in each repetition every
 * implementation has its turn; printed are medians, and ours divided by memb's.  A
 * short computation before each turn tells whether the machine is being slowed down
 * by others at that moment; if so, the turn waits.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quiet.h"
#include "rcu_side.h"

#define MOST_REPETITIONS 101
#define SIDES 4

unsigned long callbacks_run;

static void wait_for_a_fair_moment(void)
{
    quiet_wait(quiet_probe_pair, 60, 5000); /* on two threads, as the rows use two processors */
}

/* Rows ---------------------------------------------------------------------- */

static unsigned long pair_count = 4000000;

static double pairs(const struct rcu_side *side)
{
    double start = now_ns();

    side->pairs(pair_count);
    return (now_ns() - start) / (double)pair_count;
}

static double nested(const struct rcu_side *side)
{
    double start = now_ns();

    side->nested(pair_count);
    return (now_ns() - start) / (double)pair_count;
}

struct turn {
    const struct rcu_side *side;
    int *stop;
    int *ready;
    double result;
};

static void *pairs_thread(void *argument)
{
    struct turn *turn = argument;

    turn->side->register_thread();
    __atomic_add_fetch(turn->ready, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(turn->ready, __ATOMIC_SEQ_CST) < 2)
        ;
    turn->result = pairs(turn->side);
    turn->side->unregister_thread();
    return NULL;
}

static double pairs_of_two(const struct rcu_side *side)
{
    int ready = 0;
    struct turn turns[2] = { { side, NULL, &ready, 0 }, { side, NULL, &ready, 0 } };
    pthread_t threads[2];

    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, pairs_thread, &turns[i]);
    side->go_idle();
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    side->come_back();
    return (turns[0].result + turns[1].result) / 2;
}

static double synchronize(const struct rcu_side *side)
{
    const unsigned long count = 2000;
    double start = now_ns();

    side->synchronize(count);
    return (now_ns() - start) / (double)count;
}

static void *idle_thread(void *argument)
{
    struct turn *turn = argument;

    turn->side->register_thread();
    turn->side->pairs(1);
    turn->side->go_idle();
    __atomic_store_n(turn->ready, 1, __ATOMIC_SEQ_CST);
    while (!__atomic_load_n(turn->stop, __ATOMIC_RELAXED))
        nap_us(1000);
    turn->side->come_back();
    turn->side->unregister_thread();
    return NULL;
}

static void *busy_thread(void *argument)
{
    struct turn *turn = argument;

    turn->side->register_thread();
    __atomic_store_n(turn->ready, 1, __ATOMIC_SEQ_CST);
    turn->side->read_until(turn->stop);
    turn->side->unregister_thread();
    return NULL;
}

static double synchronize_beside(const struct rcu_side *side, void *(*body)(void *))
{
    int ready = 0, stop = 0;
    struct turn turn = { side, &stop, &ready, 0 };
    pthread_t thread;
    double result;

    pthread_create(&thread, NULL, body, &turn);
    while (!__atomic_load_n(&ready, __ATOMIC_SEQ_CST))
        nap_us(50);
    result = synchronize(side);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    side->go_idle(); /* the other may wait for us now */
    pthread_join(thread, NULL);
    side->come_back();
    return result;
}

static double synchronize_idle(const struct rcu_side *side)
{
    return synchronize_beside(side, idle_thread);
}

static double synchronize_busy(const struct rcu_side *side)
{
    return synchronize_beside(side, busy_thread);
}

#define MANY 10000000ul
#define SOME 1000000ul
static void *heads;

static void finish(const struct rcu_side *side, unsigned long before, unsigned long count)
{
    side->barrier();
    if (callbacks_run - before != count) {
        fprintf(stderr, "%s: %lu callbacks of %lu ran\n", side->name, callbacks_run - before, count);
        exit(1);
    }
}

static double enqueue(const struct rcu_side *side)
{
    unsigned long before = callbacks_run;
    double start, took;

    memset(heads, 0, SOME * 16);
    start = now_ns();
    side->enqueue(heads, SOME);
    took = now_ns() - start;
    finish(side, before, SOME);
    return took / (double)SOME;
}

/* To the end of the barrier; millions a second. */
static double callbacks(const struct rcu_side *side)
{
    unsigned long before = callbacks_run;
    double start;

    memset(heads, 0, MANY * 16);
    start = now_ns();
    side->enqueue(heads, MANY);
    finish(side, before, MANY);
    return (double)MANY * 1e3 / (now_ns() - start);
}

static double barrier_idle(const struct rcu_side *side)
{
    const int count = 20;
    double start;

    side->barrier();
    nap_us(2000);
    start = now_ns();
    for (int i = 0; i < count; i++)
        side->barrier();
    return (now_ns() - start) / 1e3 / count;
}

/* After one callback: what a test that cleans up after itself waits for; µs. */
static double barrier_one(const struct rcu_side *side)
{
    const int count = 20;
    double took = 0;

    for (int i = 0; i < count; i++) {
        unsigned long before = callbacks_run;
        double start;

        nap_us(300);
        memset(heads, 0, 16);
        start = now_ns();
        side->enqueue(heads, 1);
        finish(side, before, 1);
        took += now_ns() - start;
    }
    return took / 1e3 / count;
}

/* The head, and what is allocated besides, while nothing can run. */
static double memory(const struct rcu_side *side)
{
    unsigned long before = callbacks_run;
    struct mallinfo2 idle, pending;

    memset(heads, 0, SOME * 16);
    side->barrier();
    idle = mallinfo2();
    side->lock();
    side->enqueue(heads, SOME);
    pending = mallinfo2();
    side->unlock();
    side->go_idle();
    side->come_back();
    finish(side, before, SOME);
    return (double)side->head_bytes +
           (double)(pending.uordblks + pending.hblkhd - idle.uordblks - idle.hblkhd) / (double)SOME;
}

static const struct row {
    const char *name, *unit, *text;
    double (*measure)(const struct rcu_side *side);
    bool exported;
    double target;  /* of ours / memb's; 0: none */
    bool more_is_better;
    double absolute; /* or a limit in the row's own unit */
} rows[] = {
    { "pair", "ns", "read lock + unlock, inline", pairs, false, 1.0, false, 0 },
    { "pair2", "ns", "  the same, 2 threads", pairs_of_two, false, 1.0, false, 0 },
    { "exported", "ns", "read lock + unlock, exported", pairs, true, 1.0, false, 0 },
    { "exported2", "ns", "  the same, 2 threads", pairs_of_two, true, 1.0, false, 0 },
    { "nested", "ns", "nested pair, inline", nested, false, 1.0, false, 0 },
    { "sync", "ns", "synchronize_rcu, nobody else", synchronize, false, 1.0, false, 0 },
    { "sync-idle", "ns", "synchronize_rcu, idle reader", synchronize_idle, false, 1.0, false, 0 },
    { "sync-busy", "ns", "synchronize_rcu, busy reader", synchronize_busy, false, 1.0, false, 0 },
    { "enqueue", "ns", "call_rcu", enqueue, false, 0.5, false, 0 },
    { "callbacks", "M/s", "callbacks to rcu_barrier's end, 10 M", callbacks, false, 5.0, true, 0 },
    { "barrier", "us", "rcu_barrier, idle", barrier_idle, false, 0, false, 100 },
    { "barrier1", "us", "one call_rcu and rcu_barrier", barrier_one, false, 0, false, 0 },
    { "memory", "bytes", "memory for a pending callback", memory, false, 0, false, 16 },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static const char *verdict(const struct row *row, double ours, double ratio)
{
    if (row->absolute != 0)
        return ours <= row->absolute ? "reached" : "MISSED";
    if (row->target == 0)
        return "";
    /* Two builds of one loop differ by a few thousandths. */
    return (row->more_is_better ? ratio + 0.005 >= row->target : ratio - 0.005 <= row->target) ? "reached" : "MISSED";
}

static void run_row(const struct row *row, int repetitions)
{
    static double values[SIDES][MOST_REPETITIONS];
    const struct rcu_side *sides[SIDES] = {
        row->exported ? &side_tdpmmu_exported : &side_tdpmmu,
        row->exported ? &side_memb_exported : &side_memb, &side_bp, &side_qsbr };
    int used = row->exported ? 2 : SIDES;
    double medians[SIDES], ratio;
    char target[32] = "";

    for (int i = 0; i < repetitions; i++) {
        for (int s = 0; s < used; s++) {
            sides[s]->register_thread();
            wait_for_a_fair_moment();
            values[s][i] = row->measure(sides[s]);
            sides[s]->unregister_thread();
        }
    }
    printf("%-37s %-5s", row->text, row->unit);
    for (int s = 0; s < SIDES; s++) {
        if (s >= used) {
            printf(" %9s", "-");
            continue;
        }
        medians[s] = median(values[s], repetitions);
        printf(" %9.2f", medians[s]);
    }
    ratio = medians[0] / medians[1];
    if (row->absolute != 0)
        snprintf(target, sizeof(target), "<=%.0f %s", row->absolute, row->unit);
    else if (row->target != 0)
        snprintf(target, sizeof(target), "%s%.1f", row->more_is_better ? ">=" : "<=", row->target);
    printf(" %7.3f  %-10s %s\n", ratio, target, verdict(row, medians[0], ratio));
    fflush(stdout);
}

static bool wanted(const char *name, int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        if (!strcmp(argv[i], name))
            return true;
    return argc <= 2;
}

int main(int argc, char **argv)
{
    int repetitions = argc > 1 ? atoi(argv[1]) : 9;

    if (repetitions < 1 || repetitions > MOST_REPETITIONS)
        return fprintf(stderr, "bench_rcu: 1 to %d repetitions\n", MOST_REPETITIONS), 64;
    heads = malloc(MANY * 16);
    if (!heads)
        return fprintf(stderr, "bench_rcu: no memory\n"), 1;
    memset(heads, 0, MANY * 16);
    for (int i = 0; i < 20; i++)
        wait_for_a_fair_moment();
    printf("%-37s %-5s %9s %9s %9s %9s %7s  %s\n", "median of each", "", "tdpmmu", "memb", "bp",
           "qsbr", "ratio", "target (tdpmmu / memb)");
    for (size_t i = 0; i < ROWS; i++)
        if (wanted(rows[i].name, argc, argv))
            run_row(&rows[i], repetitions);
    printf("%d repetitions, %ld processors, %lu slow moments skipped\n", repetitions,
           sysconf(_SC_NPROCESSORS_ONLN), quiet_moments_skipped);
    free(heads);
    return 0;
}
