// SPDX-License-Identifier: GPL-2.0-only
/* The default warning handler. */
#include "cplatform.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char *kind_name(enum tdpmmu_warning_kind kind)
{
    switch (kind) {
    case TDPMMU_WARN_ARGUMENT: return "argument";
    case TDPMMU_WARN_LOCK: return "lock";
    case TDPMMU_WARN_SPTE: return "spte";
    case TDPMMU_WARN_LEAK: return "leak";
    case TDPMMU_WARN_RCU: return "rcu";
    }
    return "unknown";
}

/* One write(2), so that lines of several threads do not mix. */
void cp_print_warning(const struct tdpmmu_warning *warning)
{
    int saved = errno;
    char line[512];
    int length;

    length = snprintf(line, sizeof(line), "libtdpmmu: warning (%s) in %s: %s (0x%llx, 0x%llx)\n",
                      kind_name(warning->kind), warning->function, warning->text,
                      (unsigned long long)warning->value[0],
                      (unsigned long long)warning->value[1]);
    if (length >= (int)sizeof(line)) {
        length = sizeof(line);
        line[length - 1] = '\n';
    }
    if (length > 0)
        (void)!write(STDERR_FILENO, line, (size_t)length);
    errno = saved;
}
