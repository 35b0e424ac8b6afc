"""Templates: the rules that hold over all of them, the renderer's limits, the guard over what is rendered."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from exoscope.outcome import GuardRefused
from exoscope.powershell import (
    LiteralError,
    Operation,
    TemplateError,
    cmdlet_names,
    guard,
    guarding,
    read,
    render,
    render_guarded,
    rendering,
    sample_values,
    template_dir,
    template_values,
    templates,
)
from exoscope.powershell.rendering import find_template_dir

TABLE: dict[str, Any] = json.loads(files("exoscope").joinpath("data/cmdlets.json").read_text(encoding="utf-8"))
ALL = templates()


def operations(template: str) -> list[Operation]:
    return [each for pipeline in render_guarded(template, sample_values(template)).pipelines for each in pipeline]


@pytest.mark.parametrize("template", ALL)
def test_every_parameter_exists_and_the_rules_hold(template: str) -> None:
    for operation in operations(template):
        if operation.cmdlet == "Select-Object":
            assert set(operation.parameters) == {"Property"}
            continue
        known = TABLE[operation.cmdlet]["parameters"]
        assert set(operation.parameters) <= set(known)
        if "Confirm" in known:
            assert operation.parameters["Confirm"] is False
        if "ResultSize" in known:
            size = operation.parameters["ResultSize"]
            if template.startswith("contact/"):  # examples: nothing is decided from how many there are
                assert isinstance(size, int) and 1 <= size <= 100
            else:
                assert size == "Unlimited"
        if "BypassSecurityGroupManagerCheck" in known:
            assert operation.parameters["BypassSecurityGroupManagerCheck"] is True
        assert "ServiceId" not in operation.parameters
        if operation.cmdlet == "New-DistributionGroup":
            assert operation.parameters["Type"] == "Security"
        if "Resource" in operation.parameters:
            assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(operation.parameters["Resource"]))


@pytest.mark.parametrize("template", ALL)
def test_header_says_what_it_does_and_what_it_needs(template: str) -> None:
    first, second, *rest = (template_dir() / f"{template}.ps1.j2").read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"# [A-Z].*\.", first)
    assert re.fullmatch(r"# Needs: .+", second)
    assert not any("#" in line for line in rest)
    assert "{{" not in first + second


@pytest.mark.parametrize("template", ALL)
def test_values_are_exactly_the_templates(template: str) -> None:
    values = sample_values(template)
    assert template_values(template) == set(values)
    with pytest.raises(TemplateError, match="unwanted"):
        render(template, {**values, "unwanted": "x"})
    for name in values:
        with pytest.raises(TemplateError, match=name):
            render(template, {key: value for key, value in values.items() if key != name})


def test_samples_are_for_templates_that_exist() -> None:
    assert set(json.loads((template_dir() / "samples.json").read_text(encoding="utf-8"))) == set(ALL)


def test_readme_lists_every_template_with_its_values_and_columns() -> None:
    rows = re.findall(
        r"(?m)^\| (\w+/\w+) \| (.*?) \| (.*?) \|$", (template_dir() / "README.md").read_text(encoding="utf-8")
    )
    assert [name for name, _, _ in rows] == list(ALL)
    kinds = {str: "str", bool: "bool", list: "list[str]"}
    for name, values, columns in rows:
        wanted = ", ".join(f"`{key}` {kinds[type(value)]}" for key, value in sample_values(name).items())
        assert sorted(values.split(", ")) == sorted((wanted or "—").split(", "))
        selected = [each.parameters["Property"] for each in operations(name) if each.cmdlet == "Select-Object"]
        fixed = (
            [each for each in selected[0] if each not in sample_values(name).get("properties", [])] if selected else []
        )
        assert columns.removesuffix(", and each of `properties`") == (", ".join(fixed) or "—")


def test_every_cmdlet_of_a_session_is_named() -> None:
    used = {each.cmdlet for name in ALL if not name.startswith("session/") for each in operations(name)}
    assert set(cmdlet_names()) == used - {"Select-Object"}


# -- rendering -----------------------------------------------------------------------------------------------------


def test_stop_parsing_is_glued_to_its_parameter() -> None:
    text = render(
        "rbac/new_role_assignment_management_scope", {"name": "--%", "role": "--%", "app": "a", "scope": "--%x"}
    )
    assert "-Name:'--%' -Role:'--%' -App 'a' -CustomResourceScope '--%x' " in text


def test_stop_parsing_in_a_list_needs_no_colon() -> None:
    values = {**sample_values("groups/new_group_with_members"), "members": ["--%"]}
    (pipeline,) = render_guarded("groups/new_group_with_members", values).pipelines
    assert pipeline[0].parameters["Members"] == ("--%",)


@pytest.mark.parametrize(
    "template", [each for each in ALL if any(isinstance(v, str) for v in sample_values(each).values())]
)
@pytest.mark.parametrize(
    "hostile", ["--%", "’; Remove-Y #", "#>\n#", "a' -Force -X 'b", "{{ 7 * 7 }}", "$(x)`", "@(1)", "exoscope-mark-0"]
)
def test_a_hostile_value_stays_a_value(template: str, hostile: str) -> None:
    values = {key: hostile if isinstance(value, str) else value for key, value in sample_values(template).items()}
    script = render_guarded(template, values)
    # The comments are the template's own, to the letter.
    assert script.text.split("\n")[:2] == render(template, sample_values(template)).split("\n")[:2]
    plain = render_guarded(template, sample_values(template)).pipelines
    assert [[each.cmdlet for each in p] for p in script.pipelines] == [[each.cmdlet for each in p] for p in plain]
    for now, then in zip(sum(script.pipelines, ()), sum(plain, ()), strict=True):
        assert list(now.parameters) == list(then.parameters)
        for name, value in now.parameters.items():
            assert value in (then.parameters[name], hostile)
    assert any(hostile in each.parameters.values() for p in script.pipelines for each in p)


@pytest.mark.parametrize("identity", ["", "  ", None])
def test_an_empty_identity_would_mean_every_object(identity: str | None) -> None:
    with pytest.raises(GuardRefused, match="every object"):
        render_guarded("rbac/remove_role_assignment", {"name": identity})


def test_a_property_twice_is_refused() -> None:
    with pytest.raises(GuardRefused, match="twice"):
        render_guarded("inventory/recipients", {"properties": ["displayname"]})


def test_properties_may_be_a_tuple() -> None:
    one = render_guarded("inventory/recipients", {"properties": ("Department",)})
    assert one == render_guarded("inventory/recipients", {"properties": ["Department"]})


def test_what_cannot_be_carried_is_not_rendered() -> None:
    with pytest.raises(LiteralError):
        render_guarded("rbac/remove_role_assignment", {"name": "a\x00"})
    with pytest.raises(LiteralError):
        render_guarded("rbac/remove_role_assignment", {"name": 1.5})


def test_the_guard_holds_what_was_meant() -> None:
    script = render_guarded("rbac/remove_role_assignment", {"name": "a"})
    assert guard(script.text, script.pipelines) == script.pipelines
    for other in ({"Identity": "b", "Confirm": False}, {"Identity": "a", "Confirm": 0}, {"Identity": "a"}):
        with pytest.raises(GuardRefused, match="meant"):
            guard(script.text, ((Operation("Remove-ManagementRoleAssignment", other),),))
    with pytest.raises(GuardRefused, match="meant"):
        guard(script.text, ())
    with pytest.raises(GuardRefused, match="meant"):
        guard(script.text * 2, script.pipelines)


def test_a_renderer_that_loses_its_quotes_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = guarding.render

    def broken(template: str, values: dict[str, object]) -> str:
        return honest(template, values).replace("''", "'")

    monkeypatch.setattr(guarding, "render", broken)
    with pytest.raises(GuardRefused):
        render_guarded("rbac/remove_role_assignment", {"name": "a' -WhatIf:$true -ErrorAction 'Ignore"})


@pytest.mark.parametrize(
    "body",
    [
        "Get-Group -Identity {{ name|upper }}",
        "{% if name %}Get-Group{% endif %}",
        "{% for x in name %}Get-Group{% endfor %}",
        "{% set x = name %}Get-Group",
        "{% macro m() %}{% endmacro %}Get-Group -Identity {{ m() }}",
        "Get-Group -Identity {{ name.x }}",
        "Get-Group -Identity {{ name['x'] }}",
        "Get-Group -Identity {{ name() }}",
        "Get-Group -Identity {{ name ~ name }}",
        "{% include name %}",
        "{% raw %}{{ name }}{% endraw %}{% filter upper %}x{% endfilter %}",
        "{% extends 'rbac/a.ps1.j2' %}",
        "Get-Group -Identity {{ name",
        "Get-Group -Identity {{ name is defined }}",
    ],
)
def test_a_template_that_could_do_more_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    at(tmp_path, monkeypatch, body)
    with pytest.raises(TemplateError):
        render("rbac/a", {"name": "x"})


def test_a_template_that_puts_a_value_where_stop_parsing_would_act_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(tmp_path, monkeypatch, "Get-Group -Identity 'a', {{ name }}")
    with pytest.raises(LiteralError, match="--%"):
        render("rbac/a", {"name": "--%"})


@pytest.mark.parametrize(
    "body",
    ["# {{ name }}\nGet-Group\n", "<# {{ name }} #> Get-Group\n", "Get-Group -Identity '{{ name }}'\n", "{{ name }}\n"],
)
def test_a_template_that_puts_a_value_elsewhere_is_caught_by_the_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    at(tmp_path, monkeypatch, body)
    with pytest.raises((GuardRefused, TemplateError)):
        render_guarded("rbac/a", {"name": "a\n-Identity #> 'b"})


def at(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    (folder / "rbac").mkdir()
    (folder / "rbac" / "a.ps1.j2").write_text(body, encoding="utf-8")
    monkeypatch.setattr(rendering, "template_dir", lambda: folder)


@pytest.mark.parametrize(
    "name", ["", "rbac/none", "../rbac/remove_role_assignment", "rbac/remove_role_assignment.ps1.j2", "session/connect"]
)
def test_unknown_templates(name: str) -> None:
    with pytest.raises(TemplateError):
        render(name, {})


def test_the_folder_is_found_in_one_place_only(tmp_path: Path) -> None:
    package = tmp_path / "toolkit" / "exoscope"
    package.mkdir(parents=True)
    with pytest.raises(TemplateError, match="missing"):
        find_template_dir(package)
    (tmp_path / "ps_templates").mkdir()
    assert find_template_dir(package) == tmp_path / "ps_templates"
    (package / "ps_templates").mkdir()
    with pytest.raises(TemplateError, match="two places"):
        find_template_dir(package)
    (tmp_path / "ps_templates").rmdir()
    assert find_template_dir(package) == package / "ps_templates"


def test_a_folder_beside_an_installed_package_is_not_taken_for_ours(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "exoscope"
    package.mkdir(parents=True)
    (tmp_path / "ps_templates").mkdir()
    with pytest.raises(TemplateError, match="missing"):
        find_template_dir(package)


def test_read_gives_nothing_for_comments() -> None:
    assert read("# only words") == ()
