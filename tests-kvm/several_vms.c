// SPDX-License-Identifier: GPL-2.0-only
// Three VMs: two at once, whose guests take turns, and one behind them, perhaps at an address of theirs.
// Run by kvm/check.py, which looks at the recording of each.
#include <stdio.h>
#include <unistd.h>

#include "../examples/kvm_flat.h"

enum { ROUNDS = 10 };

GUEST static void write_pages(uint64_t value)
{
    for (uint64_t page = 0;; page++) {
        *flat_page(page) = value;
        flat_halt();
    }
}

static int is_written(const struct flat *flat, uint64_t value)
{
    int pages = 0;
    for (int page = 0; page < ROUNDS; page++)
        pages += *(uint64_t *)(flat->memory + FLAT_DATA + 4096 * page) == value;
    return pages;
}

static void end(struct flat *flat, struct flat_vcpu *vcpu)
{
    munmap(vcpu->run, (size_t)FLAT_CALL(flat->kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
    close(vcpu->fd);
    close(flat->vm);
}

int main(void)
{
    struct flat flat[3] = {flat_make(0), flat_make(0)};
    struct flat_vcpu vcpu[3];
    for (int i = 0; i < 2; i++)
        vcpu[i] = flat_vcpu(&flat[i], 0, write_pages, (uint64_t)i + 1);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < 2; i++)
            flat_run_to_halt(&vcpu[i]);
    for (int i = 0; i < 2; i++)
        end(&flat[i], &vcpu[i]);
    flat[2] = flat_make(0);
    vcpu[2] = flat_vcpu(&flat[2], 0, write_pages, 3);
    for (int round = 0; round < ROUNDS; round++)
        flat_run_to_halt(&vcpu[2]);
    int pages = 0;
    for (int i = 0; i < 3; i++)
        pages += is_written(&flat[i], (uint64_t)i + 1);
    printf("%d pages of 3 VMs\n", pages);
    return 0;
}
