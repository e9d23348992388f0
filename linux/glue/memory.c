// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory of tables and of their headers.  A table's host-physical address is its place in one
 * stretch of address space, so it is below any MAXPHYADDR and its header is found by arithmetic.
 *
 * The interface shows a header of its own layout (struct face_kvm_mmu_page).  It stands behind the
 * kernel's, and has what the kernel's had when it was last asked for; a root's count lives in it, and
 * in no other place.
 */
#include <sys/mman.h>

#include "face.h"

struct linux_header {
    struct kvm_mmu_page sp; /* first: the kernel has its address */
    struct face_kvm_mmu_page face __attribute__((aligned(64)));
    struct linux_header *next_free;
} __attribute__((aligned(64)));

struct kmem_cache { int unused; };
static struct kmem_cache header_cache;
struct kmem_cache *mmu_page_header_cache = &header_cache;

/* One page of the arena. */
struct record {
    struct page page; /* first; private is the table's header, as in the kernel */
    struct kvm *kvm;
    u32 next_free;
    bool stray;
};

#define ARENA_PAGES (LINUX_ARENA_BYTES >> PAGE_SHIFT)

char *linux_arena;
static struct record *records;
static struct page no_page;
static pthread_mutex_t arena_mutex = PTHREAD_MUTEX_INITIALIZER;
static u32 arena_used = 1, first_free; /* page 0 is never given out; arena_mutex */
static struct linux_header *headers, *free_headers; /* arena_mutex */
static u32 headers_used; /* arena_mutex */

/* A fork finds the mutexes of all VMs in no other thread's hands. */
static void before_fork(void)
{
    face_lock_slots();
    pthread_mutex_lock(&arena_mutex);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&arena_mutex);
    face_unlock_slots();
}

__attribute__((constructor)) static void see_to_forks(void) { pthread_atfork(before_fork, after_fork, after_fork); }

static void *reserve(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static bool arena_is_there(void) /* arena_mutex */
{
    if (!records) {
        records = reserve(ARENA_PAGES * sizeof(*records));
        headers = reserve(ARENA_PAGES * sizeof(*headers));
        linux_arena = reserve(LINUX_ARENA_BYTES);
    }
    return records && headers && linux_arena;
}

static struct record *record_at(u64 pa)
{
    u64 index = (pa - LINUX_ARENA_PA) >> PAGE_SHIFT;

    return pa >= LINUX_ARENA_PA && index < ARENA_PAGES && records ? &records[index] : NULL;
}

struct page *linux_page(unsigned long pfn)
{
    struct record *record = record_at((u64)pfn << PAGE_SHIFT);

    return record ? &record->page : &no_page;
}

unsigned long __get_free_page(gfp_t gfp)
{
    u32 index = 0;
    char *page;

    pthread_mutex_lock(&arena_mutex);
    if (arena_is_there()) {
        if (first_free) {
            index = first_free;
            first_free = records[index].next_free;
        } else if (arena_used < ARENA_PAGES) {
            index = arena_used++;
        }
    }
    pthread_mutex_unlock(&arena_mutex);
    if (!index)
        return 0;
    page = linux_arena + ((size_t)index << PAGE_SHIFT);
    if (gfp & __GFP_ZERO)
        memset(page, 0, PAGE_SIZE);
    return (unsigned long)page;
}

unsigned long linux_get_page_for_split(gfp_t gfp)
{
    struct face_vm *face = face_now->kvm->face;

    if (!face->table_limit || count_of(&face->counters.tables) < face->table_limit)
        return __get_free_page(gfp);
    face_now->out_of_tables = true;
    return 0;
}

void free_page(unsigned long address)
{
    struct record *record = record_at(__pa(address));

    if (record->kvm) {
        atomic_fetch_sub(&record->kvm->face->counters.tables, 1);
        if (record->stray)
            atomic_fetch_sub(&record->kvm->face->counters.strays, 1);
    }
    record->kvm = NULL;
    record->stray = false;
    WRITE_ONCE(record->page.private, 0);
    pthread_mutex_lock(&arena_mutex);
    record->next_free = first_free;
    first_free = (u32)(record - records);
    pthread_mutex_unlock(&arena_mutex);
}

void linux_set_page_private(struct page *page, unsigned long value)
{
    struct record *record = container_of(page, struct record, page);

    if (value && !record->kvm && face_now) {
        record->kvm = face_now->kvm;
        count_up(&record->kvm->face->counters.tables);
    }
    __atomic_store_n(&page->private, value, __ATOMIC_RELEASE);
}

void *kmem_cache_alloc(struct kmem_cache *c, gfp_t gfp)
{
    struct linux_header *header;

    (void)c, (void)gfp;
    pthread_mutex_lock(&arena_mutex);
    header = free_headers;
    if (header)
        free_headers = header->next_free;
    else if (arena_is_there() && headers_used < ARENA_PAGES)
        header = &headers[headers_used++];
    pthread_mutex_unlock(&arena_mutex);
    if (header)
        memset(header, 0, sizeof(*header));
    return header;
}

void kmem_cache_free(struct kmem_cache *c, void *object)
{
    struct linux_header *header = object;

    (void)c;
    header->face.kvm = NULL;
    header->face.tdp_mmu_page = false;
    pthread_mutex_lock(&arena_mutex);
    header->next_free = free_headers;
    free_headers = header;
    pthread_mutex_unlock(&arena_mutex);
}

/* The one function that Linux queues: it frees a table. */
static void (*free_table)(struct rcu_head *head);

static void free_and_tell(struct rcu_head *head)
{
    struct kvm_mmu_page *sp = container_of(head, struct kvm_mmu_page, rcu_head);
    struct tdpmmu_trace_event event = { .sp = { (u64)(uintptr_t)head, __pa(sp->spt), sp->gfn } };

    face_event(linux_table_owner(sp), TDPMMU_TRACE_FREE_SP_RCU, &event);
    free_table(head);
}

/* Until its memory is freed a table is a stray. */
void linux_call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head))
{
    struct kvm_mmu_page *sp = container_of(head, struct kvm_mmu_page, rcu_head);
    struct record *record = record_at(__pa(sp->spt));

    face_page(sp);
    record->stray = true;
    count_up(&record->kvm->face->counters.strays);
    __atomic_store_n(&free_table, func, __ATOMIC_RELAXED);
    (call_rcu)(head, free_and_tell);
}

