// SPDX-License-Identifier: GPL-2.0-only
// Two vCPUs on threads of their own: a counter that both increment by locked instructions, and a ball that they pass.
//     cc -O2 -pthread -o kvm_two_vcpus examples/kvm_two_vcpus.c && build/tdpmmu-kvm ./kvm_two_vcpus
#include <pthread.h>
#include <stdio.h>

#include "kvm_flat.h"

enum { INCREMENTS = 20000, PASSES = 50, COUNTER = 0, BALL = 1 };

GUEST static void play(uint64_t me)
{
    for (unsigned i = 0; i < INCREMENTS; i++)
        __atomic_fetch_add(flat_page(COUNTER), 1, __ATOMIC_SEQ_CST);
    // The ball's number says whose it is; each passes it with a page of the next number touched.
    for (uint64_t pass = 0; pass < PASSES; pass++) {
        while (__atomic_load_n(flat_page(BALL), __ATOMIC_ACQUIRE) != 2 * pass + me)
            __builtin_ia32_pause();
        *flat_page(2 + 2 * pass + me) = 2 * pass + me;
        __atomic_store_n(flat_page(BALL), 2 * pass + me + 1, __ATOMIC_RELEASE);
    }
    for (;;)
        flat_halt();
}

static void *run(void *vcpu)
{
    flat_run_to_halt(vcpu);
    return NULL;
}

int main(void)
{
    struct flat flat = flat_make(0);
    struct flat_vcpu vcpu[2];
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        vcpu[i] = flat_vcpu(&flat, i, play, (uint64_t)i);
    for (int i = 0; i < 2; i++)
        if (pthread_create(&thread[i], NULL, run, &vcpu[i]))
            errx(1, "no thread");
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    const uint64_t *data = (const uint64_t *)(flat.memory + FLAT_DATA);
    for (uint64_t i = 0; i < 2 * PASSES; i++)
        if (data[512 * (2 + i)] != i)
            errx(1, "pass %llu left no trace", (unsigned long long)i);
    printf("%llu increments, %llu passes\n", (unsigned long long)data[0], (unsigned long long)data[512]);
    return 0;
}
