import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.report import write_report
from mmkit.report.curves import HEIGHT, WIDTH, draw_curves, ticks


@pytest.fixture
def run_dir(tmp_path):
    lines = [{"step": step, "time": 1.0, "train/loss": 1 / (step + 1), "val/loss": 0.5} for step in range(0, 50, 10)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 5, "half')
    (tmp_path / "run.json").write_text(json.dumps({"name": "<b>bold</b>", "status": "finished", "attempts": [{"from_step": 0}]}))
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    return tmp_path


def test_page_holds_values_curves_and_configuration_and_refers_to_nothing_outside(run_dir):
    page = write_report(run_dir).read_text()
    assert "0.02439" in page  # the last training loss, 1 / 41
    assert page.count("<polyline") == 2
    assert "seed: 1" in page
    assert "&lt;b&gt;bold" in page
    assert "<b>bold" not in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_page_of_an_empty_directory_says_what_it_can(tmp_path):
    assert tmp_path.name in write_report(tmp_path).read_text()


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e9, 1e9)), min_size=2, max_size=9, unique_by=lambda point: point[0]))
def test_curves_stay_inside_the_figure_and_go_up_where_values_do(points):
    figure = draw_curves("loss", {"train": points})
    placed = [tuple(map(float, pair.split(","))) for pair in re.search(r'points="([^"]+)"', figure).group(1).split()]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in placed)
    values = [value for _, value in sorted(points)]
    for (_, above), (_, below), a, b in zip(placed, placed[1:], values, values[1:], strict=False):
        assert (a - b) * (below - above) >= 0 or abs(above - below) <= 0.1


def test_values_that_are_not_finite_are_left_out():
    assert draw_curves("loss", {"train": [(0, float("nan"))]}) == ""
    assert "nan" not in draw_curves("loss", {"train": [(0, float("nan")), (1, 2.0), (2, 3.0)]})


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_inside(low, width):
    found = ticks(low, low + width)
    assert 2 <= len(found) <= 9
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) + 1e-6 for tick in found)
