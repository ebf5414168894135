"""Everything stands in setup.cfg; here only where a build puts what it needs for a moment: not into the clone."""

import tempfile

from setuptools import setup

with tempfile.TemporaryDirectory() as folder:
    setup(options={"build": {"build_base": folder}, "egg_info": {"egg_base": folder}})
