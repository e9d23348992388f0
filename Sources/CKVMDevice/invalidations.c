// SPDX-License-Identifier: GPL-2.0-only
// The stretches of the program's memory that are changing right now.  Each VM has a bit for each of them that it was
// told of, so that it is told of the end exactly then, whatever became of its slots meanwhile.
#include "ckd_host.h"

enum { MOST = 64 }; // the bits of ckd_vm.told

static struct stretch {
    uint64_t start, end;
} stretches[MOST];
static uint64_t open_bits;
static uint32_t generation; // the process that opened them: in a fork's child none is open

static void close_others(void)
{
    if (generation == ckd_fork_generation())
        return;
    generation = ckd_fork_generation();
    open_bits = 0;
}

int ckd_stretch_open(uint64_t start, uint64_t end)
{
    close_others();
    if (~open_bits == 0)
        return -1;
    int number = __builtin_ctzll(~open_bits);
    open_bits |= 1ull << number;
    stretches[number] = (struct stretch){start, end};
    return number;
}

int ckd_stretch_close(uint64_t start, uint64_t end)
{
    close_others();
    for (uint64_t left = open_bits; left; left &= left - 1) {
        int number = __builtin_ctzll(left);
        // Of two that are equal either will do: a VM that has a slot there was told of both.
        if (stretches[number].start == start && stretches[number].end == end) {
            open_bits &= ~(1ull << number);
            return number;
        }
    }
    return -1;
}

bool ckd_stretch_is_open(int number, uint64_t *start, uint64_t *end)
{
    close_others();
    *start = stretches[number].start;
    *end = stretches[number].end;
    return open_bits >> number & 1;
}
