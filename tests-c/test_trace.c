/* SPDX-License-Identifier: GPL-2.0-only */
/* Events: to the callback and to the rings, in order, whole, and none when off. */
#include "test_helpers.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING 256u
#define MOST 8192u

static struct tdpmmu_trace_event events[MOST];

/* A world whose events go to rings; what other tests left there is taken out. */
static struct world *traced_world(uint64_t wanted)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    while (tdpmmu_trace_read(events, MOST, NULL) > 0)
        ;
    assert_int_equal(tdpmmu_trace_enable(w->kvm, wanted), 0);
    return w;
}

static unsigned read_all(uint64_t *lost)
{
    return (unsigned)tdpmmu_trace_read(events, MOST, lost);
}

static const struct tdpmmu_trace_event *find(unsigned n, int id, unsigned nth)
{
    for (unsigned i = 0; i < n; i++)
        if (events[i].id == id && nth-- == 0)
            return &events[i];
    return NULL;
}

static void assert_in_order(unsigned n)
{
    for (unsigned i = 1; i < n; i++)
        assert_true(events[i - 1].count < events[i].count);
}

/* A fault tells its story: the call, the walk, each table, the leaf, the return. */
static void test_fault_is_told(void **state)
{
    static const int story[] = {
        TDPMMU_TRACE_MAP, TDPMMU_TRACE_SPTE_REQUESTED, TDPMMU_TRACE_ITER_START,
        TDPMMU_TRACE_ITER_RESTART, TDPMMU_TRACE_GET_PAGE, TDPMMU_TRACE_SPTE_CHANGED,
        TDPMMU_TRACE_GET_PAGE, TDPMMU_TRACE_SPTE_CHANGED, TDPMMU_TRACE_GET_PAGE,
        TDPMMU_TRACE_SPTE_CHANGED, TDPMMU_TRACE_SPTE_CHANGED, TDPMMU_TRACE_SET_SPTE,
        TDPMMU_TRACE_MAP_RET,
    };
    struct world *w = traced_world(TDPMMU_TRACE_ALL);
    uint64_t lost = 0;
    unsigned n;

    (void)state;
    assert_int_equal(map_page(w, 0x1234, PG_LEVEL_4K), RET_PF_FIXED);
    n = read_all(&lost);
    assert_int_equal(lost, 0);
    assert_int_equal(n, sizeof(story) / sizeof(story[0]));
    assert_in_order(n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(events[i].id, story[i]);
        assert_int_equal(events[i].kvm, (uintptr_t)w->kvm);
        assert_int_equal(events[i].thread, syscall(SYS_gettid));
    }
    assert_int_equal(events[0].map.gfn, 0x1234);
    assert_int_equal(events[0].map.pfn, pfn_for(0x1234));
    assert_int_equal(events[0].map.addr, 0x1234000);
    assert_true(events[0].map.write && events[0].map.map_writable && !events[0].map.exec);
    assert_int_equal(events[2].root.role, tdpmmu_vcpu_root(w->vcpu)->role.word);
    assert_int_equal(events[10].spte_changed.level, 1);
    assert_int_equal(events[10].spte_changed.old_spte, SHADOW_NONPRESENT_VALUE);
    assert_int_equal(events[11].set_spte.spte, spte_at(w->vcpu, 0x1234, 1));
    assert_int_equal(events[11].set_spte.sptep & 0xfff, 8 * (0x1234 & 0x1ff));
    rcu_read_lock();
    assert_int_equal(to_shadow_page(events[11].set_spte.sptep & ~0xfffull)->gfn, 0x1200 & ~0x1ffull);
    rcu_read_unlock();
    assert_int_equal(events[12].ret.ret, RET_PF_FIXED);
    world_free(w);
}

