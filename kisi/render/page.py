"""Lines of toned text: what `terminal` makes and the CLI prints."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from kisi.render.report import Tone

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {
    Tone.PLAIN: "",
    Tone.DIM: "dim",
    Tone.STRONG: "bold",
    Tone.GOOD: "green",
    Tone.CHANGE: "cyan",
    Tone.HELD: "yellow",
    Tone.ORPHANED: "magenta",
    Tone.BAD: "bold red",
    Tone.COMMAND: "bold",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line, safe to show."""

    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Text for a terminal, with or without colours; it is the same text either way."""

    lines: tuple[Line, ...]

    def __bool__(self) -> bool:
        return bool(self.lines)

    @property
    def plain(self) -> str:
        """The text alone: each line ends with a newline, nothing at all is an empty string."""
        return "".join("".join(span.text for span in line).rstrip() + "\n" for line in self.lines)

    def rich_text(self) -> Text:
        """The text with its styles, for `Console.print(text, soft_wrap=True, end="")`.

        No markup is parsed, so a name such as `[/]` is only a name.
        """
        from rich.text import Text  # noqa: PLC0415 - 60 ms that only colours cost

        text = Text()
        for line in self.lines:
            one = Text()
            for span in line:
                one.append(span.text, _STYLES[span.tone])
            one.rstrip()
            text.append_text(one)
            text.append("\n")
        return text

    def ansi(self) -> str:
        """The text with ANSI colours, for a terminal that understands them."""
        from rich.console import Console  # noqa: PLC0415 - as above

        console = Console(
            file=StringIO(),
            force_terminal=True,
            color_system="standard",
            legacy_windows=False,
            _environ={},
            no_color=False,
        )
        with console.capture() as capture:
            console.print(self.rich_text(), soft_wrap=True, end="")
        return capture.get()
