"""The style of the report page: light and dark, for desks and for phones."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --sheet: #ffffff; --ink: #1b1f24; --soft: #5b6470; --line: #e2e5ea;
  --code: #f3f4f7; --track: #eceef2;
  --run: #2563eb; --baseline: #9097a3; --truth: #c9ced6; --better: #15803d; --worse: #c2410c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1216; --sheet: #181c22; --ink: #e8ebf0; --soft: #9aa4b2; --line: #2a3038;
    --code: #12161b; --track: #242a32;
    --run: #6ea3ff; --baseline: #7d8796; --truth: #4a525e; --better: #4ade80; --worse: #fb923c;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 16px; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1160px; margin: 0 auto; padding: 48px 24px 72px; }
h1 { font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.15; letter-spacing: -.02em;
  margin: 0; text-wrap: balance; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 56px 0 4px; }
h3 { font-size: 1rem; margin: 28px 0 10px; }
h4 { font-size: 1rem; margin: 0; }
small { color: var(--soft); font-size: .85rem; font-weight: 400; }
p { margin: 8px 0 0; max-width: 76ch; }
a { color: inherit; text-decoration-color: var(--line); text-underline-offset: 3px; }
a:hover { text-decoration-color: currentColor; }
.lead { color: var(--soft); font-size: 1.05rem; overflow-wrap: anywhere; }
.note { color: var(--soft); font-size: .92rem; }
.warning { border-left: 3px solid var(--worse); padding: 2px 0 2px 12px; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 4px 20px; margin-top: 16px; font-size: .92rem; }
.sheet, .card, article, .chart { background: var(--sheet); border: 1px solid var(--line);
  border-radius: 14px; }
.sheet { overflow-x: auto; padding: 6px 18px; margin-top: 12px; }
.better { color: var(--better); }
.worse { color: var(--worse); }

.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin-top: 28px; }
.card { padding: 16px 18px; display: flex; flex-direction: column; }
.card b { font-size: 2.2rem; line-height: 1.25; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; color: var(--run); }
.card.fact b { font-size: 1.25rem; line-height: 2.75rem; color: inherit; }
.card > span { color: var(--soft); font-size: .82rem; line-height: 1.4; }
.card > .change { color: inherit; margin-top: 6px; }

.key { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: .88rem; color: var(--soft);
  margin-top: 10px; }
i { display: inline-block; width: .7em; height: .7em; border-radius: 3px; margin-right: .5em; }
i.run, .fill.run { background: var(--run); }
i.baseline, .fill.baseline { background: var(--baseline); }
i.truth, .fill.truth { background: var(--truth); }

table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 0 7px 16px; font-weight: 400; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { color: var(--soft); font-size: .85rem; }
tbody tr { border-top: 1px solid var(--line); }
tbody th[scope=rowgroup] { font-weight: 600; padding-top: 16px; }
tbody .change { border-top-style: dashed; }
tbody .change th { color: var(--soft); }
table.texts th, table.texts td { text-align: left; white-space: normal; min-width: 90px; }
table.texts { font-size: .9rem; }

.bars { display: grid; grid-template-columns: max-content 1fr max-content; gap: 8px 14px;
  align-items: center; padding: 14px 18px; font-variant-numeric: tabular-nums; }
.track { display: block; background: var(--track); border-radius: 4px; overflow: hidden; }
.fill { display: block; height: 10px; border-radius: 4px; min-width: 2px; }
td.chart-cell { width: 40%; min-width: 130px; }
td.chart-cell .track + .track { margin-top: 4px; }
td.chart-cell .fill { height: 7px; }

article { padding: 16px 18px 18px; margin-top: 14px; }
article header { display: flex; flex-wrap: wrap; gap: 2px 18px; align-items: baseline;
  margin-bottom: 10px; }
article header p { margin: 0; font-size: .92rem; font-variant-numeric: tabular-nums; display: flex;
  flex-wrap: wrap; gap: 2px 16px; }
.pictures { display: grid; grid-template-columns: repeat(4, 1fr); gap: 10px; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .85rem; color: var(--soft); }
.pictures img { display: block; width: 100%; height: auto; border-radius: 6px;
  background: var(--track); }
.pictures figcaption { margin-top: 4px; }
.player { overflow-x: auto; }
.player.lead { margin: 18px 0 8px; }
video { display: block; width: 100%; height: auto; border-radius: 8px; background: #16191e; }
.scores svg { display: block; width: 100%; height: 56px; margin-top: 14px; overflow: visible; }
.scores line { stroke: var(--line); vector-effect: non-scaling-stroke; }
.scores polyline { fill: none; stroke-width: 1.6; vector-effect: non-scaling-stroke;
  stroke-linejoin: round; }
polyline.run { stroke: var(--run); }
polyline.baseline { stroke: var(--baseline); }
.scores figcaption { margin-top: 6px; display: flex; flex-wrap: wrap; gap: 0 18px; }

.lanes { display: grid; grid-template-columns: max-content 1fr; gap: 10px 14px; margin-top: 16px; }
.lanes h5 { font-size: .85rem; font-weight: 400; margin: 0; }
.lanes svg { display: block; width: 100%; border-radius: 4px; }
.lanes .truth { opacity: .5; }
.lanes p { margin: 2px 0 0; font-size: .8rem; color: var(--soft); }
.lanes p, .lanes figcaption { display: flex; flex-wrap: wrap; gap: 0 18px; }
.lanes figcaption { grid-column: 1 / -1; }
rect.truth { fill: var(--truth); }
rect.run { fill: var(--run); }
rect.baseline { fill: var(--baseline); }
line.switch { stroke: var(--worse); stroke-width: 3; vector-effect: non-scaling-stroke; }
i.switch { background: var(--worse); width: 3px; border-radius: 0; }

.charts { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin-top: 14px; }
.chart { padding: 12px 14px; }
.chart figcaption { font-weight: 600; color: var(--ink); margin-bottom: 4px; }
.chart svg { display: block; width: 100%; height: auto; color: var(--soft); }
.chart svg text { font-family: inherit !important; }

ol { padding-left: 22px; margin: 12px 0 0; }
ol pre { white-space: pre-wrap; overflow-wrap: anywhere; }
li { margin-bottom: 10px; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 10px; margin: 6px 0 0;
  padding: 12px 14px; overflow-x: auto; }
code { font: .84rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
details { margin-top: 12px; }
summary { cursor: pointer; padding: 6px 0; }
details pre { max-height: 480px; overflow: auto; }

@media (max-width: 900px) {
  .charts { grid-template-columns: repeat(2, 1fr); }
}
@media (max-width: 600px) {
  main { padding: 28px 14px 48px; }
  h2 { margin-top: 44px; }
  .cards { grid-template-columns: repeat(2, 1fr); gap: 8px; }
  .card { padding: 12px 14px; }
  .card b { font-size: 1.8rem; }
  .sheet { padding: 4px 12px; }
  .sheet.bars { padding: 10px 12px; }
  table { font-size: .84rem; }
  th, td { padding-left: 8px; }
  thead th { white-space: normal; vertical-align: bottom; }
  td.chart-cell { min-width: 72px; }
  article { padding: 12px; border-radius: 12px; }
  .pictures { grid-template-columns: repeat(2, 1fr); gap: 8px; }
  .lanes { grid-template-columns: minmax(0, 1fr); gap: 4px; }
  .lanes div { margin-bottom: 8px; }
  .player.row video { width: 640px; }
  .charts { grid-template-columns: 1fr; gap: 8px; }
}
"""