/* A walk that gave way is told where it goes on, behind where it did the last time. */
static void test_restarts_are_told(void **state)
{
    struct world *w = traced_world(
        TDPMMU_TRACE_BIT(TDPMMU_TRACE_ITER_START) | TDPMMU_TRACE_BIT(TDPMMU_TRACE_ITER_RESTART));
    uint64_t before;
    unsigned n;

    (void)state;
    map_pages(w, 0x200, 8, PG_LEVEL_4K);
    read_all(NULL);
    before = stats_of(w->kvm).yields;
    atomic_store(&w->resched, true);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_leafs(w->kvm, 0x200, 0x208, false);
    write_unlock(&w->kvm->mmu_lock);
    atomic_store(&w->resched, false);
    n = read_all(NULL);
    assert_int_equal(n, 2 + stats_of(w->kvm).yields - before);
    assert_true(n >= 9);
    assert_int_equal(events[0].id, TDPMMU_TRACE_ITER_START);
    assert_int_equal(events[1].iter_restart.next_gfn, 0x200);
    for (unsigned i = 2; i < n; i++) {
        assert_int_equal(events[i].id, TDPMMU_TRACE_ITER_RESTART);
        assert_int_equal(events[i].iter_restart.yielded_gfn, events[i - 1].iter_restart.next_gfn);
        assert_true(events[i].iter_restart.next_gfn > events[i].iter_restart.yielded_gfn);
    }
    kvm_flush_remote_tlbs(w->kvm);
    world_free(w);
}

/* The same changes as the spte_changed callback hears of, for each sort of operation. */
static void test_changes_agree_with_callback(void **state)
{
    struct world *w = traced_world(TDPMMU_TRACE_BIT(TDPMMU_TRACE_SPTE_CHANGED));
    unsigned n;

    (void)state;
    world_forget(w);
    map_pages(w, 0x200, 64, PG_LEVEL_4K);
    map_pages(w, 0x400, 512, PG_LEVEL_2M);
    write_lock(&w->kvm->mmu_lock);
    if (kvm_tdp_mmu_zap_leafs(w->kvm, 0x200, 0x210, false))
        kvm_flush_remote_tlbs(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    kvm_mmu_zap_all_fast(w->kvm);
    n = read_all(NULL);
    assert_int_equal(n, atomic_load(&w->change_count));
    assert_true(n > 130);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(events[i].spte_changed.gfn, w->change[i].gfn);
        assert_int_equal(events[i].spte_changed.level, w->change[i].level);
        assert_int_equal(events[i].spte_changed.as_id, w->change[i].as_id);
        assert_int_equal(events[i].spte_changed.old_spte, w->change[i].old_spte);
        assert_int_equal(events[i].spte_changed.new_spte, w->change[i].new_spte);
    }
    world_free(w);
}

