/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory as x86 has it, for the models: each thread's stores wait in a buffer of its own,
 * in order, until the memory takes them; its own loads see them at once, others later.
 *
 * A model defines VARS (shared variables) and THREADS before it includes this, runs
 * memory(t) for each thread t, and uses, with the thread's number first:
 *   load, store      plain ones, whatever their ordering: acquire and release cost nothing
 *                    here, because a buffer keeps the order of stores and loads keep theirs
 *   fence            a full fence, or what a locked instruction does before it acts
 *   membarrier       a full fence in the caller, then in each thread, one after the other
 * What a model writes to mem[] itself, after a fence and in one step, is a locked instruction.
 */
#ifndef DEPTH
#define DEPTH 3
#endif

byte mem[VARS];
byte buffer_length[THREADS];
byte buffer_at[THREADS * DEPTH];
byte buffer_value[THREADS * DEPTH];
hidden byte i_; /* used and done with inside one step */
hidden byte t_;

#define EMPTY(t) (buffer_length[t] == 0)
#define ANY_STORE_WAITS(t) (buffer_length[t] > 0)

inline store(t, variable, value_)
{
    d_step {
        buffer_length[t] < DEPTH ->
        buffer_at[(t) * DEPTH + buffer_length[t]] = variable;
        buffer_value[(t) * DEPTH + buffer_length[t]] = value_;
        buffer_length[t]++
    }
}

inline load(t, variable, into)
{
    d_step {
        into = mem[variable];
        i_ = 0;
        do
        :: i_ < buffer_length[t] ->
            if
            :: buffer_at[(t) * DEPTH + i_] == (variable) -> into = buffer_value[(t) * DEPTH + i_]
            :: else
            fi;
            i_++
        :: else -> break
        od;
        i_ = 0
    }
}

/* The oldest store leaves the buffer.  Inside a step. */
inline take_oldest(t)
{
    mem[buffer_at[(t) * DEPTH]] = buffer_value[(t) * DEPTH];
    buffer_length[t]--;
    i_ = 0;
    do
    :: i_ < buffer_length[t] ->
        buffer_at[(t) * DEPTH + i_] = buffer_at[(t) * DEPTH + i_ + 1];
        buffer_value[(t) * DEPTH + i_] = buffer_value[(t) * DEPTH + i_ + 1];
        i_++
    :: else -> break
    od;
    buffer_at[(t) * DEPTH + buffer_length[t]] = 0;
    buffer_value[(t) * DEPTH + buffer_length[t]] = 0;
    i_ = 0
}

inline fence(t)
{
    EMPTY(t)
}

inline drain(t)
{
    d_step {
        do
        :: ANY_STORE_WAITS(t) -> take_oldest(t)
        :: else -> break
        od
    }
}

/*
 * The kernel runs a full fence in the caller before it hits the first other thread, and the
 * grace period needs that: its new number must not be in its buffer still when a reader has
 * been hit.  `next` is a variable of the process.
 */
inline membarrier(t, next)
{
    fence(t);
    next = 0;
    do
    :: next < THREADS -> drain(next); next++
    :: else -> break
    od;
    next = 0
}

/* A mutex: both ends are locked instructions. */
inline lock(t, mutex_)
{
    atomic { EMPTY(t) && !mutex_ -> mutex_ = true }
}

inline unlock(t, mutex_)
{
    atomic { EMPTY(t) -> mutex_ = false }
}

proctype memory(byte t)
{
end:
    do
    :: d_step { ANY_STORE_WAITS(t) -> take_oldest(t) }
    od
}
