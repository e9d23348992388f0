/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stress: CPUs with exact caches.  A vCPU's translation cache forgets what flush_tlb and
 * vcpu_request tell it to forget and nothing else, and host pages are real memory: a flush that is
 * missing, late or too short is a write to memory that is somebody else's by now.
 *
 *     stress_caches [SECONDS [SEED]]
 *
 * The guest's memory is 1 GiB of the host's, seen through one slot that is logged, moved, deleted and
 * added again, and through a slot of SMM.  Two pages of each 2 MiB are used.  The host moves,
 * discards, write-protects and merges pages under it, in memory of its own that is poisoned when free.
 *
 * The books.  Each vCPU has a word in each page, which only it writes: what it reads must be
 * what it wrote last, or 0 if the page was discarded since.  A copy is kept of all pages, and pages
 * are copied again when the log names them.  Now and then everything stands still; then the copy
 * must be equal to the memory as long as both slots were logged, and free memory must hold its poison.
 *
 * Huge pages are split when logging begins, unless it goes by write-protection: Linux 6.12 loses
 * writes otherwise (see docs/KERNELS.md), and so does this library.
 * Exit status 0: nothing lost, nothing wrong, no warning.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tdpmmu.h>

#include "eyes.h"

enum { VCPUS = 4, VIEWS = 3, PAGES = 1024, CHUNK = 512, CHUNKS = 512, GIB = CHUNK * CHUNKS, WORDS = GIB / 64 };
/* A vCPU sees page o of the host's memory at view_base[view] + o; the last view is SMM's. */
static const gfn_t view_base[VIEWS] = { 0x100000, 0x200200, 0x100000 };
#define HOST_FRAME UINT64_C(0x40000) /* userspace_addr of the memory, in pages */
#define FIRST_PFN UINT64_C(0x800000) /* of bank 0; bank 1 follows */
enum { READS, WRITES, FETCHES, EMULATED, DEVICE, FAULTS, RETRIES, PREFAULTS, HOST, AGES, TABLES, ROOTS, HARVESTS,
       REPORTED, SLOTS, STILLS, DONE };
static const char *const done_names[DONE] = {
    "reads", "writes", "fetches", "emulated", "device writes", "faults", "retries", "prefaults", "host changes",
    "agings", "table changes", "root changes", "harvests", "pages reported", "slot changes", "stills",
};

struct translation {
    bool valid, writable, executable;
    unsigned char bank, level;
};

struct cpu {
    pthread_mutex_t cache_lock; /* held for one instruction, or to make it forget */
    atomic_int waiting;         /* who wants the lock, so that the CPU gives way */
    bool leave_root;            /* under cache_lock: the root is obsolete */
    struct translation cache[VIEWS][PAGES];
    struct kvm_vcpu *vcpu;
    int index, view;
    uint64_t count, random;
    /* Of its word in each page: what was written, and the discards begun and over about then. */
    uint64_t written[PAGES];
    unsigned over_before[PAGES], begun_after[PAGES];
};

/* Memory of the host; host_lock, but for the counts. */
struct page {
    unsigned char bank;
    bool read_only;
    atomic_uint discards_begun, discards_over;
};

static struct kvm *kvm;
static struct cpu cpus[VCPUS];
static atomic_ullong memory[2][PAGES][VCPUS];
static uint64_t copies[PAGES][VCPUS];
static struct page pages[PAGES];
static unsigned char chunk_bank[CHUNKS];
static atomic_int chunk_level[CHUNKS];
static pthread_mutex_t host_lock = PTHREAD_MUTEX_INITIALIZER, change_lock = PTHREAD_MUTEX_INITIALIZER;
/* What is at the slots, 1 + the view; the sequence is odd during a change.  Written by the main thread. */
static struct { atomic_uint sequence; atomic_int view; atomic_bool read_only; bool logged; } slots[2];
static bool covered; /* each slot that may be written is logged: no change escapes */
static bool manual, nx, may_be_lazy;
static atomic_bool stop, stand_still;
static atomic_int standing;
static atomic_ullong done[DONE], wrong_count, warnings;
static unsigned long long totals[DONE];
static _Thread_local uint64_t random_state = 1;
static _Thread_local int changing; /* this thread is inside change_host() */

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static bool one_in(unsigned n)
{
    return (next_random() >> 20) % n == 0;
}

static unsigned below(unsigned n)
{
    return (unsigned)((next_random() >> 20) % n);
}

static void did(int what)
{
    atomic_fetch_add_explicit(&done[what], 1, memory_order_relaxed);
}

static void wrong(const char *what, uint64_t a, uint64_t b)
{
    if (atomic_fetch_add(&wrong_count, 1) < 10)
        fprintf(stderr, "stress_caches: %s (0x%" PRIx64 ", 0x%" PRIx64 ")\n", what, a, b);
}

