/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A string of bytes as calls of the C interface: sane and hostile arguments, two VMs,
 * several vCPUs, locks and readers held rightly and wrongly, callbacks that answer
 * anything.  Nothing may end the program or hang; what is held at the end is what was
 * taken; VMs go without a leak.
 *
 * fuzz_api SECONDS [FIRST]   inputs from numbers, each in a child; says how to replay one
 * fuzz_api replay NUMBER     that one, here, with a line for each call
 * With -fsanitize=fuzzer and -DLIBFUZZER it is a target of libFuzzer.
 *
 * Left out are calls that must not be made and cannot be told from those that may: memory
 * that is no VM, references dropped that others own, a walk's struct written over, sizes
 * beyond the caller's own buffers, a destroyed VM used.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tdpmmu.h>

enum { VMS = 2, VCPUS = 4, SEEN = 32, DEPTH = 6, MOST_CALLS = 400 };

/* The input ----------------------------------------------------------------- */

static const uint8_t *input;
static size_t input_left;
static bool verbose;

static unsigned byte(void)
{
    if (!input_left)
        return 0;
    input_left--;
    return *input++;
}

static uint64_t number(void)
{
    uint64_t n = 0;

    for (int i = 0; i < 8; i++)
        n = n << 8 | byte();
    return n;
}

static bool one_in(unsigned n) { return byte() % n == 0; }

/* The world ----------------------------------------------------------------- */

static struct machine {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu[VCPUS];
    gfn_t limit;
    int reads, srcu[DEPTH], srcu_depth;
    bool write;
    struct kvm_mmu_page *owned[DEPTH]; /* roots of which we hold a reference */
    int owned_count;
} machines[VMS];

static int rcu_depth, callback_depth;
static unsigned leaks;
static char last_leak[256];
static const void *seen[SEEN]; /* pointers that once were something */
static unsigned seen_count;
static struct tdp_iter iters[2];
static uint64_t bitmap[1 << 15] __attribute__((aligned(4096))); /* 2^21 pages */
static struct rcu_head heads[64];
static unsigned heads_used;
static const char *call_name = "";

static void fail(const char *why)
{
    fprintf(stderr, "fuzz: after %s: %s\n", call_name, why);
    abort();
}

static void *remember(const void *p)
{
    if (p)
        seen[seen_count++ % SEEN] = p;
    return (void *)p;
}

/* Values -------------------------------------------------------------------- */

static uint64_t any64(void)
{
    static const uint64_t edges[] = {
        0, 1, 63, 64, 511, 512, 4095, 4096, 1ull << 20, 1ull << 31, UINT32_MAX, 1ull << 34, (1ull << 34) - 1,
        1ull << 36, 1ull << 40, 1ull << 46, (1ull << 52) - 1, 1ull << 52, 1ull << 63, INT64_MAX, UINT64_MAX - 4095,
        UINT64_MAX - 1, UINT64_MAX };

    return one_in(3) ? number() : edges[byte() % (sizeof(edges) / sizeof(edges[0]))];
}

static gfn_t any_gfn(void)
{
    return one_in(8) ? any64() : (gfn_t)byte() << (byte() % 12) | byte();
}

static gpa_t any_gpa(void)
{
    return one_in(8) ? any64() : any_gfn() << 12 | byte();
}

static uint64_t any_hva(void)
{
    return one_in(8) ? any64() : (any_gfn() << 12) + 0x40000000;
}

static int any_level(void)
{
    static const int hostile[] = { -1, 0, 4, 5, 6, 64, 255, INT32_MIN, INT32_MAX };

    return one_in(6) ? hostile[byte() % 9] : 1 + (int)(byte() % 3);
}

static int any_int(void)
{
    return one_in(4) ? (int)(uint32_t)any64() : (int)(byte() % 8) - 1;
}

static uint64_t any_error_code(void)
{
    return one_in(6) ? any64() : byte() & (PFERR_PRESENT_MASK | PFERR_WRITE_MASK | PFERR_USER_MASK | PFERR_FETCH_MASK);
}

static struct machine *any_machine(void) { return &machines[byte() % VMS]; }

static struct kvm *kvm_of(struct machine *m) { return one_in(40) ? NULL : m->kvm; }

static struct kvm_vcpu *any_vcpu(struct machine *m)
{
    struct kvm_vcpu *vcpu = m->vcpu[byte() % VCPUS];

    return one_in(40) ? NULL : vcpu ? vcpu : m->vcpu[0];
}

static void *wild(void)
{
    switch (byte() % 10) {
    case 0: return NULL;
    case 1: return (void *)-1l;
    case 2: return (void *)-22l;
    case 3: return (void *)(UINTPTR_MAX - 127);
    case 4: return (void *)(UINTPTR_MAX - (uintptr_t)any64() % (4 << 20));
    case 5: return bitmap;
    case 6: return (void *)(uintptr_t)any64();
    default: return (void *)seen[byte() % SEEN];
    }
}

static struct kvm_mmu_page *any_page(struct machine *m)
{
    struct kvm_vcpu *vcpu = m->vcpu[byte() % VCPUS];
    struct kvm_mmu_page *root = vcpu ? tdpmmu_vcpu_root(vcpu) : NULL;

    if (!root || one_in(4))
        return one_in(4) ? (void *)((char *)wild() + byte()) : wild();
    remember(root);
    if (one_in(2))
        return root;
    /* A table somewhere below it. */
    rcu_read_lock();
    for (int level = (int)root->role.level; level > 1 && !one_in(4); level--) {
        uint64_t *below = spte_to_child_pt(__atomic_load_n(&root->spt[byte() & 3], __ATOMIC_RELAXED), level);

        if (!below)
            break;
        root = sptep_to_sp(below);
    }
    rcu_read_unlock();
    return remember(root);
}

