"""Writes docs/schemas, JSON Schema (2020-12) of every file and answer: ``python tests/schemas.py``. A test compares.

Add a file or an answer to FILES or ANSWERS and run it. Files refuse unknown keys; answers may gain keys in later versions, so
their schemas allow them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from exoscope.checking import StageAnswer
from exoscope.checking.connector import ConnectorCheck
from exoscope.checking.handover import HandOver
from exoscope.checking.passes import Pass
from exoscope.checking.seen import DoctorAnswer
from exoscope.checking.sharing import SharedAnswer
from exoscope.entra.whoami import LogoutAnswer, WhoAnswer
from exoscope.jobs import ScopeAnswer
from exoscope.model import PlanFile, Proof, Snapshot, Tenant, Unread
from exoscope.planning.answer import MigrateAnswer, PlanAnswer, ShownAnswer
from exoscope.planning.by_hand import ByHand
from exoscope.reach import MailboxAnswer, ReachAnswer, Story
from exoscope.recipes import Recipe
from exoscope.rehearsing.demo import DemoAnswer
from exoscope.rehearsing.rehearse import Rehearsal
from exoscope.reporting.evidence import Evidence
from exoscope.running.answer import AdvanceAnswer, RunAnswer, RunLine
from exoscope.running.credential_answers import CredentialsAnswer, MadeAnswer, RemovedAnswer
from exoscope.twin.server import Ready

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "schemas"

FILES: dict[str, tuple[type, str]] = {
    "snapshot": (Snapshot, "A tenant as read at one time: the file of exoscope snapshot"),
    "plan-file": (PlanFile, "plan.json: the file of exoscope plan"),
    "contact": (Pass, "A first contact that was passed, in the state folder"),
    "doctor-shared": (SharedAnswer, "The file of exoscope doctor --share"),
    "evidence": (Evidence, "The JSON beside the page of exoscope verify --evidence"),
}


class ErrorDetail(msgspec.Struct):
    """What happened, whether a tenant was changed, and what to do next. Codes are stable."""

    code: str
    message: str
    changed: bool
    next: str


class ErrorAnswer(msgspec.Struct):
    """What any command prints with --json when it fails and has no answer of its own."""

    error: ErrorDetail


class SnapshotAnswer(msgspec.Struct):
    """Where the file is, whose it is, its digest, how many of what were read, and what could not be."""

    file: str
    tenant: Tenant
    digest: str
    counts: dict[str, int]
    unread: list[Unread]


class RecipesAnswer(msgspec.Struct):
    """Every recipe, by name."""

    recipes: list[Recipe]


class RunsAnswer(msgspec.Struct):
    """Every run, oldest first."""

    runs: list[RunLine]


class Operation(msgspec.Struct):
    """One cmdlet with its parameters by name; a switch alone is true."""

    cmdlet: str
    parameters: dict[str, Any]


class GuardRequest(msgspec.Struct):
    """One Graph call of a script that exoscope wrote; ``path`` is relative to the version root."""

    method: str
    path: str
    body: dict[str, Any] | None


class ScriptFile(msgspec.Struct):
    """One file that was written: its name, its stage, and what it talks to (``exchange``, ``graph``, or ``app``: Graph as an app).

    ``stands``: the plan's run knows all its steps as done. ``fills``: what stands in it where the plan has holes.
    """

    file: str
    stage: str
    part: str
    stands: bool | msgspec.UnsetType = msgspec.UNSET
    fills: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class ScriptLeftOut(msgspec.Struct):
    """One file that cannot be written yet, and why."""

    file: str
    stage: str
    why: str


class ScriptAnswer(msgspec.Struct):
    """The plan's hash (null: no plan), the files in the order in which they run, and those that cannot be written yet.

    ``run``: the plan's run, whose values stand in the files (null: none). With ``--undo`` the plan is that of the way back, and
    ``undo_plan`` the file that holds it (null: none was written).
    """

    plan: str | None
    files: list[ScriptFile]
    left_out: list[ScriptLeftOut]
    run: str | msgspec.UnsetType | None = msgspec.UNSET
    undo_plan: str | msgspec.UnsetType | None = msgspec.UNSET


class GuardAnswer(msgspec.Struct):
    """One line a file: ``pipelines`` where it is understood; else ``refused`` with ``line`` and ``column`` from 1.

    ``requests`` stands beside the pipelines of a file that exoscope script wrote.
    """

    file: str
    pipelines: list[list[Operation]] | msgspec.UnsetType = msgspec.UNSET
    requests: list[GuardRequest] | msgspec.UnsetType = msgspec.UNSET
    refused: str | msgspec.UnsetType = msgspec.UNSET
    line: int | msgspec.UnsetType = msgspec.UNSET
    column: int | msgspec.UnsetType = msgspec.UNSET


ANSWERS: dict[str, tuple[type, str]] = {
    "doctor": (DoctorAnswer, "exoscope doctor --json"),
    "reach": (ReachAnswer, "exoscope reach --app --permission --json"),
    "reach-mailbox": (MailboxAnswer, "exoscope reach --mailbox --json"),
    "explain": (Story, "exoscope explain --json"),
    "guard": (GuardAnswer, "exoscope guard --json: one line a file"),
    "snapshot-answer": (SnapshotAnswer, "exoscope snapshot --json"),
    "plan": (PlanAnswer, "exoscope plan --json"),
    "advance": (AdvanceAnswer, "exoscope migrate --advance --json"),
    "migrate": (MigrateAnswer, "exoscope migrate --json"),
    "show": (ShownAnswer, "exoscope show --json"),
    "scope": (ScopeAnswer, "exoscope scope --json"),
    "show-entra": (ByHand, "exoscope show --for entra --json"),
    "script": (ScriptAnswer, "exoscope script --json"),
    "run": (RunAnswer, "exoscope apply, resume, undo and status --json"),
    "runs": (RunsAnswer, "exoscope runs --json"),
    "sandbox": (Ready, "The line exoscope sandbox serve prints when it is ready"),
    "demo": (DemoAnswer, "exoscope demo --json"),
    "rehearse": (Rehearsal, "exoscope rehearse --json"),
    "credentials-list": (CredentialsAnswer, "exoscope credentials list --json"),
    "credentials-made": (MadeAnswer, "exoscope credentials add and rotate --json"),
    "credentials-removed": (RemovedAnswer, "exoscope credentials remove --json"),
    "verify": (Proof, "exoscope verify --json"),
    "recipes": (RecipesAnswer, "exoscope recipes --json"),
    "recipe": (Recipe, "exoscope recipes NAME --json"),
    "handover": (HandOver, "exoscope handover --format json"),
    "check": (ConnectorCheck, "exoscope check --json"),
    "whoami": (WhoAnswer, "exoscope login and whoami --json"),
    "logout": (LogoutAnswer, "exoscope logout --json"),
    "verify-stage": (StageAnswer, "exoscope verify --stage --json"),
    "error": (ErrorAnswer, "a failure of any command with --json"),
}


def schemas() -> dict[str, dict[str, Any]]:
    """Name → schema, of all files and answers."""
    found = {}
    for name, (kind, title) in {**FILES, **ANSWERS}.items():
        schema = msgspec.json.schema(kind, ref_template="#/$defs/{name}")
        if name in ANSWERS:
            _open(schema)
        if name == "snapshot":
            # Values of attributes are Any to the type checker only; the loader is stricter, and so is the schema.
            texts = {"type": "array", "items": {"type": "string"}}
            value = {"anyOf": [{"type": "string"}, {"type": "boolean"}, {"type": "number"}, texts]}
            schema["$defs"]["Recipient"]["properties"]["attributes"]["additionalProperties"] = value
        found[name] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}
    return found


def text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _open(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("additionalProperties") is False:
            del node["additionalProperties"]
        for value in node.values():
            _open(value)
    elif isinstance(node, list):
        for value in node:
            _open(value)


if __name__ == "__main__":
    for name, schema in schemas().items():
        (FOLDER / f"{name}.schema.json").write_text(text(schema), encoding="utf-8")
