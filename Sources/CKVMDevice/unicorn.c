// SPDX-License-Identifier: GPL-2.0-only
// The engine: Unicorn 2.1.4, whose library is looked for when the first vCPU runs.
// Its interface is declared here as far as it is used, so that nothing is needed to build this.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckd_host.h"

enum { ARCH_X86 = 4, CPU_NEHALEM = 15, TLB_VIRTUAL = 1, CODE_BUFFER = 16 << 20 };
enum { MEM_WRITE = 17, MEM_FETCH = 18 };
enum { HOOK_INTR = 1, HOOK_INSN = 2, HOOK_CODE = 4, HOOK_BLOCK = 8, HOOK_INSN_INVALID = 1 << 14, HOOK_TLB_FILL = 1 << 17 };
enum { INSN_IN = 218, INSN_OUT = 500, INSN_CPUID = 113 };
enum { FORGET_CODE = 0x4000000a, FLUSH_TLB = 0x4000000b, TLB_TYPE = 0x4400000c, CPU_MODEL = 0x44000007,
       BUFFER_SIZE = 0x4400000d };
enum { RAX = 35, RBP = 36, RBX = 37, RCX = 38, RDI = 39, RDX = 40, RIP = 41, RSI = 43, RSP = 44, R8 = 106,
       RFLAGS = 253 };
enum { EAX = 19, EBP = 20, EBX = 21, ECX = 22, EDI = 23, EDX = 24, EFLAGS = 25, EIP = 26, ESI = 29, ESP = 30 };
enum { CR0 = 50, CR2 = 52, CR3 = 53, CR4 = 54, IDTR = 242, GDTR = 243, FS_BASE = 250, GS_BASE = 251,
       CS = 11, DS = 17, ES = 28, FS = 32, GS = 33, SS = 49 };

struct tlb_entry {
    uint64_t page;
    uint32_t allowed;
};
struct table_register {
    uint16_t selector;
    uint64_t base;
    uint32_t limit, flags;
};

struct ckd_engine {
    void *uc;
    int bits;
    struct ckd_vcpu *vcpu;
    uint64_t *watched;
    size_t watches, room;
};

static struct {
    int (*open)(int, int, void **);
    int (*close)(void *);
    int (*ctl)(void *, unsigned, ...);
    int (*hook_add)(void *, size_t *, int, void *, void *, uint64_t, uint64_t, ...);
    int (*reg_read)(void *, int, void *);
    int (*reg_write)(void *, int, const void *);
    int (*reg_read_batch)(void *, const int *, void **, int);
    int (*reg_write_batch)(void *, const int *, void *const *, int);
    int (*mem_map_ptr)(void *, uint64_t, uint64_t, uint32_t, void *);
    int (*mmio_map)(void *, uint64_t, uint64_t, void *, void *, void *, void *);
    int (*emu_start)(void *, uint64_t, uint64_t, uint64_t, size_t);
    int (*emu_stop)(void *);
    const char *(*strerror)(int);
    unsigned (*version)(unsigned *, unsigned *);
} uc;

// ---- the library ------------------------------------------------------------------

static char missing[400];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *open_library(void)
{
    const char *named = getenv("TDPMMU_KVM_ENGINE");
    return dlopen(named && *named ? named : "libunicorn.so.2", RTLD_NOW | RTLD_LOCAL);
}

static void look_up(void)
{
    static const struct {
        const char *name;
        void **to;
    } names[] = {
        {"uc_open", (void **)&uc.open}, {"uc_close", (void **)&uc.close}, {"uc_ctl", (void **)&uc.ctl},
        {"uc_hook_add", (void **)&uc.hook_add}, {"uc_reg_read", (void **)&uc.reg_read},
        {"uc_reg_write", (void **)&uc.reg_write}, {"uc_reg_read_batch", (void **)&uc.reg_read_batch},
        {"uc_reg_write_batch", (void **)&uc.reg_write_batch}, {"uc_mem_map_ptr", (void **)&uc.mem_map_ptr},
        {"uc_mmio_map", (void **)&uc.mmio_map}, {"uc_emu_start", (void **)&uc.emu_start},
        {"uc_emu_stop", (void **)&uc.emu_stop}, {"uc_strerror", (void **)&uc.strerror},
        {"uc_version", (void **)&uc.version},
    };
    void *library = open_library();
    if (!library) {
        snprintf(missing, sizeof missing, "no engine: %s; `make kvm` fetches Unicorn 2.1.4, "
                 "or say TDPMMU_KVM_ENGINE=<its libunicorn.so.2>", dlerror());
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!(*names[i].to = dlsym(library, names[i].name))) {
            snprintf(missing, sizeof missing, "this libunicorn has no %s; Unicorn 2.1.4 is wanted", names[i].name);
            return;
        }
    unsigned major = 0, minor = 0;
    uc.version(&major, &minor);
    if (major != 2 || minor < 1)
        snprintf(missing, sizeof missing, "this libunicorn is %u.%u; 2.1 is wanted", major, minor);
}

