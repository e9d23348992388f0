/* SPDX-License-Identifier: GPL-2.0-only */
/* Sizes, offsets and constants that a compiled program relies on. */
#include "test_helpers.h"

#include <assert.h>

#define SIZE(type, bytes) static_assert(sizeof(type) == (bytes), #type)
#define AT(type, field, bytes) static_assert(offsetof(type, field) == (bytes), #type "." #field)
#define IS(name, value) static_assert((name) == (value), #name)

SIZE(gfn_t, 8);
SIZE(gpa_t, 8);
SIZE(hpa_t, 8);
SIZE(kvm_pfn_t, 8);

SIZE(struct rcu_head, 16);
AT(struct rcu_head, next, 0);
AT(struct rcu_head, func, 8);

SIZE(union kvm_mmu_page_role, 4);

SIZE(struct kvm_mmu_page, 128);
AT(struct kvm_mmu_page, next, 0);
AT(struct kvm_mmu_page, spt, 8);
AT(struct kvm_mmu_page, gfn, 16);
AT(struct kvm_mmu_page, kvm, 24);
AT(struct kvm_mmu_page, ptep, 32);
AT(struct kvm_mmu_page, rcu_head, 40);
AT(struct kvm_mmu_page, role, 56);
AT(struct kvm_mmu_page, tdp_mmu_root_count, 60);
AT(struct kvm_mmu_page, tdp_mmu_page, 64);
AT(struct kvm_mmu_page, nx_huge_page_disallowed, 65);
AT(struct kvm_mmu_page, tdp_mmu_scheduled_root_to_zap, 66);

SIZE(struct tdpmmu_rwlock, 16);
SIZE(rwlock_t, 16);
AT(struct tdpmmu_rwlock, state, 0);
AT(struct tdpmmu_rwlock, sleepers, 4);
AT(struct tdpmmu_rwlock, rank, 6);
AT(struct tdpmmu_rwlock, owner, 8);
AT(struct kvm, mmu_lock, 0);
AT(struct kvm, srcu, 16);

SIZE(struct tdpmmu_rcu_reader, 64);
AT(struct tdpmmu_rcu_reader, word, 0);

SIZE(struct kvm_memory_slot, 32);
AT(struct kvm_memory_slot, base_gfn, 0);
AT(struct kvm_memory_slot, npages, 8);
AT(struct kvm_memory_slot, userspace_addr, 16);
AT(struct kvm_memory_slot, flags, 24);
AT(struct kvm_memory_slot, id, 28);
AT(struct kvm_memory_slot, as_id, 30);

SIZE(struct kvm_gfn_range, 32);
AT(struct kvm_gfn_range, slot, 0);
AT(struct kvm_gfn_range, start, 8);
AT(struct kvm_gfn_range, end, 16);
AT(struct kvm_gfn_range, may_block, 24);

SIZE(struct tdpmmu_warning, 40);
AT(struct tdpmmu_warning, kind, 0);
AT(struct tdpmmu_warning, function, 8);
AT(struct tdpmmu_warning, text, 16);
AT(struct tdpmmu_warning, value, 24);

/* Structs with a leading size may grow at the end only. */
AT(struct tdpmmu_ops, size, 0);
AT(struct tdpmmu_ops, gfn_to_pfn, 8);
AT(struct tdpmmu_ops, flush_tlb, 16);
AT(struct tdpmmu_ops, spte_changed, 24);
AT(struct tdpmmu_ops, need_resched, 32);
AT(struct tdpmmu_ops, warn, 40);
AT(struct tdpmmu_ops, mapping_level, 48);
AT(struct tdpmmu_ops, slot_committing, 56);
AT(struct tdpmmu_ops, trace, 64);
AT(struct tdpmmu_ops, yield_at, 72);
AT(struct tdpmmu_ops, yielded, 80);
AT(struct tdpmmu_vm_config, size, 0);
AT(struct tdpmmu_vm_config, vendor, 8);
AT(struct tdpmmu_vm_config, root_level, 12);
AT(struct tdpmmu_vm_config, maxphyaddr, 16);
AT(struct tdpmmu_vm_config, ad_disabled, 20);
AT(struct tdpmmu_vm_config, table_limit, 24);
AT(struct tdpmmu_vm_config, ops, 32);
AT(struct tdpmmu_vm_config, ops_ctx, 40);
AT(struct tdpmmu_vm_config, nx_huge_pages, 48);
AT(struct tdpmmu_vm_config, no_eager_split, 52);
AT(struct tdpmmu_vm_config, no_pml, 56);
AT(struct tdpmmu_vm_config, dirty_log, 60);
AT(struct tdpmmu_vm_config, zap_slot_only, 64);
AT(struct tdpmmu_vm_config, l1tf_cache_bits, 68);
AT(struct tdpmmu_vm_config, pml_oldest_first, 72);
AT(struct tdpmmu_vm_config, ring_index, 76);
AT(struct tdpmmu_vm_config, slots_generation, 80);
AT(struct tdpmmu_vm_config, invalidate_seq, 88);
SIZE(struct tdpmmu_vm_config, 96);
AT(struct tdpmmu_stats, pages_4k, 0);
AT(struct tdpmmu_stats, tables, 24);
AT(struct tdpmmu_stats, roots, 40);
AT(struct tdpmmu_stats, faults, 48);
AT(struct tdpmmu_stats, mmio_sptes, 88);
AT(struct tdpmmu_stats, warnings, 120);
AT(struct tdpmmu_stats, fast_faults, 128);
AT(struct tdpmmu_stats, splits, 136);
AT(struct tdpmmu_stats, nx_splits, 144);
AT(struct tdpmmu_stats, pml_full, 152);
AT(struct tdpmmu_stats, pml_flushes, 160);

