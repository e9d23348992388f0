/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of this module say to each other. */
#ifndef CS_ENGINE_H
#define CS_ENGINE_H

#include "cschedule.h"

#pragma GCC visibility push(hidden)

void cs_to_explorer(enum cs_outcome outcome);
void cs_to_thread(int next);
void cs_block(void);
enum cs_outcome cs_why_left(int answer);
void cs_make_ready(int thread);
size_t cs_stack_in_use(const struct cs_thread *t);
int cs_watch_memory(void);
uint64_t cs_thread_pointer(void);
uint32_t cs_shared_words(void);
struct cs_word *cs_word_at(uint64_t address);
void cs_record(enum cs_kind kind, uint64_t address, uint64_t old_value, uint64_t new_value, const void *caller);

/* Threads of the scenario are a, b, c, d; those of the library l, m, ...; that of the set-up s. */
static inline char cs_letter(int thread)
{
    return thread == CS_MAIN ? 's' : (char)(thread < CS_LIBRARY ? 'a' + thread - CS_FIRST : 'l' + thread - CS_LIBRARY);
}

#pragma GCC visibility pop

#endif
