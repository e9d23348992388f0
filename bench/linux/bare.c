// SPDX-License-Identifier: GPL-2.0-only
/* Below Linux's TDP MMU when it is measured: waits for locks, memory, a VM. */
#include <sys/mman.h>

#include "bare.h"

struct linux_cpuinfo bare_cpu = { 48, 48, 0x80000008 };
struct kvm_host_values bare_host = { .maxphyaddr = 48 };
__thread struct kvm_x86_ops kvm_x86_ops; /* all zero: without a log in the CPU */
__thread struct face_frame bare_frame;
__thread struct kvm_vcpu *linux_running_vcpu;
__thread bool eager_page_split = true;
__thread const unsigned int *linux_recovery_ratio;
int bare_mapping_level = PG_LEVEL_2M;
bool tdp_mmu_enabled = true;
bool tdp_enabled = true;
int max_huge_page_level = PG_LEVEL_1G;
int nx_huge_pages;
unsigned long bare_warnings;

/* ---- complaints --------------------------------------------------------------------- */
void linux_warn(const char *function, const char *condition)
{
    if (__atomic_fetch_add(&bare_warnings, 1, __ATOMIC_RELAXED) < 5)
        fprintf(stderr, "Linux: warning in %s(): %s\n", function, condition);
}

void linux_bug(const char *function, const char *condition)
{
    fprintf(stderr, "Linux: BUG in %s(): %s\n", function, condition);
    abort();
}

/* The guest's pages have no struct page that would be marked; attributes of memory are looked up and not there. */
void bare_see_pfn(kvm_pfn_t pfn) { WARN_ON(is_error_noslot_pfn(pfn)); }
bool bare_is_private(struct kvm *kvm, gfn_t gfn) { __asm__ volatile("" : : "r"(kvm), "r"(gfn)); return false; }

/* ---- locks: who must wait spins, and lets others run now and then --------------------------- */
static void relax(unsigned int *turns)
{
    if (++*turns % 1024)
        cpu_relax();
    else
        sched_yield();
}

