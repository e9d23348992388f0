// SPDX-License-Identifier: GPL-2.0-only
// The symbols that the preloaded library puts in front of the C library's.  What is not ours passes untouched.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ckd_host.h"
#include "ckd_ioctls.h"
#include "faked.h"
#include "files.h"
#include "real.h"

#define EXPORT __attribute__((visibility("default")))

static struct ckd_real functions;
static pthread_once_t looked_up = PTHREAD_ONCE_INIT;

static void look_up(void)
{
    functions.open = dlsym(RTLD_NEXT, "open");
    functions.openat = dlsym(RTLD_NEXT, "openat");
    functions.open_2 = dlsym(RTLD_NEXT, "__open_2");
    functions.openat_2 = dlsym(RTLD_NEXT, "__openat_2");
    functions.access = dlsym(RTLD_NEXT, "access");
    functions.faccessat = dlsym(RTLD_NEXT, "faccessat");
    functions.close = dlsym(RTLD_NEXT, "close");
    functions.close_range = dlsym(RTLD_NEXT, "close_range");
    functions.closefrom = dlsym(RTLD_NEXT, "closefrom");
    functions.fclose = dlsym(RTLD_NEXT, "fclose");
    functions.dup = dlsym(RTLD_NEXT, "dup");
    functions.dup2 = dlsym(RTLD_NEXT, "dup2");
    functions.dup3 = dlsym(RTLD_NEXT, "dup3");
    functions.ioctl = dlsym(RTLD_NEXT, "ioctl");
    functions.mmap = dlsym(RTLD_NEXT, "mmap");
    functions.munmap = dlsym(RTLD_NEXT, "munmap");
    functions.mprotect = dlsym(RTLD_NEXT, "mprotect");
    functions.pkey_mprotect = dlsym(RTLD_NEXT, "pkey_mprotect");
    functions.madvise = dlsym(RTLD_NEXT, "madvise");
    functions.mremap = dlsym(RTLD_NEXT, "mremap");
    functions.read = dlsym(RTLD_NEXT, "read");
    functions.write = dlsym(RTLD_NEXT, "write");
    functions.ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    functions.pread = dlsym(RTLD_NEXT, "pread");
    functions.pwrite = dlsym(RTLD_NEXT, "pwrite");
    functions.sigaction = dlsym(RTLD_NEXT, "sigaction");
    functions.fopen = dlsym(RTLD_NEXT, "fopen");
    functions.pthread_create = dlsym(RTLD_NEXT, "pthread_create");
}

const struct ckd_real *ckd_real(void)
{
    pthread_once(&looked_up, look_up);
    return &functions;
}

static int answer(long result)
{
    if (result >= 0)
        return (int)result;
    errno = (int)-result;
    return -1;
}

// ---- opening and closing ----------------------------------------------------

static int open_device(int flags)
{
    ckd_read_options(); // a constructor of another library may come before ours
    struct ckd_object *device = ckd_zalloc(sizeof *device);
    if (!device)
        return answer(-ENOMEM);
    *device = (struct ckd_object){CKD_SYSTEM, 1};
    int fd = ckd_fd_make("kvm", 0, flags & O_CLOEXEC, device);
    if (fd < 0)
        ckd_put(device);
    return answer(fd);
}

static bool is_device(const char *path) { return path && !strcmp(path, "/dev/kvm"); }

static bool opened_here(const char *path, int flags, int *fd)
{
    if (!path)
        return false;
    bool here = true;
    ckd_enter();
    if (is_device(path))
        *fd = open_device(flags);
    else
        here = ckd_open_faked(path, flags, fd);
    ckd_leave();
    return here;
}

#define MODE_OF(flags, last)                          \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {          \
        va_list list;                                 \
        va_start(list, last);                         \
        mode = va_arg(list, mode_t);                  \
        va_end(list);                                 \
    }

EXPORT int open(const char *path, int flags, ...)
{
    MODE_OF(flags, flags)
    int fd;
    return opened_here(path, flags, &fd) ? fd : ckd_real()->open(path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
    MODE_OF(flags, flags)
    int fd;
    return opened_here(path, flags, &fd) ? fd : ckd_real()->open(path, flags | O_LARGEFILE, mode);
}

EXPORT int openat(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags, flags)
    int fd;
    return opened_here(path, flags, &fd) ? fd : ckd_real()->openat(folder, path, flags, mode);
}

EXPORT int openat64(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags, flags)
    int fd;
    return opened_here(path, flags, &fd) ? fd : ckd_real()->openat(folder, path, flags | O_LARGEFILE, mode);
}