static const struct kvm_memory_slot *any_slot(struct machine *m)
{
    const struct kvm_memory_slot *slot;

    if (one_in(6))
        return wild();
    rcu_read_lock();
    slot = tdpmmu_id_to_memslot(m->kvm, byte() & 1, byte() % 4);
    rcu_read_unlock();
    return remember(slot);
}

static const struct kvm_gfn_range *any_range(struct machine *m)
{
    static struct kvm_gfn_range range;
    uint64_t length = byte();

    range.slot = any_slot(m);
    range.start = any_gfn();
    range.end = one_in(8) ? any64() : range.start + length;
    range.may_block = byte() & 1;
    return one_in(40) ? NULL : &range;
}

/* Callbacks ----------------------------------------------------------------- */

static void inside_callback(struct kvm *kvm, bool locked);

static kvm_pfn_t on_gfn_to_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                               bool *writable, int *max_level)
{
    (void)ctx, (void)write;
    remember(slot);
    if (slot->npages > 1ull << 31)
        fail("a slot of an impossible size handed to gfn_to_pfn");
    if (one_in(8))
        *writable = byte() & 1;
    if (one_in(4))
        *max_level = any_level();
    inside_callback(kvm, true);
    if (one_in(8))
        return one_in(2) ? any64() : KVM_PFN_ERR_MASK + byte() % 4;
    return gfn + 0x1000;
}

static void on_flush(void *ctx, struct kvm *kvm, gfn_t start, uint64_t npages)
{
    (void)ctx, (void)kvm, (void)start, (void)npages;
}

static void on_change(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level, uint64_t old, uint64_t new, bool shared)
{
    (void)ctx, (void)as_id, (void)gfn, (void)level, (void)old, (void)new, (void)shared;
    if (one_in(32))
        inside_callback(kvm, true);
}

static bool on_resched(void *ctx, struct kvm *kvm)
{
    (void)ctx, (void)kvm;
    return one_in(16);
}

/* What calls in any order may bring about: pages outside slots, a host that contradicts itself, logs that are not kept. */
static bool may_be_found(const char *text)
{
    static const char *const found[] = { "in no slot", "reaches out of its slot", "of a read-only slot", /* mapped before it was there */
                                         "log has it not", "wider than the host", "has taken back" };

    for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
        if (strstr(text, found[i]))
            return true;
    return false;
}

static void on_warn(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    if (!warning->function || !warning->text || !*warning->text)
        fail("a warning without a function or a text");
    if (verbose)
        printf("    warning %d: %s: %s (0x%llx, 0x%llx)\n", (int)warning->kind, warning->function, warning->text,
               (unsigned long long)warning->value[0], (unsigned long long)warning->value[1]);
    if (warning->kind == TDPMMU_WARN_CHECK && !may_be_found(warning->text))
        fail(warning->text);
    if (warning->kind == TDPMMU_WARN_LEAK) {
        leaks++;
        snprintf(last_leak, sizeof(last_leak), "%s: %s", warning->function, warning->text);
    }
}

static int on_mapping_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx, (void)gfn;
    remember(slot);
    inside_callback(kvm, true);
    return any_level();
}

static bool on_yield_at(void *ctx, struct kvm *kvm, const struct tdp_iter *iter)
{
    (void)ctx, (void)kvm, (void)iter;
    return one_in(64);
}

static void on_yielded(void *ctx, struct kvm *kvm)
{
    (void)ctx;
    inside_callback(kvm, false);
}

static void on_committing(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    (void)ctx;
    remember(slot);
    inside_callback(kvm, false);
}

static struct machine *machine_with(struct kvm *kvm)
{
    for (int i = 0; i < VMS; i++)
        if (machines[i].kvm == kvm)
            return &machines[i];
    return NULL;
}

static struct kvm_userspace_memory_region any_region(struct machine *m)
{
    struct kvm_userspace_memory_region r = { .slot = byte() % 4 };
    const struct kvm_memory_slot *slot;

    if (one_in(8))
        r.slot |= 1 << 16;
    r.guest_phys_addr = (uint64_t)(byte() % 8) << (byte() % 2 ? 21 : 24);
    r.memory_size = (uint64_t)(byte() % 5) << (byte() % 3 ? 21 : 12);
    r.userspace_addr = 0x40000000 + r.guest_phys_addr;
    r.flags = byte() & 3 & (one_in(3) ? 3 : 1);
    /* Often the same slot again, with other flags or elsewhere. */
    rcu_read_lock();
    slot = tdpmmu_id_to_memslot(m->kvm, (int)(r.slot >> 16), (int)(r.slot & 0xffff));
    if (slot && !one_in(3)) {
        r.memory_size = slot->npages << 12;
        r.userspace_addr = slot->userspace_addr;
        if (!one_in(3))
            r.guest_phys_addr = slot->base_gfn << 12;
    }
    rcu_read_unlock();
    switch (byte() % 24) { /* never one that could be logged and is larger than our bitmap */
    case 0: r.slot = (uint32_t)any64(); break;
    case 1: r.guest_phys_addr = any64(); break;
    case 2: r.memory_size = any64() | 1ull << 43; break;
    case 3: r.userspace_addr = any64(); break;
    case 4: r.flags = (uint32_t)any64(); break;
    default: break;
    }
    return r;
}

/*
 * In a callback: what only looks always works, what takes locks is refused where locks
 * are held, and where none is (a walk that stands) the guest and the host go on.
 */
