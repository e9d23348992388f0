// SPDX-License-Identifier: GPL-2.0-only
// An operation that the library has not, written with the kernel's names, beside CPUs that write: docs/OPERATIONS.md.
//     cc -Iinclude -pthread -o age_dirty examples/age_dirty.c -Lbuild -ltdpmmu -Wl,-rpath,$PWD/build && ./age_dirty
// Each CPU remembers translations, as CPUs do: what it may write, and that the page is dirty already.  So the operation
// has to flush, and once it is made to forget that.
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

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

enum { PAGES = 64, CPUS = 2, WRITES = 20000 };

static struct cpu {
    struct kvm_vcpu *vcpu;
    pthread_mutex_t mutex;   // between two instructions
    bool remembers[PAGES];   // writable, and dirty already
    unsigned seed;
} cpus[CPUS];
static struct kvm *kvm;
static atomic_uint written[PAGES];   // how often, of each page
static unsigned collected[PAGES];    // how often when it was last found to be dirty
static bool aged[PAGES];             // by the operation that runs

static void flush_tlb(void *ctx, struct kvm *vm, gfn_t start, uint64_t npages)
{
    (void)ctx, (void)vm;
    for (int i = 0; i < CPUS; i++) {
        pthread_mutex_lock(&cpus[i].mutex);
        for (gfn_t gfn = 0; gfn < PAGES; gfn++)
            if (gfn >= start && gfn - start < npages)
                cpus[i].remembers[gfn] = false;
        pthread_mutex_unlock(&cpus[i].mutex);
    }
}

static void spte_changed(void *ctx, struct kvm *vm, int as_id, gfn_t gfn, int level, uint64_t old, uint64_t new, bool shared)
{
    (void)ctx, (void)as_id, (void)shared;
    if (level == PG_LEVEL_4K && (old & ~new & vm->facts->dirty))
        aged[gfn] = true;
}

// One write of the guest's: by what the CPU remembers, or it walks, and faults if it must.
static void guest_writes(struct cpu *cpu, gfn_t gfn)
{
    for (bool done = false; !done;) {
        uint64_t error = 0;

        pthread_mutex_lock(&cpu->mutex);
        if (cpu->remembers[gfn] || tdpmmu_cpu_access(cpu->vcpu, gfn << 12, PFERR_WRITE_MASK, &error) > 0) {
            cpu->remembers[gfn] = done = true;
            written[gfn]++;
        }
        pthread_mutex_unlock(&cpu->mutex);
        if (!done && (kvm_mmu_load(cpu->vcpu) || kvm_tdp_mmu_page_fault(cpu->vcpu, gfn << 12, error) < 0))
            abort();
    }
}

static void *run(void *arg)
{
    struct cpu *cpu = arg;

    for (int i = 0; i < WRITES; i++)
        guest_writes(cpu, (gfn_t)(rand_r(&cpu->seed) % PAGES));
    return NULL;
}

static void age(bool forgets_to_flush)
{
    struct kvm_mmu_page *root;
    bool flush = false;

    memset(aged, 0, sizeof(aged));
    read_lock(&kvm->mmu_lock);
    for_each_valid_tdp_mmu_root_yield_safe(kvm, root, 0)
        flush |= age_dirty_gfn_range(kvm, root, 0, PAGES);
    if (flush && !forgets_to_flush)
        kvm_flush_remote_tlbs_range(kvm, 0, PAGES);
    read_unlock(&kvm->mmu_lock);
    for (int gfn = 0; gfn < PAGES; gfn++)
        if (aged[gfn])
            collected[gfn] = written[gfn];
}

// Pages that were written since they were last found dirty, and are not dirty: nobody will ever copy them.
static int lost(void)
{
    int pages = 0;

    for (gfn_t gfn = 0; gfn < PAGES; gfn++) {
        uint64_t sptes[6] = { 0 };
        int root_level, level;

        rcu_read_lock();
        level = kvm_tdp_mmu_get_walk(cpus[0].vcpu, gfn << 12, sptes, &root_level);
        rcu_read_unlock();
        pages += written[gfn] != collected[gfn] && (level != PG_LEVEL_4K || !is_dirty_spte(sptes[level]));
    }
    return pages;
}

static int try(bool forgets_to_flush)
{
    pthread_t threads[CPUS];

    for (int i = 0; i < CPUS; i++)
        pthread_create(&threads[i], NULL, run, &cpus[i]);
    for (int i = 0; i < 200; i++)
        age(forgets_to_flush);
    for (int i = 0; i < CPUS; i++)
        pthread_join(threads[i], NULL);
    // Once more with nobody beside: written, found, written again.
    guest_writes(&cpus[0], 7);
    age(forgets_to_flush);
    guest_writes(&cpus[0], 7);
    return lost();
}

static kvm_pfn_t gfn_to_pfn(void *ctx, struct kvm *vm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write, bool *writable,
                            int *max_level)
{
    (void)ctx, (void)vm, (void)slot, (void)write, (void)writable;
    *max_level = PG_LEVEL_4K;
    return gfn + 0x1000;
}

int main(void)
{
    const struct tdpmmu_ops ops = {
        .size = sizeof(ops), .flush_tlb = flush_tlb, .spte_changed = spte_changed, .gfn_to_pfn = gfn_to_pfn };
    const struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops };
    const struct kvm_userspace_memory_region memory = { .memory_size = PAGES << 12, .userspace_addr = 1 << 20 };
    int without, with;

    kvm = tdpmmu_create_vm(&config);
    if (!kvm || kvm_set_memory_region(kvm, &memory))
        return 2;
    for (int i = 0; i < CPUS; i++) {
        cpus[i] = (struct cpu){ .vcpu = tdpmmu_create_vcpu(kvm, i), .seed = (unsigned)i };
        pthread_mutex_init(&cpus[i].mutex, NULL);
        if (kvm_mmu_load(cpus[i].vcpu))
            return 2;
    }
    with = try(false);
    without = try(true);
    printf("with its flush: %d pages lost, without: %s\n", with, without ? "some" : "none");
    tdpmmu_destroy_vm(kvm);
    return with == 0 && without > 0 ? 0 : 1;
}
