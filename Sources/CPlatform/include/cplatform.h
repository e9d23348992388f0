/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What Swift cannot say: thread-local data, static memory, system calls, threads.
 * Private to the library; every cp_ name is hidden in the shared object.
 * Functions here keep errno as it was.
 */
#ifndef CPLATFORM_H
#define CPLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../../include/tdpmmu.h"

#pragma GCC visibility push(hidden)
#pragma clang assume_nonnull begin

/*
 * Alignment stands at the variables: Swift imports no type aligned to more than 16.
 */

/* Thread-local data ------------------------------------------------------- */

/* A lock this thread holds for read, and how often. */
struct cp_hold {
    struct tdpmmu_rwlock *_Nullable lock;
    uint64_t count;
};

/* Read holds kept without allocation; more of them move to the heap. */
#define CP_INLINE_HOLDS 4

/* A thread's place in the queue of a contended lock; it waits for one at a time. */
struct cp_waiter {
    struct cp_waiter *_Nullable next;     /* bucket lock */
    struct tdpmmu_rwlock *_Nullable lock; /* bucket lock */
    uint32_t state;             /* atomic, futex: CP_WAITING, CP_ASLEEP, CP_GRANTED */
    uint32_t writes;            /* 1: wants it for write */
};

enum { CP_WAITING = 0, CP_ASLEEP = 1, CP_GRANTED = 2 };

/*
 * A thread's queue of callbacks: two lists, of which the owner appends to
 * list[select] and the callback worker takes the other.
 */
struct cp_callbacks {
    uint64_t busy;          /* atomic: 1 while the owner appends; owner writes */
    uint64_t select;        /* atomic: list the owner uses; worker writes */
    struct rcu_head *_Nullable head[2]; /* atomic: owner, or the worker on the other list */
    uintptr_t tail[2];      /* address of the last next field, or of head; as head */
    uintptr_t known;        /* callback function seen last; 0 before the first */
    uint32_t fences;        /* 1: no membarrier, run full fences */
    uint32_t count;         /* appended, ever; owner */
    struct cp_callbacks *_Nullable next; /* list of all queues; registry lock */
    struct cp_callbacks *_Nullable prev;
};

/*
 * Swift's thread sanitizer takes a store to a field for one to the first field.
 * So in these structs the first field has the same lock as all that Swift stores
 * to by name; the others are reached by the address functions below.
 */
/* An SRCU domain this thread is inside, and how often by each index. */
struct cp_srcu_hold {
    struct srcu_struct *_Nullable domain;
    uint32_t count[2];
};

#define CP_INLINE_SRCU_HOLDS 4

/* All of one thread, and only its own. */
struct cp_srcu_holds {
    struct cp_srcu_hold *_Nullable heap; /* or NULL while the inline ones are enough */
    uint32_t used;
    uint32_t capacity;      /* of the heap table */
    struct cp_srcu_hold inline_holds[CP_INLINE_SRCU_HOLDS];
};

/*
 * A thread's ring of trace events, which follow it in memory.  Never freed: when its thread
 * has gone and it is empty, another thread takes it over.
 */
struct cp_trace_ring {
    struct cp_trace_ring *_Nullable next; /* never changes once it is listed */
    uint64_t capacity;      /* events, a power of two; never changes */
    uint64_t read;          /* events taken out, ever; trace mutex */
    uint64_t padding[5];
    uint64_t written;       /* atomic: events put in, ever; its thread writes */
    uint32_t owned;         /* atomic: 1 while its thread lives */
    uint32_t unused[13];
};

struct cp_thread {
    uint64_t id;            /* never reused; 0 until asked for */
    struct cp_hold *_Nullable holds; /* heap table, or NULL while the inline one is enough */
    uint32_t hold_count;    /* entries in use */
    uint32_t hold_capacity; /* of the heap table */
    uint32_t exiting;       /* the exit handler has run: no more registering */
    uint32_t late_depth;    /* reader nesting without a registered word */
    uint32_t in_callback;   /* an RCU callback runs in this thread */
    uint32_t in_report;     /* the warning handler is told of a stall */
    uint32_t is_worker;     /* the callback thread */
    uint32_t srcu_joined;   /* its exit releases SRCU readers */
    struct cp_hold inline_holds[CP_INLINE_HOLDS];
    struct cp_trace_ring *_Nullable trace_ring;
    int32_t tid;            /* the system's number; 0 until asked for */
    uint32_t in_gate;       /* a fork waits until it has left */
    struct cp_callbacks callbacks; /* a cache line of its own */
    struct cp_waiter waiter;
    struct cp_srcu_holds srcu;
};

