/* SPDX-License-Identifier: GPL-2.0-only */
/* A scenario's functions, run by its threads. */
#ifdef TDPMMU_SCHEDULE_POINTS
#include "engine.h"
#include "cs_campaign.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct tdpmmu_scenario *the_scenario;

static void *run_function(void *argument)
{
    struct cs_thread *t = &cs_the_engine->threads[cs_the_engine->current];

    (*(void (**)(void))argument)();
    t->exit_kinds |= t->kept_kinds;
    if (!(the_scenario->flags & TDPMMU_SCENARIO_EXITS))
        t->exit_kinds = 0;
    return NULL;
}

static void *run_prepare(void *argument)
{
    struct cs_thread *t = &cs_the_engine->threads[cs_the_engine->current];

    the_scenario->prepare((int)(uintptr_t)argument);
    t->kept_kinds = t->exit_kinds;
    t->exit_kinds = 0;
    return NULL;
}

static void *run_check(void *argument)
{
    (void)argument;
    if (the_scenario->check && !the_scenario->check())
        cs_fail("check: not as it should be");
    cs_the_engine->end = the_scenario->end ? the_scenario->end() : 0;
    if (the_scenario->tear_down)
        the_scenario->tear_down();
    return NULL;
}

enum cs_outcome cs_set_up(const struct tdpmmu_scenario *scenario)
{
    struct cs_engine *e = cs_the_engine;
    enum cs_outcome outcome = CS_DONE;

    the_scenario = scenario;
    e->max_steps = 10000000;
    e->is_exploring = false;
    if (scenario->set_up) {
        cs_give(CS_MAIN, run_function, (void *)&scenario->set_up);
        outcome = cs_go();
    }
    for (int i = 0; i < TDPMMU_SCENARIO_THREADS && outcome == CS_DONE; i++)
        if (scenario->thread[i] && scenario->prepare) {
            cs_give(CS_FIRST + i, run_prepare, (void *)(uintptr_t)i);
            outcome = cs_go();
        }
    if (outcome == CS_DONE)
        outcome = cs_settle();
    if (outcome == CS_DONE)
        cs_keep_memory();
    e->max_steps = scenario->max_steps ? scenario->max_steps : 100000;
    return outcome;
}

enum cs_outcome cs_try(const struct tdpmmu_scenario *scenario)
{
    struct cs_engine *e = cs_the_engine;
    enum cs_outcome outcome;
    uint32_t steps;

    cs_put_memory_back();
    for (int i = 0; i < TDPMMU_SCENARIO_THREADS; i++)
        if (scenario->thread[i])
            cs_give(CS_FIRST + i, run_function, (void *)&scenario->thread[i]);
    e->is_exploring = true;
    outcome = cs_go();
    e->is_exploring = false;
    steps = e->steps;
    if (outcome == CS_DONE) {
        uint32_t stretches = e->stretch_count;

        outcome = cs_settle();
        if (outcome == CS_DONE) {
            cs_give(CS_MAIN, run_check, NULL);
            e->outcome = CS_RUNS;
            outcome = cs_settle();
        }
        e->stretch_count = stretches;
    }
    e->steps = steps;
    return outcome;
}

void cs_note_end(struct cs_result *result)
{
    uint64_t end = cs_the_engine->end;

    for (uint32_t i = 0; i < result->end_count && i < CS_ENDS; i++)
        if (result->ends[i] == end)
            return;
    if (result->end_count < CS_ENDS)
        result->ends[result->end_count] = end;
    if (result->end_count <= CS_ENDS)
        result->end_count++;
}

double cs_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void cs_tell_progress(const struct tdpmmu_scenario *scenario, const struct cs_result *result, uint32_t depth)
{
    fprintf(stderr, "%s: %llu schedules, depth %u, %.0f a second\n", scenario->name,
            (unsigned long long)result->schedules, depth,
            result->seconds > 0 ? (double)result->schedules / result->seconds : 0.0);
}

void cs_take_failure(struct cs_result *result)
{
    struct cs_engine *e = cs_the_engine;
    size_t used = 0;

    result->failed = true;
    snprintf(result->failure, sizeof(result->failure), "%s", e->failure);
    result->schedule[0] = 0;
    for (uint32_t i = 0; i < e->stretch_count && used + 16 < sizeof(result->schedule); i++)
        if (e->stretches[i].thread != CS_MAIN)
            used += (size_t)snprintf(result->schedule + used, sizeof(result->schedule) - used, "%s%c%u", i ? "." : "",
                                     cs_letter((int)e->stretches[i].thread), e->stretches[i].steps);
}
#endif
