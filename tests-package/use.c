/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a program does with an installed library: a VM, faults by two threads beside grace periods, and
 * the same once more in a child.  Prints the library's version.  Also compiled as C++.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tdpmmu.h>
#include <unistd.h>

struct element {
    struct rcu_head rcu;
    int value;
};

static struct element *published;
static int freed;

static void free_element(struct rcu_head *head)
{
    free((char *)head - offsetof(struct element, rcu));
    __atomic_add_fetch(&freed, 1, __ATOMIC_RELAXED);
}

static void *read_published(void *sum)
{
    for (int i = 0; i < 1000; i++) {
        struct element *element;

        rcu_read_lock();
        element = (struct element *)rcu_dereference(published);
        *(int *)sum += element->value;
        rcu_read_unlock();
    }
    return NULL;
}

static int runs_rcu(void)
{
    int sum = 0, before = freed;
    pthread_t reader;

    published = (struct element *)calloc(1, sizeof(*published));
    published->value = 1;
    if (pthread_create(&reader, NULL, read_published, &sum))
        return 0;
    for (int i = 0; i < 100; i++) {
        struct element *old = published, *fresh = (struct element *)malloc(sizeof(*fresh));

        fresh->value = 1;
        rcu_assign_pointer(published, fresh);
        call_rcu(&old->rcu, free_element);
    }
    synchronize_rcu();
    pthread_join(reader, NULL);
    rcu_barrier();
    free(published);
    return sum == 1000 && freed == before + 100;
}

static int runs_faults(struct kvm *kvm, struct kvm_vcpu *vcpu)
{
    struct tdp_iter iter;
    int found = 0, flush;

    if (kvm_tdp_mmu_page_fault(vcpu, 0x5000, PFERR_WRITE_MASK) != RET_PF_FIXED)
        return 0;
    rcu_read_lock();
    for_each_tdp_pte(iter, tdpmmu_vcpu_root(vcpu)->spt, 4, 5, 6)
        found += is_last_spte(iter.old_spte, iter.level) && is_shadow_present_pte(iter.old_spte);
    rcu_read_unlock();
    write_lock(&kvm->mmu_lock);
    flush = kvm_tdp_mmu_zap_gfn_range(kvm, 0, 1 << 18);
    if (flush)
        kvm_flush_remote_tlbs(kvm);
    write_unlock(&kvm->mmu_lock);
    return found == 1 && flush;
}

static int child_does_the_same(struct kvm *kvm, struct kvm_vcpu *vcpu)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0)
        _exit(runs_rcu() && runs_faults(kvm, vcpu) ? 0 : 1);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static int failed(const char *what)
{
    fprintf(stderr, "use: %s failed\n", what);
    return 1;
}

int main(void)
{
    struct kvm *kvm = tdpmmu_create_vm(NULL);
    struct kvm_vcpu *vcpu = kvm ? tdpmmu_create_vcpu(kvm, 0) : NULL;
    struct kvm_userspace_memory_region ram;

    memset(&ram, 0, sizeof(ram));
    ram.memory_size = 1 << 30;
    ram.userspace_addr = 1 << 30;
    if (!vcpu || kvm_set_memory_region(kvm, &ram) || kvm_mmu_load(vcpu))
        return failed("a VM");
    if (!runs_rcu())
        return failed("RCU");
    if (!runs_faults(kvm, vcpu))
        return failed("a fault");
    if (!child_does_the_same(kvm, vcpu))
        return failed("a child");
    if (!runs_rcu() || !runs_faults(kvm, vcpu))
        return failed("what the parent did after its child");
    tdpmmu_destroy_vm(kvm);
    puts(tdpmmu_version());
    return 0;
}