static void test_mmio_is_told(void **state)
{
    struct world *w = traced_world(TDPMMU_TRACE_ALL);
    gpa_t gpa = (WORLD_SLOT_PAGES + 5) << 12;
    const struct tdpmmu_trace_event *e;
    unsigned n;

    (void)state;
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa, PFERR_WRITE_MASK), RET_PF_EMULATE);
    n = read_all(NULL);
    e = find(n, TDPMMU_TRACE_MARK_MMIO_SPTE, 0);
    assert_non_null(e);
    assert_int_equal(e->mmio.gfn, gpa >> 12);
    assert_int_equal(e->mmio.gen, tdpmmu_memslots_generation(w->kvm, 0) & 0x7ffff);
    assert_int_equal(find(n, TDPMMU_TRACE_PF_RET, 0)->ret.ret, RET_PF_EMULATE);

    /* The CPU meets the MMIO SPTE: no slot is looked up, nothing changes.  (Linux remembers one address: it is another by now.) */
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa + 4096, 0), RET_PF_EMULATE);
    read_all(NULL);
    world_forget(w);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa, PFERR_WRITE_MASK | PFERR_RSVD_MASK),
                     RET_PF_EMULATE);
    n = read_all(NULL);
    assert_int_equal(n, 3);
    assert_int_equal(events[0].id, TDPMMU_TRACE_PAGE_FAULT);
    assert_int_equal(events[1].id, TDPMMU_TRACE_CHECK_MMIO_SPTE);
    assert_int_equal(events[2].id, TDPMMU_TRACE_HANDLE_MMIO);
    assert_int_equal(events[2].mmio.gfn, gpa >> 12);

    /* Slots change: the SPTE is stale, and the fault takes the long way. */
    assert_int_equal(add_slot(w->kvm, 9, 0, WORLD_SLOT_PAGES, 16, 1ull << 33), 0);
    read_all(NULL);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa, PFERR_WRITE_MASK | PFERR_RSVD_MASK),
                     RET_PF_FIXED);
    n = read_all(NULL);
    e = find(n, TDPMMU_TRACE_CHECK_MMIO_SPTE, 0);
    assert_true(e->mmio_check.kvm_gen != e->mmio_check.spte_gen);
    assert_non_null(find(n, TDPMMU_TRACE_MAP, 0));

    /* Memory there, no MMIO SPTE: somebody was faster, and the guest tries again. */
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa, PFERR_WRITE_MASK | PFERR_RSVD_MASK),
                     RET_PF_RETRY);
    world_free(w);
}

/* Off is off, and a mask is obeyed. */
static void test_only_what_is_wanted(void **state)
{
    struct world *w = traced_world(TDPMMU_TRACE_BIT(TDPMMU_TRACE_MAP_RET));
    unsigned n;

    (void)state;
    map_pages(w, 0, 4, PG_LEVEL_4K);
    n = read_all(NULL);
    assert_int_equal(n, 4);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(events[i].id, TDPMMU_TRACE_MAP_RET);
    assert_int_equal(tdpmmu_trace_enable(w->kvm, 0), 0);
    map_pages(w, 16, 4, PG_LEVEL_4K);
    assert_int_equal(read_all(NULL), 0);
    world_free(w);
}

static void *mark_many(void *world)
{
    struct world *w = world;

    for (unsigned i = 0; i < 3 * RING; i++) {
        char text[16];

        snprintf(text, sizeof(text), "%u", i);
        if (tdpmmu_trace_mark(w->kvm, text) != 0)
            abort();
    }
    return NULL;
}

/* A ring that nobody reads keeps the newest, and tells how many it lost. */
static void test_full_ring_overwrites(void **state)
{
    struct world *w = traced_world(0);
    uint64_t lost = 0, last = 0;
    pthread_t thread;
    unsigned n;

    (void)state;
    assert_int_equal(tdpmmu_trace_ring_size(RING), 0);
    assert_int_equal(tdpmmu_trace_enable(w->kvm, TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK)), 0);
    /* In a thread, whose ring is new and of that size. */
    assert_int_equal(pthread_create(&thread, NULL, mark_many, w), 0);
    pthread_join(thread, NULL);
    n = read_all(&lost);
    assert_int_equal(n + lost, 3 * RING);
    assert_in_range(n, RING - 1, RING);
    for (unsigned i = 0; i < n; i++) {
        unsigned number = (unsigned)atoi(events[i].mark.text);

        assert_int_equal(number, 3 * RING - n + i);
        assert_true(events[i].count > last);
        last = events[i].count;
    }
    lost = 0;
    assert_int_equal(read_all(&lost), 0);
    assert_int_equal(lost, 0);
    assert_int_equal(tdpmmu_trace_ring_size(4096), 0);
    world_free(w);
}

/* A reader beside writers that overwrite: what it gets is whole, and each thread's in order. */
struct writer {
    struct kvm *kvm;
    unsigned number;
    atomic_bool *stop;
    uint64_t written;
};

