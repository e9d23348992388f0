// SPDX-License-Identifier: GPL-2.0-only
/* Included by recorder.c: what of the recorded machine a replay has to know, as one line. */

/* The first `size` - 1 bytes of a file, read to its end piece by piece; "" if there is none. */
static char *read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY);
    size_t used = 0;
    ssize_t n;

    while (fd >= 0 && used < size - 1 && (n = read(fd, text + used, size - 1 - used)) > 0)
        used += (size_t)n;
    if (fd >= 0)
        close(fd);
    text[used] = 0;
    return text;
}

static bool is_yes(const char *path)
{
    char text[8];

    return read_text(path, text, sizeof(text))[0] == 'Y';
}

/* What /proc/cpuinfo says of the first processor: "" if it has no such line. */
static const char *cpuinfo(const char *key)
{
    static char text[1 << 14];
    char *save, *line;

    read_text("/proc/cpuinfo", text, sizeof(text));
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *colon = strchr(line, ':');
        size_t length = colon ? strcspn(line, "\t:") : 0;

        if (colon && length == strlen(key) && !strncmp(line, key, length))
            return colon + 1;
    }
    return "";
}

/* Whether a list of words separated by blanks has that one. */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    while (*list) {
        list += strspn(list, " ");
        if (strcspn(list, " ") == length && !strncmp(list, word, length))
            return true;
        list += strcspn(list, " ");
    }
    return false;
}

/*
 * How many address bits the L1 data cache looks at, which KVM keeps a poisoned nonpresent SPTE's
 * bits away from: 0 where the processor has no L1TF.  The kernel takes 44 for client models from
 * Nehalem to Kaby Lake, whose caches look at more bits than CPUID tells, whatever mitigations= says.
 */
static int l1tf_cache_bits(int physical_bits)
{
    static const int wide[] = {
        0x1e, 0x25, 0x2a, 0x3a, /* Nehalem, Westmere, Sandy Bridge, Ivy Bridge */
        0x3c, 0x45, 0x46,       /* Haswell */
        0x3d, 0x47,             /* Broadwell */
        0x4e, 0x5e,             /* Skylake */
        0x8e, 0x9e,             /* Kaby Lake */
    };
    int family = atoi(cpuinfo("cpu family")), model = atoi(cpuinfo("model"));

    if (!has_word(cpuinfo("bugs"), "l1tf"))
        return 0;
    for (size_t i = 0; family == 6 && i < sizeof(wide) / sizeof(wide[0]); i++)
        if (wide[i] == model && physical_bits < 44)
            return 44;
    return physical_bits;
}

/* With NPT a root has as many levels as the host's page tables; with EPT 5 only if addresses need them. */
static int new_root_level(bool ept, int physical_bits)
{
    if (ept)
        return has_word(cpuinfo("vmx flags"), "ept_5level") && physical_bits > 48 ? 5 : 4;
    return has_word(cpuinfo("flags"), "la57") ? 5 : 4;
}

static bool has_pml(void)
{
    return is_yes("/sys/module/kvm_intel/parameters/pml"); /* "" without kvm_intel */
}

/* KVM keeps 64 entries free, and with PML 512 more, for what may come before the vCPU can be stopped. */
static uint32_t least_ring_bytes(void)
{
    return has_pml() ? 16384 : 4096;
}

static void mark_host_info(void)
{
    bool ept = has_word(cpuinfo("vendor_id"), "GenuineIntel");
    bool ad = !ept || is_yes("/sys/module/kvm_intel/parameters/eptad");
    int physical_bits = atoi(cpuinfo("address sizes"));

    mark("INFO vendor=%s ad=%d pml=%d root_level=%d maxphyaddr=%d l1tf_cache_bits=%d", ept ? "ept" : "npt", ad, has_pml(),
         new_root_level(ept, physical_bits), physical_bits, l1tf_cache_bits(physical_bits));
}
