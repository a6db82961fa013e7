"""Sphinx settings; `make docs` stages sources and generated pages before it builds them."""

project = "dse"
author = "the authors of dse"
copyright = f"{author}, Apache-2.0"
extensions = ["myst_nb"]
html_theme = "furo"
html_title = "dse"
nb_execution_mode = "off"  # notebooks are shown as committed; a test of the suite executes them
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = []
# a table with thousands of facts is a table, no program
highlight_language = "none"
suppress_warnings = ["mystnb.unknown_mime_type"]
