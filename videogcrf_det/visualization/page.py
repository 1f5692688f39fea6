"""The report page as HTML that loads nothing but the pictures and videos beside it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from videogcrf_det.visualization.style import STYLE

PAGE = """\
{% macro key() %}{% if runs|length > 1 %}<p class="key">{% for name, kind in legend %}
<span><i class="{{ kind }}"></i>{{ name }}</span>{% endfor %}</p>{% endif %}{% endmacro %}
{% macro change(value, less_is_better=false) %}<span class="{{ value|direction(less_is_better) }}">
{{- value|signed }}</span>{% endmacro %}
{% macro comparison(columns, tables) %}
<div class="sheet"><table>
<thead><tr><td></td>{% for column in columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr>
</thead>
{% for table in tables %}
<tbody>
{% if table.changes %}
<tr><th scope="rowgroup" colspan="{{ columns|length + 1 }}">{{ table.title }}</th></tr>
{% endif %}
{% for row in table.rows %}
<tr><th scope="row">{% if table.changes %}<i class="{{ row.kind }}"></i>{{ row.name }}
{% else %}{{ table.title }}{% endif %}</th>
{% for value in row.values %}<td>{{ value|percent }}</td>{% endfor %}</tr>
{% endfor %}
{% if table.changes %}
<tr class="change"><th scope="row">Difference</th>
{% for value in table.changes %}
<td>{{ change(value, columns[loop.index0] == "switches") }}</td>{% endfor %}</tr>
{% endif %}
</tbody>
{% endfor %}
</table></div>
{% endmacro %}
{% macro bar(row) %}<span class="track"><span class="fill {{ row.kind }}"
 style="width: {{ row.values[0] or 0 }}%"></span></span>{% endmacro %}
{% macro texts(columns, rows) %}
<div class="sheet"><table class="texts">
<thead><tr><td></td>{% for name in columns %}<th scope="col">{{ name }}</th>{% endfor %}</tr>
</thead>
<tbody>
{% for name, values in rows %}
<tr><th scope="row">{{ name }}</th>{% for value in values %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endmacro %}
{% macro score_note() %}Each frame has a score: detections of {{ threshold }} confidence or more are
paired with annotated instances of their class, one to one, the pair of highest IoU first. The sum
of these IoUs, divided by the number of instances or of detections, whichever is larger, is the
score, in percent; it is 100 where there is neither. Detections that lie mostly on do-not-care
regions and overlap no instance by 0.5 are left out.{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style|safe }}</style>
</head>
<body>
<main>
<header>
<h1>{{ title }}</h1>
<p class="lead">{{ summary }}</p>
<nav>
{% if tables %}<a href="#figures">Figures</a>{% endif %}
{% if sequences %}<a href="#sequences">Sequences</a>{% endif %}
{% if runs|length > 1 %}<a href="#differences">Differences</a>{% endif %}
{% if films %}<a href="#videos">Videos</a>{% endif %}
{% if curves %}<a href="#training">Training</a>{% endif %}
<a href="#repeat">Configuration</a>
</nav>
</header>
{% for warning in warnings %}<p class="warning">{{ warning }}</p>{% endfor %}
{% if lead %}
<div class="player lead {{ 'row' if lead.in_a_row else '' }}"><video autoplay controls loop muted
 playsinline width="{{ lead.width }}" height="{{ lead.height }}" poster="{{ lead.poster|url }}"
 src="{{ lead.file|url }}"></video></div>
