/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What bench_mmu measures.  A scenario takes a VM through some states and gives several rows on its way;
 * the letter in front of a row's name says what it is about: a faults, b of huge pages, c walks, d look-ups,
 * e zaps, f dirty logs and aging, g two threads, h huge pages, s a guest of another size.
 */
#ifndef MMU_ROWS_H
#define MMU_ROWS_H

#include <stdbool.h>

#include "quiet.h"
#ifdef SIDE_LINUX
#include "mmu_side_linux.h"
#else
#include "mmu_side_tdpmmu.h"
#endif

/* ROW(scenario, identifier, name, unit, text); the figure is for one unit of work unless it says otherwise. */
#define ROWS(ROW)                                                                                            \
    ROW(FIRST, FIRST_VM, "first_vm", "ms", "first VM of a process, with slot, vCPU and root")                \
    ROW(SMALL, MAP_SEQ, "a.map4k.seq", "ns", "fault, whole path, tables built on the way")                   \
    ROW(SMALL, WALK_FULL, "c.walk.full", "ns", "for_each_tdp_pte, is it present, is it a leaf")              \
    ROW(SMALL, WALK_ITER, "c.walk.iter", "ns", "for_each_tdp_pte alone")                                     \
    ROW(SMALL, GET_WALK_RAND, "d.get_walk.rand", "ns", "get_walk under RCU, random gfns")                    \
    ROW(SMALL, GET_WALK_SEQ, "d.get_walk.seq", "ns", "get_walk under RCU, one gfn after the other")          \
    ROW(SMALL, REFAULT, "a.refault4k.seq", "ns", "fault on what is mapped: Dirty goes, as in make_spte()")   \
    ROW(SMALL, SPURIOUS, "a.refault4k.again", "ns", "again: nothing to change")                              \
    ROW(SMALL, WRPROT, "f.wrprot_slot", "ns", "wrprot_slot, all writable")                                   \
    ROW(SMALL, WRPROT_NOOP, "f.wrprot_slot.noop", "ns", "again, nothing to do")                              \
    ROW(SMALL, FAST_FAULT, "f.fast_page_fault", "ns", "fast page fault makes it writable")                   \
    ROW(SMALL, CLEAR_DIRTY, "f.clear_dirty_slot", "ns", "clear_dirty_slot, all dirty")                       \
    ROW(SMALL, MASKED_DIRTY, "f.clear_dirty_masked", "ns", "clear_dirty_pt_masked, 64 pages at a time")      \
    ROW(SMALL, MASKED_WRPROT, "f.wrprot_masked", "ns", "the same, write-protecting")                         \
    ROW(SMALL, TEST_AGE, "f.test_age", "ns", "test_age over the slot, all accessed (ours stops at once)")    \
    ROW(SMALL, AGE, "f.age", "ns", "age over the slot, all accessed")                                        \
    ROW(SMALL, AGE_NOOP, "f.age.noop", "ns", "again, none accessed")                                         \
    ROW(SMALL, TEST_AGE_NONE, "f.test_age.none", "ns", "test_age over the slot, none accessed")              \
    ROW(SMALL, ZAP_LEAFS, "e.zap_leafs", "ns", "zap_leafs, tables stay")                                     \
    ROW(SMALL, MAP_TABLES, "a.map4k.seq.tables", "ns", "fault, whole path, tables there")                    \
    ROW(SMALL, ZAP_ALL, "e.zap_all", "ns", "zap_all under Lock W")                                           \
    ROW(SMALL, ZAP_ALL_BARRIER, "e.zap_all+barrier", "ns", "the same to the end of rcu_barrier")             \
    ROW(SMALL, ZAP_INVALID, "e.zap_invalidated", "ns", "an invalid root zapped under Lock R")                \
    ROW(SMALL, VM_DESTROY, "e.vm_destroy", "ns", "vCPU and VM destroyed, all mapped")                        \
    ROW(RANDOM, MAP_RAND, "a.map4k.rand", "ns", "fault, whole path, random gfns")                            \
    ROW(RANDOM, MAP_BARE, "a.map4k.seq.bare", "ns", "kvm_tdp_mmu_map alone, mmu_lock taken once")            \
    ROW(HUGE, MAP_HUGE, "b.map2m.seq", "ns", "fault, whole path, 2M")                                        \
    ROW(HUGE, WALK_HUGE, "c.walk.2m", "ns", "as c.walk.full, all 2M")                                        \
    ROW(HUGE, SPLIT, "h.split", "ns", "eager split of a 2M page")                                            \
    ROW(HUGE, RECOVER, "h.recover", "ns", "a 2M page recovered in place (not in 6.12)")                      \
    ROW(HUGE, COLLAPSE, "h.collapse", "ns", "zap_collapsible_sptes, for each 2M page")                       \
    ROW(HUGE, MAP_HUGE_RAND, "b.map2m.rand", "ns", "fault, whole path, 2M, random order")                    \
    ROW(HUGE, DEMOTE, "h.fault_demote", "ns", "4K fault below a 2M page")                                    \
    ROW(SPARSE, SPARSE_64, "c.walk.sparse64", "ns", "as c.walk.full, 1 in 64 tables there")                  \
    ROW(SPARSE, SPARSE_512, "c.walk.sparse512", "ns", "as c.walk.full, 1 in 512 SPTEs there")                \
    ROW(INSIDE, AGE_INSIDE, "f.age.inside", "ns", "f.age while another thread is in an RCU reader")          \
    ROW(THREADS, ONE_THREAD, "g.par.1thread", "ns", "faults of one thread")                                  \
    ROW(THREADS, TWO_THREADS, "g.par.2threads", "ns", "of two, a half of the guest each; time / all faults") \
    ROW(THREADS, INTERLEAVED, "g.par.2interleaved", "ns", "of two, every other gfn each")                    \
    ROW(BESIDE, BESIDE_ZAP, "g.mix.zap", "ns", "fault beside a thread that zaps 64 of 512 under Lock W")     \
    ROW(BESIDE, BESIDE_AGE, "g.mix.age", "ns", "fault beside a thread that ages each full table")            \
    ROW(LOG, LOG_SLOT, "s.log_slot", "ms", "1 TiB slot made, logged, initially all set")                     \
    ROW(SCALE, S_FIRST, "s.map4k.first", "ns", "fault, whole path, memory never used before")                \
    ROW(SCALE, S_TABLE, "s.rss_per_table", "bytes", "memory for each table")                                 \
    ROW(SCALE, S_ITER, "s.walk.iter", "ns", "for_each_tdp_pte alone")                                        \
    ROW(SCALE, S_GET_WALK, "s.get_walk.rand", "ns", "get_walk under RCU, random gfns")                       \
    ROW(SCALE, S_REFAULT, "s.refault.rand", "ns", "as a.refault4k.seq, random gfns")                         \
    ROW(SCALE, S_WRPROT, "s.wrprot_slot", "ns", "wrprot_slot, all writable")                                 \
    ROW(SCALE, S_WRPROT_NOOP, "s.wrprot_slot.noop", "ns", "again, nothing to do")                            \
    ROW(SCALE, S_AGE, "s.age", "ns", "age over the slot, all accessed")                                      \
    ROW(SCALE, S_DESTROY, "s.vm_destroy", "ns", "vCPU and VM destroyed, all mapped")                         \
    ROW(SCALE, S_LEFT, "s.rss_left", "%", "of the memory that the guest took, kept after it")                \
    ROW(CLOCK, CLOCK_IMUL, "z.imul", "ns", "multiplications in a chain: the machine's clock")                \
    ROW(CLOCK, CLOCK_LOCKED, "z.locked", "ns", "lock cmpxchg on a word of one's own")               \
    ROW(CLOCK, LIMIT_SCAN, "z.scan", "ns", "tables read by SSE2: the least that a scan costs an SPTE")      \
    ROW(CLOCK, LIMIT_CHANGE, "z.change", "ns", "each SPTE changed by lock cmpxchg: what Lock R owes")        \
    ROW(CLOCK, LIMIT_FILL, "z.fill", "ns", "each SPTE stored by SSE2: the least that a split costs")

