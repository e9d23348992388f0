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
    functions.close = dlsym(RTLD_NEXT, "close");
    functions.dup = dlsym(RTLD_NEXT, "dup");
    functions.dup2 = dlsym(RTLD_NEXT, "dup2");
    functions.dup3 = dlsym(RTLD_NEXT, "dup3");
    functions.ioctl = dlsym(RTLD_NEXT, "ioctl");
    functions.mmap = dlsym(RTLD_NEXT, "mmap");
    functions.munmap = dlsym(RTLD_NEXT, "munmap");
    functions.mprotect = dlsym(RTLD_NEXT, "mprotect");
    functions.madvise = dlsym(RTLD_NEXT, "madvise");
    functions.mremap = dlsym(RTLD_NEXT, "mremap");
    functions.read = dlsym(RTLD_NEXT, "read");
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

static bool opened_here(const char *path, int flags, int *fd)
{
    if (!path)
        return false;
    bool here = true;
    ckd_enter();
    if (!strcmp(path, "/dev/kvm"))
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

EXPORT FILE *fopen(const char *path, const char *mode)
{
    ckd_enter();
    FILE *file = path ? ckd_fopen_faked(path) : NULL;
    ckd_leave();
    return file ? file : ckd_real()->fopen(path, mode);
}

EXPORT FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }

EXPORT int close(int fd)
{
    ckd_enter();
    struct ckd_object *object = ckd_fd_kind(fd) ? ckd_fd_take(fd) : NULL;
    if (!object) {
        ckd_leave(); // what is not ours may wait for long
        return ckd_real()->close(fd);
    }
    int result = ckd_real()->close(fd);
    int before = errno;
    ckd_put(object);
    errno = before;
    ckd_leave();
    return result;
}

// Leaves what dup() and its like have entered.
static int copied(int from, int to)
{
    struct ckd_object *object = to >= 0 ? ckd_fd_object(from) : NULL;
    if (to >= 0 && from != to) {
        struct ckd_object *gone = ckd_fd_kind(to) ? ckd_fd_take(to) : NULL;
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

EXPORT ssize_t read(int fd, void *buffer, size_t bytes)
{
    refresh(fd);
    return ckd_real()->read(fd, buffer, bytes);
}

EXPORT ssize_t pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    ssize_t done;
    ckd_enter();
    bool faked = ckd_read_faked(ckd_fd_kind(fd), buffer, bytes, offset, &done);
    ckd_leave();
    if (faked)
        return done;
    refresh(fd);
    return ckd_real()->pread(fd, buffer, bytes, offset);
}

EXPORT ssize_t pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    ssize_t done;
    ckd_enter();
    bool faked = ckd_write_faked(ckd_fd_kind(fd), buffer, bytes, offset, &done);
    ckd_leave();
    if (faked)
        return done;
    return ckd_real()->pwrite(fd, buffer, bytes, offset);
}

EXPORT ssize_t pread64(int fd, void *buffer, size_t bytes, off_t offset) { return pread(fd, buffer, bytes, offset); }
EXPORT ssize_t pwrite64(int fd, const void *buffer, size_t bytes, off_t offset)
{
    return pwrite(fd, buffer, bytes, offset);
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

static void *map(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    struct ckd_object *object = flags & MAP_ANONYMOUS ? NULL : ckd_fd_object(fd);
    if (object) {
        void *mapped = map_object(object, bytes, protection, flags, offset);
        if (!mapped)
            mapped = ckd_real()->mmap(address, bytes, protection, flags, fd, offset);
        ckd_put(object);
        return mapped;
    }
    if ((flags & MAP_HUGETLB) && (flags & MAP_ANONYMOUS))
        return ckd_map_hugetlb(address, bytes, protection, flags);
    if (!(flags & MAP_FIXED))
        return ckd_real()->mmap(address, bytes, protection, flags, fd, offset);
    uint64_t start = (uint64_t)address, end = start + bytes;
    ckd_invalidate_begin(start, end);
    void *mapped = ckd_real()->mmap(address, bytes, protection, flags, fd, offset);
    ckd_invalidate_end(start, end);
    return mapped;
}

EXPORT void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    ckd_enter();
    void *mapped = map(address, bytes, protection, flags, fd, offset);
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
    if (!ckd_unmap_ring(start)) {
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
    uint64_t start = (uint64_t)address, end = start + old_bytes;
    ckd_enter();
    ckd_invalidate_begin(start, end);
    void *result = ckd_real()->mremap(address, old_bytes, bytes, flags, to);
    ckd_invalidate_end(start, end);
    ckd_leave();
    return result;
}