void bare_spin_slow(u32 *word)
{
    unsigned int turns = 0;
    u32 free;

    do {
        while (READ_ONCE(*word))
            relax(&turns);
        free = 0;
    } while (!__atomic_compare_exchange_n(word, &free, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
}

/* A queue of one: who waits holds the word behind the state. */
static u32 *queue_of(rwlock_t *lock) { return (u32 *)&lock->sleepers; }

void bare_read_slow(rwlock_t *lock)
{
    unsigned int turns = 0;

    __atomic_fetch_sub(&lock->state, BARE_READER, __ATOMIC_RELAXED);
    bare_spin_lock(queue_of(lock));
    __atomic_fetch_add(&lock->state, BARE_READER, __ATOMIC_RELAXED);
    while (__atomic_load_n(&lock->state, __ATOMIC_ACQUIRE) & BARE_WRITER)
        relax(&turns);
    bare_spin_unlock(queue_of(lock));
}

void bare_write_slow(rwlock_t *lock)
{
    unsigned int turns = 0;
    u32 waiting;

    bare_spin_lock(queue_of(lock));
    __atomic_fetch_or(&lock->state, BARE_WAITING, __ATOMIC_RELAXED);
    do {
        while (READ_ONCE(lock->state) != BARE_WAITING)
            relax(&turns);
        waiting = BARE_WAITING;
    } while (!__atomic_compare_exchange_n(&lock->state, &waiting, BARE_WRITER, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    bare_spin_unlock(queue_of(lock));
}

void mutex_init(struct mutex *m) { pthread_mutex_init(&m->mutex, NULL); }
void mutex_lock(struct mutex *m) { pthread_mutex_lock(&m->mutex); }
void mutex_unlock(struct mutex *m) { pthread_mutex_unlock(&m->mutex); }

/* ---- counts of roots -------------------------------------------------------------------------- */
void refcount_set(refcount_t *r, int n) { WRITE_ONCE(r->refs, n); }
unsigned int refcount_read(const refcount_t *r) { return (unsigned int)READ_ONCE(r->refs); }

bool refcount_inc_not_zero(refcount_t *r)
{
    int old = READ_ONCE(r->refs);

    do {
        if (!old)
            return false;
    } while (!__atomic_compare_exchange_n(&r->refs, &old, old + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

bool refcount_dec_and_test(refcount_t *r)
{
    if (__atomic_fetch_sub(&r->refs, 1, __ATOMIC_RELEASE) != 1)
        return false;
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs with the releases of those before */
    return true;
}

/*
 * ---- memory --------------------------------------------------------------------------------
 * Two stores, of tables and of their headers, each touched beforehand and in huge pages where the host
 * gives them, as the kernel's direct map is.  A thread has a magazine of each, as a CPU of the kernel has
 * lists, and exchanges half of it with the store at a time.
 */
#define MAGAZINE 128

struct store {
    u32 lock;
    size_t size, count;
    char *fresh, *end;
    void **free;
} __attribute__((aligned(128)));
struct magazine { int count; void *at[MAGAZINE]; };
struct kmem_cache { struct store store; };

static struct store pages;
static struct kmem_cache headers;
struct kmem_cache *mmu_page_header_cache = &headers;
static __thread struct magazine page_magazine, header_magazine;
struct bare_page *bare_vmemmap;

static noinline void refill(struct magazine *m, struct store *s)
{
    bare_spin_lock(&s->lock);
    while (m->count < MAGAZINE / 2 && s->count)
        m->at[m->count++] = s->free[--s->count];
    for (; m->count < MAGAZINE / 2 && s->fresh < s->end; s->fresh += s->size)
        m->at[m->count++] = s->fresh;
    bare_spin_unlock(&s->lock);
    if (!m->count)
        linux_bug(__func__, "memory for tables is used up");
}

static noinline void drain(struct magazine *m, struct store *s)
{
    bare_spin_lock(&s->lock);
    while (m->count > MAGAZINE / 2)
        s->free[s->count++] = m->at[--m->count];
    bare_spin_unlock(&s->lock);
}

static inline void *take(struct magazine *m, struct store *s)
{
    if (unlikely(!m->count))
        refill(m, s);
    return m->at[--m->count];
}

static inline void give(struct magazine *m, struct store *s, void *object)
{
    if (unlikely(m->count == MAGAZINE))
        drain(m, s);
    m->at[m->count++] = object;
}

unsigned long __get_free_page(gfp_t gfp)
{
    void *page = take(&page_magazine, &pages);

    if (gfp & __GFP_ZERO)
        memset(page, 0, PAGE_SIZE);
    return (unsigned long)page;
}

void free_page(unsigned long address) { give(&page_magazine, &pages, (void *)address); }

void *kmem_cache_alloc(struct kmem_cache *c, gfp_t gfp)
{
    void *header = take(&header_magazine, &c->store);

    if (gfp & __GFP_ZERO)
        memset(header, 0, sizeof(struct kvm_mmu_page));
    return header;
}

void kmem_cache_free(struct kmem_cache *c, void *object) { give(&header_magazine, &c->store, object); }

static char *touched(unsigned long at, size_t bytes)
{
    char *memory = mmap((void *)at, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED_NOREPLACE : 0), -1, 0);

    if (memory == MAP_FAILED)
        linux_bug(__func__, "no memory");
    madvise(memory, bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < bytes; i += PAGE_SIZE)
        memory[i] = 0;
    return memory;
}

static void store_init(struct store *s, char *memory, size_t count, size_t size)
{
    s->size = size;
    s->fresh = memory;
    s->end = memory + count * size;
    s->free = calloc(count, sizeof(*s->free));
}

void bare_init(unsigned long tables)
{
    size_t header = ALIGN(sizeof(struct kvm_mmu_page), 64UL);

    store_init(&pages, touched(BARE_ARENA, tables * PAGE_SIZE), tables, PAGE_SIZE);
    store_init(&headers.store, touched(0, tables * header), tables, header);
    bare_vmemmap = (struct bare_page *)touched(0, tables * sizeof(*bare_vmemmap)) - (BARE_ARENA >> PAGE_SHIFT);
    enable_mmio_caching = true;
    kvm_mmu_spte_module_init();
    kvm_mmu_reset_all_pte_masks();
}

/* ---- VMs ----------------------------------------------------------------------------------------- */
static struct face_vm no_callbacks;

struct kvm *bare_create_vm(bool initially_set)
{
    struct kvm *kvm = aligned_alloc(64, ALIGN(sizeof(*kvm), 64UL));

    memset(kvm, 0, sizeof(*kvm));
    kvm->face = &no_callbacks;
    init_srcu_struct(&kvm->srcu);
    mutex_init(&kvm->lock);
    mutex_init(&kvm->slots_lock);
    mutex_init(&kvm->slots_arch_lock);
    refcount_set(&kvm->users_count, 1);
    face_init_slots(kvm);
    kvm->arch.pre_fault_allowed = true;
    INIT_LIST_HEAD(&kvm->arch.active_mmu_pages);
    INIT_LIST_HEAD(&kvm->arch.zapped_obsolete_pages);
    INIT_LIST_HEAD(&kvm->arch.possible_nx_huge_pages);
    kvm->arch.mmu_page_hash = calloc(KVM_NUM_MMU_PAGES, sizeof(struct hlist_head));
    kvm->arch.split_page_header_cache.kmem_cache = mmu_page_header_cache;
    kvm->arch.shadow_mmio_value = shadow_mmio_value;
    kvm->arch.disable_nx_huge_pages = true;
    kvm->mmu_invalidate_range_start = kvm->mmu_invalidate_range_end = INVALID_GPA;
    kvm->machine.root_level = 4;
    kvm->manual_dirty_log_protect = initially_set ? KVM_DIRTY_LOG_MANUAL_CAPS : 0;
    kvm_mmu_init_tdp_mmu(kvm);
    return kvm;
}

void bare_destroy_vm(struct kvm *kvm)
{
    refcount_set(&kvm->users_count, 0);
    kvm_mmu_uninit_tdp_mmu(kvm);
    face_free_slots(kvm);
    cleanup_srcu_struct(&kvm->srcu);
    free(kvm->arch.mmu_page_hash);
    free(kvm);
}

int bare_set_slot(struct kvm *kvm, gfn_t gfn, u64 npages, u64 pfn, u32 flags)
{
    struct kvm_userspace_memory_region2 region = { .guest_phys_addr = gfn << PAGE_SHIFT, .flags = flags,
        .memory_size = npages << PAGE_SHIFT, .userspace_addr = pfn << PAGE_SHIFT };
    int ret;

    bare_frame.kvm = kvm;
    mutex_lock(&kvm->slots_lock);
    ret = __kvm_set_memory_region(kvm, &region);
    mutex_unlock(&kvm->slots_lock);
    return ret;
}

struct kvm_vcpu *bare_create_vcpu(struct kvm *kvm)
{
    struct kvm_vcpu *vcpu = aligned_alloc(64, ALIGN(sizeof(*vcpu), 64UL));

    memset(vcpu, 0, sizeof(*vcpu));
    vcpu->kvm = kvm;
    kvm->created_vcpus++;
    face_init_mmu(vcpu);
    bare_load(vcpu);
    return vcpu;
}

void bare_load(struct kvm_vcpu *vcpu)
{
    kvm_mmu_unload(vcpu);
    if (kvm_mmu_load(vcpu))
        linux_bug(__func__, "a vCPU gets no root");
    linux_running_vcpu = vcpu;
}

void bare_destroy_vcpu(struct kvm_vcpu *vcpu)
{
    kvm_mmu_unload(vcpu);
    face_free_caches(vcpu);
    if (linux_running_vcpu == vcpu)
        linux_running_vcpu = NULL;
    free(vcpu);
}

/* ---- nothing else hears of what the MMU does -------------------------------------------------------- */
struct kvm_vcpu *linux_next_vcpu(struct kvm *kvm, struct kvm_vcpu *vcpu) { return NULL; }
bool kvm_make_all_cpus_request(struct kvm *kvm, unsigned int request) { return true; }
void kvm_vcpu_kick(struct kvm_vcpu *vcpu) { }
int kvm_arch_flush_remote_tlbs(struct kvm *kvm) { return 0; }
int kvm_arch_flush_remote_tlbs_range(struct kvm *kvm, gfn_t gfn, u64 npages) { return 0; }
void linux_kvm_x86_load_mmu_pgd(struct kvm_vcpu *vcpu, hpa_t root, int level) { }
void linux_kvm_x86_flush_tlb_current(struct kvm_vcpu *vcpu) { }
void linux_wait_for_invalidations(void) { linux_bug(__func__, "an invalidation does not end"); }
