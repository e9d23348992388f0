// SPDX-License-Identifier: GPL-2.0-only
/* vm.h: VMs, vCPUs, slots, counters; and the roots of tdp_mmu.h. */
#include <time.h>

#include "told.h"
#define errno (*__errno_location())

static void wake_recovery(struct kvm *kvm)
{
    pthread_mutex_lock(&kvm->face->recovery_mutex);
    pthread_cond_broadcast(&kvm->face->recovery_changed);
    pthread_mutex_unlock(&kvm->face->recovery_mutex);
}

/* ---- making one ---------------------------------------------------------------------- */
static void *refuse_config(const char *text, u64 value, int error)
{
    face_refuse(NULL, "tdpmmu_create_vm", text, value, 0);
    errno = error;
    return NULL;
}

/* Copies a struct of a caller who knows it shorter or longer: 0, EINVAL, or E2BIG. */
static int copy_struct(void *to, size_t known, const void *from, size_t size)
{
    const char *bytes = from;

    if (size < 48 || size > 4096)
        return EINVAL;
    for (size_t i = known; i < size; i++)
        if (bytes[i])
            return E2BIG;
    memcpy(to, from, min(size, known));
    return 0;
}

static const char *bad_option(const struct tdpmmu_vm_config *c, u64 *value)
{
    u32 level = c->root_level ? c->root_level : 4, bits = c->maxphyaddr ? c->maxphyaddr : 46;
    struct { const char *text; u32 value; bool bad; } all[] = {
        { "vendor is none (vendor)", c->vendor, c->vendor > 1 },
        { "ad_disabled is not 0 or 1 (ad_disabled)", c->ad_disabled, c->ad_disabled > 1 },
        { "nx_huge_pages is not 0 or 1 (nx_huge_pages)", c->nx_huge_pages, c->nx_huge_pages > 1 },
        { "no_eager_split is not 0 or 1 (no_eager_split)", c->no_eager_split, c->no_eager_split > 1 },
        { "no_pml is not 0 or 1 (no_pml)", c->no_pml, c->no_pml > 1 },
        { "zap_slot_only is not 0 or 1 (zap_slot_only)", c->zap_slot_only, c->zap_slot_only > 1 },
        { "pml_oldest_first is not 0 or 1 (pml_oldest_first)", c->pml_oldest_first, c->pml_oldest_first > 1 },
        { "root_level is not 4 or 5 (root_level)", level, level != 4 && level != 5 },
        { "maxphyaddr is not 36 to 52 (maxphyaddr)", bits, bits < 36 || bits > 52 },
        { "ad_disabled is for EPT only (vendor)", c->vendor, c->vendor && c->ad_disabled },
        { "dirty_log has bad flags (dirty_log)", c->dirty_log, c->dirty_log > 3 || c->dirty_log == 2 },
        { "l1tf_cache_bits is not 36 to 46 (l1tf_cache_bits)", c->l1tf_cache_bits,
          c->l1tf_cache_bits && (c->l1tf_cache_bits < 36 || c->l1tf_cache_bits > 46) },
    };

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (all[i].bad) {
            *value = all[i].value;
            return all[i].text;
        }
    return NULL;
}

static void init_arch(struct kvm *kvm)
{
    kvm->arch.pre_fault_allowed = true;
    INIT_LIST_HEAD(&kvm->arch.active_mmu_pages);
    INIT_LIST_HEAD(&kvm->arch.zapped_obsolete_pages);
    INIT_LIST_HEAD(&kvm->arch.possible_nx_huge_pages);
    spin_lock_init(&kvm->arch.mmu_unsync_pages_lock);
    kvm->arch.split_page_header_cache.kmem_cache = mmu_page_header_cache;
    kvm->mmu_invalidate_range_start = kvm->mmu_invalidate_range_end = INVALID_GPA;
}

static struct kvm *make_vm(const struct tdpmmu_vm_config *config, const struct tdpmmu_ops *ops)
{
    struct kvm *kvm = aligned_alloc(64, ALIGN(sizeof(*kvm), 64UL));
    struct face_vm *face = calloc(1, sizeof(*face));
    struct hlist_head *hash = calloc(KVM_NUM_MMU_PAGES, sizeof(*hash)); /* of shadow pages: stays empty */

