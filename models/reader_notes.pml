/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A reader-writer lock whose readers note in their own memory what they hold.  A writer that
 * finds the bias waits for their notes, at last asleep without a limit of time; the reader that
 * leaves wakes it.
 *
 * Two readers, of which one comes twice, and one joins the list of threads as it first comes; each
 * may count itself in as well, and set the bias again.  A writer that comes twice.  The queue of
 * waiters is not here: who cannot have the lock stands still until he can.
 *
 * good:
 * good: WRITES_ONCE
 * broken: NO_MEMBARRIER      a writer looks at the notes without a fence in the readers
 * broken: FENCE_TOO_EARLY    it runs that fence before it has closed the lock
 * broken: NO_WAIT            it takes the bias away and waits for no note
 * broken: NO_SECOND_LOOK     a reader looks at the lock's word and notes itself after it
 * broken: JOINS_LATE         a thread makes its first note, and joins the list then
 * broken: LEAVES_EARLY       a reader's note goes, and it reads once more
 * broken: WRITES_ONCE NO_ASKING_FENCE  the writer asks to be woken, and looks without a fence between
 * broken: WRITES_ONCE NO_LAST_LOOK  the writer asks to be woken, and does not look again
 * broken: WRITES_ONCE EVENT_READ_LATE  the writer reads the event after it looked
 * broken: WRITES_ONCE NO_EVENT  a leaver wakes the sleepers without changing the event
 * broken: WRITES_ONCE GIVES_UP_SILENTLY  a reader that finds the lock closed leaves as one that was in
 * broken: WRITES_ONCE LOOKS_BEFORE  a leaver looks whether it is wanted before its note goes
 */
#define THREADS 3       /* readers 0 and 1, a writer */
#define WRITER 2
#define VARS 8
#define STATE 0         /* tdpmmu_rwlock.state */
#define EVENT 1         /* cp_reader_list.event */
#define NOTE(t) (2 + (t))   /* cp_reader_notes.lock */
#define WANTED(t) (4 + (t)) /* cp_reader_notes.wanted */
#define ONE 6           /* what the lock protects: equal whenever it is free */
#define OTHER 7
#define DEPTH 2
#include "store_buffer.h"
#include "futex.h"

#define BIAS 1
#define WRITE 2
#define READER 4        /* each that counted itself */

#define IS_OPEN(state) (((state) & (BIAS | WRITE)) == BIAS)

bool mutex;             /* of the list */
bool listed[THREADS];
bool done[THREADS];

/* ReaderNotes.join */
inline join(t)
{
    if
    :: !listed[t] ->
        lock(t, mutex);
        listed[t] = true;
        unlock(t, mutex)
    :: else
    fi
}

/* RWLock.readByNote */
inline read_by_note(t)
{
    load(t, STATE, seen);
    noted = IS_OPEN(seen);
    if
    :: noted ->
        store(t, NOTE(t), 1);
#ifndef NO_SECOND_LOOK
        load(t, STATE, seen);
        if
        :: !IS_OPEN(seen) -> noted = false; give_up(t)
        :: else
        fi
#endif
    :: else
    fi;
    seen = 0
}

/* ReaderNotes.leaveLock */
inline leave_note(t)
{
#ifdef LOOKS_BEFORE
    load(t, WANTED(t), seen);
    store(t, NOTE(t), 0);
#else
    store(t, NOTE(t), 0);
    load(t, WANTED(t), seen);
#endif
    if
    :: seen != 0 -> wake(t)
    :: else
    fi;
    seen = 0
}

/* ReaderNotes.wake */
inline wake(t)
{
    store(t, WANTED(t), 0);
#ifndef NO_EVENT
    atomic { EMPTY(t) -> mem[EVENT]++ };
#endif
    futex_wake(t, WRITER)
}

/* ReaderNotes.giveUpLock */
inline give_up(t)
{
#ifdef GIVES_UP_SILENTLY
    leave_note(t)
#else
    store(t, NOTE(t), 0);
    wake(t)
#endif
}

inline use(t)
{
    load(t, ONE, one);
    load(t, OTHER, other);
    assert(one == other);
    one = 0; other = 0
}

