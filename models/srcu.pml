/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SRCU's grace periods: two indexes, drained one after the other, by counts of readers that
 * came in and went out in two shards.
 *
 * Two readers, of which one has two sections, and two updaters that unlink an object each
 * and synchronize; whoever has the mutex pushes the grace period on.  Wake-ups are in
 * srcu_wake.pml.
 *
 * NOTES: each section is noted in the reader's own memory, as a VM's faults are, or counted.
 *
 * The fence after the flip is for machines that let loads change places: x86 does without.
 *
 * good:
 * good: NO_FLIP_FENCE
 * long: NOTES
 * broken: SUMS_SWAPPED      isDrained() counts who came in before it counts who left
 * broken: NO_DRAIN_OTHER    a grace period does not drain the other index before the flip
 * broken: NO_DRAIN_OLD      it does not drain the old one after the flip
 * broken: NO_FLIP           the index stays
 * broken: NUMBER_ALWAYS_NEXT  who comes while a grace period runs is content with that one
 * broken: READER_NOT_FULL   a reader's load overtakes its count
 * broken: LEAVES_EARLY      a reader counts itself out, and uses the object once more
 * broken: ONE_SHARD         isDrained() looks at one shard of those that came in
 * broken: NOTES NO_START_FENCE  a grace period begins without a fence in the readers
 * broken: NOTES NOTE_LATE   a reader notes itself after it loaded
 * broken: NOTES NOTES_UNSEEN  isDrained() looks at the counts only
 * broken: NOTES NO_DRAIN_OTHER  as above
 * broken: NOTES LEAVES_EARLY  a reader's note goes, and it uses the object once more
 */
#define READERS 2
#define THREADS 4       /* readers 0 and 1, updaters 2 and 3 */
#ifdef NOTES
#define VARS 13
#else
#define VARS 11
#endif
#define INDEX 0         /* cp_srcu.index */
#define PTR(t) (1 + (t) - READERS) /* 0: leads to the old object */
#define ENTERED(which, shard) (3 + 2 * (which) + (shard)) /* cp_srcu_shard.entered */
#define LEFT(which, shard) (7 + 2 * (which) + (shard))    /* cp_srcu_shard.left */
#define NOTE(t) (11 + (t)) /* cp_reader_notes.srcu; 0: none, else which + 1 */
#define DEPTH 2
#include "store_buffer.h"

#define REST 0
#define OTHER 1         /* draining the other index */
#define OLD 2           /* draining the old one */

bool mutex;             /* SRCU.mutex */
byte phase, completed, wanted;
bool freed[THREADS];

/* SRCUDomain.readLock by readByNote, a use, leaveNoted */
inline noted_section(t)
{
#ifdef NOTE_LATE
    load(t, PTR(object), value);
    store(t, NOTE(t), which + 1);
#else
    store(t, NOTE(t), which + 1);
    load(t, PTR(object), value);
#endif
#ifdef LEAVES_EARLY
    store(t, NOTE(t), 0);
#endif
    assert(value != 0 || !freed[object]);
#ifndef LEAVES_EARLY
    store(t, NOTE(t), 0);
#endif
    value = 0; which = 0; object = 0
}

/* SRCUDomain.readLock, a use, leave */
inline section(t)
{
    load(t, INDEX, which);
    which = which & 1;
    if
    :: object = READERS
    :: object = READERS + 1
    fi;
#ifdef NOTES
    if
    :: noted_section(t)
    :: counted_section(t)
    fi
#else
    counted_section(t)
#endif
}

inline counted_section(t)
{
#ifdef READER_NOT_FULL
    load(t, PTR(object), value);
#endif
    atomic { EMPTY(t) -> mem[ENTERED(which, t & 1)]++ };
#ifndef READER_NOT_FULL
    load(t, PTR(object), value);
#endif
#ifdef LEAVES_EARLY
    atomic { EMPTY(t) -> mem[LEFT(which, t & 1)]++ };
#endif
    assert(value != 0 || !freed[object]);
#ifndef LEAVES_EARLY
    atomic { EMPTY(t) -> mem[LEFT(which, t & 1)]++ };
#endif
    value = 0; which = 0; object = 0
}

proctype reader(byte t)
{
    byte which, value, object;

    section(t);
    if
    :: t == 0 -> section(t)
    :: else
    fi
}

inline sum_left(which)
{
    outside = mem[LEFT(which, 0)];
    outside = outside + mem[LEFT(which, 1)]
}

inline sum_entered(which)
{
    inside = mem[ENTERED(which, 0)];
#ifndef ONE_SHARD
    inside = inside + mem[ENTERED(which, 1)]
#endif
}

/* isDrained, by isQuiet */
inline look(which)
{
#ifdef SUMS_SWAPPED
    sum_entered(which);
    sum_left(which);
#else
    sum_left(which);
    sum_entered(which);
#endif
#if defined(NOTES) && !defined(NOTES_UNSEEN)
    quiet = inside == outside && mem[NOTE(0)] != (which) + 1 && mem[NOTE(1)] != (which) + 1;
#else
    quiet = inside == outside;
#endif
    inside = 0; outside = 0
}

#define IN(which) (mem[ENTERED(which, 0)] + mem[ENTERED(which, 1)])
#define OUT(which) (mem[LEFT(which, 0)] + mem[LEFT(which, 1)])
#define OTHER_INDEX ((mem[INDEX] & 1) ^ 1)

/* The mutex held. */
inline advance(t)
{
    quiet = true;
    do
    :: phase == REST && completed >= wanted -> break
    :: phase == REST && completed < wanted ->
#if defined(NOTES) && !defined(NO_START_FENCE)
        membarrier(t, next);
#endif
        phase = OTHER
    :: phase == OTHER ->
        load(t, INDEX, now);
#ifndef NO_DRAIN_OTHER
        look((now & 1) ^ 1);
#endif
        if
        :: !quiet -> break
        :: else
        fi;
#ifndef NO_FLIP
        store(t, INDEX, now + 1);
#endif
#ifndef NO_FLIP_FENCE
        fence(t);
#endif
        phase = OLD
    :: phase == OLD ->
        load(t, INDEX, now);
#ifndef NO_DRAIN_OLD
        look((now & 1) ^ 1);
#endif
        if
        :: !quiet -> break
        :: else
        fi;
        completed++;
        phase = REST
    od;
    quiet = false; now = 0
}

/* want, and synchronize's wait */
inline synchronize(t)
{
    lock(t, mutex);
#ifdef NUMBER_ALWAYS_NEXT
    number = completed + 1;
#else
    number = completed + (phase == REST -> 1 : 2);
#endif
    if
    :: wanted < number -> wanted = number
    :: else
    fi;
    advance(t);
    do
    :: completed >= number -> break
    :: else ->
        unlock(t, mutex);
#ifdef NOTES
        completed >= number || (IN(OTHER_INDEX) == OUT(OTHER_INDEX) &&
            mem[NOTE(0)] != OTHER_INDEX + 1 && mem[NOTE(1)] != OTHER_INDEX + 1);
#else
        completed >= number || IN(OTHER_INDEX) == OUT(OTHER_INDEX);
#endif
        lock(t, mutex);
        advance(t)
    od;
    unlock(t, mutex)
}

proctype updater(byte t)
{
    byte number, now, inside, outside, next;
    bool quiet;

    store(t, PTR(t), 1);
    synchronize(t);
    freed[t] = true
}

init {
    atomic {
#ifdef NOTES
        run memory(0); run memory(1);
#endif
        run memory(2); run memory(3); /* readers that count store nothing plainly */
        run reader(0); run reader(1);
        run updater(2); run updater(3)
    }
}