/* ---- pages -------------------------------------------------------------------- */

/* The second page of a 2 MiB often is the first of none of its 64: bits of a bitmap's words differ. */
static uint64_t offset_of(unsigned page)
{
    static const unsigned places[2][4] = { { 0, 1, 63, 64 }, { 511, 448, 127, 510 } };

    return (uint64_t)(page / 2) * CHUNK + places[page & 1][page / 2 % 4];
}

/* The first page at or behind an offset. */
static unsigned page_from(uint64_t offset)
{
    unsigned page = offset / CHUNK < CHUNKS ? (unsigned)(offset / CHUNK) * 2 : PAGES;

    while (page < PAGES && offset_of(page) < offset)
        page++;
    return page;
}

static gfn_t gfn_of(int view, unsigned page)
{
    return view_base[view] + offset_of(page);
}

static uint64_t poison(int bank, unsigned page)
{
    return UINT64_C(0xdead000000000000) | (uint64_t)bank << 32 | page;
}

static void copy_page(unsigned page)
{
    pthread_mutex_lock(&host_lock);
    for (int i = 0; i < VCPUS; i++)
        copies[page][i] = atomic_load(&memory[pages[page].bank][page][i]);
    pthread_mutex_unlock(&host_lock);
}

/* Under host_lock. */
static void move_page(unsigned page, int bank, bool zero)
{
    int old = pages[page].bank;

    pages[page].read_only = false;
    if (old == bank)
        return;
    for (int i = 0; i < VCPUS; i++) {
        uint64_t value = atomic_exchange(&memory[old][page][i], poison(old, page));

        if (atomic_exchange(&memory[bank][page][i], zero ? 0 : value) != poison(bank, page))
            wrong("free memory was written (bank, page)", (uint64_t)bank, page);
        if (zero)
            copies[page][i] = 0;
    }
    pages[page].bank = (unsigned char)bank;
}

enum change { DISCARD, MOVE, PROTECT, BREAK_COW, MERGE_2M, MERGE_1G, SPLIT_1G, CHANGES };

/* Under host_lock. */
static void change_page(enum change what, unsigned page, int bank)
{
    switch (what) {
    case DISCARD: move_page(page, !pages[page].bank, true); break;
    case MOVE: move_page(page, !pages[page].bank, false); break;
    case PROTECT: pages[page].read_only = true; break;
    case BREAK_COW: if (pages[page].read_only) move_page(page, !pages[page].bank, false); break;
    default: move_page(page, bank, false); break;
    }
}

/* What the host's memory manager does to [first, last], between the two calls of a notifier. */
static void change_host(enum change what, unsigned first, unsigned last)
{
    bool whole = what == MERGE_1G || what == SPLIT_1G;
    int bank = (int)below(2), level = what == MERGE_2M ? 2 : what == MERGE_1G ? 3 : 1;
    unsigned from, to; /* chunks, whose mapping changes as a whole where it was huge */
    uint64_t start, end;

    if (what == MERGE_2M)
        last = first |= 1, first--;
    if (what == MERGE_1G || what == SPLIT_1G)
        first = 0, last = PAGES - 1;
    pthread_mutex_lock(&change_lock);
    changing++;
    whole |= atomic_load(&chunk_level[0]) == 3;
    from = whole ? 0 : first / 2, to = whole ? CHUNKS - 1 : last / 2;
    if (what == DISCARD)
        for (unsigned p = first; p <= last; p++)
            atomic_fetch_add(&pages[p].discards_begun, 1);
    start = (HOST_FRAME + from * CHUNK) << 12, end = (HOST_FRAME + (to + 1) * CHUNK) << 12;
    kvm_mmu_notifier_invalidate_range_start(kvm, start, end, one_in(2));
    pthread_mutex_lock(&host_lock);
    for (unsigned c = from; c <= to; c++) {
        if (what != SPLIT_1G && c >= first / 2 && c <= last / 2) {
            atomic_store(&chunk_level[c], level);
            if (level > 1)
                chunk_bank[c] = (unsigned char)bank;
        } else if (atomic_load(&chunk_level[c]) == 3)
            atomic_store(&chunk_level[c], 2);
    }
    if (what != SPLIT_1G)
        for (unsigned p = first; p <= last; p++)
            change_page(what, p, bank);
    pthread_mutex_unlock(&host_lock);
    if (what == DISCARD)
        for (unsigned p = first; p <= last; p++)
            atomic_fetch_add(&pages[p].discards_over, 1);
    kvm_mmu_notifier_invalidate_range_end(kvm, start, end);
    changing--;
    pthread_mutex_unlock(&change_lock);
    did(HOST);
}

