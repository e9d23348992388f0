// SPDX-License-Identifier: GPL-2.0-only
// Instructions that the device makes itself, or looks at before the engine does: strings between ports and memory,
// exceptions in real mode, what a CPU refuses.
#define _GNU_SOURCE
#include <stdlib.h>

#include "guest.h"

enum { PORT = 0x3f8 };

static struct kvm_regs regs_of(const struct guest *guest)
{
    struct kvm_regs regs;
    assert_int_equal(ioctl(guest->vcpu, KVM_GET_REGS, &regs), 0);
    return regs;
}

static void set_regs(const struct guest *guest, const struct kvm_regs *regs)
{
    assert_int_equal(ioctl(guest->vcpu, KVM_SET_REGS, regs), 0);
}

static void run_to(struct guest *guest, uint32_t reason)
{
    assert_int_equal(ioctl(guest->vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest->run->exit_reason, reason);
}

static uint8_t *port_data(const struct guest *guest) { return (uint8_t *)guest->run + guest->run->io.data_offset; }

// Runs until `bytes` have gone through the port: from the guest to `to`, or from `from` to the guest.  Returns the exits.
static int stream(struct guest *guest, unsigned size, size_t bytes, uint8_t *to, const uint8_t *from)
{
    int exits = 0;
    for (size_t done = 0; done < bytes; exits++) {
        run_to(guest, KVM_EXIT_IO);
        assert_int_equal(guest->run->io.direction, to ? KVM_EXIT_IO_OUT : KVM_EXIT_IO_IN);
        assert_int_equal(guest->run->io.port, PORT);
        assert_int_equal(guest->run->io.size, size);
        size_t here = (size_t)guest->run->io.count * size;
        assert_true(here > 0 && done + here <= bytes);
        if (to)
            memcpy(to + done, port_data(guest), here);
        else
            memcpy(port_data(guest), from + done, here);
        done += here;
    }
    return exits;
}

enum { ITEMS = 1500 };

// In 64 bits: rsi, rdi: `at`; the string instruction with these prefixes, and a halt.
static void give_string(struct guest *guest, const uint8_t *code, size_t length, uint64_t at, uint64_t count)
{
    uint8_t bytes[16];
    memcpy(bytes, code, length);
    bytes[length] = HLT;
    give_code_to(guest, guest->vcpu, bytes, length + 1, count);
    struct kvm_regs regs = regs_of(guest);
    regs.rsi = regs.rdi = at;
    regs.rdx = PORT;
    set_regs(guest, &regs);
}

static const struct string_code {
    uint8_t code[3];
    uint8_t length, size;
} outs[] = {{{0xf3, 0x6e}, 2, 1}, {{0x66, 0xf3, 0x6f}, 3, 2}, {{0xf3, 0x6f}, 2, 4}},
  ins[] = {{{0xf3, 0x6c}, 2, 1}, {{0xf3, 0x66, 0x6d}, 3, 2}, {{0xf3, 0x6d}, 2, 4}};

static void strings_go_out(void **state)
{
    (void)state;
    struct guest guest;
    static uint8_t seen[4 * ITEMS];
    make_guest(&guest, 0);
    for (int i = 0; i < 3; i++) {
        size_t bytes = (size_t)outs[i].size * ITEMS;
        uint64_t at = DATA + 4096 - 6; // some items lie across the border of a page
        for (size_t byte = 0; byte < bytes; byte++)
            guest.memory[at + byte] = (uint8_t)(byte * 7 + (byte >> 8) + (size_t)i);
        give_string(&guest, outs[i].code, outs[i].length, at, ITEMS);
        int exits = stream(&guest, outs[i].size, bytes, seen, NULL);
        assert_true(exits <= 6); // pages at a time
        assert_memory_equal(seen, guest.memory + at, bytes);
        run_to(&guest, KVM_EXIT_HLT);
        struct kvm_regs regs = regs_of(&guest);
        assert_int_equal(regs.rcx, 0);
        assert_int_equal(regs.rsi, at + bytes);
        assert_int_equal(regs.rip, CODE + outs[i].length + 1u);
    }
    end_guest(&guest);
}

static void strings_come_in(void **state)
{
    (void)state;
    struct guest guest;
    static uint8_t sent[4 * ITEMS];
    make_guest(&guest, KVM_MEM_LOG_DIRTY_PAGES);
    for (int i = 0; i < 3; i++) {
        size_t bytes = (size_t)ins[i].size * ITEMS;
        uint64_t at = DATA + 0x10000 + 4096 - 6;
        for (size_t byte = 0; byte < bytes; byte++)
            sent[byte] = (uint8_t)(byte * 11 + (byte >> 8) + (size_t)i);
        memset(guest.memory + at - 1, 0xee, bytes + 2);
        give_string(&guest, ins[i].code, ins[i].length, at, ITEMS);
        assert_true(stream(&guest, ins[i].size, bytes, NULL, sent) <= 6);
        run_to(&guest, KVM_EXIT_HLT);
        assert_memory_equal(guest.memory + at, sent, bytes);
        assert_int_equal(guest.memory[at - 1], 0xee);
        assert_int_equal(guest.memory[at + bytes], 0xee);
        struct kvm_regs regs = regs_of(&guest);
        assert_int_equal(regs.rcx, 0);
        assert_int_equal(regs.rdi, at + bytes);
    }
    static uint64_t bitmap[MEMORY / 4096 / 64];
    struct kvm_dirty_log log = {.slot = 0, .dirty_bitmap = bitmap};
    assert_int_equal(ioctl(guest.vm, KVM_GET_DIRTY_LOG, &log), 0);
    uint64_t page = (DATA + 0x10000) / 4096;
    assert_true(bitmap[page / 64] >> page % 64 & 1);
    assert_true(bitmap[(page + 1) / 64] >> (page + 1) % 64 & 1);
    end_guest(&guest);
}

// One item each, in the middle of a block, with code on both sides, and backwards.
static void single_items(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, 0x31, 0xd2, 0xfe, 0xc2,                   // xor edx, edx; inc dl
         0x6c, 0xff, 0xc3,                                 // insb; inc ebx
         0xfd, 0x66, 0x6d, 0xfc, 0xff, 0xc3,               // std; insw; cld; inc ebx
         0x48, 0x8d, 0x77, 0x01, 0x6e, 0xff, 0xc3, HLT);   // lea rsi, [rdi + 1]; outsb; inc ebx
    guest.memory[DATA] = guest.memory[DATA + 1] = guest.memory[DATA + 2] = 0;
    run_to(&guest, KVM_EXIT_IO);
    assert_int_equal(guest.run->io.port, 1);
    assert_int_equal(guest.run->io.count, 1);
    assert_int_equal(regs_of(&guest).rbx, 0); // nothing behind it is made
    *port_data(&guest) = 0x42;
    run_to(&guest, KVM_EXIT_IO);
    assert_int_equal(guest.memory[DATA], 0x42);
    assert_int_equal(guest.run->io.size, 2);
    assert_int_equal(regs_of(&guest).rbx, 1);
    port_data(&guest)[0] = 0x34;
    port_data(&guest)[1] = 0x12;
    run_to(&guest, KVM_EXIT_IO);
    assert_int_equal(guest.memory[DATA + 1], 0x34);
    assert_int_equal(guest.memory[DATA + 2], 0x12);
    assert_int_equal(guest.run->io.direction, KVM_EXIT_IO_OUT);
    assert_int_equal(*port_data(&guest), 0x42); // rdi went to DATA + 1 and back to DATA - 1
    run_to(&guest, KVM_EXIT_HLT);
    struct kvm_regs regs = regs_of(&guest);
    assert_int_equal(regs.rbx, 3);
    assert_int_equal(regs.rdi, DATA - 1);
    assert_int_equal(regs.rsi, DATA + 1);
    end_guest(&guest);
}

