/* SPDX-License-Identifier: GPL-2.0-only */
/* build: -Wl,--as-needed */
/* The library loaded at run time by a program that is not linked with it. */
#define TDPMMU_NO_INLINE /* nothing may refer to the library by name */
#include "test_helpers.h"

#include <dlfcn.h>
#include <semaphore.h>

static void *library;

#define LOAD(name) __typeof__(name) *p_##name = (__typeof__(name) *)dlsym(library, #name); \
                   assert_non_null(p_##name)

static sem_t loaded;
static bool early_was_inside;

/* Began before the library came: its thread-local reader must work all the same. */
static void *early_thread(void *unused)
{
    (void)unused;
    while (sem_wait(&loaded))
        ;
    LOAD(rcu_read_lock);
    LOAD(rcu_read_unlock);
    LOAD(rcu_read_lock_held);
    p_rcu_read_lock();
    early_was_inside = p_rcu_read_lock_held();
    p_rcu_read_unlock();
    return NULL;
}

static void load_use_unload(void **state)
{
    pthread_t thread;

    (void)state;
    sem_init(&loaded, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, early_thread, NULL), 0);
    assert_null(dlsym(RTLD_DEFAULT, "tdpmmu_version")); /* else this tests nothing */
    for (int round = 0; round < 3; round++) {
        library = dlopen("libtdpmmu.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!library)
            fail_msg("%s", dlerror());
        LOAD(tdpmmu_create_vm);
        LOAD(tdpmmu_destroy_vm);
        LOAD(tdpmmu_create_vcpu);
        LOAD(kvm_set_memory_region);
        LOAD(kvm_mmu_load);
        LOAD(kvm_tdp_mmu_page_fault);
        LOAD(rcu_barrier);
        struct kvm_userspace_memory_region region = {
            .memory_size = 1 << 30, .userspace_addr = 1 << 30,
        };
        struct kvm *kvm = p_tdpmmu_create_vm(NULL);
        struct kvm_vcpu *vcpu = p_tdpmmu_create_vcpu(kvm, 0);

        assert_int_equal(p_kvm_set_memory_region(kvm, &region), 0);
        assert_int_equal(p_kvm_mmu_load(vcpu), 0);
        assert_int_equal(p_kvm_tdp_mmu_page_fault(vcpu, 0x5000, PFERR_WRITE_MASK), RET_PF_FIXED);
        if (round == 0) {
            sem_post(&loaded);
            pthread_join(thread, NULL);
            assert_true(early_was_inside);
        }
        p_tdpmmu_destroy_vm(kvm);
        p_rcu_barrier();
        assert_int_equal(dlclose(library), 0); /* its callback thread lives on */
        sleep_ms(20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_use_unload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