static void inside_callback(struct kvm *kvm, bool locked)
{
    struct machine *m = machine_with(kvm);
    struct tdpmmu_stats stats;
    struct kvm_vcpu *vcpu;
    uint64_t sptes[6];
    int level;

    if (callback_depth || !m || !one_in(4))
        return;
    callback_depth++;
    vcpu = m->vcpu[byte() % VCPUS];
    switch (byte() % 8) {
    case 0: tdpmmu_get_stats(kvm, &stats, sizeof(stats)); break;
    case 1:
        rcu_read_lock();
        gfn_to_memslot(kvm, any_gfn());
        if (vcpu && tdpmmu_vcpu_root(vcpu))
            kvm_tdp_mmu_get_walk(vcpu, any_gpa(), sptes, &level);
        rcu_read_unlock();
        break;
    case 2: tdpmmu_memslots_generation(kvm, any_int()); break;
    case 3:
        if (locked) {
            struct kvm_userspace_memory_region r = any_region(m);

            if (kvm_set_memory_region(kvm, &r) == 0)
                fail("a slot was changed where kvm->srcu or mmu_lock is held");
        }
        break;
    case 4:
        if (locked)
            kvm_mmu_zap_all_fast(kvm);
        break;
    case 5:
        if (locked)
            tdpmmu_destroy_vm(kvm);
        break;
    case 6:
        if (!locked && vcpu) {
            kvm_mmu_load(vcpu);
            kvm_tdp_mmu_page_fault(vcpu, any_gpa(), any_error_code());
        }
        break;
    case 7:
        if (!locked)
            kvm_mmu_notifier_clear_young(kvm, any_hva(), any_hva());
        break;
    }
    callback_depth--;
}

/* Making and unmaking ------------------------------------------------------- */

static void make(struct machine *m)
{
    struct tdpmmu_ops ops = {
        .size = sizeof(ops), .gfn_to_pfn = on_gfn_to_pfn, .flush_tlb = on_flush, .spte_changed = on_change,
        .need_resched = on_resched, .warn = on_warn, .mapping_level = on_mapping_level,
        .slot_committing = on_committing, .yield_at = on_yield_at, .yielded = on_yielded };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops };

    memset(m, 0, sizeof(*m));
    if (one_in(8))
        ops.gfn_to_pfn = NULL;
    config.vendor = byte() & 1;
    config.root_level = one_in(3) ? 5 : 0;
    config.ad_disabled = !config.vendor && one_in(4);
    config.nx_huge_pages = byte() & 1;
    config.no_eager_split = one_in(3);
    config.no_pml = one_in(3);
    config.pml_oldest_first = byte() & 1;
    config.zap_slot_only = one_in(3);
    config.dirty_log = one_in(3) ? (one_in(2) ? 3 : 1) : 0;
    config.maxphyaddr = one_in(4) ? 36 + byte() % 17 : 0;
    config.table_limit = one_in(8) ? byte() : 0;
    config.l1tf_cache_bits = one_in(8) ? 36 + byte() % 11 : 0;
    m->kvm = tdpmmu_create_vm(&config);
    if (!m->kvm)
        fail("no VM from sane options");
    if (one_in(4)) {
        struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { 4096ull << byte() % 3 } };

        kvm_vm_ioctl_enable_cap(m->kvm, &cap);
    }
    for (int i = 0; i < VCPUS - 1; i++)
        m->vcpu[i] = tdpmmu_create_vcpu(m->kvm, i);
    for (int i = 0; i < 3; i++) {
        struct kvm_userspace_memory_region r = any_region(m);

        kvm_set_memory_region(m->kvm, &r);
    }
    kvm_mmu_load(m->vcpu[0]);
}

static bool nothing_held(void)
{
    for (int i = 0; i < VMS; i++)
        if (machines[i].reads || machines[i].write || machines[i].srcu_depth)
            return false;
    return rcu_depth == 0;
}

static void let_go(struct machine *m)
{
    while (m->reads)
        read_unlock(&m->kvm->mmu_lock), m->reads--;
    if (m->write)
        write_unlock(&m->kvm->mmu_lock);
    m->write = false;
    while (m->srcu_depth)
        srcu_read_unlock(&m->kvm->srcu, m->srcu[--m->srcu_depth]);
}

static void let_go_of_all(void)
{
    for (int i = 0; i < VMS; i++)
        let_go(&machines[i]);
    for (; rcu_depth; rcu_depth--)
        rcu_read_unlock();
}

static void unmake(struct machine *m)
{
    while (m->owned_count)
        kvm_tdp_mmu_put_root(m->kvm, m->owned[--m->owned_count]);
    tdpmmu_destroy_vm(m->kvm);
    m->kvm = NULL;
}

static void check_holds(void)
{
    for (int i = 0; i < VMS; i++) {
        struct machine *m = &machines[i];

        if (tdpmmu_read_lock_held(&m->kvm->mmu_lock) != (m->reads > 0))
            fail("mmu_lock is held for read, or is not");
        if (tdpmmu_write_lock_held(&m->kvm->mmu_lock) != m->write)
            fail("mmu_lock is held for write, or is not");
        if (srcu_read_lock_held(&m->kvm->srcu) != (m->srcu_depth > 0))
            fail("inside kvm->srcu, or not");
    }
    if (rcu_read_lock_held() != (rcu_depth > 0))
        fail("inside RCU, or not");
}

/* The calls ----------------------------------------------------------------- */

static void nothing(struct rcu_head *head) { (void)head; }

/* Mostly goes where a call belongs: n nowhere, r and w under mmu_lock, c inside RCU, s
 * inside kvm->srcu.  Else the call is made wherever we stand. */
static struct kvm *at(struct machine *m, char place)
{
    if (one_in(5))
        return kvm_of(m);
    let_go_of_all();
    switch (place) {
    case 'r':
        read_lock(&m->kvm->mmu_lock);
        m->reads = 1;
        break;
    case 'w':
        write_lock(&m->kvm->mmu_lock);
        m->write = true;
        break;
    case 'c':
        rcu_read_lock();
        rcu_depth = 1;
        break;
    case 's':
        m->srcu[m->srcu_depth++] = srcu_read_lock(&m->kvm->srcu);
        break;
    }
    return kvm_of(m);
}

static struct kvm_vcpu *vcpu_at(struct machine *m, char place)
{
    at(m, place);
    return any_vcpu(m);
}

