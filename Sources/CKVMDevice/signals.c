// SPDX-License-Identifier: GPL-2.0-only
// Signals and threads: a signal that is handled on a vCPU's thread makes KVM_RUN return; a thread that
// ends inside KVM_RUN leaves its vCPU fit for another.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ckd_objects.h"
#include "real.h"

static __thread struct ckd_vcpu *current __attribute__((tls_model("initial-exec")));
static pthread_key_t running;
static struct sigaction program[NSIG]; // what the program asked for, where ours stands in front

static void thread_ends(void *vcpu)
{
    if (current == vcpu) {
        current = NULL;
        ckd_thread_died(vcpu);
    }
}

__attribute__((constructor)) static void make_key(void) { pthread_key_create(&running, thread_ends); }

struct ckd_vcpu *ckd_current(void) { return current; }

void ckd_set_current(struct ckd_vcpu *vcpu)
{
    current = vcpu;
    if (!vcpu)
        return;
    vcpu->touches = 0;
    pthread_setspecific(running, vcpu);
    __atomic_store_n(&vcpu->thread, gettid(), __ATOMIC_RELAXED);
}

bool ckd_signal_pending(uint64_t mask)
{
    uint64_t pending = 0;
    if (syscall(SYS_rt_sigpending, &pending, sizeof pending))
        return false;
    return (pending & ~mask) != 0;
}

static void handle(int number, siginfo_t *info, void *frame)
{
    struct ckd_vcpu *vcpu = current;
    if (vcpu)
        ckd_store(&vcpu->kick, 1); // read by ckd_block() and the run loop, on this thread
    const struct sigaction *wish = &program[number];
    if (wish->sa_flags & SA_SIGINFO)
        wish->sa_sigaction(number, info, frame);
    else if (wish->sa_handler != SIG_IGN && wish->sa_handler != SIG_DFL)
        wish->sa_handler(number);
}

static bool is_handler(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) || (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

// Faults of the program's own are not the guest's; nobody waits in KVM_RUN for one.
static bool is_fault(int number)
{
    return number == SIGILL || number == SIGFPE || number == SIGTRAP;
}

__attribute__((visibility("default"))) int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    if (number == SIGSEGV || number == SIGBUS)
        return ckd_fault_action(number, action, old);
    if (number < 1 || number >= NSIG || is_fault(number))
        return ckd_real()->sigaction(number, action, old);
    struct sigaction before = program[number], given, host;
    if (action) {
        given = *action;
        if (is_handler(action)) {
            program[number] = *action;
            given.sa_sigaction = handle;
            given.sa_flags |= SA_SIGINFO;
        }
    }
    int result = ckd_real()->sigaction(number, action ? &given : NULL, &host);
    if (result)
        program[number] = before;
    if (result == 0 && old)
        *old = host.sa_sigaction == handle && (host.sa_flags & SA_SIGINFO) ? before : host;
    return result;
}

__attribute__((visibility("default"))) sighandler_t signal(int number, sighandler_t handler)
{
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    return sigaction(number, &action, &old) ? SIG_ERR : old.sa_handler;
}
