// SPDX-License-Identifier: GPL-2.0-only
// Faults by write protection.  The guest writes into memory that it may only read: each store leaves it and is made here,
// as a VMM does it for flash.  Then the host protects a page of its own, and gives the same memory for writing.
//     cc -O2 -o kvm_read_only examples/kvm_read_only.c && build/tdpmmu-kvm ./kvm_read_only
#include <stdio.h>

#include "kvm_flat.h"

enum { PAGES = 16 };

GUEST static void write_all(uint64_t rounds)
{
    for (uint64_t round = 1; round <= rounds; round++) {
        for (unsigned page = 0; page < PAGES; page++)
            *flat_page(page) = *flat_page(page) + round;
        flat_halt();
    }
    for (;;)
        flat_halt();
}

// Makes the guest's stores until it halts: how many there were.
static unsigned emulate(const struct flat *flat, const struct flat_vcpu *vcpu)
{
    unsigned stores = 0;
    uint32_t reason;
    while ((reason = flat_run(vcpu)) == KVM_EXIT_MMIO) {
        if (!vcpu->run->mmio.is_write || vcpu->run->mmio.phys_addr >= FLAT_SIZE)
            errx(1, "a read of memory that is there, or no memory at all");
        memcpy(flat->memory + vcpu->run->mmio.phys_addr, vcpu->run->mmio.data, vcpu->run->mmio.len);
        stores++;
    }
    if (reason != KVM_EXIT_HLT)
        errx(1, "exit %u", reason);
    return stores;
}

static void expect(const struct flat *flat, uint64_t value)
{
    for (int page = 0; page < PAGES; page++)
        if (*(uint64_t *)(flat->memory + FLAT_DATA + page * 4096) != value)
            errx(1, "page %d is wrong", page);
}

int main(void)
{
    struct flat flat = flat_make(KVM_MEM_READONLY);
    struct flat_vcpu vcpu = flat_vcpu(&flat, 0, write_all, 3);
    unsigned protected = emulate(&flat, &vcpu);
    expect(&flat, 1);
    // KVM does not change the flag of a slot that is there.
    flat_data(&flat, 0, 0);
    flat_data(&flat, 0, FLAT_SIZE - FLAT_DATA);
    unsigned writable = emulate(&flat, &vcpu);
    expect(&flat, 3);
    // The guest's tables lose what the host takes away, and get it again by faults.
    if (mprotect(flat.memory + FLAT_DATA, PAGES * 4096, PROT_READ) ||
        mprotect(flat.memory + FLAT_DATA, PAGES * 4096, PROT_READ | PROT_WRITE))
        err(1, "mprotect");
    writable += emulate(&flat, &vcpu);
    expect(&flat, 6);
    printf("%u stores into read-only memory, %u where it was writable\n", protected, writable);
    return 0;
}
