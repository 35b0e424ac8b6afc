"""Batches of rows as the connecting prelude sends them: JSON, compressed, in base64, one text for many rows.

PSRP carries a text many times cheaper than the objects it stands for, and a compressed one cheaper still: rows of one kind
are alike, and every byte passes through base64 twice and through two readers of XML.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

MOST = 256 * 1024 * 1024
"""Bytes of JSON in one batch, beyond which it is none of ours."""

_GZIP = 31  # zlib's number for its window with gzip's header
_DECODER = msgspec.json.Decoder(list[dict[str, Any]])


def pack(rows: Sequence[Mapping[str, Any]]) -> str:
    """One batch. Raises UnicodeEncodeError for a text that is none."""
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    data = packer.compress(msgspec.json.encode(rows)) + packer.flush()
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def unpack(text: object) -> list[dict[str, Any]]:
    """The rows of one batch. Raises ValueError for anything else."""
    if not isinstance(text, str):
        raise ValueError("a batch is a text")  # noqa: TRY004 - one error for whatever came in a batch's place
    unpacker = zlib.decompressobj(_GZIP)
    try:
        data = unpacker.decompress(binascii.a2b_base64(text, strict_mode=True), MOST)
    except (zlib.error, binascii.Error) as error:
        raise ValueError(f"a batch that cannot be unpacked: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("a batch that does not end where it should")
    return _DECODER.decode(data)
