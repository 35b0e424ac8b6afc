"""Hostile values through the real templates and the guard, and what the guard read held against PowerShell's own parser."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

from exoscope.outcome import GuardRefused
from exoscope.powershell import LiteralError, Operation, Script, literal, read, render_guarded, sample_values, templates
from fuzz.values import carried, quoted
from powershell_oracles import ABSENT, engine_views, tag

LISTED = 120  # values in one list
AT_ONCE = 200  # scripts that PowerShell reads in one process

Values = dict[str, Any]


class Found:
    """What came of the values: how many of each fate, what else was tried with them, and what went wrong (empty: nothing)."""

    def __init__(self) -> None:
        self.fates: Counter[str] = Counter()
        self.tried: Counter[str] = Counter()
        self.problems: list[str] = []

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.fates.values())

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} {what}" for what, count in (self.fates + self.tried).most_common())
        return f"{self.count:,} values: {told}"


def slots() -> dict[str, Values]:
    """The templates that take texts, with their sample values: each text and each list of texts is a place for values."""
    found = {name: sample_values(name) for name in templates()}
    return {name: values for name, values in found.items() if any(isinstance(v, str | list) for v in values.values())}


def check(values: Iterator[str], count: int, program: str | None) -> Found:
    """Send at least ``count`` values through every template in turn, many to a script; without a ``program`` PowerShell is not
    asked. A value that XML cannot carry must be refused, every other one must be read back unchanged.
    """
    found = Found()
    writer = _Writer(values, found)
    scripts: list[tuple[str, list[Any]]] = []
    while found.count < count or scripts:
        scripts.append(writer.script())
        if len(scripts) == AT_ONCE or found.count >= count:
            if program:
                found.problems.extend(differences(program, scripts))
            scripts = []
    return found


class _Writer:
    """Takes values one by one: those that must be refused are seen to be; the others fill scripts."""

    def __init__(self, values: Iterator[str], found: Found) -> None:
        self._found = found
        self._good = self._sorted(values)
        self._slots = slots()

    def script(self) -> tuple[str, list[Any]]:
        """One script of all templates, and what PowerShell must read in it."""
        text, view = "", []
        for template, sample in self._slots.items():
            values = {name: self._filled(value) for name, value in sample.items()}
            try:
                done = render_guarded(template, values)
            except (LiteralError, GuardRefused) as error:
                self._found.problems.append(f"{template} refused {values!r}: {error.message}")
                continue
            self._held(template, values, done)
            text += done.text
            view += view_of(done)
        return text, view

    def _filled(self, sample: Any) -> Any:
        if isinstance(sample, str):
            # an identity of blanks alone is refused, for it would mean every object: such values go into lists
            return next(value for value in self._good if value.strip())
        if isinstance(sample, list):
            # Select-Object takes no name twice, whatever its case
            return list({value.casefold(): value for value in itertools.islice(self._good, LISTED)}.values())
        return sample

    def _sorted(self, values: Iterator[str]) -> Iterator[str]:
        for value in values:
            if carried(value):
                self._found.fates["unchanged"] += 1
                yield value
            else:
                self._refused(value)

    def _refused(self, value: str) -> None:
        """Neither the writer nor the reader lets it pass, wherever it stands."""
        self._found.fates["refused"] += 1
        for write in (
            lambda: literal(value),
            lambda: literal(["a", value]),
            lambda: literal({value: "a"}),
            lambda: render_guarded("rbac/remove_management_scope", {"name": value}),
            lambda: read(f"Get-Group -Filter {quoted(value)}"),
        ):
            try:
                write()
            except (LiteralError, GuardRefused):
                continue
            self._found.problems.append(f"{value!r} was not refused")

    def _held(self, template: str, values: Values, done: Script) -> None:
        """Each value stands among those that the guard read. That nothing else does is what the guard itself compares."""
        seen: set[object] = set()
        for operation in itertools.chain.from_iterable(done.pipelines):
            for each in operation.parameters.values():
                seen |= {each, *each} if isinstance(each, tuple) else {each} if isinstance(each, str) else set()
        given = {each for value in values.values() for each in (value if isinstance(value, list) else [value])}
        lost = {each for each in given if isinstance(each, str)} - seen
        if lost:
            self._found.problems.append(f"{template} lost {lost!r}")


def view_of(script: Script) -> list[Any]:
    """A guarded script as the readers of ``powershell_oracles`` tell it, a switch alone as true."""
    return [[_command(each) for each in pipeline] for pipeline in script.pipelines]


def _command(operation: Operation) -> tuple[Any, ...]:
    return operation.cmdlet, tuple((name, tag(value)) for name, value in operation.parameters.items())


def differences(program: str, scripts: list[tuple[str, list[Any]]]) -> list[str]:
    """Scripts that PowerShell does not read as what stands beside them, in words."""
    views = engine_views(program, [text for text, _ in scripts])
    return [
        f"PowerShell reads otherwise than we do: {text!r}"
        for (text, ours), theirs in zip(scripts, views, strict=True)
        if theirs is None or [[_switched(command) for command in pipeline] for pipeline in theirs] != ours
    ]


def _switched(command: tuple[Any, ...]) -> tuple[Any, ...]:
    name, arguments = command
    return name, tuple((each, ("c", "true") if value == ABSENT else value) for each, value in arguments)
