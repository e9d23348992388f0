/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * seed_recording FOLDER: recordings for the fuzzer of recordings to begin with: small VMs with the marks that make
 * them replayable, and a file with one event of each kind.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tdpmmu.h>

static const char *folder;

static int new_file(const char *name)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0666);
    if (fd < 0) {
        perror(path);
        exit(1);
    }
    return fd;
}

#define WHERE " slot=0 as_id=0 gpa=0x40000000 npages=0x10 hva=0x7f0000000000 "

static void step(struct kvm *kvm, const char *text, uint32_t flags, uint64_t bytes)
{
    struct kvm_userspace_memory_region region = {
        .guest_phys_addr = 1 << 30, .memory_size = bytes, .userspace_addr = 0x7f0000000000, .flags = flags };
    char done[64] = "DONE ";
    size_t word = strcspn(text + 5, " ");

    tdpmmu_trace_mark(kvm, text);
    if (kvm_set_memory_region(kvm, &region))
        exit(1);
    snprintf(done + 5, sizeof(done) - 5, "%.*s slot=0 ret=0", (int)word, text + 5);
    tdpmmu_trace_mark(kvm, done);
}

static void record(const char *name, struct tdpmmu_vm_config config)
{
    struct kvm_vcpu *vcpu;
    struct kvm *kvm;
    int fd = new_file(name);

    config.size = sizeof(config);
    kvm = tdpmmu_create_vm(&config);
    if (!kvm)
        exit(1);
    tdpmmu_trace_enable(kvm, TDPMMU_TRACE_ALL);
    tdpmmu_trace_mark(kvm, config.vendor == TDPMMU_NPT ? "INFO vendor=npt ad=1 root_level=4 maxphyaddr=46"
        : config.ad_disabled ? "INFO vendor=ept ad=0 root_level=4 maxphyaddr=46"
        : "INFO vendor=ept ad=1 pml=1 root_level=4 maxphyaddr=46");
    tdpmmu_trace_mark(kvm, "STEP vm_create nvcpus=1 mode=prot32");
    tdpmmu_trace_mark(kvm, "DONE vm_create ret=0");
    step(kvm, "STEP memslot_add" WHERE "flags=0 kind=anon4k", 0, 16 << 12);
    tdpmmu_trace_mark(kvm, "STEP vcpu_create vcpu=0");
    vcpu = tdpmmu_create_vcpu(kvm, 0);
    tdpmmu_trace_mark(kvm, "DONE vcpu_create vcpu=0");
    tdpmmu_trace_mark(kvm, "STEP touch vcpu=0 gpa=0x40000000 n=3 stride=0x1000 op=w write=1 exec=0");
    kvm_mmu_load(vcpu);
    for (int i = 0; i < 3; i++)
        kvm_tdp_mmu_page_fault(vcpu, (1 << 30) + i * 4096u, PFERR_WRITE_MASK | PFERR_USER_MASK);
    kvm_tdp_mmu_page_fault(vcpu, 0xfee00000, PFERR_USER_MASK);
    tdpmmu_trace_mark(kvm, "DONE touch vcpu=0");
    step(kvm, "STEP dirty_log_on" WHERE "flags=1 kind=anon4k", KVM_MEM_LOG_DIRTY_PAGES, 16 << 12);
    kvm_mmu_notifier_clear_young(kvm, 0x7f0000000000, 0x7f0000002000);
    kvm_mmu_notifier_invalidate_range_start(kvm, 0x7f0000000000, 0x7f0000001000, true);
    kvm_mmu_notifier_invalidate_range_end(kvm, 0x7f0000000000, 0x7f0000001000);
    /* A table that goes tells of each of its entries: too much to begin with. */
    tdpmmu_trace_enable(kvm, TDPMMU_TRACE_ALL & ~TDPMMU_TRACE_BIT(TDPMMU_TRACE_SPTE_CHANGED));
    step(kvm, "STEP memslot_delete" WHERE "flags=0 kind=anon4k", 0, 0);
    tdpmmu_trace_mark(kvm, "STEP close_vm");
    tdpmmu_destroy_vm(kvm);
    if (tdpmmu_trace_write(fd) <= 0)
        exit(1);
    close(fd);
}

static void one_of_each(void)
{
    struct tdpmmu_trace_file head = { .header_size = sizeof(head), .event_size = sizeof(struct tdpmmu_trace_event) };
    int fd = new_file("each");

    memcpy(head.magic, TDPMMU_TRACE_MAGIC, sizeof(head.magic));
    if (write(fd, &head, sizeof(head)) != sizeof(head))
        exit(1);
    for (uint16_t id = 0; id < TDPMMU_TRACE_COUNT; id++) {
        struct tdpmmu_trace_event event = { .count = id, .kvm = 0x1000, .thread = 1, .id = id };

        for (int i = 0; i < 8; i++)
            event.word[i] = UINT64_C(0x0101010101010101); /* where a bool is, it is one */
        if (write(fd, &event, sizeof(event)) != sizeof(event))
            exit(1);
    }
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return fputs("seed_recording FOLDER\n", stderr), 2;
    folder = argv[1];
    record("npt", (struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT });
    record("ept", (struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });
    record("ept-noad", (struct tdpmmu_vm_config){ .ad_disabled = 1, .no_eager_split = 1 });
    record("nx", (struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .nx_huge_pages = 1 });
    one_of_each();
    return 0;
}
