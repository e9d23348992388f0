// SPDX-License-Identifier: GPL-2.0-only
// The files of TDPMMU_KVM_EVENTS, written when the process ends: one for each VM, since a replay has one machine.
// The first is FILE, those behind it FILE.2, FILE.3, ...  FILE is that of the process which made a VM first: one that
// it forked, or that was forked beside it, has FILE.PID.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ckd_host.h"
#include "real.h"

enum { BATCH = 4096 };

// A VM whose events are written; one that was made where another had been has a file of its own.
static struct vm_file {
    uint64_t kvm;
    int fd;
} *files;
static size_t made;

static pid_t *first_process; // shared with what is forked; 0: no process has made a VM yet
static char *base;           // FILE, or FILE.PID

__attribute__((constructor)) static void share_first_process(void)
{
    ckd_read_options();
    if (!ckd_options()->events)
        return;
    void *page = ckd_real()->mmap(NULL, sizeof *first_process, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    first_process = page == MAP_FAILED ? NULL : page;
}

void ckd_recording_begins(void)
{
    pid_t none = 0;
    // Relaxed: whose number stands there first has FILE, and nothing else hangs on it.
    if (first_process)
        __atomic_compare_exchange_n(first_process, &none, getpid(), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    if (!ckd_fork_generation())
        return;
    // What a fork has copied is the parent's to write.
    struct tdpmmu_trace_event event;
    uint64_t lost;
    while (tdpmmu_trace_read(&event, 1, &lost) > 0)
        ;
}

// Where this process writes; NULL: no memory.
static char *name_base(void)
{
    char *name = NULL;
    bool first = !first_process || __atomic_load_n(first_process, __ATOMIC_RELAXED) == getpid();
    if (asprintf(&name, first ? "%s" : "%s.%d", ckd_options()->events, (int)getpid()) < 0)
        return NULL;
    if (!first)
        fprintf(stderr, "tdpmmu-kvm: another process records, too: the events of this one are in %s\n", name);
    return name;
}

static bool put(int fd, const void *bytes, size_t count)
{
    while (count) {
        ssize_t done = write(fd, bytes, count);
        if (done <= 0)
            return false;
        bytes = (const char *)bytes + done;
        count -= (size_t)done;
    }
    return true;
}

static bool put_header(int fd, uint64_t lost)
{
    struct tdpmmu_trace_file header = {.header_size = sizeof header, .event_size = sizeof(struct tdpmmu_trace_event),
                                       .lost = lost};
    memcpy(header.magic, TDPMMU_TRACE_MAGIC, sizeof header.magic);
    return put(fd, &header, sizeof header);
}

// Where the next VM's events go, or -1.
static int next_file(uint64_t kvm)
{
    struct vm_file *larger = realloc(files, (made + 1) * sizeof *files);
    char *name = NULL;
    if (!larger)
        return -1;
    files = larger;
    if (asprintf(&name, made ? "%s.%zu" : "%s", base, made + 1) < 0)
        return -1;
    int fd = ckd_real()->open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    free(name);
    if (fd >= 0 && put_header(fd, 0)) {
        files[made++] = (struct vm_file){kvm, fd};
        return fd;
    }
    if (fd >= 0)
        ckd_real()->close(fd);
    return -1;
}

// The line that ckd_mark_vm() begins a VM with.
static bool begins_vm(const struct tdpmmu_trace_event *event)
{
    return event->id == TDPMMU_TRACE_MARK && !strncmp(event->mark.text, "INFO ", 5);
}

static int file_of(const struct tdpmmu_trace_event *event)
{
    if (!begins_vm(event))
        for (size_t i = made; i-- > 0;)
            if (files[i].kvm == event->kvm)
                return files[i].fd;
    return next_file(event->kvm);
}

// Returns whether all could be written.
static bool write_all(struct tdpmmu_trace_event *events, uint64_t *lost)
{
    size_t count;
    *lost = 0;
    while ((count = tdpmmu_trace_read(events, BATCH, lost)) > 0)
        for (size_t i = 0, n; i < count; i += n) {
            // What one VM did in a row is written at once.
            for (n = 1; i + n < count && events[i + n].kvm == events[i].kvm && !begins_vm(&events[i + n]);)
                n++;
            int fd = file_of(&events[i]);
            if (fd < 0 || !put(fd, &events[i], n * sizeof *events))
                return false;
        }
    return true;
}

// Whose events were overwritten is not known: each file says how many there were.
static bool end_files(uint64_t lost)
{
    bool good = true;
    for (size_t i = 0; i < made; i++) {
        if (lost && !put_header(files[i].fd, lost))
            good = false;
        ckd_real()->close(files[i].fd);
    }
    if (made > 1)
        fprintf(stderr, "tdpmmu-kvm: there were %zu VMs: their events are in %s and %s.2 to .%zu\n", made, base,
                base, made);
    return good;
}

// What the VMs did is in the rings until now, the newest 2^18 events of each thread.  A process without a VM has
// nothing to write: one that a recorded program starts leaves the file alone.
__attribute__((destructor)) static void write_events(void)
{
    if (!ckd_options()->events || !ckd_has_recorded())
        return;
    ckd_enter();
    ckd_fd_take_all(); // as a kernel does it, so that the end of the VMs is recorded
    ckd_leave();
    base = name_base();
    struct tdpmmu_trace_event *events = malloc(BATCH * sizeof *events);
    uint64_t lost = 0;
    errno = ENOMEM;
    bool good = events && base && write_all(events, &lost);
    int error = errno;
    if (!end_files(lost) || !good)
        ckd_say("cannot write the files that TDPMMU_KVM_EVENTS names", (uint64_t)error);
    free(events);
    free(base);
}
