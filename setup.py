"""Packaging. The two packages under submodules/ are installed on their own, before this one (see scripts/)."""

from setuptools import find_packages, setup

setup(
    packages=find_packages(
        include=["scene*", "terminal*", "dynamic_predictor*", "gaussian*", "viewer*", "gui*", "stillsplat*"]
    ),
    package_data={
        "stillsplat.report": ["*.html.jinja", "*.css", "page.js"],
        "stillsplat.share": ["page.html.jinja", "page.css", "page.js", "viewer.js"],
        "stillsplat.batch": ["*.html.jinja", "*.css"],
        "stillsplat.comparison": ["*.html.jinja", "*.css", "*.js"],
        "dynamic_predictor.weights": ["inventories/*.json.gz"],
    },
    data_files=[("share/stillsplat", ["benchmarks/published.json"])],
)
