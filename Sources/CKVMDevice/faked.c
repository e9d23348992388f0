// SPDX-License-Identifier: GPL-2.0-only
// What is faked, each thing said once on stderr: HugeTLB pages are aligned transparent ones, a page's frame
// number is its address, page_idle asks the VMs alone, and KVM's module parameters are those of the options.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ckd_host.h"
#include "faked.h"
#include "real.h"

static int text_file(const char *text)
{
    int fd = (int)syscall(SYS_memfd_create, "parameter", MFD_CLOEXEC);
    if (fd >= 0) {
        ckd_write_at(fd, text, strlen(text), 0);
        lseek(fd, 0, SEEK_SET);
    }
    return fd;
}

// A parameter of KVM's modules, as this machine has it: NULL if it has none of that name.
static const char *parameter(const char *name)
{
    static const struct {
        const char *name, *value;
    } fixed[] = {
        {"tdp_mmu", "Y\n"}, {"eager_page_split", "Y\n"}, {"unrestricted_guest", "Y\n"}, {"nested", "N\n"},
        {"ept_lpages", "Y\n"}, {"allow_smaller_maxphyaddr", "N\n"}, {"force_emulation_prefix", "0\n"},
        {"enable_pmu", "N\n"}, {"nx_huge_pages_recovery_ratio", "1\n"}, {"nx_huge_pages_recovery_period_ms", "100\n"},
    };
    const struct ckd_options *options = ckd_options();
    if (!strcmp(name, "pml"))
        return options->no_pml ? "N\n" : "Y\n";
    // A program asks for the one or the other by the CPU that it runs on; each has second-stage tables.
    if (!strcmp(name, "ept") || !strcmp(name, "npt"))
        return "Y\n";
    if (!strcmp(name, "eptad"))
        return options->no_ad ? "N\n" : "Y\n";
    if (!strcmp(name, "nx_huge_pages"))
        return options->nx_huge_pages ? "Y\n" : "N\n";
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (!strcmp(name, fixed[i].name))
            return fixed[i].value;
    return NULL;
}

static bool is_huge_page_count(const char *path)
{
    const char *name = strrchr(path, '/');
    return name && !strcmp(name + 1, "nr_hugepages") &&
           (!strncmp(path, "/proc/sys/vm/", 13) || !strncmp(path, "/sys/kernel/mm/hugepages/", 25));
}

static int object_file(enum ckd_kind kind)
{
    struct ckd_object *object = ckd_zalloc(sizeof *object);
    if (!object)
        return -ENOMEM;
    *object = (struct ckd_object){kind, 1};
    int fd = ckd_fd_make("faked", 0, true, object);
    if (fd < 0)
        ckd_put(object);
    return fd;
}

static int finish(int fd)
{
    if (fd >= -1)
        return fd;
    errno = -fd;
    return -1;
}

bool ckd_open_faked(const char *path, int flags, int *fd)
{
    if (path[0] != '/' || (path[1] != 'p' && path[1] != 's'))
        return false;
    if (!strcmp(path, "/proc/self/pagemap")) {
        ckd_say_faked("/proc/self/pagemap: a page's frame number is its address");
        *fd = finish(object_file(CKD_PAGEMAP));
    } else if (!strcmp(path, "/sys/kernel/mm/page_idle/bitmap")) {
        ckd_say_faked("page_idle: the VMs alone are asked, and a page marked idle leaves their TLBs");
        *fd = finish(object_file(CKD_PAGE_IDLE));
    } else if (is_huge_page_count(path)) {
        ckd_say_faked("HugeTLB: as many pages as asked for, which are aligned transparent ones");
        *fd = text_file("512\n");
    } else if (!strncmp(path, "/sys/module/kvm", 15) && strstr(path, "/parameters/")) {
        const char *value = parameter(strrchr(path, '/') + 1);
        if (!value)
            return false;
        ckd_say_faked("module parameters of kvm: the options of tdpmmu-kvm");
        *fd = text_file(value);
    } else
        return false;
    (void)flags;
    return true;
}

FILE *ckd_fopen_faked(const char *path)
{
    if (strcmp(path, "/proc/meminfo"))
        return NULL;
    FILE *host = ckd_real()->fopen(path, "r");
    int fd = (int)syscall(SYS_memfd_create, "meminfo", MFD_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "w+") : NULL;
    char line[256];
    // All as it is but for the lines about HugeTLB.
    while (host && file && fgets(line, sizeof line, host))
        if (strncmp(line, "HugePages_", 10) && strncmp(line, "Hugepagesize:", 13))
            fputs(line, file);
    if (host)
        fclose(host);
    if (!file)
        return NULL;
    ckd_say_faked("HugeTLB: as many pages as asked for, which are aligned transparent ones");
    fputs("HugePages_Total: 512\nHugePages_Free: 512\nHugePages_Rsvd: 0\nHugepagesize: 2048 kB\n", file);
    rewind(file);
    return file;
}