extern __thread struct cp_thread cp_thread_data __attribute__((tls_model("initial-exec")));

static inline struct cp_thread *cp_self(void)
{
    return &cp_thread_data;
}

static inline struct tdpmmu_rcu_reader *cp_reader(void)
{
    return &tdpmmu_rcu_self;
}

/* Addresses of fields, for Swift's atomics. */
#define CP_FIELD(name, type, field_type, field) \
    static inline field_type *name(struct type *p) { return &p->field; }

CP_FIELD(cp_reader_word, tdpmmu_rcu_reader, uint64_t, word)
CP_FIELD(cp_lock_state, tdpmmu_rwlock, uint32_t, state)
CP_FIELD(cp_lock_sleepers, tdpmmu_rwlock, uint32_t, sleepers)
CP_FIELD(cp_lock_owner, tdpmmu_rwlock, uint64_t, owner)
CP_FIELD(cp_waiter_state, cp_waiter, uint32_t, state)
CP_FIELD(cp_thread_waiter, cp_thread, struct cp_waiter, waiter)
CP_FIELD(cp_thread_callbacks, cp_thread, struct cp_callbacks, callbacks)
CP_FIELD(cp_thread_srcu, cp_thread, struct cp_srcu_holds, srcu)

static inline struct cp_srcu_hold *cp_srcu_holds(struct cp_srcu_holds *h)
{
    return h->heap ? h->heap : h->inline_holds;
}

static inline uint32_t *cp_srcu_hold_count(struct cp_srcu_hold *h, uint32_t which)
{
    return &h->count[which & 1];
}

CP_FIELD(cp_callbacks_busy, cp_callbacks, uint64_t, busy)
CP_FIELD(cp_callbacks_select, cp_callbacks, uint64_t, select)
CP_FIELD(cp_callbacks_known, cp_callbacks, uintptr_t, known)
CP_FIELD(cp_callbacks_fences, cp_callbacks, uint32_t, fences)
CP_FIELD(cp_callbacks_count, cp_callbacks, uint32_t, count)

static inline struct cp_callbacks *_Nullable *_Nonnull
cp_callbacks_next(struct cp_callbacks *q)
{
    return &q->next;
}

static inline struct cp_callbacks *_Nullable *_Nonnull
cp_callbacks_prev(struct cp_callbacks *q)
{
    return &q->prev;
}

static inline struct cp_hold *cp_thread_holds(struct cp_thread *t)
{
    return t->holds ? t->holds : t->inline_holds;
}

static inline uintptr_t *cp_callbacks_head(struct cp_callbacks *q, uint64_t which)
{
    return (uintptr_t *)&q->head[which];
}

static inline uintptr_t *cp_callbacks_tail(struct cp_callbacks *q, uint64_t which)
{
    return &q->tail[which];
}

/* Links of the registry of readers, in the private part of the reader. */
static inline struct tdpmmu_rcu_reader *_Nullable cp_reader_next(struct tdpmmu_rcu_reader *r)
{
    return (struct tdpmmu_rcu_reader *)r->slot[0];
}

static inline struct tdpmmu_rcu_reader *_Nullable cp_reader_prev(struct tdpmmu_rcu_reader *r)
{
    return (struct tdpmmu_rcu_reader *)r->slot[1];
}

static inline void cp_reader_set_next(struct tdpmmu_rcu_reader *r,
                                      struct tdpmmu_rcu_reader *_Nullable n)
{
    r->slot[0] = (uint64_t)n;
}

static inline void cp_reader_set_prev(struct tdpmmu_rcu_reader *r,
                                      struct tdpmmu_rcu_reader *_Nullable n)
{
    r->slot[1] = (uint64_t)n;
}

