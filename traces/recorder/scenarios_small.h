// SPDX-License-Identifier: GPL-2.0-only
/*
 * Included by recorder.c: scenarios of a few dozen steps, for a machine that is interpreted and
 * takes a second for what others do in a millisecond.  They can be played on any other as well.
 */

/* Pages of 4K and of 2M: the zero page, then written; fetched; mapped before they are asked for. */
static void play_small_pages(void)
{
    struct memory *m, *n, *h;
    struct slot *a, *b, *c, *d;

    vm_create((struct options){ .nvcpus = 1 });
    m = host_map("anon4k", MIB, false);
    n = host_map("anon4k", MIB, true);
    h = host_map("thp", 4 * MIB, true);
    a = slot_add(1, 0, GIB, 256, m, 0, 0, "anon4k");
    b = slot_add(2, 0, GIB + 256 * MIB, 256, n, 0, 0, "anon4k_populated");
    c = slot_add(3, 0, GIB + 512 * MIB, 1024, h, 0, 0, "thp");
    d = slot_add(4, 0, GIB + 768 * MIB + PAGE, 1024, h, 0, 0, "thp_at_4k");
    touch_some(0, a, 256, 8, READ);
    touch_some(0, a, 256, 8, WRITE);
    touch(0, a->gpa, 8, READ);
    touch(0, a->gpa, 8, WRITE);
    touch_some(0, b, 256, 8, READ);
    touch_some(0, b, 256, 4, WRITE);
    touch_some(0, b, 256, 4, MODIFY);
    touch(0, b->gpa + 5 * PAGE + RET_OFFSET, 3, EXECUTE);
    dump(0);
    touch(0, c->gpa + 3 * PAGE, 1, READ);
    touch(0, c->gpa + 3 * PAGE, 1, WRITE);
    touch(0, c->gpa + 2 * MIB + 7 * PAGE, 1, WRITE);
    touch(0, c->gpa + 2 * MIB + 9 * PAGE + RET_OFFSET, 1, EXECUTE);
    touch_some(0, d, d->npages, 6, WRITE);
    dump(0);
    prefault(0, a->gpa + 100 * PAGE, 6 * PAGE);
    prefault(0, c->gpa, 3 * MIB);
    prefault(0, d->gpa + 500 * PAGE, 20 * PAGE);
    touch(0, a->gpa + 100 * PAGE, 6, WRITE);
    touch(0, d->gpa + 500 * PAGE, 20, READ);
    kick(0);
    dump(0);
}

/* What the host takes away, and gives back. */
static void play_small_notifier(void)
{
    struct memory *n, *h;
    struct slot *b, *c;

    vm_create((struct options){ .nvcpus = 1 });
    n = host_map("anon4k", MIB, true);
    h = host_map("thp", 4 * MIB, true);
    b = slot_add(1, 0, GIB, 256, n, 0, 0, "anon4k");
    c = slot_add(2, 0, GIB + 256 * MIB, 1024, h, 0, 0, "thp");
    touch(0, b->gpa, 24, WRITE);
    touch_each(0, c, 500, WRITE);
    dump(0);
    host_step("madvise_dontneed", b, b->gpa + 4 * PAGE, 20 * PAGE, MADV_DONTNEED);
    dump(0);
    touch(0, b->gpa + 2 * PAGE, 6, READ);
    touch(0, b->gpa + 4 * PAGE, 2, WRITE);
    host_protect(b, b->gpa, 16 * PAGE, "r");
    touch(0, b->gpa, 6, READ);
    host_protect(b, b->gpa, 16 * PAGE, "none");
    host_protect(b, b->gpa, 16 * PAGE, "rwx");
    touch(0, b->gpa, 6, WRITE);
    dump(0);
    /* A part of a huge page, then a huge page again. */
    host_step("madvise_dontneed", c, c->gpa + 16 * PAGE, 16 * PAGE, MADV_DONTNEED);
    touch(0, c->gpa + 14 * PAGE, 4, WRITE);
    touch(0, c->gpa + 14 * PAGE, 4, READ);
    host_step("host_write", c, c->gpa, 2 * MIB, -1);
    dump(0);
    host_step("madvise_collapse", c, c->gpa, 2 * MIB, MADV_COLLAPSE);
    touch(0, c->gpa + 14 * PAGE, 4, WRITE);
    dump(0);
    step_fork();
    touch_some(0, b, 16, 4, READ);
    touch_some(0, b, 16, 4, WRITE);
    touch(0, c->gpa + 3 * PAGE, 2, READ);
    touch(0, c->gpa + 3 * PAGE, 2, WRITE);
    dump(0);
    host_step("munmap", b, b->gpa + 8 * PAGE, 8 * PAGE, -1);
    touch(0, b->gpa + 9 * PAGE, 1, READ); /* -EFAULT */
    host_step("mmap_fixed", b, b->gpa + 8 * PAGE, 8 * PAGE, -1);
    touch(0, b->gpa + 6 * PAGE, 6, READ);
    touch(0, b->gpa + 6 * PAGE, 6, WRITE);
    host_step("munmap", c, c->gpa, 4 * MIB, -1);
    dump(0);
}

