// SPDX-License-Identifier: GPL-2.0-only
// What guests do right: memory, dirty logs, devices, locked instructions, and what the host changes below them.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>

#include "guest.h"

static void run_until_halt(struct guest *guest)
{
    assert_int_equal(ioctl(guest->vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest->run->exit_reason, KVM_EXIT_HLT);
}

static uint64_t bitmap[MEMORY / 4096 / 64];

static void get_dirty_log(const struct guest *guest)
{
    struct kvm_dirty_log log = {.slot = 0, .dirty_bitmap = bitmap};
    assert_int_equal(ioctl(guest->vm, KVM_GET_DIRTY_LOG, &log), 0);
}

static bool is_dirty(int page) { return bitmap[page / 64] >> page % 64 & 1; }

static int dirty_pages(const struct guest *guest, int *first)
{
    int count = 0;
    get_dirty_log(guest);
    *first = -1;
    for (int i = MEMORY / 4096 - 1; i >= 0; i--)
        if (is_dirty(i)) {
            count++;
            *first = i;
        }
    return count;
}

static void dirty_log(void **state)
{
    (void)state;
    struct guest guest;
    int first;
    make_guest(&guest, KVM_MEM_LOG_DIRTY_PAGES);
    GIVE(&guest, STORE_DATA, HLT, STORE_DATA, HLT, LOAD_DATA, HLT, STORE_DATA, HLT);
    run_until_halt(&guest);
    // The page that was stored to, and the guest's own tables, in which bits were set.
    assert_true(dirty_pages(&guest, &first) > 1);
    run_until_halt(&guest);
    assert_int_equal(dirty_pages(&guest, &first), 1); // written through a translation from before
    assert_int_equal(first, DATA / 4096);
    run_until_halt(&guest);
    assert_int_equal(dirty_pages(&guest, &first), 0); // read only
    run_until_halt(&guest);
    assert_int_equal(dirty_pages(&guest, &first), 1);
    assert_int_equal(first, DATA / 4096);
    end_guest(&guest);
}

// A page that the guest wrote before, through a translation that it still has.
static void logging_begins_over_writable_pages(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, STORE_DATA, HLT, STORE_DATA, HLT);
    run_until_halt(&guest);
    struct kvm_userspace_memory_region logged = region_of(&guest, KVM_MEM_LOG_DIRTY_PAGES);
    assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &logged), 0);
    run_until_halt(&guest);
    get_dirty_log(&guest);
    assert_true(is_dirty(DATA / 4096));
    end_guest(&guest);
}

// KVM maps for writing what is read, where it can; the first store after that must not go unseen.
static void read_before_it_is_written(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, KVM_MEM_LOG_DIRTY_PAGES);
    GIVE(&guest, LOAD_DATA, HLT, STORE_DATA, HLT);
    guest.memory[DATA] = 1;
    run_until_halt(&guest);
    run_until_halt(&guest);
    get_dirty_log(&guest);
    assert_true(is_dirty(DATA / 4096));
    end_guest(&guest);
}

