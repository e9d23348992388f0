/* SPDX-License-Identifier: GPL-2.0-only */
/* What preload.c alone does with descriptors. */
#ifndef CKD_FILES_H
#define CKD_FILES_H

#include "ckd_objects.h"

/* The object that was behind fd, with its reference, or NULL: the descriptor goes. */
struct ckd_object *ckd_fd_take(int fd);

#endif
