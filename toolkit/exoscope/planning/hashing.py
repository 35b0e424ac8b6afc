"""plan.json and its hash: SHA-256 over the sorted, compact UTF-8 JSON of the plan."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from exoscope import snapshot as snapshots
from exoscope.model import Plan, PlanFile, Snapshot
from exoscope.model.plan import FORMAT
from exoscope.outcome import BadInput, Refused

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plan_hash(plan: Plan) -> str:
    """``sha256:…`` of a plan. The same plan gives the same hash on every machine."""
    return "sha256:" + hashlib.sha256(canonical(plan)).hexdigest()


def canonical(value: Any) -> bytes:
    """Sorted, compact UTF-8 JSON."""
    return msgspec.json.encode(value, order="sorted")


def content_hash(snapshot: Snapshot) -> str:
    """The digest of what a snapshot says, whenever it was read: ``read_at`` does not enter, so plans stay comparable."""
    return snapshots.digest(msgspec.structs.replace(snapshot, read_at=_EPOCH))


def dump_plan(plan: Plan) -> bytes:
    """plan.json as bytes: indented for people; the hash is over the compact form."""
    file = PlanFile(format="exoscope/plan@1", hash=plan_hash(plan), plan=plan)
    return msgspec.json.format(canonical(file), indent=1) + b"\n"


def load_plan(data: bytes, name: str = "plan.json") -> PlanFile:
    """Read plan.json strictly.

    Raises BadInput (malformed, unknown or doubled key, a newer format), Refused ``plan-edited`` when the hash is not the
    plan's.
    """
    try:
        raw = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_once)
        _known_format(raw, name)
        file = msgspec.convert(raw, PlanFile)
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} is not UTF-8 (byte {error.start})") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadInput(f"{name} is not JSON: {error}") from None
    except msgspec.ValidationError as error:
        raise BadInput(f"{name} is no plan: {error}") from None
    if plan_hash(file.plan) != file.hash:
        raise Refused(
            f"{name} was edited: its hash is not that of the plan in it",
            code="plan-edited",
            next="Plan again, and review the plan that will run.",
        )
    return file


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadInput(f"the key {key!r} is given twice in one object of the plan file")
        found[key] = value
    return found


def _known_format(raw: Any, name: str) -> None:
    given = raw.get("format") if isinstance(raw, dict) else None
    if given == FORMAT:
        return
    match = re.fullmatch(r"exoscope/plan@([0-9]+)", given) if isinstance(given, str) else None
    if match and int(match.group(1)) > 1:
        raise BadInput(f"{name} has the format {given}; this exoscope reads {FORMAT}", next="Use a newer exoscope.")
    raise BadInput(f"{name} is no plan: its format is {given!r}, not {FORMAT!r}")
