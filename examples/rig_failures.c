/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every failure: what the library asks the system for is refused to it, at the first call, the second, and so on; then
 * the same work is done again, with all that it asks for.  After each the checker looks at the whole VM.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <tdpmmu.h>

static struct kvm *kvm;
static struct kvm_vcpu *vcpu;

static int make_vm(void)
{
    kvm = tdpmmu_create_vm(NULL);
    return kvm ? 0 : -errno;
}

static int make_vcpu(void)
{
    vcpu = tdpmmu_create_vcpu(kvm, 0);
    return vcpu ? 0 : -errno;
}

static int add_memory(void)
{
    struct kvm_userspace_memory_region ram = {.memory_size = 1 << 30, .userspace_addr = 1 << 30};

    return kvm_set_memory_region(kvm, &ram);
}

static int load(void)
{
    return kvm_mmu_load(vcpu);
}

static int fault(void)
{
    int ret = kvm_tdp_mmu_page_fault(vcpu, 0x5000, PFERR_WRITE_MASK);

    return ret == RET_PF_FIXED || ret == RET_PF_SPURIOUS ? 0 : ret;
}

static int log_writes(void) /* splits the huge page */
{
    struct kvm_userspace_memory_region ram = {
        .memory_size = 1 << 30, .userspace_addr = 1 << 30, .flags = KVM_MEM_LOG_DIRTY_PAGES};

    return kvm_set_memory_region(kvm, &ram);
}

static const struct { const char *name; int (*work)(void); } steps[] = {
    {"tdpmmu_create_vm", make_vm}, {"tdpmmu_create_vcpu", make_vcpu}, {"kvm_set_memory_region", add_memory},
    {"kvm_mmu_load", load}, {"kvm_tdp_mmu_page_fault", fault}, {"dirty logging", log_writes},
};

int main(void)
{
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        uint64_t n = 0, calls;
        int ret = 0, refused = 0;

        do { /* until the plan's call is one that is not made any more */
            tdpmmu_fail_nth(TDPMMU_FAIL_ANY | TDPMMU_FAIL_HERE, ++n);
            ret = steps[i].work();
            calls = tdpmmu_fail_count(TDPMMU_FAIL_ANY);
            tdpmmu_fail_nth(TDPMMU_FAIL_ANY, 0);
            refused += ret != 0;
            if ((ret && ret != -ENOMEM && ret != -EAGAIN) || (kvm && tdpmmu_check(kvm)))
                return fprintf(stderr, "%s, call %llu refused: %d\n", steps[i].name, (unsigned long long)n, ret), 1;
        } while (ret && calls >= n);
        if (ret && (ret = steps[i].work()) != 0)
            return fprintf(stderr, "%s does not work any more: %d\n", steps[i].name, ret), 1;
        printf("%-24s %d refusals, then it works\n", steps[i].name, refused);
    }
    tdpmmu_destroy_vm(kvm);
    return 0;
}