/* Holds are books: taken where it must work, tried where it must be refused. */
static void take_and_let_go(struct machine *m)
{
    switch (byte() % 10) {
    case 0:
        if (m->reads < DEPTH) {
            read_lock(&m->kvm->mmu_lock);
            m->reads += !m->write;
        }
        break;
    case 1:
        read_unlock(&m->kvm->mmu_lock);
        m->reads -= m->reads > 0;
        break;
    case 2:
        write_lock(&m->kvm->mmu_lock);
        m->write = m->write || !m->reads;
        break;
    case 3:
        write_unlock(&m->kvm->mmu_lock);
        m->write = false;
        break;
    case 4:
        if (rcu_depth < DEPTH) {
            rcu_read_lock();
            rcu_depth++;
        }
        break;
    case 5:
        rcu_read_unlock();
        rcu_depth -= rcu_depth > 0;
        break;
    case 6:
        if (m->srcu_depth < DEPTH)
            m->srcu[m->srcu_depth++] = srcu_read_lock(&m->kvm->srcu);
        break;
    case 7:
        srcu_read_unlock(&m->kvm->srcu, m->srcu_depth ? m->srcu[--m->srcu_depth] : any_int());
        break;
    default:
        let_go_of_all();
        break;
    }
}

static void lifecycle(struct machine *m)
{
    int i = byte() % VCPUS;

    switch (byte() % 12) {
    case 0:
        if (nothing_held()) {
            unmake(m);
            make(m);
        } else if (rcu_depth || m->reads || m->write || m->srcu_depth) {
            tdpmmu_destroy_vm(m->kvm); /* refused */
        }
        break;
    case 1:
        if (nothing_held()) {
            tdpmmu_destroy_vcpu(m->vcpu[i]);
            m->vcpu[i] = NULL;
        }
        break;
    case 2:
        if (rcu_depth || m->reads || m->write)
            tdpmmu_destroy_vcpu(m->vcpu[i]); /* refused, or NULL */
        break;
    case 3: case 4:
        if (!m->vcpu[i])
            m->vcpu[i] = tdpmmu_create_vcpu(at(m, 'n'), i);
        else if (tdpmmu_create_vcpu(m->kvm, i))
            fail("the same vCPU twice");
        break;
    case 5:
        if (tdpmmu_create_vcpu(at(m, 'n'), one_in(2) ? -1 - (int)byte() : 4096 + (int)byte()))
            fail("a vCPU with an impossible id");
        break;
    case 6:
        if (!m->owned_count && one_in(2))
            kvm_mmu_uninit_tdp_mmu(at(m, 'n'));
        break;
    case 7: case 8: kvm_mmu_init_tdp_mmu(at(m, 'n')); break;
    case 9: {
        struct tdpmmu_vm_config config = { .size = one_in(2) ? sizeof(config) : any64() };
        struct tdpmmu_ops ops = { .size = one_in(2) ? sizeof(ops) : any64() };
        struct kvm *kvm;

        config.ops = one_in(2) ? &ops : NULL;
        if (config.size > sizeof(config) && config.size <= 4096)
            config.size = sizeof(config); /* else our stack is read, as was said */
        if (ops.size > sizeof(ops) && ops.size <= 4096)
            ops.size = sizeof(ops);
        config.vendor = byte() % 4;
        config.root_level = byte() % 8;
        config.maxphyaddr = byte() % 64;
        config.l1tf_cache_bits = byte() % 64;
        config.dirty_log = byte() % 8;
        config.ad_disabled = byte() % 3;
        kvm = tdpmmu_create_vm(&config);
        if (kvm && nothing_held())
            tdpmmu_destroy_vm(kvm);
        break;
    }
    case 10: tdpmmu_vcpu_set_as_id(vcpu_at(m, 'n'), one_in(4) ? any_int() : (int)(byte() & 1)); break;
    case 11: tdpmmu_vcpu_kvm(any_vcpu(m)), tdpmmu_vcpu_id(any_vcpu(m)), tdpmmu_vcpu_as_id(any_vcpu(m)); break;
    }
}

static void slots(struct machine *m)
{
    struct kvm_userspace_memory_region r = any_region(m);
    struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };

    switch (byte() % 10) {
    case 0: case 1: case 2: case 3: kvm_set_memory_region(at(m, 'n'), one_in(40) ? NULL : &r); break;
    case 4: remember(gfn_to_memslot(at(m, 's'), any_gfn())); break;
    case 5: remember(kvm_vcpu_gfn_to_memslot(vcpu_at(m, 's'), any_gfn())); break;
    case 6: remember(tdpmmu_id_to_memslot(at(m, 's'), any_int(), any_int())); break;
    case 7: tdpmmu_memslots_generation(kvm_of(m), any_int()); break;
    case 8:
        cap.cap = one_in(8) ? (uint32_t)any64() : one_in(2) ? KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 : KVM_CAP_DIRTY_LOG_RING;
        cap.flags = one_in(16) ? (uint32_t)any64() : 0;
        cap.args[0] = one_in(3) ? any64() : byte() & 3;
        kvm_vm_ioctl_enable_cap(at(m, 'n'), one_in(40) ? NULL : &cap);
        break;
    case 9: tdpmmu_set_eager_page_split(kvm_of(m), byte() & 1); break;
    }
}

