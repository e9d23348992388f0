/* SPDX-License-Identifier: GPL-2.0-only */
#include "mmu_rows.h"

unsigned long pages, random_count;
unsigned int *random_pages;

void die(const char *what)
{
    fprintf(stderr, "bench_mmu: %s\n", what);
    exit(1);
}

/* No figure is worth anything if the work was not done. */
void check(unsigned long got, unsigned long wanted, const char *what)
{
    if (got == wanted)
        return;
    fprintf(stderr, "bench_mmu: %s: %lu instead of %lu\n", what, got, wanted);
    exit(1);
}

/* The same order in each process. */
void random_init(void)
{
    uint64_t state = 88172645463325252u;

    random_count = pages < 1ul << 22 ? pages : 1ul << 22;
    random_pages = malloc(random_count * sizeof(*random_pages));
    if (!random_pages)
        die("no memory");
    for (unsigned int i = 0; i < random_count; i++)
        random_pages[i] = i;
    for (unsigned int i = (unsigned int)random_count - 1; i > 0; i--) {
        unsigned int other, kept = random_pages[i];

        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        other = (unsigned int)(state % (i + 1));
        random_pages[i] = random_pages[other];
        random_pages[other] = kept;
    }
}

struct vm vm_new(void)
{
    struct vm vm = { .kvm = side_create_vm(false) };

    if (!vm.kvm || side_set_slot(vm.kvm, BASE_GFN, pages, BASE_PFN, 0))
        die("no VM");
    vm.vcpu = side_create_vcpu(vm.kvm, 0);
    if (!vm.vcpu)
        die("no vCPU");
    vm.slot = side_slot_at(vm.kvm, BASE_GFN);
    return vm;
}

void vm_free(struct vm *vm)
{
    side_destroy_vcpu(vm->vcpu);
    side_destroy_vm(vm->kvm);
}

void fault_gives(struct vm *vm, unsigned long page, int level, int result)
{
    if (side_fault(vm->vcpu, gpa_of(page), WRITE_FAULT, level) != result)
        die("a fault had another result");
}

void map_all(struct vm *vm, int level)
{
    for (unsigned long i = 0; i < pages; i += KVM_PAGES_PER_HPAGE(level))
        fault_fixes(vm, i, level);
}

void map_random(struct vm *vm)
{
    for (unsigned long i = 0; i < pages; i++)
        fault_fixes(vm, random_pages[i], PG_LEVEL_4K);
}

void set_bits(struct vm *vm, uint64_t bits)
{
    struct tdp_iter iter;

    rcu_read_lock();
    SIDE_FOR_EACH(iter, vm->vcpu, BASE_GFN, BASE_GFN + pages)
        if (is_shadow_present_pte(iter.old_spte) && is_last_spte(iter.old_spte, iter.level))
            __atomic_store_n(&*iter.sptep, iter.old_spte | bits, __ATOMIC_RELAXED);
    rcu_read_unlock();
}

unsigned long walk_full(struct vm *vm, unsigned long *leaves)
{
    struct tdp_iter iter;
    unsigned long count = 0, found = 0;

    rcu_read_lock();
    SIDE_FOR_EACH(iter, vm->vcpu, BASE_GFN, BASE_GFN + pages) {
        count++;
        found += is_shadow_present_pte(iter.old_spte) && is_last_spte(iter.old_spte, iter.level);
    }
    rcu_read_unlock();
    *leaves = found;
    return count;
}

unsigned long walk_steps(struct vm *vm)
{
    struct tdp_iter iter;
    unsigned long count = 0;

    rcu_read_lock();
    SIDE_FOR_EACH(iter, vm->vcpu, BASE_GFN, BASE_GFN + pages)
        count++;
    rcu_read_unlock();
    return count;
}

unsigned long leaves_of(struct vm *vm)
{
    unsigned long leaves;

    walk_full(vm, &leaves);
    return leaves;
}

unsigned long look_up(struct vm *vm, unsigned long count, bool in_random_order)
{
    unsigned long sum = 0, stretch = pages / random_count;
    uint64_t sptes[8];
    int root_level;

    for (unsigned long i = 0; i < count; i++) {
        unsigned long page = in_random_order ? random_pages[i] * stretch : i;

        rcu_read_lock();
        sum += (unsigned long)kvm_tdp_mmu_get_walk(vm->vcpu, gpa_of(page), sptes, &root_level);
        rcu_read_unlock();
    }
    return sum;
}
