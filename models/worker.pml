/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The callback thread goes to sleep while others queue, ask for a barrier, or poll: nobody is
 * left waiting, no callback lies about, and a barrier returns when the caller's have run.
 *
 * Two threads: each queues a callback and then waits by a barrier, or polls; the first queues
 * another.  Which queue a callback lies in and how it is taken is in queue.pml.
 *
 * good:
 * good: FENCES
 * broken: NO_SLEEP_FENCE           sleep() looks at the queues before others can see `asleep`
 * broken: FENCES NO_ENQUEUE_FENCE  call_rcu() looks at the word before its callback can be seen
 * broken: LOOKS_BEFORE_ASLEEP      sleep() looks for work, and then says `asleep`
 * broken: LOOKS_ONCE               sleep() does not look for work after it said `asleep`
 * broken: NO_FUTEX_WAKE            wake() changes the word and wakes nobody
 * broken: ANSWERS_BEFORE_DONE      runOnce() wakes those who wait for a barrier before it counts it
 * broken: ASKED_LATE               runOnce() reads which barriers to answer after it has collected
 * broken: IDLE_FIRST               rcu_barrier() looks at the worker first, at the queues second
 * broken: BARRIER_NOT_FULL         rcu_barrier() asks by a plain store
 * broken: POLL_FORGOTTEN           hasWork() does not look at polls
 * broken: POLL_OVERWRITES          an older poll overwrites a newer one's wish
 * broken: POLL_NOT_FULL            a poll's wish is a plain store
 */
#define THREADS 3       /* 0 is the worker */
#define VARS 5
#define STATE 0         /* cp_call_words.worker */
#define DONE 1          /* cp_engine_words.barriers_done */
#define QUEUED(t) (1 + (t)) /* callbacks that thread 1 or 2 has ever queued */
#define WISH 4          /* cp_gp_words.poll_wanted */
#include "store_buffer.h"
#include "futex.h"

#define AWAKE 0
#define ASLEEP 1

bool registry_mutex;
byte wanted;            /* cp_engine_words.barriers_wanted */
byte begun, completed;  /* numbers of grace periods */
byte taken[THREADS], ran[THREADS];
byte returned;          /* threads that have come to their end */

#define CALLBACKS_ARE_THERE (mem[QUEUED(1)] != taken[1] || mem[QUEUED(2)] != taken[2])

/* CallbackEngine.hasWork */
inline look_for_work()
{
    work = wanted != mem[DONE];
#ifndef POLL_FORGOTTEN
    work = work || mem[WISH] > completed;
#endif
    lock(0, registry_mutex);
    work = work || CALLBACKS_ARE_THERE;
    unlock(0, registry_mutex)
}

/* CallbackEngine.collect and what follows in runOnce. */
inline collect_and_invoke()
{
    lock(0, registry_mutex);
#ifdef FENCES
    fence(0);
#else
    membarrier(0, k);
#endif
    d_step { taken[1] = mem[QUEUED(1)]; taken[2] = mem[QUEUED(2)] }
    unlock(0, registry_mutex);
    begun++;
    d_step { completed = begun; ran[1] = taken[1]; ran[2] = taken[2] }
}

inline answer_barriers()
{
    if
    :: mem[DONE] != asked ->
#ifdef ANSWERS_BEFORE_DONE
        futex_wake(0, 1); futex_wake(0, 2);
        store(0, DONE, asked);
        fence(0)
#else
        store(0, DONE, asked);
        futex_wake(0, 1); futex_wake(0, 2)
#endif
    :: else
    fi
}

/* CallbackEngine.runOnce */
inline run_once()
{
#ifndef ASKED_LATE
    asked = wanted;
#endif
    collect_and_invoke();
#ifdef ASKED_LATE
    asked = wanted;
#endif
    polled = mem[WISH];
    if
    :: completed < polled -> begun++; completed = begun
    :: else
    fi;
    answer_barriers();
    asked = 0; polled = 0
}

