"""The command line, against a scripted service where one is needed."""

import asyncio
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from tests.api.stage import FINISH, NO_TARGET, PNG, SEGMENT, Cast, call, on_air
from typer.testing import CliRunner

from rsagent import examples
from rsagent.api.requests import Options
from rsagent.cli import app as command_line
from rsagent.cli import main
from rsagent.cli.app import app
from rsagent.cli.segment import options_of, segment, write_overlay
from rsagent.cli.show import Drawing
from rsagent.client import AsyncClient
from rsagent.errors import RSAgentError

RUNNER = CliRunner()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    return path


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_teaches_the_first_commands() -> None:
    shown = RUNNER.invoke(app, ["--help"]).output
    for words in ("serve", "segment", "batch", "examples", "settings", "what you drink from"):
        assert words in shown


def test_examples_are_listed_with_their_sentences() -> None:
    shown = RUNNER.invoke(app, ["examples"]).output
    for example in examples.load():
        assert example.path.name in shown
        assert all(sentence in shown for sentence in example.sentences)


def test_settings_are_listed_with_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RSAGENT_POLICY__OPENAI__API_KEY", "very-secret")
    shown = RUNNER.invoke(app, ["settings"]).output
    assert "RSAGENT_SERVER__PORT=8080" in shown
    assert "RSAGENT_SEGMENTER__VARIANT=nano" in shown
    assert "very-secret" not in shown


def test_a_wrong_setting_is_one_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RSAGENT_SERVER__PORT", "many")
    monkeypatch.setattr("sys.argv", ["rsagent", "settings"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "RSAGENT_SERVER__PORT" in capsys.readouterr().err


def test_a_missing_picture_is_a_usage_error() -> None:
    shown = RUNNER.invoke(app, ["segment", "nowhere.jpg", "the box"])
    assert shown.exit_code == 2
    assert "nowhere.jpg" in shown.output


async def drawn(cast: Cast, pictures: bool = False) -> str:
    out = io.StringIO()
    drawing = Drawing(Console(file=out, width=200, force_terminal=False), pictures)
    async with on_air(cast) as stage, AsyncClient(stage.url) as client:
        async for event in client.stream(PNG, "the box", options=options_of(None, None, pictures, None)):
            drawing.draw(event)
    return out.getvalue()


async def test_the_turns_are_drawn_as_words() -> None:
    shown = await drawn(Cast([SEGMENT, "hm", call("zoom", bbox_2d=[0, 0, 500, 500]), FINISH]))
    for words in ("the box", "turn 1", "segment box", "mask 1", "predicted IoU 0.90", "no valid action", "zoom into",
                  "finish with mask 1", "✓ 1 mask submitted after 4 turns"):  # fmt: skip
        assert words in shown


async def test_absence_and_an_early_end_are_drawn_as_such() -> None:
    assert "holds no such thing" in await drawn(Cast([NO_TARGET]))
    assert "ended by repeat; best guess: 1 mask" in await drawn(Cast([SEGMENT]))


async def test_pictures_are_drawn_in_half_blocks() -> None:
    assert "▀▀▀▀" in await drawn(Cast([SEGMENT, FINISH]), pictures=True)


async def test_the_overlay_is_written_at_the_pictures_size(tmp_path: Path) -> None:
    async with on_air(Cast([SEGMENT, FINISH])) as stage:
        answer = await segment(PNG, "the box", Options(), server=stage.url, pictures=False, as_json=True)
    out = tmp_path / "a folder" / "overlay.png"
    write_overlay(PNG, answer, out)
    with Image.open(out) as written:
        assert written.size == (answer.document.image.width, answer.document.image.height)
    with pytest.raises(RSAgentError, match=r"\.png"):
        write_overlay(PNG, answer, tmp_path / "overlay.nothing")


def test_segment_answers_as_json_and_exits_by_outcome(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scripted(script: list[str], *arguments: str) -> tuple[int, str]:
        async with on_air(Cast(script)) as stage:
            command = ["segment", str(picture), "the box", "--server", stage.url, "--json", *arguments]
            result = await asyncio.to_thread(RUNNER.invoke, app, command)
            return result.exit_code, result.stdout

    code, out = asyncio.run(scripted([SEGMENT, FINISH], "-o", str(picture.with_name("out.png"))))
    assert code == 0
    assert json.loads(out)["status"] == "segmented"
    assert picture.with_name("out.png").is_file()
    assert asyncio.run(scripted([NO_TARGET]))[0] == 0
    assert asyncio.run(scripted([SEGMENT]))[0] == 1


def test_an_error_of_ours_is_told_without_a_traceback(
    picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RSAgentError("this and that: pip install 'rsagent[engines]', or look in a[/b]")

    monkeypatch.setattr(command_line, "app", fail)
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.strip() == "error: this and that: pip install 'rsagent[engines]', or look in a[/b]"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--seed", str(2**63)], "seed"),
        (["--deadline", "inf"], "--deadline: a number of seconds"),
        (["--key-file", "."], "cannot read the API key"),
    ],
)
def test_options_that_no_service_takes_are_errors_of_ours(picture: Path, given: list[str], words: str) -> None:
    ended = RUNNER.invoke(app, ["segment", str(picture), "x", "--server", "http://127.0.0.1:9", *given])
    assert isinstance(ended.exception, RSAgentError)
    assert words in str(ended.exception)


@pytest.mark.parametrize("name", ["masks.txt", "masks.psd"])
def test_a_name_that_no_picture_can_have_is_refused_before_anything_is_asked(picture: Path, name: str) -> None:
    ended = RUNNER.invoke(app, ["segment", str(picture), "x", "-o", name, "--server", "http://127.0.0.1:9"])
    assert isinstance(ended.exception, RSAgentError)
    assert "name a .png or .jpg file" in str(ended.exception)