const char *ckd_engine_missing(void)
{
    pthread_once(&once, look_up);
    return missing[0] ? missing : NULL;
}

// ---- hooks --------------------------------------------------------------------------

static void on_block(void *u, uint64_t address, uint32_t size, void *vcpu)
{
    (void)u;
    ckd_block(vcpu, address, size);
}

static void on_watched(void *u, uint64_t address, uint32_t size, void *vcpu)
{
    (void)u, (void)size;
    ckd_watched(vcpu, address);
}

static bool on_fill(void *u, uint64_t gva, int type, struct tlb_entry *entry, void *vcpu)
{
    (void)u;
    uint32_t access = type == MEM_WRITE ? CKD_WRITE : type == MEM_FETCH ? CKD_EXECUTE : CKD_READ;
    return ckd_fill(vcpu, gva, access, &entry->page, &entry->allowed);
}

static uint32_t on_in(void *u, uint32_t port, int size, void *vcpu)
{
    (void)u;
    ckd_port(vcpu, port, size, true, 0);
    return 0;
}

static void on_out(void *u, uint32_t port, int size, uint32_t value, void *vcpu)
{
    (void)u;
    ckd_port(vcpu, port, size, false, value);
}

static void on_interrupt(void *u, uint32_t vector, void *vcpu)
{
    (void)u;
    ckd_exception(vcpu, vector);
}

static bool on_invalid(void *u, void *vcpu)
{
    (void)u;
    ckd_exception(vcpu, 6);
    return true;
}

static int on_cpuid(void *u, void *vcpu)
{
    (void)u;
    ckd_cpuid(vcpu);
    return 1;
}

static uint64_t on_mmio_read(void *u, uint64_t offset, unsigned size, void *vcpu)
{
    (void)u;
    return ckd_mmio_read(vcpu, offset, size);
}

static void on_mmio_write(void *u, uint64_t offset, unsigned size, uint64_t value, void *vcpu)
{
    (void)u;
    ckd_mmio_write(vcpu, offset, size, value);
}

static bool add_hooks(void *u, struct ckd_vcpu *vcpu)
{
    size_t hook;
    // The range from 1 to 0 means everywhere.
    int wrong = uc.hook_add(u, &hook, HOOK_TLB_FILL, (void *)on_fill, vcpu, 1, 0);
    wrong |= uc.hook_add(u, &hook, HOOK_BLOCK, (void *)on_block, vcpu, 1, 0);
    wrong |= uc.hook_add(u, &hook, HOOK_INTR, (void *)on_interrupt, vcpu, 1, 0);
    wrong |= uc.hook_add(u, &hook, HOOK_INSN_INVALID, (void *)on_invalid, vcpu, 1, 0);
    wrong |= uc.hook_add(u, &hook, HOOK_INSN, (void *)on_in, vcpu, 1, 0, INSN_IN);
    wrong |= uc.hook_add(u, &hook, HOOK_INSN, (void *)on_out, vcpu, 1, 0, INSN_OUT);
    wrong |= uc.hook_add(u, &hook, HOOK_INSN, (void *)on_cpuid, vcpu, 1, 0, INSN_CPUID);
    return wrong == 0;
}