static void *write_marks(void *argument)
{
    struct writer *me = argument;
    char text[TDPMMU_TRACE_TEXT + 1];

    while (!atomic_load(me->stop)) {
        /* The same letter all over: a torn event shows. */
        memset(text, (int)('a' + me->written % 26), sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        text[0] = (char)('0' + me->number);
        if (tdpmmu_trace_mark(me->kvm, text) != 0)
            abort();
        me->written++;
    }
    return NULL;
}

static void test_reader_beside_writers(void **state)
{
    enum { WRITERS = 3 };
    struct world *w = traced_world(TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK));
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    atomic_bool stop = false;
    uint64_t lost = 0, got = 0, total = 0, last[WRITERS] = { 0 };

    (void)state;
    assert_int_equal(tdpmmu_trace_ring_size(64), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){ w->kvm, i, &stop, 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, write_marks, &writers[i]), 0);
    }
    while (got < 20000) {
        unsigned n = (unsigned)tdpmmu_trace_read(events, 50, &lost);

        for (unsigned i = 0; i < n; i++) {
            unsigned who = (unsigned)(events[i].mark.text[0] - '0');

            assert_in_range(who, 0, WRITERS - 1);
            for (unsigned j = 2; j < TDPMMU_TRACE_TEXT; j++)
                assert_int_equal(events[i].mark.text[j], events[i].mark.text[1]);
            assert_true(events[i].count > last[who]);
            last[who] = events[i].count;
        }
        got += n;
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        total += writers[i].written;
    }
    for (unsigned n; (n = read_all(&lost)) > 0;)
        got += n;
    assert_int_equal(got + lost, total);
    assert_int_equal(tdpmmu_trace_ring_size(4096), 0);
    world_free(w);
}

static void *one_mark(void *world)
{
    struct world *w = world;

    if (tdpmmu_trace_mark(w->kvm, "I was here") != 0)
        abort();
    return NULL;
}

/* Threads come and go: their rings are used again, and none of their events is lost. */
static void test_many_short_threads(void **state)
{
    struct world *w = traced_world(TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK));
    uint64_t lost = 0;
    unsigned got = 0;

    (void)state;
    for (unsigned i = 0; i < 3000; i++) {
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, one_mark, w), 0);
        pthread_join(thread, NULL);
        if (i % 500 == 499)
            got += read_all(&lost);
    }
    assert_int_equal(got, 3000);
    assert_int_equal(lost, 0);
    world_free(w);
}

/* The callback hears everything, whatever the rings want. */
static unsigned heard[TDPMMU_TRACE_COUNT];

static void hear(void *ctx, struct kvm *kvm, const struct tdpmmu_trace_event *event)
{
    (void)ctx;
    assert_int_equal(event->kvm, (uintptr_t)kvm);
    heard[event->id]++;
}

static void test_callback(void **state)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .trace = hear };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops };
    struct kvm *kvm = tdpmmu_create_vm(&config);
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(kvm, 0);

    (void)state;
    while (read_all(NULL) > 0)
        ;
    memset(heard, 0, sizeof(heard));
    assert_int_equal(add_slot(kvm, 0, 0, 0, 4096, 1ull << 30), 0);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, 0x5000, PFERR_WRITE_MASK), RET_PF_FIXED);
    assert_int_equal(heard[TDPMMU_TRACE_ALLOC_ROOT], 1);
    assert_int_equal(heard[TDPMMU_TRACE_LOAD_PGD], 1);
    assert_int_equal(heard[TDPMMU_TRACE_PAGE_FAULT], 1);
    assert_int_equal(heard[TDPMMU_TRACE_PF_RET], 1);
    assert_int_equal(delete_slot(kvm, 0), 0);
    assert_int_equal(heard[TDPMMU_TRACE_ZAP_ALL_FAST], 1);
    assert_int_equal(heard[TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS], 1);
    assert_int_equal(heard[TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS_RET], 1);
    tdpmmu_destroy_vm(kvm);
    assert_int_equal(heard[TDPMMU_TRACE_FREE_SP_RCU], heard[TDPMMU_TRACE_GET_PAGE]);
    assert_int_equal(read_all(NULL), 0);
}

