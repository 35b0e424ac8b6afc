"""The distribution as a stranger gets it: built, installed outside the clone, every template rendered and guarded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

RENDER_AND_GUARD = """
import json, pathlib, subprocess, sys
import exoscope
from exoscope.powershell import render_guarded, sample_values, templates
assert "site-packages" in exoscope.__file__, exoscope.__file__
out = pathlib.Path(sys.argv[1])
names = templates()
for name in names:
    script = render_guarded(name, sample_values(name))
    (out / (name.replace("/", "-") + ".ps1")).write_text(script.text, encoding="utf-8")
print(len(names))
"""


def python_of(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fresh_environment(folder: Path) -> Path:
    """An environment that sees the dependencies installed here, but not this clone: nested .pth files are not followed."""
    venv.create(folder, with_pip=True)
    site = subprocess.run(
        [python_of(folder), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python_of(folder)


def run(*arguments: object, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "EXOSCOPE"))}
    done = subprocess.run(
        [str(word) for word in arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy_of_the_source(to: Path) -> Path:
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "Makefile",
        "constraints.txt",
    ):
        to.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, to / name)
    for name in ("toolkit", "ps_templates", "docs"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    (to / "tests").mkdir()
    return to


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_source(tmp_path_factory.mktemp("source") / "clone")


@pytest.mark.timeout(300)
def test_the_wheel_works_outside_the_clone(source: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "dist", cwd=source)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert list((tmp_path / "dist").glob("*.tar.gz")), "the sdist is built too"
    python = fresh_environment(tmp_path / "environment")
    run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
        wheel,
        cwd=tmp_path,
    )

    scripts = tmp_path / "scripts"
    scripts.mkdir()
    count = int(run(python, "-c", RENDER_AND_GUARD, scripts, cwd=tmp_path))
    files = sorted(scripts.iterdir())
    assert count == len(files) > 40
    explained = run(python, "-m", "exoscope", "guard", "--json", *files, cwd=tmp_path).splitlines()
    assert len(explained) == count
    assert not [line for line in explained if '"refused"' in line]
    assert "exoscope 0." in run(python.with_name("exoscope"), "--version", cwd=tmp_path)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_an_edited_template_is_seen_under_an_editable_install(source: Path, tmp_path: Path) -> None:
    python = fresh_environment(tmp_path / "environment")
    run(
        python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check",
        "--editable", source, cwd=tmp_path,
    )  # fmt: skip
    name = "rbac/remove_management_scope"
    show = f"from exoscope.powershell import render, sample_values; print(render({name!r}, sample_values({name!r})))"
    before = run(python, "-c", show, cwd=tmp_path)
    template = source / "ps_templates" / "rbac" / "remove_management_scope.ps1.j2"
    text = template.read_text(encoding="utf-8")
    try:
        template.write_text("# edited just now\n" + text, encoding="utf-8")
        after = run(python, "-c", show, cwd=tmp_path)
    finally:
        template.write_text(text, encoding="utf-8")
    assert "edited just now" not in before
    assert "edited just now" in after
