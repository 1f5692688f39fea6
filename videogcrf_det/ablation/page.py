"""A table as a page that opens in a browser."""

import shlex
from collections.abc import Sequence

from videogcrf_det.ablation.results import Results
from videogcrf_det.ablation.runs import Run
from videogcrf_det.visualization.page import fill_page

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style|safe }}
.plot { background: #fff; padding: 12px; overflow-x: auto; }
.plot img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
</style>
</head>
<body>
<main>
<header><h1>{{ title }}</h1>
{% for note in notes %}<p class="lead">{{ note }}</p>{% endfor %}</header>
{% for caption, headers, lines in tables %}
{% if caption %}<h3>{{ caption }}</h3>{% endif %}
<div class="sheet"><table>
<thead><tr>{% for name in headers %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for cells in lines %}
<tr><th scope="row">{{ cells[0] }}</th>
{% for cell in cells[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
{% for plot, text in plots %}
<figure class="sheet plot"><img src="{{ plot }}" alt="{{ text }}"></figure>
{% endfor %}
<section>
<h2>How to repeat it</h2>
<p class="note">All rows, or what is missing of them:</p>
<pre><code>{{ command }}</code></pre>
<details><summary>What it runs, row by row</summary>
<ol>
{% for run in runs %}
<li>{{ run }} ({{ run.state }})
<pre><code>python {{ run.command|shell }}</code></pre></li>
{% endfor %}
</ol></details>
</section>
</main>
</body>
</html>
"""


def render_page(results: Results, runs: Sequence[Run], command: str) -> str:
    """The page; it shows the plots beside it.

    Args:
        results: the figures.
        runs: all runs of the table.
        command: what made it.
    """
    table = results.table
    plots = [("table.png", f"{table.plot.heading} of each row")] if table.rows else []
    plots += [("grid.png", "A heat map of the grid")] if table.grid else []
    return fill_page(
        PAGE,
        {"shell": shlex.join},
        title=table.title,
        notes=results.notes(),
        tables=results.tables(),
        plots=plots,
        command=command,
        runs=runs,
    )
