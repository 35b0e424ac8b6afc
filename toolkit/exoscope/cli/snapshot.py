"""``exoscope snapshot``: a tenant into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame, roads, script_reading
from exoscope.cli.printing import plain
from exoscope.outcome import Exit

if TYPE_CHECKING:
    from exoscope.model import Snapshot
    from exoscope.reading import Wanted


@frame.command("snapshot")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Where the snapshot goes.",
)
@click.option(
    "--for",
    "intent_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read what this scope.yaml needs, too.",
)
@click.option(
    "--from-script",
    "from_script",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="RESULT",
    help="Take the results of the files of exoscope script --read, and open no connection; further results after it.",
)
@click.argument("results", nargs=-1, type=click.Path(dir_okay=False, path_type=Path), metavar="[RESULT]...")
@roads.parallel_option
@frame.road_yes_option
@frame.profile_option
@frame.state_option
@frame.json_option
def command(
    output: Path,
    intent_file: Path | None,
    from_script: tuple[Path, ...],
    results: tuple[Path, ...],
    parallel: int | None,
    yes: bool,
    profile: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Read a tenant into a file.

    What could not be read stands in the file's `unread`, each with its reason; the file is written all the same, and the
    exit code is 6. --from-script makes the same snapshot from what the files of exoscope script --read noted, at the time at
    which they ran; with a profile in use their tenant must be the profile's.
    """
    if results and not from_script:
        raise click.UsageError(f"Got unexpected extra argument ({results[0]})")
    if from_script and yes:
        raise click.UsageError("--yes is about the road to Exchange, and --from-script takes none")
    if from_script and parallel is not None:
        raise click.UsageError("--parallel is about sessions with Exchange, and --from-script opens none")
    from exoscope import snapshot
    from exoscope.intent import load_intent
    from exoscope.reading import Wanted, read_snapshot, wanted_for

    frame.not_over(output, intent_file, *from_script, *results)
    del state  # a snapshot keeps no state; the option stands on every command that opens a session
    wanted = wanted_for(load_intent(intent_file)) if intent_file is not None else Wanted()
    if from_script:
        read = read_snapshot(script_reading.take_readings((*from_script, *results), profile), wanted=wanted)
    else:
        read = _read(wanted, profile, yes=yes, parallel=parallel or 1)
    snapshot.save(read, output)
    counts = {
        name: len(value)
        for name in ("apps", "recipients", "groups", "role_assignments", "access_policies")
        if isinstance(value := getattr(read, name), tuple)
    }
    if as_json:
        frame.answer(
            {
                "file": str(output),
                "tenant": read.tenant,
                "digest": snapshot.digest(read),
                "counts": counts,
                "unread": read.unread,
            }
        )
    words = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    frame.say(f"{output}: {plain(read.tenant.domain)} with {words or 'nothing that could be read'}")
    for each in read.unread:
        frame.say(f"  unread: {plain(each.what)}: {plain(each.why)}")
    if read.unread:
        frame.finish(Exit.UNKNOWN)


def _read(wanted: Wanted, profile: Path | None, *, yes: bool, parallel: int) -> Snapshot:
    """Over a connection."""
    from exoscope.clock import SystemClock
    from exoscope.reading import Connection, read_snapshot

    used = roads.profile_with_road(profile, yes=yes)
    with Connection(used, SystemClock(), frame.say, parallel=parallel) as connection:
        return read_snapshot(connection, wanted=wanted, progress=frame.passing)
