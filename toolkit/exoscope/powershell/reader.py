"""Read a script as pipelines of commands with named literal arguments, the way PowerShell reads it, or refuse it.

This is a subset, and a strict one: what is not written here is refused, with its place. PowerShell's own rules for
quotes, dashes, blanks, comments and ``--%`` are followed where a character can stand at all
(:mod:`exoscope.powershell.characters`); tests hold this reader against two other parsers.
"""

from __future__ import annotations

import re
from typing import NoReturn

import msgspec

from exoscope.outcome import GuardRefused
from exoscope.powershell.characters import (
    DASHES,
    DOUBLE_QUOTES,
    NEWLINES,
    SINGLE_QUOTES,
    STOP_PARSING,
    forbidden_at,
    is_blank,
    named,
    place,
)
from exoscope.powershell.literals import MAX_DIGITS, Value

_CMDLET = re.compile(r"[A-Za-z]+-[A-Za-z]+")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_BAREWORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.@-]*")
_NUMBER = re.compile(r"[0-9]+")
_CONSTANT = re.compile(r"\$(true|false|null)", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What means itself in a string of either kind of quotes.
_PLAIN = {SINGLE_QUOTES: re.compile(f"[^{SINGLE_QUOTES}]+"), DOUBLE_QUOTES: re.compile(f"[^{DOUBLE_QUOTES}$`]+")}
_COMMENT = re.compile(f"[^{NEWLINES}]*")
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


class Argument(msgspec.Struct, frozen=True):
    """A named argument as written. ``given`` is false for a parameter alone; offsets count code points."""

    name: str
    at: int
    given: bool = False
    colon: bool = False
    value: Value = None
    value_at: int = 0


class Command(msgspec.Struct, frozen=True):
    """A command as written."""

    name: str
    at: int
    arguments: tuple[Argument, ...]


class Reader:
    """A cursor over one script. :meth:`pipelines` reads all of it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        at = forbidden_at(text)
        if at is not None:
            self.refuse(f"{named(text[at])} cannot be carried in a script", at)

    def refuse(self, why: str, at: int | None = None) -> NoReturn:
        """Raise GuardRefused for this place."""
        line, column = place(self.text, self.at if at is None else at)
        raise GuardRefused(why, line=line, column=column)

    def peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.text[at] if at < len(self.text) else ""

    # -- blanks and comments ---------------------------------------------------------------------------------------

    def skip(self, *, newlines: bool = False) -> None:
        """Pass over blanks, comments and continued lines, and over newlines where they mean nothing."""
        while True:
            character = self.peek()
            if not character:
                return
            if is_blank(character) or (newlines and character in NEWLINES):
                self.at += 1
            elif character == "`" and self.peek(1) and self.peek(1) in NEWLINES:
                # Glued to a word PowerShell reads a continued line differently.
                if self.at and not (is_blank(self.text[self.at - 1]) or self.text[self.at - 1] in NEWLINES):
                    self.refuse("a continued line must have a blank before its backtick")
                self.at += 3 if self.text.startswith("\r\n", self.at + 1) else 2
            elif character == "#":
                self._line_comment()
            elif character == "<" and self.peek(1) == "#":
                end = self.text.find("#>", self.at + 2)
                if end < 0:
                    self.refuse("a comment does not end")
                self.at = end + 2
            else:
                return

    def _line_comment(self) -> None:
        start = self.at
        if (comment := _COMMENT.match(self.text, self.at)) is not None:
            self.at = comment.end()
        words = "".join(self.text[start + 1 : self.at].split()).casefold()
        # Two comments are not comments: one loads modules, the other makes PowerShell stop reading.
        if words.startswith(("requires", "sig#")):
            self.refuse("#requires and signature blocks are not comments to PowerShell", start)

    def ends_word(self, more: str = "") -> bool:
        """Does a word end here? Only where PowerShell ends it too."""
        character = self.peek()
        return not character or is_blank(character) or character in NEWLINES or character in ";|" + more

    # -- statements ------------------------------------------------------------------------------------------------

    def pipelines(self) -> tuple[tuple[Command, ...], ...]:
        """Every pipeline of the script; none for an empty one."""
        found: list[tuple[Command, ...]] = []
        while True:
            self.skip(newlines=True)
            if not self.peek():
                return tuple(found)
            if self.peek() == ";":
                self.at += 1
                continue
            found.append(self._pipeline())
            self.skip()
            if self.peek() and self.peek() not in NEWLINES + ";":
                self.refuse(f"{named(self.peek())} cannot stand here")

    def _pipeline(self) -> tuple[Command, ...]:
        commands = [self._command()]
        while True:
            self.skip()
            if self.peek() != "|":
                return tuple(commands)
            if self.peek(1) == "|":
                self.refuse("|| is no part of an operation")
            self.at += 1
            self.skip(newlines=True)
            commands.append(self._command())

    def _command(self) -> Command:
        start = self.at
        word = _CMDLET.match(self.text, self.at)
        if word is None:
            self.refuse("an operation begins with a cmdlet's full name")
        self.at = word.end()
        if not self.ends_word():
            self.refuse(f"{named(self.peek())} cannot stand in a cmdlet's name")
        arguments: list[Argument] = []
        while True:
            self.skip()
            if not self.peek() or self.peek() in NEWLINES + ";|":
                return Command(word.group(), start, tuple(arguments))
            arguments.append(self._argument())

    def _argument(self) -> Argument:
        start = self.at
        if self.peek() not in DASHES:
            self.refuse("an argument without its parameter's name, or something that is no literal")
        self.at += 1
        word = _PARAMETER.match(self.text, self.at)
        if word is None:
            self.refuse("a dash begins a parameter's name, and nothing else here", start)
        self.at = word.end()
        name = word.group()
        if self.peek() == ":":
            self.at += 1
            glued = self.at
            while self.peek() and is_blank(self.peek()):
                self.at += 1
            at = self.at
            return Argument(name, start, True, True, self._value(stop_parsing=at == glued), at)
        if not self.ends_word():
            self.refuse(f"{named(self.peek())} cannot stand in a parameter's name")
        self.skip()
        if not self.peek() or self.peek() in NEWLINES + ";|" or self.peek() in DASHES:
            return Argument(name, start)
        at = self.at
        return Argument(name, start, True, False, self._value(stop_parsing=False), at)

    # -- values ----------------------------------------------------------------------------------------------------

    def _value(self, *, stop_parsing: bool) -> Value:
        """A value in argument position. ``stop_parsing``: may it be ``--%`` (only glued to its parameter's colon)?"""
        start = self.at
        if self.peek() == "@":
            value = self._array() if self.peek(1) == "(" else self._hashtable()
            if not self.ends_word():
                self.refuse("nothing may follow a list or hashtable but the next parameter")
            return value
        first = self._scalar(barewords=True, ends=",")
        self.skip()
        if self.peek() != ",":
            if first == STOP_PARSING and not stop_parsing:
                self.refuse("the value --% ends parsing unless it is glued to its parameter: -Name:'--%'", start)
            return first
        values = [first]
        while self.peek() == ",":
            self.at += 1
            self.skip(newlines=True)
            values.append(self._scalar(barewords=True, ends=","))
            self.skip()
        if STOP_PARSING in values:
            self.refuse("the value --% is safe in a list only inside @( )", start)
        return tuple(values)

    def _scalar(self, *, barewords: bool, ends: str) -> str | bool | int | None:
        start = self.at
        character = self.peek()
        value: str | bool | int | None
        if not character:
            self.refuse("a value is missing")
        if character in SINGLE_QUOTES:
            value = self._string(SINGLE_QUOTES)
        elif character in DOUBLE_QUOTES:
            value = self._string(DOUBLE_QUOTES)
        elif constant := _CONSTANT.match(self.text, self.at):
            self.at = constant.end()
            value = _CONSTANTS[constant.group(1).casefold()]
        elif number := _NUMBER.match(self.text, self.at):
            if len(number.group()) > MAX_DIGITS:
                self.refuse("a number of more than 18 digits is not an integer to PowerShell")
            self.at = number.end()
            value = int(number.group())
        elif barewords and (word := _BAREWORD.match(self.text, self.at)):
            self.at = word.end()
            value = word.group()
        else:
            self.refuse(
                f"no literal begins with {named(character)}" if character != "$" else "variables are not literals"
            )
        if not self.ends_word(ends):
            self.refuse("something is glued to a literal, or it is no literal", start)
        return value

    def _string(self, quotes: str) -> str:
        start = self.at
        self.at += 1
        found: list[str] = []
        while True:
            plain = _PLAIN[quotes].match(self.text, self.at)
            if plain is not None:
                found.append(plain.group())
                self.at = plain.end()
            character = self.peek()
            if not character:
                self.refuse("a string does not end", start)
            if character not in quotes:
                self.refuse("a string in double quotes may not hold $ or a backtick: they are not literal there")
            following = self.peek(1)
            if not following or following not in quotes:
                self.at += 1
                return "".join(found)
            found.append(following)  # two adjacent quotes of any kind mean the second
            self.at += 2

    def _array(self) -> tuple[Value, ...]:
        start = self.at
        self.at += 2
        values: list[Value] = []
        self.skip(newlines=True)
        while self.peek() != ")":
            if not self.peek():
                self.refuse("a list does not end", start)
            values.append(self._scalar(barewords=False, ends=",)"))
            self.skip()
            if self.peek() == ",":
                self.at += 1
                self.skip(newlines=True)
                if self.peek() == ")":
                    self.refuse("a list ends with a comma")
            elif self.peek() and self.peek() in NEWLINES + ";":
                self.at += 1
                self.skip(newlines=True)
            elif self.peek() and self.peek() != ")":
                self.refuse("a list holds literals and commas only")
        self.at += 1
        return tuple(values)

    def _hashtable(self) -> dict[str, Value]:
        start = self.at
        if self.peek(1) != "{":
            self.refuse("@ begins a list @( ) or a hashtable @{ } only")
        self.at += 2
        entries: dict[str, Value] = {}
        self.skip(newlines=True)
        while self.peek() != "}":
            if not self.peek():
                self.refuse("a hashtable does not end", start)
            at = self.at
            key = self._key()
            if key.casefold() in {each.casefold() for each in entries}:
                self.refuse("a hashtable holds a key twice", at)
            self.skip()
            if self.peek() != "=":
                self.refuse("a key of a hashtable is letters, digits and _ only, or quoted, and = follows")
            self.at += 1
            self.skip()
            entries[key] = (
                self._array() if self.text.startswith("@(", self.at) else self._scalar(barewords=False, ends="}")
            )
            self.skip()
            if self.peek() and self.peek() in NEWLINES + ";":
                self.at += 1
                self.skip(newlines=True)
            elif self.peek() and self.peek() != "}":
                self.refuse("entries of a hashtable are parted by ; or a new line")
        self.at += 1
        return entries

    def _key(self) -> str:
        if self.peek() in SINGLE_QUOTES:
            return self._string(SINGLE_QUOTES)
        word = _KEY.match(self.text, self.at)
        if word is None:
            self.refuse("a key of a hashtable is letters, digits and _ only, or quoted in single quotes")
        self.at = word.end()
        return word.group()
