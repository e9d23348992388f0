// SPDX-License-Identifier: GPL-2.0-only
// Which stretches of memory the program wants in huge pages: HugeTLB, and transparent ones by madvise().  The
// host is taken to do as it is told.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "ckd_host.h"

static struct stretch {
    uint64_t start, end;
    uint32_t level;
} *stretches;
static size_t count, room;
static bool any; // written under the lock, read without
static pthread_rwlock_t stretches_lock = PTHREAD_RWLOCK_INITIALIZER;

static void add(uint64_t start, uint64_t end, uint32_t level)
{
    if (start >= end)
        return;
    if (count == room) {
        size_t wanted = room ? 2 * room : 64;
        struct stretch *larger = realloc(stretches, wanted * sizeof *larger);
        if (!larger)
            return; // small pages are always right
        stretches = larger;
        room = wanted;
    }
    stretches[count++] = (struct stretch){start, end, level};
}

void ckd_set_host_level(uint64_t start, uint64_t end, uint32_t level)
{
    pthread_rwlock_wrlock(&stretches_lock);
    size_t before = count;
    for (size_t i = 0; i < before;) {
        struct stretch old = stretches[i];
        if (old.end <= start || end <= old.start) {
            i++;
            continue;
        }
        // What lies on either side stays.
        stretches[i] = stretches[--before];
        stretches[before] = stretches[--count];
        add(old.start, start, old.level);
        add(end, old.end, old.level);
    }
    if (level > 1)
        add(start, end, level);
    __atomic_store_n(&any, count != 0, __ATOMIC_RELAXED);
    pthread_rwlock_unlock(&stretches_lock);
}

// A huge page lies whole in its stretch.
static uint32_t level_in(const struct stretch *stretch, uint64_t address)
{
    for (uint32_t level = stretch->level; level > 1; level--) {
        uint64_t size = 4096ull << 9 * (level - 1), page = address & ~(size - 1);
        if (page >= stretch->start && page + size <= stretch->end)
            return level;
    }
    return 1;
}

uint32_t ckd_host_level(uint64_t address)
{
    uint32_t level = 1;
    // Most programs ask for none.  One that is asked for at this moment comes with the next fault.
    if (!__atomic_load_n(&any, __ATOMIC_RELAXED))
        return 1;
    pthread_rwlock_rdlock(&stretches_lock);
    for (size_t i = 0; i < count && level == 1; i++)
        if (address >= stretches[i].start && address < stretches[i].end)
            level = level_in(&stretches[i], address);
    pthread_rwlock_unlock(&stretches_lock);
    return level;
}
