#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A VM from Python, by ctypes: faults, a walk, and an operation of one's own that takes W away from every second page.
    python3 examples/write_protect.py build/libtdpmmu.so.1"""
import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_bool, c_int, c_size_t, c_uint32, c_uint64, c_void_p

PRESENT, WRITABLE, LARGE = 1 << 11, 1 << 1, 1 << 7
WRITE = 1 << 1                 # of a fault's error code
SET_SHARED = 1                 # enum tdpmmu_set
EBUSY = 16
PAGES = 16


class Region(Structure):       # struct kvm_userspace_memory_region
    _fields_ = [("slot", c_uint32), ("flags", c_uint32), ("guest_phys_addr", c_uint64), ("memory_size", c_uint64),
                ("userspace_addr", c_uint64)]


class Iter(Structure):         # struct tdp_iter
    _fields_ = [("next_last_level_gfn", c_uint64), ("yielded_gfn", c_uint64), ("pt_path", c_void_p * 5),
                ("sptep", c_void_p), ("gfn", c_uint64), ("root_level", c_int), ("min_level", c_int), ("level", c_int),
                ("as_id", c_int), ("old_spte", c_uint64), ("valid", c_bool), ("yielded", c_bool)]


class Page(Structure):         # struct kvm_mmu_page, as far as is looked at here
    _fields_ = [("next", c_void_p), ("spt", c_void_p), ("gfn", c_uint64)]


def load(path):
    """The library, with the types of what is called."""
    lib = ctypes.CDLL(path)
    for name, result, *arguments in [
            ("tdpmmu_create_vm", c_void_p, c_void_p), ("tdpmmu_destroy_vm", None, c_void_p),
            ("tdpmmu_create_vcpu", c_void_p, c_void_p, c_int), ("kvm_set_memory_region", c_int, c_void_p, POINTER(Region)),
            ("kvm_mmu_load", c_int, c_void_p), ("kvm_tdp_mmu_page_fault", c_int, c_void_p, c_uint64, c_uint64),
            ("tdpmmu_vcpu_root", POINTER(Page), c_void_p), ("rcu_read_lock", None), ("rcu_read_unlock", None),
            ("tdpmmu_read_lock", None, c_void_p), ("tdpmmu_read_unlock", None, c_void_p),
            ("tdp_iter_start", None, POINTER(Iter), c_void_p, c_int, c_int, c_uint64),
            ("tdp_iter_next", None, POINTER(Iter)),
            ("tdpmmu_set_spte", c_int, c_void_p, POINTER(Iter), c_uint64, c_int),
            ("kvm_flush_remote_tlbs_range", None, c_void_p, c_uint64, c_uint64)]:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def leaves(lib, root, start, end):
    """Every leaf of [start, end), while the caller is inside RCU."""
    place = Iter()
    lib.tdp_iter_start(byref(place), root.contents.spt, 4, 1, start)
    while place.valid and place.gfn < end:
        if place.old_spte & PRESENT and (place.level == 1 or place.old_spte & LARGE):
            yield place
        lib.tdp_iter_next(byref(place))


def write_protect_every_second(lib, kvm, root):
    lib.tdpmmu_read_lock(kvm)  # mmu_lock is what a struct kvm begins with
    lib.rcu_read_lock()
    for place in leaves(lib, root, 0, PAGES):
        if place.gfn % 2 == 0:
            while lib.tdpmmu_set_spte(kvm, byref(place), place.old_spte & ~WRITABLE, SET_SHARED) == -EBUSY:
                pass
    lib.kvm_flush_remote_tlbs_range(kvm, 0, PAGES)
    lib.rcu_read_unlock()
    lib.tdpmmu_read_unlock(kvm)


def writable(lib, root):
    lib.rcu_read_lock()
    found = [place.gfn for place in leaves(lib, root, 0, PAGES) if place.old_spte & WRITABLE]
    lib.rcu_read_unlock()
    return found


def main():
    lib = load(sys.argv[1] if len(sys.argv) > 1 else "libtdpmmu.so.1")
    kvm = lib.tdpmmu_create_vm(None)
    vcpu = lib.tdpmmu_create_vcpu(kvm, 0)
    # An odd frame: no huge page fits.
    assert lib.kvm_set_memory_region(kvm, byref(Region(0, 0, 0, PAGES << 12, 0x10001000))) == 0
    assert lib.kvm_mmu_load(vcpu) == 0
    for gfn in range(PAGES):
        assert lib.kvm_tdp_mmu_page_fault(vcpu, gfn << 12, WRITE) == 5  # RET_PF_FIXED
    root = lib.tdpmmu_vcpu_root(vcpu)
    assert writable(lib, root) == list(range(PAGES))
    write_protect_every_second(lib, kvm, root)
    assert writable(lib, root) == list(range(1, PAGES, 2)), writable(lib, root)
    lib.tdpmmu_destroy_vm(kvm)
    print("writable: every second of %d pages" % PAGES)


main()
