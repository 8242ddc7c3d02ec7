"""What a template may do: show fields, ask whether they are there, go through lines. Nothing else, and that is checked.

A template is refused when it is written, with the field and the line that is wrong. It can call nothing, reach no
attribute of ours, calculate nothing and loop over nothing but the lines it is given, one loop deep; so how long it
takes and how much it writes is bounded by its own length.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from domain.errors import InvalidInput
from domain.letters import Field, Shape

OUTPUT_CHARS_MAX: Final = 200_000
COMPILED_MAX: Final = 1_000

_PLAIN: Final = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Const,
    nodes.If,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.Not,
    nodes.And,
    nodes.Or,
    nodes.Concat,
)
_FILTERS: Final = ("upper", "lower", "capitalize", "title", "trim", "default", "length", "first", "last", "join", "e")
_LOOP: Final = frozenset({"first", "last", "index"})
_TAGS: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_NOT_ALLOWED_TAGS: Final = frozenset(
    {"script", "iframe", "object", "embed", "applet", "form", "input", "base", "meta", "link", "svg", "math", "frame"}
)
_LINKS: Final = frozenset({"href", "src", "action", "background", "poster", "srcset", "formaction", "xlink:href"})
_SCHEMES: Final = re.compile(r"\s*(https?:|mailto:|tel:|cid:|#|/|$)", re.IGNORECASE)


class TooLong(Exception):
    """A letter would be longer than any letter may be."""


def _lines(text: str) -> Markup:
    """Line breaks as HTML shows them."""
    return Markup("<br>\n").join(escape(text).splitlines())


def _environment(*, html: bool) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        autoescape=html, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    made.globals.clear()
    made.filters = {name: made.filters[name] for name in _FILTERS} | {"lines": _lines if html else str}
    made.tests = {"defined": made.tests["defined"]}
    return made


_ENVIRONMENTS: Final = {False: _environment(html=False), True: _environment(html=True)}


@lru_cache(maxsize=COMPILED_MAX)
def _compiled(source: str, html: bool) -> Any:
    return _ENVIRONMENTS[html].from_string(source)


def fill(source: str, values: Mapping[str, object], *, html: bool) -> str:
    """The template with these values. Raises what jinja2 raises, and `TooLong`."""
    size, pieces = 0, list[str]()
    for piece in _compiled(source, html).generate(values):
        size += len(piece)
        if size > OUTPUT_CHARS_MAX:
            raise TooLong(f"it writes more than {OUTPUT_CHARS_MAX} characters")
        pieces.append(piece)
    return "".join(pieces)


def check(part: str, source: str, fields: Mapping[str, Field], *, html: bool) -> None:
    """Raises `InvalidInput` that names the part (`subject`, `text`, `html`), the line and what is wrong there."""
    try:
        tree = _ENVIRONMENTS[html].parse(source)
    except TemplateSyntaxError as error:
        raise _wrong(part, error.lineno, f"{error.message}", "template_syntax") from None
    _Walk(part, fields).children(tree, frozenset(), in_loop=False)
    if html:
        _Marks(part).check(source)


def _wrong(part: str, line: int, what: str, code: str) -> InvalidInput:
    return InvalidInput(part, f"line {line}: {what}", code=code)


class _Walk:
    """Goes through a template's tree and knows which names are there."""

    def __init__(self, part: str, fields: Mapping[str, Field]) -> None:
        self._part = part
        self._fields = fields

    def children(self, node: nodes.Node, names: frozenset[str], *, in_loop: bool) -> None:
        for child in node.iter_child_nodes():
            self.visit(child, names, in_loop=in_loop)

    def visit(self, node: nodes.Node, names: frozenset[str], *, in_loop: bool) -> None:
        match node:
            case nodes.Name():
                self._name(node, names)
            case nodes.For():
                self._loop(node, names, in_loop=in_loop)
            case nodes.Filter():
                if node.name not in _ENVIRONMENTS[True].filters:
                    allowed = ", ".join(sorted(_ENVIRONMENTS[True].filters))
                    raise self._no(node, f"there is no filter `{node.name}`; there are {allowed}", "template_filter")
                self.children(node, names, in_loop=in_loop)
            case nodes.Test(name="defined"):
                self.children(node, names, in_loop=in_loop)
            case nodes.Getattr(node=nodes.Name(name="loop"), attr=attr) if in_loop and attr in _LOOP:
                return
            case _ if isinstance(node, _PLAIN):
                self.children(node, names, in_loop=in_loop)
            case _:
                what = type(node).__name__.lower()
                raise self._no(node, f"a template may not use this ({what})", "template_not_allowed")

    def _name(self, node: nodes.Name, names: frozenset[str]) -> None:
        if node.name in names:
            return
        known = self._fields.get(node.name)
        if known is None:
            there = ", ".join(sorted(self._fields))
            raise self._no(node, f"there is no field `{node.name}`; there are {there}", "template_unknown_field")

    def _loop(self, node: nodes.For, names: frozenset[str], *, in_loop: bool) -> None:
        over, target = node.iter, node.target
        shape = self._fields[over.name].shape if isinstance(over, nodes.Name) and over.name in self._fields else None
        if in_loop or node.recursive or shape is not Shape.LINES or not isinstance(target, nodes.Name):
            lines = ", ".join(name for name, each in self._fields.items() if each.shape is Shape.LINES)
            raise self._no(node, f"a loop goes over one of {lines}, and not within another", "template_loop")
        inside = names | {target.name}
        for child in [*([node.test] if node.test is not None else []), *node.body]:
            self.visit(child, inside, in_loop=True)
        for child in node.else_:
            self.visit(child, names, in_loop=in_loop)

    def _no(self, node: nodes.Node, what: str, code: str) -> InvalidInput:
        return _wrong(self._part, node.lineno, what, code)


class _Marks(HTMLParser):
    """Refuses what no mail program would show and a page of ours must not run."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self._part = part

    def check(self, source: str) -> None:
        # What a template fills in is escaped and stands for harmless text; its line breaks keep the count of lines.
        self.feed(_TAGS.sub(lambda tag: "x" + "\n" * tag[0].count("\n"), source))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        line = self.getpos()[0]
        if tag in _NOT_ALLOWED_TAGS:
            raise _wrong(self._part, line, f"<{tag}> is not allowed in a letter", "template_html")
        for name, value in attrs:
            if name.startswith("on"):
                raise _wrong(self._part, line, f"the attribute `{name}` is not allowed in a letter", "template_html")
            if name in _LINKS and not _SCHEMES.match(value or "") and value != "x":
                rule = f"`{name}` begins with https:, http:, mailto:, tel: or is a field with an address"
                raise _wrong(self._part, line, rule, "template_html")