/* ---- counts of roots ------------------------------------------------------------ */
/* The only counts there are but a VM's users_count, which nobody changes, are roots'. */
static int *count_at(const refcount_t *r)
{
    if (face_now && r == &face_now->kvm->users_count)
        return (int *)&r->refs;
    return &container_of(container_of(r, struct kvm_mmu_page, tdp_mmu_root_count), struct linux_header, sp)
                ->face.tdp_mmu_root_count;
}

void refcount_set(refcount_t *r, int n) { __atomic_store_n(count_at(r), n, __ATOMIC_RELAXED); }
unsigned int refcount_read(const refcount_t *r)
{
    return (unsigned int)__atomic_load_n(count_at(r), __ATOMIC_RELAXED);
}

bool refcount_inc_not_zero(refcount_t *r)
{
    int *count = count_at(r), old = __atomic_load_n(count, __ATOMIC_RELAXED);

    do {
        if (!old)
            return false;
    } while (!__atomic_compare_exchange_n(count, &old, old + 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    if (old < 0)
        linux_bug(__func__, "a reference count is below zero");
    return true;
}

bool refcount_dec_and_test(refcount_t *r)
{
    int old = __atomic_fetch_sub(count_at(r), 1, __ATOMIC_RELEASE);

    if (old <= 0)
        linux_bug(__func__, "a reference count went below zero");
    if (old == 1)
        __atomic_thread_fence(__ATOMIC_ACQUIRE); /* pairs with the releases of those before */
    return old == 1;
}

/* ---- headers as the interface shows them -------------------------------------------- */
struct face_kvm_mmu_page *face_page(struct kvm_mmu_page *sp)
{
    struct face_kvm_mmu_page *face;
    struct record *record;

    if (!sp)
        return NULL;
    face = &container_of(sp, struct linux_header, sp)->face;
    record = record_at(__pa(sp->spt));
    face->spt = sp->spt;
    face->gfn = sp->gfn;
    face->kvm = record ? record->kvm : NULL;
    face->ptep = sp->ptep;
    face->role.word = READ_ONCE(sp->role.word);
    face->tdp_mmu_page = sp->tdp_mmu_page;
    face->nx_huge_page_disallowed = sp->nx_huge_page_disallowed;
    face->tdp_mmu_scheduled_root_to_zap = sp->tdp_mmu_scheduled_root_to_zap;
    return face;
}

struct kvm_mmu_page *linux_sp(const struct face_kvm_mmu_page *page)
{
    struct kvm_mmu_page *sp;
    size_t offset = (uintptr_t)page - (uintptr_t)headers;

    if (!headers || (uintptr_t)page < (uintptr_t)headers || offset / sizeof(*headers) >= READ_ONCE(headers_used) ||
        offset % sizeof(*headers) != offsetof(struct linux_header, face) || !page->spt)
        return NULL;
    sp = linux_table_at(page->spt);
    return sp && &container_of(sp, struct linux_header, sp)->face == page ? sp : NULL;
}

struct kvm_mmu_page *linux_table_at_pa(u64 pa)
{
    struct record *record = record_at(pa);

    /* Acquire: pairs with the release in linux_set_page_private(). */
    return record ? (struct kvm_mmu_page *)__atomic_load_n(&record->page.private, __ATOMIC_ACQUIRE) : NULL;
}

struct kvm_mmu_page *linux_table_at(const void *address)
{
    const char *byte = address;

    if (!linux_arena || byte < linux_arena || byte >= linux_arena + LINUX_ARENA_BYTES)
        return NULL;
    return linux_table_at_pa(__pa(byte));
}

struct kvm *linux_table_owner(struct kvm_mmu_page *sp)
{
    struct record *record = record_at(__pa(sp->spt));

    return record ? record->kvm : NULL;
}

void face_show_roots(struct kvm *kvm)
{
    struct kvm_mmu_page *root;

    rcu_read_lock();
    list_for_each_entry_rcu(root, &kvm->arch.tdp_mmu_roots, link)
        face_page(root);
    rcu_read_unlock();
}