// The host's memory is in huge pages; the log is by the page all the same.
static void huge_pages_are_logged_by_the_page(void **state)
{
    (void)state;
    struct guest guest;
    enum { HUGE = 2 << 20 };
    make_guest(&guest, 0);
    GIVE(&guest, STORE_DATA, HLT, 0x66, 0xc7, 0x87, 0x00, 0x50, 0x00, 0x00, 0x11, 0x22, HLT); // mov word [rdi + 0x5000]
    // DATA's 2 MiB are a slot of their own, aligned in the host, too.
    uint8_t *room = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *huge = (uint8_t *)(((uintptr_t)room + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
    assert_int_equal(madvise(huge, HUGE, MADV_HUGEPAGE), 0);
    struct kvm_userspace_memory_region region = region_of(&guest, 0);
    region.memory_size = 0;
    assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
    region.memory_size = DATA;
    region.slot = 1;
    assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
    region = (struct kvm_userspace_memory_region){0, KVM_MEM_LOG_DIRTY_PAGES, DATA, HUGE, (uint64_t)huge};
    assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
    run_until_halt(&guest);
    get_dirty_log(&guest);
    for (int page = 0; page < HUGE / 4096; page++)
        assert_int_equal(is_dirty(page), page == 0);
    run_until_halt(&guest);
    get_dirty_log(&guest);
    for (int page = 0; page < HUGE / 4096; page++)
        assert_int_equal(is_dirty(page), page == 5);
    assert_int_equal(huge[0x5000], 0x11);
    end_guest(&guest);
    munmap(room, 2 * HUGE);
}

// A page that the host marks as idle is idle until the guest uses it.
static void idle_pages(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, LOAD_DATA, HLT, LOAD_DATA, HLT);
    int file = open("/sys/kernel/mm/page_idle/bitmap", O_RDWR);
    assert_true(file >= 0);
    uint64_t frame = (uint64_t)(guest.memory + DATA) >> 12, bit = 1ull << frame % 64, idle;
    off_t at = (off_t)(frame / 64 * 8);
    run_until_halt(&guest);
    assert_int_equal(pread(file, &idle, 8, at), 8);
    assert_true((idle & bit) == 0);
    assert_int_equal(pwrite(file, &bit, 8, at), 8);
    assert_int_equal(pread(file, &idle, 8, at), 8);
    assert_true((idle & bit) != 0);
    run_until_halt(&guest);
    assert_int_equal(pread(file, &idle, 8, at), 8);
    assert_true((idle & bit) == 0);
    close(file);
    end_guest(&guest);
}

static void read_only_slot(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, LOAD_DATA, HLT, STORE_DATA, LOAD_DATA, HLT);
    // DATA's page is a slot of its own, and what is behind it none.
    struct kvm_userspace_memory_region region = region_of(&guest, 0);
    region.memory_size = 0;
    assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
    region.memory_size = DATA;
    assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &region), 0);
    struct kvm_userspace_memory_region rom = {.slot = 1, .flags = KVM_MEM_READONLY, .guest_phys_addr = DATA,
                                              .memory_size = 4096, .userspace_addr = (uint64_t)guest.memory + DATA};
    assert_int_equal(ioctl(guest.vm, KVM_SET_USER_MEMORY_REGION, &rom), 0);
    guest.memory[DATA] = 0x17;
    run_until_halt(&guest);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_MMIO);
    assert_int_equal(guest.run->mmio.phys_addr, DATA);
    assert_int_equal(guest.run->mmio.is_write, 1);
    assert_int_equal(guest.run->mmio.data[0], 0x5a);
    run_until_halt(&guest);
    assert_int_equal(guest.memory[DATA], 0x17);
    end_guest(&guest);
}

static void accessed_and_dirty_of_the_guest(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, LOAD_DATA, HLT, STORE_DATA, HLT);
    uint64_t *entry = (uint64_t *)(guest.memory + 0x3000) + (DATA >> 21);
    run_until_halt(&guest);
    assert_int_equal(*entry & 0x60, 0x20);
    run_until_halt(&guest);
    assert_int_equal(*entry & 0x60, 0x60);
    end_guest(&guest);
}

static void host_drops_memory(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, LOAD_DATA, HLT, LOAD_DATA, HLT);
    guest.memory[DATA] = 7;
    run_until_halt(&guest);
    assert_int_equal(madvise(guest.memory + DATA, 4096, MADV_DONTNEED), 0);
    run_until_halt(&guest);
    struct kvm_regs regs;
    assert_int_equal(ioctl(guest.vcpu, KVM_GET_REGS, &regs), 0);
    assert_int_equal(regs.rax & 0xff, 0);
    end_guest(&guest);
}

