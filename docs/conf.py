"""How the documentation is built: `make docs`.

Nothing is fetched: no intersphinx, no fonts, no scripts from elsewhere.
"""  # noqa: INP001 - Sphinx reads it; it is no package

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx import addnodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
# For autodoc, for the extensions of our own, and for the kernels that run the notebooks.
sys.path[:0] = [str(ROOT), str(HERE / "_ext")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

project = "ewb"
author = "The ewb authors"
copyright = author  # noqa: A001 - Sphinx's name
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "names",  # these three are in _ext/
    "notebooks",
    "states",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints", "**/jupyter_execute"]

# -- text -----------------------------------------------------------------------------------------

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
default_role = "code"  # docstrings write `name`; _ext/names.py makes a link of it
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# -- notebooks ------------------------------------------------------------------------------------

nb_execution_mode = "cache"  # `make docs` says "force": ewb may have changed, and not the notebook
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

# A profile of its own for the kernels, not the reader's. Each warns that it listens on loopback.
ipython = HERE / "_build" / "ipython"
(ipython / "profile_default").mkdir(parents=True, exist_ok=True)
(ipython / "profile_default" / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\n")
os.environ["IPYTHONDIR"] = str(ipython)

# -- reference ------------------------------------------------------------------------------------

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 60
napoleon_use_rtype = False

nitpicky = True
# What is not ewb's own has its documentation elsewhere, and nothing is fetched here: names of the
# standard library and of Trio, and variables of types. A name of ewb's that does not exist is an error.
nitpick_ignore_regex = [
    (r"py:.*", r"(trio|collections|typing|types|logging|contextlib|enum)\..*"),
    (r"py:.*", r"(Async)?(Generator|Iterator|Iterable)|AbstractAsyncContextManager"),
    (r"py:.*", r"Sequence|Callable|Any|Self|TracebackType"),
    (r"py:.*", r"(ewb\._\w+\.|\*)?(T|Ts|R|S|P|Req|S_contra|P_contra)"),
    (r"py:.*", r"Buffer|Chunk"),  # bytes | bytearray | memoryview, as written in signatures
]

# -- looks ----------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "ewb"
html_static_path = ["_static"]
html_css_files = ["ewb.css"]
html_favicon = "_static/logo.svg"
html_logo = "_static/logo.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_last_updated_fmt = None
pygments_style = "friendly"
pygments_dark_style = "github-dark"
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#00507d",
        "color-brand-content": "#0063a0",
    },
    "dark_css_variables": {
        "color-brand-primary": "#5ab4e6",
        "color-brand-content": "#6fc0ee",
    },
    "navigation_with_keys": True,
}


def as_rst(  # noqa: PLR0917 - this is how Sphinx calls it
    app: object, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Make of our docstrings what reads the same to Sphinx as to a human."""
    del app, name, obj, options
    if what in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]  # else napoleon takes what stands before the first colon for a type
    for index in range(len(lines) - 1, 1, -1):  # an indented example is code
        if lines[index].startswith("    ") and not lines[index - 1] and lines[index - 2][:1].strip():
            lines[index - 1 : index] = ["", "::", ""]


def hide_numbers(app: object, domain: object, objtype: str, content: addnodes.desc_content) -> None:
    """What number an enum gives to a member says nothing."""
    del app, domain
    if objtype == "attribute":
        for part in list(content.parent.findall(addnodes.desc_annotation)):
            if re.fullmatch(r"\s*=\s*\d+", part.astext()):
                part.parent.remove(part)


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("object-description-transform", hide_numbers)
    app.connect("autodoc-process-docstring", as_rst, priority=400)  # before napoleon
