// SPDX-License-Identifier: GPL-2.0-only
// What programs do wrong, and what happens to them: as in a kernel, or a clear error; nothing hangs.
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest.h"

static void unknown_ioctls(void **state)
{
    (void)state;
    struct guest guest;
    char nothing[4096] = {0};
    make_guest(&guest, 0);
    assert_refused(ioctl(guest.kvm, KVM_RUN, 0), ENOTTY);
    assert_refused(ioctl(guest.kvm, KVM_CREATE_VCPU, 0), ENOTTY);
    assert_refused(ioctl(guest.kvm, _IO(KVMIO, 0xff), 0), ENOTTY);
    assert_refused(ioctl(guest.vm, KVM_CREATE_VM, 0), ENOTTY);
    assert_refused(ioctl(guest.vm, KVM_IRQ_LINE, nothing), ENOTTY);
    assert_refused(ioctl(guest.vm, KVM_CREATE_DEVICE, nothing), ENOTTY);
    assert_refused(ioctl(guest.vcpu, KVM_GET_LAPIC, nothing), ENOTTY);
    assert_refused(ioctl(guest.vcpu, KVM_GET_XSAVE, nothing), ENOTTY);
    assert_refused(ioctl(guest.vcpu, KVM_SET_USER_MEMORY_REGION, nothing), ENOTTY);
    // What is not there is not promised, either.
    assert_int_equal(ioctl(guest.kvm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE), 0);
    assert_int_equal(ioctl(guest.kvm, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE), 0);
    assert_int_equal(ioctl(guest.vm, KVM_CHECK_EXTENSION, 1 << 30), 0);
    end_guest(&guest);
}

static void bad_arguments(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    assert_refused(ioctl(guest.kvm, KVM_GET_API_VERSION, 1), EINVAL);
    assert_refused(ioctl(guest.kvm, KVM_CREATE_VM, 77), EINVAL);
    assert_refused(ioctl(guest.vm, KVM_CREATE_VCPU, 0), EEXIST);
    assert_refused(ioctl(guest.vm, KVM_CREATE_VCPU, 4096), EINVAL);
    assert_refused(ioctl(guest.vm, KVM_CREATE_VCPU, -1), EINVAL);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 1), EINVAL);
    assert_refused(ioctl(guest.vm, KVM_SET_NR_MMU_PAGES, 1), EINVAL);
    end_guest(&guest);
}

static void bad_pointers(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, KVM_MEM_LOG_DIRTY_PAGES);
    void *const nowhere[] = {NULL, (void *)8, (void *)(1ul << 46), (void *)~0ul};
    for (size_t i = 0; i < sizeof nowhere / sizeof nowhere[0]; i++) {
        assert_refused(ioctl(guest.vcpu, KVM_GET_REGS, nowhere[i]), EFAULT);
        assert_refused(ioctl(guest.vcpu, KVM_SET_SREGS, nowhere[i]), EFAULT);
        assert_refused(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, nowhere[i]), EFAULT);
        assert_refused(ioctl(guest.kvm, KVM_GET_SUPPORTED_CPUID, nowhere[i]), EFAULT);
        struct kvm_dirty_log log = {.dirty_bitmap = nowhere[i]};
        assert_refused(ioctl(guest.vm, KVM_GET_DIRTY_LOG, &log), EFAULT);
    }
    end_guest(&guest);
}