// Another page is put below the guest: what it wrote before it must not see, and the other way round.
static void host_maps_another_page(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, STORE_DATA, HLT, STORE_DATA, HLT);
    run_until_halt(&guest);
    void *kept = mremap(guest.memory + DATA, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED,
                        mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    assert_true(kept != MAP_FAILED);
    assert_true(mmap(guest.memory + DATA, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                     0) != MAP_FAILED);
    *(uint8_t *)kept = 1;
    run_until_halt(&guest);
    assert_int_equal(guest.memory[DATA], 0x5a);
    assert_int_equal(*(uint8_t *)kept, 1);
    munmap(kept, 4096);
    end_guest(&guest);
}

// ---- devices ------------------------------------------------------------------------------------

static void expect_mmio(struct guest *guest, bool write, uint32_t size)
{
    assert_int_equal(ioctl(guest->vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest->run->exit_reason, KVM_EXIT_MMIO);
    assert_int_equal(guest->run->mmio.phys_addr, NOTHING);
    assert_int_equal(guest->run->mmio.is_write, write);
    assert_int_equal(guest->run->mmio.len, size);
}

static void mmio_of_each_size(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, 0x48, 0xb8, 8, 7, 6, 5, 4, 3, 2, 1, // mov rax, 0x0102030405060708
         0x88, 0x06, 0x66, 0x89, 0x06, 0x89, 0x06, 0x48, 0x89, 0x06,        // mov [rsi], al, ax, eax, rax
         0x8a, 0x1e, 0x66, 0x8b, 0x16, 0x8b, 0x0e, 0x48, 0x8b, 0x2e, HLT); // mov bl, dx, ecx, rbp, [rsi]
    static const uint32_t sizes[] = {1, 2, 4, 8};
    for (int i = 0; i < 4; i++) {
        uint64_t value = 0;
        expect_mmio(&guest, true, sizes[i]);
        memcpy(&value, guest.run->mmio.data, sizes[i]);
        assert_true(value == (0x0102030405060708 & (~0ull >> (64 - 8 * sizes[i]))));
    }
    for (int i = 0; i < 4; i++) {
        static const uint64_t answer = 0x8877665544332211;
        expect_mmio(&guest, false, sizes[i]);
        memcpy(guest.run->mmio.data, &answer, 8);
    }
    run_until_halt(&guest);
    struct kvm_regs regs;
    assert_int_equal(ioctl(guest.vcpu, KVM_GET_REGS, &regs), 0);
    assert_int_equal(regs.rbx & 0xff, 0x11);
    assert_int_equal(regs.rdx & 0xffff, 0x2211);
    assert_int_equal(regs.rcx, 0x44332211);
    assert_true(regs.rbp == 0x8877665544332211);
    end_guest(&guest);
}

static void read_and_write_of_a_device(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, 0x83, 0x06, 0x05, HLT); // add dword [rsi], 5
    expect_mmio(&guest, false, 4);
    *(uint32_t *)guest.run->mmio.data = 37;
    expect_mmio(&guest, true, 4);
    assert_int_equal(*(uint32_t *)guest.run->mmio.data, 42);
    run_until_halt(&guest);
    end_guest(&guest);
}

static void locked_instruction_on_a_device(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, 0xf0, 0xff, 0x06, HLT); // lock inc dword [rsi]
    expect_mmio(&guest, false, 4);
    *(uint32_t *)guest.run->mmio.data = 41;
    expect_mmio(&guest, true, 4);
    assert_int_equal(*(uint32_t *)guest.run->mmio.data, 42);
    run_until_halt(&guest);
    end_guest(&guest);
}

// Across the border of two pages, and within one.
static void misaligned_locked_instructions(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, 0xf0, 0x48, 0xff, 0x87, 0xfd, 0x0f, 0x00, 0x00, // lock inc qword [rdi + 0xffd]
         0xf0, 0x48, 0xff, 0x47, 0x01, HLT);                     // lock inc qword [rdi + 1]
    memset(guest.memory + DATA + 0xffd, 0xff, 7);
    run_until_halt(&guest);
    for (int i = 0; i < 7; i++)
        assert_int_equal(guest.memory[DATA + 0xffd + i], 0);
    assert_int_equal(guest.memory[DATA + 0xffd + 7], 1);
    assert_int_equal(guest.memory[DATA + 1], 1);
    end_guest(&guest);
}