SIZE(struct tdp_iter, 104);
AT(struct tdp_iter, next_last_level_gfn, 0);
AT(struct tdp_iter, yielded_gfn, 8);
AT(struct tdp_iter, pt_path, 16);
AT(struct tdp_iter, sptep, 56);
AT(struct tdp_iter, gfn, 64);
AT(struct tdp_iter, root_level, 72);
AT(struct tdp_iter, min_level, 76);
AT(struct tdp_iter, level, 80);
AT(struct tdp_iter, as_id, 84);
AT(struct tdp_iter, old_spte, 88);
AT(struct tdp_iter, valid, 96);
AT(struct tdp_iter, yielded, 97);

IS(RET_PF_CONTINUE, 0);
IS(RET_PF_RETRY, 1);
IS(RET_PF_EMULATE, 2);
IS(RET_PF_WRITE_PROTECTED, 3);
IS(RET_PF_INVALID, 4);
IS(RET_PF_FIXED, 5);
IS(RET_PF_SPURIOUS, 6);
IS(PFERR_PRESENT_MASK, 1);
IS(PFERR_WRITE_MASK, 2);
IS(PFERR_USER_MASK, 4);
IS(PFERR_RSVD_MASK, 8);
IS(PFERR_FETCH_MASK, 16);
IS(PFERR_GUEST_FINAL_MASK, 0x100000000);
IS(PFERR_GUEST_PAGE_MASK, 0x200000000);
IS(SHADOW_NONPRESENT_VALUE, 0x8000000000000000);
IS(FROZEN_SPTE, 0x80000000000005a0);
IS(INVALID_PAGE, UINT64_MAX);
IS(KVM_PAGES_PER_HPAGE(PG_LEVEL_4K), 1);
IS(KVM_PAGES_PER_HPAGE(PG_LEVEL_2M), 512);
IS(KVM_PAGES_PER_HPAGE(PG_LEVEL_1G), 262144);
IS(KVM_PAGES_PER_HPAGE(PG_LEVEL_256T), UINT64_C(1) << 36);
IS(KVM_MAX_HUGEPAGE_LEVEL, 3);
IS(TDPMMU_EPT, 0);
IS(TDPMMU_NPT, 1);
IS(TDPMMU_WARN_ARGUMENT, 1);
IS(TDPMMU_WARN_LOCK, 2);
IS(TDPMMU_WARN_SPTE, 3);
IS(TDPMMU_WARN_LEAK, 4);
IS(TDPMMU_WARN_RCU, 5);

/* Bitfields have no offset: set each and look at the word. */
static void role_bits(void **state)
{
    union kvm_mmu_page_role role = { .word = 0 };

    (void)state;
    role.level = 5;
    assert_int_equal(role.word, 5);
    role.word = 0;
    role.direct = 1;
    assert_int_equal(role.word, 1u << 7);
    role.word = 0;
    role.access = 7;
    assert_int_equal(role.word, 7u << 8);
    role.word = 0;
    role.invalid = 1;
    assert_int_equal(role.word, 1u << 11);
    role.word = 0;
    role.efer_nx = 1;
    assert_int_equal(role.word, 1u << 12);
    role.word = 0;
    role.cr0_wp = 1;
    assert_int_equal(role.word, 1u << 13);
    role.word = 0;
    role.ad_disabled = 1;
    assert_int_equal(role.word, 1u << 16);
    role.word = 0;
    role.smm = 1;
    assert_int_equal(role.word, 1u << 24);
}

static void version(void **state)
{
    char text[32];

    (void)state;
    snprintf(text, sizeof(text), "%d.%d.%d", TDPMMU_VERSION_MAJOR, TDPMMU_VERSION_MINOR,
             TDPMMU_VERSION_PATCH);
    assert_string_equal(tdpmmu_version(), text);
}

