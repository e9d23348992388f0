// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records what KVM's TDP MMU does, for tdpmmuctl replay: a small userspace VMM that plays
 * scenarios on /dev/kvm while ftrace watches.  Runs as root in a machine of its own, of AMD's
 * kind (NPT) or Intel's (EPT).
 *
 *     recorder OUT-FOLDER NAME SEED      one scenario (see scenarios[]): NAME.txt, NAME.npt.txt
 *
 * The words of the markers are those of traces/README.md.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef KVM_PRE_FAULT_MEMORY
struct kvm_pre_fault_memory { uint64_t gpa, size, flags, padding[5]; };
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
#endif
#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL 223
#endif
#define QUIRK_SLOT_ZAP_ALL (1 << 7)

#define TRACING "/sys/kernel/tracing"
#define INSTANCE TRACING "/instances/record"
#define PRIVATE TRACING "/instances/roots"
#define PAGE 4096ull
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define BOOT_PAGES 0x20
#define RET_OFFSET 0x800
#define MAX_VCPUS 3
#define MAX_SLOTS 16
#define RING_BYTES 65536
#define RUN_SECONDS 20  /* a guest that takes longer has lost its way */

#define die(...) do { fprintf(stderr, "recorder: " __VA_ARGS__); fprintf(stderr, ": %m\n"); exit(1); } while (0)

/* ---- tracing --------------------------------------------------------------- */

static int marker_fd = -1;

static void mark(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void mark(const char *format, ...)
{
    char text[4000];
    va_list arguments;
    int n;

    va_start(arguments, format);
    n = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (write(marker_fd, text, (size_t)n) != n)
        die("trace_marker");
}

static bool put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_TRUNC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return ok;
}

static void must_put(const char *path, const char *text)
{
    if (!put(path, text))
        die("%s <- %s", path, text);
}

/* For each CPU: 100 MB, or a 32nd of all memory in a small machine. */
static const char *buffer_kb(void)
{
    static char text[24];
    long kb = sysconf(_SC_PHYS_PAGES) / 32 * (long)(PAGE / 1024);

    snprintf(text, sizeof(text), "%ld", kb < 100000 ? kb : 100000);
    return text;
}

static void set_up_tracing(void)
{
    static const char *const events[] = {
        "events/kvmmmu/enable", "events/tdp/enable", "events/kvm/kvm_page_fault/enable",
        "events/kvm/kvm_mmio/enable", "events/kvm/kvm_userspace_exit/enable",
        "events/kvm/kvm_smm_transition/enable", "events/kvm/kvm_unmap_hva_range/enable",
        "events/kvm/kvm_age_hva/enable", "events/kvm/kvm_test_age_hva/enable",
        "events/kvm/kvm_dirty_ring_push/enable", "events/kvm/kvm_dirty_ring_reset/enable",
        "events/kvm/kvm_dirty_ring_exit/enable",
    };
    char path[200];

    mkdir(INSTANCE, 0755);
    mkdir(PRIVATE, 0755);
    must_put(INSTANCE "/tracing_on", "0");
    must_put(INSTANCE "/buffer_size_kb", buffer_kb());
    must_put(INSTANCE "/trace_clock", "counter");
    must_put(PRIVATE "/trace_clock", "counter");
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        snprintf(path, sizeof(path), INSTANCE "/%s", events[i]);
        must_put(path, "1");
    }
    must_put(PRIVATE "/events/tdp/load_pgd/enable", "1");
    put(INSTANCE "/trace", "");
    put(PRIVATE "/trace", "");
    must_put(INSTANCE "/tracing_on", "1");
    marker_fd = open(INSTANCE "/trace_marker", O_WRONLY | O_CLOEXEC);
    if (marker_fd < 0)
        die("trace_marker");
}

static void save_trace(const char *path)
{
    static char buffer[1 << 20];
    int in, out;
    ssize_t n;

    must_put(INSTANCE "/tracing_on", "0");
    in = open(INSTANCE "/trace", O_RDONLY);
    out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (in < 0 || out < 0)
        die("%s", path);
    while ((n = read(in, buffer, sizeof(buffer))) > 0)
        if (write(out, buffer, (size_t)n) != n)
            die("%s", path);
    close(in);
    close(out);
}

/* ---- the guest ------------------------------------------------------------- */

/*
 * Programs of 32 bytes each from 0x1000 on: read, write, execute, read-modify-write over
 * (ebx, ecx times, by edx), a list of (address, write?) at esi, and hlt.  The same text,
 * assembled for protected and for long mode.  In SMM: one access with what 0x38100 says.
 */
