// SPDX-License-Identifier: GPL-2.0-only
// The ways in which a program opens, closes, reads and maps: each is seen, or does no harm.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest.h"

// What the C library's headers call where _FORTIFY_SOURCE is on.
extern int __open_2(const char *path, int flags), __open64_2(const char *path, int flags);
extern int __openat_2(int folder, const char *path, int flags), __openat64_2(int folder, const char *path, int flags);
extern ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t room);
extern ssize_t __pread64_chk(int fd, void *buffer, size_t bytes, off_t offset, size_t room);

static int status_of(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

// ---- opening -----------------------------------------------------------------------

// The host may have a /dev/kvm, too: behind one of ours is a file in memory.
static void is_the_device(int fd)
{
    char link[64], file[64] = "";
    assert_true(fd >= 0);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    assert_true(readlink(link, file, sizeof file - 1) > 0);
    assert_non_null(strstr(file, "memfd:kvm"));
    assert_int_equal(ioctl(fd, KVM_GET_API_VERSION, 0), 12);
    close(fd);
}

static void opened(void **state)
{
    (void)state;
    is_the_device(open("/dev/kvm", O_RDWR));
    is_the_device(open64("/dev/kvm", O_RDWR));
    is_the_device(openat(AT_FDCWD, "/dev/kvm", O_RDWR));
    is_the_device(openat64(AT_FDCWD, "/dev/kvm", O_RDWR));
    is_the_device(__open_2("/dev/kvm", O_RDWR));
    is_the_device(__open64_2("/dev/kvm", O_RDWR));
    is_the_device(__openat_2(AT_FDCWD, "/dev/kvm", O_RDWR));
    is_the_device(__openat64_2(AT_FDCWD, "/dev/kvm", O_RDWR));
    assert_int_equal(access("/dev/kvm", F_OK), 0);
    assert_int_equal(access("/dev/kvm", R_OK | W_OK), 0);
    assert_int_equal(faccessat(AT_FDCWD, "/dev/kvm", R_OK | W_OK, AT_EACCESS), 0);
    assert_refused(access("/dev/kvm", X_OK), EACCES);
    assert_refused(access("/dev/kvm", 1 << 30), EINVAL);
    assert_refused(__open_2("/nowhere", O_RDONLY), ENOENT);
    assert_refused(access("/nowhere", R_OK), ENOENT);
}

// The number of an ioctl in an int: its sign is in the upper half of what the call takes.
static void sign_in_the_number(void **state)
{
    (void)state;
    struct guest guest;
    struct kvm_regs regs;
    make_guest(&guest, 0);
    volatile int number = (int)KVM_GET_REGS;
    assert_true(number < 0);
    assert_int_equal(ioctl(guest.vcpu, (unsigned long)number, &regs), 0);
    end_guest(&guest);
}

// ---- closing ----------------------------------------------------------------------------

// The number of a vCPU's descriptor that was closed belongs to another file: it is none of a vCPU's any more.
static void becomes_another_file(int vcpu)
{
    struct kvm_regs regs;
    char byte;
    int file = open("/proc/self/cmdline", O_RDONLY);
    assert_int_equal(file, vcpu);
    assert_refused(ioctl(file, KVM_GET_REGS, &regs), ENOTTY);
    assert_int_equal(read(file, &byte, 1), 1);
    close(file);
}

static void closed_in_a_range(void **state)
{
    (void)state;
    struct guest guest;
    struct kvm_regs regs;
    make_guest(&guest, 0);
    assert_int_equal(close_range((unsigned)guest.vcpu, (unsigned)guest.vcpu, CLOSE_RANGE_CLOEXEC), 0);
    assert_int_equal(ioctl(guest.vcpu, KVM_GET_REGS, &regs), 0); // it is not closed yet
    assert_int_equal(close_range((unsigned)guest.vcpu, (unsigned)guest.vcpu, 0), 0);
    assert_refused(ioctl(guest.vcpu, KVM_GET_REGS, &regs), EBADF);
    becomes_another_file(guest.vcpu);
    end_guest(&guest);
}

static void closed_as_a_stream(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    FILE *stream = fdopen(guest.vcpu, "r");
    assert_non_null(stream);
    assert_int_equal(fclose(stream), 0);
    becomes_another_file(guest.vcpu);
    end_guest(&guest);
}

static void closed_by_the_call_itself(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    assert_int_equal(syscall(SYS_close, guest.vcpu), 0);
    becomes_another_file(guest.vcpu);
    end_guest(&guest);
}

static void closed_from_there_on(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    pid_t child = fork();
    if (child == 0) {
        int kvm = open("/dev/kvm", O_RDWR);
        closefrom(kvm);
        int file = open("/proc/self/cmdline", O_RDONLY);
        _exit(file == kvm && ioctl(file, KVM_GET_API_VERSION, 0) == -1 && errno == ENOTTY ? 0 : 1);
    }
    assert_int_equal(status_of(child), 0);
    end_guest(&guest);
}

// A child of vfork() has descriptors of its own in its parent's memory.
static void closed_in_a_child_that_shares_memory(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, HLT);
    pid_t child = vfork();
    if (child == 0) {
        close(guest.vcpu);
        dup2(guest.kvm, guest.vm);
        close_range((unsigned)guest.kvm, (unsigned)guest.kvm, 0);
        _exit(0);
    }
    assert_int_equal(status_of(child), 0);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_HLT);
    assert_int_equal(ioctl(guest.vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), 1);
    is_the_device(guest.kvm);
    end_guest(&guest);
}

