"""The whole job by scripts alone, no connection of exoscope's own: files, results, the next files, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import exoscope.twin
from exoscope.intent import loads_intent
from exoscope.model import Plan
from exoscope.planning import plan_scope, states
from exoscope.planning.migration import plan_migration
from exoscope.running.filling import fill_subject
from exoscope.scripting import ScriptData, ScriptStep, bytes_of
from exoscope.twin.server import Twin
from planning_tenants import tenant
from powershell_oracles import pwsh
from scripting_chain import MG_GRAPH, Chain, connect, planned, run
from twin_fixtures import OMNISCOPE, OMNISCOPE_GROUP, load_sample

pytestmark = [
    pytest.mark.pwsh,
    pytest.mark.timeout(1800),  # many processes, one after another
    pytest.mark.skipif(pwsh() is None, reason="no PowerShell: set EXOSCOPE_PWSH or put pwsh on PATH"),
]


@pytest.fixture
def served() -> Iterator[Twin]:
    with exoscope.twin.serve(load_sample(), propagation=0.2, token_lifetime=600.0) as twin:
        yield twin


def stands(chain: Chain) -> None:
    """The tenant is as the plan's last step on each object leaves it."""
    now = chain.twin.tenant.snapshot()
    known = next(state for _, state in chain.store.runs_of(chain.file.hash)).known
    last = {states.key_of(each.target): each for each in (fill_subject(step, known) for step in chain.file.plan.steps)}
    moved = any(step.target.kind == "group_member" for step in last.values())
    for step in last.values():
        state = states.shown(now, step.target)
        if state is not None and step.target.kind == "group" and moved:
            del state["members"]  # what moves them says who is in
        if state is not None and step.target.kind == "role_assignment" and state["scope"]["kind"] == "group":
            group = states.find_group(now, state["scope"]["id"])
            state["scope"]["id"] = None if group is None else group.guid
        assert states.agrees(step.target.kind, state, step.after) is not False, step.title


def as_before(chain: Chain) -> None:
    """The tenant is as it was, but for ids that are given anew."""
    now, then = chain.twin.tenant.snapshot(), load_sample()
    for name in ("service_principals", "management_scopes", "role_assignments", "access_policies", "groups"):
        assert set(getattr(now, name)) == set(getattr(then, name)), name
    for app, was in zip(now.apps, then.apps, strict=True):  # type: ignore[arg-type]  # the sample tenant was read whole
        assert {(c.resource, c.app_role_id) for c in app.consents} == {
            (c.resource, c.app_role_id) for c in was.consents
        }
        assert set(app.requested) == set(was.requested)


def planned_for(mechanism: str, app: str) -> Plan:
    return planned(load_sample(), mechanism, app, "ada@contoso.com", "sean.obrien@contoso.com")


def due(chain: Chain) -> str | None:
    """The next file to run; None when all stand."""
    written = chain.write()
    name = next((each.data.script for each in written.parts if not written.stand(each)), None)
    assert name is not None or written.left == ()
    return name


def outcomes(chain: Chain, name: str) -> list[str]:
    return [step["outcome"] for step in chain.result(name)["steps"]]


@pytest.mark.long
def test_a_policy_and_its_consents_by_files_alone(served: Twin, tmp_path: Path) -> None:
    """Group, policy, consent and request entry are made, and taken back: each file tried with -WhatIf, then run.

    Graph is reached in a session like that of Connect-MgGraph, on the way back with a token.
    """
    chain = Chain(tmp_path, served, planned_for("access-policy", "Room Display"), load_sample())
    names = []
    while (name := due(chain)) is not None:
        said = chain.run(name, session=MG_GRAPH, again="-WhatIf")
        assert "what if: nothing was changed" in said
        # Had the trial changed anything, the run would have found it so already.
        assert set(outcomes(chain, name)) == {"done"}
        chain.take(name)
        names.append(name)
    assert names == ["01-restrict-exchange.ps1", "02-restrict-exchange.ps1", "03-consent-graph.ps1"]
    stands(chain)
    back = chain.back()
    while (name := due(back)) is not None:
        back.run(name)
        assert set(outcomes(back, name)) == {"done"}
        back.take(name)
    as_before(back)