asm(".pushsection .rodata\n"
    ".macro programs w, b, c, d, s, a, sp\n"
    ".balign 32\n1: mov (\\b), %eax\n add \\d, \\b\n dec %ecx\n jnz 1b\n hlt\n"
    ".balign 32\n1: mov %eax, (\\b)\n add \\d, \\b\n dec %ecx\n jnz 1b\n hlt\n"
    ".balign 32\n1: call *\\b\n add \\d, \\b\n dec %ecx\n jnz 1b\n hlt\n"
    ".balign 32\n1: lock incl (\\b)\n add \\d, \\b\n dec %ecx\n jnz 1b\n hlt\n"
    ".balign 32\n1: mov (\\s), \\b\n cmpl $0, 8(\\s)\n jne 2f\n mov (\\b), %eax\n jmp 3f\n"
    "2: mov %eax, (\\b)\n3: add $16, \\s\n dec %ecx\n jnz 1b\n hlt\n"
    ".balign 32\n hlt\n"
    ".endm\n"
    ".balign 32\nprograms32:\n.code32\n programs l, %ebx, %ecx, %edx, %esi, %eax, %esp\nprograms32_end:\n"
    ".balign 32\nprograms64:\n.code64\n programs q, %rbx, %rcx, %rdx, %rsi, %rax, %rsp\nprograms64_end:\n"
    "smi_handler:\n.code16\n"
    " xor %ax, %ax\n mov %ax, %ds\n"
    " movl $0x38100, %ebx\n addr32 movl (%ebx), %esi\n addr32 movl 4(%ebx), %ecx\n"
    " test %ecx, %ecx\n jnz 1f\n addr32 movl (%esi), %eax\n rsm\n"
    "1: addr32 movl %eax, (%esi)\n rsm\n"
    "smi_handler_end:\n.code64\n.popsection\n");
extern const char programs32[], programs32_end[], programs64[], programs64_end[];
extern const char smi_handler[], smi_handler_end[];

enum program { READ, WRITE, EXECUTE, MODIFY, LIST, HALT = 6 };
static const char *const program_names[] = { "r", "w", "x", "rmw" };

/* ---- the machine ------------------------------------------------------------ */

struct memory {
    char *at;
    uint64_t length;
    char kind[24];
    uint8_t *has_ret;   /* a byte for each page: there is a ret at RET_OFFSET */
};

struct slot {
    bool used;
    int id, as_id;
    uint64_t gpa, npages;
    struct memory *memory;
    uint64_t offset;    /* of the first page in the memory */
    uint32_t flags;
    char kind[40];
};

struct vcpu {
    int id, fd;
    struct kvm_run *run;
    uint64_t pointer, root;   /* the kernel's, as load_pgd has them */
    int root_level;
    struct kvm_dirty_gfn *ring;
    uint32_t ring_next;
};

static struct {
    int kvm, fd, nvcpus;
    bool long_mode, smm;
    uint32_t ring_bytes;
    struct vcpu vcpu[MAX_VCPUS];
    struct slot slot[MAX_SLOTS];
    struct memory *boot, *smram;
    FILE *dumps;
    int next_dump;
} vm;

static unsigned long long random_state;

static uint64_t roll(uint64_t n)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return n ? (random_state >> 33) % n : 0;
}

static char *hva_of(const struct slot *s, uint64_t gpa)
{
    return s->memory->at + s->offset + (gpa - s->gpa);
}


/* ---- host memory -------------------------------------------------------------- */

static uint64_t anon_huge_kb(const struct memory *m)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    unsigned long long start, end, kb, sum = 0;
    bool inside = false;
    char line[400];

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
            inside = start < (uintptr_t)m->at + m->length && end > (uintptr_t)m->at;
        else if (inside && sscanf(line, "AnonHugePages: %llu kB", &kb) == 1)
            sum += kb;
    }
    if (f)
        fclose(f);
    return sum;
}

static void store_rets(struct memory *m, uint64_t offset, uint64_t length)
{
    for (uint64_t at = offset; at < offset + length; at += PAGE) {
        ((volatile char *)m->at)[at + RET_OFFSET] = (char)0xc3;
        m->has_ret[at / PAGE] = 1;
    }
}

/* kind: anon4k, thp, shmem4k, hugetlb2m, hugetlb1g.  NULL if the host has none. */
static struct memory *host_map(const char *kind, uint64_t length, bool populate)
{
    struct memory *m = calloc(1, sizeof(*m));
    uint64_t align = strcmp(kind, "hugetlb1g") ? 2 * MIB : GIB, room = length + align;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    char *base = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED)
        die("mmap");
    base = (char *)(((uintptr_t)base + align - 1) & ~(align - 1));
    if (!strncmp(kind, "hugetlb", 7)) /* reserved, so that there are enough or none */
        flags = (flags & ~MAP_NORESERVE) | MAP_HUGETLB | (kind[7] == '1' ? 30 << 26 : 21 << 26);
    if (!strncmp(kind, "shmem", 5))
        flags = MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED;
    m->at = mmap(base, length, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1, 0);
    if (m->at == MAP_FAILED) {
        free(m);
        return NULL;
    }
    m->length = length;
    snprintf(m->kind, sizeof(m->kind), "%s", kind);
    m->has_ret = calloc(1, length / PAGE);
    if (!strncmp(kind, "thp", 3))
        madvise(m->at, length, MADV_HUGEPAGE);
    else if (!strncmp(kind, "anon", 4))
        madvise(m->at, length, MADV_NOHUGEPAGE);
    mark("STEP host_map hva=%p len=0x%llx kind=%s populate=%d", (void *)m->at, (unsigned long long)length,
         kind, populate);
    if (populate)
        store_rets(m, 0, length);
    mark("DONE host_map hva=%p anon_huge_kb=%llu", (void *)m->at, (unsigned long long)anon_huge_kb(m));
    return m;
}

