/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who waits for SRCU's readers sleeps without a limit of time: the last reader that leaves
 * wakes whoever must look.
 *
 * Two readers are inside.  A thread synchronizes; the callback thread has a callback of the
 * same grace period to run; either may be the one that finds the domain drained.  NO_WORKER:
 * there is no such thread, and no callback.  NOTES: the readers have notes instead of counts, and no
 * fence as they leave; then the waiter runs a membarrier when it sets its bit.
 *
 * good:
 * good: FENCES
 * good: NO_WORKER
 * good: NOTES NO_WORKER
 * long: NOTES
 * broken: NO_WAITING_FENCE   isQuiet() looks again before leavers can see that it waits
 * broken: NO_SECOND_LOOK     isQuiet() asks leavers to wake it and does not look again
 * broken: ASKS_AFTERWARDS    isQuiet() looks twice, and then asks
 * broken: LEAVES_NOT_FULL    a leaver looks who waits before its count can be seen
 * broken: EVENT_READ_LATE    a waiter reads the event after it looked
 * broken: NO_WORKER NO_EVENT  a leaver wakes the sleepers without changing the event
 * broken: NO_NUDGE           a leaver does not wake the callback thread
 * broken: NUDGE_BEFORE_WORK  a leaver wakes it first and says then what there is to do
 * broken: FENCES WORK_NOT_FULL  a leaver looks whether it sleeps before the word can be seen
 * broken: CLEARS_FOR_ONE     the first leaver wakes the waiter only
 * broken: NOTES NO_WAITING_FENCE  as above; so it needs a fence in the leavers
 * broken: NOTES NO_WORKER OWN_FENCE_ONLY  it runs a fence of its own, and none in the leavers
 * broken: NOTES NO_WORKER LEAVES_NOT_FULL  a leaver looks who waits before its note goes
 */
#define THREADS 4       /* the callback thread, a waiter, two readers */
#define WORKER 0
#define WAITER 1
#define VARS 7
#define LEFT 0          /* the counts of those that left */
#define WAITING 1       /* cp_srcu_words.waiting */
#define EVENT 2         /* cp_srcu_words.event */
#define WORK 3          /* cp_srcu_words.work */
#define STATE 4         /* cp_call_words.worker */
#define NOTE(t) (3 + (t)) /* cp_reader_notes.srcu, of 2 and 3 */
#define DEPTH 2
#include "store_buffer.h"
#include "futex.h"

#define AWAKE 0
#define ASLEEP 1
#define NONE 2
#define ENTERED 2

bool mutex;             /* SRCU.mutex */
bool over, ran;         /* the grace period, the callback */
byte sleepers;

/* isDrained */
inline see_readers()
{
#ifdef NOTES
    quiet = mem[NOTE(2)] == 0;
    quiet = quiet && mem[NOTE(3)] == 0
#else
    quiet = mem[LEFT] == ENTERED
#endif
}

/* isQuiet, and what follows in advance: the mutex held. */
inline advance(t)
{
    if
    :: over
    :: else ->
        see_readers();
        if
        :: quiet
        :: else ->
#ifdef ASKS_AFTERWARDS
            see_readers();
            store(t, WAITING, 1);
            fence(t)
#else
            /* askLeavers: the bit, and a membarrier if it was not there */
#ifdef NOTES
            d_step { EMPTY(t) -> was_set = mem[WAITING]; mem[WAITING] = 1 };
#else
            store(t, WAITING, 1);
#endif
#ifndef NO_WAITING_FENCE
#if defined(NOTES) && !defined(OWN_FENCE_ONLY)
            if
            :: was_set -> fence(t)
            :: else -> membarrier(t, next)
            fi;
#else
            fence(t);
#endif
#endif
            was_set = false;
#ifdef NO_SECOND_LOOK
            skip
#else
            see_readers()
#endif
#endif
        fi;
        if
        :: quiet ->
            over = true;
            store(t, WORK, 1); /* ripen: SRCUWork.setLater */
            changed(t)
        :: else
        fi;
        quiet = false
    fi
}

/* SRCU.changed */
inline changed(t)
{
    atomic { EMPTY(t) -> mem[EVENT]++ };
    if
    :: sleepers != 0 -> futex_wake(t, WAITER)
    :: else
    fi
}

