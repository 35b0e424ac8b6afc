"""Whole scripts, mutated: what our strict reader accepts must mean the same to every other reader that accepts it."""

from __future__ import annotations

import random

import yaml

from exoscope.powershell import literal, render, sample_values, templates
from fuzz import TESTS
from powershell_oracles import engine_views, mutate, reader_view, tree_sitter_view

HOSTILE_TEXTS = ("--%", "it's ‘so’ ‚‛", "a’; Remove-Y -Id b #", "#>", "`$(x)`", "-2", "5kb", "😀\u00a0\u2028", "")
AT_ONCE = 4000


def seeds() -> list[str]:
    """Scripts to begin from: every template with sample values, and the table of good scripts."""
    good = yaml.safe_load((TESTS / "data" / "guard_good.yaml").read_text(encoding="utf-8"))
    found = [render(name, sample_values(name)) for name in templates()]
    found += [case["script"] for case in good.values()]
    found += [f"Get-Recipient -Identity:{literal(text)} -Filter:{literal(text)}" for text in HOSTILE_TEXTS]
    return found


def differ(scripts: list[str], program: str | None) -> tuple[list[str], int, int]:
    """Differences between the readers, in words; how many scripts ours accepted; how many tree-sitter accepted too."""
    accepted = [(script, view) for script in scripts if (view := reader_view(script)) is not None]
    problems = []
    both = 0
    for script, view in accepted:
        other = tree_sitter_view(script)
        both += other is not None
        if other is not None and other != view:
            problems.append(f"tree-sitter reads {script!r} as {other}, we as {view}")
    if program:
        for (script, view), other in zip(accepted, engine_views(program, [each for each, _ in accepted]), strict=True):
            if other != view:
                problems.append(f"PowerShell reads {script!r} as {other}, we as {view}")
    return problems, len(accepted), both


def check(seed: int, count: int, program: str | None) -> tuple[list[str], str]:
    """``count`` mutations: the differences of the first part that has some, and what was seen, in a sentence."""
    rng = random.Random(seed)  # noqa: S311 - a seed that can be repeated, not a secret
    base = seeds()
    problems: list[str] = []
    accepted = both = done = 0
    while done < count and not problems:
        size = min(AT_ONCE, count - done)
        problems, some, some_both = differ([mutate(rng.choice(base), base, rng) for _ in range(size)], program)
        accepted, both, done = accepted + some, both + some_both, done + size
    return problems, f"{done:,} mutated scripts, {accepted:,} accepted by us, {both:,} of them by tree-sitter too"