struct ckd_engine *ckd_engine_make(int bits, struct ckd_vcpu *vcpu)
{
    struct ckd_engine *engine = ckd_zalloc(sizeof *engine);
    if (!engine)
        return NULL;
    engine->bits = bits;
    engine->vcpu = vcpu;
    // The engine's names of modes are the number of bits over eight.
    if (uc.open(ARCH_X86, bits / 8, &engine->uc)) {
        ckd_free(engine);
        return NULL;
    }
    int wrong = uc.ctl(engine->uc, CPU_MODEL, CPU_NEHALEM);
    wrong |= uc.ctl(engine->uc, BUFFER_SIZE, CODE_BUFFER);
    wrong |= uc.ctl(engine->uc, TLB_TYPE, TLB_VIRTUAL);
    // All memory of the process at its own address: what ckd_fill() answers are host addresses.
    wrong |= uc.mem_map_ptr(engine->uc, 0x1000, (1ull << 47) - 0x2000, 7, (void *)0x1000);
    wrong |= uc.mmio_map(engine->uc, CKD_MMIO_PAGE, 4096, (void *)on_mmio_read, vcpu, (void *)on_mmio_write, vcpu);
    if (wrong || !add_hooks(engine->uc, vcpu)) {
        ckd_engine_free(engine);
        return NULL;
    }
    return engine;
}

void ckd_engine_free(struct ckd_engine *engine)
{
    if (!engine)
        return;
    uc.close(engine->uc);
    free(engine->watched);
    ckd_free(engine);
}

bool ckd_engine_watch(struct ckd_engine *engine, uint64_t gva)
{
    for (size_t i = 0; i < engine->watches; i++)
        if (engine->watched[i] == gva)
            return false;
    if (engine->watches == engine->room) {
        size_t room = engine->room ? 2 * engine->room : 32;
        uint64_t *larger = realloc(engine->watched, room * sizeof *larger);
        if (!larger)
            return false;
        engine->watched = larger;
        engine->room = room;
    }
    size_t hook;
    if (uc.hook_add(engine->uc, &hook, HOOK_CODE, (void *)on_watched, engine->vcpu, gva, gva))
        return false;
    engine->watched[engine->watches++] = gva;
    return true;
}

// ---- registers --------------------------------------------------------------------------

// In the order of struct kvm_regs; of fewer than 64 bits, with nothing for R8 to R15.
static const int general[18] = {RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP, R8, R8 + 1, R8 + 2, R8 + 3, R8 + 4,
                                R8 + 5, R8 + 6, R8 + 7, RIP, RFLAGS};
static const int narrow[10] = {EAX, EBX, ECX, EDX, ESI, EDI, ESP, EBP, EIP, EFLAGS};
_Static_assert(sizeof(struct kvm_regs) == sizeof general / sizeof general[0] * 8, "each of them");

// Which registers the engine has, where their values are, and how many there are.
static int addresses(const struct ckd_engine *engine, const struct kvm_regs *regs, void *to[18], const int **names)
{
    int count = engine->bits == 64 ? 18 : 10;
    for (int i = 0; i < count; i++)
        to[i] = (uint64_t *)regs + (count == 10 && i >= 8 ? i + 8 : i);
    *names = count == 18 ? general : narrow;
    return count;
}

void ckd_engine_load(struct ckd_engine *engine, const struct kvm_regs *regs)
{
    void *values[18];
    const int *names;
    int count = addresses(engine, regs, values, &names);
    uc.reg_write_batch(engine->uc, names, values, count);
}

void ckd_engine_store(struct ckd_engine *engine, struct kvm_regs *regs)
{
    void *values[18];
    const int *names;
    int count = addresses(engine, regs, values, &names);
    uc.reg_read_batch(engine->uc, names, values, count);
}

static const int segment_names[] = {CS, DS, ES, FS, GS, SS};
#define SEGMENTS(sregs) \
    struct kvm_segment *const segments[] = {&(sregs)->cs, &(sregs)->ds, &(sregs)->es, &(sregs)->fs, &(sregs)->gs, &(sregs)->ss};

void ckd_engine_load_system(struct ckd_engine *engine, struct kvm_sregs *sregs)
{
    struct table_register gdt = {0, sregs->gdt.base, sregs->gdt.limit, 0};
    struct table_register idt = {0, sregs->idt.base, sregs->idt.limit, 0};
    uint64_t cr3 = sregs->cr3;
    uc.reg_write(engine->uc, GDTR, &gdt);
    uc.reg_write(engine->uc, IDTR, &idt);
    uc.reg_write(engine->uc, CR3, &cr3);
    if (engine->bits == 64) {
        uc.reg_write(engine->uc, FS_BASE, &sregs->fs.base);
        uc.reg_write(engine->uc, GS_BASE, &sregs->gs.base);
        return;
    }
    if (engine->bits == 32) { // with 64 bits paging is on, and the engine has its own way to say so
        uc.reg_write(engine->uc, CR4, &sregs->cr4);
        uc.reg_write(engine->uc, CR0, &sregs->cr0);
    }
    if (engine->bits == 16) {
        SEGMENTS(sregs)
        for (int i = 0; i < 6; i++) {
            uint64_t selector = segments[i]->base >> 4; // what the base is made of in real mode
            uc.reg_write(engine->uc, segment_names[i], &selector);
        }
    }
}

