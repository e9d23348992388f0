// SPDX-License-Identifier: GPL-2.0-only
// usleep(): the program naps, and takes it that the guests have gone on meanwhile.  Where a busy machine gave a vCPU
// no time for it, the nap goes on.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ckd_host.h"
#include "real.h"

enum { LOOKED_AT = 64, LONGEST = 50, SHARE = 10 };

// CPU time of a vCPU's thread when the nap began.
struct seen {
    const struct ckd_vcpu *vcpu;
    uint64_t ns;
};

static uint64_t ns_of(struct timespec time) { return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec; }

// The kernel's number of the clock that counts a thread's CPU time.
static clockid_t clock_of(int thread) { return (clockid_t)((~(unsigned)thread << 3) | 6); }

static bool used(const struct ckd_vcpu *vcpu, uint64_t *ns)
{
    struct timespec time;
    int thread = __atomic_load_n(&vcpu->thread, __ATOMIC_RELAXED);
    if (!thread || clock_gettime(clock_of(thread), &time))
        return false; // it has never run, or its thread has ended
    *ns = ns_of(time);
    return true;
}

// Does the thread want to run?  One that waits for something gets no time because it wants none.
static bool is_ready(const struct ckd_vcpu *vcpu)
{
    char path[64], line[128] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", __atomic_load_n(&vcpu->thread, __ATOMIC_RELAXED));
    int fd = ckd_real()->open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t bytes = ckd_real()->read(fd, line, sizeof line - 1);
    ckd_real()->close(fd);
    const char *state = bytes > 0 ? strrchr(line, ')') : NULL; // "17 (name) R ..."
    return state && state[1] == ' ' && state[2] == 'R';
}

static size_t look(struct seen *seen)
{
    size_t count = 0;
    ckd_vms_lock();
    for (struct ckd_vm *vm = ckd_vms_next(NULL); vm; vm = ckd_vms_next(vm))
        for (uint32_t i = 0; i < ckd_load(&vm->vcpus) && count < LOOKED_AT; i++) {
            seen[count].vcpu = vm->vcpu[i];
            count += used(vm->vcpu[i], &seen[count].ns);
        }
    ckd_vms_unlock();
    return count;
}

// Is there a vCPU whose thread wants to run, and has had less than `ns` of CPU time since?
static bool one_starves(const struct seen *then, size_t count, uint64_t ns)
{
    bool starves = false;
    ckd_vms_lock();
    for (struct ckd_vm *vm = ckd_vms_next(NULL); vm; vm = ckd_vms_next(vm))
        for (uint32_t i = 0; i < ckd_load(&vm->vcpus); i++)
            for (size_t j = 0; j < count; j++) {
                uint64_t now;
                if (vm->vcpu[i] == then[j].vcpu && used(vm->vcpu[i], &now) && now - then[j].ns < ns)
                    starves = starves || is_ready(vm->vcpu[i]);
            }
    ckd_vms_unlock();
    return starves;
}

__attribute__((visibility("default"))) int usleep(useconds_t us)
{
    struct timespec nap = {us / 1000000, us % 1000000 * 1000};
    struct seen then[LOOKED_AT];
    size_t count = look(then);
    int result = nanosleep(&nap, NULL);
    for (int i = 0; result == 0 && i < LONGEST && one_starves(then, count, ns_of(nap) / SHARE); i++) {
        ckd_say_faked("usleep(): a nap goes on while a vCPU gets no time");
        result = nanosleep(&nap, NULL);
    }
    return result;
}