/* Thread number of the system, for complaints; written at registration. */
static inline uint64_t *cp_reader_tid(struct tdpmmu_rcu_reader *r)
{
    return &r->slot[2];
}

/* SRCU -------------------------------------------------------------------- */

#define CP_SRCU_SHARDS 8

/* What struct srcu_struct is; all under the SRCU mutex but where it says atomic. */
struct cp_srcu {
    struct srcu_struct *_Nullable self; /* atomic: its own address while it may be used */
    uint32_t listed;        /* atomic: 1 once it is on the list of domains and has an id */
    uint32_t id;            /* in every index it gives out */
    uint64_t index;         /* atomic: bit 0 is the index readers take */
    uint64_t phase;         /* of the grace period that runs: enum cp_srcu_phase */
    uint64_t completed;     /* number of the last grace period that ended */
    uint64_t wanted;        /* newest number that somebody needs */
    uint64_t queued;        /* callbacks, ever */
    uint64_t invoked;
    struct rcu_head *_Nullable head[3]; /* by number & 1, and those whose time has come */
    uintptr_t tail[3];      /* address of the last next field; if there is a head */
    uint64_t waiters;       /* threads that wait for this domain */
    struct cp_srcu *_Nullable next;
    struct cp_srcu *_Nullable prev;
    uint64_t shards[(CP_SRCU_SHARDS + 1) * 8]; /* atomic; used from the next cache line on */
};

enum cp_srcu_phase { CP_SRCU_REST = 0, CP_SRCU_DRAIN_OTHER, CP_SRCU_DRAIN_OLD };

CP_FIELD(cp_srcu_listed, cp_srcu, uint32_t, listed)
CP_FIELD(cp_srcu_index, cp_srcu, uint64_t, index)

static inline uintptr_t *cp_srcu_self(struct cp_srcu *s)
{
    return (uintptr_t *)&s->self;
}

static inline struct rcu_head *_Nullable *_Nonnull cp_srcu_head(struct cp_srcu *s, uint64_t which)
{
    return &s->head[which];
}

static inline uintptr_t *cp_srcu_tail(struct cp_srcu *s, uint64_t which)
{
    return &s->tail[which];
}

/* Counters of a shard: readers in by index 0 and 1, readers out by index 0 and 1. */
static inline uint64_t *cp_srcu_shard(struct cp_srcu *s, uint64_t shard)
{
    uintptr_t first = ((uintptr_t)s->shards + 63) & ~(uintptr_t)63;

    return (uint64_t *)first + (shard % CP_SRCU_SHARDS) * 8;
}

struct cp_srcu_global {
    struct cp_srcu *_Nullable domains;
    uint32_t last_id;
    uint32_t sleepers;      /* threads that may sleep on the event */
};

struct cp_srcu_words {
    uint32_t mutex;
    uint32_t event;         /* atomic, futex: something has changed */
    uint32_t waiting;       /* atomic: whoever leaves a reader must say so */
    uint32_t work;          /* atomic: the callback thread should look */
};

extern struct cp_srcu_global cp_srcu_global_data;
extern struct cp_srcu_words cp_srcu_words_data;

static inline struct cp_srcu_global *cp_srcu_all(void) { return &cp_srcu_global_data; }
static inline uint32_t *cp_srcu_mutex(void) { return &cp_srcu_words_data.mutex; }
static inline uint32_t *cp_srcu_event(void) { return &cp_srcu_words_data.event; }
static inline uint32_t *cp_srcu_waiting(void) { return &cp_srcu_words_data.waiting; }
static inline uint32_t *cp_srcu_work(void) { return &cp_srcu_words_data.work; }

/* Tracing ----------------------------------------------------------------- */

/* Events that could not be written to a file. */
#define CP_TRACE_BATCH 512
struct cp_trace_batch {
    struct cp_trace_batch *_Nullable next; /* trace mutex */
    uint32_t first, end;    /* those from first on are still to be read; trace mutex */
    struct tdpmmu_trace_event events[CP_TRACE_BATCH];
};

