/* SPDX-License-Identifier: GPL-2.0-only */
/* What the kernel's test programs include for liburcu's RCU, with libtdpmmu's instead. */
#ifndef KERNEL_SUITES_URCU_H
#define KERNEL_SUITES_URCU_H

#include <linux/kernel.h>
#include <linux/types.h>
#include <unistd.h>       /* as liburcu's does */
#include <urcu/uatomic.h> /* macros only */

#undef synchronize_rcu /* which <linux/kernel.h> has as nothing */
#include <tdpmmu/rcu.h>

#define rcu_init() ((void)0)
#define rcu_register_thread() ((void)tdpmmu_rcu_register_thread())
#define rcu_unregister_thread() tdpmmu_rcu_unregister_thread()

#endif