static void change_something(void)
{
    static const enum change common[6] = { DISCARD, MOVE, MOVE, PROTECT, MERGE_2M, MERGE_2M };
    enum change what = one_in(24) ? MERGE_1G : one_in(100) ? SPLIT_1G : common[below(6)];
    unsigned first = below(PAGES), n = one_in(4) ? below(60) : below(4);

    change_host(what, first, first + n < PAGES ? first + n : PAGES - 1);
}

/* ---- callbacks ------------------------------------------------------------------ */

static void on_warning(void *ctx, struct kvm *of, const struct tdpmmu_warning *warning)
{
    (void)ctx;
    (void)of;
    /* Slots come and go beside who uses them; a log that is not there is -ENOENT besides. */
    if (strstr(warning->text, "no slot of this VM") || strstr(warning->text, "no such slot"))
        return;
    if (atomic_fetch_add(&warnings, 1) < 10)
        fprintf(stderr, "stress_caches: warning: %s: %s (0x%" PRIx64 ", 0x%" PRIx64 ")\n", warning->function,
                warning->text, warning->value[0], warning->value[1]);
}

static kvm_pfn_t gfn_to_pfn(void *ctx, struct kvm *of, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                            bool *writable, int *max_level)
{
    uint64_t offset = gfn - slot->base_gfn;
    unsigned page = page_from(offset);
    bool used = page < PAGES && offset_of(page) == offset, slot_writable = !(slot->flags & KVM_MEM_READONLY);
    kvm_pfn_t pfn = KVM_PFN_ERR_FAULT;

    (void)ctx;
    (void)of;
    pthread_mutex_lock(&host_lock);
    if (!(used && pages[page].read_only && write && slot_writable)) {
        *writable = slot_writable && !(used && pages[page].read_only);
        *max_level = atomic_load(&chunk_level[offset / CHUNK]);
        pfn = FIRST_PFN + (uint64_t)(used ? pages[page].bank : chunk_bank[offset / CHUNK]) * GIB + offset;
    }
    pthread_mutex_unlock(&host_lock);
    return pfn;
}

static int mapping_level(void *ctx, struct kvm *of, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx;
    (void)of;
    return atomic_load(&chunk_level[(gfn - slot->base_gfn) / CHUNK]);
}

static void lock_cpu(struct cpu *cpu)
{
    atomic_fetch_add(&cpu->waiting, 1);
    pthread_mutex_lock(&cpu->cache_lock);
    atomic_fetch_sub(&cpu->waiting, 1);
}

/* What overlaps [start, start + npages): all of a huge translation, as a CPU does it. */
static void forget(struct cpu *cpu, gfn_t start, uint64_t npages)
{
    gfn_t end = start + npages < start ? UINT64_MAX : start + npages;

    for (int view = 0; view < VIEWS; view++)
        for (unsigned p = 0; p < PAGES && start < view_base[view] + GIB && end > view_base[view]; p++) {
            struct translation *t = &cpu->cache[view][p];
            uint64_t mask = KVM_PAGES_PER_HPAGE(t->level) - 1;

            if (t->valid && (gfn_of(view, p) | mask) >= start && (gfn_of(view, p) & ~mask) < end)
                t->valid = false;
        }
}

static void flush_tlb(void *ctx, struct kvm *of, gfn_t start, uint64_t npages)
{
    (void)ctx;
    (void)of;
    for (int i = 0; i < VCPUS; i++) {
        lock_cpu(&cpus[i]);
        forget(&cpus[i], start, npages);
        pthread_mutex_unlock(&cpus[i].cache_lock);
    }
}

/* Whoever has had the CPU's lock has seen it out of the guest. */
static void vcpu_request(void *ctx, struct kvm *of, struct kvm_vcpu *vcpu, enum tdpmmu_request request)
{
    struct cpu *cpu = &cpus[tdpmmu_vcpu_id(vcpu)];

    (void)ctx;
    (void)of;
    lock_cpu(cpu);
    cpu->leave_root |= request == TDPMMU_REQ_FREE_OBSOLETE_ROOTS;
    if (request == TDPMMU_REQ_TLB_FLUSH)
        forget(cpu, 0, UINT64_MAX);
    pthread_mutex_unlock(&cpu->cache_lock);
}

static bool need_resched(void *ctx, struct kvm *of)
{
    (void)ctx;
    (void)of;
    return one_in(5000);
}

static void yielded(void *ctx, struct kvm *of)
{
    (void)ctx;
    (void)of;
    if (!changing && one_in(4))
        change_something();
}

/* ---- CPUs ------------------------------------------------------------------------ */

static void load(struct cpu *cpu)
{
    if (kvm_mmu_load(cpu->vcpu))
        wrong("kvm_mmu_load", (uint64_t)cpu->index, 0);
}

