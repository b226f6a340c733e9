"""Do the CUDA kernels compile cleanly, and what do they take? Needs NVRTC or nvcc, but no GPU.

Usage: python tools/report_kernels.py [--check]

Compiles every kernels/*.cu for each checked architecture and writes registers, shared memory and
spills by kernel into docs/kernels.md. Fails, naming the lines, on an error, a warning or a spill; --check
compares with the table in docs/kernels.md instead of writing it, and fails where it is another.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from stream.compute.cuda.compiler import (
    CHECKED_ARCHITECTURES,
    Build,
    Compiler,
    KernelUsage,
    compile_kernels,
    find_compiler,
)
from stream.compute.cuda.kernel_sources import kernel_families, read_sources
from stream.errors import BackendError, ProsoponError
from stream.files import atomic_path

PAGE = Path(__file__).parents[1] / "docs" / "kernels.md"
BEGIN, END = "<!-- report_kernels: begin -->", "<!-- report_kernels: end -->"


def main() -> None:
    """Compile, print and write or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare with the table, do not write it")
    arguments = parser.parse_args()
    try:
        complaints = report(find_compiler(), PAGE, arguments.check)
    except ProsoponError as error:
        complaints = [str(error)]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(1 if complaints else 0)


def report(compiler: Compiler, page: Path, check: bool) -> list[str]:
    """Print the table and write it to ``page``, or compare it; what is wrong, line by line.

    :raises BackendError: the compiler cannot run.
    :raises OutputError: the page cannot be written.
    """
    rows: list[tuple[str, dict[str, KernelUsage]]] = []
    complaints: list[str] = []
    for family in kernel_families():
        found = build_everywhere(family, compiler, complaints)
        rows += [(family, usage) for usage in by_kernel(found)]
    table = make_table(rows, compiler)
    print(table)
    if complaints:
        return complaints
    text = page.read_text(encoding="utf-8")
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    new = f"{before}{BEGIN}\n{table}\n{END}{after}"
    if check and new != text:
        return [f"The table in docs/{page.name} is stale; write it with: python tools/report_kernels.py"]
    if not check:
        with atomic_path(page) as part:
            part.write_text(new, encoding="utf-8")
    return []


def build_everywhere(family: str, compiler: Compiler, complaints: list[str]) -> dict[str, Build]:
    """Builds by architecture; errors, warnings and spills go to ``complaints``."""
    sources, builds = read_sources(family), {}
    for arch in CHECKED_ARCHITECTURES:
        try:
            build = builds[arch] = compile_kernels(sources, arch, compiler)
        except BackendError as error:
            complaints.append(str(error))
            continue
        complaints += [f"{arch}: {warning}" for warning in build.warnings]
        complaints += [
            f"{arch}: {family}.cu: {one.kernel} spills {one.spill_stores + one.spill_loads} bytes"
            for one in build.usage
            if one.spill_stores + one.spill_loads
        ]
    return builds


def by_kernel(builds: dict[str, Build]) -> Iterable[dict[str, KernelUsage]]:
    """The usage of one kernel after the other, by architecture."""
    found: dict[str, dict[str, KernelUsage]] = {}
    for arch, build in builds.items():
        for usage in build.usage:
            found.setdefault(usage.kernel, {})[arch] = usage
    return (found[kernel] for kernel in sorted(found))


def make_table(rows: list[tuple[str, dict[str, KernelUsage]]], compiler: Compiler) -> str:
    """Markdown: a line for each kernel, registers by architecture."""
    short = [arch.removeprefix("sm_") for arch in CHECKED_ARCHITECTURES]
    lines = [
        f"Made by {compiler.name} {compiler.version}; registers of a thread by architecture, bytes of shared"
        " memory of a block.",
        "",
        f"| file | kernel | {' | '.join(short)} | shared | spills |",
        f"|---|---|{'---|' * len(short)}---|---|",
    ]
    for family, usage in rows:
        kernel = next(iter(usage.values())).kernel
        registers = [str(usage[arch].registers) if arch in usage else "" for arch in CHECKED_ARCHITECTURES]
        shared = "/".join(str(size) for size in sorted({one.shared for one in usage.values()}))
        spills = sum(one.spill_stores + one.spill_loads for one in usage.values())
        lines.append(f"| {family} | {kernel} | {' | '.join(registers)} | {shared} | {spills} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