// Linux puts the logarithm of the page's size into the flags; 0 stands for 2 MiB.
static uint32_t level_of(int flags) { return (flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK) == 30 ? 3 : 2; }

static size_t page_of(int flags) { return level_of(flags) == 3 ? 1ul << 30 : 2ul << 20; }

size_t ckd_hugetlb_bytes(size_t bytes, int flags) { return (bytes + page_of(flags) - 1) & ~(page_of(flags) - 1); }

void *ckd_map_hugetlb(void *address, size_t bytes, int protection, int flags)
{
    uint32_t level = level_of(flags);
    size_t page = page_of(flags);
    int plain = flags & ~(MAP_HUGETLB | MAP_HUGE_MASK << MAP_HUGE_SHIFT);
    const struct ckd_real *real = ckd_real();
    ckd_say_faked("HugeTLB: as many pages as asked for, which are aligned transparent ones");
    bytes = ckd_hugetlb_bytes(bytes, flags);
    char *at = address;
    if (!(flags & MAP_FIXED)) {
        char *room = real->mmap(NULL, bytes + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (room == MAP_FAILED)
            return MAP_FAILED;
        at = (char *)(((uint64_t)room + page - 1) & ~(page - 1));
        // The stretches before and behind go back.
        if (at > room)
            real->munmap(room, (size_t)(at - room));
        if (room + page > at)
            real->munmap(at + bytes, (size_t)(room + page - at));
    }
    char *mapped = real->mmap(at, bytes, protection, plain | MAP_FIXED, -1, 0);
    if (mapped == MAP_FAILED)
        return MAP_FAILED;
    real->madvise(mapped, bytes, MADV_HUGEPAGE);
    ckd_set_host_level((uint64_t)mapped, (uint64_t)mapped + bytes, level);
    return mapped;
}

// Words of a file that answers by eight bytes: how many fit from this offset on, in a file of so many; or -EINVAL.
static ssize_t words_of(size_t bytes, off_t offset, uint64_t all)
{
    if (offset < 0 || offset % 8 || bytes % 8)
        return -EINVAL;
    uint64_t first = (uint64_t)offset / 8, wanted = bytes / 8;
    if (first >= all)
        return 0;
    return (ssize_t)(wanted < all - first ? wanted : all - first);
}

// User memory ends at 2^47: a word of pagemap is about a page, one of page_idle about 64.
static uint64_t all_words(enum ckd_kind kind) { return kind == CKD_PAGEMAP ? 1ull << 35 : 1ull << 29; }

ssize_t ckd_read_faked(enum ckd_kind kind, void *buffer, size_t bytes, off_t offset)
{
    ssize_t words = words_of(bytes, offset, all_words(kind));
    uint64_t first = (uint64_t)offset / 8, some[64];
    for (ssize_t done = 0; done < words;) {
        size_t count = 0;
        // Bit 63 of an entry of pagemap: the page is there.
        for (; count < 64 && done + (ssize_t)count < words; count++) {
            uint64_t index = first + (uint64_t)done + count;
            some[count] = kind == CKD_PAGEMAP ? 1ull << 63 | index : ckd_idle_read(index);
        }
        if (!ckd_copy_out((uint64_t)buffer + 8 * (uint64_t)done, some, 8 * count))
            return -EFAULT;
        done += (ssize_t)count;
    }
    return words < 0 ? words : 8 * words;
}

ssize_t ckd_write_faked(enum ckd_kind kind, const void *buffer, size_t bytes, off_t offset)
{
    if (kind != CKD_PAGE_IDLE)
        return -EINVAL;
    ssize_t words = words_of(bytes, offset, all_words(kind));
    if (words == 0 && bytes)
        return -ENXIO;
    for (ssize_t done = 0; done < words; done++) {
        uint64_t word;
        if (!ckd_copy_in(&word, (uint64_t)buffer + 8 * (uint64_t)done, 8))
            return -EFAULT;
        ckd_idle_write((uint64_t)offset / 8 + (uint64_t)done, word);
    }
    return words < 0 ? words : 8 * words;
}