    if (!kvm || !face || !hash) {
        free(kvm);
        free(face);
        free(hash);
        errno = ENOMEM;
        return NULL;
    }
    memset(kvm, 0, sizeof(*kvm));
    kvm->face = face;
    face->ops = *ops;
    face->ctx = config->ops_ctx;
    face->table_limit = config->table_limit;
    face->eager_split = !config->no_eager_split;
    pthread_mutex_init(&face->vcpus_mutex, NULL);
    pthread_mutex_init(&face->recovery_mutex, NULL);
    pthread_cond_init(&face->recovery_changed, NULL);
    tdpmmu_peer_init_mmu_lock(&kvm->mmu_lock);
    init_srcu_struct(&kvm->srcu);
    mutex_init(&kvm->lock);
    mutex_init(&kvm->slots_lock);
    mutex_init(&kvm->slots_arch_lock);
    spin_lock_init(&kvm->mn_invalidate_lock);
    kvm->users_count.refs = 1;
    linux_machine_init(&kvm->machine, config);
    face_init_slots(kvm, config->slots_generation);
    kvm->mmu_invalidate_seq = config->invalidate_seq;
    face->ring_index = config->ring_index;
    init_arch(kvm);
    kvm->arch.mmu_page_hash = hash;
    kvm->arch.disable_nx_huge_pages = !config->nx_huge_pages;
    kvm->arch.disabled_quirks = config->zap_slot_only ? KVM_X86_QUIRK_SLOT_ZAP_ALL : 0;
    kvm->manual_dirty_log_protect = config->dirty_log;
    return kvm;
}

struct kvm *tdpmmu_create_vm(const struct tdpmmu_vm_config *given)
{
    struct tdpmmu_vm_config config = { .size = sizeof(config) };
    struct tdpmmu_ops ops = { 0 };
    const char *wrong;
    struct kvm *kvm;
    u64 value = 0;
    int error;

    if (given) {
        error = copy_struct(&config, sizeof(config), given, given->size);
        if (error)
            return refuse_config("config has a bad size or unknown options (size)", given->size, error);
        if (config.ops) {
            error = copy_struct(&ops, sizeof(ops), config.ops, config.ops->size);
            if (error)
                return refuse_config("ops has a bad size or unknown callbacks (size)", config.ops->size, error);
        }
    }
    wrong = bad_option(&config, &value);
    if (wrong)
        return refuse_config(wrong, value, EINVAL);
    if (config.slots_generation & 1)
        return refuse_config("slots_generation is odd (slots_generation)", config.slots_generation, EINVAL);
    kvm = make_vm(&config, &ops);
    if (kvm)
        kvm_mmu_init_tdp_mmu(kvm);
    return kvm;
}

int kvm_mmu_init_tdp_mmu(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!face_wants_none(kvm, __func__, false, false))
        return -EINVAL;
    ENTER(kvm, -EINVAL);
    if (atomic_exchange(&kvm->face->set_up, true))
        return -EBUSY;
    kvm->arch.shadow_mmio_value = shadow_mmio_value;
    linux_kvm_mmu_init_tdp_mmu(kvm);
    wake_recovery(kvm);
    return 0;
}

static void unload(struct kvm_vcpu *vcpu)
{
    linux_kvm_mmu_unload(vcpu);
    face_free_caches(vcpu);
}

static void uninit(struct kvm *kvm)
{
    struct kvm_vcpu *vcpu;
    unsigned long i;

    if (!atomic_exchange(&kvm->face->set_up, false))
        return;
    write_lock(&kvm->mmu_lock);
    linux_kvm_tdp_mmu_invalidate_all_roots(kvm);
    face_show_roots(kvm);
    write_unlock(&kvm->mmu_lock);
    kvm_for_each_vcpu(i, vcpu, kvm)
        unload(vcpu);
    linux_kvm_mmu_uninit_tdp_mmu(kvm);
    rcu_barrier();
    if (count_of(&kvm->face->counters.tables))
        face_warn(kvm, TDPMMU_WARN_LEAK, "kvm_mmu_uninit_tdp_mmu", "tables are left (tables)",
                  count_of(&kvm->face->counters.tables), 0);
}

void kvm_mmu_uninit_tdp_mmu(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_none(kvm, __func__, true, true) || !face_may_end(kvm, __func__) || !face_is_set_up(kvm, __func__))
        return;
    ENTER(kvm, );
    uninit(kvm);
}

