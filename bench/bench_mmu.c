/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The MMU's rows for one side: the library, or Linux's own code.
 *
 * bench_mmu [-n LOG2_PAGES] [-r REPETITIONS] [-t ROWS] [-b BEST_PROBE] [-s] [-1] [-e]
 * -t: a regular expression; -s: a guest of that size once instead; -1: each scenario once, without a round
 * that warms up; -e: the library's operations go by the entry.  Otherwise it goes on until each row has as many quiet samples as repetitions were asked for,
 * but not longer than thrice that.  -b: see quiet_know().  Output as in mmu_samples.c, and the best probe.
 */
#include <unistd.h>

#include "mmu_rows.h"

static const struct {
    void (*perform)(void);
    bool scales;
} scenarios[SCENARIO_COUNT] = {
    [FIRST] = { NULL, false }, [SMALL] = { do_small, false }, [RANDOM] = { do_random, false },
    [HUGE] = { do_huge, false }, [SPARSE] = { do_sparse, false }, [INSIDE] = { do_inside, false },
    [THREADS] = { do_threads, false }, [BESIDE] = { do_beside, false }, [LOG] = { do_log, false },
    [SCALE] = { do_scale, true }, [CLOCK] = { do_clock, false },
};

static void perform_all(bool scale)
{
    bool two = sysconf(_SC_NPROCESSORS_ONLN) > 1;

    for (int i = 0; i < SCENARIO_COUNT; i++) {
        if (!scenarios[i].perform || scenarios[i].scales != scale || !scenario_is_wanted((enum scenario)i))
            continue;
        if (!two && (i == THREADS || i == BESIDE))
            fprintf(stderr, "bench_mmu: rows of two threads are left out: there is one processor\n");
        else
            scenarios[i].perform();
    }
}

/* Once for caches and branch predictors, then for the record. */
static void repeat(int repetitions)
{
    perform_all(false);
    samples_forget();
    for (int i = 0; i < 3 * repetitions; i++) {
        perform_all(false);
        if (i + 1 >= repetitions && samples_least_quiet() >= repetitions)
            break;
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: bench_mmu [-n 15..28] [-r 1..20] [-t ROWS] [-b BEST_PROBE] [-s] [-1] [-e]\n");
    return 2;
}

int main(int argc, char **argv)
{
    int option, log2_pages = 18, repetitions = 3;
    bool scale = false, once = false;
    const char *pattern = NULL;

    while ((option = getopt(argc, argv, "n:r:t:b:s1e")) != -1) {
        switch (option) {
        case 'n': log2_pages = atoi(optarg); break;
        case 'r': repetitions = atoi(optarg); break;
        case 't': pattern = optarg; break;
        case 'b': quiet_know(atof(optarg)); break;
        case 's': scale = true; break;
        case '1': once = true; break;
#ifdef SIDE_IS_OURS
        case 'e': side_is_by_entry = true; break;
#endif
        default: return usage();
        }
    }
    if (log2_pages < 15 || log2_pages > 28 || repetitions < 1 || repetitions > 20 || optind < argc ||
        !rows_choose(pattern))
        return usage();
    pages = 1ul << log2_pages;
    side_init(pages);
    pin_to(main_cpu);
    if (scenario_is_wanted(FIRST) && !scale)
        do_first();
    samples_print(log2_pages);
    samples_forget();
    random_init();
    if (scale || once)
        perform_all(scale);
    else
        repeat(repetitions);
    samples_print(log2_pages);
    printf("probe\t%.1f\n", quiet_best());
    if (side_warnings())
        die("there were warnings");
    return 0;
}