static void ports(void **state)
{
    (void)state;
    struct guest guest;
    make_guest(&guest, 0);
    GIVE(&guest, 0xb8, 0x44, 0x33, 0x22, 0x11, // mov eax, 0x11223344
         0xe6, 0x10, 0xe7, 0x20, 0xe4, 0x30, HLT); // out 0x10, al; out 0x20, eax; in al, 0x30
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->exit_reason, KVM_EXIT_IO);
    assert_int_equal(guest.run->io.port, 0x10);
    assert_int_equal(guest.run->io.size, 1);
    assert_int_equal(guest.run->io.direction, KVM_EXIT_IO_OUT);
    uint8_t *data = (uint8_t *)guest.run + guest.run->io.data_offset;
    assert_int_equal(*data, 0x44);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->io.size, 4);
    assert_int_equal(*(uint32_t *)data, 0x11223344);
    assert_int_equal(ioctl(guest.vcpu, KVM_RUN, 0), 0);
    assert_int_equal(guest.run->io.direction, KVM_EXIT_IO_IN);
    assert_int_equal(guest.run->io.port, 0x30);
    *data = 0x99;
    run_until_halt(&guest);
    struct kvm_regs regs;
    assert_int_equal(ioctl(guest.vcpu, KVM_GET_REGS, &regs), 0);
    assert_int_equal(regs.rax, 0x11223399);
    end_guest(&guest);
}

// ---- two vCPUs ------------------------------------------------------------------------------------

enum { INCREMENTS = 3000000 };

struct runner {
    int vcpu, result;
};

static void *run_vcpu(void *argument)
{
    struct runner *runner = argument;
    runner->result = ioctl(runner->vcpu, KVM_RUN, 0);
    return NULL;
}

static void locked_instructions(void **state)
{
    (void)state;
    static const uint8_t code[] = {0xf0, 0x48, 0xff, 0x07, 0x48, 0xff, 0xc9, 0x75, 0xf7, HLT}; // lock inc [rdi]; dec rcx
    struct guest guest;
    struct kvm_run *other_run;
    make_guest(&guest, 0);
    int other = add_vcpu(&guest, 1, &other_run);
    give_code_to(&guest, guest.vcpu, code, sizeof code, INCREMENTS);
    give_code_to(&guest, other, code, sizeof code, INCREMENTS);
    struct runner runners[] = {{guest.vcpu, -1}, {other, -1}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_vcpu, &runners[i]), 0);
    // Faults in between must not tear an instruction, either.
    for (int i = 0; i < 200; i++) {
        mprotect(guest.memory + DATA, 4096, PROT_READ | PROT_WRITE);
        usleep(100);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(runners[i].result, 0);
    }
    assert_int_equal(*(uint64_t *)(guest.memory + DATA), 2 * INCREMENTS);
    munmap(other_run, guest.run_bytes);
    close(other);
    end_guest(&guest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dirty_log), cmocka_unit_test(logging_begins_over_writable_pages),
        cmocka_unit_test(read_before_it_is_written), cmocka_unit_test(read_only_slot),
        cmocka_unit_test(huge_pages_are_logged_by_the_page), cmocka_unit_test(idle_pages),
        cmocka_unit_test(accessed_and_dirty_of_the_guest),
        cmocka_unit_test(host_drops_memory), cmocka_unit_test(host_maps_another_page),
        cmocka_unit_test(mmio_of_each_size), cmocka_unit_test(read_and_write_of_a_device),
        cmocka_unit_test(locked_instruction_on_a_device), cmocka_unit_test(misaligned_locked_instructions),
        cmocka_unit_test(ports), cmocka_unit_test(locked_instructions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