/* MMIO SPTEs, the generation that they carry, and slots that may not be written. */
static void play_small_mmio_readonly(void)
{
    struct memory *m, *h;
    struct slot *a, *b;

    vm_create((struct options){ .nvcpus = 1 });
    touch(0, 3 * GIB, 2, READ);
    touch(0, 3 * GIB, 2, WRITE);
    touch(0, 3 * GIB + 0x5000, 1, WRITE);
    dump(0);
    m = host_map("anon4k", 64 * PAGE, true);
    h = host_map("thp", 2 * MIB, true);
    a = slot_add(1, 0, GIB, 64, m, 0, KVM_MEM_READONLY, "readonly");
    b = slot_add(2, 0, GIB + 512 * MIB, 512, h, 0, KVM_MEM_READONLY, "readonly_thp");
    touch(0, a->gpa, 4, READ);
    touch(0, a->gpa + 2 * PAGE, 3, WRITE);
    touch(0, a->gpa + 9 * PAGE + RET_OFFSET, 1, EXECUTE);
    touch(0, b->gpa + 5 * PAGE, 2, WRITE);
    touch(0, b->gpa + 5 * PAGE, 2, READ);
    touch(0, b->gpa + 5 * PAGE, 2, WRITE);
    /* The generation has changed; the page that was MMIO is made so anew. */
    touch(0, 3 * GIB, 2, READ);
    touch(0, 3 * GIB + 0x5000, 1, READ);
    dump(0);
    /* A slot where MMIO was, and MMIO where a slot was. */
    slot_add(3, 0, 3 * GIB, 16, m, 0, 0, "anon4k");
    touch(0, 3 * GIB, 3, WRITE);
    slot_delete(a);
    touch(0, GIB, 3, READ);
    touch(0, GIB + 2 * PAGE, 2, WRITE);
    dump(0);
}

/* Slots deleted, added again and moved; one and another overlap. */
static void play_small_slots(void)
{
    struct memory *m, *h;
    struct slot *a, *b;

    vm_create((struct options){ .nvcpus = 2 });
    m = host_map("anon4k", MIB, true);
    h = host_map("thp", 4 * MIB, true);
    a = slot_add(1, 0, GIB, 256, m, 0, 0, "anon4k");
    b = slot_add(2, 0, GIB + 256 * MIB, 1024, h, 0, 0, "thp");
    for (int round = 0; round < 2; round++) {
        touch_some(0, a, 256, 6, WRITE);
        touch_some(1, b, 1024, 4, WRITE);
        touch(1, 3 * GIB, 1, READ);
        dump(round);
        slot_add(3, 0, b->gpa + PAGE, 16, m, 0, 0, "overlap"); /* -EEXIST */
        slot_delete(a);
        touch(0, GIB + 3 * PAGE, 1, READ); /* MMIO by now */
        touch(1, b->gpa + 5 * PAGE, 1, WRITE);
        dump(0);
        a = slot_add(1, 0, GIB, 256, m, 0, 0, "anon4k");
        touch(0, GIB, 4, WRITE);
        slot_move(b, GIB + 512 * MIB + (round ? PAGE : 0));
        touch_some(0, b, 64, 4, WRITE);
        touch(1, GIB, 2, READ);
        dump(0);
        dump(1);
        slot_move(b, GIB + 256 * MIB);
    }
}