/* Long marks come in parts; a file has a head and all events. */
static void test_marks_and_file(void **state)
{
    struct world *w = traced_world(TDPMMU_TRACE_ALL);
    char long_text[200], path[] = "/tmp/tdpmmu-trace-XXXXXX", joined[400];
    struct tdpmmu_trace_file head;
    int fd = mkstemp(path);
    size_t length = 0;
    long n;

    (void)state;
    assert_true(fd >= 0);
    for (unsigned i = 0; i < sizeof(long_text); i++)
        long_text[i] = (char)('A' + i % 26);
    long_text[sizeof(long_text) - 1] = 0;
    assert_int_equal(tdpmmu_trace_mark(w->kvm, long_text), 0);
    assert_int_equal(tdpmmu_trace_mark(w->kvm, ""), 0);
    n = tdpmmu_trace_write(fd);
    assert_int_equal(n, (sizeof(long_text) - 1 + TDPMMU_TRACE_TEXT - 1) / TDPMMU_TRACE_TEXT + 1);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(read(fd, &head, sizeof(head)), sizeof(head));
    assert_memory_equal(head.magic, TDPMMU_TRACE_MAGIC, sizeof(head.magic));
    assert_int_equal(head.event_size, sizeof(struct tdpmmu_trace_event));
    assert_int_equal(read(fd, events, (size_t)n * sizeof(events[0])), n * (long)sizeof(events[0]));
    for (long i = 0; i + 1 < n; i++) {
        memcpy(joined + length, events[i].mark.text, events[i].mark.length);
        length += events[i].mark.length;
        assert_int_equal(events[i].mark.continues, i + 2 < n);
    }
    assert_int_equal(length, sizeof(long_text) - 1);
    assert_memory_equal(joined, long_text, length);
    assert_int_equal(events[n - 1].mark.length, 0);
    close(fd);
    unlink(path);
    assert_int_equal(tdpmmu_trace_write(fd), -EBADF);
    world_free(w);
}

static struct tdpmmu_trace_file file_head(int fd)
{
    struct tdpmmu_trace_file head;

    assert_int_equal(pread(fd, &head, sizeof(head), 0), sizeof(head));
    assert_memory_equal(head.magic, TDPMMU_TRACE_MAGIC, sizeof(head.magic));
    return head;
}

static int file_open(void)
{
    char path[] = "/tmp/tdpmmu-trace-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

static void mark_in_thread(struct world *w)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, mark_many, w), 0);
    pthread_join(thread, NULL);
}

/* What was overwritten before a recording is told in that recording, not in the next. */
static void test_lost_is_of_this_file(void **state)
{
    struct world *w = traced_world(TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK));

    (void)state;
    assert_int_equal(tdpmmu_trace_ring_size(RING), 0);
    for (unsigned round = 0; round < 3; round++) {
        int fd = file_open();
        long n;

        mark_in_thread(w);
        n = tdpmmu_trace_write(fd);
        assert_in_range(n, RING - 1, RING);
        assert_int_equal(file_head(fd).lost, 3 * RING - n);
        assert_int_equal(lseek(fd, 0, SEEK_END), (off_t)(sizeof(struct tdpmmu_trace_file) + n * sizeof(events[0])));
        close(fd);
    }
    /* Who takes events and asks for no number, has had it. */
    mark_in_thread(w);
    assert_in_range(tdpmmu_trace_read(events, MOST, NULL), RING - 1, RING);
    int fd = file_open();
    assert_int_equal(tdpmmu_trace_write(fd), 0);
    assert_int_equal(file_head(fd).lost, 0);
    close(fd);
    assert_int_equal(tdpmmu_trace_ring_size(4096), 0);
    world_free(w);
}

