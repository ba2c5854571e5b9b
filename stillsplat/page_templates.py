"""HTML pages of our own that need nothing beside them: their templates, with the looks of the report."""

from typing import Any

import jinja2


def render_template(package: str, name: str, content: dict[str, Any]) -> str:
    """The template `name` of `package`, which may include those of the report. All text is escaped, except `Markup`."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package, ""), jinja2.PackageLoader("stillsplat.report", "")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(content)
