/* SPDX-License-Identifier: GPL-2.0-only */
/* build: -ISources/CPlatform/include -Wno-unknown-pragmas Sources/CPlatform/match.c Sources/CPlatform/change.c */
/*
 * Which of 64 SPTEs have a value under a mask: the three twins beside a plain loop, and which of
 * them the environment chooses.  And many changed in one go, beside a plain loop as well.  They are the library's
 * source, built into this program.
 */
#include "test_helpers.h"

#include <sys/wait.h>
#include <unistd.h>

#include "cp_change.h"
#include "cp_match.h"
#include "own_process.h"

#define CHOICE "TDPMMU_ROWS"

static const char *program;

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

/* Each twin of a row, against a loop that shares nothing with them. */
static void compare(const uint64_t *words, uint64_t mask, uint64_t value)
{
    uint64_t expected = 0, sse2 = cp_match_sse2(words, mask, value), scalar = cp_match_scalar(words, mask, value);
    uint64_t avx2 = cp_has_avx2() ? cp_match_avx2(words, mask, value) : 0;

    for (unsigned i = 0; i < 64; i++)
        if (!((words[i] ^ value) & mask) && !(value & ~mask))
            expected += 1ull << i;
    if (scalar != expected || sse2 != expected || (cp_has_avx2() && avx2 != expected))
        fail_msg("mask %llx, value %llx: %llx is right, scalar %llx, SSE2 %llx, AVX2 %llx",
                 (unsigned long long)mask, (unsigned long long)value, (unsigned long long)expected,
                 (unsigned long long)scalar, (unsigned long long)sse2, (unsigned long long)avx2);
}

/* What a walk asks for, what it could, and what it never does. */
static uint64_t mask_of(uint64_t *x)
{
    const uint64_t present = 1ull << 11, of_walks[] = {
        present, present | 0x2, present | 0x100, present | 0x200, present | 0x20, present | 0x40, present | 1ull << 63,
        1, 1ull << 31, 1ull << 32, 1ull << 63, 0, ~0ull, 0xffffffff, 0xffffffff00000000,
    };
    uint64_t r = next_random(x), n = sizeof(of_walks) / sizeof(of_walks[0]);

    return r % 2 ? of_walks[(r >> 8) % n] : next_random(x) & next_random(x);
}

/* An entry: the value itself, one bit off, or something that a table may hold. */
static uint64_t word_of(uint64_t *x, uint64_t value)
{
    uint64_t r = next_random(x);

    switch (r % 8) {
    case 0: return value;
    case 1: case 2: return value ^ 1ull << (r >> 8) % 64;
    case 3: return value ^ (1ull << (r >> 8) % 32 | 1ull << (32 + (r >> 16) % 32));
    case 4: return r & 256 ? 0 : SHADOW_NONPRESENT_VALUE;
    case 5: return r & 256 ? FROZEN_SPTE : 0x8000000000000001; /* and MMIO's high bits, without present */
    case 6: return r & 256 ? ~0ull : 0x8000000080000000;
    default: return next_random(x);
    }
}

static void random_rows(void **state)
{
    static _Alignas(64) uint64_t words[64];
    uint64_t x = 0x9e3779b97f4a7c15;

    (void)state;
    for (unsigned row = 0; row < rounds(100000); row++) {
        uint64_t mask = mask_of(&x), value = next_random(&x) % 4 ? mask : next_random(&x) & mask;

        for (unsigned i = 0; i < 64; i++)
            words[i] = row % 4 ? word_of(&x, value | (next_random(&x) & ~mask)) : word_of(&x, value);
        compare(words, mask, value);
        compare(words, mask, value | 1ull << (row & 63)); /* a bit that may be beyond the mask: none has it */
    }
}

/* All alike but one, at each place, by each bit. */
static void one_bit_in_each_place(void **state)
{
    static _Alignas(64) uint64_t words[64];
    static const uint64_t values[] = { 0, ~0ull, 0x8600000000000b77, 0xe67, 1ull << 63, 0xffffffff };

    (void)state;
    for (unsigned v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
        for (unsigned i = 0; i < 64; i++)
            words[i] = values[v];
        compare(words, ~0ull, values[v]);
        for (unsigned place = 0; place < 64; place++)
            for (unsigned bit = 0; bit < 64; bit++) {
                words[place] = values[v] ^ 1ull << bit;
                compare(words, ~0ull, values[v]);
                compare(words, ~0ull, words[place]);
                compare(words, ~(1ull << bit), values[v] & ~(1ull << bit));
                compare(words, 1ull << bit, words[place] & 1ull << bit);
                words[place] = values[v];
            }
    }
    if (!cp_has_avx2())
        print_message("AVX2 is not compared: this CPU, or its system, has none\n");
}

static bool watched_by_thread_sanitizer(void)
{
    const char *mode = getenv("TDPMMU_TEST_MODE");

    return mode && strcmp(mode, "tsan") == 0;
}

typedef uint64_t change_many(uint64_t *words, uint64_t which, struct cp_word_change change);

