"""A page within a notebook: its scripts run, its links lead within it, and without frames its text is there."""

from __future__ import annotations

from html import unescape

from gisttools.report import Inline

PAGE = '<!doctype html><html><head><title>t</title></head><body><a href="#x">a "q" & <b id="x">x</b></a></body></html>'


def test_a_page_stands_in_a_frame_whole_and_its_links_lead_within_it(tmp_path):
    page, text = tmp_path / "report.html", tmp_path / "report.md"
    page.write_text(PAGE)
    text.write_text("| a |\n| --- |")
    shown = Inline(page, text)._repr_mimebundle_()
    assert shown["text/markdown"] == text.read_text()
    assert shown["text/plain"] == str(page) == repr(Inline(page))
    frame = shown["text/html"]
    assert "<script" not in frame  # the notebook's own page strips scripts, and must not reach into this one
    source = unescape(frame.split('srcdoc="')[1].split('"')[0])
    assert source == PAGE.replace("<head>", '<head><base href="about:srcdoc">')
    assert str(page) in frame
