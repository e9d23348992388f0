/* SPDX-License-Identifier: GPL-2.0-only */
/* libFuzzer's entry to a target in Swift: compiled with -DTARGET=tdpmmu_fuzz_trace, or another of fuzz/Targets. */
#include <stddef.h>
#include <stdint.h>

#include <tdpmmu.h>

int TARGET(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_warn(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm, (void)warning; /* inputs may well be wrong */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tdpmmu_set_warn_handler(on_warn, NULL);
    return TARGET(data, size);
}
