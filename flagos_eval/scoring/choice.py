"""Which of a few known answers does a text name: an option's letter, or a word of a vocabulary?

One rule for every benchmark. Nothing is guessed: no answer and two answers are both None.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

_JOINED = r"\s*(?:,|、|/|&|and\b|or\b|和|或|与)\s*"
_LETTER = r"[(\[]?([A-Z])(?![A-Za-z0-9'])[)\]]?"
_LETTERS = re.compile(rf"{_LETTER}(?:{_JOINED}{_LETTER})*")
_SINGLE = re.compile(r"(?<![A-Za-z])[A-Z](?![A-Za-z])")
_WORD = re.compile(r"[AI]\s+(?!(?:and|as|because|for|or|since)\b)[A-Za-z]")
"""'A' and 'I' are words too: 'the answer is A circle' names no letter."""
_SMALL = re.compile(r"\(?([a-z])\)?\s*[.。]?\s*(?:\n|$)")
_STATEMENT = re.compile(
    r"""(?:
      \b(?:answer|choice|option)(?:\s+is)?\s*[:=]
    | \b(?:answer|choice|option)\s+(?:is|should\ be|would\ be)\s
    | (?<!not\ )(?<!n't\ )\b(?:choose|pick|select)\s
    | (?:答案|选项)\s*(?:应该|应当|应)?\s*(?:为|是|选|:)
    | (?<!不)(?<!不能)(?<!不要)(?<!不应)选择?
    )[\s:]*(?:(?:(?:the\s)?(?:option|choice)\s|选项)[\s:]*)?(?=[(\[]?[A-Z](?![A-Z0-9']))""",
    re.IGNORECASE | re.VERBOSE,
)
_BARE = re.compile(
    r"(?:(?:option|choice)\s|选项)?\s*[(\[]?([A-Z])[)\]]?\s*[.,;!。、]*", re.IGNORECASE
)
_LABELLED = re.compile(
    r"(?:\(([A-Z])\)|([A-Z])\s*[.)、])"
    r"\s*(?!(?:or\s|and\s|[或和与])?\s*[(\[]?[A-Z](?![A-Za-z0-9']))\S.*"
)
_TEXT_IN_MATH = re.compile(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_ANSWER_TAG = re.compile(r"</?answer>", re.IGNORECASE)
_EMPHASIS = re.compile(r"\*\*|__|`|\$")


_ANSWER_IS = re.compile(r"(?:\banswer\s*(?:is|:)|答案\s*(?:是|为|:))[:\s]*", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:(?:can)?not|neither|nor)\b|n['’]t\b|不|没|非")


def plain(text: str) -> str:
    """The text without full-width forms, Markdown emphasis and boxes; line breaks stay."""
    text = unicodedata.normalize("NFKC", text)
    text = _BOXED.sub(r"answer: \1 ", _TEXT_IN_MATH.sub(r"\1", text))
    text = _ANSWER_TAG.sub("\n", text)
    return _EMPHASIS.sub("", text).strip()


def choice_letter(text: str, n_choices: int) -> str | None:
    """The one letter a text names among ``A``, ``B``, ... of `n_choices` options, or None.

    A letter is named by a statement ("Answer: B", "the answer is (B)", a box, "答案是B", "选B"), by
    a line that is a letter ("B", "(b)", "Option B."), and by a line that begins with a label
    ("B. red"). Lines with different labels repeat the options and name nothing. Two different
    letters, or one beyond the options, are no answer.

    Args:
        text: What a model said.
        n_choices: How many options there were, 1 to 26.
    """
    text = plain(text)
    lines = [line.strip() for line in text.splitlines()]
    named = _stated(text) | {match[1].upper() for line in lines if (match := _BARE.fullmatch(line))}
    labels = {match[1] or match[2] for line in lines if (match := _LABELLED.fullmatch(line))}
    if len(labels) == 1:
        named |= labels
    if len(named) != 1:
        return None
    letter = named.pop()
    return letter if ord(letter) - ord("A") < n_choices else None


def _stated(text: str) -> set[str]:
    found: set[str] = set()
    for cue in _STATEMENT.finditer(text):
        if small := _SMALL.match(text, cue.end()):
            found.add(small[1].upper())
        elif not _WORD.match(text, cue.end()) and (letters := _LETTERS.match(text, cue.end())):
            found.update(_SINGLE.findall(letters[0]))
    return found


def fold(text: str) -> str:
    """The text for exact comparison: plain, lower case, without punctuation at its ends."""
    text = plain(text).casefold()
    kept = [place for place, sign in enumerate(text) if sign.isalnum()]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def statements(text: str) -> list[str]:
    """Where a text gives its answer: after each "answer is" or "答案是", else its first line."""
    text = plain(text)
    starts = [cue.end() for cue in _ANSWER_IS.finditer(text)] or [0]
    return [text[start:].partition("\n")[0] for start in starts if text[start:]]


class Vocabulary:
    """The possible answers of a kind of question, and the ways to say each."""

    def __init__(self, ways: Mapping[str, str], number: str | None = None) -> None:
        """Prepare to read.

        Args:
            ways: Answer -> its ways of being said in lower case, separated by ``|``. English ones
                are whole words, singular or plural. What the answer ``""`` lists is passed over.
            number: Regular expression of numbers that are answers too; spaces and commas within one
                are dropped.
        """
        self._answers = {way: name for name, said in ways.items() for way in said.split("|") if way}
        patterns = [_way(way) for way in sorted(self._answers, key=len, reverse=True)]
        self._pattern = re.compile("|".join([*patterns, *([number] if number else [])]))

    def read(self, text: str) -> str | None:
        """The answer in a text's statements, or None if there is none, or two, or a "not"."""
        found: set[str] = set()
        for statement in statements(text):
            folded = statement.casefold()
            if _NEGATION.search(self._pattern.sub(" ", folded)):
                return None
            found.update(self._answer(match) for match in self._pattern.finditer(folded))
        found.discard("")
        return found.pop() if len(found) == 1 else None

    def whole(self, text: str) -> str | None:
        """The answer that a text is, with nothing around it."""
        match = self._pattern.fullmatch(fold(text))
        return (self._answer(match) or None) if match else None

    def _answer(self, match: re.Match[str]) -> str:
        said = match[0]
        for way in (said, said.removesuffix("s"), said.removesuffix("es")):
            if way in self._answers:
                return self._answers[way]
        return re.sub(r"[ ,]", "", said)


def _way(way: str) -> str:
    return rf"(?<![a-z]){re.escape(way)}(?:e?s)?(?![a-z])" if way.isascii() else re.escape(way)