static void small_log(struct slot *s, bool eager)
{
    param("eager_page_split", eager ? "Y" : "N");
    touch(0, s->gpa + 5 * PAGE, 3, READ);
    touch(0, s->gpa + 300 * PAGE, 3, WRITE);
    dirty_log(s, true);
    dump(0);
    for (int i = 0; i < 3; i++) {
        touch_some(0, s, s->npages, 8, WRITE);
        touch_some(0, s, s->npages, 3, READ);
        touch(0, s->gpa + 5 * PAGE, 3, i & 1 ? MODIFY : READ);
        touch(0, s->gpa + 300 * PAGE, 3, WRITE);
        free(get_dirty_log(s));
        if (i < 2)
            free(get_dirty_log(s));
    }
    dump(0);
    touch(0, s->gpa, s->npages < 520 ? s->npages : 520, WRITE); /* more than PML's buffer holds */
    free(get_dirty_log(s));
    dirty_log(s, false);
    touch_some(0, s, s->npages, 4, WRITE);
    dump(0);
}

static void play_small_dirtylog(void)
{
    struct memory *m, *h;
    struct slot *a, *b;

    vm_create((struct options){ .nvcpus = 1 });
    m = host_map("anon4k", 600 * PAGE, true);
    h = host_map("thp", 4 * MIB, true);
    a = slot_add(1, 0, GIB, 600, m, 0, 0, "anon4k");
    b = slot_add(2, 0, GIB + 256 * MIB, 1024, h, 0, 0, "thp");
    small_log(a, true);
    small_log(b, true);
    small_log(b, false);
    param("eager_page_split", "Y");
}

/* Rings that are large enough for a machine with PML, by two vCPUs. */
static void play_small_dirty_ring(void)
{
    struct memory *m, *h;
    struct slot *a, *b;

    vm_create((struct options){ .nvcpus = 2, .ring_bytes = 16384 });
    m = host_map("anon4k", 4 * MIB, true);
    h = host_map("thp", 2 * MIB, true);
    a = slot_add(1, 0, GIB, 1024, m, 0, 0, "anon4k");
    b = slot_add(2, 0, GIB + 512 * MIB, 512, h, 0, 0, "thp");
    touch(0, a->gpa, 64, WRITE);
    touch(1, b->gpa, 1, WRITE);
    dirty_log(a, true);
    dirty_log(b, true);
    /* Pages that were writable before: whoever notes them by a buffer may do so in another order. */
    touch(0, a->gpa + 3 * PAGE, 1, WRITE);
    touch(0, a->gpa + 9 * PAGE, 3, WRITE);
    touch(0, a->gpa + 300 * PAGE, 2, WRITE);
    touch(0, a->gpa + 5 * PAGE, 1, WRITE);
    touch_some(1, b, 512, 8, WRITE);
    kick(0);
    harvest_rings();
    dump(0);
    /* Until the ring is full, and on. */
    touch(0, a->gpa, 200, WRITE);
    touch(0, a->gpa + 200 * PAGE, 400, WRITE);
    touch(0, a->gpa, 1, READ);
    touch(1, b->gpa, 30, WRITE);
    harvest_rings();
    touch(0, a->gpa + 100 * PAGE, 20, MODIFY);
    harvest_rings();
    dump(0);
    dirty_log(b, false);
    touch_some(1, b, 512, 4, WRITE);
    dirty_log(a, false);
    dump(0);
}

/* Aging by reclaim and by advice.  Without Accessed bits that takes away the right to access. */
static void play_small_aging(void)
{
    struct memory *m, *h;
    struct slot *a, *b;

    vm_create((struct options){ .nvcpus = 1 });
    m = host_map("anon4k", MIB, true);
    h = host_map("thp", 2 * MIB, true);
    a = slot_add(1, 0, GIB, 256, m, 0, 0, "anon4k");
    b = slot_add(2, 0, GIB + 512 * MIB, 512, h, 0, 0, "thp");
    touch(0, a->gpa, 256, WRITE);
    touch(0, b->gpa, 1, WRITE);
    dump(0);
    for (int i = 0; i < 6; i++) {
        host_step("madvise_cold", a, a->gpa + roll(150) * PAGE, 64 * PAGE, MADV_COLD);
        if (i & 1)
            host_step("madvise_cold", b, b->gpa, 2 * MIB, MADV_COLD);
        reclaim(131072);
        if (i == 1 || i == 3)
            dump(0);
        if (i == 3)
            dirty_log(a, true);
        touch_some(0, a, 256, 6, READ);
        touch_some(0, a, 256, 4, WRITE);
        touch(0, b->gpa + roll(512) * PAGE, 1, READ);
        if (i >= 3)
            free(get_dirty_log(a));
    }
    dump(0);
    host_step("madvise_pageout", a, a->gpa, 64 * PAGE, MADV_PAGEOUT);
    touch(0, a->gpa, 8, READ);
    touch(0, a->gpa + 4 * PAGE, 8, WRITE);
    dump(0);
}

