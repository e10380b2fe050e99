"""Offers each executed notebook for download, at the top of its page.

myst-nb has run it, and written what came of it beside the pages; here it is put next to the page.
"""  # noqa: INP001 - an extension of Sphinx, found by its path

from __future__ import annotations

import shutil
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx


def executed(app: Sphinx, page: str) -> Path:
    """Where myst-nb writes the notebook of a page, if it is one."""
    return Path(app.env.mystnb_config.output_folder, *f"{page}.ipynb".split("/"))


def offer(
    app: Sphinx, page: str, template: str, context: dict[str, object], doctree: nodes.document | None
) -> None:
    """Copy a page's notebook next to it, and say so under its title."""
    del template
    if doctree is None or app.builder.format != "html" or not (source := executed(app, page)).exists():
        return
    copy = Path(app.outdir, *f"{page}.ipynb".split("/"))
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, copy)
    head, end, rest = str(context["body"]).partition("</h1>")
    link = (
        f'<p class="notebook-download"><a href="{escape(copy.name)}" download>'
        "Download this page as an executed notebook</a> (.ipynb)</p>"
    )
    context["body"] = f"{head}{end}\n{link}{rest}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("html-page-context", offer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
