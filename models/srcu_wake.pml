/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who waits for SRCU's readers sleeps without a limit of time: the last reader that leaves
 * wakes whoever must look.
 *
 * Two readers are inside.  A thread synchronizes; the callback thread has a callback of the
 * same grace period to run; either may be the one that finds the domain drained.  NO_WORKER:
 * there is no such thread, and no callback.
 *
 * good:
 * good: FENCES
 * good: NO_WORKER
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
 */
#define THREADS 4       /* the callback thread, a waiter, two readers */
#define WORKER 0
#define WAITER 1
#define VARS 5
#define LEFT 0          /* the counts of those that left */
#define WAITING 1       /* cp_srcu_words.waiting */
#define EVENT 2         /* cp_srcu_words.event */
#define WORK 3          /* cp_srcu_words.work */
#define STATE 4         /* cp_call_words.worker */
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

/* isQuiet, and what follows in advance: the mutex held. */
inline advance(t)
{
    if
    :: over
    :: else ->
        quiet = mem[LEFT] == ENTERED;
        if
        :: quiet
        :: else ->
#ifdef ASKS_AFTERWARDS
            quiet = mem[LEFT] == ENTERED;
            store(t, WAITING, 1);
            fence(t)
#else
            store(t, WAITING, 1);
#ifndef NO_WAITING_FENCE
            fence(t);
#endif
#ifdef NO_SECOND_LOOK
            skip
#else
            quiet = mem[LEFT] == ENTERED
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
    byte seen;
    bool quiet;

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
    byte k;
    bool quiet, did;

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

#ifdef LEAVES_NOT_FULL
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
