"""``python -m tests.fuzz``: the strict reader against tree-sitter and, where there is one, PowerShell's own parser,
for long.

Scripts that our reader accepts must mean the same to every other reader that accepts them; PowerShell must accept
them all.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

import yaml

if __package__:  # run as a module from the root of the repository; under pytest the folder itself is on the path
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from exoscope.powershell import literal, render, sample_values, templates
from powershell_oracles import engine_views, mutate, pwsh, reader_view, tree_sitter_view

DATA = Path(__file__).resolve().parent / "data"
HOSTILE_TEXTS = ("--%", "it's ‘so’ ‚‛", "a’; Remove-Y -Id b #", "#>", "`$(x)`", "-2", "5kb", "😀\u00a0\u2028", "")


def seeds() -> list[str]:
    """Scripts to begin from: every template with sample values, and the table of good scripts."""
    good = yaml.safe_load((DATA / "guard_good.yaml").read_text(encoding="utf-8"))
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


def main() -> int:
    """Run until the count is reached; exit 1 with the first differences."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("--count", type=int, default=200_000)
    chosen = options.parse_args()
    program = pwsh()
    print(f"seed {chosen.seed}, {chosen.count} mutations, PowerShell: {program or 'none (set EXOSCOPE_PWSH)'}")
    rng = random.Random(chosen.seed)  # noqa: S311 - a seed that can be repeated, not a secret
    base = seeds()
    accepted = both = done = 0
    while done < chosen.count:
        size = min(4000, chosen.count - done)
        problems, some, some_both = differ([mutate(rng.choice(base), base, rng) for _ in range(size)], program)
        accepted, both, done = accepted + some, both + some_both, done + size
        if problems:
            print("\n".join(problems[:5]))
            return 1
    print(f"{done} scripts: {accepted} accepted by us, {both} of them by tree-sitter too; no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