/* Into the cache, all used pages of a huge page or just this one. */
static bool fill(struct cpu *cpu, unsigned page, uint64_t spte, int level)
{
    gfn_t gfn = gfn_of(cpu->view, page), mask = KVM_PAGES_PER_HPAGE(level) - 1, base = view_base[cpu->view];
    uint64_t first = spte_to_pfn(spte) - FIRST_PFN - ((gfn & ~mask) - base); /* pfn of the memory's page 0 */
    struct translation new = { .valid = true, .writable = is_writable_pte(spte) && is_dirty_spte(kvm, spte),
                               .executable = is_executable_pte(kvm, spte), .bank = first != 0,
                               .level = (unsigned char)level };

    if (first != 0 && first != GIB) {
        wrong("a leaf maps what is not the guest's (gfn, spte)", gfn, spte);
        return false;
    }
    if (one_in(2))
        page = page_from((gfn & ~mask) - base);
    for (; page < PAGES && gfn_of(cpu->view, page) <= (gfn | mask); page++)
        cpu->cache[cpu->view][page] = new;
    return true;
}

static bool permits(const struct translation *t, uint64_t access)
{
    return t->valid && (!(access & PFERR_WRITE_MASK) || t->writable) && (!(access & PFERR_FETCH_MASK) || t->executable);
}

/* Under cache_lock: 1 translated, 0 fault with *error_code, -1 again. */
static int translate(struct cpu *cpu, unsigned page, uint64_t access, uint64_t *error_code)
{
    struct translation *t = &cpu->cache[cpu->view][page];
    gpa_t gpa = gfn_of(cpu->view, page) << 12;
    uint64_t sptes[6];
    int level, root_level;

    if (cpu->leave_root)
        return -1;
    if (permits(t, access))
        return 1;
    t->valid = false;
    if (tdpmmu_cpu_access(cpu->vcpu, gpa, access, error_code) <= 0)
        return 0;
    rcu_read_lock();
    level = kvm_tdp_mmu_get_walk(cpu->vcpu, gpa, sptes, &root_level);
    rcu_read_unlock();
    /* It may be another by now, or not accessed any more: then the CPU would look again. */
    if (level >= 1 && is_shadow_present_pte(sptes[level]) && is_last_spte(sptes[level], level) &&
        is_accessed_spte(kvm, sptes[level]) && fill(cpu, page, sptes[level], level) && permits(t, access))
        return 1;
    t->valid = false;
    return -1;
}

/* The word is what this CPU wrote last, or 0 by a discard since. */
static void check_word(const struct cpu *cpu, unsigned page, uint64_t value, unsigned over_before, unsigned begun_after)
{
    if (value == cpu->written[page]) {
        if (value && over_before > cpu->begun_after[page])
            wrong("a word survived a discard (page, word)", page, value);
    } else if (value || begun_after <= cpu->over_before[page])
        wrong("a word is not what was written last (page, word)", page, value);
}

/* Under cache_lock, or host_lock for a device. */
static void access_word(struct cpu *cpu, unsigned page, int bank, bool write)
{
    atomic_ullong *word = &memory[bank][page][cpu->index];
    unsigned over = atomic_load(&pages[page].discards_over);

    check_word(cpu, page, atomic_load(word), over, atomic_load(&pages[page].discards_begun));
    if (!write)
        return;
    cpu->written[page] = ++cpu->count << 8 | (uint64_t)cpu->index | UINT64_C(1) << 60;
    cpu->over_before[page] = atomic_load(&pages[page].discards_over);
    atomic_store(word, cpu->written[page]);
    cpu->begun_after[page] = atomic_load(&pages[page].discards_begun);
}

/* False: the access is given up, or done without memory. */
static bool handle_fault(struct cpu *cpu, unsigned page, uint64_t error_code, bool *emulated)
{
    int ret = kvm_tdp_mmu_page_fault(cpu->vcpu, gfn_of(cpu->view, page) << 12, error_code);

    did(FAULTS);
    switch (ret) {
    case RET_PF_FIXED: case RET_PF_SPURIOUS:
        return true;
    case RET_PF_RETRY:
        did(RETRIES);
        sched_yield();
        load(cpu);
        return true;
    case -EFAULT:
        change_host(BREAK_COW, page, page);
        return true;
    case RET_PF_EMULATE:
        *emulated = true;
        return false;
    default:
        wrong("a fault was answered with", (uint64_t)(int64_t)ret, gfn_of(cpu->view, page));
        return false;
    }
}

