"""Which processors run int8 networks well."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.inference import cpu
from stream.inference.backends import DEVICE_BACKENDS
from stream.recipes import live_model


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512f avx512_vnni\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n", True),
        ("processor\t: 0\nflags\t\t: fpu sse2 avx2 fma avx512f\n", False),
        ("processor\t: 0\nFeatures\t: fp asimd\n", False),
        ("processor\t: 0\nmodel name\t: flags unknown\n", True),
    ],
)
def test_the_flags_tell(tmp_path: Path, text: str, expected: bool) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert cpu.has_byte_products(path) is expected
    assert cpu.has_byte_products(tmp_path / "none")


@pytest.mark.parametrize("products", [True, False])
def test_live_capture_takes_int8_only_where_it_runs_well(
    monkeypatch: pytest.MonkeyPatch, products: bool
) -> None:
    monkeypatch.setattr(cpu, "has_byte_products", lambda: products)
    assert live_model("openvino") == ("depth-int8" if products else "depth")
    assert all(live_model(backend) == "depth" for backend in DEVICE_BACKENDS)
