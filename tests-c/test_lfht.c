/* SPDX-License-Identifier: GPL-2.0-only */
/* build: -lurcu-cds */
/* needs: urcu/rculfhash.h from liburcu-dev */
/* modes: plain asan valgrind (liburcu itself is not built for the thread sanitizer) */
/*
 * liburcu's lock-free resizable hash table, unmodified, on this library's RCU:
 * readers, writers and resizes at once.
 */
#define TDPMMU_NO_LOCK_MACROS /* read_lock is also a field of a flavor */
#include <tdpmmu/urcu_flavor.h>
#include <urcu/rculfhash.h>

#include "rcu_helpers.h"

struct entry {
    struct cds_lfht_node node;
    unsigned long key;
    atomic_ulong check; /* ~key while alive */
    struct rcu_head head;
};

static struct cds_lfht *table;
static atomic_int stop;
static atomic_ulong lookups, hits, added, removed;

static unsigned long hash(unsigned long key)
{
    key *= 0x9e3779b97f4a7c15ul;
    return key ^ key >> 29;
}

static int match(struct cds_lfht_node *node, const void *key)
{
    return caa_container_of(node, struct entry, node)->key == *(const unsigned long *)key;
}

static void bury(struct rcu_head *head)
{
    struct entry *entry = caa_container_of(head, struct entry, head);

    atomic_store(&entry->check, 0);
    free(entry);
}

/* Inside a reader. */
static struct entry *find(unsigned long key)
{
    struct cds_lfht_iter iter;
    struct cds_lfht_node *node;

    cds_lfht_lookup(table, hash(key), match, &key, &iter);
    node = cds_lfht_iter_get_node(&iter);
    return node ? caa_container_of(node, struct entry, node) : NULL;
}

static bool insert(unsigned long key)
{
    struct entry *entry = calloc(1, sizeof(*entry));
    struct cds_lfht_node *found;

    cds_lfht_node_init(&entry->node);
    entry->key = key;
    atomic_store(&entry->check, ~key);
    rcu_read_lock();
    found = cds_lfht_add_unique(table, hash(key), match, &key, &entry->node);
    rcu_read_unlock();
    if (found == &entry->node)
        return true;
    free(entry); /* nobody saw it */
    return false;
}

static bool erase(unsigned long key)
{
    struct entry *entry;
    bool mine;

    rcu_read_lock();
    entry = find(key);
    mine = entry && cds_lfht_del(table, &entry->node) == 0;
    if (mine)
        call_rcu(&entry->head, bury);
    rcu_read_unlock();
    return mine;
}

#define KEYS 5000

static void *reader(void *number)
{
    unsigned seed = (unsigned)(uintptr_t)number;

    while (!atomic_load(&stop)) {
        unsigned long key = (unsigned long)rand_r(&seed) % KEYS;
        struct entry *entry;

        rcu_read_lock();
        entry = find(key);
        if (entry) {
            EXPECT(entry->key == key);
            EXPECT(atomic_load(&entry->check) == ~key);
            atomic_fetch_add(&hits, 1);
        }
        rcu_read_unlock();
        atomic_fetch_add(&lookups, 1);
    }
    return NULL;
}

static void *writer(void *number)
{
    unsigned seed = (unsigned)(uintptr_t)number;

    while (!atomic_load(&stop)) {
        unsigned long key = (unsigned long)rand_r(&seed) % KEYS;

        if (rand_r(&seed) % 2)
            atomic_fetch_add(&added, insert(key));
        else
            atomic_fetch_add(&removed, erase(key));
    }
    return NULL;
}

static unsigned long count_all(void)
{
    unsigned long count = 0;
    struct cds_lfht_iter iter;
    struct entry *entry;

    rcu_read_lock();
    cds_lfht_for_each_entry(table, &iter, entry, node)
        count++;
    rcu_read_unlock();
    return count;
}

static void remove_all(void)
{
    for (unsigned long key = 0; key < KEYS; key++)
        atomic_fetch_add(&removed, erase(key));
    assert_int_equal(count_all(), 0);
    assert_int_equal(cds_lfht_destroy(table, NULL), 0);
    rcu_barrier();
}

static void everything_at_once(void **state)
{
    pthread_t threads[4];

    (void)state;
    table = cds_lfht_new_flavor(16, 16, 0, CDS_LFHT_AUTO_RESIZE | CDS_LFHT_ACCOUNTING,
                                tdpmmu_urcu_flavor(), NULL);
    assert_non_null(table);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, i % 2 ? writer : reader, (void *)(uintptr_t)(i + 1));
    for (int i = 0; i < 20 || atomic_load(&lookups) < 20000 || atomic_load(&removed) < 1000; i++) {
        cds_lfht_resize(table, 1ul << (4 + i % 9));
        nap_ms(5);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count_all(), atomic_load(&added) - atomic_load(&removed));
    assert_true(atomic_load(&hits) > 0);
    remove_all();
    assert_int_equal(atomic_load(&added), atomic_load(&removed));
}

/* The child has a table that works, also where the parent's was being resized. */
static void fork_with_a_table(void **state)
{
    int status;
    pid_t child;

    (void)state;
    table = cds_lfht_new_flavor(16, 16, 0, CDS_LFHT_AUTO_RESIZE, tdpmmu_urcu_flavor(), NULL);
    assert_non_null(table);
    for (unsigned long key = 0; key < KEYS; key++)
        assert_true(insert(key));
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        for (unsigned long key = 0; key < KEYS; key++)
            if (!erase(key))
                _exit(1);
        cds_lfht_resize(table, 64);
        rcu_barrier();
        _exit(count_all() == 0 ? 0 : 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    remove_all();
}

static atomic_int deferred;

static void count_deferred(void *argument)
{
    atomic_fetch_add(&deferred, (int)(intptr_t)argument);
}

/* Each entry of the flavor does what its name says. */
static void flavor_entries(void **state)
{
    const struct rcu_flavor_struct *flavor = tdpmmu_urcu_flavor();

    (void)state;
    flavor->register_thread();
    flavor->read_lock();
    assert_int_equal(flavor->read_ongoing(), 1);
    flavor->update_defer_rcu(count_deferred, (void *)5);
    nap_ms(5);
    assert_int_equal(atomic_load(&deferred), 0);
    flavor->read_unlock();
    assert_int_equal(flavor->read_ongoing(), 0);
    flavor->read_quiescent_state();
    flavor->barrier();
    assert_int_equal(atomic_load(&deferred), 5);
    flavor->thread_offline();
    flavor->update_synchronize_rcu();
    flavor->thread_online();
    flavor->unregister_thread();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(everything_at_once),
        RCU_TEST(fork_with_a_table),
        RCU_TEST(flavor_entries),
    };

    return cmocka_run_group_tests_name("lfht", tests, NULL, NULL);
}
