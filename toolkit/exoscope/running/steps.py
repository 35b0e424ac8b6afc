"""One step: read, decide, write once, read back. A call whose outcome is unknown is settled by reading, never repeated blindly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Literal, NoReturn
from urllib.parse import unquote

import msgspec

from exoscope.clock import Clock
from exoscope.model import Observed, State, Step, Target
from exoscope.outcome import (
    AccessDenied,
    AlreadyExists,
    BadInput,
    Deadline,
    ExoscopeError,
    GuardRefused,
    LostSession,
    ObjectNotFound,
    ServiceError,
    SignInFailed,
    Throttled,
    Transient,
    WrongTenant,
)
from exoscope.planning import states
from exoscope.planning.registration import known_target
from exoscope.powershell import holes
from exoscope.running.filling import Filled, fill_call, fill_subject, identity_of, making
from exoscope.running.glancing import seen_by, shows
from exoscope.running.journal import Journal, moment
from exoscope.running.patience import PASSING, AppStops, Patience
from exoscope.running.ports import Event, Progress, Tenancy
from exoscope.running.records import StepDone, StepFailed, StepIntent
from exoscope.running.registering import Spreading, appeared, why_other
from exoscope.running.state import RunState

Place = Literal["before", "after", "other", "unclear"]
OWN_READING = frozenset({"required_resource_access", "resource_id", "key_credentials"})
"""Yields that come from the reading just before the write: they are part of the call, not of what landed."""


class Steps:
    """Runs steps one at a time, journalling each before and after."""

    def __init__(
        self,
        state: RunState,
        journal: Journal,
        tenancy: Tenancy,
        clock: Clock,
        *,
        patience: Patience,
        progress: Progress,
        held: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.state = state
        self.journal = journal
        self.tenancy = tenancy
        self.clock = clock
        self.patience = patience
        self.progress = progress
        self._held = held

    def run(self, step: Step) -> None:
        """Bring one step to its end. Raises AppStops, or a ServiceError when a service does not answer for now."""
        with self._held():
            if step.target.kind == "credential" and step.after is not None:
                self._hand_over(step)
            else:
                self._run(step)

    def _hand_over(self, step: Step) -> None:
        """A credential: its value comes once, so the call is never repeated; what came of an earlier one its maker settles.

        Raises Refused and BadInput besides.
        """
        subject = self.subject(step)
        ours = step.id in self.state.unsettled or step.id in self.state.sent
        if not ours:
            reading, place = self._settle(subject, None)
            if place == "after" and not self._left(step):
                raise AppStops("moved", appeared(subject, reading))
            if place == "after":
                self._done(subject, reading, already=True)
                return
            if place != "before":
                self._stop_where(subject, reading, place)
        run, ends = self.state.started.run, self.clock.now() + timedelta(days=int(step.target.key["days"]))
        call = making(step, self.state.yields, run, ends)
        self._record(
            StepIntent(app=step.app_id, stage=step.stage, step=step.id, observed=None, script=None, request=call)
        )
        self.progress(Event("step", step.title, step.app_id, step.id))
        try:
            key_id = self.tenancy.hand_over(subject, run, ends)
        except ExoscopeError as error:
            self._failed(step, error, sent=True)
            raise
        self._done(subject, Observed({}, {"key_id": key_id}), settled=ours)

    def _left(self, step: Step) -> bool:
        """Was the step, or the registration of its app, left to somebody else by this run? Then theirs is what is there."""
        own = self.state.steps(step.app_id)
        made = {each.id for each in own if each.target.kind == "application" and each.after is not None}
        return bool({step.id, *made} & self.state.left_to_others)

    def _run(self, step: Step) -> None:
        subject = self.subject(step)
        last: ServiceError = Transient(f"{step.title}: no call was made")
        attempt, refusals, until = 0, 0, self.clock.now()
        spreading = Spreading(step, self.clock, self.patience.spreading, self._pause_seconds)
        while attempt < self.patience.attempts:
            lost = self.state.unsettled.get(step.id)
            # After a call whose answer was lost the object may still read as it did before: give it time from then on.
            since = moment(lost) if lost is not None else None
            ours = lost is not None or step.id in self.state.sent
            reading, place = self._settle(subject, since)
            registering = subject.target.kind == "application" and subject.after is not None
            if place == "after" and registering and not ours and not self._left(step):
                raise AppStops("moved", appeared(subject, reading))
            if place == "after":
                self._done(subject, reading, already=not ours, settled=ours)
                return
            if place != "before":
                self._stop_where(subject, reading, place)
            call = self._call(step, reading)
            self._record(
                StepIntent(
                    app=step.app_id,
                    stage=step.stage,
                    step=step.id,
                    observed=reading.state,
                    script=call.script,
                    request=call.request,
                )
            )
            self.progress(Event("step", step.title, step.app_id, step.id))
            try:
                ids = self.tenancy.write(subject, call)
            except (AlreadyExists, ObjectNotFound) as error:
                if isinstance(error, AlreadyExists) or subject.after is None:
                    # It is there (or gone) already. Ours, when an earlier call of this run may have done it.
                    self._met(subject, error, ours=ours)
                    return
                self._failed(step, error, sent=False)
                last = error
                if spreading.again(error):
                    continue
            except Throttled as error:
                self._failed(step, error, sent=False)
                last = error
                # Refused before anything was done: waited out as long as a reading that does not get through.
                pause = self._pause_seconds(refusals, error)
                until = until if refusals else self.clock.now() + timedelta(seconds=self.patience.landing)
                if self.clock.now() + timedelta(seconds=pause) > until:
                    break
                refusals += 1
                self.clock.sleep(pause)
                continue
            except (Transient, LostSession, Deadline) as error:
                self._failed(step, error, sent=True)
                last = error
                attempt += 1
                continue  # settling brings its own pauses
            except (SignInFailed, WrongTenant, AccessDenied) as error:
                # Nothing happened, and it can be put right: the run stays open.
                self._failed(step, error, sent=False)
                raise
            except GuardRefused as error:
                self._failed(step, error, sent=False)
                raise AppStops(error.code, f"{step.title}: {error.message}") from None
            except ServiceError as error:
                # Whatever this is, reading tells whether the call did its work all the same.
                self._failed(step, error, sent=True)
                reading, place = self._settle(subject, self.clock.now())
                if place == "before":
                    if spreading.again(error):
                        continue
                    raise
                if place != "after":
                    self._stop_where(subject, reading, place)
                self._done(subject, reading, settled=True)
                return
            else:
                self._landed(subject, ids=ids)
                return
            self._pause(attempt, last)
            attempt += 1
        if isinstance(last, ObjectNotFound):
            raise AppStops(last.code, f"{step.title}: {last.message}")
        raise last

    def done_by_others(self, step: Step) -> State | Literal[False]:
        """Has somebody else made this step's transition? Then it is journalled and False is answered: nothing is left. Else how its
        object reads. Raises AppStops, ServiceError.
        """
        subject = self.subject(step)
        reading, place = self._settle(subject, None)
        if place == "after":
            self._done(subject, reading, already=True)
            return False
        if place != "before":
            self._stop_where(subject, reading, place)
        return reading.state

    def settle(self, step: Step) -> None:
        """Find out by reading what came of a call whose outcome is unknown, without repeating it. Raises AppStops, ServiceError."""
        subject = self.subject(step)
        reading, place = self._settle(subject, moment(self.state.unsettled[step.id]))
        if place == "after":
            self._done(subject, reading, settled=True)
        elif place == "before":
            self._failed(step, Transient("it reads as before the call", code="not-done"), sent=False)
        else:
            self._stop_where(subject, reading, place)

    def find(self, step: Step) -> None:
        """Note that a step's object stands already, where it does, though this run never sent it: other steps rest on it."""
        subject = self.subject(step)
        reading, place = self._settle(subject, None)
        if place == "after":
            self._done(subject, reading, already=True)

    # -- reading -------------------------------------------------------------------------------------------------

    def subject(self, step: Step) -> Step:
        """The step with the holes of its target and states filled."""
        try:
            subject = fill_subject(step, self.state.yields)
            yields = self.state.yields.get(step.id, {})
            return msgspec.structs.replace(subject, target=known_target(subject.target, yields))
        except BadInput as error:
            raise AppStops(error.code, f"{step.title}: {error.message}") from None

    def read(self, target: Target) -> Observed:
        """Read one object, patient with passing faults. Raises the last of them when they do not pass."""
        end = self.clock.now() + timedelta(seconds=self.patience.landing)
        for attempt in range(1000):
            try:
                return self.tenancy.read(target)
            except PASSING as error:
                pause = self._pause_seconds(attempt, error)
                if self.clock.now() + timedelta(seconds=pause) > end:
                    raise
                self.clock.sleep(pause)
        raise AssertionError("the clock does not move")

    def glance(self, step: Step) -> Observed:
        """Read a step's object, where the reading of the tenant at hand does not show it as it was planned from."""
        seen = seen_by(self.tenancy, step.app_id, step.target)
        return seen if seen is not None and self.place(step, seen) == "before" else self.read(step.target)

    def place(self, subject: Step, reading: Observed) -> Place:
        """Where the object stands between the step's two states."""
        after = self._passed(subject, reading.state)
        if after and all(reading.yields.get(name) for name in subject.yields if name not in OWN_READING):
            return "after"
        before = states.agrees(subject.target.kind, reading.state, subject.before)
        if before:
            return "other" if _given_anew(subject, reading) else "before"
        return "unclear" if after is None or before is None or after else "other"

    def _passed(self, subject: Step, observed: State) -> bool | None:
        """Does the object stand as after the step, or as after a later step of the plan on the same object?"""
        kind, key = subject.target.kind, states.key_of(subject.target)
        answer = states.agrees(kind, observed, subject.after)
        own = self.state.steps(subject.app_id)
        for later in own[[each.id for each in own].index(subject.id) + 1 :]:
            if answer is True:
                break
            if later.target.kind != kind:
                continue
            try:
                filled = fill_subject(later, self.state.yields)
            except BadInput:
                continue  # it rests on what is still to be made, so the object cannot stand as after it
            if states.key_of(filled.target) == key and states.agrees(kind, observed, filled.after):
                answer = True
        return answer

    def _settle(self, subject: Step, since: datetime | None) -> tuple[Observed, Place]:
        """Read until the object stands as after the step, or ``settle`` seconds after ``since`` are over.

        Without ``since`` nothing of ours is under way: *before* and *after* are believed at once; anything else is read again, for
        what an earlier step made may not be seen everywhere yet.
        """
        now = self.clock.now()
        # A new app has no id to be read by before its creation is answered.
        patience = self.patience.registering if since and subject.target.kind == "application" else self.patience.settle
        end = min(now if since is None else since, now) + timedelta(seconds=patience)
        for reading in self._readings(subject.target, end):
            place = self.place(subject, reading)
            if place == "after" or (place == "before" and since is None):
                break
        return reading, place

    def holds(self, subject: Step, *, without_members: bool = False) -> str | None:
        """Does a landed step's object still read as it should? None, or what differs. Raises ServiceError.

        ``without_members``: a group's members were changed by later steps, so they are not compared here.
        """
        expected = subject.after
        if without_members and expected is not None and subject.target.kind == "group":
            expected = {name: value for name, value in expected.items() if name != "members"}
        if shows(self.tenancy, subject, expected):
            return None
        end = self.clock.now() + timedelta(seconds=self.patience.settle)
        for reading in self._readings(subject.target, end):
            if states.agrees(subject.target.kind, reading.state, expected):
                return None
        return difference(subject, reading.state, expected)

    def _readings(self, target: Target, end: datetime) -> Iterator[Observed]:
        """Readings with growing pauses: at least one, the last one not before ``end``."""
        attempt = 0
        while True:
            late = self.clock.now() >= end
            yield self.read(target)
            if late:
                return
            self.clock.sleep(
                min(self._pause_seconds(attempt, None), max((end - self.clock.now()).total_seconds(), 0.01))
            )
            attempt += 1

    def _met(self, subject: Step, error: ServiceError, *, ours: bool) -> None:
        """The service says that the object is there (or gone) already: it must be so as the step wants it."""
        try:
            self._landed(subject, already=not ours)
        except AppStops:
            if not ours:
                self._failed(subject, error, sent=False)
            raise

    def _landed(self, subject: Step, *, already: bool = False, ids: tuple[str, ...] = ()) -> None:
        """Read back until the object stands as after the step. Raises AppStops when it does not in time."""
        end = self.clock.now() + timedelta(seconds=self.patience.landing)
        for reading in self._readings(subject.target, end):
            place = self.place(subject, reading)
            if place == "after":
                self._done(subject, reading, already=already, ids=ids)
                return
        if place == "before":
            raise AppStops(
                "not-landed",
                f"{subject.title}: answered, but after {self.patience.landing:.0f} s the object still reads as before.",
            )
        self._stop_where(subject, reading, place)

    def _stop_where(self, subject: Step, reading: Observed, place: Place) -> NoReturn:
        seen = difference(subject, reading.state)
        if place == "unclear":
            raise AppStops("state-unknown", f"{subject.title}: cannot tell how it stands: {seen}.")
        raise moved(subject, reading, f"{subject.title}: changed by somebody else since the plan")

    # -- writing -------------------------------------------------------------------------------------------------

    def _call(self, step: Step, reading: Observed) -> Filled:
        try:
            call = fill_call(step, {**self.state.yields, step.id: reading.yields})
            named = identity_of(step, self.state.yields)
        except (BadInput, GuardRefused) as error:
            raise AppStops(error.code, f"{step.title}: {error.message}") from None
        read = reading.yields.get("guid" if step.target.kind == "group" else "identity")
        if named is not None and read is not None and named.casefold() != str(read).casefold():
            raise AppStops("moved", f"{step.title}: it is {read} now, and the plan names {named}.")
        return call

    def _done(
        self,
        subject: Step,
        reading: Observed,
        *,
        already: bool = False,
        settled: bool = False,
        ids: tuple[str, ...] = (),
    ) -> None:
        ours_by_others = already and subject.id in self.state.left_to_others
        already, settled = already and not ours_by_others, settled or ours_by_others
        self._record(
            StepDone(
                app=subject.app_id,
                stage=subject.stage,
                step=subject.id,
                before=self.state.found.get(subject.id, reading.state),
                after=reading.state,
                yields={name: reading.yields[name] for name in subject.yields if name in reading.yields},
                already=already,
                settled=settled,
                ids=ids,
            )
        )
        if already:
            self.progress(Event("note", f"{subject.title}: already so", subject.app_id, subject.id))

    def _failed(self, step: Step, error: ExoscopeError, *, sent: bool) -> None:
        self._record(
            StepFailed(app=step.app_id, stage=step.stage, step=step.id, code=error.code, why=error.message, sent=sent)
        )

    def _record(self, record: StepIntent | StepDone | StepFailed) -> None:
        self.state.take(self.journal.append(record))

    def _pause(self, attempt: int, error: ServiceError) -> None:
        self.clock.sleep(self._pause_seconds(attempt, error))

    def _pause_seconds(self, attempt: int, error: ServiceError | None) -> float:
        if error is not None and error.retry_after is not None:
            return max(error.retry_after, 0.01)
        return float(min(self.patience.first * 2 ** min(attempt, 20), self.patience.ceiling))


def _given_anew(subject: Step, reading: Observed) -> bool:
    """Is this consent not the one that the step removes by its id, but one that somebody gave since?"""
    if subject.target.kind != "consent" or subject.after is not None or subject.request is None:
        return False
    named, found = unquote(subject.request.path.rpartition("/")[2]), reading.yields.get("id")
    return bool(found) and not holes(named) and str(found).casefold() != named.casefold()


def moved(subject: Step, reading: Observed, told: str) -> AppStops:
    """Why an app goes no further where an object reads neither as before nor as after a step."""
    other = why_other(subject, reading)
    return AppStops(*other) if other else AppStops("moved", f"{told}: {difference(subject, reading.state)}.")


def difference(subject: Step, observed: State, expected: State = None) -> str:
    """What differs, for people: the object, and each field as it reads and as it should (without ``expected``: as before)."""
    wanted = expected or subject.before or (subject.after if observed is not None else None)
    kind = subject.target.kind
    return (
        f"{states.told(subject.target)}: {'; '.join(states.differences(kind, observed, wanted)) or 'made anew since'}"
    )
