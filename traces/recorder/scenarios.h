// SPDX-License-Identifier: GPL-2.0-only
/* Included by recorder.c: what is played.  Each is one VM, from its creation to the end of the process. */

static void touch_some(int vcpu, struct slot *s, uint64_t pages, unsigned count, enum program program)
{
    for (unsigned i = 0; i < count; i++)
        touch(vcpu, s->gpa + roll(pages) * PAGE + 8, 1, program);
}

/* Sets of one access for each stride of a slot. */
static void touch_each(int vcpu, struct slot *s, uint64_t stride_pages, enum program program)
{
    for (uint64_t page = roll(stride_pages); page < s->npages; page += stride_pages)
        touch(vcpu, s->gpa + page * PAGE + (program == EXECUTE ? RET_OFFSET : 8), 1, program);
}

static void log_rounds(int vcpu, struct slot *s, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        touch_some(vcpu, s, s->npages, 12, WRITE);
        touch_some(vcpu, s, s->npages, 4, READ);
        free(get_dirty_log(s));
    }
}

/* 1G pages of the host's. */
static void play_huge1g(void)
{
    struct memory *m;
    struct slot *a, *b;

    vm_create((struct options){ .nvcpus = 1 });
    m = host_map("hugetlb1g", GIB, true);
    if (!m)
        die("no 1G page");
    a = slot_add(1, 0, 2 * GIB, GIB / PAGE, m, 0, 0, "hugetlb1g");
    touch_some(0, a, a->npages, 6, READ);
    touch_some(0, a, a->npages, 6, WRITE);
    dump(0);
    /* Dirty logging splits to 4K, and back. */
    dirty_log(a, true);
    dump(0);
    log_rounds(0, a, 3);
    dirty_log(a, false);
    touch_some(0, a, a->npages, 3, WRITE);
    dump(0);
    param("eager_page_split", "N");
    dirty_log(a, true);
    dump(0);
    log_rounds(0, a, 3);
    dump(0);
    dirty_log(a, false);
    param("eager_page_split", "Y");
    touch_some(0, a, a->npages, 3, READ);
    dump(0);
    /* A second place that only fits 2M, and one that only fits 4K. */
    b = slot_add(2, 0, 5 * GIB / 4 + 2 * MIB, 64 * MIB / PAGE, m, 0, 0, "hugetlb1g_at_2m");
    if (b)
        touch_each(0, b, 512, WRITE);
    b = slot_add(3, 0, 7 * GIB / 4 + PAGE, 1024, m, 0, 0, "hugetlb1g_at_4k");
    if (b)
        touch_some(0, b, b->npages, 10, WRITE);
    dump(0);
    touch_some(0, a, a->npages, 2, MODIFY);
    slot_delete(a);
    touch(0, 2 * GIB + 0x5000, 1, READ);
    a = slot_add(1, 0, 2 * GIB, GIB / PAGE, m, 0, 0, "hugetlb1g");
    touch_some(0, a, a->npages, 3, WRITE);
    /* No execution through huge pages. */
    param("nx_huge_pages", "force");
    touch_some(0, a, a->npages, 3, WRITE);
    touch(0, a->gpa + 5 * PAGE + RET_OFFSET, 1, EXECUTE);
    touch(0, a->gpa + 9 * MIB + RET_OFFSET, 1, EXECUTE);
    touch(0, a->gpa + 300 * MIB + RET_OFFSET, 2, EXECUTE);
    dump(0);
    touch_some(0, a, a->npages, 5, WRITE);
    dirty_log(a, true);
    touch_some(0, a, a->npages, 5, WRITE);
    free(get_dirty_log(a));
    dirty_log(a, false);
    touch_some(0, a, a->npages, 5, WRITE);
    dump(0);
    param("nx_huge_pages_recovery_ratio", "1");
    param("nx_huge_pages_recovery_period_ms", "200");
    step_sleep(1500);
    param("nx_huge_pages_recovery_ratio", "0");
    touch_some(0, a, a->npages, 5, WRITE);
    dump(0);
    param("nx_huge_pages", "off");
    touch_some(0, a, a->npages, 5, READ);
    host_step("munmap", a, a->gpa, GIB, -1);
    touch(0, a->gpa + 0x3000, 1, READ);
    dump(0);
}

