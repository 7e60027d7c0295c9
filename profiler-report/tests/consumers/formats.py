#!/usr/bin/env python3
"""Checks exports of one recording with the parsers of those who read them: formats.py DIR

DIR holds report.json and report.{junit,hlog,csv,markdown,folded}. Needs `pip install hdrhistogram junitparser
markdown-it-py`, and Brendan Gregg's flamegraph.pl as $FLAMEGRAPH.
"""
import csv
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path


def spans(todo):
    todo = list(todo)
    while todo:
        span = todo.pop()
        todo += span["spans"]
        yield span


def junit(path, report):
    from junitparser import JUnitXml

    suites = list(JUnitXml.fromfile(str(path)))
    cases = [case for suite in suites for case in suite]
    titles = [phase["title"] for phase in report["phases"]]
    assert len(suites) == 1 and len(cases) == len(titles) + 1, (len(suites), len(cases))
    assert [suite.tests for suite in suites] == [len(cases)]
    for case, phase in zip(cases[1:], report["phases"]):
        assert abs(case.time * 1e9 - phase["duration_ns"]) < 1, case.name
    failed = sum(1 for case in cases if case.is_failure)
    assert failed == suites[0].failures and (failed > 0) == (report["outcome"] == "failed"), failed
    return f"{len(cases)} cases, {failed} failed"


def hlog(path, report):
    from hdrh.log import HistogramLogReader
    from hdrh.histogram import HdrHistogram

    reader = HistogramLogReader(str(path), HdrHistogram(1, 1 << 62, 3))
    calls = intervals = 0
    while histogram := reader.get_next_interval_histogram():
        calls, intervals = calls + histogram.get_total_count(), intervals + 1
    own = sum(1 for phase in report["phases"] for span in spans(phase["spans"]) if span["duration_ns"] is not None)
    counted = sum(hot["count"] for hot in report["hot"])
    assert calls == own + counted, (calls, own, counted)
    return f"{intervals} histograms of {calls} calls"


def table(path, report):
    lines = list(csv.DictReader(open(path, newline=""), strict=True))
    phases = [line for line in lines if line["record"] == "phase"]
    assert [int(line["duration_ns"]) for line in phases] == [phase["duration_ns"] for phase in report["phases"]]
    total = list(spans(report["brownout"])) + [span for phase in report["phases"] for span in spans(phase["spans"])]
    assert sum(line["record"] == "span" for line in lines) == len(total)
    return f"{len(lines)} lines"


def markdown(path, report):
    from markdown_it import MarkdownIt

    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(path.read_text())
    rows = re.findall(r"<tr>\n<td>.*?</tr>", page.split("</table>")[0], re.DOTALL)
    # The window is a row too, where there is one.
    assert len(rows) == len(report["phases"]) + (report["window"] is not None), len(rows)
    for row, phase in zip(rows, report["phases"]):
        assert phase["title"] in row, row
    return f"{len(rows)} rows"


def folded(path, report):
    picture = subprocess.run(["perl", os.environ["FLAMEGRAPH"], path], check=True, capture_output=True, text=True)
    assert not picture.stderr, picture.stderr
    frames = xml.fromstring(picture.stdout).findall(".//{*}title")
    whole = next(frame.text for frame in frames if frame.text.startswith("all "))
    assert int(re.sub(r"\D", "", whole.split("samples")[0])) == report["window"]["duration_ns"], whole
    return f"{len(frames)} frames"


def main():
    folder = Path(sys.argv[1])
    report = json.load(open(folder / "report.json"))
    for name, check in [("junit", junit), ("hlog", hlog), ("csv", table), ("markdown", markdown), ("folded", folded)]:
        path = folder / f"report.{name}"
        print(f"{name}: {check(path, report)}" if path.exists() else f"{name}: no window, no {name}")


main()
