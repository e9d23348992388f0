// SPDX-License-Identifier: GPL-2.0-only
/* What trace rings need of the system: whose they are, and a way into a file. */
#define _GNU_SOURCE
#include "cplatform.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

static pthread_key_t ring_key;
static bool ring_key_valid;
static pthread_once_t ring_once = PTHREAD_ONCE_INIT;

static void leave_ring(void *address)
{
    struct cp_trace_ring *ring = address;

    cp_self()->trace_ring = NULL;
    /* Pairs with the acquiring exchange of the thread that takes the ring over. */
    __atomic_store_n(&ring->owned.raw, 0, __ATOMIC_RELEASE);
}

static void make_key(void)
{
    ring_key_valid = pthread_key_create(&ring_key, leave_ring) == 0;
}

bool cp_ring_adopt(struct cp_trace_ring *ring)
{
    pthread_once(&ring_once, make_key);
    if (!ring_key_valid || cp_fails(TDPMMU_FAIL_ALLOCATION) || pthread_setspecific(ring_key, ring) != 0)
        return false;
    cp_self()->trace_ring = ring;
    return true;
}

int32_t cp_cached_tid(void)
{
    struct cp_thread *self = cp_self();

    if (self->tid == 0)
        self->tid = cp_gettid();
    return self->tid;
}

uint16_t cp_current_cpu(void)
{
    int cpu = sched_getcpu();

    return cpu < 0 ? 0 : (uint16_t)cpu;
}

int cp_write_all(int fd, const void *bytes, size_t count, ptrdiff_t *written)
{
    int saved = errno, error = 0;

    *written = 0;
    while ((size_t)*written < count && !error) {
        bool fails = cp_fails(TDPMMU_FAIL_WRITE);
        ssize_t done = fails ? -1 : write(fd, (const char *)bytes + *written, count - (size_t)*written);

        if (fails)
            error = ENOSPC;
        else if (done > 0)
            *written += done;
        else if (done == 0)
            error = EIO; /* a file that takes nothing, and does not say why */
        else if (errno != EINTR)
            error = errno;
    }
    errno = saved;
    return error;
}