struct cp_trace_words {
    uint32_t mutex;         /* readers of rings; making rings */
    uint32_t ring_count;    /* trace mutex */
    uint64_t ring_size;     /* atomic: events in rings made from now on */
    uint64_t lost;          /* atomic: events overwritten, or without a ring */
    uint64_t rings;         /* atomic: address of the newest ring, or 0; trace mutex writes */
    struct cp_trace_batch *_Nullable unwritten; /* the oldest first; trace mutex */
    uint64_t padding[3];
    uint64_t count;         /* atomic: events ever; its own cache line */
    uint64_t padding2[7];
};

extern struct cp_trace_words cp_trace_data;

static inline uint32_t *cp_trace_mutex(void) { return &cp_trace_data.mutex; }
static inline uint32_t *cp_trace_ring_count(void) { return &cp_trace_data.ring_count; }
static inline uint64_t *cp_trace_ring_size(void) { return &cp_trace_data.ring_size; }
static inline uint64_t *cp_trace_lost(void) { return &cp_trace_data.lost; }
static inline uint64_t *cp_trace_rings(void) { return &cp_trace_data.rings; }
static inline uint64_t *cp_trace_count(void) { return &cp_trace_data.count; }

static inline struct cp_trace_batch *_Nullable *_Nonnull cp_trace_unwritten(void) { return &cp_trace_data.unwritten; }
static inline struct cp_trace_batch *_Nullable *_Nonnull cp_batch_next(struct cp_trace_batch *b) { return &b->next; }
static inline struct tdpmmu_trace_event *cp_batch_events(struct cp_trace_batch *b) { return b->events; }

CP_FIELD(cp_ring_read, cp_trace_ring, uint64_t, read)
CP_FIELD(cp_ring_written, cp_trace_ring, uint64_t, written)
CP_FIELD(cp_ring_owned, cp_trace_ring, uint32_t, owned)

/* Word `index` of the event in a place of the ring. */
static inline uint64_t *cp_ring_word(struct cp_trace_ring *r, uint64_t place, uint64_t index)
{
    return (uint64_t *)(r + 1) + place * (sizeof(struct tdpmmu_trace_event) / 8) + index;
}

/* Make it the calling thread's ring until that exits; false if that cannot be had. */
bool cp_ring_adopt(struct cp_trace_ring *ring);

/* The calling thread's number, and the CPU it runs on. */
int32_t cp_cached_tid(void);
uint16_t cp_current_cpu(void);

/* The event's name; the head of a file of events. */
const char *cp_trace_event_name(int id);
struct tdpmmu_trace_file cp_trace_file_header(void);

/* write() all of it: 0 or a positive errno; *written bytes are in the file, whichever. */
int cp_write_all(int fd, const void *bytes, size_t count, ptrdiff_t *written);

/* fork -------------------------------------------------------------------- */

/* What a fork and the library's own threads tell each other; all atomic. */
struct cp_fork_words {
    uint32_t closed;        /* futex: forks under way */
    uint32_t inside;        /* threads that a fork has to wait for */
    uint32_t forks;         /* between the first process of this program and this one */
};

extern struct cp_fork_words cp_fork_data;

static inline uint32_t *cp_fork_closed(void) { return &cp_fork_data.closed; }
static inline uint32_t *cp_fork_inside(void) { return &cp_fork_data.inside; }
static inline uint32_t *cp_fork_forks(void) { return &cp_fork_data.forks; }

/* Static memory ----------------------------------------------------------- */

/* Waiters of all locks whose address hashes here, oldest first. */
struct cp_bucket {
    struct cp_waiter *_Nullable first; /* mutex */
    struct cp_waiter *_Nullable last;  /* mutex */
    uint32_t mutex;
    uint32_t padding[11];    /* a cache line each */
};

#define CP_BUCKET_COUNT 64
extern struct cp_bucket cp_buckets[CP_BUCKET_COUNT];

static inline struct cp_bucket *cp_bucket_at(uint32_t index)
{
    return &cp_buckets[index & (CP_BUCKET_COUNT - 1)];
}

CP_FIELD(cp_bucket_mutex, cp_bucket, uint32_t, mutex)