// What <bits/fcntl2.h> makes of open() without a mode where _FORTIFY_SOURCE is on.
EXPORT int __open_2(const char *path, int flags)
{
    int fd;
    return opened_here(path, flags, &fd) ? fd : ckd_real()->open_2(path, flags);
}

EXPORT int __openat_2(int folder, const char *path, int flags)
{
    int fd;
    return opened_here(path, flags, &fd) ? fd : ckd_real()->openat_2(folder, path, flags);
}

EXPORT int __open64_2(const char *path, int flags) { return __open_2(path, flags | O_LARGEFILE); }
EXPORT int __openat64_2(int folder, const char *path, int flags)
{
    return __openat_2(folder, path, flags | O_LARGEFILE);
}

// Everybody may read and write the device, nobody execute it.
static int device_access(int mode)
{
    if (mode & ~(R_OK | W_OK | X_OK))
        return answer(-EINVAL);
    return answer(mode & X_OK ? -EACCES : 0);
}

EXPORT int access(const char *path, int mode)
{
    return is_device(path) ? device_access(mode) : ckd_real()->access(path, mode);
}

EXPORT int faccessat(int folder, const char *path, int mode, int flags)
{
    return is_device(path) ? device_access(mode) : ckd_real()->faccessat(folder, path, mode, flags);
}

EXPORT FILE *fopen(const char *path, const char *mode)
{
    ckd_enter();
    FILE *file = path ? ckd_fopen_faked(path) : NULL;
    ckd_leave();
    return file ? file : ckd_real()->fopen(path, mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }

// Its descriptor is gone.
static int put_after(struct ckd_object *object, int result)
{
    int before = errno;
    if (object)
        ckd_put(object);
    errno = before;
    return result;
}

EXPORT int close(int fd)
{
    ckd_enter();
    struct ckd_object *object = ckd_fd_take(fd);
    if (!object) {
        ckd_leave(); // what is not ours may wait for long
        return ckd_real()->close(fd);
    }
    int result = put_after(object, ckd_real()->close(fd));
    ckd_leave();
    return result;
}

EXPORT int fclose(FILE *file)
{
    ckd_enter();
    struct ckd_object *object = ckd_fd_take(fileno(file));
    if (!object) {
        ckd_leave();
        return ckd_real()->fclose(file);
    }
    int result = put_after(object, ckd_real()->fclose(file));
    ckd_leave();
    return result;
}

static void forget_closed(unsigned first, unsigned last)
{
    ckd_enter();
    ckd_fd_forget_closed(first, last);
    ckd_leave();
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    int result = ckd_real()->close_range(first, last, flags);
    // A thread that keeps descriptors of its own from now on leaves the others theirs.
    if (result == 0 && !(flags & (CLOSE_RANGE_CLOEXEC | CLOSE_RANGE_UNSHARE)))
        forget_closed(first, last);
    return result;
}

EXPORT void closefrom(int first)
{
    ckd_real()->closefrom(first);
    forget_closed(first > 0 ? (unsigned)first : 0, ~0u);
}

// Leaves what dup() and its like have entered.
static int copied(int from, int to)
{
    struct ckd_object *object = to >= 0 ? ckd_fd_object(from) : NULL;
    if (to >= 0 && from != to) {
        struct ckd_object *gone = ckd_fd_take(to);
        if (gone)
            ckd_put(gone);
        if (object)
            ckd_fd_give(to, object);
    } else if (object)
        ckd_put(object);
    ckd_leave();
    return to;
}

EXPORT int dup(int fd)
{
    ckd_enter();
    return copied(fd, ckd_real()->dup(fd));
}

EXPORT int dup2(int from, int to)
{
    ckd_enter();
    return copied(from, ckd_real()->dup2(from, to));
}

EXPORT int dup3(int from, int to, int flags)
{
    ckd_enter();
    return copied(from, ckd_real()->dup3(from, to, flags));
}

// ---- ioctl, read, write ------------------------------------------------------------

EXPORT int ioctl(int fd, unsigned long number, ...)
{
    va_list list;
    va_start(list, number);
    void *argument = va_arg(list, void *);
    va_end(list);
    ckd_enter();
    struct ckd_object *object = ckd_fd_object(fd);
    if (!object) {
        ckd_leave();
        int result = ckd_real()->ioctl(fd, number, argument);
        if (result == 0)
            ckd_saw_ioctl(number);
        return result;
    }
    long result = ckd_ioctl(object, number, (uint64_t)argument);
    ckd_put(object);
    ckd_leave();
    return answer(result);
}

static void refresh(int fd)
{
    ckd_enter();
    struct ckd_object *object = ckd_fd_object(fd);
    if (object && object->kind == CKD_STATS)
        ckd_stats_refresh((struct ckd_stats *)object);
    if (object)
        ckd_put(object);
    ckd_leave();
}

static ssize_t answer_long(ssize_t result) { return result >= 0 ? result : answer(result); }

static bool is_faked(enum ckd_kind kind) { return kind == CKD_PAGEMAP || kind == CKD_PAGE_IDLE; }

// A faked file's position is that of the empty file behind it.
static ssize_t advance(int fd, ssize_t done)
{
    if (done > 0)
        lseek(fd, done, SEEK_CUR);
    return answer_long(done);
}

static enum ckd_kind kind_of(int fd)
{
    ckd_enter();
    enum ckd_kind kind = ckd_fd_kind(fd);
    ckd_leave();
    return kind;
}

static ssize_t read_faked(enum ckd_kind kind, void *buffer, size_t bytes, off_t offset)
{
    ckd_enter();
    ssize_t done = ckd_read_faked(kind, buffer, bytes, offset);
    ckd_leave();
    return done;
}

static ssize_t write_faked(enum ckd_kind kind, const void *buffer, size_t bytes, off_t offset)
{
    ckd_enter();
    ssize_t done = ckd_write_faked(kind, buffer, bytes, offset);
    ckd_leave();
    return done;
}

// The device, a VM, a vCPU: the kernel has no file there that could be read, written or cut.
static bool is_no_file(enum ckd_kind kind)
{
    return kind == CKD_SYSTEM || kind == CKD_VM || kind == CKD_VCPU;
}

EXPORT int ftruncate(int fd, off_t bytes)
{
    return is_no_file(kind_of(fd)) ? answer(-EINVAL) : ckd_real()->ftruncate(fd, bytes);
}

EXPORT int ftruncate64(int fd, off_t bytes) { return ftruncate(fd, bytes); }

EXPORT ssize_t read(int fd, void *buffer, size_t bytes)
{
    enum ckd_kind kind = kind_of(fd);
    if (is_faked(kind))
        return advance(fd, read_faked(kind, buffer, bytes, lseek(fd, 0, SEEK_CUR)));
    if (is_no_file(kind))
        return answer(-EINVAL);
    refresh(fd);
    return ckd_real()->read(fd, buffer, bytes);
}

EXPORT ssize_t write(int fd, const void *buffer, size_t bytes)
{
    enum ckd_kind kind = kind_of(fd);
    if (is_faked(kind))
        return advance(fd, write_faked(kind, buffer, bytes, lseek(fd, 0, SEEK_CUR)));
    if (is_no_file(kind))
        return answer(-EINVAL);
    return ckd_real()->write(fd, buffer, bytes);
}

EXPORT ssize_t pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    enum ckd_kind kind = kind_of(fd);
    if (is_faked(kind))
        return answer_long(read_faked(kind, buffer, bytes, offset));
    refresh(fd);
    return ckd_real()->pread(fd, buffer, bytes, offset);
}