/* ---- the thread that makes huge pages possible again ------------------------------------- */
static bool step_is_due(struct face_vm *face, struct timespec *next)
{
    /* From the last change of the settings or the last step on. */
    u64 ratio = face->recovery_ratio, period = face->recovery_period_ms;

    if (!period)
        period = 3600000 / min(ratio, (u64)3600);
    clock_gettime(CLOCK_REALTIME, next);
    next->tv_sec += (time_t)(period / 1000);
    next->tv_nsec += (long)(period % 1000) * 1000000;
    if (next->tv_nsec >= 1000000000) {
        next->tv_sec++;
        next->tv_nsec -= 1000000000;
    }
    return pthread_cond_timedwait(&face->recovery_changed, &face->recovery_mutex, next) == ETIMEDOUT;
}

/* A callback may change the settings, so the mutex is not held in the step. */
static void take_step(struct kvm *kvm)
{
    pthread_mutex_unlock(&kvm->face->recovery_mutex);
    {
        ENTER(kvm, );
        face_nx_recover(kvm, &kvm->face->recovery_ratio);
    }
    pthread_mutex_lock(&kvm->face->recovery_mutex);
}

static void *recover(void *argument)
{
    struct kvm *kvm = argument;
    struct face_vm *face = kvm->face;
    struct timespec next;

    pthread_mutex_lock(&face->recovery_mutex);
    while (!face->recovery_ends) {
        if (!face->recovery_ratio || kvm->arch.disable_nx_huge_pages || !atomic_load(&face->set_up))
            pthread_cond_wait(&face->recovery_changed, &face->recovery_mutex);
        else if (step_is_due(face, &next))
            take_step(kvm);
    }
    pthread_mutex_unlock(&face->recovery_mutex);
    return NULL;
}

int tdpmmu_set_nx_recovery(struct kvm *kvm, unsigned int ratio, unsigned int period_ms)
{
    struct face_vm *face;
    int error = 0;

    REFUSE_NULL(kvm, "kvm", -EINVAL);
    face = kvm->face;
    pthread_mutex_lock(&face->recovery_mutex);
    if (ratio && !face->recovery_runs) {
        error = pthread_create(&face->recovery_thread, NULL, recover, kvm);
        face->recovery_runs = !error;
    }
    if (!error) {
        face->recovery_ratio = ratio;
        face->recovery_period_ms = period_ms;
    }
    pthread_cond_broadcast(&face->recovery_changed);
    pthread_mutex_unlock(&face->recovery_mutex);
    return -error;
}

static void end_recovery(struct face_vm *face)
{
    pthread_mutex_lock(&face->recovery_mutex);
    face->recovery_ends = true;
    pthread_cond_broadcast(&face->recovery_changed);
    pthread_mutex_unlock(&face->recovery_mutex);
    if (face->recovery_runs)
        pthread_join(face->recovery_thread, NULL);
}

int tdpmmu_nx_recover(struct kvm *kvm, unsigned int ratio)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!ratio) {
        face_refuse(kvm, __func__, "ratio is 0", 0, 0);
        return -EINVAL;
    }
    if (!face_wants_none(kvm, __func__, true, false))
        return -EINVAL;
    ENTER(kvm, -EINVAL);
    return face_nx_recover(kvm, &ratio);
}

int tdpmmu_set_nx_huge_pages(struct kvm *kvm, bool on)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!face_wants_none(kvm, __func__, true, true))
        return -EINVAL;
    ENTER(kvm, -EINVAL);
    if (kvm->arch.disable_nx_huge_pages == on) {
        kvm->arch.disable_nx_huge_pages = !on;
        face_zap_all_fast(kvm);
        wake_recovery(kvm);
    }
    return 0;
}

/* ---- vCPUs ---------------------------------------------------------------------------------- */
static int list_vcpu(struct kvm_vcpu *vcpu)
{
    struct kvm *kvm = vcpu->kvm;
    struct kvm_vcpu **last;
    int error = 0;

    pthread_mutex_lock(&kvm->face->vcpus_mutex);
    for (last = &kvm->face->vcpus; *last; last = &(*last)->face_next)
        if ((*last)->vcpu_id == vcpu->vcpu_id)
            error = EEXIST;
    if (!error) {
        *last = vcpu;
        kvm->created_vcpus++;
    }
    pthread_mutex_unlock(&kvm->face->vcpus_mutex);
    return error;
}

