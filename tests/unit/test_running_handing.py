"""What a run hands over: places looked at first, the tenant's policy before anything is made, and what is lent to proofs later."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exoscope import system
from exoscope.entra.credentials import CredentialPolicy
from exoscope.intent import loads_connector
from exoscope.model import Plan
from exoscope.outcome import BadInput, Refused
from exoscope.planning import plan_onboard
from exoscope.profile import AppCredential, Profile, load_profile
from exoscope.running import handing
from exoscope.running.handed import FORMAT, Entry, Handed, Ledger
from exoscope.running.handing import Hands, lent
from planning_tenants import guid, tenant

PROFILE = """
tenant = "contoso.onmicrosoft.com"
organization = "contoso.onmicrosoft.com"
[operator]
client_id = "00000000-0000-0000-0000-000000000001"
secret = "env:OPERATOR"
[apps."11111111-1111-1111-1111-111111111111"]
secret = "env:CONNECTOR"
"""
OURS, NAMED = guid("ours"), "11111111-1111-1111-1111-111111111111"


def plan(place: str, **more: str) -> Plan:
    given = ", ".join(f"{key}: {value}" for key, value in {"lifetime": "180d", **more}.items())
    text = (
        "version: 1\nname: Omniscope Reader\npermissions: [Mail.Read]\nmechanism: rbac\nscope: {group: sales@contoso.com}\n"
        f"credential: {{{given}, {place}}}\n"
    )
    return plan_onboard(tenant({"mailboxes": ["ada"], "groups": {"sales": ["ada"]}}), loads_connector(text))


def test_a_place_that_is_taken_or_not_there_is_told_before_anything_is_made(tmp_path: Path) -> None:
    hands = Hands(tmp_path / "state")
    free, taken = tmp_path / "free.secret", tmp_path / "taken.secret"
    taken.write_text("somebody's", encoding="utf-8")
    hands.check(plan(f"file: {free}"), lambda step: False)
    assert not free.exists()
    for place, code in (
        (f"file: {taken}", "exists"),
        (f"file: {tmp_path}/none/x", "bad-input"),
        ("terminal: true", "no-terminal"),
    ):
        with pytest.raises(BadInput, match="Nothing was made") as caught:
            hands.check(plan(place), lambda step: False)
        assert caught.value.code == code
        assert caught.value.message.startswith("step-3 (Make a client secret")
        hands.check(plan(place), lambda step: step.id == "step-3")  # begun already: its maker looks into the place
    assert taken.read_text(encoding="utf-8") == "somebody's"


def test_a_rehearsal_hands_nothing_over(tmp_path: Path) -> None:
    taken = tmp_path / "taken.secret"
    taken.write_text("somebody's", encoding="utf-8")
    scratch = system.make_private_dir(tmp_path / "scratch")
    Hands(tmp_path / "state", scratch=scratch).check(plan(f"file: {taken}"), lambda step: False)
    Hands(tmp_path / "state", scratch=scratch).check(plan("terminal: true"), lambda step: False)


@pytest.mark.parametrize(
    ("policy", "kind", "code"),
    [
        (CredentialPolicy(True, None, None), "secret", None),
        (CredentialPolicy(True, timedelta(days=180), timedelta(days=1)), "secret", None),
        (CredentialPolicy(True, timedelta(days=179), None), "secret", "lifetime-not-allowed"),
        (CredentialPolicy(False, None, None), "secret", "secrets-not-allowed"),
        (CredentialPolicy(False, timedelta(days=1), None), "certificate", None),
        (CredentialPolicy(True, None, timedelta(days=179)), "certificate", "lifetime-not-allowed"),
        (None, "secret", None),
    ],
)
def test_the_policy_is_asked_first(
    policy: Any, kind: str, code: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing, "credential_policy", lambda graph: policy)

    class Connection:
        graph = None

    steps = plan(f"file: {tmp_path}/x", kind=kind).steps
    hands = Hands(tmp_path / "state")
    if code is None:
        hands.allowed(Connection(), steps)  # type: ignore[arg-type]  # only its Graph is handed on
        return
    with pytest.raises(Refused, match="Nothing was made") as caught:
        hands.allowed(Connection(), steps)  # type: ignore[arg-type]  # as above
    assert caught.value.code == code
    assert "179d" in caught.value.next or (kind == "secret" and code == "secrets-not-allowed")
    hands.allowed(Connection(), steps[3:])  # type: ignore[arg-type]  # what is made already is no question any more


def profile(folder: Path) -> Profile:
    path = folder / "exoscope.toml"
    path.write_text(PROFILE, encoding="utf-8")
    return load_profile(path, {})


def entry(**changes: Any) -> Entry:
    made = Entry(
        run="run-1",
        kind="secret",
        display_name="exoscope run-1",
        stage="handed-over",
        place="file",
        where=None,
        began_at="2026-11-23T09:00:00Z",
        changed_at="2026-11-23T09:00:00Z",
        key_id=guid("key"),
    )
    return replace(made, **changes)


def noted(state: Path, app_id: str, *entries: Entry) -> None:
    ledger = Ledger(state, guid("tenant"))
    held = Handed(FORMAT, guid("tenant"), app_id, "Omniscope Reader")
    for each in entries:
        held = ledger.put(held, each)


def test_what_lies_in_its_place_is_lent(tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "x.secret"
    file.write_text("value", encoding="utf-8")
    assert lent(profile(tmp_path), state).apps.keys() == {NAMED}, "nothing is noted yet"
    noted(state, OURS, entry(where=str(file)))
    found = lent(profile(tmp_path), state).credential(OURS.upper())
    assert found is not None
    assert str(found.secret) == f"file:{file}"
    noted(state, OURS, entry(where=str(file), kind="certificate"))
    assert lent(profile(tmp_path), state).credential(OURS) == AppCredential(certificate=file)
    noted(state, OURS, entry(where="exoscope/omni", place="keyring"))
    found = lent(profile(tmp_path), state).credential(OURS)
    assert found is not None
    assert str(found.secret) == "keyring:exoscope/omni"


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "removed"},
        {"stage": "made"},
        {"place": "terminal", "where": None},
        {"where": "/nowhere/x.secret"},
        {"given": True},
        {"temporary": True},
    ],
    ids=str,
)
def test_what_does_not_is_not(changes: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "x.secret"
    file.write_text("value", encoding="utf-8")
    noted(tmp_path / "state", OURS, entry(**{"where": str(file), **changes}))
    assert lent(profile(tmp_path), tmp_path / "state").credential(OURS) is None


def test_what_was_made_in_another_tenant_is_not_lent(tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "x.secret"
    file.write_text("value", encoding="utf-8")
    noted(state, OURS, entry(where=str(file)))
    here = profile(tmp_path)
    assert lent(replace(here, tenant=guid("tenant").upper()), state).credential(OURS) is not None
    assert lent(replace(here, tenant=guid("other tenant")), state).credential(OURS) is None


def test_what_the_profile_names_comes_first_and_damaged_notes_lend_nothing(tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "x.secret"
    file.write_text("value", encoding="utf-8")
    noted(state, NAMED, entry(where=str(file)))
    found = lent(profile(tmp_path), state).credential(NAMED)
    assert found is not None
    assert str(found.secret) == "env:CONNECTOR"
    system.write_private(state / "credentials" / "broken.json", b"{")
    assert lent(profile(tmp_path), state).apps.keys() == {NAMED}