<p class="note">{{ lead.name }}:
{% for row in lead.scores|reverse %}{{ row.name }} {{ row.mean|percent }}
{%- if not loop.last %}, {% endif %}{% endfor %} (mean score of a frame,
<a href="#differences">as below</a>). <a href="#videos">All videos</a></p>
{% endif %}
<div class="cards">
{% for card in cards %}
<div class="card"><b>{{ card.value|percent }}</b><strong>{{ card.name }}</strong>
<span>{{ card.note }}</span>
{% if card.change is not none %}<span class="change">{{ change(card.change) }} against the
baseline</span>{% endif %}</div>
{% endfor %}
{% for name, value in facts.items() %}
<div class="card fact"><b>{{ value }}</b><strong>{{ name }}</strong></div>
{% endfor %}
</div>
{% if tables %}
<section id="figures">
<h2>Average precision</h2>
<p class="note">COCO's, in percent, every frame counting as an image: AP is the mean over IoU
thresholds from 0.5 to 0.95, the last three columns are for instances of up to 32², up to 96², and
more pixels.</p>
{{ comparison(columns, tables) }}
{% for name, masks, boxes in ignored %}
<p class="note">{{ name }}: {{ masks }} masks and {{ boxes }} boxes lie on do-not-care regions and
count neither for nor against.</p>
{% endfor %}
{% if speed_tables %}
<h3>By speed</h3>
<p class="note">AP of instances that overlap themselves in the ten frames before and after by an IoU
above 0.9 (slow), below 0.7 (fast), and between.</p>
{{ comparison(speeds, speed_tables) }}
{% endif %}
{% if track_table %}
<h3>Tracks</h3>
<p class="note">Whole tracks instead of single frames. AP and AR are those of YouTube-VIS; HOTA is
made of how well instances are found (DetA) and how well their identities are kept (AssA), IDF1 and
MOTA count the same differently. Switches are changes of identity: the fewer, the better.</p>
{{ comparison(track_columns, track_table) }}
{% endif %}
{% if stability %}
<h3>Temporal stability</h3>
<p class="note">Whether the masks of an instance move with the picture: its mask, warped to the next
frame by optical flow, overlaps its mask there by so much, in percent of IoU, and by nothing where
it is missed
{%- if stability_pairs %}; the mean over {{ stability_pairs }} pairs of sightings{% endif %}. The
ground truth is what can be reached. Read it beside AP.</p>
<div class="sheet bars">
{% for row in stability %}
<span><i class="{{ row.kind }}"></i>{{ row.name }}</span>{{ bar(row) }}
<span>{{ row.values[0]|percent }}</span>
{% endfor %}
</div>
{% endif %}
</section>
{% endif %}
{% if sequences %}
<section id="sequences">
<h2>Sequences</h2>
<p class="note">Mask AP and temporal stability of each
{%- if runs|length > 1 %}, the greatest gain first{% endif %}.</p>
{{ key() }}
<div class="sheet"><table>
<thead><tr><td></td><td></td>
<th scope="col">AP</th>
{% if runs|length > 1 %}<th scope="col">of baseline</th><th scope="col">Change</th>{% endif %}
{% if stability %}
<th scope="col">Stability</th>{% if runs|length > 1 %}<th scope="col">of baseline</th>{% endif %}
<th scope="col">of truth</th>{% endif %}
<th scope="col">Frames</th><th scope="col">Instances</th></tr></thead>
<tbody>
{% for sequence in sequences %}
<tr><th scope="row">
{%- if sequence.name in links %}<a href="#{{ links[sequence.name] }}">{{ sequence.name }}</a>
{%- else %}{{ sequence.name }}{% endif %}</th>
<td class="chart-cell">{% for row in sequence.bars %}{{ bar(row) }}{% endfor %}</td>
{% for row in sequence.bars %}<td>{{ row.values[0]|percent }}</td>{% endfor %}
{% if runs|length > 1 %}<td>{{ change(sequence.change) }}</td>{% endif %}
{% if stability %}{% for row in sequence.stability %}<td>{{ row.values[0]|percent }}</td>
{% endfor %}{% endif %}
<td>{{ sequence.frames }}</td><td>{{ sequence.instances }}</td></tr>
{% endfor %}
</tbody></table></div>
</section>
{% endif %}
{% if runs|length > 1 %}
<section id="differences">
<h2>Where they differ most</h2>
<p class="note">{{ score_note() }} These are the frames on which the scores differ most, spread over
the videos.</p>
{% for side, frames in sides.items() %}
<h3>{{ side }}</h3>
{% for frame in frames %}
<article>
<header><h4><a href="{{ frame.film|url }}#t={{ frame.time }}">{{ frame.video }}</a>
<small>frame {{ frame.number }}</small></h4>
<p>{% for row in frame.scores %}<span><i class="{{ row.kind }}"></i>{{ row.name }}
{{ row.mean|percent }}</span>{% endfor %}{{ change(frame.change) }}</p></header>
<div class="pictures">
{% for caption, file in frame.pictures.items() %}
<figure><a href="{{ file|url }}"><img src="{{ file|url }}" loading="lazy" width="{{ frame.width }}"
 height="{{ frame.height }}" alt="{{ caption }}: {{ frame.video }}, frame {{ frame.number }}"></a>
<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
</div>
</article>
{% else %}
<p class="note">No frame, by a point or more.</p>
{% endfor %}
{% endfor %}
</section>
{% endif %}
{% if films %}
<section id="videos">
<h2>Videos</h2>
<p class="note">A detection takes the colour of the annotated instance that it overlaps (IoU 0.5 or
more) and keeps it while it can be followed; any other has a colour of its own. Percentages are
confidences, from {{ threshold }}. Hatched regions are do-not-care: they count neither for nor
against.</p>
{% if runs|length == 1 %}<p class="note">{{ score_note() }}</p>{% endif %}
{% for film in films %}
<article id="{{ links[film.name] }}">
<header><h4>{{ film.name }} <small>{{ film.frames }} frames</small></h4></header>
<div class="player {{ 'row' if film.in_a_row else '' }}"><video controls loop muted playsinline
 preload="none" width="{{ film.width }}" height="{{ film.height }}" poster="{{ film.poster|url }}"
 src="{{ film.file|url }}"></video></div>
{% if film.frames > 1 %}
<figure class="scores"><svg viewBox="0 0 {{ film.frames - 1 }} 100" preserveAspectRatio="none"
 role="img" aria-label="Score of each frame"><line x2="{{ film.frames - 1 }}"/>
