"""Outside CI (`make long`): several apps in use through whole migrations, with state lost, processes killed, runs taken back."""

from __future__ import annotations

import contextlib
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exoscope import snapshot as snapshots
from exoscope.model import Snapshot
from in_use import (
    KILLED,
    Answered,
    Delays,
    Governed,
    InUse,
    Operator,
    People,
    coming_and_going,
    in_use,
    readable,
    sandbox,
)
from planning_tenants import guid

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
posix = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
DELAYS = Delays(propagation=2.0, lifetime=4.0)


class Case(NamedTuple):
    """A tenant by its apps and groups, the options of its migration, and who may join and leave meanwhile."""

    apps: tuple[Governed, ...]
    groups: dict[str, list[str]]
    policies: list[dict[str, str]]
    whom: tuple[tuple[str, str], ...]
    words: tuple[str, ...] = ()

    @property
    def boxes(self) -> list[str]:
        inside = {who for members in self.groups.values() for who in members if who not in self.groups}
        return sorted({*inside, *(who for who, _ in self.whom), "zoe"})

    def tenant(self) -> Snapshot:
        apps = {each.name: {"consents": each.permissions} for each in self.apps}
        return readable({"mailboxes": self.boxes, "groups": self.groups, "apps": apps, "policies": self.policies})


def restricted(app: Governed) -> list[dict[str, str]]:
    """The policies that an app's groups stand for."""
    return [
        {"app": app.name, "right": right, "group": group}
        for right, groups in (("RestrictAccess", app.restrict), ("DenyAccess", app.deny))
        for group in groups
    ]


PLAIN = Governed("plain", restrict=("sales",))
BOTH = Governed("both", restrict=("sales", "hr"), permissions=("Mail.Read", "Calendars.Read"))
LESS = Governed("less", restrict=("sales",), deny=("secret",))
NEST = Governed("nest", restrict=("outer",))
COPY = Governed("copy", restrict=("outer",))
STAR = Governed("star", restrict=("board",))
MORE = Governed("more", restrict=("sales", "board"))
NESTED = {"outer": ["dan", "inner"], "inner": ["eve"]}
CASES = {
    "several": Case(
        (PLAIN, BOTH, LESS, NEST),
        {"sales": ["ada", "bob"], "hr": ["cid"], "secret": ["bob"], **NESTED},
        [policy for app in (PLAIN, BOTH, LESS, NEST) for policy in restricted(app)],
        (("gus", "sales"), ("gus", "hr"), ("bob", "secret"), ("fay", "inner"), ("dan", "outer")),
        ("--accept", f"deny-fails-open:{LESS.app_id}"),
    ),
    "every app": Case(
        (STAR, MORE),
        {"sales": ["ada"], "board": ["fay"]},
        [{"app": "*", "group": "board"}, {"app": "more", "group": "sales"}],
        (("gus", "board"), ("gus", "sales")),
    ),
    # Who joins the groups of a copy later is not in it, so nobody comes or goes there.
    "copied": Case((COPY,), NESTED, restricted(COPY), (), ("--nested", "group")),
}


class Stage:
    """A case served and in use, somebody who types commands, and people who come and go all the time."""

    def __init__(self, case: Case, using: InUse, operator: Operator) -> None:
        self.case, self.using, self.operator = case, using, operator

    def run(self, *words: str, code: int = 0) -> Any:
        """One command, and how it must end."""
        with self.using.during(" ".join(words)):
            ended = self.operator.run(*words)
            self.somebody_moves()
        assert ended.code == code, self.operator.output
        return ended.json

    def somebody_moves(self) -> None:
        if self.case.whom:
            self.using.people.toggle(*self.case.whom[len(self.using.periods) % len(self.case.whom)])

    def planned(self) -> None:
        self.run("migrate", *self.case.words)

    def reach(self, stage: str) -> None:
        """Plan and run until somewhere: the steps of a stage, or (``… passed``) its gate too. (Where the machine is slow a gate
        may have opened by itself.)"""
        self.planned()
        name, _, passed = stage.partition(" ")
        if name == "cutover":
            self.run("apply", "plan.json", "--yes", "--wait", "200s", "--until", "overlap", code=3)
        words = ("apply", "plan.json") if name != "cutover" else ("resume", "last")
        wait = ("--wait", "200s") if passed or name == "finish" else ()
        self.run(*words, "--yes", *wait, "--until", name, code=0 if name == "finish" else 3)

    def nightly(self) -> Any:
        """The nightly command until nothing is left."""
        for _ in range(40):
            with self.using.during("migrate --advance"):
                night = self.operator.run("migrate", "--advance", "--yes", *self.case.words)
                assert night.code in (0, 3), self.operator.output
                self.operator.until_ready(night)
            if night.code == 0:
                assert night.json["outcome"] == "done", self.operator.output
                return night.json
        raise AssertionError(self.operator.output)

    def as_it_is(self) -> Snapshot:
        name = f"now-{len(self.using.periods)}.json"
        self.run("snapshot", "-o", name)
        return snapshots.load(self.operator.folder / name)