// ---- reading what is faked --------------------------------------------------------------------

static void *volatile nowhere = (void *)8;

static void pagemap(void **state)
{
    (void)state;
    uint64_t words[200] = {0}, page = (uint64_t)words >> 12;
    int fd = open("/proc/self/pagemap", O_RDONLY);
    assert_true(fd >= 0);
    off_t at = (off_t)(page * 8);
    assert_int_equal(pread(fd, words, sizeof words, at), sizeof words);
    for (size_t i = 0; i < 200; i++)
        assert_true(words[i] == (1ull << 63 | (page + i)));
    assert_int_equal(lseek(fd, at + 8, SEEK_SET), at + 8);
    assert_int_equal(read(fd, words, 8), 8);
    assert_int_equal(__read_chk(fd, words + 1, 8, 8), 8);
    assert_int_equal(__pread64_chk(fd, words + 2, 8, at, 8), 8);
    assert_true(words[0] == (1ull << 63 | (page + 1)) && words[1] == words[0] + 1 && words[2] == words[0] - 1);
    assert_refused(pread(fd, nowhere, 8, at), EFAULT);
    assert_refused(pread(fd, words, 7, at), EINVAL);
    assert_refused(pread(fd, words, 8, at + 1), EINVAL);
    assert_refused(pread(fd, words, 8, -8), EINVAL);
    assert_int_equal(pread(fd, words, 8, 1ll << 62), 0);
    close(fd);
}

static void page_idle(void **state)
{
    (void)state;
    uint64_t words[2] = {0};
    int fd = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, words, 16, 0), 16);
    assert_int_equal(pwrite(fd, words, 16, 0), 16);
    assert_int_equal(write(fd, words, 8), 8);
    assert_int_equal(read(fd, words, 8), 8);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 16);
    assert_refused(pwrite(fd, nowhere, 8, 0), EFAULT);
    assert_refused(pwrite(fd, words, 4, 0), EINVAL);
    assert_refused(pwrite(fd, words, 8, -8), EINVAL);
    assert_refused(pwrite(fd, words, 8, 1ll << 62), ENXIO);
    assert_int_equal(pread(fd, words, 8, 1ll << 62), 0);
    close(fd);
}

// ---- mapping over guest memory --------------------------------------------------------------

// A guest that has stored already, and whose next store finds the page taken from it.
static void begin(struct guest *guest)
{
    make_guest(guest, 0);
    GIVE(guest, STORE_DATA, HLT, STORE_DATA, HLT);
    assert_int_equal(ioctl(guest->vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest->memory[DATA], 0x5a);
}

static void moved_over_guest_memory(void **state)
{
    (void)state;
    struct guest guest;
    begin(&guest);
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(mremap(page, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, guest.memory + DATA) == guest.memory + DATA);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EFAULT);
    end_guest(&guest);
}

static void a_file_of_ours_over_guest_memory(void **state)
{
    (void)state;
    struct guest guest;
    begin(&guest);
    assert_true(mmap(guest.memory + DATA, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, guest.vcpu, 0) != MAP_FAILED);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EFAULT);
    end_guest(&guest);
}

static void huge_pages_over_guest_memory(void **state)
{
    (void)state;
    struct guest guest;
    begin(&guest);
    // Less than a huge page is asked for; DATA lies in the rest of it, wherever the memory begins.
    uint64_t huge = (uint64_t)(guest.memory + DATA) & ~0x1fffffull;
    assert_true(huge >= (uint64_t)guest.memory && huge + 0x200000 <= (uint64_t)guest.memory + MEMORY);
    void *mapped = mmap((void *)huge, 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_HUGETLB, -1, 0);
    assert_true(mapped == (void *)huge);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EFAULT);
    end_guest(&guest);
}

static void protected_by_a_key(void **state)
{
    (void)state;
    struct guest guest;
    begin(&guest);
    assert_int_equal(pkey_mprotect(guest.memory + DATA, 4096, PROT_READ, -1), 0);
    assert_refused(ioctl(guest.vcpu, KVM_RUN, 0), EFAULT);
    end_guest(&guest);
}

// What nobody sees ends the program, which says why.
static void unmapped_by_the_call_itself(void **state)
{
    (void)state;
    int ends[2];
    char said[512] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct guest guest;
        begin(&guest);
        syscall(SYS_munmap, guest.memory + DATA, 4096);
        dup2(ends[1], 2);
        signal(SIGSEGV, SIG_DFL);
        ioctl(guest.vcpu, KVM_RUN, 0);
        _exit(0);
    }
    close(ends[1]);
    int status = status_of(child);
    assert_true(read(ends[0], said, sizeof said - 1) > 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    assert_non_null(strstr(said, "SIGSEGV in KVM_RUN"));
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opened), cmocka_unit_test(sign_in_the_number), cmocka_unit_test(closed_in_a_range),
        cmocka_unit_test(closed_as_a_stream), cmocka_unit_test(closed_by_the_call_itself),
        cmocka_unit_test(closed_from_there_on), cmocka_unit_test(closed_in_a_child_that_shares_memory),
        cmocka_unit_test(pagemap), cmocka_unit_test(page_idle), cmocka_unit_test(moved_over_guest_memory),
        cmocka_unit_test(a_file_of_ours_over_guest_memory), cmocka_unit_test(huge_pages_over_guest_memory),
        cmocka_unit_test(protected_by_a_key), cmocka_unit_test(unmapped_by_the_call_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