static void strings_in_real_mode(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE_REAL(&guest, 0xb8, 0x00, 0x20, 0x8e, 0xc0, 0x8e, 0xd8, // mov ax, 0x2000; mov es, ax; mov ds, ax
              0xba, 0xf8, 0x03, 0xb9, 0x05, 0x00,               // mov dx, PORT; mov cx, 5
              0xf3, 0x6d, 0xb9, 0x05, 0x00, 0xf3, 0x6f, HLT);   // rep insw; mov cx, 5; rep outsw
    struct kvm_regs regs = regs_of(&guest);
    regs.rdi = regs.rsi = 0x30;
    set_regs(&guest, &regs);
    static const uint8_t sent[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    uint8_t seen[10];
    stream(&guest, 2, sizeof sent, NULL, sent);
    stream(&guest, 2, sizeof seen, seen, NULL);
    assert_memory_equal(guest.memory + 0x20030, sent, sizeof sent);
    assert_memory_equal(seen, sent, sizeof sent);
    run_to(&guest, KVM_EXIT_HLT);
    regs = regs_of(&guest);
    assert_int_equal(regs.rdi, 0x3a);
    assert_int_equal(regs.rsi, 0x3a);
    end_guest(&guest);
}

static void strings_from_and_to_nowhere(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    // No count: nothing is asked of userspace.
    give_string(&guest, ins[0].code, ins[0].length, DATA, 0);
    run_to(&guest, KVM_EXIT_HLT);
    // Not mapped by the guest, which has no handler: before userspace is asked.
    give_string(&guest, ins[0].code, ins[0].length, 1ull << 40, 5);
    run_to(&guest, KVM_EXIT_SHUTDOWN);
    give_string(&guest, outs[0].code, outs[0].length, 1ull << 40, 5);
    run_to(&guest, KVM_EXIT_SHUTDOWN);
    // A device's memory.
    give_string(&guest, ins[0].code, ins[0].length, NOTHING, 5);
    run_to(&guest, KVM_EXIT_INTERNAL_ERROR);
    // The page goes while userspace is at it.
    give_string(&guest, ins[0].code, ins[0].length, DATA, 5);
    run_to(&guest, KVM_EXIT_IO);
    memcpy(port_data(&guest), "12345", 5);
    assert_int_equal(munmap(guest.memory + DATA, 4096), 0);
    for (int i = 0; i < 2; i++) {
        errno = 0;
        assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), -1);
        assert_int_equal(errno, EFAULT);
    }
    assert_true(mmap(guest.memory + DATA, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                     0) != MAP_FAILED);
    run_to(&guest, KVM_EXIT_HLT);
    assert_memory_equal(guest.memory + DATA, "12345", 5);
    end_guest(&guest);
}

