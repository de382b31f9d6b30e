"""``flagos-eval show``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .. import errors

if TYPE_CHECKING:
    from pathlib import Path

    from ..records import Run, TaskRecord


@click.command(
    name="show",
    context_settings={"auto_envvar_prefix": "FLAGOS_EVAL"},
    epilog="""\b
Examples
  flagos-eval show cuda.json                          results, server, data
  flagos-eval show cuda.json mathvision 412           one question and its answer
  flagos-eval show metax.json --flips cuda.json       what changed against another run
  flagos-eval show cuda.json --reproduce              how to make it again""",
)
@click.argument("run")
@click.argument("task", required=False)
@click.argument("sample", required=False)
@click.option("--flips", metavar="OTHER", help="List the items worth more or less than in OTHER.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Flips to show per task."
)
@click.option("--reproduce", is_flag=True, help="Print how to make the run again, for a shell.")
def command(
    run: str,
    task: str | None,
    sample: str | None,
    flips: str | None,
    limit: int,
    reproduce: bool,
) -> int:
    """Look at a run: its results, one answer, or what changed against another run.

    RUN is a run file or a pack, also looked for in results/.
    """
    from .. import store

    path = store.find(run)
    loaded = store.load(path)
    if reproduce:
        from ..reproduce import script

        _say(script(loaded), nl=False)
        return errors.EXIT_OK
    if flips is not None:
        return _flips(loaded, path, flips, task, limit)
    if task is not None and task not in {record.name for record in loaded.tasks}:
        from ..catalog import unknown

        raise unknown("task in this run", task, [record.name for record in loaded.tasks])
    if task is not None and sample is not None:
        return _sample(loaded, path, task, sample)
    _summary(loaded, task)
    return errors.EXIT_OK


def _say(text: str = "", **options: Any) -> None:
    """Print lines of a run, which may be a stranger's."""
    from ..inert import inert_lines

    click.echo(inert_lines(text), **options)


def _summary(run: Run, task: str | None) -> None:
    from tabulate import tabulate

    from ..records import Status
    from ..reports._rows import inert, number
    from ..served import oddities, ran
    from ..tally import tally

    part = f", shard {run.shard}" if run.shard else ""
    part += f", merged from {len(run.parents)} shards" if run.parents else ""
    when = f"{run.started_at} to {run.ended_at}"
    _say(f"{inert(run.name)}  {run.state}, {run.phase}{part}  {when}")
    if run.imported:
        names = [inert(name) for name in run.imported.files]
        files = ", ".join(names if len(names) <= 3 else [*names[:3], f"{len(names) - 3} more"])
        _say(f"  made elsewhere ({inert(run.imported.source)}): {files}")
        _say(f"  not known: {', '.join(inert(what) for what in run.imported.absent)}")
    for epoch in run.epochs:
        _say(
            f"  start {epoch.index + 1}: {inert(epoch.endpoint)} {inert(epoch.model)} "
            f"version {inert(epoch.version or 'unknown')} ({epoch.launcher})"
        )
    for line in (*ran(run), *oddities(run)):
        _say(f"  {inert(line)}")
    for reason in run.invalid:
        _say(f"  INVALID: {inert(reason)}")
    if (counts := tally(run)) is not None:
        _say(f"  server counters {counts.state.replace('_', ' ')}: {counts.shown}")
        _say(f"    {inert(counts.detail)}")
    for record in run.tasks:
        data = record.dataset
        revision = f" at {data.revision}" if data.revision else ""
        _say(
            f"  {record.name}: {data.n} items of {inert(data.id)} {data.split}{revision} "
            f"({data.origin}), prompt {_prompt(record)}, {record.repeats} pass(es)"
        )
    for capability in run.capabilities:
        if capability.state != "supported":
            _say(f"  {capability.name}: {capability.state} ({inert(capability.detail)})")
    results = [r for r in run.results if task in (None, r.task)]
    used = [s for s in Status if any(r.counts.get(s) for r in results)]
    rows = [
        [r.task, f"{r.scorer} v{r.scorer_version}", r.n, m.name, number(m.value)]
        + [r.counts.get(s, 0) for s in used]
        for r in results
        for m in r.metrics
    ]
    headers = ["task", "scorer", "n", "metric", "value", *(s.value for s in used)]
    _say(tabulate(rows, headers=headers, disable_numparse=True))
    if task is not None:
        groups = [[inert(g.name), g.n, number(g.value)] for r in results for g in r.groups]
        _say()
        _say(tabulate(groups, headers=["group", "n", "value"], disable_numparse=True))


