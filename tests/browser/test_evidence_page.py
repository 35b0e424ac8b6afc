"""The evidence page in a real headless Chromium: what an auditor sees, and that a hostile name stays a name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exoscope.model import AppProof, Check, PermissionProof, Proof, Tenant
from exoscope.outcome import Verdict
from exoscope.reporting import Claim, Evidence, Repeat, tally, to_html, to_json, without_addresses

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("EXOSCOPE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> Ò’s \u202e"
APP = "0f7e2a44-0000-4000-8000-000000000001"


def evidence() -> Evidence:
    checks = (
        Check(
            "ada@contoso.com", "allowed", "allowed", "allowed", "allowed", graph_request_id="req-1", graph_status="200"
        ),
        Check("bob@contoso.com", "denied", "denied", "denied", "denied", graph_request_id="req-2"),
        Check("eve@contoso.com", "denied", "allowed", "denied", "allowed", "leftover-consent", "Remove-It -Now"),
    )
    proof = PermissionProof(Verdict.VIOLATED, checks, sampled=2, of=2999, upper_bound=0.0099, seed=7, why="one leaks")
    return Evidence(
        format="exoscope/evidence@1",
        verdict=Verdict.VIOLATED,
        tenant=Tenant("11111111-0000-4000-8000-000000000000", "contoso.onmicrosoft.com", "worldwide"),
        operator="operator app 22222222",
        started_at="2026-11-23T09:00:00Z",
        finished_at="2026-11-23T09:01:00Z",
        tool_version="0.1.0",
        snapshot_hash="sha256:aa",
        plan_hash="sha256:bb",
        run="20261123T090000Z-abc",
        claims=(
            Claim(
                APP, "33333333", HOSTILE, "Mail.Read", 1, 3000, Verdict.VIOLATED, "one leaks", 3000, before_all_but=()
            ),
        ),
        proof=Proof(
            Verdict.VIOLATED,
            None,
            "2026-11-24T13:00:00Z",
            ("delegated grants",),
            (),
            (AppProof(APP, HOSTILE, False, ("extra-permission",), {"Mail.Read": proof}),),
        ),
        repeat=(Repeat("Ask Exchange", "Test-ServicePrincipalAuthorization -Identity '…'"),),
    )


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(accept_downloads=False)
        page.route("**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else route.abort())
        yield page
        browser.close()


def open_page(page: Any, path: Path, html: str) -> list[str]:
    path.write_text(html, encoding="utf-8")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    return asked


def test_an_auditor_sees_verdict_claim_and_rows(page: Any, tmp_path: Path) -> None:
    asked = open_page(page, tmp_path / "evidence.html", to_html(evidence()))
    assert asked == [(tmp_path / "evidence.html").as_uri()], "the page asks for nothing but itself"
    assert page.inner_text("#verdict") == "violated"
    assert "holds Mail.Read for 1 of 3,000 mailboxes" in page.inner_text("p.claim")
    assert "before the run it was 3,000" in page.inner_text("p.claim")
    assert page.locator("table.checks tbody tr").count() == 3
    assert page.locator("table.checks td.odd").all_inner_texts() == ["allowed", "allowed"]
    body = page.inner_text("body")
    for text in ("2026-11-24T13:00:00Z", "0.99 %", "delegated grants", "req-2", "sha256:bb", "Remove-It -Now"):
        assert text in body


def test_a_hostile_name_stays_a_name(page: Any, tmp_path: Path) -> None:
    open_page(page, tmp_path / "evidence.html", to_html(evidence()))
    assert page.title() == "violated: mailbox access in contoso.onmicrosoft.com"
    assert HOSTILE.split(" ")[0] in page.inner_text("body")
    assert page.locator("img").count() == 0


def test_the_page_carries_its_json(page: Any, tmp_path: Path) -> None:
    one = evidence()
    open_page(page, tmp_path / "evidence.html", to_html(one))
    carried = json.loads(page.locator("#evidence").text_content())
    assert carried == json.loads(to_json(one))
    assert carried["proof"]["apps"][0]["display_name"] == HOSTILE


def test_find_and_only_differing_rows(page: Any, tmp_path: Path) -> None:
    open_page(page, tmp_path / "evidence.html", to_html(evidence()))
    rows = page.locator("table.checks tbody tr:visible")
    page.fill(".find", "ADA@")
    assert rows.count() == 1
    page.fill(".find", "")
    page.check(".odd-only")
    assert rows.count() == 1
    assert "eve@contoso.com" in rows.first.inner_text()


def test_counts_leave_every_address_out(page: Any, tmp_path: Path) -> None:
    one = evidence()
    tallies = {(APP, "Mail.Read"): tally(one.proof.apps[0].permissions["Mail.Read"].checks)}
    html = to_html(without_addresses(one), tallies=tallies)
    open_page(page, tmp_path / "counts.html", html)
    assert "@contoso.com" not in html
    assert "@contoso.com" not in to_json(without_addresses(one)).decode()
    assert "violated" in page.inner_text("#verdict")
    cells = page.locator("table.tally tbody tr").nth(3).locator("td").all_inner_texts()
    assert cells == ["graph", "2", "1", "0", "0"]
