// SPDX-License-Identifier: GPL-2.0-only
// Descriptors, what stands behind them and how long it lives; the VMs of this process.
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ckd_host.h"
#include "real.h"

enum { DESCRIPTORS = 1 << 16 };

// Under table_lock; ckd_fd_kind() alone looks without it, to pass on quickly what is not ours.
static struct ckd_object *table[DESCRIPTORS];
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
    ckd_forget_kept();
    vms = NULL; // what the child unmaps, the parent's guests still have
    unlock_all();
}

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(lock_all, unlock_all, in_child); }

uint32_t ckd_fork_generation(void) { return fork_generation; }

int ckd_fd_make(const char *name, size_t bytes, bool close_on_exec, struct ckd_object *object)
{
    int fd = (int)syscall(SYS_memfd_create, name, close_on_exec ? MFD_CLOEXEC : 0);
    if (fd < 0)
        return -errno;
    if (fd >= DESCRIPTORS || (bytes && ftruncate(fd, (off_t)bytes))) {
        ckd_real()->close(fd);
        return fd >= DESCRIPTORS ? -EMFILE : -ENOMEM;
    }
    pthread_mutex_lock(&table_lock);
    __atomic_store_n(&table[fd], object, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&table_lock);
    return fd;
}

enum ckd_kind ckd_fd_kind(int fd)
{
    // No more than a hint: whoever uses the object asks again, under the lock.
    if (fd < 0 || fd >= DESCRIPTORS || !__atomic_load_n(&table[fd], __ATOMIC_RELAXED))
        return CKD_NONE;
    pthread_mutex_lock(&table_lock);
    enum ckd_kind kind = table[fd] ? table[fd]->kind : CKD_NONE;
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
    struct ckd_object *object = table[fd];
    if (object)
        ckd_hold(object);
    pthread_mutex_unlock(&table_lock);
    return object;
}

struct ckd_object *ckd_fd_take(int fd)
{
    if (fd < 0 || fd >= DESCRIPTORS)
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
        struct ckd_object *object = ckd_fd_kind(fd) ? ckd_fd_take(fd) : NULL;
        if (object)
            ckd_put(object);
    }
}

void ckd_fd_give(int fd, struct ckd_object *object)
{
    pthread_mutex_lock(&table_lock);
    if (fd >= 0 && fd < DESCRIPTORS)
        __atomic_store_n(&table[fd], object, __ATOMIC_RELAXED);
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
