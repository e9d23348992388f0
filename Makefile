# SPDX-License-Identifier: GPL-2.0-only
# The two commands that do everything: `make demo` and `make check`.
# `make help` lists the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.NOTPARALLEL:

ifeq ($(wildcard Package.swift),)
$(error run make in the folder of the sources, or with -C; O=DIR builds elsewhere)
endif

# Where it is installed.
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
DATADIR ?= $(PREFIX)/share
MANDIR ?= $(DATADIR)/man
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
CMAKEDIR ?= $(LIBDIR)/cmake/tdpmmu
DOCDIR ?= $(DATADIR)/doc/libtdpmmu
URL ?=
DESTDIR ?=

# How it is built: docs/PACKAGING.md.  CC is the compiler of programs that use the library (tests, examples).
SWIFT ?= swift
O ?=
V ?= 0
TOOL ?= yes
CPPFLAGS ?=
CFLAGS ?=
LDFLAGS ?=
SWIFTFLAGS ?=
HARDENING_CFLAGS ?= -fstack-protector-strong -D_FORTIFY_SOURCE=3 -fcf-protection=return
ARGUMENT_PARSER ?= $(wildcard swift-argument-parser)
# Taken from the environment, too, where they are given: CC= AR= NM= STRIP= OBJCOPY= SOURCE_DATE_EPOCH=
# Helpers of packagers give these always; nothing here asks for them: SHELL= VERBOSE= INSTALL= CXX= CXXFLAGS= LD= RANLIB= PKG_CONFIG= AM_UPDATE_INFO_DIR=
export V SWIFTFLAGS HARDENING_CFLAGS CPPFLAGS CFLAGS LDFLAGS

SECONDS_TORTURE ?= 10
SECONDS_TORTURE_RCU ?= 600
PROCESSES_TORTURE ?= 100000
SECONDS_FUZZ ?= 60
REPETITIONS ?= 9
ROWS ?=
PAGES ?= 18
TARGETS ?=
SCALE ?= 18 22 26 28
LISTS ?= 300
BODY_LISTS ?= 3000
export SWIFT

# ---- what was mistyped ----------------------------------------------------

given := $(foreach name,$(filter-out MAKE%,$(.VARIABLES)),$(if $(findstring command,$(origin $(name))),$(name)))
# Known is what has a default here (?=), and what a comment or the help names with its =; not what is worked out below.
known = $(if $(shell grep -E '^$(1) [?]=|^(. |.@echo )(.*[^A-Z_])?$(1)=' Makefile | head -n 1),$(1))
capitals = $(shell printf %s '$(1)' | tr a-z A-Z)
unknown := $(strip $(foreach name,$(given),$(if $(shell printf %s '$(name)' | grep -x '[A-Z_]*'),\
	$(if $(call known,$(name)),,$(name)),$(name))))
ifneq ($(unknown),)
lowercase := $(strip $(foreach name,$(unknown),$(if $(call known,$(call capitals,$(name))),$(name))))
$(error $(if $(lowercase),variables are written in capitals here: $(foreach name,$(lowercase),$(call capitals,$(name))= and not \
	$(name)=),nothing here asks for $(unknown): `make help` and docs/PACKAGING.md name the variables))
endif
ifeq ($(filter yes no,$(TOOL)),)
$(error TOOL=$(TOOL): say yes or no)
endif
ifeq ($(filter 0 1,$(V)),)
$(error V=$(V): say 0 or 1)
endif
ifneq ($(word 2,$(O)),)
$(error O=$(O): make knows no targets with blanks in them; name another folder)
endif
elsewhere := all lib static tools man docs tool-pages install install-lib install-tool uninstall clean help check-library check-symbols
ifneq ($(O),)
ifneq ($(filter-out $(elsewhere),$(MAKECMDGOALS)),)
$(error with O= there are: $(elsewhere).  Tests are made in build/, without O=)
endif
endif

# ---------------------------------------------------------------------------

# Tests and rigs know build/ by name; with O= what ships is in another folder, and all that Swift makes on the way.
B := $(or $(O),build)
BUILD := $(if $(filter /%,$(B)),$(B),$(CURDIR)/$(B))
LIBRARY_SCRATCH := $(if $(O),$(B)/swift-library,.build-embedded)
TOOL_SCRATCH := $(if $(O),$(B)/swift-tool,.build)