/* No execution through huge pages: split by a fetch, logged, recovered. */
static void play_small_nx(void)
{
    struct memory *h;
    struct slot *a;

    vm_create((struct options){ .nvcpus = 1 });
    h = host_map("thp", 8 * MIB, true);
    a = slot_add(1, 0, GIB, 2048, h, 0, 0, "thp");
    touch(0, a->gpa + 3 * PAGE, 1, WRITE);
    touch(0, a->gpa + 3 * PAGE + RET_OFFSET, 1, EXECUTE);
    dump(0);
    param("nx_huge_pages", "force");
    touch(0, a->gpa + 3 * PAGE, 1, READ);
    touch(0, a->gpa + 2 * MIB, 1, WRITE);
    touch(0, a->gpa + 4 * MIB, 1, READ);
    dump(0);
    touch(0, a->gpa + 2 * MIB + 5 * PAGE + RET_OFFSET, 3, EXECUTE);
    touch(0, a->gpa + 4 * MIB + 5 * PAGE + RET_OFFSET, 1, EXECUTE);
    touch(0, a->gpa + 4 * MIB + 20 * PAGE, 2, WRITE);
    dump(0);
    dirty_log(a, true);
    touch(0, a->gpa + 2 * MIB + 100 * PAGE, 2, WRITE);
    touch(0, a->gpa + 3 * PAGE + RET_OFFSET, 1, EXECUTE);
    free(get_dirty_log(a));
    dump(0);
    dirty_log(a, false);
    touch_some(0, a, 2048, 5, WRITE);
    touch(0, a->gpa + 6 * MIB + 5 * PAGE + RET_OFFSET, 1, EXECUTE);
    dump(0);
    param("nx_huge_pages_recovery_ratio", "1");
    param("nx_huge_pages_recovery_period_ms", "30");
    step_sleep(100);
    param("nx_huge_pages_recovery_ratio", "0");
    touch_some(0, a, 2048, 5, WRITE);
    dump(0);
    param("nx_huge_pages", "off");
    touch_some(0, a, 2048, 5, READ);
    dump(0);
}

/* Memory above 4 GiB, under two entries of the top level. */
static void play_small_longmode(void)
{
    struct memory *m, *h;
    struct slot *a, *b;

    vm_create((struct options){ .nvcpus = 2, .long_mode = true });
    m = host_map("anon4k", MIB, true);
    h = host_map("thp", 4 * MIB, true);
    a = slot_add(1, 0, 4 * GIB + 7 * PAGE, 249, m, 0, 0, "anon4k");
    b = slot_add(2, 0, 513 * GIB, 1024, h, 0, 0, "thp");
    for (int i = 0; i < 8; i++) {
        touch((int)roll(2), a->gpa + roll(249) * PAGE, 1, roll(2) ? WRITE : READ);
        touch((int)roll(2), b->gpa + roll(1024) * PAGE, 1, roll(2) ? WRITE : READ);
    }
    touch(1, 700 * GIB, 1, READ);
    touch(0, 1023 * GIB + 0x5000, 1, WRITE);
    dump(0);
    dirty_log(b, true);
    touch_some(1, b, 1024, 8, WRITE);
    free(get_dirty_log(b));
    touch_some(0, b, 1024, 4, WRITE);
    dump(1);
    dirty_log(b, false);
    touch_some(0, b, 1024, 4, WRITE);
    dump(0);
}

static void play_small_parallel(void)
{
    struct slot *slots[3];

    vm_create((struct options){ .nvcpus = 2 });
    parallel_slots(slots, (const char *const[]){ "anon4k", "thp", "thp" });
    parallel(slots, false, false, 6);
    dump(0);
    parallel(slots, true, true, 15);
    dump(0);
}

static void play_small_random(void) { play_at_random(120); }
