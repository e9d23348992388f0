// SPDX-License-Identifier: GPL-2.0-only
// A VM in a process, and one in each of two that it forks.  Run by kvm/check.py, which looks at their recordings.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../examples/kvm_flat.h"

enum { ROUNDS = 10, CHILDREN = 2 };

GUEST static void write_pages(uint64_t value)
{
    for (uint64_t page = 0;; page++) {
        *flat_page(page) = value;
        flat_halt();
    }
}

static void run_one(uint64_t value)
{
    struct flat flat = flat_make(0);
    struct flat_vcpu vcpu = flat_vcpu(&flat, 0, write_pages, value);
    for (int round = 0; round < ROUNDS; round++)
        flat_run_to_halt(&vcpu);
}

int main(void)
{
    run_one(1);
    for (int child = 0; child < CHILDREN; child++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            run_one(2);
            exit(0);
        }
        if (waitpid(pid, &status, 0) != pid || status)
            return 1;
    }
    run_one(3);
    printf("%d children\n", CHILDREN);
    return 0;
}
