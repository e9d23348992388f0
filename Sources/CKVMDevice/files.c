// SPDX-License-Identifier: GPL-2.0-only
// Descriptors, what stands behind them and how long it lives; the VMs of this process.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ckd_host.h"
#include "files.h"
#include "real.h"

enum { DESCRIPTORS = 1 << 16 };

// Under table_lock; ckd_fd_kind() alone looks without it, to pass on quickly what is not ours.
static struct ckd_object *table[DESCRIPTORS];
// The file that the object's descriptors are of.  Where fd is another file by now, it was closed in a way that
// nobody saw.
static struct {
    dev_t device;
    ino_t inode;
} files[DESCRIPTORS];
static pid_t process; // whose descriptors the table has; written before there are threads
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ckd_vm *vms;
static pthread_mutex_t vms_lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t fork_generation;

static void lock_all(void)
{
    ckd_enter();
    pthread_mutex_lock(&vms_lock);
    pthread_mutex_lock(&table_lock);
}

static void unlock_all(void)
{
    pthread_mutex_unlock(&table_lock);
    pthread_mutex_unlock(&vms_lock);
    ckd_leave();
}

static void in_child(void)
{
    fork_generation++;
    process = getpid();
    ckd_forget_kept();
    vms = NULL; // what the child unmaps, the parent's guests still have
    unlock_all();
}

__attribute__((constructor)) static void watch_forks(void)
{
    process = getpid();
    pthread_atfork(lock_all, unlock_all, in_child);
}

// A child of vfork() has this memory, but descriptors of its own: what it closes stays open here.
static bool is_other_process(void) { return process && getpid() != process; }

uint32_t ckd_fork_generation(void) { return fork_generation; }

// Under table_lock.
static void set(int fd, struct ckd_object *object)
{
    struct stat file = {0};
    fstat(fd, &file);
    files[fd].device = file.st_dev;
    files[fd].inode = file.st_ino;
    __atomic_store_n(&table[fd], object, __ATOMIC_RELAXED);
}

// Under table_lock.  The object behind fd, if fd still is the object's file.
static struct ckd_object *get(int fd)
{
    struct stat file;
    bool same = table[fd] && !fstat(fd, &file) && file.st_dev == files[fd].device && file.st_ino == files[fd].inode;
    return same ? table[fd] : NULL;
}

int ckd_fd_file(const char *name, size_t bytes, bool close_on_exec)
{
    int fd = (int)syscall(SYS_memfd_create, name, MFD_ALLOW_SEALING | (close_on_exec ? MFD_CLOEXEC : 0));
    if (fd < 0)
        return -errno;
    // A mapping of it must not lose its pages, and what is no file of the program's does not grow.
    if (fd >= DESCRIPTORS || (bytes && ftruncate(fd, (off_t)bytes)) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        ckd_real()->close(fd);
        return fd >= DESCRIPTORS ? -EMFILE : -ENOMEM;
    }
    return fd;
}

int ckd_fd_make(const char *name, size_t bytes, bool close_on_exec, struct ckd_object *object)
{
    int fd = ckd_fd_file(name, bytes, close_on_exec);
    if (fd >= 0)
        ckd_fd_give(fd, object);
    return fd;
}

enum ckd_kind ckd_fd_kind(int fd)
{
    // No more than a hint: whoever uses the object asks again, under the lock.
    if (fd < 0 || fd >= DESCRIPTORS || !__atomic_load_n(&table[fd], __ATOMIC_RELAXED))
        return CKD_NONE;
    pthread_mutex_lock(&table_lock);
    struct ckd_object *object = get(fd);
    enum ckd_kind kind = object ? object->kind : CKD_NONE;
    pthread_mutex_unlock(&table_lock);
    return kind;
}

void ckd_hold(struct ckd_object *object) { __atomic_fetch_add(&object->refs, 1, __ATOMIC_RELAXED); }

void ckd_put(struct ckd_object *object)
{
    // Pairs with itself: what the others did to the object is done before it goes.
    if (__atomic_sub_fetch(&object->refs, 1, __ATOMIC_ACQ_REL) == 0)
        ckd_release(object);
}

struct ckd_object *ckd_fd_object(int fd)
{
    if (fd < 0 || fd >= DESCRIPTORS || !__atomic_load_n(&table[fd], __ATOMIC_RELAXED))
        return NULL;
    pthread_mutex_lock(&table_lock);
    struct ckd_object *object = get(fd);
    if (object)
        ckd_hold(object);
    pthread_mutex_unlock(&table_lock);
    if (!object)
        ckd_fd_forget_closed((unsigned)fd, (unsigned)fd);
    return object;
}

struct ckd_object *ckd_fd_take(int fd)
{
    // Without the lock it is a hint: most descriptors are none of ours.
    if (fd < 0 || fd >= DESCRIPTORS || !__atomic_load_n(&table[fd], __ATOMIC_RELAXED) || is_other_process())
        return NULL;
    pthread_mutex_lock(&table_lock);
    struct ckd_object *object = table[fd];
    __atomic_store_n(&table[fd], NULL, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&table_lock);
    return object;
}

void ckd_fd_take_all(void)
{
    for (int fd = 0; fd < DESCRIPTORS; fd++) {
        struct ckd_object *object = ckd_fd_take(fd);
        if (object)
            ckd_put(object);
    }
}

void ckd_fd_forget_closed(unsigned first, unsigned last)
{
    for (unsigned fd = first; fd <= last && fd < DESCRIPTORS; fd++) {
        if (!__atomic_load_n(&table[fd], __ATOMIC_RELAXED) || is_other_process())
            continue;
        pthread_mutex_lock(&table_lock);
        struct ckd_object *gone = get((int)fd) ? NULL : table[fd];
        if (gone)
            __atomic_store_n(&table[fd], NULL, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&table_lock);
        if (gone)
            ckd_put(gone);
    }
}

void ckd_fd_give(int fd, struct ckd_object *object)
{
    if (fd < 0 || fd >= DESCRIPTORS || is_other_process()) {
        ckd_put(object);
        return;
    }
    pthread_mutex_lock(&table_lock);
    set(fd, object);
    pthread_mutex_unlock(&table_lock);
}

void ckd_vms_lock(void)
{
    ckd_enter();
    pthread_mutex_lock(&vms_lock);
}

void ckd_vms_unlock(void)
{
    pthread_mutex_unlock(&vms_lock);
    ckd_leave();
}

struct ckd_vm *ckd_vms_next(struct ckd_vm *vm) { return vm ? vm->next : vms; }

void ckd_vms_add(struct ckd_vm *vm)
{
    pthread_mutex_lock(&vms_lock);
    vm->next = vms;
    vms = vm;
    pthread_mutex_unlock(&vms_lock);
}

void ckd_vms_remove(struct ckd_vm *vm)
{
    pthread_mutex_lock(&vms_lock);
    for (struct ckd_vm **at = &vms; *at; at = &(*at)->next)
        if (*at == vm) {
            *at = vm->next;
            break;
        }
    pthread_mutex_unlock(&vms_lock);
}
