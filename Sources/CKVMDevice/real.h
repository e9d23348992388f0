/* SPDX-License-Identifier: GPL-2.0-only */
/* The C library's own functions, behind those that preload.c puts in front of them. */
#ifndef CKD_REAL_H
#define CKD_REAL_H

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/types.h>

struct ckd_real {
    int (*open)(const char *, int, ...);
    int (*openat)(int, const char *, int, ...);
    int (*open_2)(const char *, int);
    int (*openat_2)(int, const char *, int);
    int (*access)(const char *, int);
    int (*faccessat)(int, const char *, int, int);
    int (*close)(int);
    int (*close_range)(unsigned, unsigned, int);
    void (*closefrom)(int);
    int (*fclose)(FILE *);
    int (*dup)(int);
    int (*dup2)(int, int);
    int (*dup3)(int, int, int);
    int (*ioctl)(int, unsigned long, ...);
    void *(*mmap)(void *, size_t, int, int, int, off_t);
    int (*munmap)(void *, size_t);
    int (*mprotect)(void *, size_t, int);
    int (*pkey_mprotect)(void *, size_t, int, int);
    int (*madvise)(void *, size_t, int);
    void *(*mremap)(void *, size_t, size_t, int, ...);
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    int (*ftruncate)(int, off_t);
    ssize_t (*pread)(int, void *, size_t, off_t);
    ssize_t (*pwrite)(int, const void *, size_t, off_t);
    int (*sigaction)(int, const struct sigaction *, struct sigaction *);
    FILE *(*fopen)(const char *, const char *);
    int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
};

/* Looked up at the first use: a constructor of another library may come before ours. */
const struct ckd_real *ckd_real(void);

/* sigaction() of SIGSEGV and SIGBUS, in front of which touch.c has a handler of ours. */
int ckd_fault_action(int number, const struct sigaction *action, struct sigaction *old);

#endif