/* waitUntil, as synchronize_srcu() uses it. */
proctype waiter()
{
    byte seen, next;
    bool quiet, was_set;

    lock(WAITER, mutex);
    do
    :: true ->
#ifndef EVENT_READ_LATE
        load(WAITER, EVENT, seen);
#endif
        advance(WAITER);
        if
        :: over -> break
        :: else
        fi;
        sleepers++;
        unlock(WAITER, mutex);
#ifdef EVENT_READ_LATE
        load(WAITER, EVENT, seen);
#endif
        futex_wait(WAITER, EVENT, seen);
        STANDS(WAITER);
        lock(WAITER, mutex);
        sleepers--
    od;
    unlock(WAITER, mutex)
end_returned:
    false
}

/* SRCUService.run, in runOnce. */
inline serve()
{
    do
    :: atomic { EMPTY(WORKER) ->
            if
            :: mem[WORK] != 0 -> mem[WORK] = 0
            :: else -> break
            fi }
        lock(WORKER, mutex);
        advance(WORKER);
        if
        :: over && !ran -> ran = true; changed(WORKER)
        :: else
        fi;
        unlock(WORKER, mutex)
    od
}

proctype worker()
{
    byte k, next;
    bool quiet, did, was_set;

main:
    serve();
    store(WORKER, STATE, ASLEEP);
#ifdef FENCES
    fence(WORKER);
#else
    membarrier(WORKER, k);
#endif
look:
    if
    :: mem[WORK] != 0 -> compare_exchange(WORKER, STATE, ASLEEP, AWAKE, did)
    :: else
    fi;
    did = false;
    if
    :: mem[STATE] != ASLEEP -> goto main
    :: else
    fi;
    futex_wait(WORKER, STATE, ASLEEP);
end_asleep:
    STANDS(WORKER);
    goto look
}

/* WorkerWord.nudge */
inline nudge(t)
{
    load(t, STATE, seen);
    if
    :: seen == ASLEEP ->
        compare_exchange(t, STATE, ASLEEP, AWAKE, did);
        if
        :: did -> futex_wake(t, WORKER)
        :: else
        fi
    :: else
    fi
}

/* SRCU.readerLeft */
inline reader_left(t)
{
    atomic { EMPTY(t) -> seen = mem[WAITING]; mem[WAITING] = 0 };
    if
    :: seen != 0 ->
#ifndef NO_EVENT
        atomic { EMPTY(t) -> mem[EVENT]++ };
#endif
        futex_wake(t, WAITER);
#if defined(CLEARS_FOR_ONE)
        skip
#elif defined(NO_NUDGE)
        store(t, WORK, 1)
#elif defined(NUDGE_BEFORE_WORK)
        nudge(t);
        store(t, WORK, 1)
#else
        store(t, WORK, 1);
#ifndef WORK_NOT_FULL
        fence(t);
#endif
        nudge(t)
#endif
    :: else
    fi
}

proctype reader(byte t)
{
    byte seen;
    bool did;

#if defined(NOTES) && defined(LEAVES_NOT_FULL)
    load(t, WAITING, seen);
    store(t, NOTE(t), 0);
#elif defined(NOTES)
    store(t, NOTE(t), 0);
    load(t, WAITING, seen);
#elif defined(LEAVES_NOT_FULL)
    d_step { mem[WAITING] == 0 -> seen = 0 } /* the load overtakes the count */
    atomic { EMPTY(t) -> mem[LEFT]++ };
#else
    atomic { EMPTY(t) -> mem[LEFT]++ };
    load(t, WAITING, seen);
#endif
    if
    :: seen != 0 -> reader_left(t)
    :: else
    fi;
    seen = 0;
    did = false
}

/* Nothing can go on any more. */
active proctype checker()
{
    timeout;
    assert(over && ran)
}

init {
    atomic {
#ifdef NOTES
        mem[NOTE(2)] = 1;
        mem[NOTE(3)] = 1;
#endif
#ifdef NO_WORKER
        ran = true;
        mem[STATE] = NONE;
#else
        mem[WORK] = 1; /* call_srcu() has said so, and the worker is up */
        run worker();
#endif
        run memory(0); run memory(1); run memory(2); run memory(3);
        run waiter();
        run reader(2); run reader(3)
    }
}
