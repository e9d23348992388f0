// SPDX-License-Identifier: GPL-2.0-only
/* The default warning handler. */
#include "cplatform.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *kind_name(enum tdpmmu_warning_kind kind)
{
    switch (kind) {
    case TDPMMU_WARN_ARGUMENT: return "argument";
    case TDPMMU_WARN_LOCK: return "lock";
    case TDPMMU_WARN_SPTE: return "spte";
    case TDPMMU_WARN_LEAK: return "leak";
    case TDPMMU_WARN_RCU: return "rcu";
    case TDPMMU_WARN_CHECK: return "check";
    case TDPMMU_WARN_FLUSH: return "flush";
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

/* The name of a thread of this process, "?" if it has gone or there is no /proc. */
static void thread_name(char name[17], uint64_t tid)
{
    char path[64];
    ssize_t length = -1;
    int file;

    snprintf(path, sizeof(path), "/proc/self/task/%llu/comm", (unsigned long long)tid);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        length = read(file, name, 16);
        close(file);
    }
    if (length <= 0) {
        strcpy(name, "?");
        return;
    }
    name[length] = 0;
    name[strcspn(name, "\n")] = 0;
}

void cp_describe_stall(struct cp_stall_text *to, uint64_t tid, uint64_t ms)
{
    int saved = errno;
    char name[17];

    if (tid) {
        thread_name(name, tid);
        snprintf(to->text, sizeof(to->text),
                 "a reader in thread %llu (%s) holds up a grace period for %llu ms",
                 (unsigned long long)tid, name, (unsigned long long)ms);
    } else {
        snprintf(to->text, sizeof(to->text),
                 "a reader in an exiting thread holds up a grace period for %llu ms",
                 (unsigned long long)ms);
    }
    errno = saved;
}