// ---- exceptions ---------------------------------------------------------------------------------

// Vector -> CODE's segment : offset.
static void set_vector(struct guest *guest, unsigned vector, uint16_t offset)
{
    uint16_t entry[] = {offset, CODE >> 4};
    memcpy(guest->memory + 4 * vector, entry, sizeof entry);
}

static void exceptions_in_real_mode(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE_REAL(&guest, 0xfb, 0xcd, 0x21, 0x43,       // sti; int 0x21; inc bx
              0x31, 0xc9, 0xf7, 0xf1,               // xor cx, cx; div cx
              0x0f, 0x0b);                          // ud2
    static const uint8_t service[] = {0x40, 0xcf};  // inc ax; iret
    static const uint8_t divided[] = {0x5e, 0x83, 0xc6, 0x02, 0x56, 0xcf}; // pop si; add si, 2; push si; iret
    static const uint8_t invalid[] = {HLT};
    memcpy(guest.memory + CODE + 0x100, service, sizeof service);
    memcpy(guest.memory + CODE + 0x200, divided, sizeof divided);
    memcpy(guest.memory + CODE + 0x300, invalid, sizeof invalid);
    set_vector(&guest, 0x21, 0x100);
    set_vector(&guest, 0, 0x200);
    set_vector(&guest, 6, 0x300);
    struct kvm_regs regs = regs_of(&guest);
    regs.rsp = 0x8000;
    set_regs(&guest, &regs);
    run_to(&guest, KVM_EXIT_HLT);
    regs = regs_of(&guest);
    assert_int_equal(regs.rax & 0xffff, 1);
    assert_int_equal(regs.rbx & 0xffff, 1);
    assert_int_equal(regs.rip, 0x301);
    assert_int_equal(regs.rsp & 0xffff, 0x8000 - 6);
    assert_int_equal(regs.rflags & 0x200, 0); // off in the handler
    uint16_t frame[3];
    memcpy(frame, guest.memory + 0x8000 - 6, sizeof frame);
    assert_int_equal(frame[0], 8);
    assert_int_equal(frame[1], CODE >> 4);
    assert_int_equal(frame[2] & 0x200, 0x200);
    end_guest(&guest);
}

