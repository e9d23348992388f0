/* SPDX-License-Identifier: GPL-2.0-only */
/* Scenarios: RCU, its callback thread, SRCU, mmu_lock. */
#include <stddef.h>
#include <tdpmmu.h>

#define BIASED (1u << 29) /* of a lock's state: readers need not count themselves in */

struct element {
    struct rcu_head head;
    int is_gone;
};

static struct element one, other;
static struct element *published;
static struct srcu_struct domain;
static rwlock_t lock;
static int readers_in, writers_in, called;
static unsigned saw_one, saw_other, order; /* for --ends */

static void warm_up(int thread)
{
    (void)thread;
    rcu_read_lock();
    rcu_read_unlock();
    srcu_read_unlock(&domain, srcu_read_lock(&domain));
    read_lock(&lock);
    read_unlock(&lock);
}

static void two_elements(void)
{
    published = &one;
    tdpmmu_explore_assert(init_srcu_struct(&domain) == 0);
    tdpmmu_rwlock_init(&lock);
    tdpmmu_explore_name(&published, sizeof(published), "published");
    tdpmmu_explore_name(&lock, sizeof(lock), "lock");
    tdpmmu_explore_name(&one, sizeof(one), "element");
    tdpmmu_explore_name(&domain, sizeof(domain), "srcu");
}

static void goes(struct rcu_head *head)
{
    struct element *element = (struct element *)((char *)head - offsetof(struct element, head));

    tdpmmu_schedule_point(&element->is_gone, true);
    element->is_gone = 1;
    called++;
}

static void look(void)
{
    struct element *seen;

    tdpmmu_schedule_point(&published, false);
    seen = published;
    saw_one += seen == &one;
    saw_other += seen == &other;
    tdpmmu_schedule_point(&seen->is_gone, false);
    tdpmmu_explore_assert(!seen->is_gone);
}

static void read_side(void)
{
    rcu_read_lock();
    look();
    rcu_read_unlock();
}

static void nested_read_side(void)
{
    rcu_read_lock();
    rcu_read_lock();
    rcu_read_unlock();
    look();
    rcu_read_unlock();
}

static struct element *replace(void)
{
    struct element *old;

    tdpmmu_schedule_point(&published, true);
    old = published;
    published = &other;
    return old;
}

static void synchronize(void)
{
    struct element *old = replace();

    synchronize_rcu();
    goes(&old->head);
}

static void call(void)
{
    call_rcu(&replace()->head, goes);
}

static void call_and_wait(void)
{
    call_rcu(&replace()->head, goes);
    rcu_barrier();
    tdpmmu_explore_assert(called == 1);
}

static void poll(void)
{
    struct element *old = replace();
    unsigned long cookie = start_poll_synchronize_rcu();

    cond_synchronize_rcu(cookie);
    tdpmmu_explore_assert(poll_state_synchronize_rcu(cookie));
    goes(&old->head);
}

static void srcu_read_side(void)
{
    int index = srcu_read_lock(&domain);

    look();
    srcu_read_unlock(&domain, index);
}

static void two_srcu_read_sides(void)
{
    srcu_read_side();
    srcu_read_side();
}

static void srcu_synchronize(void)
{
    struct element *old = replace();

    synchronize_srcu(&domain);
    goes(&old->head);
}

static void srcu_synchronize_alone(void)
{
    synchronize_srcu(&domain);
}

/* A reader that comes in by the index of before the first one belongs to the second. */
static void srcu_synchronize_twice(void)
{
    synchronize_srcu(&domain);
    srcu_synchronize();
}

static void srcu_call(void)
{
    call_srcu(&domain, &replace()->head, goes);
    srcu_barrier(&domain);
    tdpmmu_explore_assert(called == 1);
}