struct kvm_vcpu *tdpmmu_create_vcpu(struct kvm *kvm, int vcpu_id)
{
    struct kvm_vcpu *vcpu;
    int error = EINVAL;

    if (!kvm)
        face_refuse(NULL, __func__, "kvm is NULL", 0, 0);
    if (!kvm || vcpu_id < 0 || vcpu_id >= 4096 || !face_wants_none(kvm, __func__, false, false)) {
        errno = EINVAL;
        return NULL;
    }
    ENTER(kvm, NULL);
    vcpu = calloc(1, sizeof(*vcpu));
    if (vcpu) {
        vcpu->kvm = kvm;
        vcpu->vcpu_id = vcpu_id;
        vcpu->mode = OUTSIDE_GUEST_MODE;
        face_init_mmu(vcpu);
        error = !face_alloc_log(vcpu) || (kvm->dirty_ring_size &&
                kvm_dirty_ring_alloc(&vcpu->dirty_ring, vcpu_id, kvm->dirty_ring_size)) ? ENOMEM : list_vcpu(vcpu);
        vcpu->dirty_ring.dirty_index = vcpu->dirty_ring.reset_index = kvm->face->ring_index;
        if (!error)
            return vcpu;
        face_free_log(vcpu);
        kvm_dirty_ring_free(&vcpu->dirty_ring);
        free(vcpu);
    }
    errno = vcpu ? error : ENOMEM;
    return NULL;
}

static void free_vcpu(struct kvm_vcpu *vcpu)
{
    struct face_vm *face = vcpu->kvm->face;
    struct kvm_vcpu **at;

    face_exit_guest(vcpu);
    pthread_mutex_lock(&face->vcpus_mutex);
    for (at = &face->vcpus; *at && *at != vcpu; at = &(*at)->face_next)
        ;
    if (*at)
        *at = vcpu->face_next;
    vcpu->kvm->created_vcpus--;
    pthread_mutex_unlock(&face->vcpus_mutex);
    unload(vcpu);
    face_free_log(vcpu);
    kvm_dirty_ring_free(&vcpu->dirty_ring);
    free(vcpu);
}

void tdpmmu_destroy_vcpu(struct kvm_vcpu *vcpu)
{
    if (!vcpu || !face_wants_none(vcpu->kvm, __func__, true, false))
        return;
    ENTER(vcpu->kvm, );
    free_vcpu(vcpu);
}

void tdpmmu_destroy_vm(struct kvm *kvm)
{
    if (!kvm || !face_wants_none(kvm, __func__, true, true) || !face_may_end(kvm, __func__))
        return;
    end_recovery(kvm->face);
    {
        ENTER(kvm, );
        uninit(kvm);
        while (kvm->face->vcpus)
            free_vcpu(kvm->face->vcpus);
        face_free_slots(kvm);
    }
    rcu_barrier();
    srcu_barrier(&kvm->srcu);
    cleanup_srcu_struct(&kvm->srcu);
    linux_machine_forget();
    free(kvm->arch.mmu_page_hash);
    free(kvm->face);
    free(kvm);
}

struct kvm *tdpmmu_vcpu_kvm(struct kvm_vcpu *vcpu)
{
    REFUSE_NULL(vcpu, "vcpu", NULL);
    return vcpu->kvm;
}

int tdpmmu_vcpu_id(struct kvm_vcpu *vcpu)
{
    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    return vcpu->vcpu_id;
}

int tdpmmu_vcpu_as_id(struct kvm_vcpu *vcpu)
{
    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    return vcpu->face_as_id;
}

int tdpmmu_vcpu_set_as_id(struct kvm_vcpu *vcpu, int as_id)
{
    struct tdpmmu_trace_event event = { 0 };

    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    if (!face_wants_none(vcpu->kvm, __func__, false, false))
        return -EINVAL;
    if (as_id != 0 && as_id != 1) {
        face_refuse(vcpu->kvm, __func__, "as_id is neither 0 nor 1 (as_id)", (u64)(s64)as_id, 0);
        return -EINVAL;
    }
    ENTER(vcpu->kvm, -EINVAL);
    face_exit_guest(vcpu);
    if (as_id == vcpu->face_as_id)
        return 0;
    event.smm_transition.vcpu_id = vcpu->vcpu_id;
    event.smm_transition.entering = as_id != 0;
    face_event(vcpu->kvm, TDPMMU_TRACE_SMM_TRANSITION, &event);
    linux_kvm_mmu_unload(vcpu);
    vcpu->face_as_id = as_id;
    vcpu->last_used_slot = NULL;
    vcpu->last_used_slot_gen = ~0UL;
    vcpu->arch.mmu->root_role.smm = (u32)as_id;
    return 0;
}