/* The same without what takes a line for each of 262144 pages. */
static void play_huge1g_briefly(void)
{
    uint64_t *bits;
    struct memory *m;
    struct slot *a;

    vm_create((struct options){ .nvcpus = 1, .manual = 3 });
    m = host_map("hugetlb1g", GIB, true);
    if (!m)
        die("no 1G page");
    a = slot_add(1, 0, 2 * GIB, GIB / PAGE, m, 0, 0, "hugetlb1g");
    touch_some(0, a, a->npages, 4, READ);
    touch_some(0, a, a->npages, 4, WRITE);
    dump(0);
    dirty_log(a, true);
    bits = get_dirty_log(a);
    clear_dirty_log(a, bits, 512 * 3 + 64, 128, false);
    touch(0, a->gpa + (512 * 3 + 70) * PAGE, 3, WRITE);
    dump(0);
    param("eager_page_split", "N");
    clear_dirty_log(a, bits, 512 * 7 + 448, 128, true);
    touch(0, a->gpa + (512 * 7 + 450) * PAGE, 3, WRITE);
    free(bits);
    dump(0);
    dirty_log(a, false);
    param("eager_page_split", "Y");
    touch_some(0, a, a->npages, 3, WRITE);
    dump(0);
    slot_delete(a);
    a = slot_add(1, 0, 2 * GIB, GIB / PAGE, m, 0, 0, "hugetlb1g");
    param("nx_huge_pages", "force");
    touch_some(0, a, a->npages, 3, WRITE);
    touch(0, a->gpa + 5 * PAGE + RET_OFFSET, 1, EXECUTE);
    touch(0, a->gpa + 300 * MIB + RET_OFFSET, 2, EXECUTE);
    dump(0);
    param("nx_huge_pages_recovery_ratio", "1");
    param("nx_huge_pages_recovery_period_ms", "200");
    step_sleep(1500);
    param("nx_huge_pages_recovery_ratio", "0");
    touch_some(0, a, a->npages, 5, WRITE);
    dump(0);
    param("nx_huge_pages", "off");
    touch_some(0, a, a->npages, 3, READ);
    host_step("munmap", a, a->gpa, GIB, -1);
    touch(0, a->gpa + 0x3000, 1, READ);
}