static void wrong_structs(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    struct kvm_userspace_memory_region region = region_of(&guest, 0);
    region.guest_phys_addr = MEMORY;
    region.slot = 1;
    region.memory_size = 4095;
    assert_refused(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), EINVAL);
    region.memory_size = 4096;
    region.flags = 1u << 30;
    assert_refused(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), EINVAL);
    region.flags = 0;
    region.guest_phys_addr = 0;
    assert_refused(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), EEXIST);
    region.slot = 40000;
    assert_refused(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), EINVAL);
    region.slot = 5u << 16;
    assert_refused(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), EINVAL);

    struct kvm_sregs sregs;
    assert_int_equal(ioctl(guest.vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.efer = 0x400; // active without being enabled
    assert_refused(ioctl(guest.vcpu, KVM_SET_SREGS, &sregs), EINVAL);
    sregs.efer = 0;
    sregs.cr0 = 1ull << 40;
    assert_refused(ioctl(guest.vcpu, KVM_SET_SREGS, &sregs), EINVAL);

    struct kvm_cpuid2 cpuid = {.nent = 1u << 20};
    assert_refused(ioctl(guest.vcpu, KVM_SET_CPUID2, &cpuid), E2BIG);
    cpuid.nent = 0;
    assert_refused(ioctl(guest.kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), E2BIG);
    struct kvm_enable_cap cap = {.cap = 9999};
    assert_refused(ioctl(guest.vm, KVM_ENABLE_CAP, &cap), EINVAL);
    struct kvm_mp_state mp_state = {77};
    assert_refused(ioctl(guest.vcpu, KVM_SET_MP_STATE, &mp_state), EINVAL);
    uint32_t mask[3] = {4, 0, 0};
    assert_refused(ioctl(guest.vcpu, KVM_SET_SIGNAL_MASK, mask), EINVAL);
    struct kvm_dirty_log log = {.slot = 0, .dirty_bitmap = guest.memory};
    assert_refused(ioctl(guest.vm, KVM_GET_DIRTY_LOG, &log), ENOENT);
    assert_refused(ioctl(guest.vm, KVM_RESET_DIRTY_RINGS, 0), EINVAL);
    assert_true(mmap(NULL, 4096, PROT_READ, MAP_SHARED, guest.vcpu, 64 * 4096) == MAP_FAILED);
    end_guest(&guest);
}

// Numbers that fit into no variable of whoever takes them for small.
static void numbers_out_of_range(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    struct kvm_enable_cap cap = {.cap = 1u << 31};
    assert_refused(ioctl(guest.vm, KVM_ENABLE_CAP, &cap), EINVAL);
    memset(&cap, 0xff, sizeof cap);
    assert_refused(ioctl(guest.vm, KVM_ENABLE_CAP, &cap), EINVAL);
    int idle = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);
    assert_true(idle >= 0);
    uint64_t bits = ~0ull;
    assert_int_equal(pread(idle, &bits, 8, 1l << 62), 0);
    assert_refused(pread(idle, &bits, 8, -8), EINVAL);
    assert_refused(pwrite(idle, &bits, 8, -8), EINVAL);
    assert_refused(pwrite(idle, &bits, 8, ((1l << 52) - 64) / 8), ENXIO);
    close(idle);
    end_guest(&guest);
}

static void descriptors_that_are_no_files(void **state)
{
    (void)state;
    struct guest guest;
    char bytes[8] = {0};
    make_guest(&guest, 0);
    const int descriptors[] = {guest.kvm, guest.vm, guest.vcpu};
    for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++) {
        assert_refused(write(descriptors[i], bytes, sizeof bytes), EINVAL);
        assert_refused(read(descriptors[i], bytes, sizeof bytes), EINVAL);
        assert_refused(ftruncate(descriptors[i], 0), EINVAL);
        assert_refused(syscall(SYS_ftruncate, descriptors[i], 1l << 20), EPERM); // past the library
    }
    // kvm_run's pages stay, whatever way is taken.
    assert_refused(syscall(SYS_ftruncate, guest.vcpu, 0), EPERM);
    GIVE(&guest, HLT);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    end_guest(&guest);
}

