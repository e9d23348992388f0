/* SPDX-License-Identifier: GPL-2.0-only */
/* The options of tdpmmu_explore_main(), and what it prints. */
#ifdef TDPMMU_SCHEDULE_POINTS
#define _GNU_SOURCE
#include "engine.h"
#include "cs_campaign.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PASSED, FAILED, WRONG };

#define MOST_NAMES 64
#define MOST_PREEMPTIONS 16
#define RANDOM_COUNT 20000
#define STEPS_SEEN (1u << 20)

struct command {
    struct cs_options options;
    bool lists, has_preemptions, has_mode;
    const char *names[MOST_NAMES];
    int name_count;
    const char *result_path;
    struct cs_stretch stretches[CS_STRETCHES];
};

__attribute__((format(printf, 1, 2))) static int complain(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("explore: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    return WRONG;
}

/* ---- options ---------------------------------------------------------------- */

/* A number, its end in *end; false if there is none, or it is more than most. */
static bool read_number(const char *text, uint64_t most, uint64_t *number, const char **end)
{
    char *after;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *number = strtoull(text, &after, 10);
    *end = after;
    return errno == 0 && *number <= most;
}

static bool read_only_number(const char *text, uint64_t most, uint64_t *number)
{
    const char *end;

    return read_number(text, most, number, &end) && !*end;
}

static int read_random(struct cs_options *options, const char *text)
{
    uint64_t depth;
    const char *at;

    if (!read_number(text, UINT64_MAX, &options->seed, &at) || *at != ',' ||
        !read_number(at + 1, UINT64_MAX, &options->count, &at) || *at != ',' || !read_only_number(at + 1, 64, &depth) ||
        depth == 0 || options->count == 0)
        return complain("--random takes SEED,COUNT,DEPTH, the last two from 1 on and DEPTH up to 64, not \"%s\"", text);
    options->depth = (uint32_t)depth;
    options->mode = CS_RANDOM;
    return PASSED;
}

static int read_shard(struct cs_options *options, const char *text)
{
    uint64_t shard, shards;
    const char *at;

    if (!read_number(text, UINT32_MAX, &shard, &at) || *at != '/' || !read_only_number(at + 1, 1000000, &shards) ||
        shard == 0 || shard > shards)
        return complain("--shard takes K/N, K from 1 to N, not \"%s\"", text);
    options->shard = (uint32_t)shard;
    options->shards = (uint32_t)shards;
    return PASSED;
}

static int thread_of_letter(char letter)
{
    if (letter >= 'a' && letter < 'a' + TDPMMU_SCENARIO_THREADS)
        return CS_FIRST + letter - 'a';
    if (letter >= 'l' && letter < 'l' + CS_THREADS - CS_LIBRARY)
        return CS_LIBRARY + letter - 'l';
    return -1;
}

/* "a12.b3.a": a letter for the thread, so many steps; without a number all that are left. */
static int read_schedule(struct command *command, const char *text)
{
    const char *at = text;

    while (command->options.stretch_count < CS_STRETCHES) {
        struct cs_stretch *stretch = &command->stretches[command->options.stretch_count++];
        int thread = thread_of_letter(*at);
        uint64_t steps = UINT32_MAX;

        if (thread < 0)
            break;
        at++;
        if (*at && *at != '.' && !read_number(at, UINT32_MAX, &steps, &at))
            break;
        *stretch = (struct cs_stretch){(uint32_t)thread, (uint32_t)steps};
        if (!*at) {
            command->options.schedule = text;
            command->options.stretches = command->stretches;
            command->options.mode = CS_REPLAY;
            return PASSED;
        }
        if (*at++ != '.')
            break;
    }
    return complain("this is no schedule, from \"%.20s\" on: \"%.60s\"", at, text);
}

static int read_option(struct command *command, const char *name, const char *value)
{
    struct cs_options *options = &command->options;
    uint64_t number;

    if (strcmp(name, "--scenario") == 0) {
        if (command->name_count == MOST_NAMES)
            return complain("no more than %d scenarios by name", MOST_NAMES);
        command->names[command->name_count++] = value;
        return PASSED;
    }
    if (strcmp(name, "--preemptions") == 0) {
        if (!read_only_number(value, MOST_PREEMPTIONS, &number))
            return complain("--preemptions takes 0 to %d, not \"%s\"", MOST_PREEMPTIONS, value);
        options->preemptions = (uint32_t)number;
        command->has_preemptions = true;
        return PASSED;
    }
    if (strcmp(name, "--limit") == 0) {
        if (!read_only_number(value, UINT64_MAX, &options->limit))
            return complain("--limit takes a number, not \"%s\"", value);
        return PASSED;
    }
    if (strcmp(name, "--random") == 0)
        return read_random(options, value);
    if (strcmp(name, "--shard") == 0)
        return read_shard(options, value);
    if (strcmp(name, "--schedule") == 0)
        return read_schedule(command, value);
    if (strcmp(name, "--result") == 0) {
        command->result_path = value;
        return PASSED;
    }
    return complain("unknown option \"%s\"", name);
}

static int read_options(struct command *command, int argc, char **argv)
{
    command->options = (struct cs_options){.shard = 1, .shards = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0)
            command->lists = true;
        else if (strcmp(argv[i], "--progress") == 0)
            command->options.progress = true;
        else if (strcmp(argv[i], "--ends") == 0)
            command->options.shows_ends = true;
        else if (strcmp(argv[i], "--whole") == 0)
            command->options.is_whole = true;
        else if (i + 1 == argc)
            return complain(strncmp(argv[i], "--", 2) ? "what is \"%s\"?" : "\"%s\" is unknown or lacks its value", argv[i]);
        else if (read_option(command, argv[i], argv[i + 1]))
            return WRONG;
        else
            i++;
    }
    if (command->options.schedule && command->name_count != 1)
        return complain("--schedule is of one --scenario");
    if (command->result_path && command->name_count != 1)
        return complain("--result is of one --scenario");
    return PASSED;
}

