/* SPDX-License-Identifier: GPL-2.0-only */
#define _GNU_SOURCE
#include "cp_memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *cp_reserve_region(size_t size, size_t align)
{
    /* mmap knows no alignment: take more, give the ragged ends back. */
    size_t total = size + align;
    char *raw = mmap(NULL, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    char *start = (char *)(((uintptr_t)raw + align - 1) & ~(uintptr_t)(align - 1));
    if (start > raw)
        munmap(raw, (size_t)(start - raw));
    char *end = start + size;
    if (raw + total > end)
        munmap(end, (size_t)(raw + total - end));
    return start;
}

bool cp_commit_region(void *address, size_t size, bool huge)
{
    if (mprotect(address, size, PROT_READ | PROT_WRITE) != 0)
        return false;
    /* Advice only: page tables work in small pages as well, and who always has huge ones loses nothing. */
    madvise(address, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return true;
}

void cp_discard_region(void *address, size_t size)
{
    /* Advice only: memory that stays is used again as it is. */
    madvise(address, size, MADV_DONTNEED);
}

void *cp_alloc_zeroed(size_t size)
{
    void *memory = NULL;
    if (posix_memalign(&memory, 64, size) != 0)
        return NULL;
    return memset(memory, 0, size);
}

void cp_free_zeroed(void *memory)
{
    free(memory);
}
