/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A grace period asks the reader in its way to wake it.  The reader's thread writes its word
 * with plain stores, so the wish may get lost, and the sleep has a limit; but the wish never
 * brings a section back that has ended, and the nesting stays right.
 *
 * A reader with a nested section, and one more; a grace period that finds it inside.
 *
 * good:
 * broken: WISH_BY_STORE      ask() stores the word with the wish: an ended section comes back
 * broken: NO_LIMIT           the sleep has no limit of time, and a wish got lost
 * broken: EVENT_READ_LATE NO_LOST_WISH NO_LIMIT  the event is read after the look at the reader
 * broken: WAKES_BEFORE_IDLE NO_LOST_WISH NO_LIMIT  a reader tells that it leaves, and then does
 */
#define THREADS 2       /* the reader, the grace period */
#define VARS 2
#define WORD 0          /* tdpmmu_rcu_self.word */
#define EVENT 1         /* cp_gp_words.event */
#include "store_buffer.h"
#include "futex.h"

#define DEPTH_OF(word) ((word) & 3)
#define WISH 4
#define OLD_NUMBER 8    /* of the first section: before the grace period's */
#define NEW_NUMBER 16
#define NUMBER_OF(word) ((word) & 24)
#define HOLDS_UP(word) (DEPTH_OF(word) != 0 && NUMBER_OF(word) < NEW_NUMBER)

bool inside = true;     /* the first section, in truth */
bool over;

/* A nested lock or unlock, or the last: what is stored comes from what was loaded. */
inline set_word(value_)
{
#ifdef NO_LOST_WISH
    /* As if the two were one: what remains to be seen is the order of the rest. */
    atomic { EMPTY(0) -> word = mem[WORD]; mem[WORD] = value_ }
#else
    load(0, WORD, word);
    store(0, WORD, value_)
#endif
}

inline reader_left()
{
    if
    :: (word & WISH) != 0 ->
        atomic { EMPTY(0) -> mem[EVENT]++ };
        futex_wake(0, 1)
    :: else
    fi
}

proctype reader()
{
    byte word;

    set_word(word + 1);
    set_word(word - 1);
#ifdef WAKES_BEFORE_IDLE
    load(0, WORD, word);
    reader_left();
    inside = false;
    set_word(0);
#else
    inside = false;
    set_word(0);
    reader_left();
#endif
    word = 0;
    store(0, WORD, NEW_NUMBER + 1); /* a section that begins later */
    store(0, WORD, 0)
}

/* GracePeriod.ask */
inline ask()
{
    word = mem[WORD];
    if
    :: !HOLDS_UP(word) -> asked = false
    :: else ->
#ifdef WISH_BY_STORE
        store(1, WORD, word | WISH);
        asked = true
#else
        compare_exchange(1, WORD, word, word | WISH, did);
        asked = did
#endif
    fi;
    word = 0;
    did = false
}

/* GracePeriod.run: from the look at the reader on. */
proctype grace_period()
{
    byte word, seen;
    bool asked, did;

    do
    :: true ->
#ifndef EVENT_READ_LATE
        load(1, EVENT, seen);
#endif
        ask();
        if
        :: !asked && !HOLDS_UP(mem[WORD]) -> break
        :: !asked && HOLDS_UP(mem[WORD]) -> skip /* the exchange failed: again */
        :: asked ->
#ifdef EVENT_READ_LATE
            load(1, EVENT, seen);
#endif
            futex_wait(1, EVENT, seen);
#ifdef NO_LIMIT
            STANDS(1)
#else
            if
            :: STANDS(1)
            :: !HOLDS_UP(mem[WORD]) -> lies[1] = false /* the time is up */
            fi
#endif
        fi;
        asked = false; seen = 0
    od;
    over = true;
    assert(!inside)
}

active proctype checker()
{
    timeout;
    assert(over);
    assert(DEPTH_OF(mem[WORD]) == 0)
}

init {
    atomic {
        mem[WORD] = OLD_NUMBER + 1;
        run memory(0); run memory(1);
        run reader(); run grace_period()
    }
}
