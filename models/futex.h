/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Futexes for the models; after store_buffer.h.  A thread sleeps until it is woken, without a
 * limit of time; it lies down only if the word has the value still, which the kernel looks at
 * after a full fence.
 */
bool lies[THREADS];

inline futex_wait(t, variable, expected)
{
    atomic {
        EMPTY(t) ->
        if
        :: mem[variable] == (expected) -> lies[t] = true
        :: else
        fi
    }
}

/* Where futex_wait() lies down; a label may stand before it. */
#define STANDS(t) (!lies[t])

/* The call itself is a step of its own: what the word was set to before is seen. */
inline futex_wake(t, whom)
{
    atomic { EMPTY(t) -> lies[whom] = false }
}

/* A locked compare-and-exchange; did it? */
inline compare_exchange(t, variable, expected, value_, did)
{
    atomic {
        EMPTY(t) ->
        if
        :: mem[variable] == (expected) -> mem[variable] = value_; did = true
        :: else -> did = false
        fi
    }
}
