// SPDX-License-Identifier: GPL-2.0-only
// The layout of the file of statistics.
#define _GNU_SOURCE
#include <stddef.h>
#include <string.h>

#include "ckd_host.h"

enum { NAME = 48, COUNT = 5 };

struct file {
    struct kvm_stats_header header;
    char id[NAME];
    struct {
        struct kvm_stats_desc about;
        char name[NAME];
    } description[COUNT];
    uint64_t value[COUNT];
};

size_t ckd_stats_size(void) { return sizeof(struct file); }

void ckd_stats_describe(int fd)
{
    static const char *const names[COUNT] = {"remote_tlb_flush", "pages_4k", "pages_2m", "pages_1g", "nx_lpage_splits"};
    struct file file;
    memset(&file, 0, sizeof file);
    file.header.name_size = NAME;
    file.header.num_desc = COUNT;
    file.header.id_offset = offsetof(struct file, id);
    file.header.desc_offset = offsetof(struct file, description);
    file.header.data_offset = offsetof(struct file, value);
    strcpy(file.id, "kvm-tdpmmu");
    for (int i = 0; i < COUNT; i++) {
        file.description[i].about.flags = KVM_STATS_UNIT_NONE | KVM_STATS_BASE_POW10 |
                                          (i == 0 ? KVM_STATS_TYPE_CUMULATIVE : KVM_STATS_TYPE_INSTANT);
        file.description[i].about.size = 1;
        file.description[i].about.offset = (uint32_t)(i * 8);
        strcpy(file.description[i].name, names[i]);
    }
    ckd_write_at(fd, &file, sizeof file, 0);
}

void ckd_stats_fill(int fd, const uint64_t values[COUNT])
{
    ckd_write_at(fd, values, COUNT * 8, offsetof(struct file, value));
}
