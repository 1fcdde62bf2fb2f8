"""Settings of Sphinx for the site, which `python -m tools.docs_site OUT` builds. Nothing is fetched, ever."""

from __future__ import annotations

import defacedask

project = "defacedask"
author = project_copyright = "the defacedask developers"
version = release = defacedask.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc"]
exclude_patterns = ["tour.ipynb"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"  # `Case` in a docstring is a link where there is such a thing
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand in the docstrings, with shapes and units
numpydoc_show_class_members = False

smartquotes = False  # --option is no dash

html_theme = "furo"
html_title = "defacedask"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