@contextlib.contextmanager
def staged(folder: Path, case: Case, seed: int = 1, delays: Delays = DELAYS) -> Iterator[Stage]:
    """The case in use from before until after; at the end everything that was seen must have been right."""
    with sandbox(case.tenant(), folder, delays) as ready:
        people = People(ready, case.groups, delays.propagation)
        moves = (
            coming_and_going(people, case.whom, 4 * delays.propagation, seed) if case.whom else contextlib.nullcontext()
        )
        with in_use(ready, case.apps, case.boxes, people, delays.lifetime) as using, moves:
            stage = Stage(case, using, Operator(ready, folder))
            with using.during("before"):
                pass
            yield stage
            with using.during("after"):
                using.stay(delays.propagation)
    assert using.wrong() == [], stage.operator.output
    using.assert_in_use()
    assert people.moves or not case.whom


def kinds(found: Snapshot) -> dict[str, list[Any]]:
    """What a migration changes, without what each making gives anew."""
    assert isinstance(found.apps, tuple) and isinstance(found.access_policies, tuple)
    assert isinstance(found.role_assignments, tuple)
    return {
        "policies": sorted((each.app_id, each.access_right, each.scope.object_id) for each in found.access_policies),
        "consents": sorted((app.app_id, each.permission) for app in found.apps for each in app.consents),
        "requests": sorted((app.app_id, each.permission) for app in found.apps for each in app.requested),
        "assignments": sorted((each.assignee, each.role) for each in found.role_assignments),
    }


def assert_migrated(stage: Stage) -> None:
    now = kinds(stage.as_it_is())
    assert (
        now["policies"]
        == kinds(stage.case.tenant())["policies"][: len([p for p in stage.case.policies if p["app"] == "*"])]
    )
    assert (now["consents"], now["requests"]) == ([], [])
    wanted = [
        (guid(f"{app.name} object"), f"Application {each}") for app in stage.case.apps for each in app.permissions
    ]
    assert now["assignments"] == sorted(wanted)


STAGES = ("baseline passed", "overlap", "overlap passed", "cutover", "cutover passed", "finish")


@pytest.mark.parametrize("at", STAGES)
@pytest.mark.parametrize("name", CASES)
def test_the_state_is_lost_and_the_rest_is_planned_anew(tmp_path: Path, name: str, at: str) -> None:
    with staged(tmp_path, CASES[name]) as stage:
        stage.reach(at)
        shutil.rmtree(stage.operator.state)
        stage.nightly()
        assert_migrated(stage)


@pytest.mark.parametrize("at", STAGES[1:])
@pytest.mark.parametrize("name", CASES)
def test_taken_back_from_every_stage(tmp_path: Path, name: str, at: str) -> None:
    with staged(tmp_path, CASES[name]) as stage:
        before = kinds(stage.as_it_is())
        stage.reach(at)
        assert kinds(stage.as_it_is()) != before
        back = stage.run("undo", "last", "--yes", "--wait", "200s")
        assert back["outcome"] == "done"
        assert kinds(stage.as_it_is()) == before


@posix
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_killed_again_and_again_there_and_back(tmp_path: Path, name: str, seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311 - boundaries that can be met again, not a secret
    with staged(tmp_path, CASES[name], seed) as stage:
        before = kinds(stage.as_it_is())
        stage.planned()

        def killed(*words: str) -> Answered:
            with stage.using.during(" ".join(words)):
                return stage.operator.run(*words, kill=(chosen.choice(("before", "after")), chosen.randint(3, 12)))

        def through(*words: str) -> None:
            ended, kills = killed(*words), 0
            while ended.code == KILLED:
                kills += 1
                ended = killed("resume", "last", "--yes", "--wait", "200s")
            assert (ended.code, ended.json["outcome"], kills > 0) == (0, "done", True), stage.operator.output

        through("apply", "plan.json", "--yes", "--wait", "200s")
        assert_migrated(stage)
        through("undo", "last", "--yes", "--wait", "200s")
        assert kinds(stage.as_it_is()) == before


def test_waits_that_are_too_short_are_felt(tmp_path: Path) -> None:
    """What the others rest on: the connectors notice an order that is right in haste that is not."""
    case = CASES["several"]
    delays = Delays(propagation=2.0, lifetime=60.0)
    with sandbox(case.tenant(), tmp_path, delays) as ready:
        profile = Path(ready["profile"])
        text = profile.read_text(encoding="utf-8")
        for kind in ("token", "managed_identity", "long_token"):
            assert f"\n{kind} = 60.0\n" in text
            text = text.replace(f"\n{kind} = 60.0\n", f"\n{kind} = 1.0\n")
        hasty = profile.with_name("hasty.toml")
        hasty.write_text(text, encoding="utf-8")
        people = People(ready, case.groups, delays.propagation)
        operator = Operator({**ready, "profile": str(hasty)}, tmp_path)
        with in_use(ready, case.apps, case.boxes, people, delays.lifetime) as using, using.during("everything"):
            assert operator.run("migrate", *case.words).code == 0, operator.output
            assert operator.run("apply", "plan.json", "--yes", "--wait", "200s").code == 0, operator.output
    assert any(": 200 (with roles" in each for each in using.wrong())
