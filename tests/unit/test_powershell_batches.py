"""Batches of rows: what is packed is unpacked, and nothing else is taken for a batch."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exoscope.powershell import batches, pack, unpack

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROWS = st.lists(
    st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS | st.lists(TEXTS)),
    max_size=5,
)


def as_batch(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


@given(ROWS)
def test_rows_come_back(rows: list[dict[str, Any]]) -> None:
    assert unpack(pack(rows)) == rows


def test_what_another_writer_compressed_is_read() -> None:
    assert unpack(as_batch(b'[{"Name": "x"}]')) == [{"Name": "x"}]


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        b"bytes",
        [],
        "",
        "no batch",
        '[{"Name": "x"}]',
        "é",
        as_batch(b"{}"),
        as_batch(b"[1]"),
        as_batch(b"[[]]"),
        as_batch(b"no json"),
        as_batch(b'[{"a": "\\ud800"}]'),
        as_batch(b"[]")[:-4],
        as_batch(b"[]") + as_batch(b"[]"),
        pack([{"Name": "x"}]) + "\n",
        base64.b64encode(gzip.compress(b"[]", mtime=0) + b"more").decode(),
    ],
)
def test_anything_else_is_no_batch(text: object) -> None:
    with pytest.raises(ValueError):
        unpack(text)


def test_a_batch_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST", 1000)
    assert unpack(as_batch(b"[" + b" " * 998 + b"]")) == []
    with pytest.raises(ValueError, match="does not end"):
        unpack(as_batch(b"[" + b" " * 999 + b"]"))
