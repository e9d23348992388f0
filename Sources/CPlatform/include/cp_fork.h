/* SPDX-License-Identifier: GPL-2.0-only */
/* fork(). */
#ifndef CP_FORK_H
#define CP_FORK_H

#include "cp_shared.h"

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/* What a fork and the library's own threads tell each other. */
struct cp_fork_words {
    cp_shared32 closed;         /* futex: forks under way */
    cp_shared32 inside;         /* threads that a fork has to wait for */
    cp_shared32 forks;          /* between the first process of this program and this one */
};

extern struct cp_fork_words cp_fork_data;
CP_THE(fork, cp_fork_data, closed)
CP_THE(fork, cp_fork_data, inside)
CP_THE(fork, cp_fork_data, forks)

/* What fork() calls for one entry of the list in Sync/ForkList.swift: functions, or 0. */
struct cp_fork_step {
    cp_shared_word prepare;
    cp_shared_word parent;
    cp_shared_word child;
};

#define CP_FORK_STEPS 8
extern struct cp_fork_step cp_fork_step_data[CP_FORK_STEPS];

static inline struct cp_fork_step *cp_fork_steps(void) { return cp_fork_step_data; }
CP_AT(fork_step, prepare)
CP_AT(fork_step, parent)
CP_AT(fork_step, child)

/* Have the hooks run around fork(), always the same ones. */
void cp_set_fork_hooks(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* In a forked child: membarrier again, or fences if it is refused now. */
void cp_membarrier_renew(void);

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