/* ---- slots ------------------------------------------------------------------------------------ */
int kvm_set_memory_region(struct kvm *kvm, const struct kvm_userspace_memory_region *region)
{
    struct kvm_userspace_memory_region2 mem = { 0 };
    int ret;

    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!face_wants_none(kvm, __func__, true, true))
        return -EINVAL;
    if (!region) {
        face_refuse(kvm, __func__, "region is NULL", 0, 0);
        return -EINVAL;
    }
    memcpy(&mem, region, sizeof(*region));
    if ((u16)mem.slot >= KVM_USER_MEM_SLOTS || mem.flags & ~(u32)(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY))
        return -EINVAL;
    ENTER(kvm, -EINVAL);
    frame.changes_slots = true;
    mutex_lock(&kvm->slots_lock);
    ret = __kvm_set_memory_region(kvm, &mem);
    mutex_unlock(&kvm->slots_lock);
    return ret;
}

static bool is_reader(struct kvm *kvm, const char *function)
{
    if (rcu_read_lock_held() || srcu_read_lock_held(&kvm->srcu))
        return true;
    face_warn(kvm, TDPMMU_WARN_LOCK, function, "called outside a reader of kvm->srcu or RCU", 0, 0);
    return false;
}

const struct kvm_memory_slot *gfn_to_memslot(struct kvm *kvm, gfn_t gfn)
{
    REFUSE_NULL(kvm, "kvm", NULL);
    return is_reader(kvm, __func__) ? linux_gfn_to_memslot(kvm, gfn) : NULL;
}

const struct kvm_memory_slot *kvm_vcpu_gfn_to_memslot(struct kvm_vcpu *vcpu, gfn_t gfn)
{
    REFUSE_NULL(vcpu, "vcpu", NULL);
    return is_reader(vcpu->kvm, __func__) ? __gfn_to_memslot(kvm_vcpu_memslots(vcpu), gfn) : NULL;
}

const struct kvm_memory_slot *tdpmmu_id_to_memslot(struct kvm *kvm, int as_id, int id)
{
    REFUSE_NULL(kvm, "kvm", NULL);
    if (!is_reader(kvm, __func__))
        return NULL;
    if (as_id < 0 || as_id > 1 || id < 0 || id > 65535) {
        face_refuse(kvm, __func__, as_id < 0 || as_id > 1 ? "as_id is neither 0 nor 1 (as_id)" : "id is no slot id (id)",
                    (u64)(s64)(as_id < 0 || as_id > 1 ? as_id : id), 0);
        return NULL;
    }
    return id_to_memslot(__kvm_memslots(kvm, as_id), id);
}

uint64_t tdpmmu_memslots_generation(struct kvm *kvm, int as_id)
{
    REFUSE_NULL(kvm, "kvm", 0);
    if (as_id < 0 || as_id > 1) {
        face_refuse(kvm, __func__, "as_id is neither 0 nor 1 (as_id)", (u64)(s64)as_id, 0);
        return 0;
    }
    return __kvm_memslots(kvm, as_id)->generation;
}

int kvm_vm_ioctl_enable_cap(struct kvm *kvm, const struct kvm_enable_cap *cap)
{
    u64 arg;

    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!face_wants_none(kvm, __func__, true, true))
        return -EINVAL;
    if (!cap) {
        face_refuse(kvm, __func__, "cap is NULL", 0, 0);
        return -EINVAL;
    }
    ENTER(kvm, -EINVAL);
    arg = cap->args[0];
    if (cap->flags)
        return -EINVAL;
    switch (cap->cap) {
    case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
        if (arg & ~(u64)KVM_DIRTY_LOG_MANUAL_CAPS || arg == KVM_DIRTY_LOG_INITIALLY_SET)
            return -EINVAL;
        kvm->manual_dirty_log_protect = arg;
        return 0;
    case KVM_CAP_DISABLE_QUIRKS2:
        if (arg >> 11)
            return -EINVAL;
        kvm->arch.disabled_quirks |= arg;
        return 0;
    case KVM_CAP_DIRTY_LOG_RING:
    case KVM_CAP_DIRTY_LOG_RING_ACQ_REL:
        return face_enable_ring(kvm, (u32)arg);
    default:
        return -EINVAL;
    }
}