static void ring_unmapped_too_often(void **state)
{
    (void)state;
    struct guest guest;
    enum { RING = 65536 };
    guest.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    guest.vm = ioctl(guest.kvm, KVM_CREATE_VM, 0);
    struct kvm_enable_cap cap = {.cap = KVM_CAP_DIRTY_LOG_RING, .args = {RING}};
    assert_int_equal(ioctl(guest.vm, KVM_ENABLE_CAP, &cap), 0);
    guest.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(guest.memory != MAP_FAILED);
    struct kvm_userspace_memory_region region = region_of(&guest, KVM_MEM_LOG_DIRTY_PAGES);
    assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
    guest.run_bytes = (size_t)ioctl(guest.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    guest.vcpu = add_vcpu(&guest, 0, &guest.run);
    assert_true(mmap(guest.memory + DATA, RING, PROT_READ, MAP_SHARED | MAP_FIXED, guest.vcpu, 64 * 4096) == MAP_FAILED);
    assert_int_equal(errno, EOPNOTSUPP);
    uint8_t *ring = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_SHARED, guest.vcpu, 64 * 4096);
    assert_true(ring != MAP_FAILED);
    assert_int_equal(munmap(ring + 4096, 4096), 0); // a part of it stays
    for (int i = 0; i < 4; i++)
        assert_int_equal(munmap(ring, RING), 0);
    GIVE(&guest, STORE_DATA, HLT);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_HLT);
    end_guest(&guest);
}

static void closed_in_the_middle(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE_REAL(&guest, HLT, HLT);
    close(guest.kvm);
    close(guest.vm); // its vCPU keeps it
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_HLT);
    int other = dup(guest.vcpu);
    close(guest.vcpu);
    assert_int_equal(ioctl(other, KVM_RUN, 0), 0);
    close(other);
    assert_refused(ioctl(other, KVM_RUN, 0), EBADF);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_HLT); // the mapping outlives it
    munmap(guest.run, guest.run_bytes);
    munmap(guest.memory, MEMORY);
}

static int status_of(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

// Runs in the child: no assertion of the parent's test may be made there.
static int runs_a_guest(void)
{
    struct guest guest;
    make_guest(&guest, 0);
    GIVE_REAL(&guest, HLT);
    int result = ioctl(guest.vcpu, KVM_RUN, 0) == 0 && guest.run->exit_reason == KVM_EXIT_HLT;
    end_guest(&guest);
    return result;
}

static void forked(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE_REAL(&guest, HLT, HLT);
    pid_t child = fork();
    if (child == 0) {
        struct kvm_regs regs;
        errno = 0;
        if (ioctl(guest.vcpu, KVM_GET_REGS, &regs) != -1 || errno != EIO)
            _exit(1);
        if (ioctl(guest.vm, KVM_CREATE_VCPU, 7) != -1 || errno != EIO)
            _exit(2);
        close(guest.vcpu);
        close(guest.vm);
        _exit(runs_a_guest() ? 0 : 3);
    }
    assert_int_equal(status_of(child), 0);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_HLT);
    end_guest(&guest);
}

static const char *program;

