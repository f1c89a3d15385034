r"""Patterns of the service model, which are in Java's dialect, as compiled regular expressions.

The library `regex` has most of what Java has and Python's `re` lacks: possessive quantifiers,
properties such as \p{L}, and, in its version 1 syntax, nested classes and their intersection.
What still differs is rewritten here: java.util.regex.Pattern without flags is the reference.
"""

from __future__ import annotations

import functools

import regex

# In Java these are about ASCII unless a flag says otherwise; `regex` would take all of Unicode.
_ESCAPED_SETS = {"d": "0-9", "w": "a-zA-Z0-9_", "s": r" \t\n\x0B\f\r"}
_POSIX_SETS = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`{-\~",
    "Graph": r"!-\~",
    "Print": r" -\~",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1F\x7F",
    "XDigit": "0-9a-fA-F",
    "Space": r" \t\n\x0B\f\r",
    "ASCII": r"\x00-\x7F",
}
# Java's dot stops at every line terminator, not at \n alone.
_DOT = r"[^\n\r\x85\u2028\u2029]"
# Java's \z is the very end, its \Z also the place before a last line terminator.
_ANCHORS = {r"\z": r"\Z", r"\Z": "$"}

_TOKEN = regex.compile(
    r"\\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\(?P<sign>[pP])\{(?P<posix>\w+)\}"
    r"|\\(?P<escape>.)"
    r"|&&"
    r"|.",
    regex.DOTALL,
)


@functools.cache
def compile_java(pattern: str) -> regex.Pattern[str]:
    """The compiled form of one of Java's patterns. Raises regex.error for one it cannot read."""
    return regex.compile(_translate(pattern), regex.VERSION1)


def _translate(pattern: str) -> str:
    parts: list[str] = []
    depth = 0
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if token["high"]:
            parts.append(_astral(token["high"], token["low"]))
        elif token["posix"] in _POSIX_SETS:
            parts.append(_set(_POSIX_SETS[token["posix"]], negated=token["sign"] == "P"))
        elif token["escape"] and token["escape"].lower() in _ESCAPED_SETS:
            escape = token["escape"]
            parts.append(_set(_ESCAPED_SETS[escape.lower()], negated=escape.isupper()))
        elif depth:
            parts.append(_in_class(text, parts[-1]))
        elif text == ".":
            parts.append(_DOT)
        else:
            parts.append(_ANCHORS.get(text, text))
        depth += (text == "[") - (text == "]" and depth > 0)
    return "".join(parts)


def _astral(high: str, low: str) -> str:
    """Java spells a character beyond U+FFFF as two escapes of its UTF-16 halves."""
    code = 0x10000 + ((int(high, 16) - 0xD800) << 10) + int(low, 16) - 0xDC00
    return f"\\U{code:08X}"


def _set(members: str, *, negated: bool) -> str:
    return f"[^{members}]" if negated else f"[{members}]"


def _in_class(text: str, before: str) -> str:
    """Version 1 syntax has operators in a class that Java takes for plain characters."""
    if text in {"&", "|", "~"} or (text == "-" and before == "-"):
        return "\\" + text
    return text