EXPORT ssize_t pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    enum ckd_kind kind = kind_of(fd);
    if (is_faked(kind))
        return answer_long(write_faked(kind, buffer, bytes, offset));
    if (is_no_file(kind))
        return answer(-EINVAL);
    return ckd_real()->pwrite(fd, buffer, bytes, offset);
}

EXPORT ssize_t pread64(int fd, void *buffer, size_t bytes, off_t offset) { return pread(fd, buffer, bytes, offset); }
EXPORT ssize_t pwrite64(int fd, const void *buffer, size_t bytes, off_t offset)
{
    return pwrite(fd, buffer, bytes, offset);
}

// The same where _FORTIFY_SOURCE is on and the compiler does not know how much is read.
extern void __chk_fail(void) __attribute__((noreturn));

EXPORT ssize_t __read_chk(int fd, void *buffer, size_t bytes, size_t room)
{
    if (bytes > room)
        __chk_fail();
    return read(fd, buffer, bytes);
}

EXPORT ssize_t __pread_chk(int fd, void *buffer, size_t bytes, off_t offset, size_t room)
{
    if (bytes > room)
        __chk_fail();
    return pread(fd, buffer, bytes, offset);
}

EXPORT ssize_t __pread64_chk(int fd, void *buffer, size_t bytes, off_t offset, size_t room)
{
    return __pread_chk(fd, buffer, bytes, offset, room);
}

// ---- memory: what KVM's notifiers are told of ---------------------------------------------