/* The second address space. */
static void play_smm(void)
{
    struct memory *m, *n, *h;
    struct slot *normal, *smm, *other, *huge;

    vm_create((struct options){ .nvcpus = 2, .smm = true });
    m = host_map("anon4k", MIB, true);
    n = host_map("anon4k", MIB, true);
    h = host_map("thp", 8 * MIB, true);
    normal = slot_add(1, 0, GIB, 256, m, 0, 0, "anon4k");
    smm = slot_add(1, 1, GIB, 256, m, 0, 0, "anon4k");        /* the same memory */
    other = slot_add(2, 1, GIB + 16 * MIB, 256, n, 0, 0, "anon4k"); /* in SMM only */
    huge = slot_add(3, 1, GIB + 64 * MIB, 2048, h, 0, 0, "thp");
    slot_add(3, 0, GIB + 128 * MIB, 2048, h, 0, 0, "thp");
    for (int i = 0; i < 12; i++) {
        touch((int)roll(2), GIB + roll(256) * PAGE, 1, roll(2) ? WRITE : READ);
        smi_touch((int)roll(2), GIB + roll(256) * PAGE, roll(2));
        smi_touch((int)roll(2), GIB + 16 * MIB + roll(256) * PAGE, roll(2));
        smi_touch((int)roll(2), GIB + 64 * MIB + roll(2048) * PAGE, roll(2));
        touch((int)roll(2), GIB + 128 * MIB + roll(2048) * PAGE, 1, roll(2) ? WRITE : READ);
    }
    dump(0);
    dump(1);
    dirty_log(smm, true);
    dirty_log(huge, true);
    for (int i = 0; i < 10; i++) {
        smi_touch((int)roll(2), GIB + roll(256) * PAGE, roll(2));
        smi_touch((int)roll(2), GIB + 64 * MIB + roll(2048) * PAGE, roll(2));
        touch((int)roll(2), GIB + roll(256) * PAGE, 1, WRITE);
    }
    free(get_dirty_log(smm));
    free(get_dirty_log(huge));
    for (int i = 0; i < 5; i++)
        smi_touch(0, GIB + roll(256) * PAGE, true);
    free(get_dirty_log(smm));
    host_step("madvise_dontneed", normal, normal->gpa + 16 * PAGE, 64 * PAGE, MADV_DONTNEED);
    for (int i = 0; i < 8; i++) {
        smi_touch((int)roll(2), GIB + (16 + roll(64)) * PAGE, roll(2));
        touch((int)roll(2), GIB + (16 + roll(64)) * PAGE, 1, roll(2) ? WRITE : READ);
    }
    dirty_log(smm, false);
    dirty_log(huge, false);
    for (int i = 0; i < 5; i++)
        smi_touch((int)roll(2), GIB + 64 * MIB + roll(2048) * PAGE, roll(2));
    slot_delete(other);
    smi_touch(0, GIB + 16 * MIB + 0x3000, false); /* MMIO by now */
    smi_touch(1, GIB + 0x3000, true);
    touch(1, GIB + 16 * MIB + 0x3000, 1, READ);
    dump(0);
    slot_add(2, 1, GIB + 16 * MIB, 256, n, 0, 0, "anon4k");
    smi_touch(0, GIB + 16 * MIB + 0x3000, true);
    slot_move(huge, GIB + 256 * MIB);
    smi_touch(1, GIB + 256 * MIB + 0x5000, true);
    touch(0, GIB + 0x3000, 1, WRITE);
    dump(0);
    dump(1);
}

/* Pages that the host merges. */
static void play_ksm(void)
{
    struct memory *m, *h;
    struct slot *a, *b;

    vm_create((struct options){ .nvcpus = 1 });
    m = host_map("anon4k", MIB, true);
    h = host_map("thp", 4 * MIB, true);
    a = slot_add(1, 0, GIB, 256, m, 0, 0, "anon4k");
    b = slot_add(2, 0, GIB + 64 * MIB, 1024, h, 0, 0, "thp");
    touch(0, a->gpa + 0x800, 200, READ);
    touch_each(0, b, 100, READ);
    dump(0);
    for (int round = 0; round < 3; round++) {
        host_step("madvise_mergeable", a, a->gpa, MIB, MADV_MERGEABLE);
        if (round)
            host_step("madvise_mergeable", b, b->gpa, 4 * MIB, MADV_MERGEABLE);
        if (round == 1)
            dirty_log(a, true);
        ksm_run();
        touch(0, a->gpa + 0x800, 100, READ);
        touch_some(0, b, b->npages, 10, READ);
        dump(0);
        touch_some(0, a, 256, 12, WRITE);
        touch_some(0, b, b->npages, 12, WRITE);
        touch_some(0, a, 256, 12, READ);
        if (round == 1)
            free(get_dirty_log(a));
        host_step("host_write", a, a->gpa + 8 * PAGE, 16 * PAGE, -1);
        touch_some(0, a, 32, 8, READ);
        ksm_run();
        dump(0);
        if (round == 1)
            dirty_log(a, false);
        host_step("madvise_unmergeable", a, a->gpa, MIB, MADV_UNMERGEABLE);
        touch_some(0, a, 256, 12, READ);
        touch_some(0, a, 256, 12, WRITE);
        dump(0);
    }
}

