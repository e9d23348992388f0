/* SPDX-License-Identifier: GPL-2.0-only */
/* The guest's CPU: what an emulator must offer.  unicorn.c is the one there is. */
#ifndef CKD_ENGINE_H
#define CKD_ENGINE_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct ckd_engine;
struct ckd_vcpu;

enum ckd_access { CKD_READ = 1, CKD_WRITE = 2, CKD_EXECUTE = 4 };
/* Beyond all host memory: an access that is given this page calls ckd_mmio_read() or _write(). */
#define CKD_MMIO_PAGE 0x4000000000000ull

/* Why no engine could be had, or NULL. */
const char *ckd_engine_missing(void);
/* A CPU of 16, 32 or 64 bits, whose "physical" addresses are the host's virtual ones; NULL: no memory. */
struct ckd_engine *ckd_engine_make(int bits, struct ckd_vcpu *vcpu);
void ckd_engine_free(struct ckd_engine *engine);
/* General registers, RIP and RFLAGS. */
void ckd_engine_load(struct ckd_engine *engine, const struct kvm_regs *regs);
void ckd_engine_store(struct ckd_engine *engine, struct kvm_regs *regs);
/* Control registers, descriptor tables, bases of segments. */
void ckd_engine_load_system(struct ckd_engine *engine, struct kvm_sregs *sregs);
void ckd_engine_store_system(struct ckd_engine *engine, struct kvm_sregs *sregs);
uint64_t ckd_engine_rip(struct ckd_engine *engine);
uint64_t ckd_engine_linear_rip(struct ckd_engine *engine);
void ckd_engine_paging(struct ckd_engine *engine, uint64_t *cr0, uint64_t *cr3, uint64_t *cr4);
void ckd_engine_set_cr2(struct ckd_engine *engine, uint64_t address);
void ckd_engine_cpuid(struct ckd_engine *engine, uint32_t answer[4], uint32_t *function, uint32_t *index, bool set);
/* Run from where RIP is; instructions 0: until it is stopped.  NULL, or the engine's word for what went wrong. */
const char *ckd_engine_run(struct ckd_engine *engine, uint64_t instructions);
/* Stop before the next block.  On the engine's own thread only: from another an instruction may run twice. */
void ckd_engine_stop(struct ckd_engine *engine);
/* Forget translations; all code that was translated, too. */
void ckd_engine_flush(struct ckd_engine *engine);
void ckd_engine_forget_code(struct ckd_engine *engine);
/* Call ckd_watched() in front of the instruction there, once its code is translated anew.  False: it does so already. */
bool ckd_engine_watch(struct ckd_engine *engine, uint64_t gva);

/* What the engine calls, on the thread that runs it. */

/* A block of instructions begins, of so many bytes. */
void ckd_block(struct ckd_vcpu *vcpu, uint64_t gva, uint32_t size);
/* It stands in front of an instruction that is watched, at this linear address. */
void ckd_watched(struct ckd_vcpu *vcpu, uint64_t address);
/* A translation is missing: the host's page and what may be done there, or false: the access is not made. */
bool ckd_fill(struct ckd_vcpu *vcpu, uint64_t gva, uint32_t access, uint64_t *page, uint32_t *allowed);
void ckd_port(struct ckd_vcpu *vcpu, uint32_t port, int size, bool in, uint32_t value);
void ckd_exception(struct ckd_vcpu *vcpu, uint32_t vector);
void ckd_cpuid(struct ckd_vcpu *vcpu);
uint64_t ckd_mmio_read(struct ckd_vcpu *vcpu, uint64_t offset, uint32_t size);
void ckd_mmio_write(struct ckd_vcpu *vcpu, uint64_t offset, uint32_t size, uint64_t value);

#endif