static void roots(struct machine *m)
{
    struct kvm_mmu_page *page;

    switch (byte() % 12) {
    case 0: case 1: case 2: kvm_mmu_load(vcpu_at(m, 'n')); break;
    case 3: kvm_mmu_unload(vcpu_at(m, 'n')); break;
    case 4:
        if (m->owned_count < DEPTH) {
            hpa_t hpa = kvm_tdp_mmu_get_vcpu_root_hpa(vcpu_at(m, 'n'));

            if (hpa != INVALID_PAGE)
                remember(m->owned[m->owned_count++] = to_shadow_page(hpa));
        }
        break;
    case 5:
        if (m->owned_count < DEPTH) {
            /* A root of the other VM's, or of one that is gone, is nothing to hold. */
            page = any_page(m);
            if (kvm_tdp_mmu_get_root(page)) {
                struct machine *owner = machine_with(page->kvm);

                if (owner && owner->owned_count < DEPTH)
                    owner->owned[owner->owned_count++] = page;
                else if (owner)
                    kvm_tdp_mmu_put_root(owner->kvm, page);
            }
        }
        break;
    case 6:
        if (m->owned_count)
            kvm_tdp_mmu_put_root(m->kvm, m->owned[--m->owned_count]);
        else
            kvm_tdp_mmu_put_root(kvm_of(m), one_in(2) ? NULL : (void *)(UINTPTR_MAX - byte() * 64ull));
        break;
    case 7: kvm_tdp_mmu_invalidate_all_roots(at(m, 'w')); break;
    case 8: kvm_tdp_mmu_zap_invalidated_roots(at(m, 'n')); break;
    case 9: kvm_mmu_zap_all_fast(at(m, 'n')); break;
    case 10: kvm_tdp_mmu_zap_all(at(m, 'w')); break;
    case 11: tdpmmu_table_hpa(any_page(m)); break;
    }
}

static void faults(struct machine *m)
{
    static uint64_t sptes[6], spte;
    struct kvm_pre_fault_memory range = { .gpa = any_gfn() << 12, .size = (uint64_t)byte() << 12 };
    int level;

    switch (byte() % 16) {
    case 0: case 1: case 2: kvm_tdp_mmu_page_fault(vcpu_at(m, 'n'), any_gpa(), any_error_code()); break;
    case 3: case 4: {
        gpa_t gpa = any_gpa();

        kvm_tdp_mmu_map(vcpu_at(m, 'r'), gpa, any_error_code(), byte() & 1, any_level(),
                        one_in(6) ? any64() : one_in(8) ? KVM_PFN_NOSLOT : (gpa >> 12) + 0x1000, one_in(4));
        break;
    }
    case 5:
        if (one_in(4))
            range.gpa = any64();
        if (one_in(8))
            range.size = one_in(2) ? (uint64_t)byte() : UINT64_MAX - 4095;
        if (one_in(8))
            range.flags = any64();
        kvm_vcpu_pre_fault_memory(vcpu_at(m, 'n'), one_in(40) ? NULL : &range);
        break;
    case 6: kvm_tdp_mmu_get_walk(vcpu_at(m, 'c'), any_gpa(), one_in(40) ? NULL : sptes, one_in(40) ? NULL : &level); break;
    case 7: kvm_tdp_mmu_fast_pf_get_last_sptep(vcpu_at(m, 'c'), any_gfn(), one_in(40) ? NULL : &spte); break;
    case 9: tdpmmu_cpu_exit(one_in(40) ? NULL : any_vcpu(m)); break;
    case 10: {
        struct tdpmmu_cpu_result result;

        tdpmmu_cpu_access_full(any_vcpu(m), any_gpa(), one_in(16) ? any64() : any_error_code() & 0x16, one_in(40) ? NULL : &result);
        tdpmmu_cpu_cached(any_vcpu(m), any_gpa(), &result);
        break;
    }
    case 11: tdpmmu_cpu_fill(any_vcpu(m), any_gpa()); break;
    case 12: tdpmmu_cpu_drop(any_vcpu(m), one_in(4) ? UINT64_MAX : any_gpa()); break;
    case 13: tdpmmu_page_is_dirty(one_in(40) ? NULL : m->kvm, (int)byte() - 1, any_gfn()); break;
    case 8: tdpmmu_fast_page_fault(any_vcpu(m), any_gpa(), any_error_code()); break;
    default: tdpmmu_cpu_access(any_vcpu(m), any_gpa(), one_in(16) ? any64() : any_error_code() & 0x16, one_in(4) ? NULL : &spte); break;
    }
}

static void zaps(struct machine *m)
{
    gfn_t start = any_gfn(), end = one_in(6) ? any64() : start + byte() * (1ull << byte() % 10);

    switch (byte() % 10) {
    case 0: case 1: zap_gfn_range(at(m, 'w'), any_page(m), start, end, byte() & 1); break;
    case 2: kvm_tdp_mmu_zap_gfn_range(at(m, 'w'), start, end); break;
    case 3: kvm_tdp_mmu_zap_leafs(at(m, 'w'), start, end, byte() & 1); break;
    case 4: kvm_tdp_mmu_unmap_gfn_range(at(m, 'w'), any_range(m), byte() & 1); break;
    case 5: kvm_tdp_mmu_zap_sp(at(m, 'w'), any_page(m)); break;
    case 6: kvm_tdp_mmu_try_split_huge_pages(at(m, 'r'), any_slot(m), start, end, any_level(), byte() & 1); break;
    case 7: kvm_tdp_mmu_zap_collapsible_sptes(at(m, 'r'), any_slot(m)); break;
    case 8: kvm_tdp_mmu_recover_huge_pages(at(m, 'r'), any_slot(m)); break;
    case 9:
        switch (byte() % 3) {
        case 0: tdpmmu_set_nx_huge_pages(at(m, 'n'), byte() & 1); break;
        case 1: tdpmmu_nx_recover(at(m, 'n'), one_in(4) ? (unsigned)any64() : byte() % 4); break;
        case 2: kvm_flush_remote_tlbs_range(kvm_of(m), start, any64()); break;
        }
        break;
    }
}

