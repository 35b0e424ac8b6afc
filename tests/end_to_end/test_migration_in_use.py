"""An app in use throughout a migration: somebody joins and somebody leaves, a process is killed, the state folder is lost.

Never a wrong 403 and never a wrong 200, from before the first step until after the last. Several apps, every stage, and the way
back: tests/long/test_migration_in_use.py.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from in_use import KILLED, Delays, Governed, Operator, People, decided, in_use, readable, sandbox

DELAYS = Delays(propagation=1.0, lifetime=2.0)
GROUPS = {"sales": ["ada"], "hr": ["bob"]}
BOXES = ("ada", "bob", "eve", "zoe")
APP = Governed("both", restrict=("sales", "hr"))
IN_THE_OVERLAP = 8
"""A journal record between the first step's and the last one's of the overlap."""


@pytest.mark.timeout(300)
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_a_migration_that_is_killed_and_forgotten_is_never_felt(tmp_path: Path) -> None:
    start = readable(
        {
            "mailboxes": BOXES,
            "groups": GROUPS,
            "apps": {APP.name: {"consents": APP.permissions}},
            "policies": [{"app": APP.name, "group": group} for group in APP.restrict],
        }
    )
    with sandbox(start, tmp_path, DELAYS) as ready:
        people = People(ready, GROUPS, DELAYS.propagation)
        operator = Operator(ready, tmp_path)
        with in_use(ready, [APP], BOXES, people, DELAYS.lifetime) as using:
            with using.during("before"):
                pass
            with using.during("overlap, killed"):
                assert operator.run("migrate", "--advance", "--yes", kill=("after", IN_THE_OVERLAP)).code == KILLED
                assert [each["record"] for each in operator.records()].count("step-done") in (1, 2)
            people.toggle("eve", "sales")
            with using.during("overlap"):
                operator.until_ready(operator.run("migrate", "--advance"))
            people.toggle("bob", "hr")
            with using.during("cutover"):
                if "cutover" not in operator.landed():  # where the machine stood still the gate was open at once
                    assert operator.run("migrate", "--advance").code == 3, operator.output
            assert operator.waited()["overlap"] >= DELAYS.propagation
            shutil.rmtree(operator.state)
            with using.during("cutover, planned anew"):
                operator.until_ready(operator.run("migrate", "--advance", "--yes"))
            with using.during("finish"):
                night = operator.run("migrate", "--advance")
                assert (night.code, night.json["outcome"]) == (0, "done"), operator.output
            assert operator.waited()["cutover"] >= DELAYS.lifetime, "counted anew, from the run's beginning"
            with using.during("after"):
                using.stay(DELAYS.propagation)
        seen = decided(ready, [APP])
    assert using.wrong() == [], operator.output
    using.assert_in_use()
    # The witness met what it is there for: tokens that outlived the consent, and access by each of the two roads.
    assert any(call.roles for call in using.calls_in("cutover"))
    assert {call.roles for call in using.calls_in("after")} == {False}
    assert {line["because"].split()[0] for line in seen if line["answer"] == "allowed"} == {"consent", "assignment"}
    assert len([line for line in seen if line["answer"] == "denied"]) > len(using.periods)