static void executed(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    assert_true(fcntl(guest.vm, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(guest.vcpu, F_GETFD) & FD_CLOEXEC);
    pid_t child = fork();
    if (child == 0) {
        char number[12];
        snprintf(number, sizeof number, "%d", guest.vcpu);
        execl(program, program, "executed", number, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(status_of(child), 0);
    end_guest(&guest);
}

static int after_exec(const char *number)
{
    errno = 0;
    if (ioctl(atoi(number), KVM_RUN, 0) != -1 || errno != EBADF)
        return 1;
    return runs_a_guest() ? 0 : 2;
}

// ---- threads and signals -----------------------------------------------------------------

static void nothing(int number) { (void)number; }
static void leave_thread(int number)
{
    (void)number;
    pthread_exit(NULL);
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    assert_int_equal(sigaction(number, &action, NULL), 0);
    struct sigaction found;
    assert_int_equal(sigaction(number, NULL, &found), 0);
    assert_true(found.sa_handler == handler); // ours is not to be seen
}

struct runner {
    struct guest *guest;
    pthread_t thread;
    int result, error;
    volatile int done;
};

static void *run_guest(void *argument)
{
    struct runner *runner = argument;
    runner->result = ioctl(runner->guest->vcpu, KVM_RUN, 0);
    runner->error = errno;
    __atomic_store_n(&runner->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

// The guest counts in its memory, so that it is known to run.
#define COUNT_FOREVER 0x48, 0xff, 0x07, 0xeb, 0xfb /* again: inc qword [rdi]; jmp again */

static void wait_until_it_counts(struct guest *guest)
{
    volatile uint64_t *count = (uint64_t *)(guest->memory + DATA);
    while (__atomic_load_n(count, __ATOMIC_ACQUIRE) < 1000)
        usleep(1000);
}

static void kicked_out_of_a_loop(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, COUNT_FOREVER);
    handle(SIGUSR1, nothing);
    struct runner runner = {.guest = &guest};
    assert_int_equal(pthread_create(&runner.thread, NULL, run_guest, &runner), 0);
    wait_until_it_counts(&guest);
    pthread_kill(runner.thread, SIGUSR1);
    pthread_join(runner.thread, NULL);
    assert_int_equal(runner.result, -1);
    assert_int_equal(runner.error, EINTR);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_INTR);
    end_guest(&guest);
}

static void *run_with_signal_blocked(void *argument)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    run_guest(argument);
    int number = 0;
    struct timespec none = {0, 0};
    number = sigtimedwait(&set, NULL, &none); // it is still there
    return (void *)(intptr_t)number;
}

static void kicked_by_a_blocked_signal(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, COUNT_FOREVER);
    uint32_t mask[3] = {8, 0, 0}; // in KVM_RUN nothing is blocked
    assert_int_equal(ioctl(guest.vcpu, KVM_SET_SIGNAL_MASK, mask), 0);
    struct runner runner = {.guest = &guest};
    assert_int_equal(pthread_create(&runner.thread, NULL, run_with_signal_blocked, &runner), 0);
    wait_until_it_counts(&guest);
    pthread_kill(runner.thread, SIGUSR2);
    void *number;
    pthread_join(runner.thread, &number);
    assert_int_equal(runner.result, -1);
    assert_int_equal(runner.error, EINTR);
    assert_int_equal((intptr_t)number, SIGUSR2);
    end_guest(&guest);
}

// A signal that is there before the guest has run leaves the registers as they were given.
static void kicked_before_it_runs(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, HLT);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    uint32_t mask[3] = {8, 0, 0};
    assert_int_equal(ioctl(guest.vcpu, KVM_SET_SIGNAL_MASK, mask), 0);
    pthread_kill(pthread_self(), SIGUSR2);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EINTR);
    struct kvm_regs regs;
    assert_int_equal(ioctl(guest.vcpu, KVM_GET_REGS, &regs), 0);
    assert_int_equal(regs.rip, CODE);
    struct timespec none = {0, 0};
    assert_int_equal(sigtimedwait(&set, NULL, &none), SIGUSR2);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_HLT);
    end_guest(&guest);
}

static void immediate_exit(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, FOREVER);
    guest.run->exit_reason = 1234;
    guest.run->immediate_exit = 1;
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EINTR);
    assert_int_equal(guest.run->exit_reason, 1234);
    end_guest(&guest);
}

static void thread_dies_inside(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, COUNT_FOREVER);
    handle(SIGUSR1, leave_thread);
    struct runner runner = {.guest = &guest};
    assert_int_equal(pthread_create(&runner.thread, NULL, run_guest, &runner), 0);
    wait_until_it_counts(&guest);
    pthread_kill(runner.thread, SIGUSR1);
    pthread_join(runner.thread, NULL);
    assert_false(runner.done);
    // Slots can be changed, which waits for vCPUs, and the vCPU runs in another thread.
    struct kvm_userspace_memory_region region = region_of(&guest, KVM_MEM_LOG_DIRTY_PAGES);
    assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
    GIVE(&guest, HLT);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_HLT);
    end_guest(&guest);
}

