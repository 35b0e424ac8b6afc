"""Templates: PowerShell files in which every ``{{ name }}`` becomes one literal, and nothing else can be filled in.

The Jinja environment has no filters, no tests and no globals; a template that holds anything but text, names, fixed
values, ``+`` and ``include`` does not load. An unknown or unused value is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exoscope.outcome import BadInput
from exoscope.powershell.literals import LiteralError, Verbatim, literal

if TYPE_CHECKING:
    from jinja2 import Environment

SUFFIX = ".ps1.j2"
_GLUED = re.compile(r"(-[A-Za-z][A-Za-z0-9]*) \Z")
_IN_LIST = re.compile(r"@\([^()\n]*\Z")


class TemplateError(BadInput):
    """The template is not there, is not of the allowed form, or was given other values than its own."""

    code = "bad-template"


@cache
def template_dir() -> Path:
    """The folder of the templates: beside the package in a wheel, at the repository root in a source tree.

    Raises TemplateError when it is in neither place, or in both: which one counts would be a guess.
    """
    return find_template_dir(Path(__file__).resolve().parent.parent)


def find_template_dir(package: Path) -> Path:
    """:func:`template_dir` for a package at this path."""
    candidates = [package / "ps_templates"]
    if package.parent.name == "toolkit":
        candidates.append(package.parent.parent / "ps_templates")
    found = [each for each in candidates if each.is_dir()]
    if len(found) != 1:
        raise TemplateError(
            "the folder ps_templates is " + ("in two places" if found else "missing"),
            next="Install exoscope again; ps_templates lies beside the package or at the root of its source tree.",
        )
    return found[0]


def templates() -> tuple[str, ...]:
    """The names of all templates, such as ``rbac/new_management_scope``; parts that others include are not among them."""
    root = template_dir()
    return tuple(
        sorted(
            path.relative_to(root).as_posix().removesuffix(SUFFIX)
            for path in root.rglob(f"*{SUFFIX}")
            if not path.name.startswith("_")
        )
    )


def template_values(template: str) -> frozenset[str]:
    """The names of the values that a template takes."""
    return _names(_environment(template_dir()), template)


def cmdlet_names() -> tuple[str, ...]:
    """The Exchange cmdlets that the templates use, those of the connection itself apart: what a session must import."""
    words = (
        re.findall(r"(?m)^([A-Z][A-Za-z]+-[A-Za-z]+)", (template_dir() / (name + SUFFIX)).read_text(encoding="utf-8"))
        for name in templates()
        if not name.startswith("session/")
    )
    return tuple(sorted({word for found in words for word in found}))


def sample_values(template: str) -> dict[str, Any]:
    """Plausible values of every template, for tests and documents."""
    samples: dict[str, dict[str, Any]] = json.loads((template_dir() / "samples.json").read_text(encoding="utf-8"))
    if template not in samples:
        raise TemplateError(f"there are no sample values for a template {template}")
    return samples[template]


def render(template: str, values: Mapping[str, object]) -> str:
    """The script of a template. ``values`` are exactly the template's (:func:`template_values`).

    Raises TemplateError for an unknown template or other values, LiteralError for a value without a literal.
    """
    environment = _environment(template_dir())
    names = _names(environment, template)
    if names != set(values):
        different = ", ".join(sorted(names ^ set(values)))
        raise TemplateError(f"{template} takes other values than it was given: {different}")
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return _join(environment.get_template(template + SUFFIX).generate(lists))


def _join(pieces: Iterable[str]) -> str:
    text = ""
    for piece in pieces:
        if isinstance(piece, Verbatim) and not _IN_LIST.search(text):
            glued = _GLUED.search(text)
            if glued is None:
                raise LiteralError("the value --% can stand only right after its parameter's name")
            text = f"{text[: glued.start()]}{glued.group(1)}:"
        text += piece
    return text


@cache
def _environment(root: Path) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(root),
        undefined=StrictUndefined,
        finalize=_finalize,
        autoescape=False,  # noqa: S701 - PowerShell, not HTML: finalize makes every value a PowerShell literal
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    environment.filters.clear()
    environment.tests.clear()
    environment.globals.clear()
    return environment


def _finalize(value: object) -> str:
    from jinja2 import Undefined

    if isinstance(value, Undefined):
        str(value)  # StrictUndefined raises here, naming what is missing
    return literal(value)


def _names(environment: Environment, template: str) -> frozenset[str]:
    path = template_dir() / (template + SUFFIX)
    if ".." in template or not path.is_file():
        raise TemplateError(f"there is no template {template}")
    return _names_in(environment, template, path.stat().st_mtime_ns)


@cache
def _names_in(environment: Environment, template: str, changed: int) -> frozenset[str]:
    """The value names of a template and its parts, once it was seen to hold nothing that is not allowed."""
    from jinja2 import TemplateError as JinjaError
    from jinja2 import nodes

    allowed = (
        nodes.Template,
        nodes.Output,
        nodes.TemplateData,
        nodes.Name,
        nodes.Const,
        nodes.List,
        nodes.Add,
        nodes.Include,
    )
    source = (template_dir() / (template + SUFFIX)).read_text(encoding="utf-8")
    try:
        tree = environment.parse(source)
    except JinjaError as error:
        raise TemplateError(f"{template}: {error}") from None
    found: set[str] = set()
    for node in (tree, *tree.find_all(nodes.Node)):
        if not isinstance(node, allowed):
            raise TemplateError(f"{template}: a template may not hold {type(node).__name__}")
        if isinstance(node, nodes.Name):
            found.add(node.name)
        if isinstance(node, nodes.Include):
            if not isinstance(node.template, nodes.Const) or not str(node.template.value).endswith(SUFFIX):
                raise TemplateError(f"{template}: an include names one file")
            found |= _names(environment, str(node.template.value).removesuffix(SUFFIX))
    return frozenset(found)
