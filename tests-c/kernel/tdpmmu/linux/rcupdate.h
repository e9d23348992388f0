/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's test programs have their RCU from here: libtdpmmu's, not liburcu's. */
#ifndef KERNEL_SUITES_RCUPDATE_H
#define KERNEL_SUITES_RCUPDATE_H

#include <urcu.h>

/* Their conditions name what only lockdep has. */
#undef rcu_dereference_protected
#define rcu_dereference_protected(p, condition) rcu_dereference_raw(p)
#define rcu_dereference_check(p, condition) rcu_dereference_raw(p)

#endif