/* ---- scenarios -------------------------------------------------------------- */

static uint32_t count_threads(const struct tdpmmu_scenario *scenario)
{
    uint32_t threads = 0;

    while (threads < TDPMMU_SCENARIO_THREADS && scenario->thread[threads])
        threads++;
    return threads;
}

static int check_scenarios(const struct tdpmmu_scenario *scenarios, int count)
{
    if (count < 1 || !scenarios)
        return complain("there are no scenarios");
    for (int i = 0; i < count; i++) {
        uint32_t threads;

        if (!scenarios[i].name || !*scenarios[i].name || strlen(scenarios[i].name) > 60 ||
            strspn(scenarios[i].name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") !=
                strlen(scenarios[i].name))
            return complain("scenario %d has no name, or one of other than letters, digits, - and _", i);
        threads = count_threads(&scenarios[i]);
        for (uint32_t t = threads; t < TDPMMU_SCENARIO_THREADS; t++)
            if (scenarios[i].thread[t])
                return complain("%s: a thread comes after one that is NULL", scenarios[i].name);
        if (threads < 2)
            return complain("%s: two to %d threads, not %u", scenarios[i].name, TDPMMU_SCENARIO_THREADS, threads);
        for (int j = 0; j < i; j++)
            if (strcmp(scenarios[i].name, scenarios[j].name) == 0)
                return complain("two scenarios are named %s", scenarios[i].name);
    }
    return PASSED;
}

static const struct tdpmmu_scenario *find(const struct tdpmmu_scenario *scenarios, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    return NULL;
}

/* ---- one of them ------------------------------------------------------------- */

static void print_mode(FILE *to, const struct cs_options *options)
{
    if (options->mode == CS_RANDOM)
        fprintf(to, "random %llu,%llu,%u", (unsigned long long)options->seed, (unsigned long long)options->count,
                options->depth);
    else
        fprintf(to, "preemptions %u%s", options->preemptions, options->is_whole ? " whole" : "");
}

static int write_result(const char *path, const struct tdpmmu_scenario *scenario, const struct cs_options *options,
                        const struct cs_result *result)
{
    FILE *file = fopen(path, "w");

    if (!file)
        return complain("%s: %s", path, strerror(errno));
    fprintf(file, "tdpmmu-explore 1\nscenario %s\nthreads %u\nmode ", scenario->name, count_threads(scenario));
    print_mode(file, options);
    fprintf(file, "\nlimit %llu\nshard %u/%u\nshared %u\nschedules %llu\nleft %llu\nlongest %u\nseconds %.3f\nfailed %d\n",
            (unsigned long long)options->limit, options->shard, options->shards, result->shared,
            (unsigned long long)result->schedules, (unsigned long long)result->left, result->longest, result->seconds,
            result->failed);
    if (result->failed)
        fprintf(file, "failure %s\nschedule %s\n", result->failure, result->schedule);
    fprintf(file, "end\n");
    if (ferror(file) | fclose(file))
        return complain("%s: cannot write", path);
    return PASSED;
}

static void print_result(const struct tdpmmu_scenario *scenario, const struct cs_options *options,
                         const struct cs_result *result)
{
    printf("%-28s %u threads, ", scenario->name, count_threads(scenario));
    print_mode(stdout, options);
    if (options->shards > 1)
        printf(", shard %u/%u", options->shard, options->shards);
    printf(": %llu schedules%s (%llu left early) in %.2f s, longest %u steps: %s\n", (unsigned long long)result->schedules,
           result->is_cut ? ", cut by the limit" : "", (unsigned long long)result->left, result->seconds, result->longest,
           result->failed ? "FAILED" : "ok");
}

static int compare_ends(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return (one > other) - (one < other);
}

static void print_ends(const struct tdpmmu_scenario *scenario, struct cs_result *result)
{
    uint32_t count = result->end_count < CS_ENDS ? result->end_count : CS_ENDS;

    qsort(result->ends, count, sizeof(result->ends[0]), compare_ends);
    printf("%s: %u%s ends:", scenario->name, count, result->end_count > CS_ENDS ? " and more" : "");
    for (uint32_t i = 0; i < count; i++)
        printf(" %llx", (unsigned long long)result->ends[i]);
    printf("\n");
}

/* In a process of its own: once more, with a note of each step. */
static void print_failure(const struct tdpmmu_scenario *scenario, const struct cs_result *result)
{
    printf("%s: %s\n%s: --scenario %s --schedule %s\n", scenario->name, result->failure, scenario->name, scenario->name,
           result->schedule);
}

static void record_steps(void)
{
    struct cs_engine *e = cs_the_engine;
    void *steps = mmap(NULL, STEPS_SEEN * sizeof(struct cs_step), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (steps == MAP_FAILED)
        return;
    e->steps_seen = steps;
    e->step_room = STEPS_SEEN;
}

static int explore(const struct tdpmmu_scenario *scenario, struct command *command)
{
    /* Not among the data that are put back. */
    struct cs_result *result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct cs_options options = command->options;
    int error = cs_begin();

    if (error)
        return complain("%s: no threads or memory to explore with: %s", scenario->name, strerror(error));
    if (result == MAP_FAILED)
        return complain("%s: no memory", scenario->name);
    if (options.mode == CS_REPLAY)
        record_steps();
    if (cs_set_up(scenario) != CS_DONE)
        return complain("%s: the set-up failed: %s", scenario->name, cs_the_engine->failure), FAILED;
    explorer_campaign(scenario, &options, result);
    if (options.mode == CS_REPLAY) {
        cs_print_table(count_threads(scenario));
        if (result->misfit && !result->failed)
            return complain("%s: the schedule does not fit: a thread in it cannot go on there, or ends before",
                            scenario->name);
        printf("%s: %s\n", scenario->name, result->failed ? result->failure : "passed");
        return result->failed ? FAILED : PASSED;
    }
    print_result(scenario, &options, result);
    if (options.shows_ends)
        print_ends(scenario, result);
    if (result->failed)
        print_failure(scenario, result);
    if (command->result_path && write_result(command->result_path, scenario, &options, result))
        return WRONG;
    fflush(stdout);
    if (result->failed) { /* the table: the schedule once more, by whoever has the words that are shared */
        if (read_schedule(command, result->schedule))
            return FAILED;
        record_steps();
        options = command->options;
        explorer_campaign(scenario, &options, result);
        cs_print_table(count_threads(scenario));
    }
    return result->failed ? FAILED : PASSED;
}

/* A process for each, which may crash. */
static int explore_apart(const struct tdpmmu_scenario *scenario, struct command *command)
{
    int status;
    pid_t child;

    if (!command->has_preemptions)
        command->options.preemptions = scenario->preemptions ? scenario->preemptions : count_threads(scenario) == 2 ? 3 : 2;
    if ((scenario->flags & TDPMMU_SCENARIO_RANDOM) && !command->has_preemptions && command->options.mode == CS_ALL) {
        command->options.mode = CS_RANDOM;
        command->options.seed = 1;
        command->options.count = command->options.limit ? command->options.limit : RANDOM_COUNT;
        command->options.depth = 5;
    }
    fflush(NULL);
    child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* not on its own when its parent was ended */
        status = explore(scenario, command);
        fflush(NULL);
        _exit(status);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return complain("%s: no process: %s", scenario->name, strerror(errno));
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    printf("%s: the process ended by signal %d\n", scenario->name, WTERMSIG(status));
    return FAILED;
}

uint32_t cs_count_shared(void)
{
    return cs_shared_words();
}

int cs_main(int argc, char **argv, const struct tdpmmu_scenario *scenarios, int count)
{
    static struct command command;
    int worst = PASSED;

    memset(&command, 0, sizeof(command));
    if (check_scenarios(scenarios, count) || read_options(&command, argc, argv))
        return WRONG;
    for (int i = 0; i < command.name_count; i++)
        if (!find(scenarios, count, command.names[i]))
            return complain("there is no scenario \"%s\"", command.names[i]);
    for (int i = 0; i < count; i++) {
        struct command one = command;
        bool wanted = command.name_count == 0;
        int outcome;

        for (int n = 0; n < command.name_count; n++)
            wanted = wanted || strcmp(command.names[n], scenarios[i].name) == 0;
        if (!wanted)
            continue;
        if (command.lists) {
            printf("%-28s %u threads%s  %s\n", scenarios[i].name, count_threads(&scenarios[i]),
                   scenarios[i].flags & TDPMMU_SCENARIO_RANDOM ? ", at random" : "",
                   scenarios[i].about ? scenarios[i].about : "");
            continue;
        }
        if (one.options.stretches)
            one.options.stretches = one.stretches;
        outcome = explore_apart(&scenarios[i], &one);
        worst = outcome > worst ? outcome : worst;
    }
    return worst;
}
#endif