static void *map_object(struct ckd_object *object, size_t bytes, int protection, int flags, off_t offset)
{
    if (object->kind == CKD_VCPU && offset >= CKD_RING_PAGE * 4096) {
        int64_t ring = offset == CKD_RING_PAGE * 4096
                           ? ckd_map_ring((struct ckd_vcpu *)object, bytes, protection, flags) : -EINVAL;
        if (ring >= 0)
            return (void *)ring;
        errno = (int)-ring;
        return MAP_FAILED;
    }
    return NULL;
}

static bool is_hugetlb(int flags) { return (flags & MAP_HUGETLB) && (flags & MAP_ANONYMOUS); }

static void *map(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    struct ckd_object *object = flags & MAP_ANONYMOUS ? NULL : ckd_fd_object(fd);
    void *mapped = object ? map_object(object, bytes, protection, flags, offset) : NULL;
    if (!mapped && is_hugetlb(flags))
        mapped = ckd_map_hugetlb(address, bytes, protection, flags);
    else if (!mapped)
        mapped = ckd_real()->mmap(address, bytes, protection, flags, fd, offset);
    if (object)
        ckd_put(object);
    return mapped;
}

// Whatever is mapped there takes the place of what was.
static void *map_over(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    uint64_t start = (uint64_t)address, end = start + (is_hugetlb(flags) ? ckd_hugetlb_bytes(bytes, flags) : bytes);
    ckd_invalidate_begin(start, end);
    void *mapped = map(address, bytes, protection, flags, fd, offset);
    ckd_invalidate_end(start, end);
    return mapped;
}

EXPORT void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    ckd_enter();
    void *mapped = (flags & MAP_FIXED ? map_over : map)(address, bytes, protection, flags, fd, offset);
    ckd_leave();
    return mapped;
}

EXPORT void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return mmap(address, bytes, protection, flags, fd, offset);
}

EXPORT int munmap(void *address, size_t bytes)
{
    uint64_t start = (uint64_t)address, end = start + bytes;
    int result = 0;
    ckd_enter();
    if (!ckd_unmap_ring(start, bytes)) {
        ckd_invalidate_begin(start, end);
        result = ckd_real()->munmap(address, bytes);
        ckd_invalidate_end(start, end);
        if (result == 0)
            ckd_set_host_level(start, end, 1);
    }
    ckd_leave();
    return result;
}

EXPORT int mprotect(void *address, size_t bytes, int protection)
{
    uint64_t start = (uint64_t)address, end = start + bytes;
    ckd_enter();
    ckd_invalidate_begin(start, end);
    int result = ckd_real()->mprotect(address, bytes, protection);
    ckd_invalidate_end(start, end);
    ckd_leave();
    return result;
}

EXPORT int pkey_mprotect(void *address, size_t bytes, int protection, int key)
{
    uint64_t start = (uint64_t)address, end = start + bytes;
    ckd_enter();
    ckd_invalidate_begin(start, end);
    int result = ckd_real()->pkey_mprotect(address, bytes, protection, key);
    ckd_invalidate_end(start, end);
    ckd_leave();
    return result;
}

EXPORT int madvise(void *address, size_t bytes, int advice)
{
    uint64_t start = (uint64_t)address, end = start + bytes;
    bool drops = advice == MADV_DONTNEED || advice == MADV_REMOVE || advice == MADV_FREE || advice == MADV_PAGEOUT ||
                 advice == MADV_COLD;
    ckd_enter();
    if (drops)
        ckd_invalidate_begin(start, end);
    int result = ckd_real()->madvise(address, bytes, advice);
    if (drops)
        ckd_invalidate_end(start, end);
    if (result == 0 && advice == MADV_HUGEPAGE)
        ckd_set_host_level(start, end, 2);
    if (result == 0 && advice == MADV_NOHUGEPAGE)
        ckd_set_host_level(start, end, 1);
    ckd_leave();
    return result;
}

EXPORT void *mremap(void *address, size_t old_bytes, size_t bytes, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(list, void *) : NULL;
    va_end(list);
    // What is moved leaves its place, and takes that of what was where it comes to.
    uint64_t start = (uint64_t)address, end = start + old_bytes, target = (uint64_t)to;
    ckd_enter();
    ckd_invalidate_begin(start, end);
    if (to)
        ckd_invalidate_begin(target, target + bytes);
    void *result = ckd_real()->mremap(address, old_bytes, bytes, flags, to);
    if (to)
        ckd_invalidate_end(target, target + bytes);
    ckd_invalidate_end(start, end);
    ckd_leave();
    return result;
}