/* One step on a stretch of a slot's memory. */
static int host_step(const char *op, struct slot *s, uint64_t gpa, uint64_t length, int advice)
{
    char *hva = hva_of(s, gpa);
    struct memory *m = s->memory;
    uint64_t offset = (uint64_t)(hva - m->at);
    int ret = 0;

    mark("STEP %s hva=%p gpa=0x%llx len=0x%llx", op, (void *)hva, (unsigned long long)gpa, (unsigned long long)length);
    if (!strcmp(op, "munmap")) {
        ret = munmap(hva, length) ? -errno : 0;
    } else if (!strcmp(op, "mmap_fixed")) {
        ret = mmap(hva, length, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -errno : 0;
    } else if (!strcmp(op, "host_write")) {
        store_rets(m, offset, length);
    } else {
        ret = madvise(hva, length, advice) ? -errno : 0;
    }
    if (!ret && (advice == MADV_DONTNEED || !strcmp(op, "munmap") || !strcmp(op, "mmap_fixed")))
        memset(m->has_ret + offset / PAGE, 0, length / PAGE);
    mark("DONE %s ret=%d", op, ret);
    return ret;
}

static void host_protect(struct slot *s, uint64_t gpa, uint64_t length, const char *name)
{
    int prot = !strcmp(name, "r") ? PROT_READ : !strcmp(name, "none") ? PROT_NONE
                                                                      : PROT_READ | PROT_WRITE | PROT_EXEC;

    mark("STEP mprotect hva=%p gpa=0x%llx len=0x%llx prot=%s", (void *)hva_of(s, gpa), (unsigned long long)gpa,
         (unsigned long long)length, name);
    int ret = mprotect(hva_of(s, gpa), length, prot) ? -errno : 0;
    mark("DONE mprotect ret=%d", ret);
}

/* ---- slots ------------------------------------------------------------------- */

static int region(const char *op, struct slot *s, uint64_t npages)
{
    struct kvm_userspace_memory_region r = {
        .slot = (uint32_t)s->id | (uint32_t)s->as_id << 16, .flags = s->flags,
        .guest_phys_addr = s->gpa, .memory_size = npages * PAGE,
        .userspace_addr = (uintptr_t)s->memory->at + s->offset,
    };
    int ret;

    mark("STEP %s slot=%d as_id=%d gpa=0x%llx npages=0x%llx hva=0x%llx flags=%u kind=%s", op, s->id, s->as_id,
         (unsigned long long)s->gpa, (unsigned long long)npages, (unsigned long long)r.userspace_addr, s->flags,
         s->kind);
    ret = ioctl(vm.fd, KVM_SET_USER_MEMORY_REGION, &r) ? -errno : 0;
    mark("DONE %s slot=%d ret=%d", op, s->id, ret);
    return ret;
}

static struct slot *slot_add(int id, int as_id, uint64_t gpa, uint64_t npages, struct memory *m, uint64_t offset,
                             uint32_t flags, const char *kind)
{
    for (int i = 0; i < MAX_SLOTS; i++) {
        struct slot *s = &vm.slot[i];

        if (s->used)
            continue;
        *s = (struct slot){ true, id, as_id, gpa, npages, m, offset, flags, "" };
        snprintf(s->kind, sizeof(s->kind), "%s", kind);
        if (region("memslot_add", s, npages))
            s->used = false;
        return s->used ? s : NULL;
    }
    return NULL;
}

static void slot_delete(struct slot *s)
{
    uint32_t flags = s->flags;

    s->flags = 0;
    if (region("memslot_delete", s, 0))
        s->flags = flags;
    else
        s->used = false;
}

static void slot_move(struct slot *s, uint64_t gpa)
{
    uint64_t before = s->gpa;

    s->gpa = gpa;
    if (region("memslot_move", s, s->npages))
        s->gpa = before;
}

static void dirty_log(struct slot *s, bool on)
{
    uint32_t before = s->flags;

    s->flags = on ? before | KVM_MEM_LOG_DIRTY_PAGES : before & ~(uint32_t)KVM_MEM_LOG_DIRTY_PAGES;
    if (region(on ? "dirty_log_on" : "dirty_log_off", s, s->npages))
        s->flags = before;
}

/* "DATA what slot part pages" of the bits, then the total. */
static void mark_pages(const char *what, const struct slot *s, const uint64_t *bits, uint64_t first, uint64_t n)
{
    char text[1000];
    int used = 0, part = 0;
    uint64_t total = 0, page = 0;

#define BIT(p) (bits[(p) / 64] >> ((p) % 64) & 1)
    while (page < n) {
        uint64_t end = page;

        if (!BIT(page)) {
            page++;
            continue;
        }
        while (end + 1 < n && BIT(end + 1))
            end++;
        total += end - page + 1;
        if (used)
            text[used++] = ',';
        used += end == page
            ? sprintf(text + used, "%llx", (unsigned long long)(first + page))
            : sprintf(text + used, "%llx-%llx", (unsigned long long)(first + page), (unsigned long long)(first + end));
        page = end + 1;
        if (used > 800) {
            mark("DATA %s slot=%d part=%d pages=%s", what, s->id | s->as_id << 16, part++, text);
            used = 0;
        }
    }
#undef BIT
    if (used)
        mark("DATA %s slot=%d part=%d pages=%s", what, s->id | s->as_id << 16, part, text);
    mark("DATA %s slot=%d total=%llu", what, s->id | s->as_id << 16, (unsigned long long)total);
}

static uint64_t *get_dirty_log(struct slot *s)
{
    uint64_t *bits = calloc((s->npages + 63) / 64, 8);
    struct kvm_dirty_log log = { .slot = (uint32_t)s->id | (uint32_t)s->as_id << 16, .dirty_bitmap = bits };
    int ret;

    mark("STEP get_dirty_log slot=%u", log.slot);
    ret = ioctl(vm.fd, KVM_GET_DIRTY_LOG, &log) ? -errno : 0;
    mark("DONE get_dirty_log slot=%u ret=%d", log.slot, ret);
    if (!ret)
        mark_pages("dirty", s, bits, 0, s->npages);
    return bits;
}

/* Clears the dirty ones among n pages from first; every second one if `sparse`. */
static void clear_dirty_log(struct slot *s, const uint64_t *dirty, uint64_t first, uint64_t n, bool sparse)
{
    uint64_t *bits = calloc((n + 63) / 64 + 1, 8);
    struct kvm_clear_dirty_log log = { .slot = (uint32_t)s->id | (uint32_t)s->as_id << 16, .num_pages = (uint32_t)n,
                                       .first_page = first, .dirty_bitmap = bits };
    int ret;

    for (uint64_t p = first; p < first + n; p++)
        if (dirty[p / 64] >> (p % 64) & 1 && (!sparse || p % 2))
            bits[(p - first) / 64] |= 1ull << ((p - first) % 64);
    mark("STEP clear_dirty_log slot=%u first=0x%llx n=0x%llx", log.slot, (unsigned long long)first, (unsigned long long)n);
    mark_pages("clear", s, bits, first, n);
    ret = ioctl(vm.fd, KVM_CLEAR_DIRTY_LOG, &log) ? -errno : 0;
    mark("DONE clear_dirty_log slot=%u ret=%d", log.slot, ret);
    free(bits);
}

static void enable_cap(const char *name, uint32_t cap, uint64_t argument)
{
    struct kvm_enable_cap c = { .cap = cap, .args = { argument } };

    mark("STEP enable_cap cap=%s arg0=%llu", name, (unsigned long long)argument);
    int ret = ioctl(vm.fd, KVM_ENABLE_CAP, &c) ? -errno : 0;
    mark("DONE enable_cap ret=%d", ret);
}

static void param(const char *name, const char *value)
{
    char path[200];

    mark("STEP param %s=%s", name, value);
    snprintf(path, sizeof(path), "/sys/module/kvm/parameters/%s", name);
    int ret = put(path, value) ? 0 : -errno;
    mark("DONE param %s ret=%d", name, ret);
}

/* ---- vCPUs --------------------------------------------------------------------- */

/* Which vCPU got which root, from the private instance. */
static void read_roots(struct vcpu *newcomer)
{
    int fd = open(PRIVATE "/trace_pipe", O_RDONLY | O_NONBLOCK);
    static char text[1 << 16];
    ssize_t n, used = 0;
    char *line, *save;

    while ((n = read(fd, text + used, sizeof(text) - 1 - (size_t)used)) > 0)
        used += n;
    close(fd);
    text[used] = 0;
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned long long pointer, root;
        char *at = strstr(line, "vcpu=0x");
        int level;

        if (!at || sscanf(at, "vcpu=0x%llx root_hpa=0x%llx root_level=%d", &pointer, &root, &level) != 3)
            continue;
        for (int i = 0; i < vm.nvcpus; i++) {
            struct vcpu *v = &vm.vcpu[i];

            if (v == newcomer && !v->pointer)
                v->pointer = pointer;
            if (v->pointer == pointer) {
                v->root = root;
                v->root_level = level;
            }
        }
    }
}

