/* SPDX-License-Identifier: GPL-2.0-only */
/* A flat guest: C of the same program that runs with 64 bits, every address mapped to itself.  Used by the kvm_*.c here.
 * Guest functions are marked GUEST; they use their argument and what lies in memory, and call nothing of the host's. */
#ifndef KVM_FLAT_H
#define KVM_FLAT_H

#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define GUEST __attribute__((section("guest"), noinline, used, target("general-regs-only")))

enum { FLAT_TABLES = 0x1000, FLAT_CODE = 0x10000, FLAT_STACK = 0x80000, FLAT_DATA = 0x200000, FLAT_SIZE = 0x400000 };

extern const char __start_guest[], __stop_guest[]; /* the linker's */

struct flat {
    int kvm, vm;
    uint8_t *memory; /* the guest's, from its address 0: slot 0 below FLAT_DATA, slot 1 from there */
};

struct flat_vcpu {
    int fd;
    struct kvm_run *run;
};

static inline int flat_call(int fd, unsigned long number, void *argument, const char *name)
{
    int result = ioctl(fd, number, argument);
    if (result < 0)
        err(1, "%s", name);
    return result;
}
#define FLAT_CALL(fd, number, argument) flat_call(fd, number, (void *)(uintptr_t)(argument), #number)

/* Slot 1, with flags of KVM's; size 0 deletes it. */
static inline void flat_data(const struct flat *flat, uint32_t flags, uint64_t size)
{
    struct kvm_userspace_memory_region region = {1, flags, FLAT_DATA, size, (uint64_t)(flat->memory + FLAT_DATA)};
    FLAT_CALL(flat->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

static inline struct flat flat_make(uint32_t flags)
{
    struct flat flat = {.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC)};
    if (flat.kvm < 0)
        err(1, "/dev/kvm");
    flat.vm = FLAT_CALL(flat.kvm, KVM_CREATE_VM, 0);
    flat.memory = mmap(NULL, FLAT_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (flat.memory == MAP_FAILED)
        err(1, "mmap");
    uint64_t *table = (uint64_t *)(flat.memory + FLAT_TABLES);
    table[0] = (FLAT_TABLES + 0x1000) | 3; /* present, writable */
    table[512] = (FLAT_TABLES + 0x2000) | 3;
    for (uint64_t i = 0; i < 512; i++)
        table[1024 + i] = i << 21 | 0x83; /* and large */
    memcpy(flat.memory + FLAT_CODE, __start_guest, (size_t)(__stop_guest - __start_guest));
    struct kvm_userspace_memory_region low = {0, 0, 0, FLAT_DATA, (uint64_t)flat.memory};
    FLAT_CALL(flat.vm, KVM_SET_USER_MEMORY_REGION, &low);
    flat_data(&flat, flags, FLAT_SIZE - FLAT_DATA);
    return flat;
}

/* A vCPU that will run `entry` with the argument; what that returns to is nowhere: it ends in flat_halt(). */
static inline struct flat_vcpu flat_vcpu(const struct flat *flat, int id, void (*entry)(uint64_t), uint64_t argument)
{
    struct flat_vcpu vcpu = {.fd = FLAT_CALL(flat->vm, KVM_CREATE_VCPU, id)};
    size_t bytes = (size_t)FLAT_CALL(flat->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    vcpu.run = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.fd, 0);
    if (vcpu.run == MAP_FAILED)
        err(1, "kvm_run");
    struct kvm_sregs sregs;
    FLAT_CALL(vcpu.fd, KVM_GET_SREGS, &sregs);
    struct kvm_segment data = {.limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1};
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cs = data;
    sregs.cs.selector = 8;
    sregs.cs.type = 11;
    sregs.cs.db = 0;
    sregs.cs.l = 1;
    sregs.cr3 = FLAT_TABLES;
    sregs.cr0 = 0x80010011; /* paging, write protection, protected mode */
    sregs.cr4 = 0x20;       /* PAE */
    sregs.efer = 0xd00;     /* long mode, active; NX */
    FLAT_CALL(vcpu.fd, KVM_SET_SREGS, &sregs);
    struct kvm_regs regs = {.rip = FLAT_CODE + (uint64_t)((const char *)entry - __start_guest), .rflags = 2,
                            .rsp = FLAT_STACK - 0x4000u * (unsigned)id - 8, .rdi = argument};
    FLAT_CALL(vcpu.fd, KVM_SET_REGS, &regs);
    struct kvm_mp_state runnable = {KVM_MP_STATE_RUNNABLE};
    ioctl(vcpu.fd, KVM_SET_MP_STATE, &runnable); /* without an interrupt controller it is so already */
    return vcpu;
}

/* Why the guest has stopped: KVM_EXIT_*. */
static inline uint32_t flat_run(const struct flat_vcpu *vcpu)
{
    FLAT_CALL(vcpu->fd, KVM_RUN, 0);
    return vcpu->run->exit_reason;
}

static inline void flat_run_to_halt(const struct flat_vcpu *vcpu)
{
    uint32_t reason = flat_run(vcpu);
    if (reason != KVM_EXIT_HLT)
        errx(1, "exit %u instead of a halt", reason);
}

/* For guests. */
#define flat_halt() __asm__ volatile("hlt" ::: "memory")
#define flat_page(page) ((volatile uint64_t *)(uintptr_t)(FLAT_DATA + ((uint64_t)(page) << 12)))

#endif