static void play_dirty_ring(void)
{
    struct memory *m, *h;
    struct slot *a, *b;

    vm_create((struct options){ .nvcpus = 2, .ring_bytes = least_ring_bytes() });
    m = host_map("anon4k", 2 * MIB, true);
    h = host_map("thp", 8 * MIB, true);
    a = slot_add(1, 0, GIB, 512, m, 0, 0, "anon4k");
    b = slot_add(2, 0, GIB + 64 * MIB, 2048, h, 0, 0, "thp");
    touch(0, a->gpa, 300, WRITE);
    touch_each(1, b, 200, WRITE);
    for (int round = 0; round < 3; round++) {
        if (round == 2)
            param("eager_page_split", "N");
        dirty_log(a, true);
        dirty_log(b, true);
        dump(0);
        for (int i = 0; i < 4; i++) {
            touch_some((int)roll(2), a, 512, 20, WRITE);
            touch_some((int)roll(2), b, 2048, 20, WRITE);
            touch_some((int)roll(2), b, 2048, 5, READ);
            harvest_rings();
        }
        /* Until the ring is full, and on. */
        touch(0, a->gpa, 512, WRITE);
        touch(0, a->gpa, 512, WRITE);
        touch(1, b->gpa, 400, WRITE);
        harvest_rings();
        touch(0, a->gpa + 7 * PAGE, 100, MODIFY);
        harvest_rings();
        dump(0);
        dirty_log(a, false);
        dirty_log(b, false);
        touch_some(0, b, 2048, 5, WRITE);
    }
}

/* Deleting a slot zaps it alone. */
static void play_slot_zap(void)
{
    struct memory *m, *h;
    struct slot *a, *b, *c;

    vm_create((struct options){ .nvcpus = 2, .zap_slot_only = true });
    m = host_map("anon4k", 2 * MIB, true);
    h = host_map("thp", 8 * MIB, true);
    a = slot_add(1, 0, GIB, 512, m, 0, 0, "anon4k");
    b = slot_add(2, 0, GIB + 64 * MIB, 2048, h, 0, 0, "thp");
    for (int round = 0; round < 3; round++) {
        touch_some((int)roll(2), a, 512, 12, WRITE);
        touch_each((int)roll(2), b, 150, roll(2) ? WRITE : READ);
        c = slot_add(3, 0, GIB + 128 * MIB + (round == 1 ? PAGE : 0), 1024, h, 0, 0, "alias_of_slot2");
        touch_each(0, c, 100, WRITE);
        touch(0, 3 * GIB, 2, READ); /* MMIO */
        dump(0);
        slot_delete(a);
        dump(0);
        touch(0, GIB + 0x3000, 1, READ);
        touch(1, GIB + 64 * MIB, 1, WRITE);
        a = slot_add(1, 0, GIB, 512, m, 0, 0, "anon4k");
        touch_some((int)roll(2), a, 512, 5, WRITE);
        slot_move(b, GIB + (192 + 32 * (uint64_t)round) * MIB);
        touch_each((int)roll(2), b, 300, WRITE);
        dump(1);
        dirty_log(b, true);
        touch_some(0, b, 2048, 5, WRITE);
        free(get_dirty_log(b));
        dirty_log(b, false);
        slot_delete(c);
        touch(0, GIB + 128 * MIB + 0x5000, 1, READ);
        slot_move(b, GIB + 64 * MIB);
        dump(0);
    }
}

static void manual_rounds(struct slot *s)
{
    uint64_t *bits;

    for (int round = 0; round < 2; round++) {
        if (round == 1)
            param("eager_page_split", "N");
        touch_each(0, s, 400, WRITE);
        dirty_log(s, true);
        dump(0);
        touch_some(0, s, s->npages, 6, WRITE);
        for (int i = 0; i < 3; i++) {
            uint64_t first = roll(s->npages / 128) * 64, n = 64 * (1 + roll(12));

            bits = get_dirty_log(s);
            if (first + n > s->npages)
                n = s->npages - first;
            clear_dirty_log(s, bits, first, n, roll(2));
            free(bits);
            touch_some(0, s, s->npages, 6, WRITE);
            touch(0, s->gpa + first * PAGE, 3, WRITE);
        }
        bits = get_dirty_log(s);
        clear_dirty_log(s, bits, 0, s->npages, false);
        free(bits);
        dump(0);
        touch_some(0, s, s->npages, 12, WRITE);
        free(get_dirty_log(s));
        dirty_log(s, false);
        touch_some(0, s, s->npages, 4, WRITE);
        dump(0);
    }
    param("eager_page_split", "Y");
}