/* A file that is full: nothing that was not written is gone, and it comes in its order. */
static void test_what_is_not_written_stays(void **state)
{
    struct world *w = traced_world(TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK));
    int full = open("/dev/full", O_WRONLY), fd = file_open(), pipes[2];
    uint64_t lost = 0;
    unsigned n, got;
    char *buffer;
    ssize_t bytes;

    (void)state;
    assert_int_equal(tdpmmu_trace_ring_size(1024), 0);
    mark_in_thread(w);
    assert_true(full >= 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(tdpmmu_trace_write(full), -ENOSPC);
    /* A pipe takes some of them, the last not whole. */
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(fcntl(pipes[1], F_SETFL, O_NONBLOCK), 0);
    assert_true(fcntl(pipes[1], F_SETPIPE_SZ, 16384) >= 16384);
    assert_int_equal(tdpmmu_trace_write(pipes[1]), -EAGAIN);
    buffer = malloc(1 << 20);
    bytes = read(pipes[0], buffer, 1 << 20);
    got = (unsigned)(((size_t)bytes - sizeof(struct tdpmmu_trace_file)) / sizeof(events[0]));
    assert_true(got > 10 && got < 3 * RING);
    free(buffer);
    /* One more thread's come behind those that are left. */
    mark_in_thread(w);
    assert_int_equal(tdpmmu_trace_read(events, 5, &lost), 5);
    n = (unsigned)tdpmmu_trace_read(events + 5, MOST - 5, &lost) + 5;
    assert_int_equal(got + n + lost, 6 * RING);
    assert_int_equal(lost, 0);
    assert_in_order(n);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(atoi(events[i].mark.text), (got + i) % (3 * RING));
    assert_int_equal(tdpmmu_trace_write(fd), 0);
    close(fd);
    close(full);
    close(pipes[0]);
    close(pipes[1]);
    assert_int_equal(tdpmmu_trace_ring_size(4096), 0);
    world_free(w);
}

/* Events that a failed call could not tell as lost are told by the next. */
static void test_lost_survives_a_full_file(void **state)
{
    struct world *w = traced_world(TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK));
    int full = open("/dev/full", O_WRONLY), fd = file_open();
    long n;

    (void)state;
    assert_int_equal(tdpmmu_trace_ring_size(RING), 0);
    mark_in_thread(w);
    assert_int_equal(tdpmmu_trace_write(full), -ENOSPC);
    n = tdpmmu_trace_write(fd);
    assert_int_equal(file_head(fd).lost, 3 * RING - n);
    close(fd);
    close(full);
    assert_int_equal(tdpmmu_trace_ring_size(4096), 0);
    world_free(w);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(tdpmmu_trace_name(TDPMMU_TRACE_SPTE_CHANGED), "kvm_tdp_mmu_spte_changed");
    assert_string_equal(tdpmmu_trace_name(TDPMMU_TRACE_MARK), "tracing_mark_write");
    assert_null(tdpmmu_trace_name(-1));
    assert_null(tdpmmu_trace_name(TDPMMU_TRACE_COUNT));
    for (int i = 0; i < TDPMMU_TRACE_COUNT; i++) {
        assert_non_null(tdpmmu_trace_name(i));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(tdpmmu_trace_name(i), tdpmmu_trace_name(j));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_is_told),
        cmocka_unit_test(test_restarts_are_told),
        cmocka_unit_test(test_changes_agree_with_callback),
        cmocka_unit_test(test_mmio_is_told),
        cmocka_unit_test(test_only_what_is_wanted),
        cmocka_unit_test(test_full_ring_overwrites),
        cmocka_unit_test(test_reader_beside_writers),
        cmocka_unit_test(test_many_short_threads),
        cmocka_unit_test(test_callback),
        cmocka_unit_test(test_marks_and_file),
        cmocka_unit_test(test_lost_is_of_this_file),
        cmocka_unit_test(test_what_is_not_written_stays),
        cmocka_unit_test(test_lost_survives_a_full_file),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
