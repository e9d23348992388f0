// SPDX-License-Identifier: GPL-2.0-only
// Signals and threads: a signal that is handled on a vCPU's thread makes KVM_RUN return; a handler of the program's
// runs outside the library's calls, as it runs outside a kernel's.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "ckd_objects.h"
#include "real.h"

#define OF_THREAD static __thread __attribute__((tls_model("initial-exec")))

OF_THREAD struct ckd_vcpu *current;
OF_THREAD uint32_t inside;             // calls of ours that this thread is in
OF_THREAD int cancel_state;            // the program's, while it is in one
OF_THREAD uint64_t kept;               // signals that came inside one, bit number - 1: blocked until the outermost ends
OF_THREAD siginfo_t kept_info[NSIG];
static pthread_key_t running;
static struct sigaction program[NSIG]; // what the program asked for, where ours stands in front

// No handler of the program's runs inside KVM_RUN; one that ours is not in front of may end the thread there.
static void thread_ends(void *vcpu)
{
    if (current == vcpu) {
        current = NULL;
        ckd_thread_died(vcpu);
    }
}

__attribute__((constructor)) static void make_key(void) { pthread_key_create(&running, thread_ends); }

struct ckd_vcpu *ckd_current(void) { return current; }

// The fences below keep in order what a signal's handler on this thread sees.
static void fence(void) { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

void ckd_set_current(struct ckd_vcpu *vcpu)
{
    if (vcpu)
        ckd_store(&vcpu->kick, 0);
    fence();
    current = vcpu;
    if (!vcpu)
        return;
    fence();
    // What came since the ioctl began, perhaps while it waited for the vCPU's lock, is not lost.
    if (kept)
        ckd_store(&vcpu->kick, 1);
    vcpu->touches = 0;
    pthread_setspecific(running, vcpu);
    __atomic_store_n(&vcpu->thread, gettid(), __ATOMIC_RELAXED);
}

// Faults of the program's own are not the guest's; nobody waits in KVM_RUN for one.
static bool is_fault(int number)
{
    return number == SIGILL || number == SIGFPE || number == SIGTRAP;
}

// Threads that the library starts are no threads of the program's: as a kernel's, they handle no signal.
__attribute__((visibility("default"))) int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                                          void *(*body)(void *), void *argument)
{
    sigset_t set, before;
    if (!inside)
        return ckd_real()->pthread_create(thread, attributes, body, argument);
    sigfillset(&set);
    for (int number = 1; number < NSIG; number++)
        if (is_fault(number) || number == SIGSEGV || number == SIGBUS)
            sigdelset(&set, number);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    int result = ckd_real()->pthread_create(thread, attributes, body, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

// ---- handlers wait until the thread is outside ------------------------------------------------

static bool is_in(uint64_t set, int number) { return set >> (number - 1) & 1; }

void ckd_enter(void)
{
    // A thread that is cancelled does not end at a wait of ours, either.
    if (!inside)
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    inside++;
    fence();
}

// A signal is sent again as it came, so that the kernel calls the handler as the program wished: with its mask, on
// its stack.  While some are kept, handle() keeps all others, too, so that none overtakes and jumps over this.
static void send_what_was_kept(void)
{
    int before = errno;
    sigset_t all, mask;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    for (int number = 1; number < NSIG; number++)
        if (is_in(kept, number)) {
            // No room in the kernel's queue: it comes without what was said with it.
            if (syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), number, &kept_info[number]))
                syscall(SYS_tgkill, getpid(), gettid(), number);
            sigdelset(&mask, number);
        }
    kept = 0;
    pthread_sigmask(SIG_SETMASK, &mask, NULL); // the handlers run here, and need not return
    errno = before;
}

void ckd_leave(void)
{
    int state = cancel_state;
    fence();
    inside--;
    fence();
    if (inside)
        return;
    if (kept)
        send_what_was_kept();
    pthread_setcancelstate(state, NULL);
}

void ckd_forget_kept(void)
{
    sigset_t mask;
    sigemptyset(&mask);
    for (int number = 1; number < NSIG; number++)
        if (is_in(kept, number))
            sigaddset(&mask, number);
    if (!kept)
        return;
    kept = 0;
    pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
}

static void keep(int number, const siginfo_t *info, ucontext_t *frame)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL); // until this returns: none is kept behind the loop's back
    kept_info[number] = *info;
    kept |= 1ull << (number - 1);
    // The next ones of its kind wait in the kernel.
    for (int each = 1; each < NSIG; each++)
        if (is_in(kept, each))
            sigaddset(&frame->uc_sigmask, each);
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
    if (inside || kept) {
        keep(number, info, frame);
        return;
    }
    struct sigaction wish = program[number];
    if (wish.sa_flags & SA_RESETHAND) {
        struct sigaction none;
        memset(&none, 0, sizeof none);
        none.sa_handler = SIG_DFL;
        ckd_real()->sigaction(number, &none, NULL);
    }
    if (wish.sa_flags & SA_SIGINFO)
        wish.sa_sigaction(number, info, frame);
    else if (wish.sa_handler != SIG_IGN && wish.sa_handler != SIG_DFL)
        wish.sa_handler(number);
}

static bool is_handler(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) || (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
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
            // A signal that is kept comes twice, so handle() takes the handler away itself.
            given.sa_flags = (action->sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
        }
    }
    int result = ckd_real()->sigaction(number, action ? &given : NULL, &host);
    if (result)
        program[number] = before;
    if (result == 0 && old)
        *old = host.sa_sigaction == handle && (host.sa_flags & SA_SIGINFO) ? before : host;
    return result;
}

static sighandler_t install(int number, sighandler_t handler, int flags)
{
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    return sigaction(number, &action, &old) ? SIG_ERR : old.sa_handler;
}

__attribute__((visibility("default"))) sighandler_t signal(int number, sighandler_t handler)
{
    return install(number, handler, SA_RESTART);
}

// What signal() is where a program asks the compiler for standard C alone.
__attribute__((visibility("default"))) sighandler_t __sysv_signal(int number, sighandler_t handler)
{
    return install(number, handler, (int)SA_RESETHAND | SA_NODEFER);
}

__attribute__((visibility("default"))) sighandler_t sysv_signal(int number, sighandler_t handler)
{
    return __sysv_signal(number, handler);
}