def _sample(run: Run, path: Path, task: str, sample_id: str) -> int:
    from .. import samples
    from ..errors import UnknownName
    from ..records import TextPart
    from ..reports._rows import inert

    stored = samples.read(run, path, task)
    if sample_id not in stored:
        raise UnknownName(f"{task} has no sample {sample_id!r} in this run")
    sample = stored[sample_id].sample
    _say(f"{task} {sample_id}  {inert(sample.group or '')}")
    for part in sample.input:
        if isinstance(part, TextPart):
            shown = part.text
        else:
            shown = "not at hand" if part.absent else f"{part.width}x{part.height}"
            shown = f"[image {shown}]"
        _say("  " + _inert_lines(shown))
    for index, choice in enumerate(sample.choices):
        _say(f"  {chr(65 + index)}. {_inert_lines(choice)}")
    _say(f"target  {' | '.join(map(inert, sample.target))}")
    for response in run.responses:
        if (response.task, response.sample_id) != (task, sample_id):
            continue
        _say(f"answer {response.repeat + 1}  {_answer(response)}")
    for score in run.scores:
        if (score.task, score.sample_id) == (task, sample_id):
            value = "-" if score.value is None else f"{score.value:g}"
            read = inert(score.answer) if score.answer is not None else "nothing"
            _say(
                f"score {score.repeat + 1}   {value} {score.status.value}, "
                f"{score.scorer} read {read}"
            )
    return errors.EXIT_OK


def _prompt(record: TaskRecord) -> str:
    from ..reports._rows import inert

    return f"{inert(record.prompt)} v{record.prompt_version}" if record.prompt else "not known"


def _answer(response: object) -> str:
    from ..records import Response
    from ..reports._rows import inert

    assert isinstance(response, Response)
    tries = f"{len(response.attempts)} attempt(s)" if response.attempts else "made elsewhere"
    if response.latency is not None:
        tries += f", {response.latency:.2f} s"
    if response.error is not None:
        return f"FAILED {response.error.kind.value}: {inert(response.error.message)} ({tries})"
    ended = response.finish_reason or "unknown end"
    return f"({ended}, {tries})\n  {_inert_lines(response.text or '')}"


def _inert_lines(text: str) -> str:
    from ..reports._rows import inert

    return "\n  ".join(inert(line) for line in text.splitlines())


def _flips(run: Run, path: Path, other: str, task: str | None, limit: int) -> int:
    from .. import catalog
    from ..compare_files import compare_files
    from ..comparing import flips
    from ..policy import DEFAULT
    from ..reports._rows import comparability, inert

    comparison, sides = compare_files(
        other, str(path), policy_name=DEFAULT, load_task=catalog.load_task
    )
    against, run = sides.baseline.run, sides.candidate.run
    _say(f"{inert(against.name)} -> {inert(run.name)}")
    _say(comparability(comparison))
    if not comparison.comparable:
        return errors.EXIT_NOT_COMPARABLE
    for difference in comparison.differences:
        if task not in (None, difference.task):
            continue
        changed = flips(against, run, difference.task)
        _say(
            f"\n{difference.task}: {difference.lost} lost, {difference.gained} gained "
            f"of {difference.paired} paired items"
        )
        texts = [_texts(side, difference.task) for side in (against, run)]
        for sample_id, was, now in changed[:limit]:
            _say(f"  {inert(sample_id):<16} {was:g} -> {now:g}")
            for name, side in zip((against.name, run.name), texts, strict=True):
                _say(f"    {inert(name)[:20]:<20} {_brief(side.get(sample_id, ''))}")
        if len(changed) > limit:
            _say(f"  ... and {len(changed) - limit} more (--limit)")
    return errors.EXIT_OK


def _texts(run: Run, task: str) -> dict[str, str]:
    return {r.sample_id: r.text or "" for r in run.responses if r.task == task and r.repeat == 0}


def _brief(text: str) -> str:
    from ..reports._rows import inert

    flat = inert(" ".join(text.split()))
    return flat if len(flat) <= 70 else flat[:30] + " … " + flat[-37:]
