/* SPDX-License-Identifier: GPL-2.0-only */
/* One RCU implementation as the benchmark sees it; rcu_side.c is compiled once for each. */
#ifndef RCU_SIDE_H
#define RCU_SIDE_H

#include <stddef.h>

struct rcu_side {
    const char *name;
    void (*register_thread)(void);
    void (*unregister_thread)(void);
    void (*go_idle)(void);                /* about to do nothing for long */
    void (*come_back)(void);
    void (*pairs)(unsigned long count);   /* lock + unlock */
    void (*nested)(unsigned long count);  /* the same inside a section */
    void (*read_until)(int *stop);        /* a busy reader */
    void (*synchronize)(unsigned long count);
    void (*enqueue)(void *heads, unsigned long count); /* 16 bytes each */
    void (*lock)(void);
    void (*unlock)(void);
    void (*barrier)(void);
    size_t head_bytes;
};

extern const struct rcu_side side_tdpmmu, side_tdpmmu_exported, side_memb, side_memb_exported,
    side_bp, side_qsbr;

/* What callbacks count in; the worker's own. */
extern unsigned long callbacks_run;

#endif
