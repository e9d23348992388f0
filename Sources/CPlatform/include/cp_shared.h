/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Words that threads share, in structs that Swift sees.  Their types keep them apart from
 * plain fields: Swift reaches them as atomics or mutexes only, through the address functions
 * that the macros make, and plain fields by name.  Alignment stands at the variables: Swift
 * imports no type aligned to more than 16.
 */
#ifndef CP_SHARED_H
#define CP_SHARED_H

#include <stdint.h>

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

typedef struct { uint8_t raw; } cp_shared8;
typedef struct { uint16_t raw; } cp_shared16;
typedef struct { uint32_t raw; } cp_shared32;
typedef struct { uint64_t raw; } cp_shared64;
typedef struct { uintptr_t raw; } cp_shared_word; /* an address, or 0 */
typedef struct { uint32_t raw; } cp_mutex;

/* cp_TYPE_FIELD(): the field of a struct cp_TYPE. */
#define CP_AT(type, field) \
    static inline __typeof__(((struct cp_##type *)0)->field) *_Nonnull \
        cp_##type##_##field(struct cp_##type *p) { return &p->field; }

/* cp_TYPE_FIELD(): the first element of an array in a struct cp_TYPE. */
#define CP_AT_FIRST(type, field) \
    static inline __typeof__(((struct cp_##type *)0)->field[0]) *_Nonnull \
        cp_##type##_##field(struct cp_##type *p) { return p->field; }

/* cp_GROUP_FIELD(): the field of a variable of the process. */
#define CP_THE(group, variable, field) \
    static inline __typeof__(variable.field) *_Nonnull cp_##group##_##field(void) { return &variable.field; }

/* The field of a struct of the public headers, which has plain fields only. */
#define CP_PUBLIC(name, type, shared, field) \
    static inline shared *name(struct type *p) { return (shared *)&p->field; }

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
