/* SPDX-License-Identifier: GPL-2.0-only */
/* This program once more, in a process of its own, with something else in its environment.  After cmocka.h. */
#ifndef OWN_PROCESS_H
#define OWN_PROCESS_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* only: the one test that it runs; NULL: all.  argument: its only one, or NULL.  Returns its status, as wait() does. */
static inline int status_of_own_process(const char *program, const char *name, const char *value, const char *only,
                                        const char *argument)
{
    int status;
    pid_t child;

    fflush(stdout);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        setenv(name, value, 1);
        if (only)
            setenv("TDPMMU_TEST_ONLY", only, 1);
        else
            unsetenv("TDPMMU_TEST_ONLY");
        execl(program, program, argument, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

#endif