int tdpmmu_set_eager_page_split(struct kvm *kvm, bool on)
{
    REFUSE_NULL(kvm, "kvm", -EINVAL);
    kvm->face->eager_split = on;
    return 0;
}

/* ---- flushes and counters ---------------------------------------------------------------------- */
void kvm_flush_remote_tlbs(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", );
    ENTER(kvm, );
    linux_kvm_flush_remote_tlbs(kvm);
}

void kvm_flush_remote_tlbs_range(struct kvm *kvm, gfn_t gfn, uint64_t npages)
{
    REFUSE_NULL(kvm, "kvm", );
    if (gfn >= gfn_limit(kvm)) {
        face_refuse(kvm, __func__, "gfn is beyond MAXPHYADDR (gfn)", gfn, 0);
        return;
    }
    if (!npages)
        return;
    ENTER(kvm, );
    linux_kvm_flush_remote_tlbs_range(kvm, gfn, npages);
}

static u64 positive(s64 n) { return n > 0 ? (u64)n : 0; }

static u64 count_roots(struct kvm *kvm)
{
    struct kvm_mmu_page *root;
    u64 n = 0;

    if (!kvm->arch.tdp_mmu_roots.next)
        return 0;
    rcu_read_lock();
    list_for_each_entry_rcu(root, &kvm->arch.tdp_mmu_roots, link)
        n++;
    rcu_read_unlock();
    return n;
}

int tdpmmu_get_stats(struct kvm *kvm, struct tdpmmu_stats *stats, size_t size)
{
    struct face_counters *c;
    struct tdpmmu_stats now;

    REFUSE_NULL(kvm, "kvm", -EINVAL);
    if (!stats || !size || size > SSIZE_MAX) {
        face_refuse(kvm, __func__, !stats ? "stats is NULL" : "size is 0 or cannot be (size)", size, 0);
        return -EINVAL;
    }
    c = &kvm->face->counters;
    now = (struct tdpmmu_stats){
        .pages_4k = positive(atomic64_read(&kvm->stat.pages[0])),
        .pages_2m = positive(atomic64_read(&kvm->stat.pages[1])),
        .pages_1g = positive(atomic64_read(&kvm->stat.pages[2])),
        .tables = count_of(&c->tables), .tables_stray = count_of(&c->strays), .roots = count_roots(kvm),
        .faults = count_of(&c->faults), .faults_fixed = count_of(&c->fixed),
        .faults_spurious = count_of(&c->spurious), .faults_retried = count_of(&c->retried),
        .faults_emulated = count_of(&c->emulated), .mmio_sptes = count_of(&c->mmio_sptes),
        .spte_changes = count_of(&c->spte_changes), .tlb_flushes = count_of(&c->flushes),
        .yields = count_of(&c->yields), .warnings = count_of(&c->warnings),
        .fast_faults = count_of(&c->fast_faults), .splits = count_of(&c->splits),
        .nx_splits = kvm->stat.nx_lpage_splits,
        .pml_full = count_of(&c->pml_full), .pml_flushes = count_of(&c->pml_flushes),
    };
    memcpy(stats, &now, min(size, sizeof(now)));
    return 0;
}

/* ---- roots --------------------------------------------------------------------------------------- */
hpa_t kvm_tdp_mmu_get_vcpu_root_hpa(struct kvm_vcpu *vcpu)
{
    struct kvm_mmu_page *root;
    hpa_t old, hpa;

    REFUSE_NULL(vcpu, "vcpu", INVALID_PAGE);
    if (!face_wants_none(vcpu->kvm, __func__, true, false) || !face_is_set_up(vcpu->kvm, __func__))
        return INVALID_PAGE;
    ENTER(vcpu->kvm, INVALID_PAGE);
    face_exit_guest(vcpu);
    if (face_load(vcpu))
        return INVALID_PAGE;
    /* Linux gives a vCPU its root; the reference that the caller gets is one more. */
    old = vcpu->arch.mmu->root.hpa;
    vcpu->arch.mmu->root.hpa = INVALID_PAGE;
    hpa = told_alloc_root(vcpu) ? INVALID_PAGE : vcpu->arch.mmu->root.hpa;
    vcpu->arch.mmu->root.hpa = old;
    root = linux_table_at_pa(hpa);
    face_page(root);
    return hpa;
}