@pytest.mark.long
@pytest.mark.parametrize(("mechanism", "app"), [("rbac", OMNISCOPE), ("access-policy", "Room Display")])
def test_killed_after_every_write(mechanism: str, app: str, served: Twin, tmp_path: Path) -> None:
    """Each file is tried, killed after each of its writes, its result taken, and run again; there and back."""
    chain = Chain(tmp_path, served, planned_for(mechanism, app), load_sample())
    for each in (chain, None):
        way = each or chain.back()
        while (name := due(way)) is not None:
            steps = len(way.data[name].steps)
            assert "no result was written" in way.run(name, "-WhatIf")
            for sent in range(steps):
                way.run(name, die_at=1)
                assert outcomes(way, name) == ["done"] * sent + ["sent"] + ["open"] * (steps - sent - 1)
                way.take(name)
            said = way.run(name)
            assert ": sending" not in said and set(outcomes(way, name)) == {"done"}
            way.take(name)
        if each is not None:
            stands(chain)
    as_before(chain)


@pytest.mark.long
def test_a_group_made_anew_is_not_what_a_file_was_written_for(served: Twin, tmp_path: Path) -> None:
    chain = Chain(tmp_path, served, planned_for("rbac", OMNISCOPE), load_sample())
    first = due(chain)
    assert first is not None
    chain.run(first)
    chain.take(first)
    second = due(chain)
    assert second is not None
    name = chain.file.plan.steps[1].target.key["name"]
    domain = chain.file.plan.tenant.domain
    made = f"New-DistributionGroup -Name '{name}' -Alias other -DisplayName '{name}' -Type Security"
    gone = f"Remove-DistributionGroup -Identity '{name}' -BypassSecurityGroupManagerCheck -Confirm:$false"
    done = run(served, tmp_path, connect(domain), f"$ErrorActionPreference = 'Stop'; {gone}; $null = {made}; exit 0")
    assert done.returncode == 0 and not done.stderr, done.stderr
    said = chain.run(second, code=4)
    assert "this file was written for" in said and "Nothing was changed" in said


@pytest.mark.long
def test_what_has_another_identity_is_not_removed(served: Twin, tmp_path: Path) -> None:
    """A policy and a consent that are there, but not the ones that the files name: nothing is sent."""
    chain = Chain(tmp_path, served, planned_for("access-policy", "Room Display"), load_sample())
    while (name := due(chain)) is not None:
        chain.run(name)
        chain.take(name)
    back = chain.back()
    for name in [part.data.script for part in back.write().parts]:
        back.data[name] = of_others(back.data[name])
        (tmp_path / name).write_bytes(bytes_of(back.data[name]))
        before = served.tenant.snapshot()
        said = back.run(name, code=4)
        assert "changed by somebody else" in said and "Nothing was changed" in said
        now = served.tenant.snapshot()
        assert (now.access_policies, now.apps, now.groups) == (before.access_policies, before.apps, before.groups)
        back.write()
        back.run(name)  # so that the next one can follow
    as_before(back)


def of_others(data: ScriptData) -> ScriptData:
    """A file that names another policy and another consent than are there, and follows no other."""

    def other(step: ScriptStep) -> ScriptStep:
        if step.kind == "consent" and step.request is not None:
            path = f"{step.request.path.rpartition('/')[0]}/another-id"
            return msgspec.structs.replace(step, request=msgspec.structs.replace(step.request, path=path))
        if step.kind == "access_policy":
            return msgspec.structs.replace(step, values={"identity": f"{step.values['identity'][:-4]}0000"})
        return step

    return msgspec.structs.replace(data, after=None, steps=tuple(other(step) for step in data.steps))


@pytest.mark.long
def test_a_group_that_does_not_show_all_of_itself_yet_is_waited_for(served: Twin, tmp_path: Path) -> None:
    chain = Chain(tmp_path, served, planned_for("access-policy", "Room Display"), load_sample())
    name = due(chain)
    assert name is not None
    late = (
        "function global:Get-DistributionGroup { param($Identity, $ResultSize) "
        "ExchangeOnlineManagement\\Get-DistributionGroup @PSBoundParameters | "
        "ForEach-Object { $_.ExternalDirectoryObjectId = ''; $_ } }"
    )
    words = f"& '{tmp_path / name}' -ReadBackSeconds 1"
    done = run(served, tmp_path, f"{connect(chain.file.plan.tenant.domain)}\n{late}", words)
    assert done.returncode == 5 and "(unclear)" in done.stdout, done.stdout + done.stderr
    chain.take(name)
    assert [each.script for each in chain.write().left] == ["02-restrict-exchange.ps1"]
    chain.run(name)
    chain.take(name)
    assert chain.write().left == ()


