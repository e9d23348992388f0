// SPDX-License-Identifier: GPL-2.0-only
// Marks between the library's events: what the program asks for, and what the guests access, in the words of
// traces/README.md, so that `tdpmmuctl replay` can do the same again.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ckd_host.h"

enum { LINE = 4096 };

__attribute__((format(printf, 2, 3))) static void mark(struct kvm *kvm, const char *format, ...)
{
    char text[LINE];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    tdpmmu_trace_mark(kvm, text);
}

typedef unsigned long long ull;

static uint32_t recorded; // the fork generation, plus 1, of the last VM

bool ckd_has_recorded(void) { return __atomic_load_n(&recorded, __ATOMIC_RELAXED) == ckd_fork_generation() + 1; }

// Before the first VM of this very process; under the lock of the VMs, which a fork does not find taken.
static void begin_recording(void)
{
    ckd_vms_lock();
    if (!ckd_has_recorded()) {
        ckd_recording_begins();
        __atomic_store_n(&recorded, ckd_fork_generation() + 1, __ATOMIC_RELAXED);
    }
    ckd_vms_unlock();
}

void ckd_mark_vm(struct kvm *kvm)
{
    begin_recording();
    const struct ckd_options *options = ckd_options();
    mark(kvm, "INFO vendor=%s ad=%d pml=%d root_level=%u maxphyaddr=%u l1tf_cache_bits=0", options->npt ? "npt" : "ept",
         !options->no_ad, !options->no_pml, options->levels, options->maxphyaddr);
    mark(kvm, "STEP param nx_huge_pages=%s", options->nx_huge_pages ? "force" : "off");
    mark(kvm, "DONE param nx_huge_pages ret=0");
    mark(kvm, "STEP param nx_huge_pages_recovery_ratio=%d", CKD_RECOVERY_RATIO);
    mark(kvm, "DONE param nx_huge_pages_recovery_ratio ret=0");
    // Guests with page tables of their own are no others: each access to those is told as well.
    mark(kvm, "STEP vm_create nvcpus=0 mode=prot32");
    mark(kvm, "DONE vm_create ret=0");
}

void ckd_mark_step(struct kvm *kvm, const char *step, uint64_t number)
{
    mark(kvm, "STEP %s=%llu", step, (ull)number);
}

void ckd_mark_done(struct kvm *kvm, const char *step, int result) { mark(kvm, "DONE %s ret=%d", step, result); }

void ckd_mark_access(struct kvm *kvm, uint32_t vcpu, uint64_t gpa, char kind)
{
    mark(kvm, "STEP access vcpu=%u gpa=0x%llx op=%c", vcpu, (ull)gpa, kind);
}

void ckd_mark_region(struct kvm *kvm, const char *step, const struct kvm_userspace_memory_region *region)
{
    mark(kvm, "STEP %s slot=%u as_id=%u gpa=0x%llx npages=0x%llx hva=0x%llx flags=%u", step, region->slot & 0xffff,
         region->slot >> 16, (ull)region->guest_phys_addr, (ull)region->memory_size >> 12, (ull)region->userspace_addr,
         region->flags);
}

void ckd_mark_cap(struct kvm *kvm, const struct kvm_enable_cap *wanted)
{
    mark(kvm, "STEP enable_cap cap=%u arg0=%llu", wanted->cap, (ull)wanted->args[0]);
}

void ckd_mark_clear(struct kvm *kvm, const struct kvm_clear_dirty_log *log)
{
    mark(kvm, "STEP clear_dirty_log slot=%u first=0x%llx n=0x%llx", log->slot, (ull)log->first_page, (ull)log->num_pages);
}

void ckd_mark_prefault(struct kvm *kvm, uint32_t vcpu, const struct kvm_pre_fault_memory *range)
{
    mark(kvm, "STEP prefault vcpu=%u gpa=0x%llx len=0x%llx", vcpu, (ull)range->gpa, (ull)range->size);
}

void ckd_mark_prefaulted(struct kvm *kvm, uint32_t vcpu, const struct kvm_pre_fault_memory *range, int result)
{
    mark(kvm, "DONE prefault vcpu=%u ret=%d left_gpa=0x%llx", vcpu, result, (ull)range->gpa);
}

// One line for as many ranges as fit, and the number of pages at the end.
void ckd_mark_pages(struct kvm *kvm, const char *what, uint32_t slot, const uint64_t *bitmap, uint64_t first, uint64_t pages)
{
    char ranges[LINE - 100] = "";
    size_t used = 0;
    unsigned part = 0;
    uint64_t total = 0;
    for (uint64_t page = 0; page < pages; page++) {
        uint64_t end = page;
        while (end < pages && (bitmap[end / 64] >> end % 64 & 1))
            end++;
        if (end == page)
            continue;
        total += end - page;
        used += (size_t)snprintf(ranges + used, sizeof ranges - used, end - page > 1 ? "%s%llx-%llx" : "%s%llx",
                                 used ? "," : "", (ull)(first + page), (ull)(first + end - 1));
        if (used > sizeof ranges - 50) {
            mark(kvm, "DATA %s slot=%u part=%u pages=%s", what, slot, part++, ranges);
            used = 0;
        }
        page = end;
    }
    if (used)
        mark(kvm, "DATA %s slot=%u part=%u pages=%s", what, slot, part, ranges);
    mark(kvm, "DATA %s slot=%u total=%llu", what, slot, (ull)total);
}
