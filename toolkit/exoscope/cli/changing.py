"""What apply, resume, undo, runs and status share on the command line: the desk, the questions, the talk, the answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exoscope.cli import frame
from exoscope.cli.printing import line, plain
from exoscope.outcome import BadInput, Exit, Refused

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from exoscope.model import Plan
    from exoscope.profile import Profile
    from exoscope.running import Desk, Event, Opened, RunAnswer, Service, Store
    from exoscope.running.tenancy import Condition


def desk(
    profile: Profile, state: Path | None, *, everything: bool = False, unseen_ok: bool = False, back: bool = False
) -> Desk:
    """The desk of a profile. Opens nothing yet. ``everything``: its gates ask about every mailbox.

    A tenant must have been met (docs/doctor.md), or is met first; ``unseen_ok``: it need not pass. ``back``: only for a way back,
    which is never barred.
    """
    from exoscope.cli.screens import TerminalScreen
    from exoscope.clock import SystemClock
    from exoscope.profile import state_dir
    from exoscope.running import Store
    from exoscope.running.handing import Hands
    from exoscope.running.tenancy import desk_for

    place, clock = state_dir(state, os.environ, profile), SystemClock()
    condition = None if back else met(place, unseen_ok=unseen_ok)
    hands = Hands(place, TerminalScreen())
    return desk_for(
        profile, Store(place), clock=clock, progress=talk, hands=hands, everything=everything, condition=condition
    )


def met(state: Path, *, unseen_ok: bool) -> Condition:
    """First contact as the condition of going on in a tenant; what was passed lies in this state folder."""
    from functools import partial

    from exoscope.checking.passes import Passes
    from exoscope.clock import SystemClock

    return partial(Passes(state, SystemClock()).require, unseen_ok=unseen_ok)


def desk_of_scripts(profile: Path | None, state: Path | None) -> Desk:
    """A desk at which nothing is opened: that of the profile in use, else one with the documented waits."""
    from exoscope.profile import find_profile, load_profile

    if find_profile(profile, os.environ) is not None:
        return desk(load_profile(profile, os.environ), state)
    from exoscope.clock import SystemClock
    from exoscope.planning import WAITS
    from exoscope.running import Desk

    def nothing(plan: Plan) -> AbstractContextManager[Opened]:
        raise BadInput("there is no profile, so no session is opened")

    return Desk(
        store=store(profile, state),
        clock=SystemClock(),
        progress=talk,
        open=nothing,
        operator="scripts",
        waits=dict(WAITS),
        lengthen=True,
    )


def store(profile: Path | None, state: Path | None) -> Store:
    """Where the runs lie; a profile is not needed for that."""
    from exoscope.profile import find_profile, load_profile, state_dir
    from exoscope.running import Store

    loaded = load_profile(profile, os.environ) if find_profile(profile, os.environ) is not None else None
    return Store(state_dir(state, os.environ, loaded))


def talk(event: Event) -> None:
    """Steps and waits are progress (a terminal only); what a reader must know is said in a pipe too."""
    if event.kind == "step" and event.step is None:
        frame.passing(plain(event.text))  # one thing read or one mailbox asked: hundreds of them
    elif event.kind in ("step", "wait", "evidence"):
        frame.progress(plain(event.text))
    elif event.kind == "step-back":
        frame.say(f"Quickest safe step back: {plain(event.text)}")
    else:
        frame.say(plain(event.text))


def need_somebody(given: bool, options: str) -> None:
    """Without a terminal nobody can be asked: one of the options must stand for the answer. Raises UsageError (exit 2)."""
    if not given and not frame.interactive():
        raise click.UsageError(f"there is no terminal to ask on: give {options}")


def ask(question: str) -> None:
    """Ask; no is a refusal (exit 4)."""
    frame.clear()
    if not click.confirm(plain(question), default=False, err=True):
        raise Refused("not approved", code="not-approved")


def steps(plan: Plan) -> None:
    """What a plan would do, step by step, on stderr, before the question."""
    frame.say(f"{len(plan.steps)} step(s) in {len(plan.stages)} stage(s), tenant {plain(plan.tenant.domain)}:")
    for step in plan.steps:
        frame.say(f"  {step.id} [{step.stage}] {plain(step.title)}")


def summary(plan: Plan) -> None:
    """Steps, and the sentences that an admin must read."""
    steps(plan)
    for app in plan.apps:
        for note in app.notes:
            frame.say(f"  {plain(app.display_name)}: {plain(note)}")


def finish(answer: RunAnswer, *, as_json: bool, only: Service | None = None) -> None:
    """Print the answer, and end with its exit code. ``only``: whose share this was; what goes on with it keeps to it."""
    from exoscope.running import exit_of

    if as_json:
        frame.answer(answer)
    else:
        line(f"Run {answer.run}: {answer.outcome}, {answer.done} of {answer.steps} step(s) done.")
        line(answer.why)
        for app in answer.apps:
            stage = f" in stage {app.stage}" if app.stage else ""
            code = f" ({app.code})" if app.code else ""
            ready = f", ready at {app.ready_at}" if app.ready_at else ""
            line(f"  {app.app_id}: {app.outcome}{code}{stage}{ready}")
            for note in app.notes:
                line(f"    {plain(note)}")
    share = "" if only is None else f" --only {only}"
    left = answer.waiting_for in (
        "entra",
        "exchange",
    )  # the sentence above names the command, for whoever's share it is not
    if answer.outcome == "waiting" and not left:
        when = f" after {answer.ready_at}" if answer.ready_at else ""
        frame.say(f"Go on{when} with: exoscope resume {answer.run}{share}")
    elif answer.outcome == "stopped":
        frame.say(
            f"The run stays as it is. exoscope resume {answer.run}{share} goes on where that is possible; "
            "exoscope undo takes it back."
        )
    ending = exit_of(answer)
    if ending != Exit.DONE:
        frame.finish(ending)
