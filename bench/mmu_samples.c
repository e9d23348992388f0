/* SPDX-License-Identifier: GPL-2.0-only */
#include <regex.h>

#include "mmu_rows.h"

#define MOST 64

static const struct {
    enum scenario scenario;
    const char *name, *unit, *text;
} rows[] = {
#define ROW_ENTRY(scenario, identifier, name, unit, text) { scenario, name, unit, text },
    ROWS(ROW_ENTRY)
};
static struct samples {
    int count;
    double values[MOST], probes[MOST];
} all[ROW_COUNT];
static bool chosen[ROW_COUNT];
int wait_times = 40;

bool rows_choose(const char *pattern)
{
    regex_t compiled;

    if (pattern && regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB))
        return false;
    for (int i = 0; i < ROW_COUNT; i++)
        chosen[i] = !pattern || !regexec(&compiled, rows[i].name, 0, NULL, 0);
    if (pattern)
        regfree(&compiled);
    return true;
}

bool scenario_is_wanted(enum scenario scenario)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (chosen[i] && rows[i].scenario == scenario)
            return true;
    return false;
}

void sample(enum row row, double value, double probe)
{
    struct samples *samples = &all[row];

    if (samples->count == MOST)
        return;
    samples->probes[samples->count] = probe;
    samples->values[samples->count++] = value;
}

void samples_forget(void)
{
    memset(all, 0, sizeof(all));
}

static int quiet_of(const struct samples *samples, double *values)
{
    int count = 0;

    for (int i = 0; i < samples->count; i++)
        if (quiet_is(samples->probes[i]))
            values[count++] = samples->values[i];
    return count;
}

int samples_least_quiet(void)
{
    double values[MOST];
    int least = MOST;

    for (int i = 0; i < ROW_COUNT; i++) {
        int count = quiet_of(&all[i], values);

        if (chosen[i] && all[i].count > 1 && count < least)
            least = count;
    }
    return least;
}

/* Tabs between: name, log2 of the pages, unit, quiet median and count, median of all and count, least, text. */
void samples_print(int log2_pages)
{
    for (int i = 0; i < ROW_COUNT; i++) {
        struct samples *samples = &all[i];
        double values[MOST], quiet_median;
        int quiet;

        if (!chosen[i] || !samples->count)
            continue;
        quiet = quiet_of(samples, values);
        quiet_median = median(values, quiet);
        printf("%s\t%d\t%s\t%.4f\t%d", rows[i].name, log2_pages, rows[i].unit, quiet_median, quiet);
        printf("\t%.4f\t%d", median(samples->values, samples->count), samples->count);
        printf("\t%.4f\t%s\n", samples->values[0], rows[i].text); /* sorted by now */
    }
    fflush(stdout);
}
