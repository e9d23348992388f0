/* SPDX-License-Identifier: GPL-2.0-only */
/* Address space for page tables: reserved once, made usable block by block. */
#ifndef CP_MEMORY_H
#define CP_MEMORY_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

/* Reserve size bytes of inaccessible address space, aligned to align; NULL if refused. */
void *cp_reserve_region(size_t size, size_t align);

/* Make [address, address + size) readable, writable and zero; huge: in huge pages if there are any, else in none. */
bool cp_commit_region(void *address, size_t size, bool huge);

/* Give the memory of [address, address + size) back to the system: it stays usable, and is zero. */
void cp_discard_region(void *address, size_t size);

/* Zeroed memory aligned to a cache line, or NULL; cp_free_zeroed() frees it. */
void *cp_alloc_zeroed(size_t size);
void cp_free_zeroed(void *memory);

#pragma GCC visibility pop

#endif
