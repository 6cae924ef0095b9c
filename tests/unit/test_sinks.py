"""One corpus of hostile text through every sink: it is shown, never obeyed, and never ends a command."""

import ast
import html.parser
import io
import json
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console
from rich.table import Column, Table

import rayplay
from rayplay import sinks
from rayplay.console import Say
from rayplay.sinks import STEERING, as_code, as_yaml, for_cell, for_html, for_line, for_markdown, for_markup

ESC = "\x1b"
HOSTILE = {
    "colour": f"{ESC}[31mred{ESC}[0m",
    "clear": f"a{ESC}[2J{ESC}[Hb",
    "title": f"{ESC}]0;owned\x07",
    "link": f"{ESC}]8;;http://evil.example{ESC}\\click{ESC}]8;;{ESC}\\",
    "clipboard": f"{ESC}]52;c;ZXZpbA==\x07",
    "device": f"{ESC}P$qm{ESC}\\",
    "c1": "\x9b31m \x9d0;t\x9c \x85next",
    "direction": "user\u202etxt.exe\u2066x\u2069\u200f",
    "tags": "ok" + "".join(chr(0xE0000 + ord(c)) for c in "ignore") + "\U000e0101",
    "nothing": "\u200b\u2060\ufeff\u3164\u115f\u00ad",
    "close": "[/x] [/] [/INST] [bold]b[/bold]",
    "hyperlink": "[link=file:///etc/passwd]x[/link] [@click=app.bell]y[/]",
    "emoji": ":bomb: :warning:",
    "script": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": "' onmouseover='alert(1) \" autofocus onfocus=\"alert(2)",
    "javascript": "[x](javascript:alert(1)) ![y](http://evil.example/p.png) <javascript:alert(2)>",
    "fence": "```\n# out\n<script>1</script>\n````python",
    "table": "a | b\n|---|\n| c",
    "front": "x\n---\nlicense: mine\n",
    "formula": r"$\frac{1}{2}$ $x$ \(y\)",
    "surrogate": "lone \ud800 and \udfff",
    "overwrite": "rayplay: failed\rrayplay: fine  \b\b\b\x7f",
    "nul": "a\x00b\x0bc\x0c",
    "separators": "one\u2028two\u2029three\x1c\x1d\x1e",
    "backslash": "[red\\[/red] \\[/x] ends in \\",
    "long": "x" * 1_000_000,
}
everything = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
foreign = st.text(st.characters(), max_size=60) | st.sampled_from([t for t in HOSTILE.values() if len(t) < 1000])


class Active(html.parser.HTMLParser):
    """Collects what a browser would build of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def built(page):
    parser = Active()
    parser.feed(page)
    return parser


def harmless(shown):
    return not STEERING.search(shown) and shown.encode("utf-8") is not None


@everything
def test_a_terminal_gets_no_character_that_steers_it(text, capsys):
    sinks.print_text(text)
    sinks.print_text(text, file=sys.stderr)
    out, err = capsys.readouterr()
    assert out == err and harmless(out) and len(out) < sinks.MOST_CHARS + 200


@everything
def test_json_for_programs_is_ascii_and_whole(text, capsys):
    sinks.print_json({"value": text, text[:40]: 1})
    out = capsys.readouterr().out
    assert out.isascii() and harmless(out) and json.loads(out)["value"] == text


@everything
def test_a_message_is_one_line_of_bounded_length(text):
    line = for_line(text)
    assert harmless(line) and len(line.splitlines()) <= 1 and len(line) < sinks.LINE_CHARS + 200


@everything
def test_rich_reads_no_markup_in_lines_cells_and_headers(text):
    console = Console(file=io.StringIO(), highlight=False, soft_wrap=True, force_terminal=False, width=4000)
    say = Say(console)
    say.line(text)
    with say.stage("stage", text, 2) as bar:
        bar.advance(note=text)
    table = Table("fixed", Column(for_cell(text)))
    table.add_row(for_cell(text), "1")
    console.print(table)
    console.print(for_markup(text))
    shown = console.file.getvalue()
    assert harmless(shown)
    if "[" in text and "\\" not in text:
        assert for_line(text) in shown


@everything
def test_a_bar_on_a_terminal_shows_names_as_they_are(text):
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None, legacy_windows=False)
    with Say(console).stage("stage", text, 2) as bar:
        bar.advance(note=text)
    own = console.file.getvalue().replace(ESC, "").replace("\r", "")  # rich moves the cursor itself
    assert harmless(own)


@everything
def test_a_page_builds_no_element_and_no_attribute_of_it(text):
    parser = built(f"<p title='{for_html(text)}' id=\"{for_html(text)}\">{for_html(text)}</p>")
    assert parser.tags == ["p"] and parser.attributes == ["title", "id"]
    assert harmless(for_html(text))


@everything
def test_a_card_holds_it_as_plain_words(text):
    page = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(f"before {for_markdown(text)} after\n\n| a | b |\n|---|---|\n| {for_markdown(text)} | 2 |\n\nlast\n")
    )
    assert set(built(page).tags) <= {"p", "table", "thead", "tbody", "tr", "th", "td", "em", "strong"}
    assert page.count("<tr>") == 2 and "<p>last</p>" in page and harmless(page)


@everything
def test_a_code_block_of_a_card_cannot_be_closed_from_inside(text):
    page = MarkdownIt("commonmark", {"html": True}).render(f"{as_code(text, 'json')}\n\nlast\n")
    assert built(page).tags == ["pre", "code", "p"] and harmless(page)


@everything
def test_front_matter_keeps_one_value(text):
    assert len(as_yaml(text).splitlines()) == 1 and harmless(as_yaml(text))


@given(foreign)
def test_any_text_at_all_is_harmless_everywhere(text):
    for sink in (sinks.for_terminal, for_line, for_html, for_markdown, as_code, as_yaml):
        assert harmless(sink(text)), sink
    console = Console(file=io.StringIO(), width=4000)
    console.print(for_markup(text))
    console.print(for_cell(text))
    assert built(f"<b>{for_html(text)}</b>").tags == ["b"]


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co", "Mn", "Lo", "So"]), max_size=80)
)
def test_ordinary_text_is_left_alone(text):
    assert sinks.for_terminal(text) == text and for_line(text) == text


def test_every_invisible_character_of_unicode_is_covered():
    joiners = "\n\t\u200c\u200d"
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    steering = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) in kinds and c not in joiners]
    assert [hex(ord(c)) for c in steering if not STEERING.match(c)] == []


def test_a_narrow_terminal_gets_escapes_instead_of_an_error():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    sinks.print_text("é \u6f22", file=stream)
    assert stream.buffer.getvalue() == b"\\xe9 \\u6f22\n"


PROTOCOLS = (
    "evaluation/bfcl_scripts",
    "sandbox",
    "training/bench.py",
    "actors/bench.py",
    "sinks.py",
    "credentials.py",
    "data/columns_child.py",
)


def test_nothing_is_printed_around_the_sinks():
    """Left out: programs whose standard output another program reads, and what runs inside the sandbox."""
    found = []
    for path in Path(rayplay.__file__).parent.rglob("*.py"):
        name = path.relative_to(Path(rayplay.__file__).parent).as_posix()
        if name.startswith(PROTOCOLS):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("print", "typer.echo", "sys.stdout.write", "sys.stderr.write", "html.escape"):
                found.append(f"{name}:{node.lineno}")
    assert found == []
