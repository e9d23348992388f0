/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Values that are macros of more than a number in the other headers, as typed constants: for languages that read
 * declarations and no macros (Swift, cffi).
 */
#ifndef TDPMMU_CONSTANTS_H
#define TDPMMU_CONSTANTS_H

#include "tdp_iter.h"
#include "types.h"

static const uint64_t TDPMMU_NONPRESENT_SPTE = SHADOW_NONPRESENT_VALUE;
static const uint64_t TDPMMU_FROZEN_SPTE = FROZEN_SPTE;
static const uint64_t TDPMMU_SPTE_PRESENT = UINT64_C(1) << 11;  /* is_shadow_present_pte() */
static const uint64_t TDPMMU_SPTE_WRITABLE = UINT64_C(1) << 1;  /* is_writable_pte() */
static const uint64_t TDPMMU_SPTE_LARGE = UINT64_C(1) << 7;     /* is_large_pte() */
static const uint64_t TDPMMU_SPTE_ADDRESS = UINT64_C(0x000ffffffffff000);

static const hpa_t TDPMMU_INVALID_PAGE = INVALID_PAGE;
static const kvm_pfn_t TDPMMU_PFN_ERR_MASK = KVM_PFN_ERR_MASK;
static const kvm_pfn_t TDPMMU_PFN_NOSLOT = KVM_PFN_NOSLOT;
static const kvm_pfn_t TDPMMU_PFN_ERR_FAULT = KVM_PFN_ERR_FAULT;
static const kvm_pfn_t TDPMMU_PFN_ERR_HWPOISON = KVM_PFN_ERR_HWPOISON;
static const kvm_pfn_t TDPMMU_PFN_ERR_RO_FAULT = KVM_PFN_ERR_RO_FAULT;

static const uint64_t TDPMMU_PFERR_PRESENT = PFERR_PRESENT_MASK;
static const uint64_t TDPMMU_PFERR_WRITE = PFERR_WRITE_MASK;
static const uint64_t TDPMMU_PFERR_USER = PFERR_USER_MASK;
static const uint64_t TDPMMU_PFERR_RSVD = PFERR_RSVD_MASK;
static const uint64_t TDPMMU_PFERR_FETCH = PFERR_FETCH_MASK;
static const uint64_t TDPMMU_PFERR_GUEST_FINAL = PFERR_GUEST_FINAL_MASK;
static const uint64_t TDPMMU_PFERR_GUEST_PAGE = PFERR_GUEST_PAGE_MASK;

#endif
