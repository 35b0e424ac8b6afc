"""What plan and show share on the command line: the waits in use, and a plan printed for people."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from exoscope.cli import frame
from exoscope.cli.printing import block, line, plain
from exoscope.outcome import BadInput, Exit, Refused

if TYPE_CHECKING:
    from exoscope.model import Plan, Snapshot, Step, WaitKind
    from exoscope.outcome import Finding, Refusal
    from exoscope.planning.answer import AppAnswer
    from exoscope.reading.wanted import Wanted


def snapshot_option(function: frame.Decorated) -> frame.Decorated:
    """``--snapshot FILE`` of a command that plans over it, or reads the tenant."""
    return click.option(
        "--snapshot",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A file that `exoscope snapshot` wrote; without it the tenant is read now, into a file beside the plan.",
    )(function)


def customization_option(function: frame.Decorated) -> frame.Decorated:
    """``--accept-customization``."""
    return click.option(
        "--accept-customization",
        is_flag=True,
        help="Where the organisation was never customised, make Enable-OrganizationCustomization the first step. It cannot be "
        "taken back.",
    )(function)


class Waits:
    """Seconds by kind of wait, and whether a longer token-lifetime policy lengthens them (not where all is loopback)."""

    def __init__(self, profile: Path | None) -> None:
        from exoscope.planning import WAITS
        from exoscope.profile import find_profile, load_profile, on_loopback

        self.seconds: Mapping[WaitKind, float] = WAITS
        self.lengthen = True
        self.source = "the documented waits; no profile is in use"
        found = find_profile(profile, os.environ)
        if found is not None:
            loaded = load_profile(profile, os.environ)
            self.seconds = {kind: float(getattr(loaded.waits, kind)) for kind in WAITS}
            self.lengthen = not on_loopback(loaded)
            self.source = f"the waits of {found}"


def print_plan(plan: Plan, hash: str, waits: Waits, *, start: datetime | None = None) -> None:
    """Stages, steps, needs and exact PowerShell on stdout; with ``start``, the clock times if it began then."""
    from exoscope.planning import schedule

    line(f"Plan {hash}")
    line(f"Tenant {plan.tenant.domain} ({plan.tenant.id}), {len(plan.apps)} app(s), {len(plan.steps)} step(s)")
    if not plan.steps:
        line("Nothing to do." if plan.purpose == "migrate" else "Nothing to do: the tenant is as the intent says.")
    times = {time.stage: time for time in schedule(plan, waits.seconds, lengthen=waits.lengthen)}
    for stage in plan.stages:
        line()
        line(f"Stage {stage.id}: {stage.title}")
        steps = [step for step in plan.steps if step.stage == stage.id]
        if not steps:
            line("  nothing to do; its gate is waited for")
        for step in steps:
            _print_step(step)
        kinds = dict.fromkeys(kind for gate in stage.gates for kind in gate.waits)
        if kinds:
            time = times[stage.id]
            when = f", not before {_clock(start, time.earliest)}" if start else ""
            line(f"  Gate: waits {_span(time.ready_after)} ({', '.join(kinds)}){when}")
            evidence = dict.fromkeys(each for gate in stage.gates for each in gate.evidence)
            if evidence:
                line(f"  Then must be seen: {', '.join(evidence)}")
    if plan.stages:
        line()
        line(f"Times are {waits.source}.")


def _print_step(step: Step) -> None:
    from exoscope.planning.answer import holes_told

    line(f"  {step.id}  {step.title}")
    line(f"         needs {', '.join(step.needs)}")
    if step.script is not None:
        for each in step.script.strip().splitlines():
            click.echo(f"         {plain(each)}")
    elif step.request is not None:
        import msgspec

        body = "" if step.request.body is None else " " + msgspec.json.encode(step.request.body).decode("utf-8")
        line(f"         {step.request.method} {step.request.path}{body}")
    for hole, meaning in holes_told(step).items():
        line(f"         {hole}: {meaning}")


def print_apps(apps: tuple[AppAnswer, ...], limit: int = 20) -> None:
    """What comes of it, app by app: reach before and after, whether it is scoped, and the notes."""
    for app in apps:
        line()
        verdict = "scoped" if app.scoped else f"NOT scoped ({', '.join(app.not_scoped_because)})"
        line(f"{app.display_name} ({app.app_id}): {verdict}")
        for name, reach in app.permissions.items():
            line(f"  {name}: reaches {len(reach.before)} mailboxes before, {len(reach.after)} after")
            for word, these in (("gained", reach.gained), ("lost", reach.lost), ("unknown", reach.unknown)):
                if these:
                    more = f" and {len(these) - limit} more" if len(these) > limit else ""
                    line(f"    {word}: {', '.join(these[:limit])}{more}")
        if app.tenant_wide:
            line(f"  tenant-wide, not about mailboxes: {', '.join(app.tenant_wide)}")
        for note in app.notes:
            line(f"  note: {note}")


def print_refusals(refusals: tuple[Refusal, ...], tenant: Snapshot | None = None) -> None:
    """Which apps are refused, and why; by name too where the tenant is at hand."""
    apps = () if tenant is None or not isinstance(tenant.apps, tuple) else tenant.apps
    names = {app.app_id: f"{app.display_name} ({app.app_id})" for app in apps}
    block(
        "Refused",
        (f"{each.code}: {names.get(each.app or '', each.app or 'the intent')}: {each.message}" for each in refusals),
    )


def check_source(snapshot: Path | None, parallel: int | None, *, yes: bool) -> None:
    """Raises UsageError for options about reading the tenant where a file is read in its place."""
    if yes and snapshot is not None:
        raise click.UsageError("--yes is about the road to Exchange, and with --snapshot none is taken")
    if parallel is not None and snapshot is not None:
        raise click.UsageError("--parallel is about sessions with Exchange, and with --snapshot none is opened")


def check_places(output: Path, source: Path | None, snapshot: Path | None) -> None:
    """Raises BadInput where the plan, or the tenant that is read for it, would be written over what it is made from."""
    for each in (output, *(() if snapshot else (read_into(output),))):
        frame.not_over(each, source, snapshot)


def refused(
    error: Refused,
    tenant: Snapshot | None,
    *,
    as_json: bool,
    nothing: str = "No plan was written.",
    answer: Callable[[tuple[Refusal, ...]], object] | None = None,
) -> NoReturn:
    """Tell which apps are refused and why, and end (exit 4); raises the error where it is about no app.

    ``answer`` makes the command's own answer of the refusals; None: that of ``plan``.
    """
    from exoscope.planning import refused_answer

    if not error.refusals:
        raise error
    if as_json:
        frame.answer((answer or refused_answer)(error.refusals))
    else:
        print_refusals(error.refusals, tenant)
    frame.say(f"{error.message} {nothing}")
    frame.finish(Exit.REFUSED)


def write_plan(plan: Plan, output: Path) -> str:
    """Write the plan; its hash."""
    from exoscope.planning import dump_plan, load_plan

    data = dump_plan(plan)
    file = load_plan(data, str(output))
    write_file(output, data)
    return file.hash


def finish_plan(plan: Plan, tenant: Snapshot, output: Path, waits: Waits, *, as_json: bool) -> None:
    """Write a plan and answer it as ``plan`` does; ends with exit 1 where some apps are refused."""
    from exoscope.planning import plan_answer
    from exoscope.reach import Reach

    digest = write_plan(plan, output)
    answer = plan_answer(plan, digest, Reach(tenant).mailboxes.addresses(), waits.seconds, lengthen=waits.lengthen)
    if as_json:
        frame.answer(answer)
    else:
        print_plan(plan, digest, waits)
        print_apps(answer.apps)
        print_refusals(plan.refusals, tenant)
    say_where(f"The plan is in {output}.")
    if plan.refusals:
        frame.finish(Exit.FINDINGS)


def tenant_for(
    given: Path | None, wanted: Wanted, output: Path, profile: Path | None, *, yes: bool, parallel: int
) -> Snapshot:
    """The snapshot that was named, or the tenant read now and written beside the plan."""
    from exoscope import snapshot as snapshots

    if given is not None:
        return snapshots.load(given)
    from exoscope.cli import roads
    from exoscope.clock import SystemClock
    from exoscope.reading import Connection, read_snapshot

    used = roads.profile_with_road(profile, yes=yes)
    with Connection(used, SystemClock(), frame.say, parallel=parallel) as connection:
        tenant = read_snapshot(connection, wanted=wanted, progress=frame.passing)
    place = read_into(output)
    snapshots.save(tenant, place)
    say_where(f"The tenant was read into {place}.")
    for unread in tenant.unread:
        say_where(f"  not read: {unread.what}: {unread.why}")
    return tenant


def read_into(output: Path) -> Path:
    """Where the tenant goes when a plan reads it."""
    return output.with_name(f"{output.stem}.snapshot.json")


def print_findings(findings: tuple[Finding, ...], tenant: Snapshot | None = None) -> None:
    """What an admin should know beside a plan; by name too where the tenant is at hand."""
    apps = () if tenant is None or not isinstance(tenant.apps, tuple) else tenant.apps
    names = {app.app_id: app.display_name for app in apps}
    block(
        "Findings",
        (
            f"{each.code}: {names.get(each.app_id or '', each.app_id or 'the tenant')}: {each.message}"
            for each in findings
        ),
    )


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises BadInput when it cannot be written."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written: {error.strerror}", next="Name a file in a folder of yours."
        ) from None


def say_where(text: str) -> None:
    """A line of talk about a file."""
    frame.say(plain(text))


def _clock(start: datetime, seconds: float) -> str:
    from exoscope.clock import iso

    return iso(start + timedelta(seconds=seconds))


def _span(seconds: float) -> str:
    rest, parts = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
