/* SPDX-License-Identifier: GPL-2.0-only */
/* A VM's ledger of owed flushes, and what it reported.  After test_helpers.h. */
#ifndef FLUSH_REPORTS_H
#define FLUSH_REPORTS_H

static atomic_uint reports;
static struct tdpmmu_ledger_report last_report;

static void report(void *ctx, struct kvm *kvm, const struct tdpmmu_ledger_report *told)
{
    (void)ctx, (void)kvm;
    last_report = *told;
    atomic_fetch_add(&reports, 1);
}

static inline void keep_ledger(struct world *w)
{
    atomic_store(&reports, 0);
    memset(&last_report, 0, sizeof(last_report));
    if (w->is_watched)
        tdpmmu_ledger_detach(w->kvm);
    w->is_watched = false;
    assert_int_equal(tdpmmu_ledger_attach(w->kvm, report, NULL), 0);
}

static inline void assert_no_report_at(const char *file, int line)
{
    if (atomic_load(&reports)) {
        print_error("%s: due %d of %s: address space %d, gfns [0x%llx, 0x%llx), level %d, SPTE %llx -> %llx\n",
                    machine_at, last_report.due, last_report.operation, last_report.as_id,
                    (unsigned long long)last_report.start, (unsigned long long)last_report.end, last_report.level,
                    (unsigned long long)last_report.old_spte, (unsigned long long)last_report.new_spte);
        _fail(file, line);
    }
}
#define assert_no_report() assert_no_report_at(__FILE__, __LINE__)

/* One report, and its warning. */
static inline void assert_one_report_at(struct world *w, enum tdpmmu_ledger_due due, const char *operation,
                                        const char *file, int line)
{
    bool right = atomic_load(&reports) == 1 && last_report.due == due &&
                 !strcmp(last_report.operation, operation) && atomic_load(&w->warnings) == 1 &&
                 w->last_warning.kind == TDPMMU_WARN_FLUSH && w->last_warning.value[1] == last_report.start &&
                 !strcmp(w->last_warning.function, operation);

    if (!right) {
        print_error("%s: %u reports, last: due %d of %s\n", machine_at, atomic_load(&reports), last_report.due,
                    last_report.operation ? last_report.operation : "nothing");
        _fail(file, line);
    }
    atomic_store(&reports, 0);
    world_forget(w);
}
#define assert_one_report(w, due, operation) assert_one_report_at(w, due, operation, __FILE__, __LINE__)

#endif