// ---- handlers that do not simply return, or that do what the interrupted call does ------------

static struct guest *interrupted;
static sigjmp_buf out_of_it;
static volatile sig_atomic_t handlers;

// The next one that runs `code`, which counts, is interrupted by `handler` once it counts.
static void *interrupt_soon(void *thread)
{
    wait_until_it_counts(interrupted);
    pthread_kill(*(pthread_t *)thread, SIGUSR1);
    return NULL;
}

static void assert_halts(struct guest *guest)
{
    GIVE(guest, HLT);
    assert_int_equal(ioctl(guest->vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest->run->exit_reason, KVM_EXIT_HLT);
}

static void jump_out(int number)
{
    (void)number;
    siglongjmp(out_of_it, 1);
}

static void handler_jumps_out(void **state)
{
    (void)state;
    struct guest guest;
    pthread_t self = pthread_self(), other;
    make_guest(&guest, 0);
    GIVE(&guest, COUNT_FOREVER);
    handle(SIGUSR1, jump_out);
    interrupted = &guest;
    if (!sigsetjmp(out_of_it, 1)) {
        assert_int_equal(pthread_create(&other, NULL, interrupt_soon, &self), 0);
        ioctl(guest.vcpu, KVM_RUN, 0);
        fail();
    }
    pthread_join(other, NULL);
    assert_halts(&guest);
    end_guest(&guest);
}

static int rip_is_code;

static void look_at_registers(int number)
{
    (void)number;
    struct kvm_regs regs;
    rip_is_code = ioctl(interrupted->vcpu, KVM_GET_REGS, &regs) == 0 && regs.rip - CODE < 16;
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    rip_is_code += sigismember(&blocked, SIGHUP) && sigismember(&blocked, SIGUSR1);
}

// As in a kernel, the vCPU is outside KVM_RUN by then, and the handler has the mask that it asked for, once.
static void handler_uses_the_vcpu(void **state)
{
    (void)state;
    struct guest guest;
    pthread_t self = pthread_self(), other;
    struct sigaction action = {.sa_handler = look_at_registers, .sa_flags = SA_RESETHAND}, found;
    sigset_t blocked;
    make_guest(&guest, 0);
    GIVE(&guest, COUNT_FOREVER);
    sigaddset(&action.sa_mask, SIGHUP);
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    interrupted = &guest;
    assert_int_equal(pthread_create(&other, NULL, interrupt_soon, &self), 0);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EINTR);
    pthread_join(other, NULL);
    assert_int_equal(rip_is_code, 2);
    assert_int_equal(sigaction(SIGUSR1, NULL, &found), 0);
    assert_true(found.sa_handler == SIG_DFL);
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    assert_false(sigismember(&blocked, SIGUSR1) || sigismember(&blocked, SIGHUP));
    assert_halts(&guest);
    end_guest(&guest);
}

// signal() of programs in standard C: it is taken away as its handler runs.
static void kicked_by_a_handler_for_once(void **state)
{
    (void)state;
    struct guest guest;
    pthread_t self = pthread_self(), other;
    make_guest(&guest, 0);
    GIVE(&guest, COUNT_FOREVER);
    assert_true(sysv_signal(SIGUSR1, nothing) != SIG_ERR);
    interrupted = &guest;
    assert_int_equal(pthread_create(&other, NULL, interrupt_soon, &self), 0);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EINTR);
    pthread_join(other, NULL);
    assert_true(signal(SIGUSR1, SIG_DFL) == SIG_DFL);
    end_guest(&guest);
}

static int second_thread;

static void *run_guest_second(void *argument)
{
    __atomic_store_n(&second_thread, gettid(), __ATOMIC_RELEASE);
    return run_guest(argument);
}

static char state_of(int thread)
{
    char path[64], line[128] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    return strrchr(line, ')')[2];
}

