/* SPDX-License-Identifier: GPL-2.0-only */
/* Futex, time, threads, signals, memory, and what a warning needs. */
#ifndef CP_SYSTEM_H
#define CP_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "../../../include/tdpmmu.h"

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/* Sleep while the 32 bits at word are expected, at most timeout_ns (0: no limit). */
void cp_futex_wait(void *word, uint32_t expected, uint64_t timeout_ns);
void cp_futex_wake(void *word, int count);

int32_t cp_gettid(void);
uint64_t cp_monotonic_ns(void);
void cp_sleep_ns(uint64_t ns);
void cp_yield(void);

/*
 * Start a thread with all signals blocked; it runs body(argument), whose result nobody sees.
 * Its stack is as large as that of the program's threads unless they say otherwise, and the
 * program's thread-local memory comes on top.  *thread is for cp_thread_join() or
 * cp_thread_detach().  0 or a positive errno.
 */
typedef void *_Nullable (*cp_thread_body)(void *_Nullable argument);
int cp_thread_start(uint64_t *thread, cp_thread_body body, void *_Nullable argument);
/*
 * The calling thread, as it is woken, takes the processor from none that runs; threads that it starts are as ever.
 * Where the program chose a scheduling policy of its own, nothing.
 */
void cp_thread_waits_its_turn(void);
void cp_thread_join(uint64_t thread);
/* False if it has not ended after so long; it may be joined or detached then as before. */
bool cp_thread_join_within(uint64_t thread, uint64_t ns);
void cp_thread_detach(uint64_t thread);
void cp_thread_detach_self(void);

/* The calling thread is not cancelled until the answer is given back. */
int32_t cp_cancel_hold(void);
void cp_cancel_restore(int32_t before);

/*
 * Have a hook run when the calling thread exits; false if that cannot be had.  One of each
 * kind for the whole process, in this order.
 */
enum cp_exit_kind { CP_EXIT_CALLBACKS, CP_EXIT_RCU, CP_EXIT_LOCKS, CP_EXIT_NOTES, CP_EXIT_KINDS };
bool cp_thread_at_exit(enum cp_exit_kind kind, void (*hook)(void));

/* Run hook at exit(); 0 on success. */
int cp_at_process_exit(void (*hook)(void));
/* Run hook when all exit handlers have run; one for the whole process. */
void cp_at_process_end(void (*hook)(void));

/* Block all signals, and put the mask back. */
struct cp_signals { uint64_t bits; };
struct cp_signals cp_signals_block(void);
void cp_signals_restore(struct cp_signals before);

/* Tests only: let cp_thread_start() fail. */
void cp_test_refuse_threads(bool refuse);

void *_Nullable cp_malloc(size_t bytes);
void cp_free(void *_Nullable address);

/* The address of free(), as call_rcu() takes functions. */
uintptr_t cp_free_function(void);
/* Run the function at this address, which is one like free(), on object. */
void cp_call_free(uintptr_t function, void *object);

/* A line on stderr. */
void cp_say(const char *text);

void cp_set_errno(int value);

/* Is this variable of the environment set, to something but "" and "0"? */
bool cp_environment_has(const char *name);

/* Bytes of memory that the machine has. */
uint64_t cp_memory_bytes(void);

/* A sentence about a reader that a grace period has waited for.  tid 0: not known. */
struct cp_stall_text { char text[128]; };
void cp_describe_stall(struct cp_stall_text *to, uint64_t tid, uint64_t ms);
static inline const char *cp_stall_sentence(const struct cp_stall_text *of) { return of->text; }

#ifdef TDPMMU_SCHEDULE_POINTS
/* A scenario fails by a warning (make rig). */
void cp_warned(const struct tdpmmu_warning *warning);
#endif

/* One line on stderr. */
void cp_print_warning(const struct tdpmmu_warning *warning);

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
