"""The page of a run: what it came to, its curves and pictures, how it was made."""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from mmkit.report.curves import draw_curves


_SKIPPED = {"step", "epoch", "time"}
_MAX_PICTURE_BYTES = 4_000_000

_STYLE = """
:root { color-scheme: light dark; --train: #2f6fab; --val: #c2571a; --test: #3a8a4d; --line: #8884; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; }
td, th { text-align: left; padding: .15rem 1.5rem .15rem 0; border-bottom: 1px solid var(--line); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-weight: 600; } .legend { font-weight: 400; margin-left: .5rem; }
svg text { font-size: 11px; fill: currentColor; opacity: .7; } svg .grid { stroke: var(--line); }
img { max-width: 100%; } pre { overflow: auto; padding: .8rem; border: 1px solid var(--line); font-size: 12px; }
"""


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` from what the run's directory holds; everything is inside the file.

    Args:
        run_dir: The run's directory; whatever is missing in it is left out.

    Returns:
        Path of the page.
    """
    record, metrics = _json(run_dir / "run.json"), _lines(run_dir / "metrics.jsonl")
    parts = [
        f"<h1>{escape(str(record.get('name') or run_dir.name))}</h1>",
        f"<p>{escape(str(record.get('status', 'running')))} · {escape(str(run_dir))}</p>",
        _section("Last values", _table(_last_values(metrics))),
        _section("Curves", _curves(metrics)),
        _section("Pictures", "".join(_picture(path, run_dir) for path in sorted(run_dir.rglob("*.png")))),
        _section("Attempts", _table({str(n): _told(a) for n, a in enumerate(record.get("attempts", []), 1)})),
        _section("Overrides", _text(run_dir / "overrides.yaml")),
        _section("Provenance", _text(run_dir / "provenance.json", fold=True)),
        _section("Configuration", _text(run_dir / "config.yaml", fold=True)),
    ]
    path = run_dir / "report.html"
    title = escape(str(record.get("name") or run_dir.name))
    path.write_text(f'<!doctype html><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>{"".join(parts)}\n')
    return path


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def _last_values(metrics: Iterable[dict[str, Any]]) -> dict[str, float]:
    last = {name: value for line in metrics for name, value in line.items() if name not in _SKIPPED and _is_number(value)}
    return dict(sorted(last.items()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curves(metrics: Iterable[dict[str, Any]]) -> str:
    curves: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for line in metrics:
        for name, value in line.items():
            stage, _, metric = name.partition("/")
            if metric and stage != "test" and _is_number(value) and _is_number(line.get("step")):
                curves[metric][stage].append((line["step"], value))
    drawn = [draw_curves(metric, series) for metric, series in sorted(curves.items()) if any(len(p) > 1 for p in series.values())]
    return f'<div class="curves">{"".join(drawn)}</div>' if drawn else ""


def _picture(path: Path, run_dir: Path) -> str:
    if path.stat().st_size > _MAX_PICTURE_BYTES:
        return f"<p>{escape(str(path.relative_to(run_dir)))}</p>"
    data = base64.b64encode(path.read_bytes()).decode()
    caption = escape(str(path.relative_to(run_dir)))
    return f'<figure><figcaption>{caption}</figcaption><img alt="{caption}" src="data:image/png;base64,{data}"></figure>'


def _told(entry: Any) -> str:
    return (
        ", ".join(f"{key} {value}" for key, value in entry.items() if value is not None)
        if isinstance(entry, dict)
        else str(entry)
    )


def _table(rows: dict[str, Any]) -> str:
    cells = "".join(
        f"<tr><th>{escape(name)}</th><td{' class=number' if _is_number(value) else ''}>"
        f"{f'{value:.4g}' if _is_number(value) else escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table>{cells}</table>" if cells else ""


def _text(path: Path, fold: bool = False) -> str:
    text = path.read_text().strip() if path.is_file() else ""
    if not text or text in ("[]", "{}"):
        return ""
    body = f"<pre>{escape(text)}</pre>"
    return f"<details><summary>{escape(path.name)}</summary>{body}</details>" if fold else body


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>{body}" if body else ""