static void real_mode_without_a_vector(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE_REAL(&guest, 0xcd, 0x80);
    struct kvm_sregs sregs;
    assert_int_equal(ioctl(guest.vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.idt.limit = 4 * 0x80 - 1;
    assert_int_equal(ioctl(guest.vcpu, KVM_SET_SREGS, &sregs), 0);
    run_to(&guest, KVM_EXIT_SHUTDOWN);
    end_guest(&guest);
}

// ---- what a CPU refuses ---------------------------------------------------------------------------

enum { IDT = 0x4000, HANDLER = CODE + 0x800 };

// With a handler of #GP that halts.
static void give_refused(struct guest *guest, const uint8_t *code, size_t length, const struct kvm_regs *wanted)
{
    static const uint8_t handler[] = {HLT};
    uint8_t bytes[32] = {0x90, 0x90};
    memcpy(bytes + 2, code, length);
    bytes[2 + length] = HLT;
    give_code_to(guest, guest->vcpu, bytes, length + 3, 0);
    memcpy(guest->memory + HANDLER, handler, sizeof handler);
    uint64_t gate[2] = {(HANDLER & 0xffffull) | 8 << 16 | 0x8e00ull << 32 | (HANDLER >> 16 & 0xffffull) << 48, 0};
    memcpy(guest->memory + IDT + 16 * 13, gate, sizeof gate);
    struct kvm_sregs sregs;
    assert_int_equal(ioctl(guest->vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.idt.base = IDT;
    sregs.idt.limit = 0xfff;
    assert_int_equal(ioctl(guest->vcpu, KVM_SET_SREGS, &sregs), 0);
    struct kvm_regs regs = regs_of(guest);
    regs.rax = wanted->rax;
    regs.rcx = wanted->rcx;
    regs.rdx = wanted->rdx;
    regs.r9 = wanted->r9;
    set_regs(guest, &regs);
}

#define RDMSR {0x0f, 0x32}, 2
#define WRMSR {0x0f, 0x30}, 2
#define TO_CR0 {0x0f, 0x22, 0xc0}, 3       // mov cr0, rax
#define TO_CR3 {0x0f, 0x22, 0xd8}, 3
#define TO_CR4_R9 {0x41, 0x0f, 0x22, 0xe1}, 4 // mov cr4, r9

static const struct refused {
    uint8_t code[4];
    uint8_t length;
    bool refused;
    struct kvm_regs regs;
} all_refused[] = {
    {RDMSR, true, {.rcx = 0x12345678}},
    {RDMSR, true, {.rcx = 0x40000000}},
    {RDMSR, false, {.rcx = 0xc0000080}},
    {RDMSR, false, {.rcx = 0x10}},
    {WRMSR, true, {.rcx = 0x12345678}},
    {WRMSR, true, {.rcx = 0xc0000080, .rdx = 1}},            // EFER: a bit above
    {WRMSR, true, {.rcx = 0xc0000102, .rdx = 0x00800000}},   // KERNEL_GS_BASE: not canonical
    {WRMSR, false, {.rcx = 0xc0000102, .rdx = 0xffff8000}},
    {WRMSR, true, {.rcx = 0x277, .rax = 2}},                 // PAT: no such type
    {WRMSR, false, {.rcx = 0x277, .rax = 0x00070406, .rdx = 0x00070406}},
    {TO_CR0, true, {.rax = 1ull << 40 | 0x80010011}},
    {TO_CR0, true, {.rax = 0x80010010}},                     // paging without protection
    {TO_CR0, true, {.rax = 0xa0010011}},                     // NW without CD
    {TO_CR0, true, {.rax = 0x00010011}},                     // paging off with 64 bits
    {TO_CR0, false, {.rax = 0x80010011}},
    {TO_CR3, true, {.rax = 1ull << 52 | 0x1000}},
    {TO_CR3, false, {.rax = 0x1000}},
    {TO_CR4_R9, true, {.r9 = 1ull << 40 | 0x20}},
    {TO_CR4_R9, true, {.r9 = 0x40020}},                      // OSXSAVE, which CPUID does not have
    {TO_CR4_R9, true, {.r9 = 0}},                            // PAE off with 64 bits
    {TO_CR4_R9, false, {.r9 = 0x620}},
};

static void refused_by_the_cpu(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    for (size_t i = 0; i < sizeof all_refused / sizeof all_refused[0]; i++) {
        const struct refused *row = &all_refused[i];
        give_refused(&guest, row->code, row->length, &row->regs);
        run_to(&guest, KVM_EXIT_HLT);
        struct kvm_regs regs = regs_of(&guest);
        bool refused = regs.rip == HANDLER + 1;
        if (refused != row->refused)
            print_message("row %zu: rip 0x%llx\n", i, regs.rip);
        assert_int_equal(refused, row->refused);
        if (!refused) {
            assert_int_equal(regs.rip, CODE + 2 + row->length + 1u);
            continue;
        }
        uint64_t frame[2]; // error code, RIP
        memcpy(frame, guest.memory + regs.rsp, sizeof frame);
        assert_int_equal(frame[0], 0);
        assert_int_equal(frame[1], CODE + 2);
    }
    end_guest(&guest);
}

// A guest that may write what is read-only, as long as it says so.
static void write_protection_is_the_guests_wish(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, 0xb8, 0x11, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, STORE_DATA, HLT,       // mov eax, ...; mov cr0, rax
         0xb8, 0x11, 0x00, 0x01, 0x80, 0x0f, 0x22, 0xc0, 0xeb, 0x00, STORE_DATA, HLT);  // a jump ends the block
    uint64_t *entry = (uint64_t *)(guest.memory + 0x3000) + (DATA >> 21);
    *entry &= ~2ull;
    run_to(&guest, KVM_EXIT_HLT);
    assert_int_equal(guest.memory[DATA], 0x5a);
    guest.memory[DATA] = 1;
    struct kvm_sregs sregs;
    assert_int_equal(ioctl(guest.vcpu, KVM_GET_SREGS, &sregs), 0);
    assert_int_equal(sregs.cr0, 0x80000011);
    run_to(&guest, KVM_EXIT_SHUTDOWN);
    assert_int_equal(guest.memory[DATA], 1);
    end_guest(&guest);
}

// ---- 32 bits --------------------------------------------------------------------------------------

enum { HIGH = 0x60000000 }; // where DATA's 4 or 2 MiB are once more, by small pages

// Each address mapped to itself by large pages, and DATA at HIGH by small ones, the first of them not to be written.
static void map_32(const struct guest *guest)
{
    uint32_t *top = (uint32_t *)(guest->memory + 0x1000), *low = (uint32_t *)(guest->memory + 0x2000);
    for (uint32_t i = 0; i < 2; i++)
        top[i] = i << 22 | 0x83;
    top[HIGH >> 22] = 0x2003;
    for (uint32_t i = 0; i < 1024; i++)
        low[i] = (DATA + (i << 12)) | (i ? 3 : 1);
}

static void map_pae(const struct guest *guest)
{
    uint64_t *top = (uint64_t *)(guest->memory + 0x1000), *middle = (uint64_t *)(guest->memory + 0x2000),
             *high = (uint64_t *)(guest->memory + 0x3000), *low = (uint64_t *)(guest->memory + 0x5000);
    top[0] = 0x2001;
    top[HIGH >> 30] = 0x3001;
    for (uint64_t i = 0; i < 4; i++)
        middle[i] = i << 21 | 0x83;
    high[HIGH >> 21 & 511] = 0x5003;
    for (uint64_t i = 0; i < 512; i++)
        low[i] = (DATA + (i << 12)) | (i ? 3 : 1);
}

// The code runs with 32 bits and paging; edi: HIGH; a handler of #PF halts.
static void give_32(const struct guest *guest, const uint8_t *code, size_t length, bool pae)
{
    static const uint8_t handler[] = {HLT};
    memset(guest->memory + 0x1000, 0, 0x5000);
    (pae ? map_pae : map_32)(guest);
    memcpy(guest->memory + CODE, code, length);
    memcpy(guest->memory + HANDLER, handler, sizeof handler);
    uint64_t gate = (HANDLER & 0xffffull) | 8 << 16 | 0x8e00ull << 32 | (HANDLER >> 16 & 0xffffull) << 48;
    memcpy(guest->memory + 0x8000 + 8 * 14, &gate, sizeof gate);
    struct kvm_sregs sregs;
    assert_int_equal(ioctl(guest->vcpu, KVM_GET_SREGS, &sregs), 0);
    sregs.cr3 = 0x1000;
    sregs.cr0 = 0x80010011;
    sregs.cr4 = pae ? 0x20 : 0x10;
    sregs.efer = 0;
    sregs.cs.base = 0;
    sregs.cs.selector = 8;
    sregs.idt.base = 0x8000;
    sregs.idt.limit = 8 * 32 - 1;
    assert_int_equal(ioctl(guest->vcpu, KVM_SET_SREGS, &sregs), 0);
    struct kvm_regs regs = {.rip = CODE, .rflags = 2, .rsp = 0x90000, .rdi = HIGH};
    set_regs(guest, &regs);
}

static void paging_with_32_bits(void **state)
{
    (void)state;
    static const uint8_t code[] = {0xc6, 0x87, 0x00, 0x30, 0x00, 0x00, 0x5a,  // mov byte [edi + 0x3000], 0x5a
                                   0x8a, 0x07, HLT,                          // mov al, [edi]
                                   0xc6, 0x07, 0x11};                        // mov byte [edi], 0x11
    for (int pae = 0; pae < 2; pae++) {
        struct guest guest;
        make_guest(&guest, 0);
        guest.memory[DATA] = 0x77;
        give_32(&guest, code, sizeof code, pae);
        run_to(&guest, KVM_EXIT_HLT);
        assert_int_equal(guest.memory[DATA + 0x3000], 0x5a);
        assert_int_equal(regs_of(&guest).rax & 0xff, 0x77);
        const uint32_t *low = (uint32_t *)(guest.memory + (pae ? 0x5000 : 0x2000));
        assert_int_equal(low[0] & 0x60, 0x20);               // Accessed
        assert_int_equal(low[pae ? 6 : 3] & 0x60, 0x60);     // and Dirty
        assert_int_equal(low[pae ? 8 : 4] & 0x60, 0);
        run_to(&guest, KVM_EXIT_HLT); // in the handler
        assert_int_equal(guest.memory[DATA], 0x77);
        struct kvm_regs regs = regs_of(&guest);
        assert_int_equal(regs.rip, HANDLER + 1);
        uint32_t frame[3]; // error code, EIP, CS
        memcpy(frame, guest.memory + regs.rsp, sizeof frame);
        assert_int_equal(frame[0], 3); // present, a write
        assert_int_equal(frame[1], CODE + 10);
        end_guest(&guest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_go_out), cmocka_unit_test(strings_come_in), cmocka_unit_test(single_items),
        cmocka_unit_test(strings_in_real_mode), cmocka_unit_test(strings_from_and_to_nowhere),
        cmocka_unit_test(exceptions_in_real_mode), cmocka_unit_test(real_mode_without_a_vector),
        cmocka_unit_test(refused_by_the_cpu), cmocka_unit_test(write_protection_is_the_guests_wish),
        cmocka_unit_test(paging_with_32_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