static void vcpu_create(int id)
{
    struct vcpu *v = &vm.vcpu[id];
    struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entry[200]; } cpuid = { .head = { .nent = 200 } };
    struct kvm_sregs sregs;
    struct kvm_segment flat = { .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };

    mark("STEP vcpu_create vcpu=%d", id);
    v->id = id;
    v->fd = ioctl(vm.fd, KVM_CREATE_VCPU, id);
    if (v->fd < 0)
        die("KVM_CREATE_VCPU");
    v->run = mmap(NULL, (size_t)ioctl(vm.kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
    if (vm.ring_bytes)
        v->ring = mmap(NULL, vm.ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 64 * 4096);
    if (v->run == MAP_FAILED || v->ring == MAP_FAILED)
        die("mmap of a vCPU");
    if (ioctl(vm.kvm, KVM_GET_SUPPORTED_CPUID, &cpuid.head) || ioctl(v->fd, KVM_SET_CPUID2, &cpuid.head))
        die("CPUID");
    for (uint32_t i = 0; id == 0 && i < cpuid.head.nent; i++)
        if (cpuid.entry[i].function == 0x80000008)
            mark("INFO guest_cpuid_80000008 eax=0x%x", cpuid.entry[i].eax);
    if (ioctl(v->fd, KVM_GET_SREGS, &sregs))
        die("KVM_GET_SREGS");
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
    flat.selector = 8;
    flat.type = 11;
    sregs.cs = flat;
    sregs.cr0 |= 1;
    if (vm.long_mode) {
        sregs.cs.db = 0;
        sregs.cs.l = 1;
        sregs.cr0 |= 0x80000000;
        sregs.cr3 = 0x18000;
        sregs.cr4 |= 0x20;
        sregs.efer |= 0x500;
    }
    if (ioctl(v->fd, KVM_SET_SREGS, &sregs))
        die("KVM_SET_SREGS");
    mark("DONE vcpu_create vcpu=%d", id);
}

/* KVM_RUN until hlt: 0, or -errno.  *mmio counts. */
static int run(struct vcpu *v, enum program program, uint64_t b, uint64_t c, uint64_t d, uint64_t s, int *mmio)
{
    struct kvm_regs regs = { .rip = 0x1000 + 0x20 * (uint64_t)program, .rflags = 2, .rbx = b, .rcx = c, .rdx = d,
                             .rsi = s, .rax = 0x5a, .rsp = 0x9000 + 0x1000 * (uint64_t)v->id };

    *mmio = 0;
    if (ioctl(v->fd, KVM_SET_REGS, &regs))
        die("KVM_SET_REGS");
    for (;;) {
        alarm(RUN_SECONDS);
        if (ioctl(v->fd, KVM_RUN, 0)) {
            if (errno == EINTR)
                mark("EXIT timeout vcpu=%d", v->id);
            return -errno;
        }
        switch (v->run->exit_reason) {
        case KVM_EXIT_HLT:
            return 0;
        case KVM_EXIT_MMIO:
            ++*mmio;
            mark("EXIT mmio vcpu=%d phys=0x%llx len=%u is_write=%u", v->id, (unsigned long long)v->run->mmio.phys_addr,
                 v->run->mmio.len, v->run->mmio.is_write);
            memset(v->run->mmio.data, 0, 8);
            break;
        case KVM_EXIT_DIRTY_RING_FULL:
            mark("EXIT other vcpu=%d reason=dirty_ring_full", v->id);
            return -EAGAIN;
        case KVM_EXIT_INTERNAL_ERROR:
            mark("EXIT internal_error vcpu=%d suberror=%u", v->id, v->run->internal.suberror);
            return -EIO;
        default:
            mark("EXIT other vcpu=%d reason=%u", v->id, v->run->exit_reason);
            return -EIO;
        }
    }
}

static void harvest_rings(void);

static int touch(int vcpu, uint64_t gpa, uint64_t n, enum program program)
{
    int mmio, ret;

    mark("STEP touch vcpu=%d gpa=0x%llx n=%llu stride=0x1000 op=%s write=%d exec=%d", vcpu, (unsigned long long)gpa,
         (unsigned long long)n, program_names[program], program == WRITE || program == MODIFY, program == EXECUTE);
    ret = run(&vm.vcpu[vcpu], program, gpa, n, PAGE, 0, &mmio);
    mark("DONE touch vcpu=%d ret=%d mmio=%d", vcpu, ret, mmio);
    if (ret == -EAGAIN)
        harvest_rings();
    return ret;
}

static int kick(int vcpu)
{
    int mmio, ret;

    mark("STEP kick vcpu=%d", vcpu);
    ret = run(&vm.vcpu[vcpu], HALT, 0, 0, 0, 0, &mmio);
    mark("DONE kick vcpu=%d ret=%d", vcpu, ret);
    return ret;
}

struct access { uint64_t gpa; uint64_t write; };

static int batch(int vcpu, const struct access *list, int n)
{
    char text[3000];
    int used = 0, mmio, ret;

    memcpy(vm.boot->at + 0x10000 + vcpu * 0x1000, list, sizeof(*list) * (size_t)n);
    for (int i = 0; i < n; i++)
        used += sprintf(text + used, "%s%llx:%c", i ? "," : "", (unsigned long long)list[i].gpa, list[i].write ? 'w' : 'r');
    mark("STEP batch vcpu=%d n=%d list=%s", vcpu, n, text);
    ret = run(&vm.vcpu[vcpu], LIST, 0, (uint64_t)n, 0, 0x10000 + 0x1000 * (uint64_t)vcpu, &mmio);
    mark("DONE batch vcpu=%d ret=%d mmio=%d", vcpu, ret, mmio);
    if (ret == -EAGAIN)
        harvest_rings();
    return ret;
}

static void smi_touch(int vcpu, uint64_t gpa, bool write)
{
    uint32_t words[2] = { (uint32_t)gpa, write };
    int mmio, ret;

    memcpy(vm.smram->at + 0x8100, words, sizeof(words));
    mark("STEP smi_touch vcpu=%d as_id=1 gpa=0x%llx write=%d", vcpu, (unsigned long long)gpa, write);
    if (ioctl(vm.vcpu[vcpu].fd, KVM_SMI, 0))
        die("KVM_SMI");
    ret = run(&vm.vcpu[vcpu], HALT, 0, 0, 0, 0, &mmio);
    mark("DONE smi_touch vcpu=%d ret=%d mmio=%d", vcpu, ret, mmio);
}

static void harvest_rings(void)
{
    int harvested = 0;

    if (!vm.ring_bytes)
        return;
    for (int i = 0; i < vm.nvcpus; i++) {
        struct vcpu *v = &vm.vcpu[i];
        char text[1000];
        int used = 0, part = 0;

        for (;; v->ring_next++) {
            struct kvm_dirty_gfn *e = &v->ring[v->ring_next % (vm.ring_bytes / sizeof(*e))];

            if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & 1) || e->flags & 2)
                break;
            used += sprintf(text + used, "%s%x:%llx", used ? "," : "", e->slot, (unsigned long long)e->offset);
            __atomic_store_n(&e->flags, 2, __ATOMIC_RELEASE);
            harvested++;
            if (used > 800) {
                mark("DATA ring vcpu=%d part=%d entries=%s", i, part++, text);
                used = 0;
            }
        }
        if (used)
            mark("DATA ring vcpu=%d part=%d entries=%s", i, part, text);
    }
    mark("STEP reset_dirty_rings harvested=%d", harvested);
    int ret = ioctl(vm.fd, KVM_RESET_DIRTY_RINGS, 0);
    mark("DONE reset_dirty_rings ret=%d", ret < 0 ? -errno : ret);
}