static void play_manual(uint64_t mode, const char *kind)
{
    struct memory *m;
    struct slot *s;
    uint64_t length = strcmp(kind, "hugetlb1g") ? 8 * MIB : GIB;

    vm_create((struct options){ .nvcpus = 1, .manual = mode });
    m = host_map(kind, length, true);
    if (!m)
        die("no %s", kind);
    s = slot_add(1, 0, 2 * GIB, length / PAGE, m, 0, 0, kind);
    manual_rounds(s);
}

static void play_manual_2m(void) { play_manual(1, "hugetlb2m"); }
static void play_initset_2m(void) { play_manual(3, "hugetlb2m"); }
static void play_manual_1g(void) { play_manual(1, "hugetlb1g"); }
static void play_initset_1g(void) { play_manual(3, "hugetlb1g"); }

/* ---- several at once ---- */

struct worker {
    pthread_t thread;
    int vcpu, rounds;
    uint64_t seed;
    struct slot *slot[3];
};

static uint64_t roll_of(uint64_t *state, uint64_t n)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return (*state >> 33) % n;
}

static atomic_bool parallel_over;

static void *vcpu_thread(void *argument)
{
    struct worker *w = argument;
    struct access list[24];
    char name[16];

    snprintf(name, sizeof(name), "vcpu%d", w->vcpu);
    prctl(PR_SET_NAME, name);
    for (int i = 0; i < w->rounds; i++) {
        for (int j = 0; j < 24; j++) {
            struct slot *s = w->slot[roll_of(&w->seed, 3)];

            list[j].gpa = s->gpa + roll_of(&w->seed, s->npages) * PAGE + 0x40 * (uint64_t)w->vcpu;
            list[j].write = roll_of(&w->seed, 2);
        }
        batch(w->vcpu, list, 24);
    }
    return NULL;
}

static void *zapper_thread(void *argument)
{
    struct worker *w = argument;

    prctl(PR_SET_NAME, "zapper");
    while (!parallel_over) {
        struct slot *s = w->slot[roll_of(&w->seed, 3)];
        uint64_t n = 1 + roll_of(&w->seed, 16), page = roll_of(&w->seed, s->npages - n);

        if (roll_of(&w->seed, 8) == 0) {
            page &= ~511ull;
            n = s->npages - page < 512 ? s->npages - page : 512;
        }
        host_step("madvise_dontneed", s, s->gpa + page * PAGE, n * PAGE, MADV_DONTNEED);
        usleep(2000);
    }
    return NULL;
}

static void *dirtylog_thread(void *argument)
{
    struct worker *w = argument;

    prctl(PR_SET_NAME, "dirtylog");
    while (!parallel_over) {
        struct slot *s = w->slot[roll_of(&w->seed, 3)];

        dirty_log(s, true);
        for (int i = 0; i < 3 && !parallel_over; i++) {
            usleep(5000);
            free(get_dirty_log(s));
        }
        dirty_log(s, false);
        usleep(3000);
    }
    return NULL;
}

static void parallel(struct slot **slots, bool zapper, bool dirtylog, int rounds)
{
    struct worker w[MAX_VCPUS + 2];

    parallel_over = false;
    mark("STEP parallel_begin nvcpu=%d zapper=%d dirtylog=%d", vm.nvcpus, zapper, dirtylog);
    for (int i = 0; i < MAX_VCPUS + 2; i++) {
        w[i] = (struct worker){ .vcpu = i, .rounds = rounds, .seed = random_state + (uint64_t)i * 77 };
        memcpy(w[i].slot, slots, sizeof(w[i].slot));
    }
    for (int i = 0; i < vm.nvcpus; i++)
        pthread_create(&w[i].thread, NULL, vcpu_thread, &w[i]);
    if (zapper)
        pthread_create(&w[MAX_VCPUS].thread, NULL, zapper_thread, &w[MAX_VCPUS]);
    if (dirtylog)
        pthread_create(&w[MAX_VCPUS + 1].thread, NULL, dirtylog_thread, &w[MAX_VCPUS + 1]);
    for (int i = 0; i < vm.nvcpus; i++)
        pthread_join(w[i].thread, NULL);
    parallel_over = true;
    if (zapper)
        pthread_join(w[MAX_VCPUS].thread, NULL);
    if (dirtylog)
        pthread_join(w[MAX_VCPUS + 1].thread, NULL);
    mark("DONE parallel_begin");
    roll(1);
}

