"""``exoscope script --read``: files that only read, and their results in the place of a connection."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from exoscope.cli import frame
from exoscope.cli.planning import say_where, write_file
from exoscope.cli.printing import line, plain
from exoscope.outcome import BadInput, WrongTenant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exoscope.profile import Profile
    from exoscope.scripting import Asking, ReadData, Recorded


def write_reading(output: Path, intent_file: Path | None, profile: Path | None, *, as_json: bool) -> None:
    """The files that read a tenant, beside what the intent asks for."""
    from exoscope.intent import load_intent
    from exoscope.reading import Wanted, wanted_for
    from exoscope.scripting import read_parts, root_in

    wanted = wanted_for(load_intent(intent_file)) if intent_file is not None else Wanted()
    used = profile_in_use(profile)
    cloud = "worldwide" if used is None else used.cloud
    parts = read_parts(
        cloud,
        root_in(cloud, None if used is None else used.endpoints.graph),
        # A domain is compared when the results are taken: in a session of Exchange it cannot be told whose it is.
        tenant=used.tenant if used is not None and _is_guid(used.tenant) else None,
        groups=wanted.groups,
        attributes=wanted.attributes,
    )
    _write(parts, output, as_json=as_json)


def asking(sample: int | None, seed: int, limit_refusals: int | None, *, everything: bool) -> Asking:
    """How much a check asks; without a word as much as ``verify`` does."""
    from exoscope.proving.selection import SAMPLE
    from exoscope.scripting import Asking

    return Asking(
        sample=SAMPLE if sample is None else sample,
        everything=everything,
        whole=sample is None,
        seed=seed,
        limit_refusals=limit_refusals,
    )


def write_check(plan: Path, output: Path, asking: Asking, profile: Path | None, *, as_json: bool) -> None:
    """The files that put a plan to its witnesses."""
    from exoscope.planning import load_plan
    from exoscope.running.tenancy import wanted_by
    from exoscope.scripting import check_parts, graph_root

    file = load_plan(frame.read_file(plan), str(plan))
    used = profile_in_use(profile)
    wanted = wanted_by(file.plan)
    root = graph_root(file.plan.tenant, None if used is None else used.endpoints.graph)
    parts = check_parts(file.plan, file.hash, root, groups=wanted.groups, attributes=wanted.attributes, asking=asking)
    _write(parts, output, as_json=as_json)


def _write(parts: Sequence[ReadData], output: Path, *, as_json: bool) -> None:
    from exoscope.scripting import read_bytes_of

    files = [(data, read_bytes_of(data)) for data in parts]
    make(output)
    for data, content in files:
        write_file(output / data.script, content)
    if as_json:
        named = [{"file": data.script, "stage": data.purpose, "part": data.part} for data in parts]
        frame.answer({"plan": parts[0].plan, "files": named, "left_out": []})
        return
    for data in parts:
        line(f"  {data.script}")
    say_where(f"{len(files)} file(s) that read and change nothing are in {output}. Run them in this order.")


def take_readings(paths: Sequence[Path], profile: Path | None) -> Recorded:
    """Results of scripts that read, in the place of a connection; of the profile's tenant, where a profile is in use.

    Raises BadInput, Refused, WrongTenant.
    """
    from exoscope.scripting import is_reading, load_reading, recorded

    readings = []
    for path in paths:
        data = frame.read_file(path)
        if not is_reading(data):
            raise BadInput(
                f"{path} is no result of a script that reads",
                next="Give the .result.jsonl files that the scripts of exoscope script --read or --check wrote.",
            )
        readings.append(load_reading(data, str(path)))
    found = recorded(readings)
    used = profile_in_use(profile)
    if used is not None and used.tenant not in found.domains():
        raise WrongTenant(
            f"the results are of the tenant {plain(found.prove_tenant().domain)}; the profile {used.path} names {used.tenant}",
            next="Name the profile of that tenant.",
        )
    return found


def beginning(path: Path) -> bytes:
    """The first bytes of a file, which tell what it is. Raises BadInput."""
    try:
        with path.open("rb") as file:
            return file.read(300)
    except OSError:
        return frame.read_file(path)[:300]  # which says what is wrong


def make(folder: Path) -> None:
    """Make a folder for files. Raises BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder} cannot be made: {error.strerror}", next="Name a folder of yours.") from None


def profile_in_use(path: Path | None) -> Profile | None:
    """The profile, where one is in use: these commands need none."""
    from exoscope.profile import find_profile, load_profile

    return None if find_profile(path, os.environ) is None else load_profile(path, os.environ)


def _is_guid(text: str) -> bool:
    import uuid

    try:
        return str(uuid.UUID(text)) == text.casefold()
    except ValueError:
        return False