void ckd_engine_store_system(struct ckd_engine *engine, struct kvm_sregs *sregs)
{
    struct table_register table;
    memset(&table, 0, sizeof table);
    uc.reg_read(engine->uc, GDTR, &table);
    sregs->gdt.base = table.base;
    sregs->gdt.limit = (uint16_t)table.limit;
    uc.reg_read(engine->uc, IDTR, &table);
    sregs->idt.base = table.base;
    sregs->idt.limit = (uint16_t)table.limit;
    uint64_t cr3 = 0;
    uc.reg_read(engine->uc, CR3, &cr3);
    sregs->cr3 = cr3;
    if (engine->bits == 64) {
        uc.reg_read(engine->uc, FS_BASE, &sregs->fs.base);
        uc.reg_read(engine->uc, GS_BASE, &sregs->gs.base);
    }
    if (engine->bits == 16) {
        SEGMENTS(sregs)
        for (int i = 0; i < 6; i++) {
            uint64_t selector = 0;
            uc.reg_read(engine->uc, segment_names[i], &selector);
            segments[i]->selector = (uint16_t)selector;
            segments[i]->base = (uint64_t)segments[i]->selector << 4;
        }
    }
}

uint64_t ckd_engine_rip(struct ckd_engine *engine)
{
    uint64_t rip = 0;
    uc.reg_read(engine->uc, engine->bits == 64 ? RIP : EIP, &rip);
    return rip;
}

void ckd_engine_paging(struct ckd_engine *engine, uint64_t *cr0, uint64_t *cr3, uint64_t *cr4)
{
    if (engine->bits != 64) { // in 64 bits it is on, and the engine does not tell CR0 as it was set
        uc.reg_read(engine->uc, CR0, cr0);
        uc.reg_read(engine->uc, CR4, cr4);
    }
    uc.reg_read(engine->uc, CR3, cr3);
}

void ckd_engine_set_cr2(struct ckd_engine *engine, uint64_t address) { uc.reg_write(engine->uc, CR2, &address); }

void ckd_engine_cpuid(struct ckd_engine *engine, uint32_t answer[4], uint32_t *function, uint32_t *index, bool set)
{
    static const int wide[] = {RAX, RBX, RCX, RDX}, few[] = {EAX, EBX, ECX, EDX};
    const int *names = engine->bits == 64 ? wide : few;
    uint64_t rax = 0, rcx = 0;
    if (!set) {
        uc.reg_read(engine->uc, names[0], &rax);
        uc.reg_read(engine->uc, names[2], &rcx);
        *function = (uint32_t)rax;
        *index = (uint32_t)rcx;
        return;
    }
    for (int i = 0; i < 4; i++) {
        uint64_t value = answer[i];
        uc.reg_write(engine->uc, names[i], &value);
    }
}

// ---- running ------------------------------------------------------------------------------

uint64_t ckd_engine_linear_rip(struct ckd_engine *engine)
{
    uint64_t rip = ckd_engine_rip(engine), cs = 0;
    if (engine->bits != 16)
        return rip;
    uc.reg_read(engine->uc, CS, &cs);
    return rip + ((cs & 0xffff) << 4);
}

const char *ckd_engine_run(struct ckd_engine *engine, uint64_t instructions)
{
    uint64_t rip = ckd_engine_linear_rip(engine); // it takes that here, and tells an offset in real mode
    // 0 as the end: ~0 would be the address of the last byte, which is none.
    int wrong = uc.emu_start(engine->uc, rip, 0, 0, instructions);
    return wrong ? uc.strerror(wrong) : NULL;
}

void ckd_engine_stop(struct ckd_engine *engine) { uc.emu_stop(engine->uc); }
void ckd_engine_flush(struct ckd_engine *engine) { uc.ctl(engine->uc, FLUSH_TLB); }
void ckd_engine_forget_code(struct ckd_engine *engine) { uc.ctl(engine->uc, FORGET_CODE); }
