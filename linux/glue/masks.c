// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CPU and its SPTE masks.  The kernel computes the masks once for the machine that it runs on;
 * here each VM is a machine, and a thread that works on a VM has the VM's masks in its variables.
 */
#include "face.h"

__thread struct linux_cpuinfo boot_cpu_data = { 46, 46, 0x80000008 };
__thread bool linux_l1tf;
__thread struct kvm_host_values kvm_host;
__thread struct kvm_x86_ops kvm_x86_ops;
__thread bool eager_page_split = true;
__thread const unsigned int *linux_recovery_ratio;
static __thread const struct kvm *loaded;
bool tdp_mmu_enabled = true;
bool tdp_enabled = true;
int max_huge_page_level = PG_LEVEL_1G;
int nx_huge_pages = 1; /* each VM says whether it wants them */

#define LINUX_MASK(name) + 1
_Static_assert(0
#include "linux_masks.h"
    <= LINUX_MOST_MASKS, "linux_machine.mask");
#undef LINUX_MASK

static void save_masks(struct linux_machine *machine)
{
    int i = 0;

#define LINUX_MASK(name) machine->mask[i++] = name;
#include "linux_masks.h"
#undef LINUX_MASK
}

static void load_cpu(const struct linux_machine *machine)
{
    boot_cpu_data = machine->cpu;
    linux_l1tf = machine->l1tf;
    kvm_host.maxphyaddr = machine->maxphyaddr;
    kvm_x86_ops.cpu_dirty_log_size = machine->cpu_dirty_log_size;
}

void linux_machine_load(const struct kvm *kvm)
{
    const struct linux_machine *machine = &kvm->machine;
    int i = 0;

    eager_page_split = kvm->face->eager_split;
    if (loaded == kvm && kvm_host.maxphyaddr)
        return;
    loaded = kvm;
    load_cpu(machine);
#define LINUX_MASK(name) name = machine->mask[i++];
#include "linux_masks.h"
#undef LINUX_MASK
}

/* A VM is gone, and another may come to stand where it stood. */
void linux_machine_forget(void) { loaded = NULL; }

static void module_init(void)
{
    enable_mmio_caching = true;
    kvm_mmu_spte_module_init();
}

void linux_machine_init(struct linux_machine *machine, const struct tdpmmu_vm_config *config)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    u8 bits = (u8)(config->maxphyaddr ? config->maxphyaddr : 46);

    pthread_once(&once, module_init);
    loaded = NULL;
    machine->maxphyaddr = bits;
    machine->root_level = (u8)(config->root_level ? config->root_level : 4);
    machine->l1tf = config->l1tf_cache_bits != 0;
    machine->pml_oldest_first = config->pml_oldest_first;
    machine->cpu = (struct linux_cpuinfo){ bits, (u8)(config->l1tf_cache_bits ? config->l1tf_cache_bits : bits),
                                           0x80000008 };
    machine->cpu_dirty_log_size = config->vendor == TDPMMU_EPT && !config->ad_disabled && !config->no_pml ? 512 : 0;
    load_cpu(machine);
    enable_mmio_caching = true;
    kvm_mmu_reset_all_pte_masks();
    if (config->vendor == TDPMMU_EPT)
        kvm_mmu_set_ept_masks(!config->ad_disabled, true);
    save_masks(machine);
}
