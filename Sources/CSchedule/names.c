/* SPDX-License-Identifier: GPL-2.0-only */
/* What a failure is told with: names of addresses, and the table of who did what. */
#ifdef TDPMMU_SCHEDULE_POINTS
#define _GNU_SOURCE
#include "engine.h"

#include <ctype.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES 256

static struct names {
    struct { uint64_t start, bytes; char name[48]; } name[NAMES];
    uint32_t count;
    cs_namer namer;
} *names;

static struct names *all_names(void)
{
    if (!names)
        names = mmap(NULL, sizeof(*names), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return names;
}

void cs_set_namer(cs_namer namer)
{
    all_names()->namer = namer;
}

void cs_name(const void *address, size_t bytes, const char *name)
{
    struct names *n = all_names();

    if (n->count == NAMES)
        return;
    n->name[n->count].start = (uintptr_t)address;
    n->name[n->count].bytes = bytes;
    snprintf(n->name[n->count].name, sizeof(n->name[0].name), "%s", name);
    n->count++;
}

/* The identifiers of a Swift name, joined by dots; others as they are. */
static void put_readable(const char *name, char *text, size_t size)
{
    size_t used = 0;

    if (name[0] != '$' || (name[1] != 's' && name[1] != 'e')) {
        snprintf(text, size, "%s", name);
        return;
    }
    text[0] = 0;
    for (const char *at = name + 2; *at; at++) {
        size_t length = 0;

        if (!isdigit((unsigned char)*at) || *at == '0')
            continue;
        while (isdigit((unsigned char)*at))
            length = length * 10 + (size_t)(*at++ - '0');
        if (length == 0 || length > strlen(at) || used + length + 2 > size)
            break;
        if (length < 32) /* those of 33 are the names of private contexts */
            used += (size_t)snprintf(text + used, size - used, "%s%.*s", used ? "." : "", (int)length, at);
        at += length - 1;
    }
}

struct wanted { uint64_t address; const char *path; uint64_t base; };

static int find_object(struct dl_phdr_info *object, size_t size, void *data)
{
    struct wanted *wanted = data;

    (void)size;
    for (int i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_LOAD &&
            wanted->address - (object->dlpi_addr + object->dlpi_phdr[i].p_vaddr) < object->dlpi_phdr[i].p_memsz) {
            wanted->path = object->dlpi_name[0] ? object->dlpi_name : "/proc/self/exe";
            wanted->base = object->dlpi_addr;
            return 1;
        }
    return 0;
}

/* By the table of symbols in the file. */
static bool put_symbol(uint64_t address, bool is_code, char *text, size_t size)
{
    struct wanted wanted = {address, NULL, 0};
    struct stat status;
    bool found = false;
    int fd;

    if (!dl_iterate_phdr(find_object, &wanted) || (fd = open(wanted.path, O_RDONLY | O_CLOEXEC)) < 0)
        return false;
    if (fstat(fd, &status) == 0) {
        char *file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        const Elf64_Ehdr *head = (const Elf64_Ehdr *)file;
        const Elf64_Shdr *sections = (const Elf64_Shdr *)(file + head->e_shoff);

        for (int s = 0; file != MAP_FAILED && !found && s < head->e_shnum; s++) {
            if (sections[s].sh_type != SHT_SYMTAB)
                continue;
            const Elf64_Sym *symbols = (const Elf64_Sym *)(file + sections[s].sh_offset);
            const char *strings = file + sections[sections[s].sh_link].sh_offset;

            for (size_t i = 0; i < sections[s].sh_size / sizeof(*symbols); i++) {
                uint64_t offset = address - wanted.base - symbols[i].st_value;
                unsigned type = ELF64_ST_TYPE(symbols[i].st_info);

                if (type != (is_code ? STT_FUNC : STT_OBJECT) || offset >= symbols[i].st_size)
                    continue;
                put_readable(strings + symbols[i].st_name, text, size);
                if (!is_code && offset)
                    snprintf(text + strlen(text), size - strlen(text), "+%llu", (unsigned long long)offset);
                found = true;
                break;
            }
        }
        if (file != MAP_FAILED)
            munmap(file, (size_t)status.st_size);
    }
    close(fd);
    return found;
}

void cs_describe(uint64_t address, char *text, size_t size)
{
    struct names *n = all_names();

    for (uint32_t i = 0; i < n->count; i++) {
        uint64_t offset = address - n->name[i].start;

        if (offset < n->name[i].bytes) {
            if (offset)
                snprintf(text, size, "%s+%llu", n->name[i].name, (unsigned long long)offset);
            else
                snprintf(text, size, "%s", n->name[i].name);
            return;
        }
    }
    if (n->namer && n->namer(address, text, size))
        return;
    for (int i = 0; i < CS_THREADS; i++) {
        uint64_t below = cs_the_engine->threads[i].thread_pointer - address;

        if (below < 16384) {
            snprintf(text, size, "thread %c's own-%llu", cs_letter(i), (unsigned long long)below);
            return;
        }
        if (address - (uintptr_t)&cs_the_engine->threads[i] < sizeof(struct cs_thread)) {
            snprintf(text, size, "thread %c", cs_letter(i));
            return;
        }
    }
    if (put_symbol(address, false, text, size))
        return;
    snprintf(text, size, "%s0x%llx", cs_owns((void *)address) ? "heap " : "", (unsigned long long)address);
}

void cs_describe_caller(const void *caller, char *text, size_t size)
{
    if (!caller || !put_symbol((uintptr_t)caller - 1, true, text, size))
        snprintf(text, size, "?");
}

void cs_write_entry(char *text, size_t size, int32_t level, uint64_t gfn, bool in_root)
{
    snprintf(text, size, "SPTE%s level %d gfn %llx", in_root ? " of a root," : "", level, (unsigned long long)gfn);
}

/* ---- the table ------------------------------------------------------------------ */

static const char *const kinds[CS_KINDS] = {"load", "store", "exchange", "compare", "arithmetic", "wait", "wake",
                                            "yield", "sleep", "start", "join", "fence", "point", "end"};

static void put_step(const struct cs_step *s, char *text, size_t size)
{
    char name[80], caller[80];

    cs_describe(s->address, name, sizeof(name));
    cs_describe_caller(s->caller, caller, sizeof(caller));
    if (s->kind == CS_LOAD)
        snprintf(text, size, "load %s: %llx", name, (unsigned long long)s->old_value);
    else if (s->kind == CS_COMPARE && s->old_value == s->new_value)
        snprintf(text, size, "compare %s: %llx, lost", name, (unsigned long long)s->old_value);
    else if (s->kind <= CS_ARITHMETIC)
        snprintf(text, size, "%s %s: %llx -> %llx", kinds[s->kind], name, (unsigned long long)s->old_value,
                 (unsigned long long)s->new_value);
    else
        snprintf(text, size, "%s %s", kinds[s->kind], name);
    snprintf(text + strlen(text), size - strlen(text), "  [%s]", caller);
}

/* A column for each thread; of the steps those at words that more than one has, and all at borders of stretches. */
void cs_print_table(uint32_t threads)
{
    struct cs_engine *e = cs_the_engine;
    uint32_t seen = 0;
    int last = -1;

    for (uint32_t i = 0; i < e->step_count; i++)
        seen |= 1u << e->steps_seen[i].thread;
    (void)threads;
    printf("%6s ", "step");
    for (int t = 0; t < CS_THREADS; t++)
        if (seen >> t & 1)
            printf(" %c  ", cs_letter(t));
    printf("\n");
    for (uint32_t i = 0; i < e->step_count; i++) {
        const struct cs_step *s = &e->steps_seen[i];
        char text[320];

        if (!cs_word_at(s->address)->is_shared)
            continue;
        if (last >= 0 && last != s->thread)
            printf("%6s  ----\n", "");
        last = s->thread;
        put_step(s, text, sizeof(text));
        printf("%6u ", i);
        for (int t = 0; t < s->thread; t++)
            if (seen >> t & 1)
                printf("    ");
        printf(" %c  %s\n", cs_letter(s->thread), text);
    }
}
#endif
