"""docs/python-api.md: its script runs as it stands, prints what the page says, and the page lists every public name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import exoscope
from docs_pages import fenced, looks_like, text_of
from exoscope.twin import serve
from twin_fixtures import load_sample

PAGE = text_of("docs/python-api.md")


@pytest.mark.timeout(300)
def test_the_script_runs_and_prints_what_the_page_says(tmp_path: Path) -> None:
    blocks = {block.kind: block.text for block in fenced(PAGE)}
    for kind in ("python", "yaml"):
        name = blocks[kind].splitlines()[0].removeprefix("# ")
        (tmp_path / name).write_text(blocks[kind], encoding="utf-8")

    with serve(load_sample(), propagation=0.5, token_lifetime=5.0) as twin:

        def script(*words: str) -> list[str]:
            done = subprocess.run(
                [sys.executable, "migrate.py", twin.ready["profile"], *words],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=140,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout.splitlines()

        moved = script("scope.yaml", "0.05")
        assert looks_like(tuple(blocks["text"].splitlines()), moved), moved
        run = next(found[1] for line in moved if (found := re.match(r"run (\S+):", line)))
        told = script("back", run, "0.05")
        assert "become reachable again with Mail.Read" in told[0]
        assert re.match(r"undo \S+: done\.", told[-1])
        reach = exoscope.Reach(exoscope.load_snapshot(tmp_path / "tenant.json"))
        with exoscope.Tenant.connect(twin.ready["profile"]) as tenant:
            after = exoscope.Reach(tenant.snapshot(tmp_path / "scope.yaml"))
        assert len(after.of("Sales Insight", "MailboxSettings.Read").allowed) == len(reach.mailboxes)


def test_the_page_lists_every_public_name_and_no_other() -> None:
    tables = PAGE.split("## Names", 1)[1]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", tables, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(exoscope.__all__)