inline section(t)
{
#ifndef JOINS_LATE
    join(t);
#endif
    read_by_note(t);
#ifdef JOINS_LATE
    join(t);
#endif
    if
    :: noted ->
#ifdef LEAVES_EARLY
        leave_note(t);
        use(t)
#else
        use(t);
        leave_note(t)
#endif
    :: else ->
        atomic { EMPTY(t) && (mem[STATE] & WRITE) == 0 -> mem[STATE] = mem[STATE] + READER };
        if /* ReaderBias.set, now or another time */
        :: atomic { EMPTY(t) -> mem[STATE] = mem[STATE] | BIAS }
        :: true
        fi;
        use(t);
        atomic { EMPTY(t) -> mem[STATE] = mem[STATE] - READER }
    fi;
    noted = false
}

proctype reader(byte t)
{
    byte seen, one, other;
    bool noted, came;

again:
    section(t);
    if
    :: t == 0 && !came -> came = true; goto again
    :: else
    fi;
    done[t] = true
}

/* ReaderNotes.heavyFence */
inline heavy_fence()
{
    lock(WRITER, mutex);
    others = listed[0] || listed[1];
    unlock(WRITER, mutex);
    if
    :: others -> membarrier(WRITER, next)
    :: else -> fence(WRITER)
    fi;
    others = false
}

/* ReaderNotes.isThere */
inline look(asking)
{
    lock(WRITER, mutex);
    there = false;
    next = 0;
    do
    :: next < WRITER ->
        if
        :: listed[next] && mem[NOTE(next)] != 0 ->
            there = true;
            if
            :: asking -> store(WRITER, WANTED(next), 1)
            :: else
            fi
        :: else
        fi;
        next++
    :: else -> break
    od;
    next = 0;
    unlock(WRITER, mutex)
}

/* ReaderNotes.waitUntilUnread */
inline wait_until_unread()
{
#if !defined(NO_MEMBARRIER) && !defined(FENCE_TOO_EARLY)
    heavy_fence();
#endif
    look(true);
    if
    :: !there -> goto unread
    :: else
    fi;
#ifdef NO_LAST_LOOK
    load(WRITER, EVENT, seen);
    futex_wait(WRITER, EVENT, seen);
    STANDS(WRITER);
#else
#ifndef NO_ASKING_FENCE
    heavy_fence();
#endif
    do
    :: true ->
#ifndef EVENT_READ_LATE
        load(WRITER, EVENT, seen);
#endif
        look(false);
        if
        :: !there -> break
        :: else
        fi;
#ifdef EVENT_READ_LATE
        load(WRITER, EVENT, seen);
#endif
        futex_wait(WRITER, EVENT, seen);
        STANDS(WRITER)
    od;
#endif
unread:
    there = false; seen = 0
}

proctype writer()
{
    byte next, seen, round;
    bool others, there;

again:
#ifdef FENCE_TOO_EARLY
    heavy_fence();
#endif
    /* RWLockWord.tryWrite */
    atomic { EMPTY(WRITER) && (mem[STATE] & ~BIAS) == 0 -> mem[STATE] = mem[STATE] | WRITE };
    if
    :: mem[STATE] & BIAS ->
#ifndef NO_WAIT
        wait_until_unread();
#endif
        atomic { EMPTY(WRITER) -> mem[STATE] = mem[STATE] & ~BIAS }
    :: else
    fi;
    store(WRITER, ONE, round + 1);
    store(WRITER, OTHER, round + 1);
    atomic { EMPTY(WRITER) -> assert(mem[STATE] == WRITE); mem[STATE] = 0 };
#ifndef WRITES_ONCE
    round++;
    if
    :: round < 2 -> goto again
    :: else
    fi;
#endif
    done[WRITER] = true
}

/* Nothing can go on any more. */
active proctype checker()
{
    timeout;
    assert(done[0] && done[1] && done[WRITER])
}

init {
    atomic {
        listed[0] = true;
        if
        :: mem[STATE] = BIAS
        :: true
        fi;
        run memory(0); run memory(1); run memory(2);
        run reader(0); run reader(1); run writer()
    }
}
