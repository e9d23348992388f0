/* SPDX-License-Identifier: GPL-2.0-only */
/* What a campaign is asked for and what came of it: options and words here, the search in module Explorer. */
#ifndef CS_CAMPAIGN_H
#define CS_CAMPAIGN_H

#include "../../../include/tdpmmu.h"
#include "cschedule.h"

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

enum cs_mode { CS_ALL, CS_RANDOM, CS_REPLAY };

struct cs_options {
    enum cs_mode mode;
    bool progress, shows_ends, is_whole; /* is_whole: no reduction, no states remembered */
    uint32_t preemptions;
    uint64_t seed, count, limit; /* of random schedules; the most of all, 0: no limit */
    uint32_t depth;           /* of PCT */
    uint32_t shard, shards;   /* from 1; 1 of 1 */
    const char *_Nullable schedule;
    const struct cs_stretch *_Nullable stretches;
    uint32_t stretch_count;
};

#define CS_ENDS 1024

struct cs_result {
    uint64_t schedules, left, states, restarts; /* run to their end; left before it, as nothing new; */
    uint32_t longest;         /* steps of a schedule */
    uint32_t shared;          /* words that threads share */
    bool failed, misfit;      /* misfit: the schedule string does not fit */
    bool is_cut;              /* by the limit */
    double seconds;
    uint64_t ends[CS_ENDS];   /* different ones; */
    uint32_t end_count;       /* more than CS_ENDS: there were more */
    char failure[512];
    char schedule[8192];
};

enum cs_outcome cs_set_up(const struct tdpmmu_scenario *scenario);
/* One schedule, with its check and its tear-down; memory is put back first. */
enum cs_outcome cs_try(const struct tdpmmu_scenario *scenario);
void cs_tell_progress(const struct tdpmmu_scenario *scenario, const struct cs_result *result, uint32_t depth);
void cs_take_failure(struct cs_result *result);
/* The schedule that was made counts: how it ended. */
void cs_note_end(struct cs_result *result);
double cs_seconds(void);
uint32_t cs_count_shared(void);

int cs_main(int argc, char *_Nullable *_Nonnull argv, const struct tdpmmu_scenario *scenarios, int count);

/* Explorer. */
void explorer_campaign(const struct tdpmmu_scenario *scenario, const struct cs_options *options, struct cs_result *result);

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