// The second one waits for the vCPU inside its KVM_RUN, where nothing else sleeps.  A signal that comes before its
// turn is not lost.
static void kicked_while_it_waits(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, COUNT_FOREVER);
    handle(SIGUSR1, nothing);
    struct runner first = {.guest = &guest}, second = {.guest = &guest};
    second_thread = 0;
    assert_int_equal(pthread_create(&first.thread, NULL, run_guest, &first), 0);
    wait_until_it_counts(&guest);
    assert_int_equal(pthread_create(&second.thread, NULL, run_guest_second, &second), 0);
    while (!__atomic_load_n(&second_thread, __ATOMIC_ACQUIRE) || state_of(second_thread) != 'S')
        usleep(1000);
    pthread_kill(second.thread, SIGUSR1);
    while (state_of(second_thread) != 'S') // it has taken note
        usleep(1000);
    pthread_kill(first.thread, SIGUSR1);
    pthread_join(first.thread, NULL);
    pthread_join(second.thread, NULL);
    assert_int_equal(first.error, EINTR);
    assert_int_equal(second.result, -1);
    assert_int_equal(second.error, EINTR);
    end_guest(&guest);
}

static void unmap_something(int number)
{
    (void)number;
    handlers++;
    munmap((void *)(uint64_t)NOTHING, 4096);
}

static void *interrupt_again_and_again(void *thread)
{
    while (handlers < 300) {
        pthread_kill(*(pthread_t *)thread, SIGUSR1);
        sched_yield();
    }
    return NULL;
}

static void handler_changes_memory(void **state)
{
    (void)state;
    struct guest guest;
    pthread_t self = pthread_self(), other;
    make_guest(&guest, 0);
    handle(SIGUSR1, unmap_something);
    handlers = 0;
    assert_int_equal(pthread_create(&other, NULL, interrupt_again_and_again, &self), 0);
    while (handlers < 300) {
        assert_int_equal(mprotect(guest.memory + DATA, 4096, PROT_READ), 0);
        assert_int_equal(mprotect(guest.memory + DATA, 4096, PROT_READ | PROT_WRITE), 0);
    }
    pthread_join(other, NULL);
    handle(SIGUSR1, nothing);
    assert_halts(&guest);
    end_guest(&guest);
}

// ---- guests -----------------------------------------------------------------------------------

static void triple_fault(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, 0x0f, 0x0b); // ud2, and no IDT
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_SHUTDOWN);
    end_guest(&guest);
}

static void no_memory_for_code(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, 0xff, 0xe6); // jmp rsi
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_INTERNAL_ERROR);
    struct kvm_regs regs;
    assert_int_equal(ioctl(guest.vcpu, KVM_GET_REGS, &regs), 0);
    assert_int_equal(regs.rip, NOTHING);
    end_guest(&guest);
}

// More than kvm_run has room for, loaded and stored.
static void too_much_of_a_device(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, 0xdd, 0x36); // fnsave [rsi]
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_INTERNAL_ERROR);
    GIVE(&guest, 0xdd, 0x26); // frstor [rsi]
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_INTERNAL_ERROR);
    GIVE(&guest, HLT);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_HLT);
    end_guest(&guest);
}

static void memory_goes_away(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, LOAD_DATA, HLT, LOAD_DATA, HLT);
    guest.memory[DATA] = 7;
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_HLT);
    assert_int_equal(munmap(guest.memory + DATA, 4096), 0);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EFAULT);
    end_guest(&guest);
}

static void memory_becomes_read_only(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, STORE_DATA, HLT, STORE_DATA, HLT, LOAD_DATA, HLT);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.memory[DATA], 0x5a);
    guest.memory[DATA] = 1;
    assert_int_equal(mprotect(guest.memory + DATA, 4096, PROT_READ), 0);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EFAULT);
    assert_int_equal(guest.memory[DATA], 1);
    assert_int_equal(mprotect(guest.memory + DATA, 4096, PROT_READ | PROT_WRITE), 0);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.memory[DATA], 0x5a);
    end_guest(&guest);
}