static void prefault(int vcpu, uint64_t gpa, uint64_t length)
{
    struct kvm_pre_fault_memory r = { .gpa = gpa, .size = length };

    mark("STEP prefault vcpu=%d gpa=0x%llx len=0x%llx", vcpu, (unsigned long long)gpa, (unsigned long long)length);
    int ret = ioctl(vm.vcpu[vcpu].fd, KVM_PRE_FAULT_MEMORY, &r) ? -errno : 0;
    mark("DONE prefault ret=%d left_gpa=0x%llx left=0x%llx", ret, (unsigned long long)r.gpa, (unsigned long long)r.size);
}

/* ---- other steps ----------------------------------------------------------------- */

static void step_sleep(unsigned ms)
{
    mark("STEP sleep ms=%u", ms);
    usleep(ms * 1000);
    mark("DONE sleep");
}

static void step_fork(void)
{
    mark("STEP fork");
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    mark("DONE fork");
}

static void ksm_run(void)
{
    char text[40] = "0";
    long before = -1;

    mark("STEP ksm_run");
    put("/sys/kernel/mm/ksm/sleep_millisecs", "10");
    put("/sys/kernel/mm/ksm/pages_to_scan", "5000");
    put("/sys/kernel/mm/ksm/run", "1");
    for (int i = 0; i < 100; i++) {
        int fd = open("/sys/kernel/mm/ksm/full_scans", O_RDONLY);
        ssize_t n = read(fd, text, sizeof(text) - 1);

        close(fd);
        text[n > 0 ? n : 0] = 0;
        if (before < 0)
            before = atol(text);
        if (atol(text) >= before + 3)
            break;
        usleep(50000);
    }
    put("/sys/kernel/mm/ksm/run", "0");
    mark("DONE ksm_run");
}