SCOPES = f"""\
version: 1
apps:
  - app: {OMNISCOPE}
    permissions: [Mail.Read]
    mechanism: rbac
    scope:
      group-scope: {OMNISCOPE_GROUP}
  - app: {OMNISCOPE}
    permissions: [Calendars.Read]
    mechanism: rbac
    scope:
      administrative-unit: Wien
  - app: {OMNISCOPE}
    permissions: [Contacts.Read]
    mechanism: rbac
    scope:
      organization: true
"""


@pytest.mark.long
def test_customisation_and_every_kind_of_scope(tmp_path: Path) -> None:
    sample = load_sample()
    organization = msgspec.structs.replace(sample.organization, is_dehydrated=True)  # type: ignore[type-var]  # it was read
    given = msgspec.structs.replace(sample, organization=organization)
    plan = plan_scope(given, loads_intent(SCOPES, "scope.yaml"), accept_customization=True)
    with exoscope.twin.serve(given, propagation=0.2, token_lifetime=600.0) as twin:
        chain = Chain(tmp_path, twin, plan, given)
        names = []
        while (name := due(chain)) is not None:
            chain.run(name)
            chain.take(name)
            names.append(name)
        assert names == ["01-customize-exchange.ps1", "02-grant-exchange.ps1", "03-cutover-graph.ps1"]
        stands(chain)
        back = chain.back()
        while (name := due(back)) is not None:
            back.run(name)
            back.take(name)
        as_before(back)


@pytest.mark.long
def test_a_migration_by_files_there_and_back(tmp_path: Path) -> None:
    """Policies are removed at its end, and made again on the way back."""
    given = tenant(
        {
            "mailboxes": ["ada", "bob", "cid"],
            "groups": {"sales": ["ada"]},
            "apps": {"omni": {"consents": ["Mail.Read"]}},
            "policies": [{"app": "omni", "group": "sales"}],
        }
    )
    with exoscope.twin.serve(given, propagation=0.2, token_lifetime=600.0) as twin:
        before = twin.tenant.snapshot()
        chain = Chain(tmp_path, twin, plan_migration(given), given)
        while (name := due(chain)) is not None:
            chain.run(name)
            chain.take(name)
        stands(chain)
        assert twin.tenant.snapshot().access_policies == ()
        back = chain.back()
        while (name := due(back)) is not None:
            back.run(name)
            back.take(name)
        now = twin.tenant.snapshot()
        assert now.role_assignments == before.role_assignments
        ours = [(each.app_id, each.access_right, each.scope.object_id) for each in now.access_policies]  # type: ignore[union-attr]  # read whole
        assert ours == [(each.app_id, each.access_right, each.scope.object_id) for each in before.access_policies]  # type: ignore[union-attr]  # as above


@pytest.mark.long
def test_who_is_in_a_managed_group_is_moved_by_files(served: Twin, tmp_path: Path) -> None:
    """The group that an earlier plan made: hidden again, one member in, one out; and back."""
    first = Chain(tmp_path / "one", served, planned_for("rbac", OMNISCOPE), load_sample())
    first.folder.mkdir()
    while (name := due(first)) is not None:
        first.run(name)
        first.take(name)
    now = served.tenant.snapshot()
    other = planned(now, "rbac", OMNISCOPE, "ada@contoso.com", "darcy@contoso.com")
    kinds = [step.target.kind for step in other.steps]
    assert kinds == ["group", "group_member", "group_member"]
    second = Chain(tmp_path / "two", served, other, now)
    second.folder.mkdir()
    name = "01-grant-exchange.ps1"
    assert due(second) == name
    second.run(name, die_at=1)
    second.take(name)
    second.run(name)
    second.take(name)
    # It is hidden already, so that step is not this plan's own.
    assert outcomes(second, name) == ["already", "done", "done"] and due(second) is None
    stands(second)
    back = second.back()
    while (name := due(back)) is not None:
        back.run(name)
        back.take(name)
    after, before = ({g.guid: set(g.members or ()) for g in each.groups} for each in (served.tenant.snapshot(), now))  # type: ignore[union-attr]  # read whole
    assert after == before