static void mark_ring(struct machine *m)
{
    uint32_t entries = 0;
    struct kvm_dirty_gfn *ring = tdpmmu_vcpu_dirty_ring(any_vcpu(m), one_in(4) ? NULL : &entries);

    for (unsigned i = 0, n = byte(); ring && entries && i < n; i++) {
        if (one_in(16)) {
            ring[i % entries].slot = (uint32_t)any64();
            ring[i % entries].offset = any64();
        }
        __atomic_store_n(&ring[i % entries].flags, one_in(16) ? (uint32_t)any64() : KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    }
}

static void dirty(struct machine *m)
{
    struct kvm_dirty_log log = { .slot = one_in(8) ? (uint32_t)any64() : byte() % 4, .dirty_bitmap = bitmap };
    struct kvm_clear_dirty_log clear = {
        .slot = log.slot, .first_page = one_in(8) ? any64() : byte() * 64ull,
        .num_pages = one_in(8) ? (uint32_t)any64() : byte() * 64u, .dirty_bitmap = bitmap };

    if (one_in(40))
        log.dirty_bitmap = clear.dirty_bitmap = NULL;
    switch (byte() % 10) {
    case 0: kvm_vm_ioctl_get_dirty_log(at(m, 'n'), one_in(40) ? NULL : &log); break;
    case 1: memset(bitmap, (int)byte(), 4096), kvm_vm_ioctl_clear_dirty_log(at(m, 'n'), one_in(40) ? NULL : &clear); break;
    case 2: mark_ring(m); break;
    case 3: kvm_vm_ioctl_reset_dirty_pages(at(m, 'n')); break;
    case 4: tdpmmu_mark_page_dirty(kvm_of(m), one_in(8) ? any_int() : 0, any_gfn()); break;
    case 5: kvm_tdp_mmu_wrprot_slot(at(m, 'r'), any_slot(m), any_level()); break;
    case 6: kvm_tdp_mmu_clear_dirty_slot(at(m, 'r'), any_slot(m)); break;
    case 7: kvm_tdp_mmu_clear_dirty_pt_masked(at(m, 'w'), any_slot(m), any_gfn(), any64(), byte() & 1); break;
    case 8: kvm_tdp_mmu_slot_set_dirty(at(m, 'w'), any_slot(m)); break;
    case 9: kvm_tdp_mmu_write_protect_gfn(at(m, 'w'), any_slot(m), any_gfn(), any_level()); break;
    }
}

static void host(struct machine *m)
{
    uint64_t start = any_hva(), end = one_in(6) ? any64() : start + byte() * 4096ull;

    switch (byte() % 16) {
    case 0: kvm_tdp_mmu_age_gfn_range(kvm_of(m), any_range(m)); break;
    case 1: kvm_tdp_mmu_test_age_gfn(kvm_of(m), any_range(m)); break;
    case 2: kvm_tdp_mmu_age_hva_range(kvm_of(m), start, end); break;
    case 3: kvm_tdp_mmu_test_age_hva(kvm_of(m), start); break;
    case 4: kvm_tdp_mmu_zap_hva_range(at(m, 'w'), start, end); break;
    case 5: kvm_tdp_mmu_set_spte_hva(at(m, 'w'), start, any64(), byte() & 1); break;
    case 6: kvm_mmu_invalidate_begin(at(m, 'w')); break;
    case 7: kvm_mmu_invalidate_range_add(at(m, 'w'), any_gfn(), any_gfn()); break;
    case 8: case 9: kvm_mmu_invalidate_end(at(m, 'w')); break;
    case 10: kvm_mmu_notifier_invalidate_range_start(at(m, 'n'), start, end, byte() & 1); break;
    case 11: case 12: kvm_mmu_notifier_invalidate_range_end(at(m, 'n'), start, end); break;
    case 13: kvm_mmu_notifier_clear_flush_young(at(m, 'n'), start, end); break;
    case 14: kvm_mmu_notifier_clear_young(at(m, 'n'), start, end); break;
    case 15: kvm_mmu_notifier_test_young(at(m, 'n'), start); break;
    }
}

/* A walk may be begun in one reader and wrongly gone on with in another. */
static void walks(struct machine *m)
{
    struct tdp_iter *iter = &iters[byte() & 1];
    struct kvm_mmu_page *page;

    switch (byte() % 6) {
    case 0: case 1:
        page = any_page(m);
        rcu_read_lock();
        tdp_iter_start(one_in(40) ? NULL : iter, sptep_to_sp(page ? (uint64_t *)page : NULL) ? (void *)page :
                       one_in(4) ? wild() : m->vcpu[0] && tdpmmu_vcpu_root(m->vcpu[0]) ? tdpmmu_vcpu_root(m->vcpu[0])->spt : NULL,
                       one_in(4) ? any_level() : 4, any_level(), any_gfn());
        for (unsigned i = byte(); i && iter->valid; i--)
            tdp_iter_next(iter);
        rcu_read_unlock();
        break;
    case 2:
        if (!rcu_depth && !m->write)
            tdp_iter_next(iter); /* refused, or over */
        break;
    case 3: tdp_iter_root_pt(one_in(8) ? NULL : iter); break;
    case 4: sptep_to_sp(wild()), to_shadow_page(any64()), tdpmmu_table_hpa(wild()); break;
    case 5: spte_to_child_pt(any64(), any_int()); break;
    }
    memset(iter, 0, sizeof(*iter)); /* its tables may go before it is used again */
}

/* What an entry is to become: something like what it is, or anything. */
static uint64_t any_spte(const struct tdp_iter *iter)
{
    switch (byte() % 6) {
    case 0: return SHADOW_NONPRESENT_VALUE;
    case 1: return FROZEN_SPTE;
    case 2: return any64();
    case 3: return iter->old_spte ^ (UINT64_C(1) << byte() % 64);
    default: return iter->old_spte & ~(UINT64_C(1) << byte() % 12);
    }
}

/* Steps of an operation of the caller's own, on an entry that a walk came to, or says that it did. */
static void steps(struct machine *m)
{
    struct kvm_mmu_page *root = m->vcpu[0] ? tdpmmu_vcpu_root(m->vcpu[0]) : NULL, *sp = NULL;
    struct kvm *kvm = at(m, one_in(2) ? 'r' : 'w');
    struct tdp_iter iter;

    if (!root || !(sp = tdpmmu_alloc_sp(kvm_of(m))))
        return;
    rcu_read_lock();
    tdp_iter_start(&iter, root->spt, (int)root->role.level, 1, byte());
    for (unsigned i = byte() % 8; i && iter.valid; i--)
        tdp_iter_next(&iter);
    if (iter.valid) {
        sp->role = sptep_to_sp(iter.sptep)->role;
        sp->role.level--;
        sp->gfn = iter.gfn;
        sp->ptep = iter.sptep;
        if (one_in(8))
            iter.gfn = any_gfn();
        if (one_in(8))
            iter.level = any_level();
        if (one_in(16))
            iter.sptep = one_in(2) ? wild() : (tdp_ptep_t)(void *)any_page(m);
        switch (byte() % 8) {
        case 0: tdpmmu_iter_yield(kvm, &iter, byte() & 1, byte() & 1); break;
        case 1:
            sp->spt[byte()] = any_spte(&iter);
            if (tdpmmu_link_sp(kvm, &iter, one_in(16) ? wild() : sp, byte() & 1) == 0)
                sp = NULL;
            break;
        case 2: kvm_mmu_max_mapping_level(kvm, any_slot(m), any_gfn(), any_int()); break;
        default: tdpmmu_set_spte(kvm, one_in(40) ? NULL : &iter, any_spte(&iter), (enum tdpmmu_set)(byte() % 6)); break;
        }
    }
    rcu_read_unlock();
    if (sp)
        tdpmmu_free_sp(sp);
    if (one_in(8))
        tdpmmu_free_sp(wild());
}

static void values(struct machine *m)
{
    uint64_t spte = any64();
    int level = any_int();

    (void)(is_shadow_present_pte(spte) + is_large_pte(spte) + is_last_spte(spte, level) + is_frozen_spte(spte) +
           is_writable_pte(spte) + is_mmio_spte(kvm_of(m), spte) + is_accessed_spte(kvm_of(m), spte) +
           is_dirty_spte(kvm_of(m), spte) + is_executable_pte(kvm_of(m), spte));
    (void)(spte_to_pfn(spte) + get_mmio_spte_generation(spte) + get_mmio_spte_gfn(kvm_of(m), spte));
}

static void tracing(struct machine *m)
{
    static struct tdpmmu_trace_event events[64];
    static char text[300];
    struct tdpmmu_stats stats;
    struct tdpmmu_check_stats checks;
    uint64_t lost = 0;

    switch (byte() % 12) {
    case 0: tdpmmu_trace_enable(kvm_of(m), one_in(4) ? any64() : one_in(2) ? TDPMMU_TRACE_ALL : 0); break;
    case 1: tdpmmu_trace_read(one_in(8) ? NULL : events, byte() % 65, one_in(2) ? NULL : &lost); break;
    case 2: tdpmmu_trace_ring_size(one_in(2) ? any64() : 64u << byte() % 4); break;
    case 3:
        memset(text, one_in(8) ? (int)byte() : 'x', sizeof(text) - 1);
        text[byte()] = 0;
        tdpmmu_trace_mark(kvm_of(m), one_in(8) ? NULL : text);
        break;
    case 4: tdpmmu_trace_name(any_int()); break;
    case 5: tdpmmu_trace_write(-1 - (int)byte()); break;
    case 6:
    case 7: tdpmmu_check(kvm_of(m)); break;
    case 8: tdpmmu_check_always(kvm_of(m), one_in(2) ? 0 : 1 + byte()); break;
    case 9: tdpmmu_check_stats(kvm_of(m), one_in(8) ? NULL : &checks, one_in(2) ? sizeof(checks) : any64()); break;
    default: tdpmmu_get_stats(kvm_of(m), one_in(8) ? NULL : &stats, one_in(2) ? sizeof(stats) : any64()); break;
    }
}

static int spare;

static void forget(void *object) { (void)object; }

/* A full state, or what is none. */
static void any_full(void)
{
    struct rcu_gp_oldstate full = { one_in(2) ? any64() : 0 }, *state = one_in(4) ? NULL : &full;

    switch (byte() % 4) {
    case 0: get_state_synchronize_rcu_full(state); break;
    case 1: start_poll_synchronize_rcu_full(state); break;
    case 2: start_poll_synchronize_rcu_expedited_full(state); break;
    default: get_completed_synchronize_rcu_full(state); break;
    }
    if (!poll_state_synchronize_rcu_full(state))
        one_in(2) ? cond_synchronize_rcu_full(state) : cond_synchronize_rcu_expedited_full(state);
    if (same_state_synchronize_rcu_full(state, &full) != (state != NULL))
        fail("a full state is itself");
}

static void rcu(struct machine *m)
{
    switch (byte() % 20) {
    case 0: synchronize_rcu(); break;
    case 1: synchronize_srcu(&m->kvm->srcu); break;
    case 2:
        if (heads_used < 64)
            call_rcu(&heads[heads_used++], nothing);
        break;
    case 3: call_rcu(one_in(2) ? NULL : &heads[0], heads_used && one_in(2) ? nothing : NULL); break;
    case 4:
        if (heads_used < 64)
            call_srcu(&m->kvm->srcu, &heads[heads_used++], nothing);
        break;
    case 5: rcu_barrier(); break;
    case 6: srcu_barrier(&m->kvm->srcu); break;
    case 7: poll_state_synchronize_rcu(one_in(2) ? any64() : start_poll_synchronize_rcu()); break;
    case 8: cond_synchronize_rcu(one_in(2) ? any64() : get_state_synchronize_rcu()); break;
    case 9: poll_state_synchronize_srcu(&m->kvm->srcu, one_in(2) ? any64() : start_poll_synchronize_srcu(&m->kvm->srcu)); break;
    case 10: tdpmmu_kfree_rcu(one_in(2) ? NULL : (void *)heads, one_in(2) ? NULL : (void *)-1l, NULL); break;
    case 11: tdpmmu_rcu_thread_offline(); break;
    case 12: tdpmmu_rcu_unregister_thread(); break;
    case 13: tdpmmu_rcu_check_reader("fuzz"); break;
    case 14:
        if (heads_used < 64) {
            rcu_head_init(&heads[heads_used]);
            call_rcu_hurry(&heads[heads_used++], nothing);
        }
        break;
    case 15: rcu_head_after_call_rcu(one_in(4) ? NULL : &heads[byte() % 64], one_in(4) ? NULL : nothing); break;
    case 16: tdpmmu_kfree_rcu_mightsleep(one_in(2) ? NULL : &spare, forget); break;
    case 17: any_full(); break;
    case 18: cond_synchronize_rcu_expedited(one_in(2) ? any64() : start_poll_synchronize_rcu_expedited()); break;
    case 19: tdpmmu_rcu_lockdep_warn(one_in(2) ? NULL : "fuzz", one_in(2) ? NULL : "a text"); break;
    }
}

static const struct group {
    const char *name;
    void (*call)(struct machine *m);
    unsigned weight;
} groups[] = {
    { "lock", take_and_let_go, 6 }, { "lifecycle", lifecycle, 2 }, { "slots", slots, 4 }, { "roots", roots, 4 },
    { "faults", faults, 10 }, { "zaps", zaps, 5 }, { "dirty", dirty, 5 }, { "host", host, 4 }, { "walks", walks, 2 }, { "steps", steps, 3 },
    { "values", values, 1 }, { "tracing", tracing, 1 }, { "rcu", rcu, 1 },
};

static void one_call(void)
{
    struct machine *m = any_machine();
    unsigned total = 0, pick;
    const struct group *group = groups;

    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
        total += groups[i].weight;
    for (pick = byte() % total; pick >= group->weight; group++)
        pick -= group->weight;
    call_name = group->name;
    if (verbose) {
        printf("%s %02x %02x %02x\n", group->name, input_left > 0 ? input[0] : 0, input_left > 1 ? input[1] : 0,
               input_left > 2 ? input[2] : 0);
        fflush(stdout);
    }
    group->call(m);
    check_holds();
}

static void run_input(const uint8_t *data, size_t size)
{
    input = data;
    input_left = size;
    rcu_depth = callback_depth = 0;
    leaks = heads_used = seen_count = 0;
    memset(seen, 0, sizeof(seen));
    memset(heads, 0, sizeof(heads));
    memset(iters, 0, sizeof(iters));
    tdpmmu_set_warn_handler(on_warn, NULL);
    for (int i = 0; i < VMS; i++)
        make(&machines[i]);
    for (unsigned calls = 0; input_left && calls < MOST_CALLS; calls++)
        one_call();
    call_name = "the end";
    input_left = 0;
    let_go_of_all();
    check_holds();
    for (int i = 0; i < VMS; i++) {
        srcu_barrier(&machines[i].kvm->srcu);
        unmake(&machines[i]);
    }
    rcu_barrier();
    if (leaks)
        fail(last_leak);
}

#ifdef LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run_input(data, size);
    return 0;
}
#else

