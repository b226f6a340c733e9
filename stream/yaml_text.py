"""YAML as people write it: version 1.2's plain values, where `off`, `no` and `12:30` are words, not booleans
or base 60; and numbers remember how they were written."""

from __future__ import annotations

import re
from typing import Any

import yaml


class Written:
    """A value read from a file.

    :ivar text: as it stands there.
    """

    text: str


class _Int(int, Written):
    pass


class _Float(float, Written):
    pass


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - yaml's own


def load_yaml(text: str) -> Any:
    """What a YAML document holds: None, bool, int, float, str, lists and dictionaries.

    :raises ValueError: it is not valid YAML; the message says where.
    :raises RecursionError: it is nested too deeply.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    base = {"0x": 16, "0o": 8}.get(node.value[:2], 10)
    value = _Int(node.value, base)
    value.text = node.value
    return value


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    value = _Float(re.sub(r"\.(?=inf|nan)", "", node.value.lower()))
    value.text = node.value
    return value


for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)
