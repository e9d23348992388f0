// SPDX-License-Identifier: GPL-2.0-only
// What a page costs the host alone, without KVM, library or engine: the first store to each of 128 Ki pages, and the same
// by madvise().  Nothing that runs a guest in the program's own memory demand-pages faster than the first.
//     cc -O2 -o build/host_faults kvm/host_faults.c && build/host_faults
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { PAGES = 128 << 10, ROUNDS = 5 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void touch(volatile char *page) { *page = 1; }
static void populate(volatile char *page) { madvise((void *)page, 4096, MADV_POPULATE_WRITE); }

// The best of some rounds, in nanoseconds a page; each begins with new memory.
static double best(void (*use)(volatile char *), int again)
{
    double least = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        char *memory = mmap(NULL, PAGES * 4096ul, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return -1;
        double start = now();
        for (int pass = 0; pass <= again; pass++) {
            start = now();
            for (size_t page = 0; page < PAGES; page++)
                use(memory + 4096 * page);
        }
        double ns = (now() - start) * 1e9 / PAGES;
        least = ns < least ? ns : least;
        munmap(memory, PAGES * 4096ul);
    }
    return least;
}

int main(void)
{
    printf("a page's first store %.0f ns, by madvise() %.0f ns; a page that is there: %.0f ns, %.0f ns\n", best(touch, 0),
           best(populate, 0), best(touch, 1), best(populate, 1));
    return 0;
}