/* Inputs from numbers ------------------------------------------------------- */

static uint8_t generated[6000];

static size_t generate(uint64_t seed)
{
    size_t size;

    for (size_t i = 0; i < sizeof(generated); i += 8) { /* splitmix64 */
        uint64_t z = seed + (i / 8 + 1) * 0x9e3779b97f4a7c15;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        z ^= z >> 31;
        memcpy(generated + i, &z, 8);
    }
    memcpy(&size, generated, sizeof(size));
    return 500 + size % (sizeof(generated) - 500);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* False if it did not end well; in a child, so that others come after it. */
static bool survives(uint64_t seed, const char *program)
{
    size_t size = generate(seed);
    pid_t child = fork();
    int status;

    if (child < 0)
        exit(2);
    if (child == 0) {
        alarm(60);
        run_input(generated, size);
        _exit(0);
    }
    waitpid(child, &status, 0);
    if (!status)
        return true;
    if (WIFSIGNALED(status))
        printf("fuzz: input %llu: %s\n", (unsigned long long)seed,
               WTERMSIG(status) == SIGALRM ? "hangs" : strsignal(WTERMSIG(status)));
    else
        printf("fuzz: input %llu: status %d\n", (unsigned long long)seed, WEXITSTATUS(status));
    printf("    to see it: %s replay %llu\n", program, (unsigned long long)seed);
    return false;
}

static bool is_number(const char *text, uint64_t least, uint64_t most, uint64_t *n)
{
    char *end;

    errno = 0;
    *n = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *n >= least && *n <= most;
}

static int refuse(const char *what, const char *text)
{
    fprintf(stderr, "fuzz: %s, and not '%s'\n", what, text);
    return 2;
}

int main(int argc, char **argv)
{
    unsigned long passed = 0, failed = 0;
    struct rlimit no_core = { 0, 0 };
    uint64_t seconds, seed = (uint64_t)time(NULL) * 1000003;
    double end;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 2 || argc > 3)
        return fputs("fuzz_api SECONDS [FIRST] | fuzz_api replay NUMBER\n", stderr), 2;
    if (argc == 3 && !is_number(argv[2], 0, UINT64_MAX, &seed))
        return refuse("the number of an input is whole, from 0 on", argv[2]);
    if (argc == 3 && strcmp(argv[1], "replay") == 0) {
        verbose = true;
        alarm(60);
        run_input(generated, generate(seed));
        puts("survived");
        return 0;
    }
    if (!is_number(argv[1], 1, 9999999, &seconds))
        return refuse("SECONDS_FUZZ is a count of seconds from 1 to 9999999", argv[1]);
    printf("fuzz: first input %llu\n", (unsigned long long)seed);
    setrlimit(RLIMIT_CORE, &no_core);
    for (end = now() + (double)seconds; now() < end && failed < 10; seed++)
        if (survives(seed, argv[0]))
            passed++;
        else
            failed++;
    printf("fuzz: %lu passed, %lu failed\n", passed, failed);
    return failed != 0 || passed == 0;
}
#endif
