// SPDX-License-Identifier: GPL-2.0-only
// ioctl(): the row of the table, the program's structure copied in and out, a line of the trace.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "ckd_host.h"
#include "ckd_ioctls.h"

static const struct row {
    enum ckd_kind kind;
    unsigned long number;
    const char *name;
    int (*handler)(struct ckd_object *, void *, uint64_t);
} rows[] = {
#define ROW(kind, number, handler) {kind, number, #number, handler},
    CKD_IOCTLS(ROW)
#undef ROW
};

enum { LARGEST = 512 };
_Static_assert(sizeof(struct kvm_sregs) <= LARGEST, "the copy holds every structure of the table");

static bool userfaults;

// A kernel takes 32 bits of the number: a program that keeps it in an int has the sign in the others.
void ckd_saw_ioctl(unsigned long number)
{
    if ((uint32_t)number == UFFDIO_REGISTER)
        __atomic_store_n(&userfaults, true, __ATOMIC_RELAXED);
}

bool ckd_userfaults(void) { return __atomic_load_n(&userfaults, __ATOMIC_RELAXED); }

static const struct row *find(enum ckd_kind kind, unsigned long number)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].kind == kind && rows[i].number == number)
            return &rows[i];
    return NULL;
}

static void trace(const struct row *row, enum ckd_kind kind, unsigned long number, uint64_t argument, long result)
{
    static const char *const kinds[] = {"", "kvm", "vm", "vcpu", "stats", "pagemap", "page_idle"};
    char name[40];
    snprintf(name, sizeof name, "0x%lx", number);
    fprintf(stderr, "tdpmmu-kvm: ioctl(%s, %s, 0x%llx) = %ld%s%s\n", kinds[kind], row ? row->name : name,
            (unsigned long long)argument, result < 0 ? -1 : result, result < 0 ? " " : "",
            result < 0 ? strerrorname_np((int)-result) : "");
}

static long call(const struct row *row, struct ckd_object *object, uint64_t argument)
{
    // A size in the number is a structure; what follows it in memory the handler reads for itself.
    size_t size = _IOC_SIZE(row->number);
    unsigned direction = _IOC_DIR(row->number);
    _Alignas(16) uint8_t structure[LARGEST] = {0};
    if (!size || direction == _IOC_NONE)
        return row->handler(object, NULL, argument);
    if ((direction & _IOC_WRITE) && row->number != KVM_SET_SIGNAL_MASK && !ckd_copy_in(structure, argument, size))
        return -EFAULT;
    long result = row->handler(object, structure, argument);
    if (result >= 0 && (direction & _IOC_READ) && !ckd_copy_out(argument, structure, size))
        return -EFAULT;
    return result;
}

static bool is_of_another_process(const struct ckd_object *object)
{
    const struct ckd_vm *vm = NULL;
    if (object->kind == CKD_VM)
        vm = (const struct ckd_vm *)object;
    if (object->kind == CKD_VCPU)
        vm = ((const struct ckd_vcpu *)object)->vm;
    return vm && vm->fork_generation != ckd_fork_generation();
}

long ckd_ioctl(struct ckd_object *object, unsigned long number, uint64_t argument)
{
    enum ckd_kind kind = object->kind;
    number = (uint32_t)number;
    const struct row *row = find(kind, number);
    bool locked = kind == CKD_VCPU;
    long result = -ENOTTY;
    if (is_of_another_process(object))
        result = -EIO;
    else if (row) {
        if (locked)
            ckd_take(&((struct ckd_vcpu *)object)->lock);
        result = call(row, object, argument);
        if (locked)
            ckd_drop(&((struct ckd_vcpu *)object)->lock);
    }
    if (ckd_options()->trace)
        trace(row, kind, number, argument, result);
    return result;
}
