// SPDX-License-Identifier: GPL-2.0-only
// The host's first touch of a page.  A load or a locked OR with nothing makes the kernel map it as any access of
// the program's would; madvise() does the same, but costs half a microsecond more, of which a page that is there
// already needs nothing.  Where the touch faults, the signal's handler lets it fail, and madvise() says why.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "ckd_host.h"
#include "real.h"

// Each faults at its first instruction, if at all: 0; where it faults, 1.
__attribute__((visibility("hidden"))) int ckd_touch_read(uint64_t address), ckd_touch_write(uint64_t address),
    ckd_touch_failed(void);
__asm__(".text\n"
        ".type ckd_touch_read, @function\n"
        "ckd_touch_read:\n movb (%rdi), %al\n xorl %eax, %eax\n ret\n"
        ".type ckd_touch_write, @function\n"
        "ckd_touch_write:\n lock orb $0, (%rdi)\n xorl %eax, %eax\n ret\n"
        ".type ckd_touch_failed, @function\n"
        "ckd_touch_failed:\n movl $1, %eax\n ret\n");

static struct sigaction program[2]; // what the program asked for: SIGSEGV, SIGBUS

static struct sigaction *wish_of(int number) { return &program[number == SIGBUS]; }

// A fault of the program's own: as if this were not here.
static void pass_on(int number, siginfo_t *info, void *frame)
{
    struct sigaction wish = *wish_of(number);
    bool is_sent = info->si_code <= 0;
    if (wish.sa_flags & SA_RESETHAND)
        wish_of(number)->sa_handler = SIG_DFL;
    if (wish.sa_flags & SA_SIGINFO) {
        wish.sa_sigaction(number, info, frame);
    } else if (wish.sa_handler != SIG_DFL && wish.sa_handler != SIG_IGN) {
        wish.sa_handler(number);
    } else if (!is_sent || wish.sa_handler == SIG_DFL) {
        // The instruction faults once more, or the signal comes once more, and ends the program.
        struct sigaction none;
        memset(&none, 0, sizeof none);
        none.sa_handler = SIG_DFL;
        ckd_real()->sigaction(number, &none, NULL);
        if (is_sent)
            raise(number);
    }
}

// Guest memory changed, and nobody told the vCPU, which accesses it in place.
static void say_it_was_the_guest(int number, const siginfo_t *info)
{
    static bool said;
    char line[200];
    if (__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
        return;
    int length = snprintf(line, sizeof line,
                          "tdpmmu-kvm: %s in KVM_RUN at 0x%llx: guest memory was changed in a way that is not seen"
                          " (free(), a system call by its number: docs/KVM.md)\n",
                          number == SIGBUS ? "SIGBUS" : "SIGSEGV", (unsigned long long)info->si_addr);
    if (write(STDERR_FILENO, line, (size_t)length) < 0)
        return;
}

static void on_fault(int number, siginfo_t *info, void *frame)
{
    greg_t *rip = &((ucontext_t *)frame)->uc_mcontext.gregs[REG_RIP];
    if (*rip == (greg_t)ckd_touch_read || *rip == (greg_t)ckd_touch_write)
        *rip = (greg_t)ckd_touch_failed;
    else {
        if (info->si_code > 0 && ckd_current())
            say_it_was_the_guest(number, info);
        pass_on(number, info, frame);
    }
}

static int put_in_front(int number, const struct sigaction *wish)
{
    struct sigaction ours = *wish;
    ours.sa_sigaction = on_fault;
    ours.sa_flags = (wish->sa_flags | SA_SIGINFO) & ~SA_RESETHAND;
    return ckd_real()->sigaction(number, &ours, NULL);
}

// Before any thread of the program's.
__attribute__((constructor)) static void stand_in_front(void)
{
    for (int number = SIGBUS;; number = SIGSEGV) {
        if (!ckd_real()->sigaction(number, NULL, wish_of(number)))
            put_in_front(number, wish_of(number));
        if (number == SIGSEGV)
            return;
    }
}

int ckd_fault_action(int number, const struct sigaction *action, struct sigaction *old)
{
    struct sigaction before = *wish_of(number);
    if (action) {
        *wish_of(number) = *action;
        int result = put_in_front(number, action);
        if (result) {
            *wish_of(number) = before;
            return result;
        }
    }
    if (old)
        *old = before;
    return 0;
}

// A signal that is blocked, or whose handler is another's (by the system call itself), would end the program.
static bool may_touch(struct ckd_vcpu *vcpu)
{
    if (!vcpu->touches) {
        sigset_t blocked;
        struct sigaction segv, bus;
        bool may = !pthread_sigmask(SIG_SETMASK, NULL, &blocked) && !sigismember(&blocked, SIGSEGV) &&
                   !sigismember(&blocked, SIGBUS) && !ckd_real()->sigaction(SIGSEGV, NULL, &segv) &&
                   !ckd_real()->sigaction(SIGBUS, NULL, &bus) && segv.sa_sigaction == on_fault &&
                   bus.sa_sigaction == on_fault;
        vcpu->touches = may ? 1 : 2;
    }
    return vcpu->touches == 1;
}

int ckd_touch(uint64_t address, bool write)
{
    struct ckd_vcpu *vcpu = ckd_current();
    if (vcpu && may_touch(vcpu) && !(write ? ckd_touch_write : ckd_touch_read)(address))
        return 0;
    return ckd_populate(address, 4096, write);
}