#define ROW_IDENTIFIER(scenario, identifier, ...) identifier,
enum row { ROWS(ROW_IDENTIFIER) ROW_COUNT };
enum scenario { FIRST, SMALL, RANDOM, HUGE, SPARSE, INSIDE, THREADS, BESIDE, LOG, SCALE, CLOCK, SCENARIO_COUNT };

/* ---- mmu_samples.c -------------------------------------------------------------- */
bool rows_choose(const char *pattern); /* an extended regular expression, or NULL */
bool scenario_is_wanted(enum scenario scenario);
void sample(enum row row, double value, double probe);
void samples_forget(void);
int samples_least_quiet(void); /* the count of the row that has fewest */
void samples_print(int log2_pages);
extern int wait_times; /* how often a measurement waits a millisecond for a quiet moment */

static inline double wait_for_quiet(void)
{
    return quiet_wait(quiet_probe, wait_times, 900);
}

static inline double slower(double a, double b)
{
    return a > b ? a : b;
}

/* The probe of a sample: that of the worse moment, or none, if the thread lost its processor. */
static inline double probe_after(double before, const struct stretch *stretch)
{
    return stretch_is_undisturbed(stretch) ? slower(before, quiet_probe()) : 1e18;
}

/* The thread's own time in the statements, for so many units; MEASURE_ELAPSED: where it waits for others. */
#define MEASURE_TIME(time, row, units, ...) do {                        \
        double before_ = wait_for_quiet();                              \
        struct stretch stretch_ = stretch_begin();                      \
        __VA_ARGS__;                                                    \
        stretch_end(&stretch_);                                         \
        sample(row, stretch_.time / (double)(units), probe_after(before_, &stretch_)); \
    } while (0)
