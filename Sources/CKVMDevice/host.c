// SPDX-License-Identifier: GPL-2.0-only
// The process around the VMs: options, messages, memory.
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "ckd_host.h"
#include "real.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

// ---- options -------------------------------------------------------------------

struct ckd_options ckd_options_read;

static void refuse(const char *name, const char *value, const char *wanted)
{
    fprintf(stderr, "tdpmmu-kvm: %s=%s cannot be; it is one of %s\n", name, value, wanted);
    _exit(2);
}

static uint32_t number(const char *name, uint32_t otherwise, uint32_t least, uint32_t most, const char *wanted)
{
    const char *value = getenv(name);
    if (!value || !*value)
        return otherwise;
    char *end;
    unsigned long found = strtoul(value, &end, 10);
    if (*end || found < least || found > most)
        refuse(name, value, wanted);
    return (uint32_t)found;
}

static void read_options(void)
{
    struct ckd_options *options = &ckd_options_read;
    const char *mmu = getenv("TDPMMU_KVM_MMU");
    if (mmu && *mmu) {
        options->npt = !strcmp(mmu, "npt");
        options->no_ad = !strcmp(mmu, "ept-noad");
        options->no_pml = options->npt || options->no_ad || !strcmp(mmu, "ept");
        if (!options->no_pml && strcmp(mmu, "ept-pml"))
            refuse("TDPMMU_KVM_MMU", mmu, "ept-pml, ept, ept-noad, npt");
    }
    options->levels = number("TDPMMU_KVM_LEVELS", 4, 4, 5, "4, 5");
    options->nx_huge_pages = number("TDPMMU_KVM_NX", 0, 0, 1, "0, 1");
    // The host's addresses of user memory have 47 bits, and a page's frame is its host address.
    options->maxphyaddr = number("TDPMMU_KVM_MAXPHYADDR", 48, 48, 52, "48 to 52");
    options->trace = number("TDPMMU_KVM_TRACE", 0, 0, 1, "0, 1");
    options->quiet = number("TDPMMU_KVM_QUIET", 0, 0, 1, "0, 1");
    options->no_cache = !number("TDPMMU_KVM_CACHE", 1, 0, 1, "0, 1");
    options->events = getenv("TDPMMU_KVM_EVENTS");
}

void ckd_read_options(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_options);
}

__attribute__((constructor)) static void at_load(void)
{
    ckd_read_options();
    if (ckd_options()->events)
        tdpmmu_trace_ring_size(1 << 18);
}

// ---- messages ---------------------------------------------------------------------

void ckd_say(const char *text, uint64_t value)
{
    fprintf(stderr, "tdpmmu-kvm: %s (0x%llx)\n", text, (unsigned long long)value);
}

void ckd_say_faked(const char *text)
{
    static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;
    static const char *said[32];
    if (ckd_options()->quiet)
        return;
    pthread_mutex_lock(&said_lock);
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        if (said[i] && !strcmp(said[i], text))
            break;
        if (!said[i]) {
            said[i] = text;
            fprintf(stderr, "tdpmmu-kvm: faked: %s\n", text);
            break;
        }
    }
    pthread_mutex_unlock(&said_lock);
}

void ckd_trace_exit(uint32_t vcpu, uint32_t reason, int result, uint64_t rip)
{
    static const char *const names[] = {
        [KVM_EXIT_UNKNOWN] = "UNKNOWN", [KVM_EXIT_IO] = "IO", [KVM_EXIT_HLT] = "HLT", [KVM_EXIT_MMIO] = "MMIO",
        [KVM_EXIT_SHUTDOWN] = "SHUTDOWN", [KVM_EXIT_INTR] = "INTR", [KVM_EXIT_INTERNAL_ERROR] = "INTERNAL_ERROR",
        [KVM_EXIT_DIRTY_RING_FULL] = "DIRTY_RING_FULL"};
    const char *name = reason < sizeof names / sizeof names[0] && names[reason] ? names[reason] : "?";
    fprintf(stderr, "tdpmmu-kvm: vcpu %u exits: KVM_EXIT_%s%s%s, rip 0x%llx\n", vcpu, name, result ? ", " : "",
            result ? strerrorname_np(-result) : "", (unsigned long long)rip);
}