#define CP_KNOWN_FUNCTIONS 64

/* RCU's process-wide state; who may touch what is in docs/LOCKING.md. */

/* Lists of threads; all under the registry mutex. */
struct cp_registry {
    struct tdpmmu_rcu_reader *_Nullable readers;
    struct tdpmmu_rcu_reader *_Nullable cursor; /* the grace period looks at it next */
    uint64_t late_count;                        /* threads inside, without a place in the list */
    struct cp_callbacks *_Nullable queues;
    struct rcu_head *_Nullable orphans_head;    /* callbacks whose thread has gone */
    uintptr_t orphans_tail;                     /* address of the last next field */
};

/* Words that are atomic or mutexes, in cache lines by who writes them. */
struct cp_rcu_words {
    uint32_t gp_mutex;          /* one grace period at a time */
    uint32_t registry_mutex;
    uint64_t completed;         /* number of the last grace period that ended */
    struct tdpmmu_rcu_reader late; /* one word for all threads without a place in the list */
    uint32_t worker_mutex;      /* starting and ending the worker */
    uint32_t engine_mutex;      /* whoever collects and invokes callbacks */
    uint32_t barriers_wanted;   /* number of the newest rcu_barrier() */
    uint32_t barriers_done;     /* futex */
    uint64_t padding[4];
    uint32_t worker;            /* futex: enum cp_worker; read by every call_rcu() */
    uint32_t unused;
    uintptr_t cookie;           /* marks the func field of a queued head */
    uintptr_t known[CP_KNOWN_FUNCTIONS]; /* callback functions ever seen */
    uint64_t poll_wanted;       /* newest grace period that start_poll_ asked for */
    uint32_t gp_event;          /* futex: a reader that is waited for has left */
    uint32_t hurry;             /* expedited waiters */
    uint32_t stall_ms;          /* complain about a grace period this old; 0: never */
    uint32_t broken;            /* grace periods that do not wait: tests only */
    uint64_t pending;           /* callbacks queued and not yet run, about; signed */
    uint64_t flood_limit;       /* slow call_rcu() down beyond; 0: by the machine's memory */
};

/* The worker thread; under the worker mutex. */
struct cp_worker_data {
    uint64_t thread;            /* pthread_t */
    uint64_t exit_hooked;
    uint64_t complained;        /* that no thread can be started */
};

/* AWAKE must be 0: one compare tells an enqueuer that there is nothing to do. */
enum cp_worker { CP_WORKER_AWAKE = 0, CP_WORKER_ASLEEP, CP_WORKER_NONE, CP_WORKER_STOP, CP_WORKER_ENDED };

extern struct cp_registry cp_registry_data;
extern struct cp_rcu_words cp_rcu_data;
extern struct cp_worker_data cp_worker_thread_data;

static inline struct cp_registry *cp_registry(void) { return &cp_registry_data; }
static inline struct cp_worker_data *cp_worker_thread(void) { return &cp_worker_thread_data; }
static inline uint64_t *cp_rcu_gp(void) { return &tdpmmu_rcu_gp; }
static inline uintptr_t *cp_rcu_known(void) { return cp_rcu_data.known; }

#define CP_RCU(field_type, field) \
    static inline field_type *cp_rcu_##field(void) { return &cp_rcu_data.field; }

CP_RCU(uint32_t, gp_mutex)
CP_RCU(uint32_t, registry_mutex)
CP_RCU(uint64_t, completed)
CP_RCU(struct tdpmmu_rcu_reader, late)
CP_RCU(uintptr_t, cookie)
CP_RCU(uint32_t, worker)
CP_RCU(uint32_t, worker_mutex)
CP_RCU(uint32_t, engine_mutex)
CP_RCU(uint32_t, barriers_wanted)
CP_RCU(uint32_t, barriers_done)
CP_RCU(uint64_t, poll_wanted)
CP_RCU(uint32_t, gp_event)
CP_RCU(uint32_t, hurry)
CP_RCU(uint32_t, stall_ms)
CP_RCU(uint32_t, broken)
CP_RCU(uint64_t, pending)
CP_RCU(uint64_t, flood_limit)


