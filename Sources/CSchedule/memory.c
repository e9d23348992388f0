/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that is put back before each schedule: data of the program and the library, thread-local data of the threads,
 * the stacks of those that wait, and what the library has allocated.  Of the last, as of page tables, only pages that
 * were ever written since they were kept: these are found by their first fault.
 */
#ifdef TDPMMU_SCHEDULE_POINTS
#define _GNU_SOURCE
#include "engine.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAP_START UINT64_C(0x6a0000000000)
#define HEAP_BYTES (UINT64_C(256) << 20)
#define PAGE UINT64_C(4096)
#define RANGES 64
#define PAGES 32768

struct range { char *start; size_t bytes; char *copy; };
struct page { char *at; char *copy; };

/* Not in the library's data, which are put back. */
static struct store {
    struct range data[RANGES];      /* copied as a whole */
    uint32_t data_count;
    struct range watched[RANGES];   /* pages of which are copied at their first write */
    uint32_t watched_count, kept_count;
    struct page pages[PAGES];
    uint32_t page_count;
    bool is_kept;
    uint64_t heap_used, heap_kept;
    struct range stacks[CS_THREADS];
    struct cs_engine *engine_copy;
    char *save, *save_end;          /* room for copies */
} *store;

static char *room(size_t bytes)
{
    bytes = (bytes + 63) & ~(size_t)63;
    if ((size_t)(store->save_end - store->save) < bytes) {
        size_t more = bytes > (4u << 20) ? bytes : 4u << 20;
        char *at = mmap(NULL, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (at == MAP_FAILED)
            abort();
        store->save = at;
        store->save_end = at + more;
    }
    store->save += bytes;
    return store->save - bytes;
}

/* ---- the heap of the library's ----------------------------------------------- */

bool cs_owns(const void *address)
{
    return (uintptr_t)address - HEAP_START < HEAP_BYTES;
}

struct head { uint64_t bytes, magic; };

void *cs_alloc(size_t bytes, size_t alignment)
{
    uint64_t at = HEAP_START + store->heap_used + sizeof(struct head);

    at = (at + alignment - 1) & ~(uint64_t)(alignment - 1);
    if (at + bytes + 64 > HEAP_START + HEAP_BYTES)
        return NULL;
    store->heap_used = ((at + bytes + 63) & ~UINT64_C(63)) - HEAP_START;
    ((struct head *)at)[-1] = (struct head){bytes, 0x7264706d6d75};
    memset((void *)at, 0xa5, bytes);
    return (void *)at;
}

static void free_own(void *address)
{
    struct head *head = (struct head *)address - 1;

    if (head->magic != 0x7264706d6d75)
        cs_fail("free() of what was not allocated, or twice");
    head->magic = 0;
    memset(address, 0xdd, head->bytes); /* who looks at it still sees that */
}

/* The library's calls: link.sh has the linker put these in front. */
void *__real_malloc(size_t bytes);
void __real_free(void *address);
int __real_posix_memalign(void **memory, size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void __wrap_free(void *address);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    return cs_is_scheduled() ? cs_alloc(bytes, 16) : __real_malloc(bytes);
}

void __wrap_free(void *address)
{
    if (!cs_owns(address))
        __real_free(address);
    else if (cs_is_scheduled())
        free_own(address);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    if (!cs_is_scheduled())
        return __real_posix_memalign(memory, alignment, bytes);
    *memory = cs_alloc(bytes, alignment < 16 ? 16 : alignment);
    return *memory ? 0 : ENOMEM;
}

/* ---- pages at their first write ----------------------------------------------- */

static void watch(struct range *range)
{
    madvise(range->start, range->bytes, MADV_NOHUGEPAGE);
    mprotect(range->start, range->bytes, PROT_READ);
}

/* By a fault: is it the first write of a page that is kept? */
static bool keep_page(char *address)
{
    for (uint32_t i = 0; i < store->kept_count; i++)
        if ((size_t)(address - store->watched[i].start) < store->watched[i].bytes) {
            char *page = (char *)((uintptr_t)address & ~(PAGE - 1));

            if (store->page_count == PAGES || mprotect(page, PAGE, PROT_READ | PROT_WRITE) != 0)
                return false;
            store->pages[store->page_count].at = page;
            store->pages[store->page_count].copy = memcpy(room(PAGE), page, PAGE);
            store->page_count++;
            return true;
        }
    return false;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (number == SIGSEGV && store->is_kept && keep_page(info->si_addr))
        return;
    if (cs_is_scheduled()) {
        snprintf(cs_the_engine->failure, sizeof(cs_the_engine->failure), "%s at address %p",
                 number == SIGSEGV ? "SIGSEGV" : number == SIGBUS ? "SIGBUS" : number == SIGILL ? "SIGILL"
                 : number == SIGFPE ? "SIGFPE" : "SIGABRT", number == SIGABRT ? NULL : info->si_addr);
        cs_to_explorer(CS_FAILED);
    }
    signal(number, SIG_DFL);
    raise(number);
}

void cs_region_is_used(void *address, size_t bytes)
{
    if (!store || store->watched_count == RANGES)
        return;
    store->watched[store->watched_count++] = (struct range){address, bytes, NULL};
}

/* ---- data ---------------------------------------------------------------------- */

static void add_data(char *start, size_t bytes)
{
    if (bytes && store->data_count < RANGES)
        store->data[store->data_count++] = (struct range){start, bytes, room(bytes)};
}

/* The program, and the library that this code is in: what is writable of them, and their thread-local data. */
static int add_object(struct dl_phdr_info *object, size_t size, void *count)
{
    bool is_ours = (*(int *)count)++ == 0;
    uintptr_t protected_start = 0, protected_end = 0, own = (uintptr_t)add_object;
    struct cs_engine *e = cs_the_engine;

    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[i];

        if (p->p_type == PT_LOAD && own - (object->dlpi_addr + p->p_vaddr) < p->p_memsz)
            is_ours = true;
        if (p->p_type == PT_GNU_RELRO) {
            protected_start = object->dlpi_addr + p->p_vaddr;
            protected_end = (protected_start + p->p_memsz) & ~(PAGE - 1);
        }
    }
    if (!is_ours)
        return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + p->p_vaddr, end = start + p->p_memsz;

        if (p->p_type == PT_LOAD && (p->p_flags & PF_W)) {
            if (start >= protected_start && start < protected_end)
                start = protected_end;
            if (start < end)
                add_data((char *)start, end - start);
        }
        if (p->p_type == PT_TLS && object->dlpi_tls_data) {
            intptr_t offset = (char *)object->dlpi_tls_data - (char *)cs_thread_pointer();

            for (int t = 0; offset < 0 && t < CS_THREADS; t++)
                add_data((char *)e->threads[t].thread_pointer + offset, p->p_memsz);
        }
    }
    return 0;
}