/* A caller with a smaller struct gets what fits, and no byte more. */
static void stats_of_older_caller(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    uint64_t small[7];

    (void)state;
    memset(small, 0xab, sizeof(small));
    assert_int_equal(tdpmmu_get_stats(w->kvm, (struct tdpmmu_stats *)(void *)small, 48), 0);
    assert_int_equal(small[5], 1); /* roots */
    assert_int_equal(small[6], 0xabababababababab);
    world_free(w);
}

/* A caller with a larger struct, made for a later library, is served too. */
static void stats_of_newer_caller(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct {
        struct tdpmmu_stats known;
        uint64_t later[4];
    } big;

    (void)state;
    memset(&big, 0xab, sizeof(big));
    assert_int_equal(tdpmmu_get_stats(w->kvm, &big.known, sizeof(big)), 0);
    assert_int_equal(big.known.roots, 1);
    world_free(w);
}

/* The options of a caller, as long as he says they are. */
union options {
    struct tdpmmu_vm_config config;
    struct tdpmmu_ops ops;
    uint64_t words[64];
};

/*
 * A program compiled against the first version: 48 bytes of options and 48 of
 * callbacks, and what lies behind them in its memory is nobody's business.
 */
static void options_of_oldest_caller(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    union options config, ops;
    struct kvm *kvm;

    (void)state;
    memset(&config, 0xab, sizeof(config));
    memset(&ops, 0xab, sizeof(ops));
    memset(&config, 0, 48);
    memset(&ops, 0, 48);
    config.config.size = 48;
    config.config.ops = &ops.ops;
    config.config.ops_ctx = w;
    ops.ops.size = 48;
    ops.ops.warn = world_warn;
    kvm = tdpmmu_create_vm(&config.config);
    assert_non_null(kvm);
    assert_int_equal(add_slot(kvm, 0, 0, 0, 512, WORLD_HVA), 0);
    /* mapping_level, of a later version, must not be called through the 0xab. */
    rcu_read_lock();
    const struct kvm_memory_slot *slot = tdpmmu_id_to_memslot(kvm, 0, 0);
    rcu_read_unlock();
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(kvm, 0);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    read_lock(&kvm->mmu_lock);
    assert_int_equal(kvm_tdp_mmu_map(vcpu, 0x5000, PFERR_WRITE_MASK, true, 1, 5, false), RET_PF_FIXED);
    kvm_tdp_mmu_recover_huge_pages(kvm, slot);
    read_unlock(&kvm->mmu_lock);
    tdpmmu_destroy_vm(kvm);
    /* One byte less was never a version. */
    config.config.size = 47;
    errno = 0;
    assert_null(tdpmmu_create_vm(&config.config));
    assert_int_equal(errno, EINVAL);
    config.config.size = 48;
    ops.ops.size = 47;
    errno = 0;
    assert_null(tdpmmu_create_vm(&config.config));
    assert_int_equal(errno, EINVAL);
    world_forget(w);
    world_free(w);
}

/* A later caller may pass options we do not know, if he leaves them zero. */
static void options_of_newer_caller(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    union options config = { .config = { .size = sizeof(config) } };
    union options ops = { .ops = { .size = sizeof(ops), .warn = world_warn } };
    struct kvm *kvm;

    (void)state;
    config.config.ops = &ops.ops;
    config.config.ops_ctx = w;
    kvm = tdpmmu_create_vm(&config.config);
    assert_non_null(kvm);
    tdpmmu_destroy_vm(kvm);
    assert_no_warning(w);
    config.words[63] = 1ull << 56;
    errno = 0;
    assert_null(tdpmmu_create_vm(&config.config));
    assert_int_equal(errno, E2BIG);
    config.words[63] = 0;
    ops.words[sizeof(struct tdpmmu_ops) / 8] = 1;
    errno = 0;
    assert_null(tdpmmu_create_vm(&config.config));
    assert_int_equal(errno, E2BIG);
    world_forget(w);
    world_free(w);
}

static void role_of_root(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 5);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);

    (void)state;
    assert_int_equal(root->role.level, 5);
    assert_int_equal(root->role.direct, 1);
    assert_int_equal(root->role.access, 7);
    assert_int_equal(root->role.efer_nx, 1);
    assert_int_equal(root->role.cr0_wp, 1);
    assert_int_equal(root->role.has_4_byte_gpte, 0);
    assert_int_equal(root->role.quadrant, 0);
    assert_int_equal(root->role.guest_mode, 0);
    assert_int_equal(root->role.invalid, 0);
    assert_int_equal(root->role.ad_disabled, 0);
    assert_int_equal(root->role.smm, 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(role_bits),
        cmocka_unit_test(version),
        cmocka_unit_test(stats_of_older_caller),
        cmocka_unit_test(stats_of_newer_caller),
        cmocka_unit_test(options_of_oldest_caller),
        cmocka_unit_test(options_of_newer_caller),
        cmocka_unit_test(role_of_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
