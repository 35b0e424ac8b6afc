"""A browser as far as signing in goes: it opens an address and follows it back to the program that waits for it.

Run as a program (BROWSER="python fake_browser.py CA %s") it is the system's browser of a process under test.
"""

from __future__ import annotations

import html
import re
import sys
import threading
from urllib.parse import urljoin

import pytest
import requests

_FIELD = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_ACTION = re.compile(r'<form method="post" action="([^"]*)">')


def follow(address: str, ca: str) -> requests.Response:
    """Open the authorize page; do what it says (a form that posts itself, or a redirect): the last page that is shown."""
    with requests.Session() as http:
        http.trust_env = False
        page = http.get(address, verify=ca, allow_redirects=False, timeout=20)
        if page.status_code == 302:
            return http.get(urljoin(address, page.headers["Location"]), timeout=20)
        action = _ACTION.search(page.text)
        if action is None:
            return page
        fields = {html.unescape(name): html.unescape(value) for name, value in _FIELD.findall(page.text)}
        return http.post(html.unescape(action[1]), data=fields, timeout=20)


class Browser:
    """What ``webbrowser.open`` is in a test. ``opened``: the addresses; ``shown``: the last pages."""

    def __init__(self, ca: str) -> None:
        self.ca = ca
        self.opened: list[str] = []
        self.shown: list[requests.Response] = []

    def __call__(self, address: str, *arguments: object) -> bool:
        self.opened.append(address)
        threading.Thread(target=lambda: self.shown.append(follow(address, self.ca)), daemon=True).start()
        return True

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> Browser:
        """Be the system's browser."""
        monkeypatch.setattr("webbrowser.open", self)
        monkeypatch.setattr("webbrowser.get", lambda *_: self)
        monkeypatch.setattr(Browser, "open", Browser.__call__, raising=False)
        return self


if __name__ == "__main__":
    follow(sys.argv[2], sys.argv[1])