/* One access; *emulated: there was no memory. */
static bool guest_access(struct cpu *cpu, unsigned page, uint64_t access, bool *emulated)
{
    while (!atomic_load(&stop) && !atomic_load(&stand_still)) {
        uint64_t error_code = 0;
        bool obsolete;
        int ret;

        if (atomic_load(&cpu->waiting))
            sched_yield();
        pthread_mutex_lock(&cpu->cache_lock);
        ret = translate(cpu, page, access, &error_code);
        if (ret == 1)
            access_word(cpu, page, cpu->cache[cpu->view][page].bank, access & PFERR_WRITE_MASK);
        obsolete = cpu->leave_root;
        cpu->leave_root = false;
        pthread_mutex_unlock(&cpu->cache_lock);
        if (ret == 1)
            return true;
        if (obsolete)
            load(cpu);
        else if (ret == 0 && !handle_fault(cpu, page, error_code, emulated))
            return false;
    }
    return false;
}

/* An access, and whether it met a slot where there was one all the while. */
static void guest_step(struct cpu *cpu, unsigned page)
{
    static const uint64_t accesses[8] = { 0, 0, PFERR_FETCH_MASK, PFERR_WRITE_MASK, PFERR_WRITE_MASK, PFERR_WRITE_MASK,
                                          PFERR_WRITE_MASK, PFERR_WRITE_MASK };
    uint64_t access = accesses[below(8)];
    int space = cpu->view == 2;
    unsigned sequence = atomic_load(&slots[space].sequence);
    bool here = atomic_load(&slots[space].view) == cpu->view + 1, emulated = false;
    bool allowed = here && !(access & PFERR_WRITE_MASK && atomic_load(&slots[space].read_only));
    bool ok = guest_access(cpu, page, access, &emulated);

    if (!ok && !emulated)
        return;
    did(emulated ? EMULATED : access & PFERR_WRITE_MASK ? WRITES : access & PFERR_FETCH_MASK ? FETCHES : READS);
    if (sequence % 2 == 0 && atomic_load(&slots[space].sequence) == sequence && ok != allowed)
        wrong(ok ? "an access through no slot (view, page)" : "memory was taken for MMIO (view, page)",
              (uint64_t)cpu->view, page);
}

/* Emulation writes guest memory in the host, and marks the page. */
static void device_write(struct cpu *cpu, unsigned page)
{
    int space = cpu->view == 2, token = srcu_read_lock(&kvm->srcu);
    const struct kvm_memory_slot *slot = tdpmmu_id_to_memslot(kvm, space, 0);
    bool ok = false;

    /* A slot on its way out has no memory any more: nobody will ask for its log. */
    if (slot && slot->base_gfn == view_base[cpu->view] && !(slot->flags & ~KVM_MEM_LOG_DIRTY_PAGES)) {
        pthread_mutex_lock(&host_lock);
        ok = !pages[page].read_only;
        if (ok)
            access_word(cpu, page, pages[page].bank, true);
        pthread_mutex_unlock(&host_lock);
    }
    if (ok) {
        tdpmmu_mark_page_dirty(kvm, space, gfn_of(cpu->view, page));
        did(DEVICE);
    }
    srcu_read_unlock(&kvm->srcu, token);
}

static void prefault(struct cpu *cpu, unsigned page)
{
    struct kvm_pre_fault_memory range = { .gpa = gfn_of(cpu->view, page) << 12, .size = (1 + below(64)) * 4096ull };
    int ret = kvm_vcpu_pre_fault_memory(cpu->vcpu, &range);

    if (ret && ret != -ENOENT && ret != -EAGAIN && ret != -EFAULT)
        wrong("kvm_vcpu_pre_fault_memory", (uint64_t)(int64_t)ret, page);
    did(PREFAULTS);
}

static void stand_if_asked(void)
{
    struct timespec pause = { 0, 50000 };

    if (!atomic_load(&stand_still))
        return;
    atomic_fetch_add(&standing, 1);
    while (atomic_load(&stand_still))
        nanosleep(&pause, NULL);
    atomic_fetch_sub(&standing, 1);
}

static void change_view(struct cpu *cpu, int view)
{
    if (tdpmmu_vcpu_set_as_id(cpu->vcpu, view == 2))
        wrong("tdpmmu_vcpu_set_as_id", (uint64_t)view, 0);
    cpu->view = view;
    load(cpu);
}

static void *cpu_thread(void *arg)
{
    struct cpu *cpu = arg;
    unsigned hot = 0;

    random_state = cpu->random;
    for (unsigned round = 0; !atomic_load(&stop); round++) {
        unsigned page = one_in(3) ? below(PAGES) : (hot + below(40)) % PAGES;

        stand_if_asked();
        if (round % 64 == 0)
            sched_yield(); /* here, rather than with the cache's lock held */
        if (round % 1024 == 0)
            hot = below(PAGES);
        if (one_in(2000))
            change_view(cpu, (int)below(VIEWS));
        else if (cpu->view < 2 && one_in(16) && atomic_load(&slots[0].view))
            cpu->view = atomic_load(&slots[0].view) - 1;
        if (one_in(2000))
            prefault(cpu, page);
        if (one_in(50))
            device_write(cpu, page);
        guest_step(cpu, page);
    }
    return NULL;
}

