"""docs/schemas say what the code does: files compare with what the types give, and real documents are valid."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from exoscope import snapshot
from exoscope.reach import Reach
from reach_cases import APP_ID, address, build
from schemas import ANSWERS, FILES, FOLDER, schemas, text

SCHEMAS = schemas()


@pytest.mark.parametrize("name", [*FILES, *ANSWERS])
def test_the_file_is_what_the_types_give(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    path = FOLDER / f"{name}.schema.json"
    assert path.read_text(encoding="utf-8") == text(SCHEMAS[name]), "run: python tests/schemas.py"


def test_no_schema_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.schema.json" for name in {**FILES, **ANSWERS}}


def _errors(name: str, document: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMAS[name]).iter_errors(document)]


def test_the_sample_tenant_is_valid() -> None:
    data = resources.files("exoscope").joinpath("data/sample_tenant.json").read_bytes()
    assert _errors("snapshot", json.loads(data)) == []


def test_what_the_loader_refuses_the_schema_refuses() -> None:
    good = json.loads(snapshot.dumps(build({})))
    assert _errors("snapshot", good) == []
    assert _errors("snapshot", {**good, "wishes": []})
    good["recipients"][0]["attributes"]["Department"] = None
    assert _errors("snapshot", good)


def test_what_guard_says(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.ps1", tmp_path / "bad.ps1"
    good.write_text("Get-ServicePrincipal -Identity 'x' | Select-Object -Property @('AppId')\n", encoding="utf-8")
    bad.write_text("whoami\n", encoding="utf-8")
    words = [sys.executable, "-m", "exoscope", "guard", str(good), str(bad), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert ["refused" in line for line in lines] == [False, True]
    for line in lines:
        assert _errors("guard", line) == []


def test_answers_may_gain_keys() -> None:
    reach = Reach(build({"consents": ["Mail.Read"]}))
    for name, answer in (
        ("reach", reach.of(APP_ID, "Mail.Read").document()),
        ("reach-mailbox", reach.on(address("ada"))),
        ("explain", reach.explain(APP_ID, "Mail.Read", address("ada"))),
    ):
        document = json.loads(msgspec.json.encode(answer))
        assert _errors(name, document) == []
        assert _errors(name, {**document, "new": 1}) == []
        document.pop("findings")
        assert _errors(name, document)
