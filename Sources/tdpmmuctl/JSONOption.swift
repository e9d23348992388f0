// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser

struct JSONOption: ParsableArguments {
    @Flag(help: "Print it as JSON, on one line. (docs/TDPMMUCTL.md has the keys)")
    var json = false
}
