"""Writes a page of the API reference for each public module while the documentation is built: none can be missing."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_INDEX = """# API

What `import pinnx` gives, and the modules behind it.

{table}
"""


def _modules(package: Path) -> Iterator[tuple[str, Path]]:
    """Dotted names and files of the public modules, those behind the links in pinnx/ included."""
    for folder, subfolders, files in os.walk(package, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if Path(folder, name, "__init__.py").is_file())
        for name in sorted(files):
            path = Path(folder, name)
            parts = path.relative_to(package.parent).with_suffix("").parts
            if path.suffix != ".py" or (name.startswith("_") and name != "__init__.py"):
                continue
            yield ".".join(parts[:-1] if name == "__init__.py" else parts), path


def _summary(path: Path) -> str:
    """First line of the module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].replace("\n", " ")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and to the navigation under "API" one entry each."""
    modules = list(_modules(Path(config.config_file_path).parent / "pinnx"))
    table = "\n".join(["| module | |", "| --- | --- |", *(f"| [`{m}`]({m}.md) | {_summary(p)} |" for m, p in modules)])
    files.append(File.generated(config, "api/index.md", content=_INDEX.format(table=table)))
    for module, _ in modules:
        page = f"# {module}\n\n::: {module}\n    options:\n      show_root_heading: false\n"
        files.append(File.generated(config, f"api/{module}.md", content=page))
    for entry in config.nav or []:
        if "API" in entry:
            entry["API"] = [{"Overview": "api/index.md"}, *({module: f"api/{module}.md"} for module, _ in modules)]
    return files
