"""What `peers.py` measured: the record, the file that keeps it, tables and limits."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.throughput import spread
else:  # as a script, beside it
    from throughput import spread

OWN = "flagos-eval"


@dataclass(frozen=True)
class Measured:
    """One command. Times in seconds, from its start where nothing else is said."""

    harness: str
    version: str
    delay: int
    in_flight: int
    round: int
    """Commands with the same number ran one after the other."""
    ended: str
    """UTC, ISO 8601."""
    load: float
    """Of the machine over the last minute, at the end."""
    questions: int
    other_requests: int
    """For completions, that ask no question: probes."""
    most_in_flight: int
    first_request: float
    """Until any request for a completion was whole at the server."""
    first_question: float
    asking: float
    """From the first question to the last answer."""
    whole: float
    cpu: float
    """Seconds of the process and of all it waited for."""
    memory_mb: float
    """Of its largest process, at its most."""
    body_bytes: int
    """Of all questions."""
    picture_bytes: int
    """Of the pictures in them, as sent."""
    file_bytes: int
    """Of the picture files."""

    @property
    def rate(self) -> float:
        """Questions a second, while it asks."""
        return self.questions / self.asking

    @property
    def picture_ratio(self) -> float:
        """A picture as it is sent over its file."""
        return self.picture_bytes / self.file_bytes


def store(path: Path, found: Sequence[Measured]) -> None:
    """All measurements, one a line of a JSON list."""
    lines = ",\n".join(json.dumps(asdict(measured)) for measured in found)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def stored(path: Path | None) -> list[Measured]:
    """What `store` wrote; nothing where there is no file."""
    if path is None or not path.is_file():
        return []
    return [Measured(**fields) for fields in json.loads(path.read_text(encoding="utf-8"))]


@dataclass(frozen=True)
class Limit:
    """What flagos-eval must hold against the other harnesses."""

    what: str
    ratio: Callable[[Measured, Measured], float]
    """Of ours and the other's measurement in one round; more is better for ours."""
    least: Mapping[tuple[int, str], float]
    """(milliseconds of an answer, harness) -> the least ratio."""

    def at(self, delay: int) -> dict[str, float]:
        """Harness -> the least ratio, where an answer takes so many milliseconds."""
        return {name: least for (at, name), least in self.least.items() if at == delay}


LIMITS = (
    # About half of what was measured (docs/performance.md): they tell a regression. At 200 ms with
    # 128 in flight no client can be more than 16 times as fast as one with 40 requests/s.
    Limit(
        "requests/s, ours over the other's",
        lambda own, other: own.rate / other.rate,
        {
            **{(0, "inspect_ai"): 10, (0, "lmms-eval"): 12},
            **{(200, "inspect_ai"): 6, (200, "lmms-eval"): 7},
        },
    ),
    Limit(
        "whole command, the other's time over ours",
        lambda own, other: other.whole / own.whole,
        {
            **{(0, "inspect_ai"): 3, (0, "lmms-eval"): 4},
            **{(200, "inspect_ai"): 1.5, (200, "lmms-eval"): 2},
        },
    ),
    Limit(
        "CPU of a command, the other's over ours",
        lambda own, other: other.cpu / own.cpu,
        {
            **{(0, "inspect_ai"): 3, (0, "lmms-eval"): 4},
            **{(200, "inspect_ai"): 3, (200, "lmms-eval"): 4},
        },
    ),
)
MOST_PICTURE = 1.34
"""Of a picture as flagos-eval sends it over its file; base64 takes 4/3."""

Setting = tuple[int, int]
COLUMNS: tuple[tuple[str, int, Callable[[Measured], float]], ...] = (
    ("requests/s", 0, lambda m: m.rate),
    ("first request, s", 1, lambda m: m.first_request),
    ("first question, s", 1, lambda m: m.first_question),
    ("command, s", 1, lambda m: m.whole),
    ("CPU, s", 1, lambda m: m.cpu),
    ("memory, MB", 0, lambda m: m.memory_mb),
)


def grouped(found: Sequence[Measured]) -> dict[Setting, dict[str, dict[int, Measured]]]:
    """Setting -> harness -> number of the round -> measurement."""
    groups: dict[Setting, dict[str, dict[int, Measured]]] = {}
    for measured in found:
        setting = groups.setdefault((measured.delay, measured.in_flight), {})
        setting.setdefault(measured.harness, {})[measured.round] = measured
    return groups


def print_measured(found: Sequence[Measured]) -> None:
    """Every harness at every setting."""
    print(f"| answer, in flight | harness | n | {' | '.join(name for name, *_ in COLUMNS)} |")
    print(f"|---|---|--:|{'--:|' * len(COLUMNS)}")
    for (delay, in_flight), by_harness in grouped(found).items():
        for name, rounds in by_harness.items():
            of = list(rounds.values())
            cells = [spread([value(m) for m in of], digits) for _, digits, value in COLUMNS]
            print(f"| {delay} ms, {in_flight} | {name} | {len(of)} | {' | '.join(cells)} |")
    print("\n| harness | sent of a picture, over its file | a body, KB | probes | most in flight |")
    print("|---|--:|--:|--:|--:|")
    for name in dict.fromkeys(measured.harness for measured in found):
        of = [measured for measured in found if measured.harness == name]
        body = statistics.median(m.body_bytes / m.questions / 1000 for m in of)
        picture = spread([m.picture_ratio for m in of], 3)
        print(
            f"| {name} {of[-1].version} | {picture} | {body:.1f} "
            f"| {max(m.other_requests for m in of)} | {max(m.most_in_flight for m in of)} |"
        )


def print_limits(found: Sequence[Measured]) -> int:
    """Ratios of rounds that have both; how many are beyond their limits."""
    print("\n| flagos-eval against | at | what | median (range) | limit | |")
    print("|---|---|---|--:|---|---|")
    failed = 0
    for (delay, in_flight), by_harness in grouped(found).items():
        own = by_harness.get(OWN, {})
        for limit in LIMITS:
            for name, least in limit.at(delay).items():
                others = by_harness.get(name, {})
                both = [number for number in own if number in others]
                if not both:
                    raise SystemExit(f"no round has both {OWN} and {name}")
                values = [limit.ratio(own[number], others[number]) for number in both]
                holds = statistics.median(values) >= least
                failed += not holds
                print(
                    f"| {name} | {delay} ms, {in_flight} | {limit.what} | {spread(values, 1)} "
                    f"| at least {least:g} | {'holds' if holds else 'FAILS'} |"
                )
    sent = [measured.picture_ratio for measured in found if measured.harness == OWN]
    holds = max(sent) <= MOST_PICTURE
    failed += not holds
    print(
        f"| - | all | sent of a picture, over its file | {spread(sent, 3)} "
        f"| at most {MOST_PICTURE:g} | {'holds' if holds else 'FAILS'} |"
    )
    return failed
