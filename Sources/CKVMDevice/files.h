/* SPDX-License-Identifier: GPL-2.0-only */
/* What preload.c alone does with descriptors. */
#ifndef CKD_FILES_H
#define CKD_FILES_H

#include "ckd_objects.h"

/* The object that was behind fd, with its reference, or NULL: the descriptor goes.  NULL, too, in a child of
 * vfork(), whose descriptors the table has not. */
struct ckd_object *ckd_fd_take(int fd);
/* What was behind those of these descriptors that are another file by now, or none, goes. */
void ckd_fd_forget_closed(unsigned first, unsigned last);

#endif
