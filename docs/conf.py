"""Sphinx: the pages beside this file, the reference from docstrings, the gallery from ``examples/``."""

import os
import warnings

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

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


class Order:
    """The examples in the order in which they are best read."""

    names = (
        "digits", "table", "promise", "epsilon", "mechanisms", "tstr", "network", "transport", "hospitals",
        "photographs", "persons", "intervals", "wide",
    )  # fmt: skip

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, filename):
        return self.names.index(filename.removeprefix("plot_").removesuffix(".py"))


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "within_subsection_order": Order,
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

# --- Mathematics as MathML: no script has to be fetched to read it ---------------------------------------------------


def write_math(writer, node):
    """Write a formula, in a line or by itself."""
    is_block = isinstance(node, nodes.math_block)
    formula = tex2mathml(node.astext(), as_block=is_block)
    writer.body.append(f'<div class="formula">{formula}</div>' if is_block else formula)
    raise nodes.SkipNode


def setup(app):
    """Tell Sphinx of it."""
    app.add_html_math_renderer("mathml", (write_math, None), (write_math, None))


html_math_renderer = "mathml"