// A file under the guest that has become too short: SIGBUS for who touches it.
static void file_gets_shorter(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    int file = memfd_create("memory", MFD_CLOEXEC);
    assert_true(file >= 0);
    assert_true(mmap(guest.memory + DATA, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) != MAP_FAILED);
    GIVE(&guest, STORE_DATA, HLT);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EFAULT);
    assert_int_equal(ftruncate(file, 4096), 0);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.memory[DATA], 0x5a);
    close(file);
    end_guest(&guest);
}

// Whoever blocks a fault's signal dies of the fault, but a guest's memory is not the program's fault.
static void memory_goes_away_while_its_signal_is_blocked(void **state)
{
    (void)state;
    struct guest guest;
    sigset_t faults, before;
    sigemptyset(&faults);
    sigaddset(&faults, SIGSEGV);
    sigaddset(&faults, SIGBUS);
    make_guest(&guest, 0);
    GIVE(&guest, LOAD_DATA, HLT);
    assert_int_equal(munmap(guest.memory + DATA, 4096), 0);
    pthread_sigmask(SIG_BLOCK, &faults, &before);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EFAULT);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EFAULT);
    end_guest(&guest);
}

// Memory that tells before it drops pages, and waits until that is read: so a call is known to be in its middle.
struct dropping {
    void *memory;
    size_t bytes;
    int teller;
    pthread_t thread;
};

static void *drop(void *argument)
{
    struct dropping *dropping = argument;
    return (void *)(intptr_t)madvise(dropping->memory, dropping->bytes, MADV_DONTNEED);
}

static bool begin_to_drop(struct dropping *dropping)
{
    dropping->teller = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMOVE};
    if (dropping->teller < 0 || ioctl(dropping->teller, UFFDIO_API, &api))
        return false;
    struct uffdio_register range = {.range = {(uint64_t)dropping->memory, dropping->bytes},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    assert_int_equal(ioctl(dropping->teller, UFFDIO_REGISTER, &range), 0);
    assert_int_equal(pthread_create(&dropping->thread, NULL, drop, dropping), 0);
    struct pollfd waits = {.fd = dropping->teller, .events = POLLIN};
    assert_int_equal(poll(&waits, 1, -1), 1);
    return true;
}

static void end_dropping(struct dropping *dropping)
{
    struct uffd_msg message;
    assert_int_equal(read(dropping->teller, &message, sizeof message), sizeof message);
    assert_int_equal(message.event, UFFD_EVENT_REMOVE);
    void *result;
    pthread_join(dropping->thread, &result);
    assert_null(result);
    close(dropping->teller);
}

// Slots that go, or come, while the host's pages are going away: the guest runs when they have gone.
static void slots_change_while_memory_does(void **state)
{
    (void)state;
    for (int comes = 0; comes < 2; comes++) {
        struct guest guest;
        make_guest(&guest, 0);
        struct kvm_userspace_memory_region region = region_of(&guest, 0), none = region;
        none.memory_size = 0;
        if (comes)
            assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &none), 0);
        struct dropping dropping = {.memory = guest.memory + DATA, .bytes = 1 << 20};
        if (!begin_to_drop(&dropping)) {
            print_message("skipped: no userfaultfd that tells of removals: %s\n", strerror(errno));
            skip();
        }
        assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, comes ? &region : &none), 0);
        end_dropping(&dropping);
        if (!comes)
            assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
        GIVE(&guest, STORE_DATA, HLT);
        assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
        assert_int_equal(guest.run->exit_reason, KVM_EXIT_HLT);
        end_guest(&guest);
    }
}

// ---- the program's own faults -------------------------------------------------------------------

static sigjmp_buf out;
static void *volatile faulted_at;

