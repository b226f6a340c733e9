"""Names the machine that a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil


def describe_machine() -> dict[str, str | int | float]:
    """CPU model, usable cores, memory in GiB, system and Python version, for benchmark results."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def machine_sentence() -> str:
    """The same in one line, for tables and plots."""
    machine = describe_machine()
    size = f"{machine['cores']} cores, {machine['memory_gib']} GiB"
    return f"{machine['cpu']}, {size}, Python {machine['python']}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