int cs_watch_memory(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    stack_t stack = {.ss_size = 64 << 10};
    void *heap = mmap((void *)HEAP_START, HEAP_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

    if (heap != (void *)HEAP_START)
        return ENOMEM;
    madvise(heap, HEAP_BYTES, MADV_NOHUGEPAGE);
    store = mmap(NULL, sizeof(*store), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (store == MAP_FAILED || stack.ss_sp == MAP_FAILED)
        return ENOMEM;
    sigaltstack(&stack, NULL);
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
        sigaction(signals[i], &action, NULL);
    return 0;
}

void cs_keep_memory(void)
{
    struct cs_engine *e = cs_the_engine;
    int count = 0;

    store->data_count = 0;
    dl_iterate_phdr(add_object, &count);
    for (int i = 0; i < CS_THREADS; i++)
        if (e->threads[i].state == CS_WAITS || e->threads[i].state == CS_YIELDS) {
            size_t bytes = cs_stack_in_use(&e->threads[i]);

            store->stacks[i] = (struct range){e->threads[i].sp, bytes, room(bytes)};
            memcpy(store->stacks[i].copy, store->stacks[i].start, bytes);
        }
    store->engine_copy = (struct cs_engine *)room(sizeof(*e));
    memcpy(store->engine_copy->threads, e->threads, sizeof(e->threads));
    store->engine_copy->ready = e->ready;
    store->engine_copy->yielding = e->yielding;
    store->engine_copy->clock_ns = e->clock_ns;
    store->heap_kept = (store->heap_used + PAGE - 1) & ~(PAGE - 1);
    store->heap_used = store->heap_kept;
    if (store->heap_kept)
        cs_region_is_used((void *)HEAP_START, store->heap_kept);
    store->kept_count = store->watched_count;
    for (uint32_t i = 0; i < store->data_count; i++)
        memcpy(store->data[i].copy, store->data[i].start, store->data[i].bytes);
    for (uint32_t i = 0; i < store->kept_count; i++)
        watch(&store->watched[i]);
    store->is_kept = true;
}

void cs_put_memory_back(void)
{
    struct cs_engine *e = cs_the_engine;

    for (uint32_t i = 0; i < store->page_count; i++)
        memcpy(store->pages[i].at, store->pages[i].copy, PAGE);
    for (uint32_t i = 0; i < store->data_count; i++)
        memcpy(store->data[i].start, store->data[i].copy, store->data[i].bytes);
    for (int i = 0; i < CS_THREADS; i++)
        if (store->stacks[i].copy)
            memcpy(store->stacks[i].start, store->stacks[i].copy, store->stacks[i].bytes);
    while (store->watched_count > store->kept_count) { /* blocks of this schedule's own: zero again */
        struct range *range = &store->watched[--store->watched_count];

        madvise(range->start, range->bytes, MADV_DONTNEED);
    }
    store->heap_used = store->heap_kept;
    memcpy(e->threads, store->engine_copy->threads, sizeof(e->threads));
    e->ready = store->engine_copy->ready;
    e->yielding = store->engine_copy->yielding;
    e->clock_ns = store->engine_copy->clock_ns;
    e->asleep = 0;
}
#endif