static void lock_reader(void)
{
    read_lock(&lock);
    tdpmmu_schedule_point(&readers_in, true);
    readers_in++;
    order = order * 4 + 1;
    tdpmmu_explore_assert(writers_in == 0);
    tdpmmu_schedule_point(&readers_in, true);
    readers_in--;
    order = order * 4 + 2;
    read_unlock(&lock);
}

static void lock_writer(void)
{
    write_lock(&lock);
    tdpmmu_schedule_point(&readers_in, true);
    writers_in++;
    order = order * 4 + 3;
    tdpmmu_explore_assert(writers_in == 1 && readers_in == 0);
    tdpmmu_schedule_point(&readers_in, true);
    writers_in--;
    write_unlock(&lock);
}

static uint64_t how_it_ended(void)
{
    return (uint64_t)order << 32 | saw_one << 8 | saw_other << 4 | (unsigned)called;
}

/* Thread a has read so often that readers need not count themselves in the lock. */
static void warm_up_biased(int thread)
{
    warm_up(thread);
    for (int i = 0; thread == 0 && i < 10000 && !(lock.state & BIASED); i++) {
        read_lock(&lock);
        read_unlock(&lock);
    }
    tdpmmu_explore_assert(thread != 0 || (lock.state & BIASED));
}

static bool is_free(void)
{
    tdpmmu_explore_assert((lock.state & ~BIASED) == 0 && lock.sleepers == 0 && lock.owner == 0);
    return true;
}

static bool all_called(void)
{
    rcu_barrier();
    return called == 1;
}

#define SCENARIO(n, what, see, ...) \
    {.name = n, .about = what, .set_up = two_elements, .prepare = warm_up, .thread = {__VA_ARGS__}, .check = see, \
     .end = how_it_ended}

static const struct tdpmmu_scenario scenarios[] = {
    SCENARIO("rcu_synchronize", "a reader beside synchronize_rcu()", NULL, read_side, synchronize),
    SCENARIO("rcu_nested", "a nested reader beside it", NULL, nested_read_side, synchronize),
    SCENARIO("rcu_call", "a reader beside call_rcu(), and the callback thread", all_called, read_side, call),
    SCENARIO("rcu_barrier", "the same, and rcu_barrier()", all_called, read_side, call_and_wait),
    SCENARIO("rcu_poll", "a reader beside a polled grace period", NULL, read_side, poll),
    SCENARIO("rcu_readers", "two readers and synchronize_rcu()", NULL, read_side, nested_read_side, synchronize),
    SCENARIO("srcu_synchronize", "readers beside synchronize_srcu()", NULL, two_srcu_read_sides, srcu_synchronize),
    SCENARIO("srcu_straggler", "a reader beside one grace period after the other", NULL, srcu_read_side,
             srcu_synchronize_twice),
    SCENARIO("srcu_flip", "two grace periods of one domain, and a reader", NULL, srcu_read_side, srcu_synchronize,
             srcu_synchronize_alone),
    SCENARIO("srcu_call", "a reader beside call_srcu() and srcu_barrier()", NULL, srcu_read_side, srcu_call),
    SCENARIO("lock_two", "a reader and a writer", is_free, lock_reader, lock_writer),
    SCENARIO("lock_writers", "two writers", is_free, lock_writer, lock_writer),
    SCENARIO("lock_three", "two readers and a writer", is_free, lock_reader, lock_reader, lock_writer),
    SCENARIO("lock_queue", "two writers and a reader", is_free, lock_writer, lock_writer, lock_reader),
    {.name = "lock_bias", .about = "a reader that does not count itself in, and a writer", .set_up = two_elements,
     .prepare = warm_up_biased, .thread = {lock_reader, lock_writer}, .check = is_free, .end = how_it_ended},
    {.name = "rcu_exit", .about = "a reader's thread ends beside a grace period", .set_up = two_elements, .prepare = warm_up,
     .thread = {read_side, synchronize}, .flags = TDPMMU_SCENARIO_EXITS},
};

int main(int argc, char **argv)
{
    return tdpmmu_explore_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(*scenarios));
}
