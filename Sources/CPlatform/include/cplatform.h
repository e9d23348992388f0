/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What Swift cannot say: thread-local data, static memory, system calls, threads.
 * Private to the library; every cp_ name is hidden in the shared object.
 * Functions here keep errno as it was.
 */
#ifndef CPLATFORM_H
#define CPLATFORM_H

#include "cp_shared.h"
#include "cp_change.h"
#include "cp_fence.h"
#include "cp_fail.h"
#include "cp_system.h"
#include "cp_memory.h"
#include "cp_match.h"
#include "cp_lock.h"
#include "cp_rcu.h"
#include "cp_srcu.h"
#include "cp_trace.h"
#include "cp_fork.h"
#include "cp_thread.h"

#endif
