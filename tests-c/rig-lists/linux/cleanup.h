/* SPDX-License-Identifier: GPL-2.0-only */
/* A rig's guards, which find a class by the names that the kernel gives its parts. */
#ifndef _LINUX_CLEANUP_H
#define _LINUX_CLEANUP_H

static unsigned rig_guards;

#define guard(name)                                                                  \
    class_##name##_t rig_guard __attribute__((cleanup(class_##name##_destructor), unused)) = \
        (rig_guards++, class_##name##_constructor)
#define scoped_guard(name)                                                           \
    for (class_##name##_t rig_scope __attribute__((cleanup(class_##name##_destructor))) = \
             (rig_guards++, class_##name##_constructor()), *rig_once = &rig_scope;   \
         rig_once && class_##name##_lock_ptr(&rig_scope); rig_once = (void *)0)

#endif
