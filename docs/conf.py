"""Sphinx: the pages beside this file, the reference from docstrings, the gallery from ``examples/``."""

import os
import warnings

import sinkgen

os.environ["MPLBACKEND"] = "Agg"

project = "sinkgen"
author = "The sinkgen developers"
project_copyright = f"2026, {author}"
release = version = sinkgen.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/*.py.md5", "gallery/*.ipynb", "gallery/*.zip"]
templates_path = ["_templates"]
suppress_warnings = ["config.cache"]  # the gallery's settings hold functions

# --- Pages -----------------------------------------------------------------------------------------------------------

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# --- Reference -------------------------------------------------------------------------------------------------------

autosummary_generate = True
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the docstrings tell types, with shapes
numpydoc_show_class_members = False  # the template of a class lists them
numpydoc_use_plots = False

# --- Gallery ---------------------------------------------------------------------------------------------------------

# Of no interest to the reader of an example.
warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive", category=UserWarning)
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "within_subsection_order": "ExampleTitleSortKey",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sinkgen",),
    "abort_on_example_error": True,
    "remove_config_comments": True,
    "min_reported_time": 0,
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "download_all_examples": False,
}

# --- Look ------------------------------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "sinkgen"
html_static_path = ["_static"]
html_css_files = ["sinkgen.css"]
html_show_sourcelink = False
html_sidebars = {"index": [], "references": [], "changelog": []}
html_theme_options = {
    "logo": {"text": "sinkgen"},
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