# The version is the header's; the first number of the file's name is the soname's.
version_number = $(shell sed -n 's/^.define TDPMMU_VERSION_$(1) \([0-9]*\)$$/\1/p' include/tdpmmu/types.h)
VERSION := $(call version_number,MAJOR).$(call version_number,MINOR).$(call version_number,PATCH)
SONAME := libtdpmmu.so.1
LIBRARY := $(B)/$(SONAME).$(call version_number,MINOR).$(call version_number,PATCH)
ARCHIVE := $(B)/libtdpmmu.a
HEADERS := $(wildcard include/*.h include/tdpmmu/*.h)
SOURCES := $(shell find Sources include -type f 2>/dev/null) Package.swift
DEVICE_MODULES := Sources/KVMDevice/% Sources/CKVMDevice/%
TOOL_MODULES := $(foreach module,KernelTrace LibraryClient Replay OperationLists TablePicture HostRecorder tdpmmuctl CZlib,Sources/$(module)/%)
LIBRARY_SOURCES := $(filter-out $(TOOL_MODULES) $(DEVICE_MODULES),$(SOURCES))
DEVICE_SOURCES := $(filter $(DEVICE_MODULES) include/%,$(SOURCES)) Package.swift
TOOL_SOURCES := $(filter $(TOOL_MODULES) include/%,$(SOURCES)) Package.swift
# The scratch folder comes next: swift-build.sh.
SWIFT_BUILD := sh scripts/swift-build.sh
EMBEDDED := -c release --traits Embedded
PARSER_FOLDER := $(if $(filter /%,$(ARGUMENT_PARSER)),$(ARGUMENT_PARSER),$(CURDIR)/$(ARGUMENT_PARSER))
# No path of the building machine belongs into what is shipped.
map_folder = -Xswiftc -file-prefix-map -Xswiftc "$(1)" -Xcc "-ffile-prefix-map=$(1)"
PREFIX_MAP := $(if $(O),$(call map_folder,$(BUILD)/swift-library=./.build-embedded) $(call map_folder,$(BUILD)/swift-tool=./.build)) \
	$(if $(ARGUMENT_PARSER),$(call map_folder,$(PARSER_FOLDER)=./.build/checkouts/swift-argument-parser)) \
	$(call map_folder,$(CURDIR)=.)
each = $(foreach flag,$(2),$(1) '$(flag)')
# What differs by where it was built: debug information that names files of the compiler's cache, which gdb would look
# for, and hashes that the compiler leaves for its next run.
frontend = -Xswiftc -Xfrontend -Xswiftc $(1)
SHIPPED := $(PREFIX_MAP) $(call frontend,-no-clang-module-breadcrumbs) $(call frontend,-disable-incremental-llvm-codegen) $(call each,-Xswiftc,$(SWIFTFLAGS))
# What says that the stack is left alone must stand in Swift's objects, too.
SHIPPED_OBJECTS := $(SHIPPED) $(call each,-Xcc,$(filter -fcf-protection%,$(HARDENING_CFLAGS)))
Q := $(if $(filter 1,$(V)),,@)

.PHONY: all demo check lib rig tools install uninstall symbols torture bench-rcu bench-mmu clean help \
	check-headers check-symbols check-contracts check-traps check-rules check-library check-locks check-floors \
	check-where check-sptes check-examples check-c check-swift check-lists check-traces check-readme \
	check-install check-torture check-tsan check-asan check-valgrind check-eyes check-mutants check-mutants-fit \
	check-models check-models-short check-kernel-suites check-bench fuzz check-fuzz linux check-linux \
	check-linux-bugs kvm kvm-library check-kvm check-kvm-selftests check-kvm-mutants explore check-explore \
	check-explore-mutants check-kernel-bodies bench-bodies

all: lib $(if $(filter yes,$(TOOL)),tools)

help:
	@echo 'make              libtdpmmu.so.1, libtdpmmu.a and tdpmmuctl, in build/; make lib: without the tool, or TOOL=no'
	@echo 'make demo         replay recorded kernel traces, print the table and a page-table tree'
	@echo 'make check        every test; says what it would install for them and asks (YES=1: does not ask)'
	@echo 'make check-X      one of them: headers symbols contracts traps rules library locks floors where c explore fuzz torture'
	@echo '                  bench kvm swift lists traces readme install'
	@echo '                  examples kernel-bodies'
	@echo 'make check-eyes   C tests and torture while a ledger of owed flushes looks on'
	@echo 'make check-tsan   C tests and torture under the thread sanitizer'
	@echo 'make check-asan   the same under the address sanitizer'
	@echo 'make check-valgrind  C tests under memcheck'
	@echo 'make check-mutants  bugs put in one by one: is each found?  (about half an hour; SHARD=K/N: one in N of them, in a'
	@echo '                  folder of its own; check-mutants-fit only sees whether each can be put in)'
	@echo 'make check-models the models of RCU, models/, by spin: all of them, and each broken variant must fail'
	@echo '                  (check-models-short: those that take seconds; part of make check)'
	@echo "make check-kernel-suites  the kernel's own tests of xarray, IDR and maple tree over this RCU and over"
	@echo '                  liburcu; downloads the kernel source that Debian packages, 150 MB'
	@echo 'make torture      the torture and stress tests: the MMU twice $(SECONDS_TORTURE) s (SECONDS_TORTURE=N),'
	@echo '                  RCU $(SECONDS_TORTURE_RCU) s (SECONDS_TORTURE_RCU=N), exits of $(PROCESSES_TORTURE) processes (PROCESSES_TORTURE=N)'
	@echo 'make fuzz         random calls of the whole C interface for $(SECONDS_FUZZ) s (SECONDS_FUZZ=N)'
	@echo 'make linux        Linux'"'"'s own TDP MMU behind the same header, in build/linux: Debian'"'"'s source, or LINUX=TREE'
	@echo 'make check-linux  the C tests and random lists on it (LISTS=N); check-linux-bugs: bugs put into a copy of its tree, is each found?'
	@echo "make check-kernel-bodies  Linux's own operations, unmodified, on this library's tables (docs/OPERATIONS.md), beside ours:"
	@echo '                  BODY_LISTS=N random lists'
	@echo 'make kvm          /dev/kvm in userspace: build/tdpmmu-kvm PROGRAM ARGS; fetches the engine, Unicorn, 16 MB (docs/KVM.md)'
	@echo "make check-kvm-selftests  KVM's own selftests of memory in it: Debian's source, or KSELFTESTS=TREE, MODES=\"...\""
	@echo 'make check-kvm-mutants  bugs put into the library: which of the selftests find each?  (about half an hour)'
	@echo 'make rig          the library that explores schedules, build/rig (docs/RIGS.md); explore: all scenarios of tests-rig/'
	@echo 'make man          man pages in build/man, from the comments of the headers; check-man, check-comments'
	@echo 'make docs         the same as HTML with the guides, build/html/index.html; check-docs'
	@echo 'make bench-rcu    RCU beside liburcu, $(REPETITIONS) repetitions (REPETITIONS=N)'
	@echo "make bench-mmu    the MMU beside Linux's own code, goals and ratios: docs/SPEED.md.  REPETITIONS=N, ROWS=regex,"
	@echo '                  PAGES=log2 of the guest, SCALE="log2 ..." of those of the scaling rows (SCALE= for none), LINUX=TREE'
	@echo "make bench-bodies  the library's operations beside Linux's own, compiled on its tables: docs/OPERATIONS.md"
	@echo 'make install      DESTDIR, PREFIX, LIBDIR, INCLUDEDIR, BINDIR, DATADIR, MANDIR; make uninstall takes it back;'
	@echo '                  make install-lib, or TOOL=no: the library alone.  docs/PACKAGING.md has all of it:'
	@echo '                  O=DIR builds in another folder, V=1 shows commands, CPPFLAGS CFLAGS LDFLAGS SWIFTFLAGS, CC for programs'
	@echo 'make dist         build/libtdpmmu-$(VERSION).tar.gz, of what is committed'
	@echo 'make check-reproducible  two builds in two folders: the same bytes?  (some minutes)'
	@echo 'make symbols      write tdpmmu.map from the headers'
	@echo 'make abi          write abi/ from the headers, by libabigail; check-abi: is all still as programs know it?'
	@echo 'make check-package  what distributions look for, a line for each; ROWS="man,CI": some of them.  Some minutes'
	@echo 'make check-roots  build and test in a debootstrapped Debian 12 and 13 (SUITES=), as root; some minutes'
	@echo 'make sbom         what is linked into library and tool, as SPDX, into build/'

	@echo 'make tool-pages   completions and man page of tdpmmuctl; check-tool: do shells, mandoc and graphviz take what it writes?'
	@echo 'make fuzz-lib     build/libtdpmmu-fuzz.a, for fuzz targets: clang -fsanitize=fuzzer (docs/FUZZING.md); fuzz-targets: four of ours,'
	@echo '                  fuzz-clang: each for $(SECONDS_FUZZ) s by libFuzzer (SECONDS_FUZZ=N, TARGETS="api trace recording list"); check-fuzz-targets: all seeds'
	@echo 'make check-gdb    the commands of gdb (docs/GDB.md), on a program and a core file of it'

# ---- the library ----------------------------------------------------------

lib: $(LIBRARY) static

static: $(ARCHIVE)

OBJECTS := $(LIBRARY_SCRATCH)/release/libtdpmmu-objects.a

$(LIBRARY): $(LIBRARY_SOURCES) tdpmmu.map Makefile scripts/link.sh scripts/toolchain.sh scripts/swift-build.sh \
		scripts/packager-flags.sh
	@sh scripts/need.sh lib
	@# An archive keeps the objects of files that are gone.
	@rm -f $(OBJECTS)
	$(Q)SHIPPED=1 $(SWIFT_BUILD) $(LIBRARY_SCRATCH) $(EMBEDDED) --product tdpmmu-objects $(SHIPPED_OBJECTS)
	$(Q)sh scripts/link.sh $(OBJECTS) $@

$(ARCHIVE): $(LIBRARY) scripts/archive.sh
	$(Q)sh scripts/archive.sh $(OBJECTS) $@

# The same with a point at each atomic operation, where another thread may go on: every interleaving of a scenario.
# Only the atomics are left of what a thread sanitizer is told of, and its functions are the library's own.
RIG_LIBRARY := $(B)/rig/$(SONAME)
ONLY_ATOMICS := -tsan-instrument-memory-accesses=0 -tsan-instrument-func-entry-exit=0 -tsan-instrument-memintrinsics=0
RIG_FLAGS := -Xcc -DTDPMMU_SCHEDULE_POINTS -Xswiftc -DSCHEDULE_POINTS \
	$(foreach flag,$(ONLY_ATOMICS),-Xcc -mllvm -Xcc $(flag) -Xswiftc -Xllvm -Xswiftc $(flag))

rig: $(RIG_LIBRARY)

$(RIG_LIBRARY): $(LIBRARY_SOURCES) tdpmmu.map Makefile scripts/link.sh scripts/toolchain.sh
	@sh scripts/need.sh build
	@rm -f .build-rig/release/libtdpmmu-objects.a
	$(SWIFT_BUILD) .build-rig $(EMBEDDED) --sanitize=thread $(RIG_FLAGS) --product tdpmmu-objects $(PREFIX_MAP)
	sh scripts/link.sh .build-rig/release/libtdpmmu-objects.a $@ rig

$(B)/libtdpmmu.so: | $(LIBRARY)
	ln -sf $(SONAME) $@

symbols:
	python3 scripts/symbols.py map > tdpmmu.map.new && mv tdpmmu.map.new tdpmmu.map

# ---- the command line -----------------------------------------------------

tools: lib $(B)/tdpmmuctl $(B)/installed/tdpmmuctl

# Two links of the same objects: the tool in build/ finds the library beside it, the one to be installed where that
# will be.  swift-argument-parser comes by the network, or from ARGUMENT_PARSER=DIR.
TOOL_BUILD = TDPMMU_LIBRARY_FOLDER="$(BUILD)" TDPMMU_ARGUMENT_PARSER="$(if $(ARGUMENT_PARSER),$(PARSER_FOLDER))" SHIPPED=1 $(SWIFT_BUILD) $(TOOL_SCRATCH) \
	-c release --product tdpmmuctl --static-swift-stdlib --disable-local-rpath $(SHIPPED)
STRIP_TOOL = $(or $(STRIP),strip) -o $@ $(TOOL_SCRATCH)/release/tdpmmuctl

$(B)/tdpmmuctl: $(TOOL_SOURCES) Makefile scripts/swift-build.sh | $(LIBRARY) $(B)/libtdpmmu.so
	@sh scripts/need.sh build
	$(Q)TDPMMU_RUN_PATH='$$ORIGIN' $(TOOL_BUILD)
	$(Q)$(STRIP_TOOL)

$(B)/installed/tdpmmuctl: $(B)/tdpmmuctl $(B)/installed/run-path
	@sh scripts/need.sh build
	$(Q)TDPMMU_RUN_PATH="$$(cat $(B)/installed/run-path)" $(TOOL_BUILD)
	$(Q)$(STRIP_TOOL)

# Another BINDIR or LIBDIR than the last time: linked anew.
$(B)/installed/run-path: always
	@mkdir -p $(@D)
	@python3 scripts/install.py run-path > $@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

.PHONY: always
always:

# Completions and the man page, from what the tool says of its options: $(B)/completions, $(B)/man/man1.
.PHONY: tool-pages check-tool
TOOL_PAGES := $(B)/man/man1/tdpmmuctl.1

tool-pages: $(TOOL_PAGES)
all: $(if $(filter yes,$(TOOL)),tool-pages)

$(TOOL_PAGES): scripts/tool_man.py $(B)/tdpmmuctl
	@python3 scripts/tool_man.py $(B)/tdpmmuctl $(B)

check-tool: all
	@sh scripts/check-tool.sh $(B)/tdpmmuctl $(B)

demo: all
	@sh scripts/demo.sh

# ---- tests ----------------------------------------------------------------

check:
	@sh scripts/need.sh check
	@python3 scripts/check.py

check-headers:
	@sh scripts/check-headers.sh

check-symbols: lib
	@python3 scripts/symbols.py check tdpmmu.map $(LIBRARY)

check-contracts:
	@python3 scripts/contracts.py

check-rules: lib
	@python3 scripts/check-rules.py

check-traps: lib
	@python3 scripts/traps.py $(LIBRARY) "$$(sh scripts/toolchain.sh)/bin/llvm-symbolizer"

check-library: lib
	@sh scripts/check-library.sh $(LIBRARY) $(CURDIR)

check-examples: lib rig
	@python3 scripts/examples.py

check-locks:
	@python3 scripts/check-locks.py

# Scenarios of tests-rig/ in every interleaving, as far as that takes seconds; explore: all of it, some hours.
check-explore: rig
	@python3 scripts/explore.py short

explore: rig
	@python3 scripts/explore.py all

# Bugs that take the one interleaving, put in behind switches; tests-rig/mutants.txt.  Some minutes.
check-explore-mutants:
	@python3 scripts/explore_mutants.py $(MUTANTS)

check-c: lib
	@python3 scripts/ctests.py plain

# The same tests while a ledger of owed flushes looks on.
check-eyes: lib
	@TDPMMU_TEST_EYES=1 python3 scripts/ctests.py plain --and-torture 3

check-torture: lib
	@python3 scripts/ctests.py plain --torture 3

torture: lib
	@python3 scripts/ctests.py plain --torture $(SECONDS_TORTURE) --torture-rcu $(SECONDS_TORTURE_RCU) --exits $(PROCESSES_TORTURE)

# Random calls ---------------------------------------------------------------

FUZZ_BUILD := -std=c11 -g -O2 -D_GNU_SOURCE -Wall -Wextra -Werror -Iinclude tests-c/fuzz_api.c -L$(B) -ltdpmmu

$(B)/fuzz_api: tests-c/fuzz_api.c $(HEADERS) | $(LIBRARY) $(B)/libtdpmmu.so
	$(CC) -o $@ $(FUZZ_BUILD) -Wl,-rpath,'$$ORIGIN'

fuzz: lib $(B)/fuzz_api
	@$(B)/fuzz_api "$(SECONDS_FUZZ)"

check-fuzz: lib $(B)/fuzz_api
	@$(B)/fuzz_api 20

# Linux's own TDP MMU ---------------------------------------------------------

linux: lib
	@python3 linux/build.py .build-embedded/release/libtdpmmu-objects.a

# What the C tests find and what lists of operations find (LISTS=N): both are told.
check-linux: linux all
	@sh scripts/need.sh check
	@python3 linux/bad_input.py .build-embedded/release/libtdpmmu-objects.a
	@status=0; python3 linux/check.py || status=1; sh scripts/check-lists.sh "$(LISTS)" || status=1; exit $$status

# Each of linux/bugs.txt; BUGS="NAME ...": these alone.
check-linux-bugs: lib
	@sh scripts/need.sh check
	@python3 linux/bugs.py .build-embedded/release/libtdpmmu-objects.a $(BUGS)

# Linux's own operations on this library's tables, by tdpmmu/kernel.h.  make check has 300 lists.
check-kernel-bodies: all
	@sh scripts/check-bodies.sh "$(BODY_LISTS)"

# Documentation ----------------------------------------------------------------

MAN := $(B)/man

HTML := $(B)/html

.PHONY: man docs check-man check-docs check-comments

man:
	@python3 scripts/man.py $(MAN)

# Is there a page for each function, whole, and does mandoc (where there is one) have nothing to say?
check-man: man
	@sh scripts/need.sh check-docs
	@python3 scripts/man.py --check $(MAN)

# The same as HTML, with the guides; build/html/index.html.
docs:
	@sh scripts/need.sh docs
	@python3 scripts/htmldocs.py $(HTML)

# Does each link lead somewhere?  Without python3-markdown that of the guides is left out.
check-docs:
	@sh scripts/need.sh check-docs
	@python3 scripts/htmldocs.py $(HTML)
	@python3 scripts/htmldocs.py --check $(HTML)

# Are the headers' comments enough for a page about each function?
check-comments:
	@python3 scripts/comments.py

# KVM in userspace -------------------------------------------------------------

KVM_LIBRARY := $(B)/libtdpmmu-kvm.so

# Fetches the engine, too: kvm/engine.py says so.
kvm: kvm-library
	@python3 kvm/engine.py || echo 'tdpmmu-kvm runs no guest until an engine is there.'

kvm-library: lib $(KVM_LIBRARY) $(B)/tdpmmu-kvm

$(KVM_LIBRARY): $(DEVICE_SOURCES) kvm/link.sh kvm/tdpmmu-kvm.map Makefile scripts/toolchain.sh | $(LIBRARY) $(B)/libtdpmmu.so
	@sh scripts/need.sh build
	@# In the library's folder, whose packages are there: a tree that was built needs no network for this.
	@rm -f .build-embedded/release/libtdpmmu-kvm-objects.a
	SHIPPED=1 $(SWIFT_BUILD) .build-embedded $(EMBEDDED) --product tdpmmu-kvm-objects $(SHIPPED_OBJECTS)
	sh kvm/link.sh .build-embedded/release/libtdpmmu-kvm-objects.a $@

$(B)/tdpmmu-kvm: kvm/tdpmmu-kvm | $(LIBRARY)
	cp $< $@

# Bad input, and guests of ours; three of the selftests, where they and the engine are there already.
check-kvm: all kvm-library
	@python3 kvm/check.py

# About six minutes.  KSELFTESTS=TREE: a kernel tree whose selftests are built; MODES="npt-nx-off ...": not all eight.
check-kvm-selftests: kvm
	@python3 kvm/selftests.py

# How much the selftests see: kvm/mutants.txt.  About half an hour; MUTANTS="NAME ...": those whose names begin so.
check-kvm-mutants: kvm
	@python3 kvm/mutants.py $(MUTANTS)

bench-rcu: lib
	@sh scripts/need.sh check
	@sh bench/bench-rcu.sh $(REPETITIONS)

bench-mmu: lib
	@sh scripts/need.sh build
	@python3 bench/bench_mmu.py --repetitions "$(REPETITIONS)" --rows "$(ROWS)" --pages "$(PAGES)" --scale "$(SCALE)"

# The library's own operations beside Linux's on its tables (check-kernel-bodies).
bench-bodies: lib
	@python3 linux/bodies.py .build-embedded/release/libtdpmmu-objects.a
	@python3 bench/bench_bodies.py --repetitions "$(REPETITIONS)"

# Does the benchmark build, does each row run?  No time is looked at.
check-bench: lib
	@python3 bench/bench_mmu.py --check

check-swift: lib
	@python3 scripts/swifttests.py

check-traces: all
	@sh scripts/check-traces.sh

# Beside Linux's own code, if `make linux` can get it: LISTS=10000 takes some minutes.
check-lists: all
	@sh scripts/check-lists.sh "$(LISTS)"

check-readme: lib
	@python3 scripts/doc_examples.py

check-floors:
	@python3 scripts/floors.py

check-where:
	@python3 scripts/where.py

# The table of docs/SPTES.md is the code's; scripts/sptes.py without --check writes it.
check-sptes:
	@python3 scripts/sptes.py --check

check-install: all
	@sh scripts/check-install.sh

check-tsan:
	@sh scripts/need.sh check
	$(SWIFT_BUILD) .build-tsan $(EMBEDDED) --sanitize=thread -Xcc -DCP_TSAN --product tdpmmu-objects
	@sh scripts/link.sh .build-tsan/release/libtdpmmu-objects.a $(B)/tsan/$(SONAME) thread
	@python3 scripts/ctests.py tsan --and-torture 10

check-asan:
	@sh scripts/need.sh check
	$(SWIFT_BUILD) .build-asan $(EMBEDDED) --sanitize=address --product tdpmmu-objects
	@sh scripts/link.sh .build-asan/release/libtdpmmu-objects.a $(B)/asan/$(SONAME) address
	@python3 scripts/ctests.py asan --and-torture 10

check-valgrind:
	@sh scripts/need.sh valgrind
	@$(MAKE) --no-print-directory lib
	@sh scripts/link.sh .build-embedded/release/libtdpmmu-objects.a $(B)/valgrind/$(SONAME) symbols
	@python3 scripts/ctests.py valgrind --and-torture 3

# Bugs that the kernel had, put in one by one; tests-c/mutants.txt.
check-mutants:
	@sh scripts/need.sh check
	@python3 scripts/mutants.py $(if $(SHARD),--shard "$(SHARD)",$(MUTANTS))

check-mutants-fit:
	@python3 scripts/mutants.py --fit
	@python3 scripts/explore_mutants.py --fit > /dev/null

# Models -----------------------------------------------------------------------

check-models:
	@sh scripts/need.sh models
	@python3 scripts/models.py

check-models-short:
	@python3 scripts/models.py --short

# The kernel's own tests of what it builds upon RCU.
check-kernel-suites: lib
	@sh scripts/need.sh check
	@python3 scripts/kernel-suites.py

# ---- for distributions ----------------------------------------------------

.PHONY: abi check-abi check-need check-package check-roots sbom

# 1: what tests need is installed without asking, 0: nothing is.
YES ?=
# 1: abi/ is renewed though programs would break.
BREAK ?=
# For check-roots, docs in the script.
ROOTS ?=
SUITES ?= bookworm trixie
CHECKS ?=
export YES

# The binary interface of the headers and the library against abi/; abi: renews it.
check-abi: lib
	@python3 scripts/abi.py check $(LIBRARY)

# What is linked into library and tool, as SPDX: build/libtdpmmu.spdx.json.
sbom: all
	@python3 scripts/sbom.py $(B)/libtdpmmu.spdx.json

# The conventions, a line for each: Y or N, and how it was seen.  ROWS="NAME,...": some of them.
check-package: all
	@sh scripts/need.sh package
	@python3 scripts/check-package.py "$(ROWS)"

# In Debian's releases as debootstrap makes them: as root, with the network, some minutes each.
check-roots:
	@ROOTS="$(ROOTS)" CHECKS="$(CHECKS)" ROWS="$(ROWS)" sh scripts/check-roots.sh $(SUITES)

# What the commands do on machines where something is missing.
check-need:
	@python3 scripts/check-need.py

abi:
	@sh scripts/need.sh abi
	@BREAK="$(BREAK)" python3 scripts/abi.py write

# ---- gdb and fuzzing ---------------------------------------------------------

.PHONY: check-gdb fuzz-lib fuzz-targets fuzz-asked fuzz-clang check-fuzz-targets

# gdb loads it with the library: gdb/tdpmmu.py, and where this library has what.  docs/GDB.md.
# The link is for people, who would have to write out the version.
lib: $(LIBRARY)-gdb.py

$(LIBRARY)-gdb.py: gdb/tdpmmu.py gdb/layout.py $(LIBRARY)
	@python3 gdb/layout.py $(LIBRARY)
	@ln -sf $(@F) $(B)/$(SONAME)-gdb.py

check-gdb: lib
	@python3 scripts/check-gdb.py

# The library whose code counts its edges, for a user's own targets, and four of ours.  docs/FUZZING.md.
FUZZ_LIBRARY := $(B)/libtdpmmu-fuzz.a
FUZZ_FOLDER := $(B)/fuzz

fuzz-lib: $(FUZZ_LIBRARY)

$(FUZZ_LIBRARY): $(LIBRARY_SOURCES) tdpmmu.map fuzz/library.sh scripts/toolchain.sh
	@sh scripts/need.sh build
	sh fuzz/library.sh $@

fuzz-targets: $(FUZZ_FOLDER)/fuzz_list

$(FUZZ_FOLDER)/fuzz_list: $(FUZZ_LIBRARY) $(TOOL_SOURCES) $(wildcard fuzz/*.c fuzz/*.py fuzz/*.sh fuzz/Targets/*) tests-c/fuzz_api.c
	sh fuzz/targets.sh $(FUZZ_LIBRARY) $(FUZZ_FOLDER)

# TARGETS="api list": these alone.  What was worth keeping stays in build/fuzz/corpus, what was found in build/fuzz/found.
fuzz-clang: fuzz-asked fuzz-targets
	@python3 fuzz/run.py $(FUZZ_FOLDER) "$(SECONDS_FUZZ)" $(TARGETS)

fuzz-asked:
	@python3 fuzz/run.py asked "$(SECONDS_FUZZ)" $(TARGETS)

# Does the library count, does a target of a user's find a bug that was put there, do all seeds run?
check-fuzz-targets: fuzz-targets
	@python3 fuzz/check.py $(FUZZ_LIBRARY) $(FUZZ_FOLDER)

# ---- installing -----------------------------------------------------------

# By the environment: a path may have blanks, which make's functions have not.
# Not all targets': a make that a check starts has a PREFIX of its own.
installing := install install-lib install-tool uninstall $(B)/installed/run-path
$(installing): export DESTDIR := $(DESTDIR)
$(installing): export PREFIX := $(PREFIX)
$(installing): export LIBDIR := $(LIBDIR)
$(installing): export INCLUDEDIR := $(INCLUDEDIR)
$(installing): export BINDIR := $(BINDIR)
$(installing): export DATADIR := $(DATADIR)
$(installing): export MANDIR := $(MANDIR)
$(installing): export PKGCONFIGDIR := $(PKGCONFIGDIR)
$(installing): export CMAKEDIR := $(CMAKEDIR)
$(installing): export DOCDIR := $(DOCDIR)
$(installing): export URL := $(URL)
$(installing): export BUILD := $(BUILD)

.PHONY: static install-lib install-tool dist check-reproducible check-static

# What is installed with them has rules of its own.
.PHONY: man tool-pages
man tool-pages:

install install-lib: man

install: all
	@python3 scripts/install.py install lib $(if $(filter yes,$(TOOL)),tool)

install-lib: lib
	@python3 scripts/install.py install lib

install-tool: tools tool-pages
	@python3 scripts/install.py install tool

uninstall:
	@python3 scripts/install.py uninstall lib $(if $(filter yes,$(TOOL)),tool)

dist:
	@sh scripts/dist.sh "$(VERSION)" $(B)

check-reproducible:
	@sh scripts/check-reproducible.sh

# O= may be a folder that has other things, too, and a man/ or html/ of somebody's: of these goes what bears our mark.
clean:
ifneq ($(O),)
	rm -rf $(addprefix $(B)/,swift-library swift-tool installed libtdpmmu.* tdpmmuctl)
	@if grep -qs 'scripts/tool_man.py' $(TOOL_PAGES); then \
		rm -f $(TOOL_PAGES) $(addprefix $(B)/completions/,tdpmmuctl.bash _tdpmmuctl tdpmmuctl.fish); fi
	@if grep -qs 'scripts/htmldocs.py' $(HTML)/index.js; then rm -f $(addprefix $(HTML)/,index.js search.js style.css); fi
	@if [ -d $(MAN) ] || [ -d $(HTML) ]; then PYTHONPATH=scripts python3 -B -c \
		'import man, htmldocs; man.forget_old("$(MAN)"); htmldocs.forget_old("$(HTML)")'; fi
	@rmdir $(MAN)/man1 $(MAN)/man3 $(MAN)/man7 $(MAN) $(HTML) $(B)/completions $(B) 2> /dev/null || :
else
	rm -rf $(B) .build $(addprefix .build,-embedded -rig -tsan -asan -fuzz -fuzz-address -fuzz-tools -fuzz-tools-address)
endif