static void reclaim(uint64_t bytes)
{
    char text[40];

    mark("STEP reclaim bytes=%llu", (unsigned long long)bytes);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
    int ret = put("/sys/fs/cgroup/rec/memory.reclaim", text) ? 0 : -errno;
    mark("DONE reclaim ret=%d", ret);
}

/* ---- dumps ------------------------------------------------------------------------ */

/* Where the kernel maps all memory; a pointer of its own tells with how many levels. */
static uint64_t direct_map(uint64_t pointer)
{
    return pointer >> 48 == 0xffff ? 0xffff888000000000ull : 0xff11000000000000ull;
}

static bool read_physical(uint64_t address, uint64_t *table)
{
    static int fd = -1;
    static Elf64_Phdr headers[64];
    static int count;
    Elf64_Ehdr head;

    if (fd < 0) {
        fd = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
        if (fd < 0 || pread(fd, &head, sizeof(head), 0) != sizeof(head))
            die("/proc/kcore");
        count = head.e_phnum < 64 ? head.e_phnum : 64;
        if (pread(fd, headers, sizeof(headers[0]) * (size_t)count, (off_t)head.e_phoff) < 0)
            die("/proc/kcore");
    }
    for (int i = 0; i < count; i++) {
        uint64_t start = headers[i].p_vaddr, at = direct_map(vm.vcpu[0].pointer) + address;

        if (headers[i].p_type == PT_LOAD && at >= start && at - start < headers[i].p_filesz)
            return pread(fd, table, PAGE, (off_t)(headers[i].p_offset + (at - start))) == (ssize_t)PAGE;
    }
    return false;
}

