// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser

struct DumpsOption: ParsableArguments {
    @Option(help: ArgumentHelp("The recorded dumps. (default: X.npt.txt or X.npt.txt.gz beside X.txt or X.txt.gz)", valueName: "file"),
            completion: .file())
    var dumps: String?
}
