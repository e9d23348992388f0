/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What scripts/check-gdb.py looks at with gdb: VMs of all kinds whose entries are of all sorts.
 * Prints each present or MMIO entry as the library's own functions have it, for gdb's to be
 * compared with, and stops in look_here().
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tdpmmu.h>

#define RAM_HVA 0x40000000ull

static const struct {
    const char *name;
    struct tdpmmu_vm_config config;
} kinds[] = {
    { "ept", { .vendor = TDPMMU_EPT, .nx_huge_pages = 1 } },
    { "ept5", { .vendor = TDPMMU_EPT, .root_level = 5, .maxphyaddr = 52, .no_pml = 1 } },
    { "ept-noad", { .vendor = TDPMMU_EPT, .ad_disabled = 1 } },
    { "ept-l1tf", { .vendor = TDPMMU_EPT, .maxphyaddr = 44, .l1tf_cache_bits = 44 } },
    { "npt", { .vendor = TDPMMU_NPT } },
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

struct kvm *vms[KINDS];

/* Stopped at here; the arguments are what is printed. */
void look_here(struct kvm *kvm, struct kvm_vcpu *vcpu, struct tdp_iter *iter, const struct kvm_memory_slot *slot,
               struct kvm_gfn_range *range, struct kvm_mmu_page *root, struct rcu_head *heads);
void look_here(struct kvm *kvm, struct kvm_vcpu *vcpu, struct tdp_iter *iter, const struct kvm_memory_slot *slot,
               struct kvm_gfn_range *range, struct kvm_mmu_page *root, struct rcu_head *heads)
{
    __asm__ volatile("" : : "r"(kvm), "r"(vcpu), "r"(iter), "r"(slot), "r"(range), "r"(root), "r"(heads) : "memory");
}

void on_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning);
void on_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    __asm__ volatile("" : : "r"(warning) : "memory");
}

void a_callback(struct rcu_head *head);
void a_callback(struct rcu_head *head) { (void)head; }

static void add_slot(struct kvm *kvm, uint32_t id, gpa_t start, uint64_t bytes, uint32_t flags)
{
    struct kvm_userspace_memory_region region = {
        .slot = id, .guest_phys_addr = start, .memory_size = bytes, .userspace_addr = RAM_HVA + start, .flags = flags };

    if (kvm_set_memory_region(kvm, &region))
        abort();
}

static kvm_pfn_t to_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                        bool *writable, int *max_level)
{
    (void)ctx, (void)kvm, (void)write;
    *writable = *writable && gfn != 0x803;
    *max_level = slot->id == 0 && gfn < 0x800 ? PG_LEVEL_2M : PG_LEVEL_4K;
    return gfn + 0x100000;
}

static struct kvm *make(int kind, struct kvm_vcpu **vcpu)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .gfn_to_pfn = to_pfn };
    struct tdpmmu_vm_config config = kinds[kind].config;
    struct kvm *kvm;

    config.size = sizeof(config);
    config.ops = &ops;
    kvm = tdpmmu_create_vm(&config);
    if (!kvm)
        abort();
    add_slot(kvm, 0, 0, 16 << 20, 0);
    add_slot(kvm, 1, 64 << 20, 4 << 20, KVM_MEM_LOG_DIRTY_PAGES);
    add_slot(kvm, 1 << 16, 0, 4 << 20, 0);
    *vcpu = tdpmmu_create_vcpu(kvm, 0);
    kvm_mmu_load(*vcpu);
    kvm_mmu_load(tdpmmu_create_vcpu(kvm, 7));
    return kvm;
}

static void fault(struct kvm_vcpu *vcpu, gfn_t gfn, uint64_t code) { kvm_tdp_mmu_page_fault(vcpu, gfn << 12, code); }

/* Returns one that is in SMM. */
static struct kvm_vcpu *fill(struct kvm *kvm, struct kvm_vcpu *vcpu)
{
    struct kvm_vcpu *smm = tdpmmu_create_vcpu(kvm, 3);
    struct kvm_gfn_range range;