/* Words for the process-wide warning handler: function, context. */
extern uintptr_t cp_warn_words[2];
static inline uintptr_t *cp_warn_handler(void) { return &cp_warn_words[0]; }
static inline uintptr_t *cp_warn_context(void) { return &cp_warn_words[1]; }

/* Count of thread ids given out. */
extern uint64_t cp_last_thread_id;
static inline uint64_t *cp_thread_ids(void) { return &cp_last_thread_id; }

/* Ordering ---------------------------------------------------------------- */

/* Stops the compiler, not the CPU: the other side runs cp_membarrier(). */
static inline void cp_signal_fence(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void cp_cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
#endif
}

/*
 * A full fence in every running thread of the process, and in this one.  Call
 * only while tdpmmu_rcu_gp lacks TDPMMU_RCU_FENCE.
 */
void cp_membarrier(void);

/*
 * Full fences of a reader that begins and of the grace period it may meet, where
 * TDPMMU_RCU_FENCE is set.  A thread sanitizer sees no fences and knows nothing of
 * membarrier; so under it that bit is always set, and these tell it what they order.
 */
void cp_reader_fence(void);
void cp_grace_period_fence(void);

/*
 * Under valgrind, declare a word initialised: call_rcu() looks at the func field
 * of a head that its caller need not have set.
 */
extern uint32_t cp_under_valgrind;
static inline uint32_t cp_under_valgrind_now(void) { return cp_under_valgrind; }
void cp_valgrind_defined(void *address, size_t bytes);

/* Threads and time -------------------------------------------------------- */

/* Sleep while *word is expected, at most timeout_ns (0: no limit). */
void cp_futex_wait(uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void cp_futex_wake(uint32_t *word, int count);

int32_t cp_gettid(void);
uint64_t cp_monotonic_ns(void);
void cp_sleep_ns(uint64_t ns);
void cp_yield(void);

/*
 * Start a thread with all signals blocked and a small stack; it runs body(argument),
 * whose result nobody sees.  *thread is for cp_thread_join() or cp_thread_detach().
 * 0 or a positive errno.
 */
typedef void *_Nullable (*cp_thread_body)(void *_Nullable argument);
int cp_thread_start(uint64_t *thread, cp_thread_body body, void *_Nullable argument);
void cp_thread_join(uint64_t thread);
void cp_thread_detach(uint64_t thread);

/*
 * Have hook run when the calling thread exits; false if that cannot be had.
 * One hook for the whole process.
 */
bool cp_thread_at_exit(void (*hook)(void));

/* Have the hooks run around fork(); set once.  Run hook at exit(); 0 on success. */
void cp_set_fork_hooks(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int cp_at_process_exit(void (*hook)(void));

/* Block all signals, and put the mask back. */
struct cp_signals { uint64_t bits; };
struct cp_signals cp_signals_block(void);
void cp_signals_restore(struct cp_signals before);

/* In a forked child: membarrier again, or fences if it is refused now. */
void cp_membarrier_renew(void);

/* Tests only: let cp_thread_start() fail. */
void cp_test_refuse_threads(bool refuse);

/* Memory ------------------------------------------------------------------ */

void *_Nullable cp_malloc(size_t bytes);
void cp_free(void *_Nullable address);

/* The address of free(), as call_rcu() takes functions. */
uintptr_t cp_free_function(void);
/* Run the function at this address, which is one like free(), on object. */
void cp_call_free(uintptr_t function, void *object);

void cp_set_errno(int value);

/* Is this variable of the environment set, to something but "" and "0"? */
bool cp_environment_has(const char *name);

/* Bytes of memory that the machine has. */
uint64_t cp_memory_bytes(void);

/*
 * A sentence about a reader that a grace period has waited for; it stands in
 * memory of the calling thread until the next one.  tid 0: not known.
 */
const char *cp_describe_stall(uint64_t tid, uint64_t ms);

/* One line on stderr. */
void cp_print_warning(const struct tdpmmu_warning *warning);

#pragma clang assume_nonnull end
#pragma GCC visibility pop

#endif
