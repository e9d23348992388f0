/* SPDX-License-Identifier: GPL-2.0-only */
/* What the machine has not and the selftests ask for. */
#ifndef CKD_FAKED_H
#define CKD_FAKED_H

#include <stdio.h>
#include <sys/types.h>

#include "ckd_objects.h"

/* Is this path faked?  Then *fd is what open() returns. */
bool ckd_open_faked(const char *path, int flags, int *fd);
/* NULL: it is not. */
FILE *ckd_fopen_faked(const char *path);
/* So many bytes in whole HugeTLB pages. */
size_t ckd_hugetlb_bytes(size_t bytes, int flags);
/* mmap() of HugeTLB pages. */
void *ckd_map_hugetlb(void *address, size_t bytes, int protection, int flags);
/* read() and write() of pagemap and page_idle: how many bytes, or a negative errno. */
ssize_t ckd_read_faked(enum ckd_kind kind, void *buffer, size_t bytes, off_t offset);
ssize_t ckd_write_faked(enum ckd_kind kind, const void *buffer, size_t bytes, off_t offset);

#endif
