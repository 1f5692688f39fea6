"""What the site needs beyond the Markdown in docs/: pages from elsewhere, the notebook, MathML."""

import base64
import json
import posixpath
import re
from html import unescape
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
ELSEWHERE = [
    *["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MODEL_ZOO.md", "THIRD_PARTY.md"],
    *["projects/*/README.md", "projects/instance_tracking/video_tracking/provider.py"],
    "videogcrf_det/data/davis/davis_person_*.txt",
]
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
MATHS = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files, config):
    """Add the files of ELSEWHERE under their paths in the repository, and the notebook."""
    for name, content in notebook_page().items():
        files.append(File.generated(config, name, content=content))
    for pattern in ELSEWHERE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def notebook_page():
    """The notebook as a Markdown page and the pictures in it, by name."""
    pictures, parts = {}, []
    for cell in json.loads((ROOT / "docs/tutorial.ipynb").read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        is_code = cell["cell_type"] == "code"
        parts.append(f"```python\n{source}\n```" if is_code else source)
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                name = f"tutorial/{len(pictures)}.png"
                pictures[name] = base64.b64decode(output["data"]["image/png"])
                parts.append(f"![]({name})")
            elif "text" in output:
                parts.append(f"```text\n{''.join(output['text']).strip()}\n```")
    parts.append("This page is a [notebook](tutorial.ipynb).")
    return {"tutorial.md": "\n\n".join(parts), **pictures}


def on_page_markdown(markdown, page, config, files):
    """Turn links between files of the repository into links between files of the site."""
    name = page.file.src_uri
    here = name if page.file.abs_src_path == str(ROOT / name) else f"docs/{name}"

    def moved(match):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), match[1]))
        return posixpath.relpath(target.removeprefix("docs/"), posixpath.dirname(name) or ".")

    return LINK.sub(moved, markdown)


def on_page_content(html, page, config, files):
    """Write formulas as MathML, which browsers draw by themselves."""

    def drawn(match):
        display = "block" if match[1] == "div" else "inline"
        # the converter does not know this one
        latex = unescape(match[2]).replace(r"\begin{aligned}", r"\begin{array}{rl}")
        formula = convert(latex.replace(r"\end{aligned}", r"\end{array}"), display=display)
        return f'<{match[1]} class="arithmatex">{formula}</{match[1]}>'

    return MATHS.sub(drawn, html)