<line y1="100" x2="{{ film.frames - 1 }}" y2="100"/>
{% for row in film.scores|reverse %}
<polyline class="{{ row.kind }}" points="
{%- for value in row[2] %}{{ loop.index0 }},{{ (100 - value)|round(1) }} {% endfor %}"/>
{% endfor %}
</svg><figcaption><span>Score of each frame; on average:</span>
{% for row in film.scores %}<span><i class="{{ row.kind }}"></i>{{ row.name }}
{{ row.mean|percent }}</span>{% endfor %}</figcaption></figure>
{% endif %}
{% if film.lanes %}
<figure class="lanes">
{% for lane in film.lanes %}
<h5>{{ lane.name }}</h5>
<div><svg viewBox="0 0 {{ film.frames }} {{ 12 * lane.bars|length }}" preserveAspectRatio="none"
 style="height: {{ 12 * lane.bars|length }}px" role="img" aria-label="{{ lane.name }} over time">
{% for span in lane.annotated %}
<rect class="truth" x="{{ span.start }}" width="{{ span.length }}"
 height="{{ 12 * lane.bars|length }}"/>
{% endfor %}
{% for bar in lane.bars %}{% set top = 12 * loop.index0 %}
{% for span in bar.found %}
<rect class="{{ bar.kind }}" x="{{ span.start }}" y="{{ top + 2 }}" width="{{ span.length }}"
 height="8"/>
{% endfor %}
{% for frame in bar.switches %}
<line class="switch" x1="{{ frame }}" x2="{{ frame }}" y1="{{ top }}" y2="{{ top + 12 }}"/>
{% endfor %}
{% endfor %}
</svg><p>{% for bar, words in lane.note %}<span><i class="{{ bar.kind }}"></i>{{ words }}</span>
{% endfor %}</p></div>
{% endfor %}
<figcaption>Annotated instances over time: <span><i class="truth"></i>annotated</span>
{% for row in film.scores %}<span><i class="{{ row.kind }}"></i>found by {{ row.name }}</span>
{% endfor %}<span><i class="switch"></i>another identity</span></figcaption>
</figure>
{% endif %}
</article>
{% endfor %}
</section>
{% endif %}
{% if curves %}
<section id="training">
<h2>Training</h2>
<p class="note">Losses and learning rate over the iterations.</p>
{{ key() }}
<div class="charts">
{% for name, svg in curves.items() %}
<figure class="chart"><figcaption>{{ name }}</figcaption>{{ svg|safe }}</figure>
{% endfor %}
</div>
</section>
{% endif %}
<section id="repeat">
<h2>Configuration</h2>
{% if settings %}
<h3>What differs</h3>
{{ texts(runs, settings) }}
{% endif %}
{% for name, run in runs.items() if run.config %}
<details><summary>Everything of {{ name }}</summary>
<pre><code>{{ run.config }}</code></pre></details>
{% endfor %}
<h3>Versions</h3>
{{ texts(*versions) }}
<h3>How to repeat it</h3>
<ol>
{% for step in steps %}<li>{{ step.text }}
{% if step.command %}<pre><code>{{ step.command }}</code></pre>{% endif %}</li>
{% endfor %}
</ol>
</section>
</main>
</body>
</html>
"""


def render(**content: Any) -> str:
    """The page, filled in."""
    filters = {"percent": percent, "signed": signed, "direction": direction, "url": quote}
    return fill_page(PAGE, filters, **content)


def fill_page(template: str, filters: Mapping[str, Any], **content: Any) -> str:
    """A page in the report's style from a jinja2 template, with ``style`` and ``content``."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters)
    return environment.from_string(template).render(style=STYLE, **content)


def percent(value: float | None) -> str:
    """With one digit after the point, and counts as they are; a dash for what is undefined."""
    if isinstance(value, int):
        return str(value)
    return "\N{EN DASH}" if value is None else f"{value:.1f}"


def signed(value: float | None) -> str:
    """The same with a sign, for differences."""
    if value is None or round(value, 1) == 0:
        return percent(value).removeprefix("-")
    text = f"{value:+d}" if isinstance(value, int) else f"{value:+.1f}"
    return text.replace("-", "\N{MINUS SIGN}")


def direction(value: float | None, less_is_better: bool = False) -> str:
    """Whether a difference is for the better, as the name of a style."""
    rounded = 0 if value is None else round(value, 1) * (-1 if less_is_better else 1)
    return "better" if rounded > 0 else "worse" if rounded < 0 else ""