/* One slot for each of three kinds of memory, the second across 2 GiB. */
static void parallel_slots(struct slot **slots, const char *const *kinds_of)
{
    static const uint64_t at[3] = { GIB, 0x7fe00000, 0x90000000 };

    for (int i = 0; i < 3; i++) {
        struct memory *m = host_map(kinds_of[i], 4 * MIB, true);

        slots[i] = slot_add(1 + i, 0, at[i], strncmp(kinds_of[i], "anon", 4) ? 1024 : 512, m, 0, 0, kinds_of[i]);
    }
}

static void play_parallel(const char *kind)
{
    static const char *const mixed[] = { "hugetlb2m", "thp", "shmem4k" };
    static const uint64_t manual[] = { 0, 0, 0, 1, 3 };
    struct slot *slots[3];

    vm_create((struct options){ .nvcpus = 3, .manual = manual[roll(5)], .zap_slot_only = roll(3) == 0 });
    if (roll(3) == 0)
        param("eager_page_split", "N");
    parallel_slots(slots, strcmp(kind, "mixed") ? (const char *const[]){ kind, kind, kind } : mixed);
    parallel(slots, false, false, 10);
    dump(0);
    parallel(slots, true, false, 15);
    dump(0);
    parallel(slots, false, true, 15);
    dump(0);
    parallel(slots, true, true, 20);
    dump(0);
    dump(1);
}

static void play_parallel_4k(void) { play_parallel("anon4k"); }
static void play_parallel_2m(void) { play_parallel("thp"); }
static void play_parallel_mixed(void) { play_parallel("mixed"); }

/* ---- at random ---- */

static const char *const kinds[] = { "anon4k", "thp", "hugetlb2m", "shmem4k", "hugetlb1g", "thp", "anon4k" };

static uint64_t random_length(const char *kind)
{
    if (!strcmp(kind, "hugetlb1g"))
        return GIB;
    return strncmp(kind, "anon", 4) && strncmp(kind, "shmem", 5) ? (1 + roll(3)) * 2 * MIB : (32 + roll(400)) * PAGE;
}

static struct slot *random_slot(void)
{
    for (int i = 0; i < 50; i++) {
        struct slot *s = &vm.slot[roll(MAX_SLOTS)];

        if (s->used && s->memory != vm.boot && s->memory != vm.smram)
            return s;
    }
    return NULL;
}

static void random_add(int id)
{
    const char *kind = kinds[roll(sizeof(kinds) / sizeof(kinds[0]))];
    struct slot *alias = roll(4) == 0 ? random_slot() : NULL;
    struct memory *m = alias ? alias->memory : host_map(kind, random_length(kind), roll(4) != 0);
    uint64_t npages, offset = 0, gpa = GIB + (uint64_t)id * 2 * GIB, room = vm.long_mode ? 40 : 1;
    int as_id = vm.smm ? roll(3) == 0 : 0;

    if (!m)
        return;
    npages = m->length / PAGE;
    if (roll(3) == 0 && npages > 64) {
        offset = roll(npages / 2) * PAGE;
        npages -= offset / PAGE;
    }
    /* Below 4 GiB but in long mode, each id with its own gigabyte or so. */
    gpa = vm.long_mode ? (1 + (uint64_t)id * room) * GIB : GIB / 2 + (uint64_t)id * GIB / 2;
    if (npages * PAGE > GIB / 2 && !vm.long_mode) {
        npages = GIB / 2 / PAGE;
        offset = 0;
    }
    gpa += roll(3) == 0 ? roll(512) * PAGE : roll(4) * 2 * MIB;
    if (!vm.long_mode && gpa + npages * PAGE > GIB / 2 + (uint64_t)(id + 1) * GIB / 2)
        npages = (GIB / 2 + (uint64_t)(id + 1) * GIB / 2 - gpa) / PAGE;
    slot_add(id, as_id, gpa, npages, m, offset, roll(6) == 0 ? KVM_MEM_READONLY : 0, alias ? "alias" : kind);
}

