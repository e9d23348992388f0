// SPDX-License-Identifier: GPL-2.0-only
// An operation that the library has not, written with the kernel's names, beside CPUs that write: docs/OPERATIONS.md.
//     cc -Iinclude -pthread -o age_dirty examples/age_dirty.c -Lbuild -ltdpmmu -Wl,-rpath,$PWD/build && ./age_dirty
// The rig's CPUs remember translations, as CPUs do: what they may write, and that the page is dirty already.  So the
// operation's caller has to flush, and once it is made to forget that: the rig's ledger says so.
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <tdpmmu.h>
#include <tdpmmu/kernel.h>

// The operation {
/* Clear Accessed and Dirty of what was written since the last time, and only of that.  Returns flush.  Lock R. */
static bool age_dirty_gfn_range(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end)
{
    const u64 bits = shadow_accessed_mask | shadow_dirty_mask;
    struct tdp_iter iter;
    bool flush = false;

    rcu_read_lock();

    tdp_root_for_each_pte(iter, root, start, end) {
retry:
        if (tdp_mmu_iter_cond_resched(kvm, &iter, flush, true)) {
            flush = false;
            continue;
        }
        if (!is_shadow_present_pte(iter.old_spte) || !is_last_spte(iter.old_spte, iter.level) ||
            !is_dirty_spte(iter.old_spte))
            continue;
        if (tdp_mmu_set_spte_atomic(kvm, &iter, iter.old_spte & ~bits))
            goto retry;
        flush = true;
    }

    rcu_read_unlock();
    return flush;
}
// }

enum { PAGES = 64, CPUS = 2, WRITES = 50000, AGINGS = 200 };

static struct kvm *kvm;
static struct kvm_vcpu *vcpus[CPUS];
static atomic_int reports;

static void warned(void *ctx, struct kvm *vm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)vm;
    if (reports++ == 0)
        printf("    %s: %s\n", warning->function, warning->text);
}

// A guest that writes at random, and faults when it must.
static void *run(void *arg)
{
    struct kvm_vcpu *vcpu = arg;
    unsigned seed = (unsigned)tdpmmu_vcpu_id(vcpu);

    for (int i = 0; i < WRITES; i++) {
        gpa_t gpa = (gpa_t)(rand_r(&seed) % PAGES) << 12;
        uint64_t error = 0;

        while (kvm_mmu_load(vcpu) == 0 && tdpmmu_cpu_access(vcpu, gpa, PFERR_WRITE_MASK, &error) == 0)
            kvm_tdp_mmu_page_fault(vcpu, gpa, error);
    }
    return NULL;
}

static void age(bool forgets_to_flush)
{
    struct kvm_mmu_page *root;
    bool flush = false;

    read_lock(&kvm->mmu_lock);
    for_each_valid_tdp_mmu_root_yield_safe(kvm, root, 0)
        flush |= age_dirty_gfn_range(kvm, root, 0, PAGES);
    if (flush && !forgets_to_flush)
        kvm_flush_remote_tlbs_range(kvm, 0, PAGES);
    read_unlock(&kvm->mmu_lock);
}

// Both CPUs write while the operation runs again and again; then the dirty log is read, and must have all writes.
static int try(bool forgets_to_flush)
{
    unsigned long bitmap[1];
    struct kvm_dirty_log log = { .dirty_bitmap = bitmap };
    pthread_t threads[CPUS];

    reports = 0;
    for (int i = 0; i < CPUS; i++)
        pthread_create(&threads[i], NULL, run, vcpus[i]);
    for (int i = 0; i < AGINGS; i++)
        age(forgets_to_flush);
    for (int i = 0; i < CPUS; i++)
        pthread_join(threads[i], NULL);
    age(forgets_to_flush);
    if (kvm_vm_ioctl_get_dirty_log(kvm, &log))
        abort();
    tdpmmu_cpus_check(kvm);
    return reports;
}

int main(void)
{
    const struct tdpmmu_ops ops = { .size = sizeof(ops), .warn = warned };
    const struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops };
    const struct tdpmmu_cpus_config caching = { .size = sizeof(caching), .flags = TDPMMU_CPUS_FILL_NEVER };
    const struct kvm_userspace_memory_region memory = {
        .memory_size = PAGES << 12, .userspace_addr = 1 << 20, .flags = KVM_MEM_LOG_DIRTY_PAGES };
    int with, without;

    kvm = tdpmmu_create_vm(&config);
    for (int i = 0; i < CPUS; i++)
        vcpus[i] = tdpmmu_create_vcpu(kvm, i);
    if (!vcpus[0] || !vcpus[1] || kvm_set_memory_region(kvm, &memory) || tdpmmu_cpus_attach(kvm, &caching))
        return 2;
    with = try(false);
    without = try(true);
    printf("with its flush: %d reports, without: %s\n", with, without ? "some" : "none");
    tdpmmu_destroy_vm(kvm);
    return with == 0 && without > 0 ? 0 : 1;
}
