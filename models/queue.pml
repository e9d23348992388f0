/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A thread's queue of callbacks and who takes them: each is taken once, in order, and no list
 * is taken while its owner appends to it; also when the thread exits, and queues once more
 * in a destructor that comes later.
 *
 * A list is the set of the callbacks in it, bit by bit in the order of their queueing.
 *
 * good:
 * good: FENCES
 * broken: FENCES NO_APPEND_FENCE  append() reads `select` before others can see `busy`
 * broken: NO_COLLECT_FENCE        take() looks at `busy` before the owner can see the flip
 * broken: NO_WAIT                 take() does not wait for `busy`
 * broken: FENCE_BEFORE_FLIP       the heavy fence comes first
 * broken: BUSY_LATE               append() reads `select`, and then says `busy`
 * broken: BUSY_SHORT              append() is not busy any more when it links the callback
 * broken: NO_FLIP                 take() takes the list that the owner uses
 * broken: TAKES_TWICE             take() leaves the list as it is
 * broken: LEAVES_UNLOCKED         an exiting thread moves its lists without the registry's mutex
 * broken: LEAVES_ONE_LIST         it moves the list that the collector would take next, and not its own
 * broken: ORPHANS_IN_FRONT        what comes to the orphans goes before what is there
 */
#define THREADS 2       /* 0 is the collector, 1 the owner */
#define VARS 4
#define BUSY 0          /* cp_callbacks.busy */
#define SELECT 1        /* cp_callbacks.select */
#define LIST(n) (2 + (n)) /* cp_callbacks.head[], tail[] */
#define DEPTH 4
#include "store_buffer.h"

#define APPENDS 3       /* and one more past the exit */
#define ALL 15

bool registry_mutex;
bool enlisted = true;   /* on the registry's list of queues */
byte orphans;           /* cp_registry.orphans_head */
byte ran;
bool orphans_disordered;

/* A set comes behind what has been taken: its lowest is the one that is due. */
#define DUE(set) (((set) & ran) == 0 && ((((set) | ran) + 1) & ((set) | ran)) == 0)

inline append(t)
{
#ifdef BUSY_LATE
    load(t, SELECT, which);
#endif
    store(t, BUSY, 1);
#if defined(FENCES) && !defined(NO_APPEND_FENCE)
    fence(t);
#endif
#ifndef BUSY_LATE
    load(t, SELECT, which);
#endif
#ifdef BUSY_SHORT
    store(t, BUSY, 0);
#endif
    load(t, LIST(which), set);
    store(t, LIST(which), set | 1 << k);
#ifndef BUSY_SHORT
    store(t, BUSY, 0);
#endif
    set = 0
}

/* Orphans.append */
inline to_orphans(more)
{
    atomic {
#ifdef ORPHANS_IN_FRONT
        orphans_disordered = orphans_disordered || (orphans != 0 && more != 0);
#endif
        assert(more == 0 || orphans < (more & -more));
        orphans = orphans | more
    }
}

/* CallbackQueue.moveToOrphans */
inline move(t, n)
{
    load(t, LIST(n), set);
    to_orphans(set);
    store(t, LIST(n), 0);
    set = 0
}

/* CallbackQueue.abandonOwn */
inline leave(t)
{
#ifndef LEAVES_UNLOCKED
    lock(t, registry_mutex);
#endif
    load(t, SELECT, which);
#ifndef LEAVES_ONE_LIST
    move(t, which);
#endif
    /* Nothing is here: each collection ends with this list taken, so that which of the two
     * goes first is all the same. */
    load(t, LIST(which ^ 1), set);
    assert(set == 0);
    move(t, which ^ 1);
    enlisted = false;
#ifndef LEAVES_UNLOCKED
    unlock(t, registry_mutex)
#endif
}

proctype owner()
{
    byte k, which, set;

    do
    :: k < APPENDS -> append(1); k++
    :: else -> break
    od;
    leave(1);
    lock(1, registry_mutex); /* enqueueLate */
    set = 1 << APPENDS;
    to_orphans(set);
    unlock(1, registry_mutex)
}

inline heavy_fence(t)
{
#ifdef NO_COLLECT_FENCE
    skip
#elif defined(FENCES)
    fence(t)
#else
    membarrier(t, k)
#endif
}

inline invoke(what)
{
    atomic {
        assert(DUE(what) && !orphans_disordered);
        ran = ran | what
    }
}

inline take(t)
{
#ifdef NO_FLIP
    load(t, SELECT, which);
#else
    load(t, SELECT, which);
    which = which ^ 1;
#endif
#ifndef NO_WAIT
    mem[BUSY] == 0;
#endif
    load(t, LIST(which), set);
    if
    :: set != 0 ->
#ifndef TAKES_TWICE
        store(t, LIST(which), 0);
#endif
        invoke(set)
    :: else
    fi;
    set = 0; which = 0
}

inline flip(t)
{
    load(t, SELECT, which);
    store(t, SELECT, which ^ 1)
}

/* CallbackEngine.collect */
inline collect(t)
{
    lock(t, registry_mutex);
    if
    :: orphans != 0 -> atomic { set = orphans; orphans = 0 }; invoke(set)
    :: else
    fi;
    if
    :: enlisted ->
#ifdef FENCE_BEFORE_FLIP
        heavy_fence(t);
        flip(t);
#else
        flip(t);
        heavy_fence(t);
#endif
        take(t)
    :: else
    fi;
    unlock(t, registry_mutex)
}

proctype collector()
{
    byte k, which, set;

    do
    :: mem[LIST(0)] != 0 || mem[LIST(1)] != 0 || orphans != 0 -> collect(0)
    :: ran == ALL -> break
    od
}

init {
    atomic {
        run memory(0); run memory(1);
        run collector();
        run owner()
    }
}