    fault(vcpu, 0, PFERR_WRITE_MASK);
    fault(vcpu, 0x205, PFERR_FETCH_MASK); /* splits where huge pages are not executable */
    for (gfn_t gfn = 0x800; gfn < 0x810; gfn++)
        fault(vcpu, gfn, gfn & 1 ? PFERR_WRITE_MASK : 0);
    for (gfn_t gfn = 0x4000; gfn < 0x4008; gfn++)
        fault(vcpu, gfn, gfn & 4 ? PFERR_WRITE_MASK : 0);
    fault(vcpu, 0xfee00, 0); /* MMIO */
    rcu_read_lock();
    range = (struct kvm_gfn_range){ .slot = tdpmmu_id_to_memslot(kvm, 0, 0), .start = 0x804, .end = 0x808 };
    kvm_tdp_mmu_age_gfn_range(kvm, &range);
    rcu_read_unlock();
    tdpmmu_vcpu_set_as_id(smm, 1);
    kvm_mmu_load(smm);
    fault(smm, 1, PFERR_WRITE_MASK);
    return smm;
}

static void tell(struct kvm *kvm, const char *name, struct kvm_mmu_page *root)
{
    struct tdp_iter iter;

    printf("ROOT %s %p\n", name, (void *)root);
    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, (int)root->role.level, 0, UINT64_C(1) << 45) {
        uint64_t spte = iter.old_spte;

        if (spte == SHADOW_NONPRESENT_VALUE)
            continue;
        printf("ENTRY %s %d 0x%llx 0x%llx", name, iter.level, (unsigned long long)iter.gfn, (unsigned long long)spte);
        if (is_mmio_spte(kvm, spte))
            printf(" mmio 0x%llx 0x%llx\n", (unsigned long long)get_mmio_spte_gfn(kvm, spte),
                   (unsigned long long)get_mmio_spte_generation(spte));
        else
            printf(" %s w%d a%d d%d x%d 0x%llx\n", is_last_spte(spte, iter.level) ? "leaf" : "table", is_writable_pte(spte),
                   is_accessed_spte(kvm, spte), is_dirty_spte(kvm, spte), is_executable_pte(kvm, spte),
                   (unsigned long long)spte_to_pfn(spte));
    }
    rcu_read_unlock();
}

int main(void)
{
    static struct rcu_head heads[2];
    struct kvm_gfn_range range = { .start = 5, .end = 9, .may_block = true };
    struct kvm_vcpu *vcpu[KINDS], *smm;
    struct tdp_iter iter;

    setvbuf(stdout, NULL, _IONBF, 0);
    tdpmmu_set_warn_handler(on_warning, NULL);
    for (int i = 0; i < KINDS; i++) {
        vms[i] = make(i, &vcpu[i]);
        printf("MADE %s %p\n", kinds[i].name, (void *)vms[i]);
        smm = fill(vms[i], vcpu[i]);
        tell(vms[i], kinds[i].name, tdpmmu_vcpu_root(vcpu[i]));
        tell(vms[i], kinds[i].name, tdpmmu_vcpu_root(smm));
    }
    kvm_tdp_mmu_zap_leafs(vms[0], 0, 1, false); /* without mmu_lock: a warning */
    heads[1].func = a_callback;
    rcu_read_lock();
    call_rcu(&heads[0], a_callback);
    read_lock(&vms[0]->mmu_lock);
    tdp_iter_start(&iter, tdpmmu_vcpu_root(vcpu[0])->spt, 4, 1, 0x801);
    while (iter.valid && iter.level > 1)
        tdp_iter_next(&iter);
    range.slot = tdpmmu_id_to_memslot(vms[0], 0, 1);
    look_here(vms[0], vcpu[0], &iter, range.slot, &range, tdpmmu_vcpu_root(vcpu[0]), heads);
    read_unlock(&vms[0]->mmu_lock);
    rcu_read_unlock();
    rcu_barrier();
    for (int i = 0; i < KINDS; i++)
        tdpmmu_destroy_vm(vms[i]);
    return 0;
}
