"""Links from names in running text to their reference: `Cookie.notify()` in backticks becomes one.

So neither docstrings nor pages need any markup for it. A name that is not in the reference stays as it
is: plain code.
"""  # noqa: INP001 - an extension of Sphinx, found by its path

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from docutils import nodes
from sphinx import addnodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PACKAGES: Final = ("", "ewb.", "ewb.testing.")
USUAL: Final = {  # what objects are called, here and in the examples
    "chunks": "ewb.ChunkReceiver",
    "connection": "ewb.Connection",
    "cookie": "ewb.Cookie",
    "front_end": "ewb.FrontEnd",
    "workers": "ewb.Workers",
}
NOT_IN: Final = (nodes.reference, nodes.title, addnodes.desc_signature, addnodes.pending_xref)


def target_of(text: str, objects: dict[str, str]) -> str | None:
    """The object that a piece of code names, if it is one of the reference."""
    name = text.strip().split("(")[0]
    first, dot, rest = name.partition(".")
    if dot:
        name = f"{USUAL.get(first, first)}.{rest}"
    elif name[:1].islower() and f"ewb.{name}" not in objects:
        return None  # a word as `connect` may be anything
    return next((prefix + name for prefix in PACKAGES if prefix + name in objects), None)


def link(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Make references of all names on a page; but of a name under its own heading no link."""
    known = {name: entry.docname for name, entry in app.env.domains["py"].data["objects"].items()}
    for literal in list(doctree.findall(nodes.literal)):
        ancestor: nodes.Node | None = literal.parent
        while ancestor is not None and not isinstance(ancestor, NOT_IN):
            ancestor = ancestor.parent
        name = target_of(literal.astext(), known)
        if ancestor is not None or name is None or app.builder.format != "html":
            continue
        uri = app.builder.get_relative_uri(page, known[name]) + f"#{name}"
        reference = nodes.reference("", "", internal=True, refuri=uri, classes=["name"])
        literal.replace_self(reference)
        reference += literal


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
