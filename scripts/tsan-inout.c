/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Part of the thread sanitizer's libtdpmmu only.  Beside every load and store,
 * Swift's sanitizer reports each inout access as a write to the first byte of
 * the whole variable, also where only the address of a lock word in it is
 * wanted; two threads that lock it are then "a race".  The library binds these
 * two reports to the empty functions here.  Its loads and stores themselves are
 * checked as ever.
 */
void __tsan_external_read(void *address, void *caller, void *tag);
void __tsan_external_read(void *address, void *caller, void *tag)
{
    (void)address;
    (void)caller;
    (void)tag;
}

void __tsan_external_write(void *address, void *caller, void *tag);
void __tsan_external_write(void *address, void *caller, void *tag)
{
    (void)address;
    (void)caller;
    (void)tag;
}
