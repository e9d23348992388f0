/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How libFuzzer changes inputs that are lines of text: whole lines are dropped, doubled, moved, and numbers in
 * them become others, so that most of what comes of it is still a trace or a list.  One time in four it changes bytes.
 */
#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed);

static uint64_t state;

static uint64_t any(void) /* splitmix64 */
{
    uint64_t z = state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static size_t below(size_t n) { return n ? any() % n : 0; }

/* A line with its end, around a place. */
static size_t line_at(const uint8_t *data, size_t size, size_t place, size_t *length)
{
    size_t start = place;
    const uint8_t *end = memchr(data + place, '\n', size - place);

    while (start && data[start - 1] != '\n')
        start--;
    *length = (end ? (size_t)(end - data) + 1 : size) - start;
    return start;
}

static size_t drop(uint8_t *data, size_t size, size_t start, size_t length)
{
    memmove(data + start, data + start + length, size - start - length);
    return size - length;
}

static size_t insert(uint8_t *data, size_t size, size_t most, size_t place, const uint8_t *text, size_t length)
{
    if (length > most - size)
        return size;
    memmove(data + place + length, data + place, size - place);
    memcpy(data + place, text, length);
    return size + length;
}

static size_t copy_line(uint8_t *data, size_t size, size_t most, int and_drop)
{
    static uint8_t line[4096];
    size_t length, start = line_at(data, size, below(size), &length), other;

    if (length > sizeof(line))
        return size;
    memcpy(line, data + start, length);
    if (and_drop)
        size = drop(data, size, start, length);
    if (!size)
        return size;
    start = line_at(data, size, below(size), &other);
    return insert(data, size, most, start, line, length);
}

static uint64_t near(uint64_t value)
{
    switch (any() % 8) {
    case 0: return value + 1;
    case 1: return value - 1;
    case 2: return value ^ UINT64_C(1) << any() % 64;
    case 3: return UINT64_C(1) << any() % 64;
    case 4: return (UINT64_C(1) << any() % 64) - 1;
    case 5: return any() % 8;
    case 6: return any() >> any() % 64;
    default: return UINT64_MAX - any() % 4096;
    }
}

/* The number at or behind a place becomes another, in the way it was written. */
static size_t change_number(uint8_t *data, size_t size, size_t most)
{
    size_t start = below(size), end;
    char text[32], was[32] = "";
    int is_hexadecimal;

    while (start < size && !isdigit(data[start]))
        start++;
    is_hexadecimal = start + 1 < size && data[start] == '0' && data[start + 1] == 'x';
    if (is_hexadecimal)
        start += 2;
    for (end = start; end < size && end - start < 20 && isxdigit(data[end]); end++)
        is_hexadecimal |= isalpha(data[end]) != 0;
    if (end == start)
        return size;
    memcpy(was, data + start, end - start);
    snprintf(text, sizeof(text), is_hexadecimal ? "%llx" : "%llu",
             (unsigned long long)near(strtoull(was, NULL, is_hexadecimal ? 16 : 10)));
    size = drop(data, size, start, end - start);
    return insert(data, size, most, start, (const uint8_t *)text, strlen(text));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed)
{
    size_t length, start;

    state = seed;
    if (!size || any() % 4 == 0)
        return LLVMFuzzerMutate(data, size, most);
    for (unsigned int changes = 1 + any() % 4; changes && size; changes--)
        switch (any() % 8) {
        case 0:
            start = line_at(data, size, below(size), &length);
            size = drop(data, size, start, length);
            break;
        case 1: size = copy_line(data, size, most, 0); break;
        case 2: size = copy_line(data, size, most, 1); break;
        default: size = change_number(data, size, most); break;
        }
    return size ? size : LLVMFuzzerMutate(data, size, most);
}