/* ---- the host, and the log --------------------------------------------------------- */

static void change_tables(void)
{
    int token = srcu_read_lock(&kvm->srcu), level = 1 + (int)below(2);
    const struct kvm_memory_slot *slot = tdpmmu_id_to_memslot(kvm, (int)below(2), 0);
    gfn_t gfn = slot ? slot->base_gfn + offset_of(below(PAGES)) : 0;

    if (slot && one_in(2)) {
        read_lock(&kvm->mmu_lock);
        if (one_in(2))
            kvm_tdp_mmu_zap_collapsible_sptes(kvm, slot);
        else
            kvm_tdp_mmu_try_split_huge_pages(kvm, slot, slot->base_gfn, slot->base_gfn + slot->npages, level, true);
        read_unlock(&kvm->mmu_lock);
    } else if (slot) {
        write_lock(&kvm->mmu_lock);
        if (one_in(2) ? kvm_tdp_mmu_write_protect_gfn(kvm, slot, gfn, 1)
                      : kvm_tdp_mmu_zap_leafs(kvm, gfn, gfn + 600, false))
            kvm_flush_remote_tlbs(kvm); /* huge pages may reach out of the range */
        write_unlock(&kvm->mmu_lock);
    }
    srcu_read_unlock(&kvm->srcu, token);
    did(TABLES);
}

static void *host_thread(void *arg)
{
    random_state = *(const uint64_t *)arg;
    for (unsigned round = 0; !atomic_load(&stop); round++) {
        struct timespec pause = { 0, 1000000 };
        unsigned page = below(PAGES);
        uint64_t hva = (HOST_FRAME + offset_of(page)) << 12;

        stand_if_asked();
        if (round / 256 % 2) /* calm, so that huge pages last */
            nanosleep(&pause, NULL);
        switch (below(16)) {
        case 0: kvm_mmu_notifier_clear_young(kvm, hva, hva + (4ull << 20)); did(AGES); break;
        case 1: kvm_mmu_notifier_clear_flush_young(kvm, hva, hva + 4096); did(AGES); break;
        case 2: kvm_mmu_notifier_test_young(kvm, hva); did(AGES); break;
        case 3: tdpmmu_nx_recover(kvm, 1 + below(4)); break;
        case 4: tdpmmu_set_eager_page_split(kvm, !may_be_lazy || one_in(2)); break;
        case 5: case 6: change_tables(); break;
        case 7:
            if (one_in(20))
                kvm_mmu_zap_all_fast(kvm), did(ROOTS);
            else if (nx && one_in(20))
                tdpmmu_set_nx_huge_pages(kvm, one_in(2)), did(ROOTS);
            break;
        case 8: sched_yield(); break;
        default: change_something();
        }
    }
    return NULL;
}

/* Reads a slot's log, in manual mode clears part of it, and copies what was named.  Returns how many pages. */
static unsigned harvest(int space, uint64_t *bitmap, bool all)
{
    struct kvm_dirty_log log = { .slot = (uint32_t)space << 16, .dirty_bitmap = bitmap };
    unsigned first = all ? 0 : below(WORDS), words = all ? WORDS : 1 + below(WORDS - first), named = 0;
    struct kvm_clear_dirty_log clear = { .slot = log.slot, .first_page = first * 64, .num_pages = words * 64,
                                         .dirty_bitmap = bitmap + first };

    if (kvm_vm_ioctl_get_dirty_log(kvm, &log) || (manual && kvm_vm_ioctl_clear_dirty_log(kvm, &clear)))
        return 0; /* not logged, or not any more */
    for (unsigned p = 0; p < PAGES; p++) {
        uint64_t offset = offset_of(p), word = offset / 64;

        if (bitmap[word] >> (offset % 64) & 1 && (!manual || (word >= first && word < first + words)))
            copy_page(p), named++;
    }
    atomic_fetch_add(&done[REPORTED], named);
    did(HARVESTS);
    return named;
}

