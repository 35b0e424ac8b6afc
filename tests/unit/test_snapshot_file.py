"""The snapshot file: what loads, what is refused and where, what is written."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import UNSET

from exoscope import snapshot
from exoscope.outcome import BadInput

DATA = Path(__file__).resolve().parents[1] / "data" / "snapshot"
GOOD: dict[str, Any] = {
    "format": "exoscope/snapshot@1",
    "read_at": "2026-11-23T09:00:00Z",
    "tenant": {"id": "t", "domain": "contoso.onmicrosoft.com", "cloud": "worldwide"},
    "apps": [
        {
            "app_id": "a",
            "object_id": "o",
            "application_object_id": None,
            "display_name": "App",
            "consents": [{"id": "c", "resource": "r", "app_role_id": "x", "permission": "Mail.Read"}],
            "requested": [{"resource": "r", "app_role_id": "x", "permission": "Mail.Read"}],
        }
    ],
    "service_principals": [{"app_id": "a", "object_id": "o", "display_name": "App"}],
    "management_scopes": [{"name": "Sales", "recipient_filter": "f", "recipient_root": None, "exclusive": False}],
    "role_assignments": [
        {"name": "n", "role": "r", "assignee": "o", "enabled": True, "scope": {"kind": "organization"}}
    ],
    "access_policies": [
        {
            "identity": "i",
            "app_id": "*",
            "access_right": "DenyAccess",
            "scope": {"name": "n", "sid": "s", "object_id": "o"},
            "description": None,
            "valid": True,
        }
    ],
    "roles": [{"name": "Application Mail.Read", "permissions": ["Mail.Read"]}],
    "attributes_read": ["Department"],
    "recipients": [
        {
            "guid": "11111111-0000-4000-8000-00000000000a",
            "external_directory_object_id": "e",
            "display_name": "Ada",
            "primary_smtp_address": "ada@contoso.com",
            "email_addresses": ["ada@contoso.com"],
            "distinguished_name": "CN=Ada,DC=example",
            "recipient_type": "UserMailbox",
            "recipient_type_details": "UserMailbox",
            "attributes": {"Department": "Sales"},
        }
    ],
    "groups": [
        {
            "guid": "g",
            "external_directory_object_id": "ge",
            "sid": "S-1",
            "display_name": "Group",
            "primary_smtp_address": "group@contoso.com",
            "distinguished_name": "CN=Group,DC=example",
            "recipient_type_details": "MailUniversalSecurityGroup",
            "members": None,
        }
    ],
    "administrative_units": [{"id": "u", "display_name": "Unit", "members": []}],
    "organization": {"ews_enabled": None, "ews_allowed_app_ids": None, "enforce_exo_app_rbac_permissions": False},
    "unread": [],
}


def _bytes(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=False).encode("utf-8")


def _holder(tree: Any, path: str) -> tuple[Any, Any]:
    steps: list[Any] = [int(n) if n else key for key, n in re.findall(r"\.([^.\[]+)|\[(\d+)\]", path) for n in [n]]
    for step in steps[:-1]:
        tree = tree[step]
    return tree, steps[-1]


def _changed(case: dict[str, Any]) -> bytes:
    if "text" in case:
        return str(case["text"]).encode("utf-8")
    tree = copy.deepcopy(GOOD)
    for path, value in case.get("set", {}).items():
        holder, last = _holder(tree, path)
        holder[last] = value
    for path in case.get("drop", ()):
        holder, last = _holder(tree, path)
        del holder[last]
    for path, differences in case.get("add", {}).items():
        holder, last = _holder(tree, path)
        holder[last].append({**holder[last][0], **differences})
    return _bytes(tree)


CASES = yaml.safe_load((DATA / "refused.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_refused_with_its_path(case: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        snapshot.loads(_changed(case))
    path, _, words = caught.value.message.partition(": ")
    assert path == case["path"]
    assert case["words"] in words


def test_the_good_file_loads_and_comes_back() -> None:
    loaded = snapshot.loads(_bytes(GOOD))
    written = snapshot.dumps(loaded)
    assert json.loads(written) == GOOD
    assert snapshot.loads(written) == loaded
    assert snapshot.dumps(snapshot.loads(written)) == written
    keys = [line.split('"')[1] for line in written.decode().splitlines() if line.startswith('  "')]
    assert keys == sorted(keys)
    assert written.endswith(b"}\n")


def test_absent_is_not_read_and_empty_is_empty() -> None:
    tree = {key: GOOD[key] for key in ("format", "read_at", "tenant")} | {"groups": []}
    loaded = snapshot.loads(_bytes(tree))
    assert loaded.apps is UNSET
    assert loaded.groups == ()
    assert "apps" not in json.loads(snapshot.dumps(loaded))


def test_dangling_references_load() -> None:
    tree = copy.deepcopy(GOOD)
    tree["role_assignments"][0]["scope"] = {"kind": "management_scope", "name": "gone"}
    tree["groups"][0]["members"] = ["nobody", "nobody"]
    assert snapshot.loads(_bytes(tree)).groups[0].members == ("nobody", "nobody")  # type: ignore[union-attr,index] # it is there


def test_an_alias_on_two_recipients_loads() -> None:
    tree = copy.deepcopy(GOOD)
    other = {
        "guid": "n",
        "external_directory_object_id": None,
        "primary_smtp_address": "n@x",
        "distinguished_name": "CN=n",
    }
    tree["recipients"].append({**tree["recipients"][0], **other})
    assert len(snapshot.loads(_bytes(tree)).recipients) == 2  # type: ignore[arg-type] # it is there


def test_lists_in_attributes_are_tuples() -> None:
    tree = copy.deepcopy(GOOD)
    tree["recipients"][0]["attributes"] = {"ExtensionCustomAttribute1": ["a", "b"]}
    loaded = snapshot.loads(_bytes(tree))
    assert loaded.recipients[0].attributes == {"ExtensionCustomAttribute1": ("a", "b")}  # type: ignore[union-attr,index] # it is there


@pytest.mark.parametrize(
    ("once", "path"),
    [
        ('"unread": []', "$.unread"),
        ('"permission": "Mail.Read"', "$.apps[0].consents[0].permission"),
        ('"Department": "Sales"', "$.recipients[0].attributes.Department"),
        ('"kind": "organization"', "$.role_assignments[0].scope.kind"),
    ],
)
def test_a_key_given_twice_in_a_file_that_is_good_otherwise(once: str, path: str) -> None:
    text = _bytes(GOOD).decode()
    assert once in text
    with pytest.raises(BadInput) as caught:
        snapshot.loads(text.replace(once, f"{once}, {once}", 1).encode())
    assert caught.value.message == f"{path}: is given twice"


def test_a_byte_order_mark_is_no_error() -> None:
    assert snapshot.loads(b"\xef\xbb\xbf" + _bytes(GOOD)) == snapshot.loads(_bytes(GOOD))


def test_a_nul_loads_and_a_lone_surrogate_does_not() -> None:
    tree = copy.deepcopy(GOOD)
    tree["apps"][0]["display_name"] = "a\u0000b"
    loaded = snapshot.loads(_bytes(tree))
    assert snapshot.loads(snapshot.dumps(loaded)) == loaded
    text = json.dumps(GOOD).replace('"App"', '"\\ud800"', 1).encode()
    with pytest.raises(BadInput, match=r"^\$\.apps\[0\]\.display_name: .*surrogate"):
        snapshot.loads(text)
    with pytest.raises(BadInput, match="a key"):
        snapshot.loads(json.dumps({**GOOD, "\ud800": 1}).encode())


@pytest.mark.parametrize("data", [b"\xff\xfe{\x00}\x00", b'{"format": "\xed\xa0\x80"}'])
def test_bytes_that_are_not_utf_8(data: bytes) -> None:
    with pytest.raises(BadInput, match="not UTF-8"):
        snapshot.loads(data)


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 200_000])
def test_depth_never_crashes(data: bytes) -> None:
    with pytest.raises(BadInput):
        snapshot.loads(data)


def test_depth_inside_attributes() -> None:
    text = json.dumps(GOOD).replace('"Sales"}', "[" * 100_000 + "]" * 100_000 + "}", 1)
    with pytest.raises(BadInput, match="nested too deeply"):
        snapshot.loads(text.encode())


def test_a_number_of_thousands_of_digits() -> None:
    text = json.dumps(GOOD).replace('"Sales"}', "9" * 10_000 + "}", 1)
    with pytest.raises(BadInput):
        snapshot.loads(text.encode())


def test_digest_is_of_the_meaning_not_of_the_layout() -> None:
    loaded = snapshot.loads(_bytes(GOOD))
    shuffled = snapshot.loads(_bytes(dict(reversed(GOOD.items()))))
    assert snapshot.digest(loaded) == snapshot.digest(shuffled)
    assert re.fullmatch("sha256:[0-9a-f]{64}", snapshot.digest(loaded))
    assert snapshot.digest(msgspec.structs.replace(loaded, groups=())) != snapshot.digest(loaded)


def test_save_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tenant.json"
    loaded = snapshot.loads(_bytes(GOOD))
    snapshot.save(loaded, path)
    assert snapshot.load(path) == loaded

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BadInput, match="No space left"):
        snapshot.save(msgspec.structs.replace(loaded, groups=()), path)
    assert snapshot.load(path) == loaded
    assert [each.name for each in tmp_path.iterdir()] == ["tenant.json"]


def test_load_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"missing\.json cannot be read"):
        snapshot.load(tmp_path / "missing.json")
    path = tmp_path / "bad.json"
    path.write_bytes(b"{}")
    with pytest.raises(BadInput, match=r"bad\.json: \$\.format: is missing"):
        snapshot.load(path)
