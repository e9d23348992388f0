// SPDX-License-Identifier: GPL-2.0-only
// The smallest guest: in real mode it says "hello, world" on port 0x3f8, a letter an `out`, and halts.
//     cc -o kvm_hello examples/kvm_hello.c && build/tdpmmu-kvm ./kvm_hello
// It runs on a real /dev/kvm just as well.
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static const uint8_t code[] = {
    0xba, 0xf8, 0x03,       /* mov dx, 0x3f8 */
    0xbe, 0x20, 0x10,       /* mov si, 0x1020 */
    0xac,                   /* again: lodsb */
    0x84, 0xc0,             /* test al, al */
    0x74, 0x03,             /* jz done */
    0xee,                   /* out dx, al */
    0xeb, 0xf8,             /* jmp again */
    0xf4,                   /* done: hlt */
};

static int call(int fd, unsigned long number, void *argument, const char *name)
{
    int result = ioctl(fd, number, argument);
    if (result < 0)
        err(1, "%s", name);
    return result;
}
#define CALL(fd, number, argument) call(fd, number, (void *)(argument), #number)

int main(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        err(1, "/dev/kvm");
    int vm = CALL(kvm, KVM_CREATE_VM, 0);
    uint8_t *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memcpy(memory, code, sizeof code);
    strcpy((char *)memory + 0x20, "hello, world\n");
    struct kvm_userspace_memory_region region = {
        .guest_phys_addr = 0x1000, .memory_size = 4096, .userspace_addr = (uint64_t)memory};
    CALL(vm, KVM_SET_USER_MEMORY_REGION, &region);

    int vcpu = CALL(vm, KVM_CREATE_VCPU, 0);
    size_t size = (size_t)CALL(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    struct kvm_sregs sregs;
    CALL(vcpu, KVM_GET_SREGS, &sregs);
    sregs.cs.base = sregs.cs.selector = 0;
    CALL(vcpu, KVM_SET_SREGS, &sregs);
    struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
    CALL(vcpu, KVM_SET_REGS, &regs);

    for (;;) {
        CALL(vcpu, KVM_RUN, 0);
        if (run->exit_reason == KVM_EXIT_HLT)
            return 0;
        if (run->exit_reason != KVM_EXIT_IO || run->io.port != 0x3f8)
            errx(1, "exit %u", run->exit_reason);
        fwrite((char *)run + run->io.data_offset, run->io.size, 1, stdout);
    }
}
