"""A report in each format, made of real analyses."""

import json
import re
from html.parser import HTMLParser

import pytest

from gnomon.cli import report_charts
from gnomon.cli.options import ReportFormat
from gnomon.cli.report_sections import headline, judged
from gnomon.cli.report_texts import foreign, milliseconds
from gnomon.cli.reporting import print_in
from gnomon.testing.reports import pair_state, report_of

LABELS = (("late", "on time"), *[("on time", "on time")] * 4)
HOSTILE = "</code><script>alert('x')</script>|`a`\x1b[2J\u202e@someone"


class Page(HTMLParser):
    """The tags and the text of a page; tags that are opened and not closed are in `open`."""

    VOID = frozenset({"meta", "line", "path", "rect"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.attributes, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def ready():
    return report_of(pair_state(16_000))


def not_ready():
    return report_of(
        pair_state(
            3_000,
            slow_down=1.3,
            paths=("/label", "/at"),
            differ=0.3,
            predictions=LABELS,
            not_compared=500,
        )
    )


def undecided():
    return report_of(pair_state(1_500))


def regression():
    numbers = tuple((n * 1.5, n * 1.5 + 0.25) for n in range(40))
    return report_of(pair_state(1_000, predictions=numbers))


def empty():
    return report_of(pair_state(0))


REPORTS = {f.__name__: f for f in (ready, not_ready, undecided, regression, empty)}


@pytest.fixture(scope="module")
def reports():
    return {name: make() for name, make in REPORTS.items()}


@pytest.fixture
def printed(capsys):
    def run(format_, report):
        capsys.readouterr()
        print_in(format_, report)
        return capsys.readouterr().out

    return run


def section(report, title):
    return next(s for s in judged(report["analysis"]) if s.title == title)


def test_the_verdict_is_one_line_with_its_reasons(reports):
    said = {name: headline(report["analysis"]) for name, report in reports.items()}
    assert said["ready"] == "ready: Every rule that must be is met."
    assert said["not_ready"].startswith("not ready: Typical slow-down: the interval from 1.2")
    assert said["undecided"].startswith("undecided: Error rate: ")
    assert said["empty"] == "undecided: There are 0 pairs, and it takes 1000."
    assert not any("\n" in line for line in said.values())


@pytest.mark.parametrize("format_", [f for f in ReportFormat if f is not ReportFormat.JSON])
@pytest.mark.parametrize("name", REPORTS)
def test_every_format_has_the_verdict_and_every_section(name, format_, reports, printed):
    report = reports[name]
    text = printed(format_, report)
    if format_ is ReportFormat.HTML:
        text = Page(text).text
    if format_ is ReportFormat.MARKDOWN:
        text = text.replace("\\", "")
    squeezed = " ".join(text.split())
    assert headline(report["analysis"]) in squeezed
    for found in judged(report["analysis"]):
        assert found.title in squeezed
        for line in found.lines:
            assert line in squeezed
    assert "mirrored" in squeezed


def test_hashes_of_labels_are_said_to_be_such(reports):
    hashed = report_of(pair_state(20, predictions=LABELS, hashed=lambda label: f"#{len(label)}"))
    confusion = section(hashed, "Labels that are not the same")
    assert confusion.rows == (("#4", "#7", "4"),)
    assert any("KMS key" in line for line in confusion.lines)
    in_clear = section(reports["not_ready"], "Labels that are not the same")
    assert not any("KMS key" in line for line in in_clear.lines)


def test_json_is_the_report_as_it_came(reports, printed):
    assert json.loads(printed(ReportFormat.JSON, reports["not_ready"])) == reports["not_ready"]


def test_an_experiment_without_an_analysis_has_its_counts(reports, printed):
    report = {**reports["ready"], "analysis": None, "distributions": {}, "progress": []}
    for format_ in ReportFormat:
        assert "invocations" in printed(format_, report)


def test_rules_have_their_state_figures_interval_and_margin(reports):
    rows = {row[0]: row[1:] for row in section(reports["not_ready"], "Rules").rows}
    state, changed, interval, margin, pairs = rows["typical slow-down"]
    assert (state, margin, pairs) == ("broken", "at most × 1.100", "3,000")
    assert re.fullmatch(r"× 1\.(29|30)\d", changed)
    assert re.fullmatch(r"× 1\.\d{3} to × 1\.\d{3}", interval)
    assert rows["error rate"][0] == "open"
    assert re.fullmatch(r"-0\.\d+ to \+0\.\d+ points", rows["error rate"][2])


def test_an_open_rule_says_what_would_settle_it(reports):
    lines = section(reports["undecided"], "Rules").lines
    (said,) = [line for line in lines if line.startswith("error rate is open")]
    assert re.search(r"about \d+ more pairs like those so far settle it\. That takes about", said)


def test_what_is_not_known_is_said_and_has_no_number(reports):
    rows = section(reports["empty"], "Measures").rows
    for _, production, shadow, changed, interval, pairs in rows:
        assert (production, shadow, changed, pairs) == ("-", "-", "-", "0")
        assert interval.startswith("inconclusive: ")


def test_a_busy_machine_is_named():
    report = report_of(pair_state(1_000), is_contended=True)
    assert any("contended" in line for line in section(report, "Rules").lines)


def test_pairs_that_were_not_compared_are_said_with_how_many_there_were(reports):
    lines = section(reports["not_ready"], "Answers").lines
    assert "not compared 500 of 3,000: more came than could be compared" in lines


def test_paths_are_listed_with_examples_and_noise_is_marked():
    state = pair_state(1_000, paths=("/at",), differ=1.0)
    noise = pair_state(60, paths=("/at",), differ=1.0)
    state.noise.merge(noise.answers)
    (row,) = section(report_of(state), "Where answers differ").rows
    assert row == ("/at", "1,000", "100.00 % (noise)", "100.00 %", "event-00000, event-00001")


def test_labels_that_are_not_the_same_come_without_those_that_are(reports):
    assert section(reports["not_ready"], "Labels that are not the same").rows == (
        ("late", "on time", "600"),
    )


def test_a_regression_has_its_figures(reports):
    rows = dict(section(reports["regression"], "Numbers").rows)
    assert (rows["mean difference"], rows["correlation"]) == ("0.25", "1.0000")
    assert (rows["production's mean"], rows["shadow's mean"]) == ("29.25", "29.5")


def hostile():
    return report_of(
        pair_state(1_000, paths=(HOSTILE,), differ=0.5, predictions=((HOSTILE, "b"), ("b", "b")))
    )


def test_no_text_of_a_model_is_markup_of_a_page(printed):
    page = Page(printed(ReportFormat.HTML, hostile()))
    assert "script" not in page.tags
    assert page.open == []
    assert "<script>alert('x')</script>" in page.text


def test_no_text_of_a_model_reaches_a_terminal_as_a_command(printed):
    for format_ in (ReportFormat.TABLE, ReportFormat.MARKDOWN, ReportFormat.HTML):
        text = printed(format_, hostile())
        assert "\x1b[2J" not in text
        assert "\u202e" not in text
        assert "\\u001b[2J" in text


def test_a_text_of_a_model_is_one_cell_of_code_in_markdown(printed):
    lines = printed(ReportFormat.MARKDOWN, hostile()).splitlines()
    rows = [line for line in lines if "alert" in line]
    assert rows
    for row in rows:
        assert re.search(r"\| ``[^|]*\\\|`a`[^|]*`` \|", row)


def test_a_long_text_of_a_model_is_cut():
    assert len(foreign("x" * 10_000)) == 120


def test_a_page_needs_no_network_and_no_script(reports, printed):
    page = Page(printed(ReportFormat.HTML, reports["not_ready"]))
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "onload"} & {name for name, _ in page.attributes}
    assert page.tags.count("svg") == 3


def test_a_page_without_pairs_has_no_empty_charts(reports, printed):
    assert "svg" not in Page(printed(ReportFormat.HTML, reports["empty"])).tags


def test_the_charts_show_both_distributions_and_the_margin(reports):
    report = reports["not_ready"]
    found = report_charts.latencies(report["distributions"])
    assert set(found.paths) == {"production", "shadow"}
    assert [tick.label for tick in found.x] == ["2 ms", "5 ms", "10 ms"]
    over_time = report_charts.slow_down(report["progress"], 1.1)
    assert set(over_time.paths) == {"change", "interval"}
    # Upwards is slower: what is measured, then the margin, then no difference.
    top = float(over_time.paths["change"].split("L")[-1].split()[1])
    assert top < over_time.lines["margin"] < over_time.lines["none"]


def test_a_distribution_adds_up_to_all_of_its_pairs():
    shares = report_charts._shares([[1000, 1010, 30], [2000, 4000, 70]], 2.5, 4.0)
    assert sum(shares) == pytest.approx(1.0)


@pytest.mark.parametrize("progress", [[], [{"at_s": 1, "change": None, "low": 1, "high": 2}]])
def test_without_a_slow_down_there_is_no_chart_of_it(progress):
    assert report_charts.slow_down(progress, 1.1) is None


@pytest.mark.parametrize(
    ("low", "high"), [(None, None), (1.0, None), (None, 1.3)], ids=["none", "low", "high"]
)
def test_a_missing_bound_reaches_the_edge_of_the_chart(low, high):
    item = {"at_s": 5.0, "change": 1.2, "low": low, "high": high}
    found = report_charts.slow_down([item], None)
    assert ("interval" in found.paths) == (low is not None or high is not None)


@pytest.mark.parametrize(
    ("figure", "said"), [(0.1234, "0.123 ms"), (1234.5, "1,234 ms"), (12_345.0, "12.3 s")]
)
def test_latencies_have_the_unit_that_suits_them(figure, said):
    assert milliseconds(figure) == said


def test_what_a_figure_assumes_stands_with_its_method():
    report = report_of(pair_state(1_200))
    lines = section(report, "Measures").lines
    assert any("assumes independent pairs" in line for line in lines)
    assert any("assumes that blocks are longer" in line for line in lines)
    assert all(
        "assumes" in line for line in lines if not line.startswith(("mean lat", "median size"))
    )


def test_what_a_comparator_raised_last_is_shown_as_text():
    state = pair_state(200)
    state.raised = (1.0, "KeyError: \x1b[1m'score'")
    (said,) = [line for line in section(report_of(state), "Answers").lines if "failed" in line]
    assert said == r"the comparator failed last with: KeyError: \u001b[1m'score'"


def test_the_row_of_a_median_difference_has_no_means_in_it():
    report = report_of(pair_state(1_200, predictions=((1.5, 2.5), (2.25, 3.5))), task="regression")
    (row,) = [row for row in section(report, "Measures").rows if row[0].startswith("median of")]
    assert row[1:3] == ("-", "-")
    assert "production's mean" in dict(section(report, "Numbers").rows)


def test_the_sizes_of_answers_have_a_row():
    report = report_of(pair_state(200))
    (row,) = [row for row in section(report, "Measures").rows if row[0] == "median size"]
    assert row[1] == row[2]
    assert row[1].endswith(" bytes")