static void random_touch(struct slot *s)
{
    uint64_t page = roll(s->npages), n = 1;
    enum program p = (enum program)roll(4);

    if (s->as_id)
        return smi_touch((int)roll((uint64_t)vm.nvcpus), (s->gpa + page * PAGE) & 0xffffffff, roll(2));
    if (p == EXECUTE && !s->memory->has_ret[(s->offset / PAGE) + page])
        p = READ;
    if (s->flags & KVM_MEM_READONLY && p == MODIFY)
        p = READ;
    if (roll(10) == 0 && p != EXECUTE)
        n = 1 + roll(s->npages - page < 12 ? s->npages - page : 12);
    touch((int)roll((uint64_t)vm.nvcpus), s->gpa + page * PAGE + (p == EXECUTE ? RET_OFFSET : 8 * roll(3)), n, p);
}

static void random_batch(void)
{
    struct access list[12];
    int n = 0;

    for (int i = 0; i < 12; i++) {
        struct slot *s = random_slot();

        if (!s || s->as_id || s->flags & KVM_MEM_READONLY)
            continue;
        list[n].gpa = s->gpa + roll(s->npages) * PAGE;
        list[n++].write = roll(2);
    }
    if (n)
        batch((int)roll((uint64_t)vm.nvcpus), list, n);
}

/* What the host does to a stretch of a slot. */
static void random_host(struct slot *s)
{
    static const struct { const char *op; int advice; } steps[] = {
        { "madvise_dontneed", MADV_DONTNEED }, { "madvise_dontneed", MADV_DONTNEED },
        { "host_write", -1 }, { "madvise_collapse", MADV_COLLAPSE }, { "madvise_pageout", MADV_PAGEOUT },
        { "madvise_cold", MADV_COLD }, { "madvise_mergeable", MADV_MERGEABLE },
        { "madvise_unmergeable", MADV_UNMERGEABLE },
    };
    bool hugetlb = !strncmp(s->memory->kind, "hugetlb", 7);
    uint64_t unit = !strcmp(s->memory->kind, "hugetlb1g") ? GIB / PAGE : hugetlb ? 512 : 1;
    uint64_t page = roll(s->npages), n = 1 + roll(s->npages - page < 200 ? s->npages - page : 200);
    unsigned i = (unsigned)roll(sizeof(steps) / sizeof(steps[0]));

    if (s->memory->length > 64 * MIB && strcmp(steps[i].op, "madvise_dontneed"))
        return;
    if (roll(3) == 0 || unit > 1 || !strcmp(steps[i].op, "madvise_collapse")) {
        /* Whole huge pages, counted in the host's addresses. */
        uint64_t first = (s->offset / PAGE + page) / (unit > 1 ? unit : 512) * (unit > 1 ? unit : 512);

        if (first < s->offset / PAGE || (unit > 512 && roll(4)))
            return;
        page = first - s->offset / PAGE;
        n = unit > 1 ? unit : 512;
        if (page + n > s->npages)
            return;
    }
    host_step(steps[i].op, s, s->gpa + page * PAGE, n * PAGE, steps[i].advice);
    if (roll(2) && !strcmp(steps[i].op, "madvise_dontneed"))
        host_step("host_write", s, s->gpa + page * PAGE, n * PAGE, -1);
}

static void random_protect(struct slot *s)
{
    static const char *const prots[] = { "r", "none", "rwx" };
    uint64_t page = roll(s->npages), n = 1 + roll(s->npages - page < 100 ? s->npages - page : 100);
    const char *prot = prots[roll(3)];

    if (!strncmp(s->memory->kind, "hugetlb", 7))
        return;
    host_protect(s, s->gpa + page * PAGE, n * PAGE, prot);
    for (int i = 0; i < 2; i++)
        touch((int)roll((uint64_t)vm.nvcpus), s->gpa + (page + roll(n)) * PAGE, 1, roll(2) ? READ : WRITE);
    host_protect(s, s->gpa + page * PAGE, n * PAGE, "rwx");
}