#define MEASURE(row, units, ...) MEASURE_TIME(own_ns, row, units, __VA_ARGS__)
#define MEASURE_ELAPSED(row, units, ...) MEASURE_TIME(elapsed_ns, row, units, __VA_ARGS__)

/* ---- mmu_vm.c: a VM with one slot, and what is done to it ------------------------------ */
#define BASE_GFN 0x100000ul
#define BASE_PFN 0x8100000ul /* 1G pages could be mapped */
#define WRITE_FAULT (PFERR_WRITE_MASK | PFERR_USER_MASK)
#define ACCESSED_BIT (1ul << 5) /* NPT's */
#define DIRTY_BIT (1ul << 6)
#define WRITABLE_BIT (1ul << 1)

struct vm {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu;
    side_slot *slot;
};

extern unsigned long pages;        /* of 4K, in the guest */
extern unsigned long random_count; /* of random_gfns: all pages or, of a large guest, some */
extern unsigned int *random_pages; /* each of 0 ..< random_count once */

void random_init(void);
void die(const char *what);
void check(unsigned long got, unsigned long wanted, const char *what);
struct vm vm_new(void);
void vm_free(struct vm *vm);
static inline uint64_t gpa_of(unsigned long page)
{
    return (BASE_GFN + page) << 12;
}
void fault_gives(struct vm *vm, unsigned long page, int level, int result);
static inline void fault_fixes(struct vm *vm, unsigned long page, int level)
{
    fault_gives(vm, page, level, RET_PF_FIXED);
}
void map_all(struct vm *vm, int level);
void map_random(struct vm *vm);
void set_bits(struct vm *vm, uint64_t bits); /* in each leaf, as a CPU would */
unsigned long walk_full(struct vm *vm, unsigned long *leaves);
unsigned long walk_steps(struct vm *vm);
unsigned long leaves_of(struct vm *vm);
unsigned long look_up(struct vm *vm, unsigned long count, bool in_random_order); /* the sum of levels */

/* ---- scenarios --------------------------------------------------------------------------- */
void do_first(void);
void do_small(void);
void do_random(void);
void do_huge(void);
void do_sparse(void);
void do_inside(void);
void do_threads(void);
void do_beside(void);
void do_log(void);
void do_scale(void);
void do_clock(void);
void pin_to(int cpu); /* modulo the processors there are */
extern int main_cpu;

#endif