static int dump_table(uint64_t address, int level, uint64_t gfn)
{
    uint64_t *table = malloc(PAGE);
    int n = 0;

    if (!read_physical(address, table))
        die("page table at %llx", (unsigned long long)address);
    for (int i = 0; i < 512; i++) {
        uint64_t spte = table[i], here = gfn + ((uint64_t)i << (9 * (level - 1)));
        bool present = spte & 1 << 11, leaf = present && (level == 1 || spte & 1 << 7);

        if (spte == 0 || spte == 1ull << 63)
            continue;
        fprintf(vm.dumps, "SPTE level=%d gfn=%llx spte=%llx kind=%s sptep=%llx\n", level, (unsigned long long)here,
                (unsigned long long)spte, leaf ? "leaf" : present ? "table" : "nonpresent",
                (unsigned long long)(address + 8 * (uint64_t)i));
        n++;
        if (present && !leaf)
            n += dump_table(spte & 0x000ffffffffff000ull, level - 1, here);
    }
    free(table);
    return n;
}

static void dump(int vcpu)
{
    struct vcpu *v = &vm.vcpu[vcpu];
    int id = vm.next_dump, n;

    if (kick(vcpu))
        return;
    read_roots(v);
    vm.next_dump++;
    mark("STEP dump id=%d root=0x%llx root_level=%d", id, (unsigned long long)v->root, v->root_level);
    fprintf(vm.dumps, "DUMP id=%d root=0x%llx root_level=%d\n", id, (unsigned long long)v->root, v->root_level);
    n = dump_table(v->root, v->root_level, 0);
    fprintf(vm.dumps, "END id=%d n=%d\n", id, n);
    mark("DONE dump id=%d n=%d", id, n);
    fprintf(stderr, "   dump %d\n", id); /* on the console: who watches sees that it goes on */
}

/* ---- a VM ------------------------------------------------------------------------- */

struct options {
    int nvcpus;
    bool long_mode, smm;
    uint64_t manual;     /* KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
    uint32_t ring_bytes;
    bool zap_slot_only;
};

static void fill_boot(void)
{
    char *at = vm.boot->at;
    uint64_t *pml4 = (uint64_t *)(at + 0x18000);

    if (vm.long_mode)
        memcpy(at + 0x1000, programs64, (size_t)(programs64_end - programs64));
    else
        memcpy(at + 0x1000, programs32, (size_t)(programs32_end - programs32));
    /* The list's program is longer than 32 bytes; hlt is the last. */
    at[0x1000 + 0x20 * HALT] = (char)0xf4;
    if (!vm.long_mode)
        return;
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t *directory = (uint64_t *)(at + 0x19000 + 0x1000 * i);

        pml4[i] = (0x19000 + 0x1000 * i) | 0x27;
        for (uint64_t j = 0; j < 512; j++)
            directory[j] = (i << 39 | j << 30) | 0xe7;
    }
}