static void leave_fault(int number, siginfo_t *info, void *frame)
{
    (void)number, (void)frame;
    faulted_at = info->si_addr;
    siglongjmp(out, 1);
}

static void own_faults_are_handled(void **state)
{
    (void)state;
    struct sigaction mine = {.sa_sigaction = leave_fault, .sa_flags = SA_SIGINFO}, before, found;
    volatile char *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(sigaction(SIGSEGV, &mine, &before), 0);
    assert_int_equal(sigaction(SIGSEGV, NULL, &found), 0);
    assert_true(found.sa_sigaction == leave_fault);
    for (int i = 0; i < 3; i++) {
        faulted_at = NULL;
        if (!sigsetjmp(out, 1))
            nowhere[8 * i] = 1;
        assert_ptr_equal(faulted_at, nowhere + 8 * i);
    }
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    munmap((void *)nowhere, 4096);
}

static int *volatile nothing_there = (int *)8;

// How a child ends that meets `number`, sent or by a fault, with this handler: 0, or the signal.
static int end_by(int number, void (*handler)(int), bool sent)
{
    pid_t child = fork();
    if (child == 0) {
        signal(number, handler);
        if (sent)
            raise(number);
        else
            *nothing_there = 1;
        _exit(0);
    }
    int status = status_of(child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static void own_faults_end_the_program(void **state)
{
    (void)state;
    assert_int_equal(end_by(SIGSEGV, SIG_DFL, false), SIGSEGV);
    assert_int_equal(end_by(SIGSEGV, SIG_IGN, false), SIGSEGV);
    assert_int_equal(end_by(SIGSEGV, SIG_DFL, true), SIGSEGV);
    assert_int_equal(end_by(SIGBUS, SIG_DFL, true), SIGBUS);
    assert_int_equal(end_by(SIGBUS, SIG_IGN, true), 0);
    assert_int_equal(end_by(SIGSEGV, nothing, true), 0);
}

static void not_runnable(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, HLT);
    struct kvm_mp_state waits = {KVM_MP_STATE_UNINITIALIZED};
    assert_int_equal(ioctl(guest.vcpu, KVM_SET_MP_STATE, &waits), 0);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EAGAIN);
    end_guest(&guest);
}

int main(int count, char **arguments)
{
    program = arguments[0];
    if (count == 3)
        return after_exec(arguments[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_ioctls), cmocka_unit_test(bad_arguments),
        cmocka_unit_test(bad_pointers), cmocka_unit_test(wrong_structs),
        cmocka_unit_test(numbers_out_of_range), cmocka_unit_test(descriptors_that_are_no_files),
        cmocka_unit_test(ring_unmapped_too_often), cmocka_unit_test(slots_change_while_memory_does),
        cmocka_unit_test(closed_in_the_middle), cmocka_unit_test(forked),
        cmocka_unit_test(executed), cmocka_unit_test(kicked_out_of_a_loop),
        cmocka_unit_test(kicked_by_a_blocked_signal), cmocka_unit_test(immediate_exit),
        cmocka_unit_test(kicked_before_it_runs),
        cmocka_unit_test(thread_dies_inside), cmocka_unit_test(handler_jumps_out),
        cmocka_unit_test(handler_uses_the_vcpu), cmocka_unit_test(kicked_while_it_waits),
        cmocka_unit_test(kicked_by_a_handler_for_once),
        cmocka_unit_test(handler_changes_memory), cmocka_unit_test(triple_fault),
        cmocka_unit_test(no_memory_for_code), cmocka_unit_test(too_much_of_a_device),
        cmocka_unit_test(memory_goes_away),
        cmocka_unit_test(memory_becomes_read_only), cmocka_unit_test(not_runnable),
        cmocka_unit_test(file_gets_shorter), cmocka_unit_test(memory_goes_away_while_its_signal_is_blocked),
        cmocka_unit_test(own_faults_are_handled), cmocka_unit_test(own_faults_end_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
