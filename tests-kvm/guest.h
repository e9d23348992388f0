/* SPDX-License-Identifier: GPL-2.0-only */
/* Guests for the tests: a few bytes of code, in real mode or with 64 bits and every address mapped to itself. */
#ifndef GUEST_H
#define GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_refused(call, error)         \
    do {                                    \
        errno = 0;                          \
        assert_int_equal(call, -1);         \
        assert_int_equal(errno, error);     \
    } while (0)

enum { MEMORY = 8 << 20, CODE = 0x10000, DATA = 0x400000, NOTHING = 0x10000000 };

struct guest {
    int kvm, vm, vcpu;
    uint8_t *memory; /* all of the guest's, from its address 0 */
    struct kvm_run *run;
    size_t run_bytes;
};

static inline struct kvm_userspace_memory_region region_of(const struct guest *guest, uint32_t flags)
{
    return (struct kvm_userspace_memory_region){
        .flags = flags, .memory_size = MEMORY, .userspace_addr = (uint64_t)guest->memory};
}

static inline int add_vcpu(const struct guest *guest, int id, struct kvm_run **run)
{
    int vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, id);
    assert_true(vcpu >= 0);
    *run = mmap(NULL, guest->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    assert_true(*run != MAP_FAILED);
    struct kvm_mp_state runnable = {KVM_MP_STATE_RUNNABLE};
    assert_int_equal(ioctl(vcpu, KVM_SET_MP_STATE, &runnable), 0);
    return vcpu;
}

static inline void make_guest(struct guest *guest, uint32_t flags)
{
    guest->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    assert_true(guest->kvm >= 0);
    guest->vm = ioctl(guest->kvm, KVM_CREATE_VM, 0);
    assert_true(guest->vm >= 0);
    guest->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(guest->memory != MAP_FAILED);
    struct kvm_userspace_memory_region region = region_of(guest, flags);
    assert_int_equal(ioctl(guest->vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
    guest->run_bytes = (size_t)ioctl(guest->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    guest->vcpu = add_vcpu(guest, 0, &guest->run);
}

static inline void end_guest(struct guest *guest)
{
    munmap(guest->run, guest->run_bytes);
    close(guest->vcpu);
    close(guest->vm);
    close(guest->kvm);
    munmap(guest->memory, MEMORY);
}

/* The vCPU will run this in real mode. */
static inline void give_real_code(struct guest *guest, const void *code, size_t bytes)
{
    memcpy(guest->memory + CODE, code, bytes);
    struct kvm_sregs sregs;
    assert_int_equal(ioctl(guest->vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.cs.base = CODE;
    sregs.cs.selector = CODE >> 4;
    sregs.cr0 = 0x60000010;
    sregs.efer = sregs.cr4 = 0;
    assert_int_equal(ioctl(guest->vcpu, KVM_SET_SREGS, &sregs), 0);
    struct kvm_regs regs = {.rip = 0, .rflags = 2};
    assert_int_equal(ioctl(guest->vcpu, KVM_SET_REGS, &regs), 0);
}

/* This vCPU will run this with 64 bits; rdi: DATA, rsi: NOTHING, rcx: count. */
static inline void give_code_to(struct guest *guest, int vcpu, const void *code, size_t bytes, uint64_t count)
{
    uint64_t *top = (uint64_t *)(guest->memory + 0x1000), *middle = (uint64_t *)(guest->memory + 0x2000),
             *low = (uint64_t *)(guest->memory + 0x3000);
    top[0] = 0x2003; /* present, writable */
    middle[0] = 0x3003;
    for (uint64_t i = 0; i < 512; i++)
        low[i] = i << 21 | 0x83; /* and large */
    memcpy(guest->memory + CODE, code, bytes);
    struct kvm_sregs sregs;
    assert_int_equal(ioctl(vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.cr3 = 0x1000;
    sregs.cr0 = 0x80010011; /* paging, write protection, protected mode */
    sregs.cr4 = 0x20;       /* PAE */
    sregs.efer = 0xd00;     /* long mode, active; NX */
    sregs.cs.l = 1;
    sregs.cs.selector = 8;
    sregs.idt.limit = 0;
    assert_int_equal(ioctl(vcpu, KVM_SET_SREGS, &sregs), 0);
    struct kvm_regs regs = {.rip = CODE, .rflags = 2, .rsp = 0x80000, .rdi = DATA, .rsi = NOTHING, .rcx = count};
    assert_int_equal(ioctl(vcpu, KVM_SET_REGS, &regs), 0);
}

#define GIVE(guest, ...)                                                                  \
    do {                                                                                  \
        static const uint8_t code[] = {__VA_ARGS__};                                      \
        give_code_to(guest, (guest)->vcpu, code, sizeof code, 0);                         \
    } while (0)
#define GIVE_REAL(guest, ...)                                                             \
    do {                                                                                  \
        static const uint8_t code[] = {__VA_ARGS__};                                      \
        give_real_code(guest, code, sizeof code);                                         \
    } while (0)

/* Pieces of code. */
#define HLT 0xf4
#define FOREVER 0xeb, 0xfe          /* jmp to itself */
#define STORE_DATA 0xc6, 0x07, 0x5a /* mov byte [rdi], 0x5a */
#define LOAD_DATA 0x8a, 0x07        /* mov al, [rdi] */

#endif