static const char *const event_names[TDPMMU_TRACE_COUNT] = {
    [TDPMMU_TRACE_GET_PAGE] = "kvm_mmu_get_page",
    [TDPMMU_TRACE_PREPARE_ZAP_PAGE] = "kvm_mmu_prepare_zap_page",
    [TDPMMU_TRACE_MARK_MMIO_SPTE] = "mark_mmio_spte",
    [TDPMMU_TRACE_CHECK_MMIO_SPTE] = "check_mmio_spte",
    [TDPMMU_TRACE_HANDLE_MMIO] = "handle_mmio_page_fault",
    [TDPMMU_TRACE_FAST_PAGE_FAULT] = "fast_page_fault",
    [TDPMMU_TRACE_ZAP_ALL_FAST] = "kvm_mmu_zap_all_fast",
    [TDPMMU_TRACE_SET_SPTE] = "kvm_mmu_set_spte",
    [TDPMMU_TRACE_SPTE_REQUESTED] = "kvm_mmu_spte_requested",
    [TDPMMU_TRACE_SPTE_CHANGED] = "kvm_tdp_mmu_spte_changed",
    [TDPMMU_TRACE_SPLIT_HUGE_PAGE] = "kvm_mmu_split_huge_page",
    [TDPMMU_TRACE_PAGE_FAULT] = "kvm_page_fault",
    [TDPMMU_TRACE_SMM_TRANSITION] = "kvm_smm_transition",
    [TDPMMU_TRACE_RING_PUSH] = "kvm_dirty_ring_push",
    [TDPMMU_TRACE_RING_RESET] = "kvm_dirty_ring_reset",
    [TDPMMU_TRACE_UNMAP_HVA_RANGE] = "kvm_unmap_hva_range",
    [TDPMMU_TRACE_AGE_HVA] = "kvm_age_hva",
    [TDPMMU_TRACE_TEST_AGE_HVA] = "kvm_test_age_hva",
    [TDPMMU_TRACE_MAP] = "map",
    [TDPMMU_TRACE_MAP_RET] = "map_ret",
    [TDPMMU_TRACE_PF_RET] = "pf_ret",
    [TDPMMU_TRACE_ALLOC_ROOT] = "alloc_root",
    [TDPMMU_TRACE_LOAD_PGD] = "load_pgd",
    [TDPMMU_TRACE_PUT_ROOT] = "put_root",
    [TDPMMU_TRACE_ITER_START] = "iter_start",
    [TDPMMU_TRACE_ITER_RESTART] = "iter_restart",
    [TDPMMU_TRACE_ZAP_LEAFS] = "zap_leafs",
    [TDPMMU_TRACE_ZAP_LEAFS_RET] = "zap_leafs_ret",
    [TDPMMU_TRACE_KVM_ZAP_LEAFS] = "kvm_zap_leafs",
    [TDPMMU_TRACE_UNMAP_GFN_RANGE] = "unmap_gfn_range",
    [TDPMMU_TRACE_UNMAP_GFN_RANGE_RET] = "unmap_gfn_range_ret",
    [TDPMMU_TRACE_AGE] = "age",
    [TDPMMU_TRACE_AGE_RET] = "age_ret",
    [TDPMMU_TRACE_TEST_AGE] = "test_age",
    [TDPMMU_TRACE_TEST_AGE_RET] = "test_age_ret",
    [TDPMMU_TRACE_WRPROT_SLOT] = "wrprot_slot",
    [TDPMMU_TRACE_WRPROT_SLOT_RET] = "wrprot_slot_ret",
    [TDPMMU_TRACE_CLEAR_DIRTY_SLOT] = "clear_dirty_slot",
    [TDPMMU_TRACE_CLEAR_DIRTY_PT_MASKED] = "clear_dirty_pt_masked",
    [TDPMMU_TRACE_WRITE_PROTECT_GFN] = "write_protect_gfn",
    [TDPMMU_TRACE_SPLIT] = "split",
    [TDPMMU_TRACE_SPLIT_RET] = "split_ret",
    [TDPMMU_TRACE_ZAP_COLLAPSIBLE] = "zap_collapsible",
    [TDPMMU_TRACE_ZAP_COLLAPSIBLE_RET] = "zap_collapsible_ret",
    [TDPMMU_TRACE_ZAP_SP] = "zap_sp",
    [TDPMMU_TRACE_ZAP_ALL] = "zap_all",
    [TDPMMU_TRACE_INVALIDATE_ALL_ROOTS] = "invalidate_all_roots",
    [TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS] = "zap_invalidated_roots",
    [TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS_RET] = "zap_invalidated_roots_ret",
    [TDPMMU_TRACE_ZAP_ROOT] = "zap_root",
    [TDPMMU_TRACE_ZAP_ROOT_LEVEL] = "zap_root_level",
    [TDPMMU_TRACE_FLUSH] = "flush",
    [TDPMMU_TRACE_FLUSH_RANGE] = "flush_range",
    [TDPMMU_TRACE_FREE_SP_RCU] = "free_sp_rcu",
    [TDPMMU_TRACE_INV_BEGIN] = "inv_begin",
    [TDPMMU_TRACE_INV_RANGE] = "inv_range",
    [TDPMMU_TRACE_INV_END] = "inv_end",
    [TDPMMU_TRACE_MARK] = "tracing_mark_write",
};

const char *cp_trace_event_name(int id)
{
    return event_names[id];
}

struct tdpmmu_trace_file cp_trace_file_header(void)
{
    struct tdpmmu_trace_file header = {
        .header_size = sizeof(header), .event_size = sizeof(struct tdpmmu_trace_event),
    };

    memcpy(header.magic, TDPMMU_TRACE_MAGIC, sizeof(header.magic));
    return header;
}
