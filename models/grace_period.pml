/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Readers and grace periods: nobody uses what a grace period after its unlinking has freed.
 *
 * A reader with two sections.  Two updaters unlink an object each and then synchronize or
 * poll; a grace period of either serves both.  JOIN: the reader joins the list meanwhile.
 *
 * good:
 * good: FENCES
 * good: JOIN
 * broken: NO_HEAVY_FENCE          begin() runs no membarrier
 * broken: SCAN_BEFORE_FENCE       begin() runs it when the readers have been looked at
 * broken: NO_NEXT_FENCE           next() reads the number while the unlinking is on its way
 * broken: NUMBER_NOT_NEXT         next() is content with the grace period that runs
 * broken: ONE_BIT                 the number is a phase, with one pass over the readers
 * broken: COMPLETE_EARLY          the number counts as complete before the readers are looked at
 * broken: JOIN LATE_JOIN          a thread's first section begins before it is on the list
 * broken: FORGETS_CURSOR          after a sleep the scan goes on behind the reader it slept for
 * broken: FENCES NO_READER_FENCE  a reader's load overtakes its word's store
 * broken: FENCES NO_HEAVY_FENCE   begin() runs no fence: its look at the readers overtakes the new number
 */
#define THREADS 3
#define VARS 4
#define GP 0            /* tdpmmu_rcu_gp */
#define WORD 1          /* tdpmmu_rcu_self.word of the reader, thread 0: 0 is idle */
#define PTR(o) (1 + (o)) /* of updater o, thread 1 or 2; 0: leads to the old object */
#include "store_buffer.h"

bool gp_mutex, registry_mutex;
bool member;            /* is the reader on the list? */
bool freed[THREADS];
byte completed = 1;

#ifdef ONE_BIT
#define HOLDS_UP(word, n) ((word) != 0 && ((word) & 1) != ((n) & 1))
#else
#define HOLDS_UP(word, n) ((word) != 0 && (word) < (n))
#endif

/* Registry.add */
inline join()
{
    lock(0, registry_mutex);
    member = true;
    unlock(0, registry_mutex)
}

/* enterSection, rcu_dereference, rcu_read_unlock. */
inline section()
{
    load(0, GP, gp);
    store(0, WORD, gp);
#if defined(FENCES) && !defined(NO_READER_FENCE)
    fence(0);
#endif
    if
    :: object = 1
    :: object = 2
    fi;
    load(0, PTR(object), value);
#ifdef LATE_JOIN
    join();
#endif
    assert(value != 0 || !freed[object]); /* uses it */
    value = 0;
    object = 0;
    store(0, WORD, 0)
}

proctype reader()
{
    byte gp, value, object;

#if defined(JOIN) && !defined(LATE_JOIN)
    join();
#endif
    section();
    section()
}

/* heavyFence, or the fence in begin. */
inline heavy_fence(t)
{
#ifdef NO_HEAVY_FENCE
    skip
#elif defined(FENCES)
    fence(t)
#else
    membarrier(t, k)
#endif
}

/* pass, and run's loop around it: the mutex is dropped to sleep. */
inline pass(t)
{
    if
    :: !listed
    :: else ->
        if
        :: !HOLDS_UP(mem[WORD], number)
        :: HOLDS_UP(mem[WORD], number) ->
            registry_mutex = false;
#ifndef FORGETS_CURSOR
            !HOLDS_UP(mem[WORD], number);
#endif
            lock(t, registry_mutex)
        fi
    fi
}

/* GracePeriod.run, gp_mutex held. */
inline run_grace_period(t)
{
    lock(t, registry_mutex);
    load(t, GP, number);
    number++;
    store(t, GP, number);
#ifdef COMPLETE_EARLY
    completed = number;
#endif
#ifndef SCAN_BEFORE_FENCE
    heavy_fence(t);
#endif
    listed = member; /* cursor = readers */
    pass(t);
#ifdef SCAN_BEFORE_FENCE
    heavy_fence(t);
#endif
    unlock(t, registry_mutex)
}

/* unlink; GracePeriod.next */
inline unlink(t)
{
    store(t, PTR(t), 1);
#ifndef NO_NEXT_FENCE
    fence(t);
#endif
    load(t, GP, wanted);
#ifndef NUMBER_NOT_NEXT
    wanted++
#endif
}

/* GracePeriod.wait(for:) */
inline wait_for(t)
{
    lock(t, gp_mutex);
    if
    :: completed >= wanted
    :: else -> run_grace_period(t); completed = number
    fi;
    number = 0;
    unlock(t, gp_mutex)
}

proctype updater(byte t)
{
    byte wanted, number, k;
    bool listed;

    unlink(t);
    if
    :: wait_for(t)
    :: true ->
end_poll:
        completed >= wanted /* rcuPollState, until somebody's grace period does */
    fi;
    freed[t] = true
}

init {
    atomic {
        mem[GP] = 1;
#ifndef JOIN
        member = true;
#endif
        run memory(0); run memory(1); run memory(2);
        run reader();
        run updater(1); run updater(2)
    }
}
