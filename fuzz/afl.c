/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What stands between afl-fuzz and a target that counts edges as libFuzzer wants it: a persistent loop, whose inputs
 * come by shared memory, and after each the counts, which afl-fuzz looks at.  Links with AFL++'s afl-compiler-rt.o.
 *
 * PROGRAM FILE...   without afl-fuzz: those inputs, one after another.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* AFL++'s runtime. */
extern unsigned char *__afl_area_ptr, *__afl_fuzz_ptr;
extern unsigned int *__afl_fuzz_len;
extern int __afl_sharedmem_fuzzing;
int __afl_persistent_loop(unsigned int);
void __afl_manual_init(void);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* afl-fuzz looks for these words in the file. */
const char *const fuzz_afl_signatures[] __attribute__((used)) = { "##SIG_AFL_PERSISTENT##", "##SIG_AFL_DEFER_FORKSRV##" };

enum { MAP_BYTES = 1 << 16, RANGES = 8 };

/* Inputs that a child of the fork server takes; with -DLOOPS=1 each gets the memory as it was before main(). */
#ifndef LOOPS
#define LOOPS 10000
#endif

/* Where the counts of the program are; all of its objects give the same range. */
static struct {
    uint8_t *start, *stop;
} ranges[RANGES];

void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop);
void __sanitizer_cov_8bit_counters_init(uint8_t *start, uint8_t *stop)
{
    for (int i = 0; i < RANGES && start != stop; i++) {
        if (ranges[i].start == start)
            return;
        if (!ranges[i].start) {
            ranges[i].start = start;
            ranges[i].stop = stop;
            return;
        }
    }
}

void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop);
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop) { (void)start, (void)stop; }
void __sanitizer_cov_trace_pc_indir(uintptr_t callee);
void __sanitizer_cov_trace_pc_indir(uintptr_t callee) { (void)callee; }
_Thread_local uintptr_t __sancov_lowest_stack;

static void clear_counts(void)
{
    for (int i = 0; i < RANGES && ranges[i].start; i++)
        memset(ranges[i].start, 0, (size_t)(ranges[i].stop - ranges[i].start));
}

/* A program with more edges than the map has bytes lets some share one. */
static void tell_counts(void)
{
    unsigned int place = 1;

    __afl_area_ptr[0] = 1;
    for (int i = 0; i < RANGES && ranges[i].start; i++)
        for (const uint8_t *count = ranges[i].start; count < ranges[i].stop; count++, place++)
            if (*count)
                __afl_area_ptr[place % MAP_BYTES] |= *count;
}

/* What ends the program is told with its counts, too. */
static void dying(int number)
{
    tell_counts();
    signal(number, SIG_DFL);
    raise(number);
}

static int replay(const char *path)
{
    static uint8_t data[1 << 20];
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file) {
        perror(path);
        return 1;
    }
    size = fread(data, 1, sizeof(data), file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
    printf("%s: survived\n", path);
    return 0;
}

int main(int argc, char **argv)
{
    static const int deaths[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP };
    int status = 0;

    for (int i = 1; i < argc; i++)
        status |= replay(argv[i]);
    if (argc > 1)
        return status;
    for (size_t i = 0; i < sizeof(deaths) / sizeof(deaths[0]); i++)
        signal(deaths[i], dying);
    __afl_sharedmem_fuzzing = 1;
    __afl_manual_init();
    if (!__afl_fuzz_ptr)
        return fputs("this is for afl-fuzz (fuzz/afl.sh), or give it files\n", stderr), 2;
    while (__afl_persistent_loop(LOOPS)) {
        clear_counts();
        LLVMFuzzerTestOneInput(__afl_fuzz_ptr, *__afl_fuzz_len);
        tell_counts();
    }
    return 0;
}
