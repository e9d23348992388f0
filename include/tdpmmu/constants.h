/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Values that are macros of more than a number in the other headers, as typed constants and plain numbers: for languages
 * that read declarations and no macros (Swift, cffi).
 */
#ifndef TDPMMU_CONSTANTS_H
#define TDPMMU_CONSTANTS_H

#include "types.h"

static const uint64_t TDPMMU_NONPRESENT_SPTE = 0x8000000000000000;  /* SHADOW_NONPRESENT_VALUE */
static const uint64_t TDPMMU_FROZEN_SPTE = 0x80000000000005a0;  /* FROZEN_SPTE */
static const uint64_t TDPMMU_SPTE_PRESENT = 0x800;  /* is_shadow_present_pte() */
static const uint64_t TDPMMU_SPTE_WRITABLE = 0x2;  /* is_writable_pte() */
static const uint64_t TDPMMU_SPTE_LARGE = 0x80;     /* is_large_pte() */
static const uint64_t TDPMMU_SPTE_ADDRESS = 0xffffffffff000;

static const hpa_t TDPMMU_INVALID_PAGE = 0xffffffffffffffff;  /* INVALID_PAGE */
static const kvm_pfn_t TDPMMU_PFN_ERR_MASK = 0x7ff0000000000000;  /* KVM_PFN_ERR_MASK */
static const kvm_pfn_t TDPMMU_PFN_NOSLOT = 0x8000000000000000;  /* KVM_PFN_NOSLOT */
static const kvm_pfn_t TDPMMU_PFN_ERR_FAULT = 0x7ff0000000000000;  /* KVM_PFN_ERR_FAULT */
static const kvm_pfn_t TDPMMU_PFN_ERR_HWPOISON = 0x7ff0000000000001;  /* KVM_PFN_ERR_HWPOISON */
static const kvm_pfn_t TDPMMU_PFN_ERR_RO_FAULT = 0x7ff0000000000002;  /* KVM_PFN_ERR_RO_FAULT */

static const uint64_t TDPMMU_PFERR_PRESENT = 0x1;  /* PFERR_PRESENT_MASK */
static const uint64_t TDPMMU_PFERR_WRITE = 0x2;  /* PFERR_WRITE_MASK */
static const uint64_t TDPMMU_PFERR_USER = 0x4;  /* PFERR_USER_MASK */
static const uint64_t TDPMMU_PFERR_RSVD = 0x8;  /* PFERR_RSVD_MASK */
static const uint64_t TDPMMU_PFERR_FETCH = 0x10;  /* PFERR_FETCH_MASK */
static const uint64_t TDPMMU_PFERR_GUEST_FINAL = 0x100000000;  /* PFERR_GUEST_FINAL_MASK */
static const uint64_t TDPMMU_PFERR_GUEST_PAGE = 0x200000000;  /* PFERR_GUEST_PAGE_MASK */

#endif