static void random_log(struct slot *s)
{
    bool on = s->flags & KVM_MEM_LOG_DIRTY_PAGES;
    uint64_t *bits;

    if (s->flags & KVM_MEM_READONLY)
        return;
    if (!on || roll(6) == 0)
        return dirty_log(s, !on);
    if (vm.ring_bytes)
        return harvest_rings();
    bits = get_dirty_log(s);
    if (roll(3) == 0) {
        uint64_t first = roll(s->npages / 64 + 1) * 64, n = (1 + roll(8)) * 64;

        if (first < s->npages)
            clear_dirty_log(s, bits, first, first + n > s->npages ? s->npages - first : n, roll(2));
    }
    free(bits);
}

static void random_param(void)
{
    switch (roll(5)) {
    case 0: param("nx_huge_pages", "force"); break;
    case 1: param("nx_huge_pages", "off"); break;
    case 2: param("eager_page_split", roll(2) ? "Y" : "N"); break;
    case 3:
        param("nx_huge_pages_recovery_ratio", "2");
        param("nx_huge_pages_recovery_period_ms", "100");
        step_sleep(350);
        param("nx_huge_pages_recovery_ratio", "0");
        break;
    default: param("eager_page_split", "Y"); break;
    }
}

static void random_step(void)
{
    struct slot *s = random_slot();
    uint64_t what = roll(100);

    if (!s)
        return random_add(1 + (int)roll(6));
    if (what < 56)
        random_touch(s);
    else if (what < 60)
        random_batch();
    else if (what < 70)
        random_host(s);
    else if (what < 73 && !s->as_id)
        random_protect(s);
    else if (what < 83)
        random_log(s);
    else if (what < 85)
        random_param();
    else if (what < 87)
        random_add(1 + (int)roll(6));
    else if (what == 87)
        slot_delete(s);
    else if (what == 88 && !s->as_id)
        slot_move(s, s->gpa ^ (roll(2) ? 2 * MIB : PAGE));
    else if (what == 89)
        kick((int)roll((uint64_t)vm.nvcpus));
    else if (what == 90 && roll(3) == 0)
        ksm_run();
    else if (what == 91)
        step_fork();
    else if (what == 92 && !s->as_id)
        prefault((int)roll((uint64_t)vm.nvcpus), s->gpa + roll(s->npages) * PAGE, (1 + roll(20)) * PAGE);
    else if (what == 93)
        reclaim(128 * 1024);
    else if (what == 94)
        touch((int)roll((uint64_t)vm.nvcpus), 0xfeb00000 + roll(8) * PAGE, 1, roll(2) ? READ : WRITE);
    else if (what < 97)
        dump((int)roll((uint64_t)vm.nvcpus));
    else if (what == 97 && strncmp(s->memory->kind, "hugetlb", 7) && strncmp(s->memory->kind, "shmem", 5)) {
        uint64_t page = roll(s->npages), n = 1 + roll(s->npages - page < 20 ? s->npages - page : 20);

        host_step("munmap", s, s->gpa + page * PAGE, n * PAGE, -1);
        if (!s->as_id)
            touch((int)roll((uint64_t)vm.nvcpus), s->gpa + page * PAGE, 1, READ);
        host_step("mmap_fixed", s, s->gpa + page * PAGE, n * PAGE, -1);
    }
}

static void play_at_random(int steps)
{
    static const uint64_t manual[] = { 0, 0, 1, 3 };
    struct options o = { .nvcpus = 1 + (int)roll(3), .long_mode = roll(3) == 0 };

    o.smm = !o.long_mode && roll(2);
    o.zap_slot_only = roll(3) == 0;
    if (roll(4) == 0)
        o.ring_bytes = RING_BYTES;
    else
        o.manual = manual[roll(4)];
    vm_create(o);
    for (int i = 1; i <= 5; i++)
        random_add(i);
    for (int i = 0; i < steps; i++)
        random_step();
    for (int i = 0; i < o.nvcpus; i++)
        dump(i);
}

static void play_random(void) { play_at_random(450); }
