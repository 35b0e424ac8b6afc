"""docs/answers.md has every stable code that the code can give, and every key of every answer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

import pytest

from docs_pages import ROOT, text_of
from exoscope.planning.scoped import CODES
from exoscope.reach.findings import ANSWER_CODES, APP_CODES
from schemas import ANSWERS, FILES, schemas

PACKAGE = ROOT / "toolkit" / "exoscope"
PAGE = text_of("docs/answers.md")
CODE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SAY_A_CODE = {"Denied", "Refusal", "AppStops", "Cause", "Finding", "_finding", "_json_error"}
"""Calls whose first argument is a code."""


def strings(node: ast.expr | None, named: Mapping[str, str]) -> Iterator[str]:
    """The texts that an expression may be: a literal, a constant of the file, or either side of a choice."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.Name) and node.id in named:
        yield named[node.id]
    elif isinstance(node, ast.IfExp):
        yield from strings(node.body, named)
        yield from strings(node.orelse, named)


def constants(tree: ast.Module) -> dict[str, str]:
    """The file's own constants that are texts."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def codes_in(tree: ast.Module) -> Iterator[str]:
    """Every literal that stands where a code is given: arguments, attributes and constants."""
    named = constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in SAY_A_CODE and node.args:
                yield from strings(node.args[0], named)
            if name == "nobody_knows":
                yield from strings(node.args[1], named)
            if name == "GateProof":
                for extra in node.args[3:]:
                    yield from strings(extra, named)
            for keyword in node.keywords:
                if keyword.arg == "code":
                    yield from strings(keyword.value, named)
        elif isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id in ("code", "EVIDENCE_UNKNOWN", "UNDONE", "INTERRUPTED")
            for target in node.targets
        ):
            yield from strings(node.value, named)
        elif isinstance(node, ast.BoolOp) and "code" in ast.dump(node.values[0]):
            yield from strings(node.values[-1], named)


def collected() -> dict[str, set[str]]:
    """Code → the files that give it. The twin's are its services' codes, not ours."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] == "twin":
            continue
        for code in codes_in(ast.parse(path.read_text(encoding="utf-8"))):
            if CODE.fullmatch(code):
                found.setdefault(code, set()).add(str(place))
    return found


COLLECTED = collected()
TABLED = set(re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, re.MULTILINE))
"""Codes that have a row of their own."""


def test_the_collector_sees_what_it_should() -> None:
    assert {"group-missing", "moved", "graph-denied", "policy-invalid", "locked", "usage", "not-found"} <= set(
        COLLECTED
    )
    assert {"proof-failed", "baseline-differs", "policy-missing", "evidence-unknown", "undone"} <= set(COLLECTED)


@pytest.mark.parametrize("code", sorted(set(COLLECTED) | set(CODES) | APP_CODES | ANSWER_CODES))
def test_every_code_has_its_row(code: str) -> None:
    assert code in TABLED, f"docs/answers.md has no row for {code}, given in {COLLECTED.get(code)}"


def test_no_row_is_about_a_code_that_nothing_gives() -> None:
    section = PAGE.split("## Codes", 1)[1]
    rows = set(re.findall(r"^\| `([a-z0-9-]+)` \|", section, re.MULTILINE))
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert {code for code in rows if f'"{code}"' not in source} == set()


def keys_of(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, value in schema.get("properties", {}).items():
            yield name
            yield from keys_of(value)
        for name, value in schema.items():
            if name != "properties":
                yield from keys_of(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from keys_of(value)


SNAPSHOT_KEYS = set(keys_of(schemas()["snapshot"]))
"""Explained by the nouns of the tenant they are named after, in the schema; docs/snapshot.md says what an admin needs."""


@pytest.mark.parametrize("name", [name for name in [*FILES, *ANSWERS] if name != "snapshot"])
def test_every_key_of_an_answer_is_explained(name: str) -> None:
    page = set(re.findall(r"`([A-Za-z_]+)`", PAGE))
    missing = set(keys_of(schemas()[name])) - page - SNAPSHOT_KEYS
    assert not missing, f"docs/answers.md says nothing of {sorted(missing)} ({name})"


@pytest.mark.parametrize("name", [*FILES, *ANSWERS])
def test_every_schema_is_linked(name: str) -> None:
    assert f"(schemas/{name}.schema.json)" in PAGE


def test_links_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links {target}"


def test_anchors_are_headings() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text(encoding="utf-8")):
            text = (page.parent / target if target else page).read_text(encoding="utf-8")
            assert anchor in {_anchor(line) for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}, (
                f"{page.name} links {target}#{anchor}"
            )


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
