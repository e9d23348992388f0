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
 * has gone and it is empty, another thread takes it over.
 */
struct cp_trace_ring {
    struct cp_trace_ring *_Nullable next; /* never changes once it is listed */
    uint64_t capacity;      /* events, a power of two; never changes */
    uint64_t read;          /* events taken out, ever; trace mutex */
    uint64_t padding[5];
    uint64_t written;       /* atomic: events put in, ever; its thread writes */
    uint32_t owned;         /* atomic: 1 while its thread lives */
    uint32_t unused[13];
};

struct cp_trace_words {
    cp_mutex mutex;         /* readers of rings; making rings */
    uint32_t ring_count;    /* trace mutex */
    uint64_t ring_size;     /* atomic: events in rings made from now on */
    uint64_t lost;          /* atomic: events overwritten, or without a ring */
    uint64_t rings;         /* atomic: address of the newest ring, or 0; trace mutex writes */
    uint64_t padding[4];
    uint64_t count;         /* atomic: events ever; its own cache line */
    uint64_t padding2[7];
};

extern struct cp_trace_words cp_trace_data;

static inline cp_mutex *cp_trace_mutex(void) { return &cp_trace_data.mutex; }
static inline uint32_t *cp_trace_ring_count(void) { return &cp_trace_data.ring_count; }
static inline uint64_t *cp_trace_ring_size(void) { return &cp_trace_data.ring_size; }
static inline uint64_t *cp_trace_lost(void) { return &cp_trace_data.lost; }
static inline uint64_t *cp_trace_rings(void) { return &cp_trace_data.rings; }
static inline uint64_t *cp_trace_count(void) { return &cp_trace_data.count; }

#define CP_FIELD(name, type, field_type, field) \
    static inline field_type *name(struct type *p) { return &p->field; }

CP_FIELD(cp_ring_read, cp_trace_ring, uint64_t, read)
CP_FIELD(cp_ring_written, cp_trace_ring, uint64_t, written)
CP_FIELD(cp_ring_owned, cp_trace_ring, uint32_t, owned)

/* Word `index` of the event in a place of the ring. */
static inline uint64_t *cp_ring_word(struct cp_trace_ring *r, uint64_t place, uint64_t index)
{
    return (uint64_t *)(r + 1) + place * (sizeof(struct tdpmmu_trace_event) / 8) + index;
}

/* Make it the calling thread's ring until that exits; false if that cannot be had. */
bool cp_ring_adopt(struct cp_trace_ring *ring);

/* The calling thread's number, and the CPU it runs on. */
int32_t cp_cached_tid(void);
uint16_t cp_current_cpu(void);

/* The event's name; the head of a file of events. */
const char *cp_trace_event_name(int id);
struct tdpmmu_trace_file cp_trace_file_header(void);

/* write() all of it: 0 or a positive errno. */
int cp_write_all(int fd, const void *bytes, size_t count);

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