void ckd_trace_counts(const struct ckd_vcpu *vcpu)
{
    fprintf(stderr, "tdpmmu-kvm: vcpu %u: %llu runs, %llu translations, %llu faults, %llu flushes\n", vcpu->id,
            (unsigned long long)vcpu->runs, (unsigned long long)vcpu->fills, (unsigned long long)vcpu->faults,
            (unsigned long long)vcpu->flushes);
}

void ckd_say_instruction(const char *what, uint64_t rip, const uint8_t *bytes, uint32_t count)
{
    char text[64] = "";
    for (uint32_t i = 0; i < count && i < 15; i++)
        sprintf(text + 3 * i, " %02x", bytes[i]);
    fprintf(stderr, "tdpmmu-kvm: %s at rip 0x%llx:%s\n", what, (unsigned long long)rip, text);
}

// ---- memory ---------------------------------------------------------------------------

static bool copy(bool in, void *here, uint64_t there, size_t bytes)
{
    struct iovec local = {here, bytes}, remote = {(void *)there, bytes};
    ssize_t done = in ? process_vm_readv(getpid(), &local, 1, &remote, 1, 0)
                      : process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
    // In a sandbox without the call a bad pointer crashes the program.
    if (done < 0 && (errno == EPERM || errno == ENOSYS)) {
        memcpy(in ? here : (void *)there, in ? (void *)there : here, bytes);
        return true;
    }
    return done == (ssize_t)bytes;
}

bool ckd_copy_in(void *to, uint64_t from, size_t bytes) { return copy(true, to, from, bytes); }
bool ckd_copy_out(uint64_t to, const void *from, size_t bytes) { return copy(false, (void *)from, to, bytes); }

int ckd_populate(uint64_t address, size_t bytes, bool write)
{
    uint64_t start = address & ~4095ull, end = (address + bytes + 4095) & ~4095ull;
    while (syscall(SYS_madvise, start, end - start, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ)) {
        if (errno == EINTR || errno == EAGAIN)
            continue;
        return -errno;
    }
    return 0;
}

void *ckd_zalloc(size_t bytes) { return calloc(1, bytes); }
void ckd_free(void *memory) { free(memory); }
void ckd_close(int fd) { ckd_real()->close(fd); }
int ckd_duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }
int ckd_errno(void) { return errno; }
void ckd_unmap(void *memory, size_t bytes) { ckd_real()->munmap(memory, bytes); }
void ckd_yield(void) { sched_yield(); }

void *ckd_map_shared(int fd, size_t bytes)
{
    void *memory = ckd_real()->mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void ckd_write_at(int fd, const void *bytes, size_t count, uint64_t offset)
{
    if (ckd_real()->pwrite(fd, bytes, count, (off_t)offset) != (ssize_t)count)
        ckd_say("a file in memory cannot be written", (uint64_t)errno);
}

bool ckd_may_reboot(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof data);
    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective >> CAP_SYS_BOOT & 1);
}

// ---- the host's CPU -------------------------------------------------------------------

static uint32_t measured_khz;

static void measure(void)
{
    struct timespec before, after, nap = {0, 10000000};
    clock_gettime(CLOCK_MONOTONIC, &before);
    uint64_t start = ckd_ticks();
    nanosleep(&nap, NULL);
    uint64_t ticks = ckd_ticks() - start;
    clock_gettime(CLOCK_MONOTONIC, &after);
    uint64_t ns = (uint64_t)(after.tv_sec - before.tv_sec) * 1000000000u + (uint64_t)(after.tv_nsec - before.tv_nsec);
    measured_khz = (uint32_t)(ticks * 1000000u / ns);
}

uint32_t ckd_tsc_khz(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, measure);
    return measured_khz;
}

void ckd_host_cpuid(uint32_t function, uint32_t index, uint32_t answer[4])
{
    __cpuid_count(function, index, answer[0], answer[1], answer[2], answer[3]);
}
