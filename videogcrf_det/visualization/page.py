"""The frame of the report page and its style."""

from string import Template

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --sheet: #ffffff; --ink: #1b1f24; --soft: #5b6470; --line: #e1e4e9;
  --accent: #2563eb; --code: #f0f2f5; --good: #15803d; --bad: #b42318;
  --run: #2563eb; --baseline: #9aa3af;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1216; --sheet: #181c22; --ink: #e8ebf0; --soft: #9aa4b2; --line: #2a3038;
    --accent: #7aaaff; --code: #11151a; --good: #4ade80; --bad: #ff8a7a;
    --run: #7aaaff; --baseline: #6b7684;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 48px 24px 64px; }
h1 { font-size: clamp(1.7rem, 4.5vw, 2.5rem); line-height: 1.15; letter-spacing: -.02em;
  margin: 0; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 48px 0 4px; }
h3 { font-size: 1rem; margin: 0 0 10px; }
h3 small, .note { color: var(--soft); font-weight: 400; }
p { margin: 8px 0 0; max-width: 72ch; }
.lead { color: var(--soft); font-size: 1.05rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 28px 0 16px; }
.card, article, figure, .sheet { background: var(--sheet); border: 1px solid var(--line);
  border-radius: 14px; }
.card { padding: 16px 18px; display: flex; flex-direction: column; }
.card b { font-size: 1.25rem; line-height: 1.3; font-weight: 650; letter-spacing: -.02em;
  min-height: 2.9rem; display: flex; align-items: center; }
.card.score b { font-size: 2.2rem; color: var(--accent); font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .82rem; line-height: 1.35; }
.sheet { overflow-x: auto; padding: 6px 18px; margin-top: 12px; }
.sheet + p { margin-top: 24px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 8px 0 8px 16px; font-weight: 400; }
th:first-child, td:first-child { text-align: left; padding-left: 0; font-weight: 600; }
thead th { color: var(--soft); font-size: .85rem; }
tbody tr { border-top: 1px solid var(--line); }
article { padding: 18px; margin-top: 16px; }
video { display: block; width: 100%; height: auto; border-radius: 8px;
  background: #16191e; }
.gain { color: var(--good); } .loss { color: var(--bad); }
.bars { display: grid; grid-template-columns: minmax(90px, max-content) 1fr; gap: 10px 16px;
  align-items: center; padding: 14px 18px; font-variant-numeric: tabular-nums; }
.bars > span { overflow-wrap: anywhere; }
.bar { display: flex; align-items: center; gap: 8px; font-size: .82rem; color: var(--soft);
  line-height: 1.3; }
.bar i { display: block; height: 11px; border-radius: 3px; background: var(--baseline);
  min-width: 2px; width: calc(var(--value) * (100% - 56px)); }
.bar.run i { background: var(--accent); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--soft); font-size: .85rem; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  background: var(--baseline); margin-right: 6px; }
.legend .run i { background: var(--accent); }
.frames { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
  gap: 12px; margin-top: 12px; }
.frames img { display: block; width: 100%; height: auto; border-radius: 8px; }
.frames figcaption { font-weight: 400; font-size: .88rem; margin: 8px 0 0; }
.curves { display: grid; grid-template-columns: repeat(3, 1fr); gap: 12px; margin-top: 16px; }
.curves figure:first-child { grid-column: span 2; }
figure { margin: 0; padding: 14px 16px; min-width: 0; }
figcaption { font-weight: 600; margin-bottom: 6px; }
figure svg { display: block; width: 100%; height: auto; color: var(--soft); }
figure svg text { font-family: inherit !important; }
ol { padding-left: 22px; margin: 12px 0 0; }
li { margin-bottom: 10px; }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 10px; margin: 6px 0 0;
  padding: 12px 14px; overflow-x: auto; }
code { font: .84rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 12px 24px;
  margin: 8px 0; }
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin-top: 12px; }
summary { cursor: pointer; padding: 8px 0; font-weight: 600; }
details pre { max-height: 480px; overflow: auto; margin-bottom: 14px; }
@media (max-width: 600px) {
  main { padding: 28px 14px 48px; }
  h2 { margin-top: 36px; }
  .cards { grid-template-columns: repeat(6, 1fr); gap: 8px; }
  .card { grid-column: span 3; padding: 12px 14px; }
  .card.score { grid-column: span 2; }
  .card.score b { font-size: 1.7rem; }
  .card b { font-size: 1.1rem; min-height: 2.2rem; }
  article { padding: 10px; border-radius: 12px; }
  .player { overflow-x: auto; }
  .player video { width: 620px; }
  .curves { grid-template-columns: 1fr; }
  .curves figure:first-child { grid-column: auto; }
  .sheet { padding: 4px 12px; }
  .bars { grid-template-columns: 1fr; gap: 4px; padding: 10px 12px; }
  .bars > div { margin-bottom: 8px; }
  table { font-size: .88rem; }
  th, td { padding-left: 6px; }
}
"""

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<header>
<h1>$title</h1>
<p class="lead">$summary</p>
</header>
<div class="cards">$cards</div>
$sections
</main>
</body>
</html>
""")