/* Those that are named and meant are changed, by twos or one by one, and no other. */
static void compare_change(change_many *change_them, bool by_pairs, const uint64_t *before, uint64_t which,
                           struct cp_word_change change)
{
    static _Alignas(64) uint64_t words[64];
    uint64_t meant = 0, expected = 0, got;

    for (unsigned i = 0; i < 64; i++)
        meant |= (uint64_t)(which >> i & 1 && (before[i] & change.mask) == change.value) << i;
    for (unsigned i = 0; i < 64; i++)
        expected |= (uint64_t)(meant >> i & 1 && (!by_pairs || meant >> (i ^ 1) & 1)) << i;
    memcpy(words, before, sizeof(words));
    got = change_them(words, which, change);
    assert_int_equal(got, expected);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(words[i], expected >> i & 1 ? (before[i] & change.keep) | change.set : before[i]);
}

static void many_are_changed_as_one(void **state)
{
    static _Alignas(64) uint64_t words[64];
    uint64_t x = 0x2545f4914f6cdd1d;

    (void)state;
    for (unsigned row = 0; row < rounds(20000); row++) {
        struct cp_word_change change = { .mask = mask_of(&x), .keep = next_random(&x) };
        uint64_t which = row % 3 ? next_random(&x) | next_random(&x) : ~0ull;

        change.value = next_random(&x) & change.mask;
        change.set = next_random(&x) & ~change.keep;
        for (unsigned i = 0; i < 64; i++)
            words[i] = next_random(&x) % 16 ? (next_random(&x) & ~change.mask) | change.value : word_of(&x, change.value);
        compare_change(cp_change_words, false, words, which, change);
        if (cp_has_pairs())
            compare_change(cp_change_pairs, true, words, which, change);
    }
    if (!cp_has_pairs())
        print_message("no two at once: this CPU cannot\n");
}

/* Bits that another thread sets meanwhile stay, be it in the one word or in the other. */
static _Alignas(64) uint64_t beside[64];
static atomic_bool setter_is_over;

static void *set_bits_beside(void *nothing)
{
    for (uint64_t bit = 1; bit <= 1ull << 40; bit <<= 1)
        for (unsigned i = 0; i < 64; i++) {
            __atomic_fetch_or(&beside[i], bit << 1, __ATOMIC_RELAXED);
            if (i % 16 == 0)
                sched_yield();
        }
    atomic_store(&setter_is_over, true);
    return nothing;
}

static void pairs_lose_nothing(void **state)
{
    const uint64_t present = 1ull << 63, counted = 0xffffull << 44;
    struct cp_word_change change = { .mask = present, .value = present, .keep = ~counted };
    uint64_t changed = 0;
    pthread_t setter;

    (void)state;
    if (!cp_has_pairs()) {
        print_message("no two at once: this CPU cannot\n");
        return;
    }
    if (watched_by_thread_sanitizer()) {
        print_message("a thread sanitizer does not see that two are changed at once\n");
        return;
    }
    for (unsigned i = 0; i < 64; i++)
        beside[i] = present;
    assert_int_equal(pthread_create(&setter, NULL, set_bits_beside, NULL), 0);
    for (uint64_t round = 0; !atomic_load(&setter_is_over); round++) {
        change.set = round << 44 & counted;
        changed |= cp_change_pairs(beside, ~0ull, change);
    }
    pthread_join(setter, NULL);
    assert_int_equal(changed, ~0ull);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(beside[i] & ~counted, present | ((1ull << 42) - 2));
}

/* In a child: is what the environment asks for what is chosen?  Its exit status. */
static int chosen_as_asked(const char *asked)
{
    cp_match widest = cp_has_avx2() ? cp_match_avx2 : cp_match_sse2;

    if (strcmp(asked, "scalar") == 0)
        widest = cp_match_scalar;
    if (strcmp(asked, "sse2") == 0)
        widest = cp_match_sse2;
    if (cp_pairs_chosen != (widest != cp_match_scalar && cp_has_pairs()))
        return 2;
    return cp_match_chosen == widest ? 0 : 1;
}

static void the_environment_chooses(void **state)
{
    static const char *const choices[] = { "scalar", "sse2", "avx2", "", "another" };

    (void)state;
    if (watched_by_thread_sanitizer()) {
        print_message("the scalar one, whatever the environment says: a thread sanitizer sees no other's loads\n");
        assert_true(cp_match_chosen == cp_match_scalar);
        assert_false(cp_pairs_chosen);
        return;
    }
    for (unsigned i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        int status = status_of_own_process(program, CHOICE, choices[i], NULL, "chosen");

        if (status)
            fail_msg("%s=%s: another was chosen, or none (status %d)", CHOICE, choices[i], status);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_rows),
        cmocka_unit_test(one_bit_in_each_place),
        cmocka_unit_test(many_are_changed_as_one),
        cmocka_unit_test(pairs_lose_nothing),
        cmocka_unit_test(the_environment_chooses),
    };

    program = argv[0];
    if (argc > 1)
        return chosen_as_asked(getenv(CHOICE));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
