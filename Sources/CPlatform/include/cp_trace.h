/* SPDX-License-Identifier: GPL-2.0-only */
/* Trace rings. */
#ifndef CP_TRACE_H
#define CP_TRACE_H

#include <stddef.h>

#include "../../../include/tdpmmu.h"
#include "cp_shared.h"

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/*
 * A thread's ring of trace events, which follow it in memory.  Never freed: when its thread
 * has gone and it is empty, another thread takes it over.  What its thread writes stands on a
 * cache line of its own.
 */
struct cp_trace_ring {
    struct cp_trace_ring *_Nullable next; /* never changes once it is listed */
    uint64_t capacity;      /* events, a power of two; never changes */
    uint64_t read;          /* events taken out, ever; trace mutex */
    uint64_t padding[5];
    cp_shared64 written;    /* events put in, ever; its thread writes */
    cp_shared32 owned;      /* 1 while its thread lives */
    uint32_t unused[13];
};

CP_AT(trace_ring, read)
CP_AT(trace_ring, written)
CP_AT(trace_ring, owned)

/* Events that could not be written to a file. */
#define CP_TRACE_BATCH 512
struct cp_trace_batch {
    struct cp_trace_batch *_Nullable next; /* trace mutex */
    uint32_t first, end;    /* those from first on are still to be read; trace mutex */
    struct tdpmmu_trace_event events[CP_TRACE_BATCH];
};

CP_AT(trace_batch, next)
CP_AT_FIRST(trace_batch, events)

/* What all rings share; what every event touches stands on a cache line of its own. */
struct cp_trace_words {
    cp_mutex mutex;         /* readers of rings; making rings */
    uint32_t ring_count;    /* trace mutex */
    cp_shared64 ring_size;  /* events in rings made from now on */
    cp_shared64 lost;       /* events overwritten, or without a ring */
    cp_shared_word rings;   /* the newest ring; trace mutex writes */
    struct cp_trace_batch *_Nullable unwritten; /* the oldest first; trace mutex */
    uint64_t padding[3];
    cp_shared64 count;      /* events ever */
    uint64_t padding2[7];
};

extern struct cp_trace_words cp_trace_data;

CP_THE(trace, cp_trace_data, mutex)
CP_THE(trace, cp_trace_data, ring_count)
CP_THE(trace, cp_trace_data, ring_size)
CP_THE(trace, cp_trace_data, lost)
CP_THE(trace, cp_trace_data, rings)
CP_THE(trace, cp_trace_data, unwritten)
CP_THE(trace, cp_trace_data, count)

/* Word `index` of the event in a place of the ring. */
static inline cp_shared64 *cp_ring_word(struct cp_trace_ring *r, uint64_t place, uint64_t index)
{
    return (cp_shared64 *)(r + 1) + place * (sizeof(struct tdpmmu_trace_event) / 8) + index;
}

/* Make it the calling thread's ring until that exits; false if that cannot be had. */
bool cp_ring_adopt(struct cp_trace_ring *ring);

/* The calling thread's number, and the CPU it runs on. */
int32_t cp_cached_tid(void);
uint16_t cp_current_cpu(void);

/* The event's name; the head of a file of events. */
const char *cp_trace_event_name(int id);
struct tdpmmu_trace_file cp_trace_file_header(void);

/* write() all of it: 0 or a positive errno; *written bytes are in the file, whichever. */
int cp_write_all(int fd, const void *bytes, size_t count, ptrdiff_t *written);

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
