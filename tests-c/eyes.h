/* SPDX-License-Identifier: GPL-2.0-only */
/* TDPMMU_TEST_EYES=1: the long tests' VMs keep a ledger of owed flushes; what it reports is a warning. */
#ifndef EYES_H
#define EYES_H

#include <stdio.h>
#include <stdlib.h>

#include <tdpmmu.h>

/*
 * Before other threads use the VM.  cpus: it also has CPUs that cache, for a host that takes rights away by
 * notifiers only, as real ones do.
 */
static inline void open_eyes(struct kvm *kvm, bool cpus)
{
    static const struct tdpmmu_cpus_config config = { .size = sizeof(config), .cpus = 16 };

    if (!getenv("TDPMMU_TEST_EYES"))
        return;
    if (tdpmmu_ledger_attach(kvm, NULL, NULL) || (cpus && tdpmmu_cpus_attach(kvm, &config))) {
        fprintf(stderr, "no ledger, or no CPUs with caches\n");
        exit(2);
    }
}

#endif