static void *log_thread(void *arg)
{
    static uint64_t bitmap[WORDS];
    struct timespec pause = { 0, 200000 };

    random_state = *(const uint64_t *)arg;
    while (!atomic_load(&stop)) {
        stand_if_asked();
        harvest((int)below(2), bitmap, false);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* ---- the main thread: slots and stills ---------------------------------------------- */

static bool escapes(int space)
{
    return atomic_load(&slots[space].view) && !atomic_load(&slots[space].read_only) && !slots[space].logged;
}

/* view: where the slot shall be, 1 + the view, or 0. */
static void set_slot(int space, int view, bool read_only, bool logged)
{
    struct kvm_userspace_memory_region region = {
        .slot = (uint32_t)space << 16, .guest_phys_addr = view ? view_base[view - 1] << 12 : 0,
        .flags = (logged ? KVM_MEM_LOG_DIRTY_PAGES : 0u) | (read_only ? KVM_MEM_READONLY : 0u),
        .memory_size = view ? (uint64_t)GIB << 12 : 0, .userspace_addr = HOST_FRAME << 12,
    };
    bool moves = atomic_load(&slots[space].view) != view, log_dies = slots[space].logged && !view;
    int ret;

    atomic_fetch_add(&slots[space].sequence, moves);
    if (view && !read_only && !logged)
        covered = false;
    ret = kvm_set_memory_region(kvm, &region);
    if (ret)
        wrong("kvm_set_memory_region", (uint64_t)(int64_t)ret, (uint64_t)space);
    atomic_store(&slots[space].view, view);
    atomic_store(&slots[space].read_only, read_only);
    slots[space].logged = view && logged;
    atomic_fetch_add(&slots[space].sequence, moves);
    /* What counts from here on, and what a log that is gone has not told. */
    if ((!covered || log_dies) && !escapes(0) && !escapes(1)) {
        covered = true;
        for (unsigned p = 0; p < PAGES; p++)
            copy_page(p);
    }
    did(SLOTS);
}

static void change_slot(int space)
{
    int view = atomic_load(&slots[space].view);
    bool read_only = atomic_load(&slots[space].read_only), logged = slots[space].logged;

    if (!view)
        set_slot(space, space ? 3 : 1 + (int)below(2), one_in(5), !one_in(4));
    else if (one_in(8))
        set_slot(space, 0, false, false);
    else if (space == 0 && one_in(3))
        set_slot(0, 3 - view, read_only, logged);
    else
        set_slot(space, view, read_only, !logged || !one_in(3));
}

/* 4K tables of an unlogged slot become huge leaves again, in place. */
static void recover(int space)
{
    int token = srcu_read_lock(&kvm->srcu);
    const struct kvm_memory_slot *slot = tdpmmu_id_to_memslot(kvm, space, 0);

    if (slot && !slots[space].logged) {
        read_lock(&kvm->mmu_lock);
        kvm_tdp_mmu_recover_huge_pages(kvm, slot);
        read_unlock(&kvm->mmu_lock);
    }
    srcu_read_unlock(&kvm->srcu, token);
}

static void compare_page(unsigned page)
{
    int bank = pages[page].bank;

    for (int i = 0; i < VCPUS; i++) {
        uint64_t value = atomic_load(&memory[bank][page][i]);

        if (covered && value != copies[page][i]) {
            wrong("a page changed and no log says so (page, word)", page, value);
            copies[page][i] = value;
        }
        check_word(&cpus[i], page, value, atomic_load(&pages[page].discards_over),
                   atomic_load(&pages[page].discards_begun));
        if (atomic_load(&memory[!bank][page][i]) != poison(!bank, page))
            wrong("free memory was written (bank, page)", (uint64_t)!bank, page);
    }
}

static void stand_and_compare(uint64_t *bitmap)
{
    atomic_store(&stand_still, true);
    while (atomic_load(&standing) < VCPUS + 2)
        sched_yield();
    for (int space = 0; space < 2; space++) {
        harvest(space, bitmap, true);
        if (harvest(space, bitmap, true))
            wrong("pages became dirty while all stood still (space)", (uint64_t)space, 0);
    }
    for (unsigned p = 0; p < PAGES; p++)
        compare_page(p);
    atomic_store(&stand_still, false);
    while (atomic_load(&standing))
        sched_yield();
    did(STILLS);
}

/* ---- beginning and end ---------------------------------------------------------------- */

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void make_memory(void)
{
    for (unsigned p = 0; p < PAGES; p++) {
        pages[p].bank = 0;
        pages[p].read_only = false;
        for (int i = 0; i < VCPUS; i++) {
            atomic_store(&memory[0][p][i], 0);
            atomic_store(&memory[1][p][i], poison(1, p));
            copies[p][i] = 0;
        }
    }
    for (unsigned c = 0; c < CHUNKS; c++) {
        chunk_bank[c] = 0;
        atomic_store(&chunk_level[c], 3);
    }
}

static void make_vm(uint64_t seed)
{
    static const char *const names[4] = { "EPT", "EPT without PML", "EPT without A/D", "NPT" };
    struct tdpmmu_ops ops = {
        .size = sizeof(ops), .warn = on_warning, .flush_tlb = flush_tlb, .gfn_to_pfn = gfn_to_pfn,
        .mapping_level = mapping_level, .need_resched = need_resched, .yielded = yielded, .vcpu_request = vcpu_request,
    };
    int kind = (int)(seed & 3);
    struct tdpmmu_vm_config config = {
        .size = sizeof(config), .ops = &ops, .vendor = kind == 3 ? TDPMMU_NPT : TDPMMU_EPT, .no_pml = kind == 1,
        .ad_disabled = kind == 2, .root_level = 4 + (seed >> 2 & 1), .nx_huge_pages = seed >> 3 & 1,
        .zap_slot_only = seed >> 4 & 1,
        .dirty_log = seed >> 5 & 1 ? KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE : 0,
    };

    if (config.dirty_log && seed >> 6 & 1)
        config.dirty_log |= KVM_DIRTY_LOG_INITIALLY_SET;
    nx = config.nx_huge_pages;
    manual = config.dirty_log;
    may_be_lazy = kind != 0 && !(config.dirty_log & KVM_DIRTY_LOG_INITIALLY_SET);
    config.no_eager_split = may_be_lazy;
    kvm = tdpmmu_create_vm(&config);
    if (!kvm)
        fail("tdpmmu_create_vm");
    tdpmmu_check_always(kvm, 4099);
    open_eyes(kvm, true);
    printf("%s, %u levels%s%s%s%s:", names[kind], config.root_level, nx ? ", NX" : "",
           config.zap_slot_only ? ", slots alone" : "", manual ? ", manual" : "",
           config.dirty_log & KVM_DIRTY_LOG_INITIALLY_SET ? ", all set" : "");
    for (int i = 0; i < VCPUS; i++) {
        cpus[i] = (struct cpu){ .index = i, .random = seed * 31 + (uint64_t)i * 17 + 1 };
        cpus[i].vcpu = tdpmmu_create_vcpu(kvm, i);
        if (!cpus[i].vcpu || pthread_mutex_init(&cpus[i].cache_lock, NULL) || kvm_mmu_load(cpus[i].vcpu))
            fail("tdpmmu_create_vcpu");
    }
}

static void run(uint64_t seed, unsigned seconds)
{
    static uint64_t bitmap[WORDS];
    uint64_t host_seed = seed * 37 + 1, log_seed = seed * 41 + 1;
    pthread_t threads[VCPUS + 2];
    struct timespec pause = { 0, 1000000 };
    time_t end;

    make_memory();
    make_vm(seed);
    random_state = seed * 43 + 1;
    set_slot(0, 1, false, false);
    set_slot(1, 3, false, true);
    for (int i = 0; i < VCPUS; i++)
        if (pthread_create(&threads[i], NULL, cpu_thread, &cpus[i]))
            fail("pthread_create");
    if (pthread_create(&threads[VCPUS], NULL, host_thread, &host_seed) ||
        pthread_create(&threads[VCPUS + 1], NULL, log_thread, &log_seed))
        fail("pthread_create");
    for (end = time(NULL) + seconds; time(NULL) < end && !atomic_load(&wrong_count); nanosleep(&pause, NULL)) {
        int space = (int)below(2);

        switch (below(8)) {
        case 0: stand_and_compare(bitmap); break;
        case 1: recover(space); break;
        case 2: case 3: case 4: change_slot(space); break;
        default: harvest(space, bitmap, false);
        }
    }
    stand_and_compare(bitmap);
    atomic_store(&stop, true);
    for (int i = 0; i < VCPUS + 2; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&stop, false);
    if (tdpmmu_check(kvm) > 0)
        atomic_fetch_add(&wrong_count, 1);
    tdpmmu_destroy_vm(kvm); /* warns of what is left */
    for (int i = 0; i < DONE; i++) {
        unsigned long long n = atomic_exchange(&done[i], 0);

        totals[i] += n;
        printf("%s %llu %s", i ? "," : "", n, done_names[i]);
    }
    printf("\n");
    fflush(stdout);
}

static bool has_idle_part(void)
{
    for (int i = 0; i < DONE; i++)
        if (!totals[i])
            return true;
    return false;
}

int main(int argc, char **argv)
{
    unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 10;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
    bool good;

    if (seconds == 0 || seed == 0) {
        fprintf(stderr, "usage: stress_caches [SECONDS [SEED]]\n");
        return 2;
    }
    printf("stress_caches: %u s, seed %" PRIu64 "\n", seconds, seed);
    /* The four sorts of hardware in turn, and whatever options come out; longer if something was not done. */
    for (unsigned i = 0; (i < 4 || has_idle_part()) && !atomic_load(&wrong_count); i++)
        run((seed + i) * UINT64_C(0x9e3779b97f4a7c15) >> 20 << 2 | ((seed + i) & 3), (seconds + 3) / 4);
    good = !atomic_load(&wrong_count) && !atomic_load(&warnings);
    printf("stress_caches: %s\n", good ? "good" : "BAD");
    return good ? 0 : 1;
}
