"""Says which texts leave this machine: how many, where to, and what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gisttools.common import notice, plural
from gisttools.data.names import find_names
from gisttools.data.personal import count_personal

_TOLD: set[str] = set()  # hosts that the run of this process has told of; of a process, as its standard output is


@dataclass(frozen=True)
class Leaving:
    """Texts that go to other machines.

    Attributes:
        hosts: where to; each text goes to any of them.
        texts: each once.
        note: a sentence more, such as that a dry run sends a few of them.
    """

    hosts: tuple[str, ...]
    texts: tuple[str, ...]
    note: str = ""

    @classmethod
    def of(cls, hosts: Sequence[str], texts: Iterable[str], note: str = "") -> Leaving:
        """Of texts that may stand there twice, or be empty; none where there are no hosts."""
        kept = dict.fromkeys(text for text in texts if text.strip()) if hosts else {}
        return cls(tuple(dict.fromkeys(hosts)), tuple(kept), note)

    @property
    def where(self) -> str:
        """The hosts, in words."""
        return " and ".join(self.hosts)

    def words(self, go: str = "go") -> str:
        """As `412 different texts go to api.openai.com. In them: 3 e-mail addresses (names are not looked for).`"""
        one = len(self.texts) == 1
        number = "1 text" if one else f"{len(self.texts):,} different texts"
        told = f"{number} {'goes' if one and go == 'go' else go} to {self.where}. {contents(self.texts)}"
        return f"{told} {self.note}".rstrip()

    def tell(self) -> None:
        """Say it, where there is a text and no run has said it of these hosts."""
        if self.texts and not _TOLD.issuperset(self.hosts):
            notice(self.words())


def contents(texts: Iterable[str]) -> str:
    """A sentence on what is in texts, as `count_personal` and `find_names` find it."""
    texts = tuple(texts)
    found = [plural(n, kind) for kind, n in count_personal(texts).items()] or ["no addresses", "no long numbers"]
    names = find_names(texts)
    if names is None:
        return f"In them: {', '.join(found)} (names are not looked for)."
    part = f" in {names.texts:,} of them" if names.texts < len(texts) else ""
    found.append(f"{plural(names.different, 'name') if names.different else 'no names'} of people{part}")
    return f"In them: {', '.join(found)} (names by {' and '.join(names.by)})."


def tell_for_run(hosts: Iterable[str], words: str) -> None:
    """Say what a run sends to these hosts; what is sent there later says nothing any more."""
    _TOLD.update(hosts)
    notice(words)
