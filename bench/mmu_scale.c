/* SPDX-License-Identifier: GPL-2.0-only */
/* The first VM, a guest of any size, a large slot's log, and what the machine itself does. */
#include <unistd.h>

#include "mmu_rows.h"

static double resident_bytes(void)
{
    long skipped, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (!file || fscanf(file, "%ld %ld", &skipped, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return (double)(resident * sysconf(_SC_PAGESIZE));
}

/* Once in a process, before anything else. */
void do_first(void)
{
    struct vm vm;

    MEASURE_ELAPSED(FIRST_VM, 1e6, vm = vm_new());
    vm_free(&vm);
}

static void refault_random(struct vm *vm)
{
    unsigned long stretch = pages / random_count;

    for (unsigned long i = 0; i < random_count; i++)
        fault_fixes(vm, random_pages[i] * stretch, PG_LEVEL_4K);
}

static void scan(struct vm *vm)
{
    struct kvm_gfn_range range = { .slot = vm->slot, .start = BASE_GFN, .end = BASE_GFN + pages };
    unsigned long visited = walk_steps(vm), sum = 0;
    bool young;

    MEASURE(S_ITER, visited, visited = walk_steps(vm));
    MEASURE(S_GET_WALK, random_count, sum = look_up(vm, random_count, true));
    check(sum, random_count, "levels that get_walk found");
    MEASURE(S_REFAULT, random_count, refault_random(vm));
    read_lock(&vm->kvm->mmu_lock);
    MEASURE(S_WRPROT, pages, kvm_tdp_mmu_wrprot_slot(vm->kvm, vm->slot, PG_LEVEL_4K));
    MEASURE(S_WRPROT_NOOP, pages, kvm_tdp_mmu_wrprot_slot(vm->kvm, vm->slot, PG_LEVEL_4K));
    read_unlock(&vm->kvm->mmu_lock);
    side_age_lock(vm->kvm);
    MEASURE(S_AGE, pages, young = kvm_tdp_mmu_age_gfn_range(vm->kvm, &range));
    side_age_unlock(vm->kvm);
    if (!young)
        die("aging answers wrongly");
}

void do_scale(void)
{
    double empty = resident_bytes(), full, left, quiet = wait_for_quiet();
    double tables = (double)pages / 512 + (double)pages / 512 / 512 + 2;
    struct vm vm = vm_new();

    MEASURE(S_FIRST, pages, map_all(&vm, PG_LEVEL_4K));
    full = resident_bytes();
    scan(&vm);
    MEASURE_ELAPSED(S_DESTROY, pages, vm_free(&vm));
    rcu_barrier();
    left = resident_bytes();
    /* Linux's memory was touched beforehand, and is the benchmark's. */
    if (SIDE_IS_OURS) {
        sample(S_TABLE, (full - empty) / tables, quiet);
        sample(S_LEFT, (left - empty) / (full - empty) * 100, quiet);
    }
}

/* 2^28 pages whatever the guest's size: nothing is mapped. */
void do_log(void)
{
    struct kvm *kvm = side_create_vm(true);
    int error = 0;

    if (!kvm)
        die("no VM");
    MEASURE_ELAPSED(LOG_SLOT, 1e6, error = side_set_slot(kvm, BASE_GFN, 1ul << 28, BASE_PFN, KVM_MEM_LOG_DIRTY_PAGES));
    if (error)
        die("no slot of 1 TiB");
    side_destroy_vm(kvm);
}

/* What the machine can do at best with tables of the guest's size: the floor under the other rows. */
typedef uint64_t pair __attribute__((vector_size(16)));

static unsigned long scan_words(const pair *words, unsigned long count)
{
    unsigned long found = 0;

    for (unsigned long i = 0; i < count / 2; i += 4) {
        pair any = words[i] | words[i + 1] | words[i + 2] | words[i + 3];

        found += ((any[0] | any[1]) & WRITABLE_BIT) != 0;
    }
    return found;
}

static void change_words(uint64_t *words, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        uint64_t old = words[i];

        __atomic_compare_exchange_n(&words[i], &old, old | WRITABLE_BIT, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
}

static void fill_words(pair *words, unsigned long count)
{
    pair next = { 0x865, 0x1865 };

    for (unsigned long i = 0; i < count / 2; i++, next += 2 << 12)
        words[i] = next;
    __asm__ volatile("" ::: "memory");
}

static void do_limits(void)
{
    uint64_t *words = aligned_alloc(1 << 21, pages * sizeof(*words));
    unsigned long found = 0;

    if (!words)
        die("no memory");
    fill_words((pair *)words, pages);
    MEASURE(LIMIT_FILL, pages, fill_words((pair *)words, pages));
    MEASURE(LIMIT_SCAN, pages, found += scan_words((const pair *)words, pages));
    check(found, 0, "writable words");
    MEASURE(LIMIT_CHANGE, pages, change_words(words, pages));
    check(scan_words((const pair *)words, pages), pages / 8, "groups of writable words");
    free(words);
}

void do_clock(void)
{
    const unsigned long count = 2000000;
    uint64_t chain = 3, word = 0;

    MEASURE(CLOCK_IMUL, count, for (unsigned long i = 0; i < count; i++) {
        chain *= 0x9e3779b97f4a7c15u;
        __asm__ volatile("" : "+r"(chain));
    });
    MEASURE(CLOCK_LOCKED, count, for (unsigned long i = 0; i < count; i++) {
        uint64_t expected = i;

        __atomic_compare_exchange_n(&word, &expected, i + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    });
    do_limits();
}