static void vm_create(struct options o)
{
    vm.nvcpus = o.nvcpus;
    vm.long_mode = o.long_mode;
    vm.smm = o.smm;
    vm.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    mark("STEP vm_create nvcpus=%d mode=%s", o.nvcpus, o.long_mode ? "long" : "prot32");
    vm.fd = ioctl(vm.kvm, KVM_CREATE_VM, 0);
    mark("DONE vm_create ret=%d", vm.fd < 0 ? -errno : 0);
    if (vm.fd < 0)
        die("KVM_CREATE_VM");
    if (o.manual)
        enable_cap("MANUAL_DIRTY_LOG_PROTECT2", KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, o.manual);
    if (o.zap_slot_only)
        enable_cap("DISABLE_QUIRKS2", KVM_CAP_DISABLE_QUIRKS2, QUIRK_SLOT_ZAP_ALL);
    if (o.ring_bytes) {
        vm.ring_bytes = o.ring_bytes;
        enable_cap("DIRTY_LOG_RING", KVM_CAP_DIRTY_LOG_RING, o.ring_bytes);
    }
    vm.boot = host_map("anon4k", BOOT_PAGES * PAGE, true);
    fill_boot();
    slot_add(0, 0, 0, BOOT_PAGES, vm.boot, 0, 0, "boot");
    if (o.smm) {
        /* In SMM the guest sees the same boot memory, and its handler. */
        vm.smram = host_map("anon4k", 16 * PAGE, true);
        memcpy(vm.smram->at + 0x8000, smi_handler, (size_t)(smi_handler_end - smi_handler));
        slot_add(8, 1, 0x30000, 16, vm.smram, 0, 0, "smram");
    }
    for (int i = 0; i < o.nvcpus; i++)
        vcpu_create(i);
    for (int i = 0; i < o.nvcpus; i++) {
        touch(i, 0x8ff0 + 0x1000 * (uint64_t)i, 1, WRITE);
        read_roots(&vm.vcpu[i]);
        touch(i, 0x10000 + 0x1000 * (uint64_t)i, 1, WRITE);
    }
    mark("INFO warm_done");
}

#include "host_info.h"
#include "scenarios.h"
#include "scenarios_small.h"

static const struct scenario {
    const char *name;
    void (*play)(void);
} scenarios[] = {
    { "02b_huge1g", play_huge1g },
    { "02c_huge1g_briefly", play_huge1g_briefly },
    { "12_smm", play_smm },
    { "13_ksm", play_ksm },
    { "15_dirty_ring", play_dirty_ring },
    { "04b_slot_zap", play_slot_zap },
    { "03d_manual_2m", play_manual_2m },
    { "03e_initset_2m", play_initset_2m },
    { "03f_manual_1g", play_manual_1g },
    { "03g_initset_1g", play_initset_1g },
    { "09b_parallel_4k", play_parallel_4k },
    { "09c_parallel_2m", play_parallel_2m },
    { "09d_parallel_mixed", play_parallel_mixed },
    { "20_random", play_random },
    { "01s_pages", play_small_pages },
    { "03s_dirtylog", play_small_dirtylog },
    { "04s_slots", play_small_slots },
    { "05s_notifier", play_small_notifier },
    { "06s_mmio_readonly", play_small_mmio_readonly },
    { "07s_aging", play_small_aging },
    { "08s_nx", play_small_nx },
    { "09s_parallel", play_small_parallel },
    { "11s_longmode", play_small_longmode },
    { "15s_dirty_ring", play_small_dirty_ring },
    { "20s_random", play_small_random },
    { NULL, NULL },
};

static void on_alarm(int signal)
{
    (void)signal;
}

static void prepare(void)
{
    put("/sys/module/kvm/parameters/eager_page_split", "Y");
    put("/sys/module/kvm/parameters/nx_huge_pages", "off");
    put("/sys/module/kvm/parameters/nx_huge_pages_recovery_ratio", "60");
    put("/sys/module/kvm/parameters/nx_huge_pages_recovery_period_ms", "0");
    put("/sys/kernel/mm/ksm/run", "0");
}

int main(int argc, char **argv)
{
    char path[300];
    pid_t child;
    int status = 1;

    if (argc != 4)
        return fprintf(stderr, "usage: recorder OUT-FOLDER NAME SEED\n"), 2;
    prepare();
    set_up_tracing();
    child = fork();
    if (child == 0) {
        const struct scenario *s = scenarios;

        prctl(PR_SET_NAME, "tdpscen");
        sigaction(SIGALRM, &(struct sigaction){ .sa_handler = on_alarm }, NULL);
        snprintf(path, sizeof(path), "%d", getpid());
        put("/sys/fs/cgroup/rec/cgroup.procs", path);
        snprintf(path, sizeof(path), "%s/%s.npt.txt", argv[1], argv[2]);
        vm.dumps = fopen(path, "w");
        random_state = strtoull(argv[3], NULL, 0) * 0x9e3779b97f4a7c15ull + 1;
        roll(1);
        while (s->name && strncmp(s->name, argv[2], strlen(s->name)))
            s++;
        if (!s->name)
            return fprintf(stderr, "recorder: no scenario %s\n", argv[2]), 2;
        mark("INFO scenario=%s name=%s seed=%s", argv[2], argv[2], argv[3]);
        mark_host_info();
        s->play();
        mark("INFO scenario_end");
        fclose(vm.dumps);
        _exit(0);
    }
    waitpid(child, &status, 0);
    usleep(400000);
    snprintf(path, sizeof(path), "%s/%s.txt", argv[1], argv[2]);
    save_trace(path);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