static struct kvm_mmu_page *live_root(const struct face_kvm_mmu_page *page)
{
    struct kvm_mmu_page *sp = linux_sp(page);

    return sp && !sp->ptep ? sp : NULL;
}

bool kvm_tdp_mmu_get_root(struct face_kvm_mmu_page *page)
{
    struct kvm_mmu_page *root = live_root(page);
    struct kvm *kvm = root ? linux_table_owner(root) : NULL;

    if (!kvm) {
        face_refuse(NULL, __func__, "root is NULL or no root (root)", (u64)(uintptr_t)page, 0);
        return false;
    }
    if (!rcu_read_lock_held() && !tdpmmu_read_lock_held(&kvm->mmu_lock) && !tdpmmu_write_lock_held(&kvm->mmu_lock)) {
        face_warn(kvm, TDPMMU_WARN_LOCK, __func__, "called outside an RCU reader, and mmu_lock is not held", 0, 0);
        return false;
    }
    ENTER(kvm, false);
    return linux_kvm_tdp_mmu_get_root(root);
}

void kvm_tdp_mmu_put_root(struct kvm *kvm, struct face_kvm_mmu_page *page)
{
    struct kvm_mmu_page *root;

    REFUSE_NULL(kvm, "kvm", );
    if (!page) {
        face_refuse(kvm, __func__, "root is NULL", 0, 0);
        return;
    }
    root = live_root(page);
    if (!root || linux_table_owner(root) != kvm) {
        face_refuse(kvm, __func__, "root is no root of this VM (root)", (u64)(uintptr_t)page, 0);
        return;
    }
    if (!root->role.invalid && page->tdp_mmu_root_count <= 1) {
        face_refuse(kvm, __func__, "root has no reference to drop but the MMU's own (root)", (u64)(uintptr_t)page, 0);
        return;
    }
    ENTER(kvm, );
    linux_kvm_tdp_mmu_put_root(kvm, root);
}

int kvm_mmu_load(struct kvm_vcpu *vcpu)
{
    REFUSE_NULL(vcpu, "vcpu", -EINVAL);
    if (!face_wants_none(vcpu->kvm, __func__, true, false) || !face_is_set_up(vcpu->kvm, __func__))
        return -EINVAL;
    ENTER(vcpu->kvm, -EINVAL);
    face_exit_guest(vcpu);
    return face_load(vcpu);
}

void kvm_mmu_unload(struct kvm_vcpu *vcpu)
{
    REFUSE_NULL(vcpu, "vcpu", );
    if (!face_wants_none(vcpu->kvm, __func__, false, false))
        return;
    ENTER(vcpu->kvm, );
    face_exit_guest(vcpu);
    linux_kvm_mmu_unload(vcpu);
}

struct face_kvm_mmu_page *tdpmmu_vcpu_root(struct kvm_vcpu *vcpu)
{
    REFUSE_NULL(vcpu, "vcpu", NULL);
    return face_page(linux_table_at_pa(READ_ONCE(vcpu->arch.mmu->root.hpa)));
}

void kvm_tdp_mmu_invalidate_all_roots(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_write(kvm, __func__))
        return;
    ENTER(kvm, );
    linux_kvm_tdp_mmu_invalidate_all_roots(kvm);
    kvm_make_all_cpus_request(kvm, KVM_REQ_MMU_FREE_OBSOLETE_ROOTS);
}

void kvm_tdp_mmu_zap_invalidated_roots(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_none(kvm, __func__, true, false))
        return;
    ENTER(kvm, );
    linux_kvm_tdp_mmu_zap_invalidated_roots(kvm);
    face_show_roots(kvm);
}

void kvm_mmu_zap_all_fast(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_none(kvm, __func__, true, true))
        return;
    ENTER(kvm, );
    face_zap_all_fast(kvm);
}

void kvm_tdp_mmu_zap_all(struct kvm *kvm)
{
    REFUSE_NULL(kvm, "kvm", );
    if (!face_wants_write(kvm, __func__))
        return;
    ENTER(kvm, );
    linux_kvm_tdp_mmu_zap_all(kvm);
}
