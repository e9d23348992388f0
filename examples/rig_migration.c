/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A migration: a guest writes to its memory while a copy is made of it, round by round, of what the dirty log names.
 * The mutex is the end of a CPU's instruction, for which who flushes waits, as for an interrupt.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tdpmmu.h>

#define PAGES 4096

static _Atomic uint64_t memory[PAGES]; /* a word for each page */
static uint64_t copy[PAGES];
static pthread_mutex_t instruction = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool is_stopped;
static struct kvm *kvm;
static struct kvm_vcpu *vcpu;

static void flush(void *ctx, struct kvm *vm, gfn_t start, uint64_t npages)
{
    (void)ctx, (void)vm, (void)start, (void)npages;
    pthread_mutex_lock(&instruction);
    pthread_mutex_unlock(&instruction);
}

static void *run_guest(void *unused)
{
    for (uint64_t n = 1; !is_stopped; n++) {
        uint64_t gfn = (uint64_t)random() % PAGES, error = 0;

        kvm_mmu_load(vcpu);
        pthread_mutex_lock(&instruction);
        if (tdpmmu_cpu_access(vcpu, gfn << 12, PFERR_WRITE_MASK, &error) > 0)
            memory[gfn] = n;
        pthread_mutex_unlock(&instruction);
        if (error)
            kvm_tdp_mmu_page_fault(vcpu, gfn << 12, error);
    }
    return unused;
}

static int copy_dirty_pages(void)
{
    unsigned long bits[PAGES / 64];
    struct kvm_dirty_log log = {.dirty_bitmap = bits};
    int copied = 0;

    kvm_vm_ioctl_get_dirty_log(kvm, &log);
    for (int gfn = 0; gfn < PAGES; gfn++)
        if (bits[gfn / 64] >> (gfn % 64) & 1)
            copy[gfn] = memory[gfn], copied++;
    return copied;
}

int main(void)
{
    struct tdpmmu_ops ops = {.size = sizeof(ops), .flush_tlb = flush};
    struct tdpmmu_vm_config config = {.size = sizeof(config), .ops = &ops};
    struct kvm_userspace_memory_region ram = {.memory_size = PAGES << 12, .userspace_addr = 1 << 30};
    int copied = 0, rounds = 0;
    pthread_t guest;

    kvm = tdpmmu_create_vm(&config);
    vcpu = tdpmmu_create_vcpu(kvm, 0);
    kvm_set_memory_region(kvm, &ram);
    ram.flags = KVM_MEM_LOG_DIRTY_PAGES;
    kvm_set_memory_region(kvm, &ram);
    pthread_create(&guest, NULL, run_guest, NULL);
    for (; copied < 4 * PAGES; rounds++)
        copied += copy_dirty_pages();
    is_stopped = true;
    pthread_join(guest, NULL);
    copied += copy_dirty_pages();
    printf("%d pages in %d rounds\n", copied, rounds);
    tdpmmu_destroy_vm(kvm);
    return memcmp(memory, copy, sizeof(copy)) != 0;
}
