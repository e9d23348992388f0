/* SPDX-License-Identifier: GPL-2.0-only */
#define _GNU_SOURCE
#include "cp_memory.h"
#include "cp_fail.h"
#ifdef TDPMMU_SCHEDULE_POINTS
#include "cschedule.h"
#endif

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * The kernel's calls themselves: a program may have functions of its own in front of the C library's, as the device
 * of docs/KVM.md has, and those take locks that are outside of the ones held here.
 */
static void unmap(void *address, size_t size)
{
    syscall(SYS_munmap, address, size);
}

static void advise(void *address, size_t size, int advice)
{
    syscall(SYS_madvise, address, size, advice);
}

void *cp_reserve_region(size_t size, size_t align)
{
    /* mmap knows no alignment: take more, give the ragged ends back. */
    size_t total = size + align;
    void *hint = NULL;
#ifdef TDPMMU_SCHEDULE_POINTS
    hint = (void *)0x6b0000000000; /* the same in each process, so that a schedule finds the same buckets */
#endif
    long mapped = cp_fails(TDPMMU_FAIL_MMAP)
        ? -1 : syscall(SYS_mmap, hint, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
    if (mapped == -1)
        return NULL;
    char *raw = (char *)mapped;
    char *start = (char *)(((uintptr_t)raw + align - 1) & ~(uintptr_t)(align - 1));
    if (start > raw)
        unmap(raw, (size_t)(start - raw));
    char *end = start + size;
    if (raw + total > end)
        unmap(end, (size_t)(raw + total - end));
    /* gdb would write all of it to a core file. */
    advise(start, size, MADV_DONTDUMP);
    return start;
}

bool cp_commit_region(void *address, size_t size, bool huge)
{
    if (cp_fails(TDPMMU_FAIL_MMAP) || syscall(SYS_mprotect, address, size, PROT_READ | PROT_WRITE) != 0)
        return false;
#ifdef TDPMMU_SCHEDULE_POINTS
    cs_region_is_used(address, size);
    huge = false;
#endif
    advise(address, size, MADV_DODUMP);
    /* Advice only: page tables work in small pages as well, and who always has huge ones loses nothing. */
    advise(address, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return true;
}

void cp_discard_region(void *address, size_t size)
{
#ifdef TDPMMU_SCHEDULE_POINTS
    if (cs_is_scheduled()) {
        memset(address, 0, size); /* which the explorer sees */
        return;
    }
#endif
    /* Advice only: memory that stays is used again as it is. */
    advise(address, size, MADV_DONTNEED);
}

void *cp_alloc_zeroed(size_t size)
{
    void *memory = NULL;
    if (cp_fails(TDPMMU_FAIL_ALLOCATION) || posix_memalign(&memory, 64, size) != 0)
        return NULL;
    return memset(memory, 0, size);
}

void cp_free_zeroed(void *memory)
{
    free(memory);
}