proctype worker()
{
    byte k, asked, polled;
    bool work, did;

main:
    look_for_work();
    do
    :: work -> run_once(); look_for_work()
    :: else -> break
    od;
    /* Worker.sleep */
#ifdef LOOKS_BEFORE_ASLEEP
    look_for_work();
#endif
    store(0, STATE, ASLEEP);
#ifndef NO_SLEEP_FENCE
#ifdef FENCES
    fence(0);
#else
    membarrier(0, k);
#endif
#endif
look:
#if !defined(LOOKS_BEFORE_ASLEEP) && !defined(LOOKS_ONCE)
#ifdef NO_SLEEP_FENCE
    /* What lock() does is not to count: only the loads of the heads matter here. */
    work = wanted != mem[DONE] || mem[WISH] > completed || CALLBACKS_ARE_THERE;
#else
    look_for_work();
#endif
#endif
    if
    :: work -> compare_exchange(0, STATE, ASLEEP, AWAKE, did)
    :: else
    fi;
    did = false;
    work = false;
    if
    :: mem[STATE] != ASLEEP && EMPTY(0) -> goto main
    :: else
    fi;
    futex_wait(0, STATE, ASLEEP);
end_asleep:
    STANDS(0);
    goto look
}

/* WorkerWord.wake */
inline wake(t)
{
    load(t, STATE, seen);
    if
    :: seen == ASLEEP ->
        compare_exchange(t, STATE, ASLEEP, AWAKE, did);
        if
#ifndef NO_FUTEX_WAKE
        :: did -> futex_wake(t, 0)
#endif
        :: else
        fi
    :: else
    fi;
    seen = 0;
    did = false
}

inline call_rcu(t)
{
    queued++;
    store(t, QUEUED(t), queued);
#if defined(FENCES) && !defined(NO_ENQUEUE_FENCE)
    fence(t);
#endif
    wake(t) /* which looks at the word as enqueue does */
}

inline look_at_queues(t)
{
    lock(t, registry_mutex);
    busy = busy || CALLBACKS_ARE_THERE;
    unlock(t, registry_mutex)
}

inline look_at_worker(t)
{
    load(t, STATE, seen);
    busy = busy || seen != ASLEEP;
    seen = 0
}

inline rcu_barrier(t)
{
    busy = false;
#ifdef IDLE_FIRST
    look_at_worker(t);
    look_at_queues(t);
#else
    look_at_queues(t);
    look_at_worker(t);
#endif
    if
    :: !busy
    :: else ->
#ifdef BARRIER_NOT_FULL
        mine = wanted + 1; /* in the buffer */
#else
        atomic { EMPTY(t) -> wanted++; mine = wanted };
#endif
        do
        :: mem[DONE] >= mine -> break
        :: else ->
            now = mem[DONE];
            if
            :: now >= mine -> break
            :: else
            fi;
            wake(t);
#ifdef BARRIER_NOT_FULL
            wanted = mine; /* comes out of it only now */
#endif
            futex_wait(t, DONE, now);
            STANDS(t)
        od
    fi;
    assert(ran[t] == queued);
    busy = false; mine = 0; now = 0
}

/* start_poll_, and then somebody who only looks. */
inline poll(t)
{
    fence(t);
    cookie = begun + 1;
#ifdef POLL_OVERWRITES
    atomic { EMPTY(t) -> mem[WISH] = cookie };
#elif defined(POLL_NOT_FULL)
    if
    :: mem[WISH] < cookie -> store(t, WISH, cookie)
    :: else
    fi;
#else
    atomic {
        EMPTY(t) ->
        if
        :: mem[WISH] < cookie -> mem[WISH] = cookie
        :: else
        fi
    };
#endif
    wake(t);
    completed >= cookie;
    cookie = 0
}

proctype thread(byte t)
{
    byte queued, seen, mine, now, cookie;
    bool did, busy;

    call_rcu(t);
    if
    :: rcu_barrier(t)
    :: poll(t)
    fi;
    if
    :: t == 1 -> call_rcu(t)
    :: else
    fi;
    returned++
}

/* Nothing can go on any more. */
active proctype checker()
{
    timeout;
    assert(returned == 2);
    assert(ran[1] == 2 && ran[2] == 1);
    assert(wanted == mem[DONE])
}

init {
    atomic {
        run memory(0); run memory(1); run memory(2);
        run worker();
        run thread(1); run thread(2)
    }
}
