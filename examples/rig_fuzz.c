/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fuzzer: bytes are operations on a VM whose CPUs keep translations for as long as nobody tells them to forget.
 * "rig_fuzz SEED" is a rig that does right; "rig_fuzz SEED forget" forgets the flushes that it is told of.
 * clang -DLIBFUZZER -fsanitize=fuzzer rig_fuzz.c -ltdpmmu: bytes from libFuzzer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tdpmmu.h>

#define PAGES 2048
#define HVA (UINT64_C(1) << 30)

static int reports;
static bool forgets;

static void report(void *ctx, struct kvm *kvm, const struct tdpmmu_cpu_report *report)
{
    (void)ctx, (void)kvm;
    reports++;
    fprintf(stderr, "%s: gfn %#llx, SPTE %#llx, %s\n", report->text, (unsigned long long)report->gfn,
            (unsigned long long)report->cached_spte, report->operation ? report->operation : "");
}

static void step(struct kvm *kvm, struct kvm_vcpu *vcpu, const uint8_t *bytes)
{
    gfn_t gfn = (bytes[1] << 8 | bytes[2]) % PAGES, end = gfn + 1 + bytes[3] % 64;
    uint64_t error = 0, access = bytes[0] & 8 ? PFERR_WRITE_MASK : 0;

    switch (bytes[0] & 7) {
    case 0: /* who zaps owes the flush that he is told of; of all, as huge pages go that reach out of the range */
        write_lock(&kvm->mmu_lock);
        if (kvm_tdp_mmu_zap_leafs(kvm, gfn, end, false) && !forgets)
            kvm_flush_remote_tlbs(kvm);
        write_unlock(&kvm->mmu_lock);
        break;
    case 1: /* the host takes pages back, and gives others */
        kvm_mmu_notifier_invalidate_range_start(kvm, HVA + (gfn << 12), HVA + (end << 12), true);
        kvm_mmu_notifier_invalidate_range_end(kvm, HVA + (gfn << 12), HVA + (end << 12));
        break;
    case 2:
        kvm_mmu_notifier_clear_young(kvm, HVA + (gfn << 12), HVA + (end << 12));
        break;
    default: /* the guest reads or writes, and faults */
        if (kvm_mmu_load(vcpu) == 0 && tdpmmu_cpu_access(vcpu, gfn << 12, access, &error) == 0)
            kvm_tdp_mmu_page_fault(vcpu, gfn << 12, error);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct tdpmmu_cpus_config cpus = {.size = sizeof(cpus), .flags = TDPMMU_CPUS_FILL_ALWAYS, .report = report};
    struct kvm_userspace_memory_region ram = {.memory_size = PAGES << 12, .userspace_addr = HVA};
    struct kvm *kvm = tdpmmu_create_vm(NULL);
    struct kvm_vcpu *vcpu[2] = {tdpmmu_create_vcpu(kvm, 0), tdpmmu_create_vcpu(kvm, 1)};

    if (!vcpu[0] || !vcpu[1] || kvm_set_memory_region(kvm, &ram) || tdpmmu_cpus_attach(kvm, &cpus))
        abort();
    for (size_t at = 0; at + 4 <= size && !reports; at += 4)
        step(kvm, vcpu[bytes[at] >> 7], bytes + at);
    tdpmmu_destroy_vm(kvm);
    return reports ? abort(), 1 : 0;
}

#ifndef LIBFUZZER
int main(int argc, char **argv)
{
    uint8_t bytes[4096];

    srandom(argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 0) : 1);
    forgets = argc > 2;
    for (int input = 0; input < 50; input++) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)(random() >> 8);
        LLVMFuzzerTestOneInput(bytes, sizeof(bytes));
    }
    puts("no report");
}
#endif
