/* SPDX-License-Identifier: GPL-2.0-only */
/* Two threads on two processors. */
#include <sched.h>
#include <unistd.h>

#include "mmu_rows.h"

enum job { FAULTS, ZAPS, AGES };

struct worker {
    enum job job;
    struct vm *vm;
    struct kvm_vcpu *vcpu;
    int cpu;
    unsigned long from, to, step;
    bool tells; /* how far it has come */
    pthread_barrier_t *together;
    double begun, ended, probe;
};

/* Pages that the faulting thread is done with; on a line of its own. */
static struct { unsigned long pages; char rest[120]; } progress __attribute__((aligned(128)));

int main_cpu = 1;

void pin_to(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)(cpu % sysconf(_SC_NPROCESSORS_ONLN)), &set);
    sched_setaffinity(0, sizeof(set), &set); /* where it is refused the figures are noisier */
}

static void fault_on_all(struct worker *worker)
{
    for (unsigned long i = worker->from; i < worker->to; i += worker->step) {
        while (side_fault(worker->vcpu, gpa_of(i), WRITE_FAULT, PG_LEVEL_4K) == RET_PF_RETRY)
            ;
        if (worker->tells && i % 64 == 63)
            __atomic_store_n(&progress.pages, i + 1, __ATOMIC_RELEASE); /* pairs with the acquire below */
    }
}

static void zap_some(struct worker *worker, unsigned long table)
{
    struct kvm *kvm = worker->vm->kvm;

    write_lock(&kvm->mmu_lock);
    kvm_tdp_mmu_zap_leafs(kvm, BASE_GFN + table, BASE_GFN + table + 64, false);
    write_unlock(&kvm->mmu_lock);
}

static void age_one(struct worker *worker, unsigned long table)
{
    struct kvm *kvm = worker->vm->kvm;
    struct kvm_gfn_range range = {
        .slot = worker->vm->slot, .start = BASE_GFN + table, .end = BASE_GFN + table + 512 };

    side_age_lock(kvm);
    kvm_tdp_mmu_age_gfn_range(kvm, &range);
    side_age_unlock(kvm);
}

/* Something to each table as soon as it is full. */
static void disturb(struct worker *worker)
{
    for (unsigned long table = 0; table < pages; table += 512) {
        while (__atomic_load_n(&progress.pages, __ATOMIC_ACQUIRE) < table + 512) /* pairs with the release above */
            __builtin_ia32_pause();
        if (worker->job == ZAPS)
            zap_some(worker, table);
        else
            age_one(worker, table);
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct stretch stretch;

    side_thread_begin(worker->vcpu);
    pin_to(worker->cpu);
    pthread_barrier_wait(worker->together);
    worker->probe = wait_for_quiet();
    pthread_barrier_wait(worker->together);
    worker->begun = now_ns();
    stretch = stretch_begin();
    if (worker->job == FAULTS)
        fault_on_all(worker);
    else
        disturb(worker);
    stretch_end(&stretch);
    worker->ended = now_ns();
    worker->probe = probe_after(worker->probe, &stretch);
    return NULL;
}

/* Which part of the guest a thread faults on. */
static void give_part(struct worker *worker, int i, int threads, bool interleaved)
{
    worker->step = interleaved ? 2 : 1;
    worker->from = interleaved ? (unsigned long)i : pages / (unsigned long)threads * (unsigned long)i;
    worker->to = interleaved ? pages : worker->from + pages / (unsigned long)threads;
}

/* Time from the first thread's begin to the last one's end. */
static void run(enum row row, int threads, bool interleaved, enum job second)
{
    struct vm vm = vm_new();
    struct kvm_vcpu *vcpus[2] = { vm.vcpu, side_create_vcpu(vm.kvm, 1) };
    double begun = 1e300, ended = 0, probe = 0;
    struct worker workers[2];
    pthread_t ids[2];
    pthread_barrier_t together;

    progress.pages = 0;
    pthread_barrier_init(&together, NULL, (unsigned int)threads);
    for (int i = 0; i < threads; i++) {
        workers[i] = (struct worker){ .job = i ? second : FAULTS, .vm = &vm, .vcpu = vcpus[i], .cpu = main_cpu + i,
                                      .together = &together, .tells = second != FAULTS };
        give_part(&workers[i], i, second == FAULTS ? threads : 1, interleaved);
        if (pthread_create(&ids[i], NULL, work, &workers[i]))
            die("no thread");
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        begun = workers[i].begun < begun ? workers[i].begun : begun;
        ended = slower(ended, workers[i].ended);
        probe = slower(probe, workers[i].probe);
    }
    pthread_barrier_destroy(&together);
    sample(row, (ended - begun) / (double)pages, probe);
    check(leaves_of(&vm), second == ZAPS ? pages - pages / 8 : pages, "leaves after two threads");
    side_destroy_vcpu(vcpus[1]);
    vm_free(&vm);
}

void do_threads(void)
{
    run(ONE_THREAD, 1, false, FAULTS);
    run(TWO_THREADS, 2, false, FAULTS);
    run(INTERLEAVED, 2, true, FAULTS);
}

void do_beside(void)
{
    run(BESIDE_ZAP, 2, false, ZAPS);
    run(BESIDE_AGE, 2, false, AGES);
}

/* A reader that is inside for the whole time, and sleeps. */
static void *stay_inside(void *argument)
{
    pthread_barrier_t *together = argument;

    rcu_read_lock();
    pthread_barrier_wait(together);
    pthread_barrier_wait(together);
    rcu_read_unlock();
    return NULL;
}

void do_inside(void)
{
    struct vm vm = vm_new();
    struct kvm_gfn_range range = { .slot = vm.slot, .start = BASE_GFN, .end = BASE_GFN + pages };
    pthread_barrier_t together;
    pthread_t reader;
    bool young;

    map_all(&vm, PG_LEVEL_4K);
    set_bits(&vm, ACCESSED_BIT);
    pthread_barrier_init(&together, NULL, 2);
    if (pthread_create(&reader, NULL, stay_inside, &together))
        die("no thread");
    pthread_barrier_wait(&together);
    side_age_lock(vm.kvm);
    MEASURE(AGE_INSIDE, pages, young = kvm_tdp_mmu_age_gfn_range(vm.kvm, &range));
    side_age_unlock(vm.kvm);
    pthread_barrier_wait(&together);
    pthread_join(reader, NULL);
    pthread_barrier_destroy(&together);
    if (!young)
        die("aging answers wrongly");
    vm_free(&vm);
}
