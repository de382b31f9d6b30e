"""``flagos-eval facts``."""

from __future__ import annotations

from pathlib import Path

import click

from .. import errors


@click.command(
    name="facts",
    context_settings={"auto_envvar_prefix": "FLAGOS_EVAL"},
    epilog="""\b
Examples
  flagos-eval facts --base-url http://127.0.0.1:8000/v1 -m /models/Qwen2.5-VL -o facts.json
  flagos-eval run -t mmmu --base-url http://metax:8000/v1 --facts facts.json""",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File [standard output].")
@click.option("--base-url", help="The server on this machine: ties the facts to its process.")
@click.option("-m", "--model", help="Folder of the weights that it serves: fingerprinted.")
@click.option("--server-python", help="Interpreter that has the serving engine.")
@click.option(
    "--operators",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    allow_from_autoenv=False,  # FLAGOS_EVAL_OPERATORS is the server's, and names a file
    help="Where the server writes down FlagGems' operators (FLAGOS_EVAL_OPERATORS).",
)
@click.option("--platform", help="The machine's kind [found by its vendor's tool].")
def command(
    output: Path | None,
    base_url: str | None,
    model: str | None,
    server_python: str | None,
    operators: Path | None,
    platform: str | None,
) -> int:
    """State what this machine is, for runs that ask its server from another one.

    Driver, devices, versions and the vendor tool's own words go to a file, with a hash over all of
    it; keys and passwords do not.
    """
    import os

    from .. import facts, platforms, store

    machine = platforms.named(platform) if platform else platforms.detect()
    file = facts.collect(
        machine,
        python=server_python,
        model=model,
        base_url=base_url,
        operators=operators,
        api_key=os.environ.get("OPENAI_API_KEY"),
    )
    text = facts.dump(file)
    if output is None:
        click.echo(text, nl=False)
        return errors.EXIT_OK
    if output.exists():
        raise errors.UsageError(f"{output} exists and stays as it is", hint="choose another -o")
    with store.atomic_write(output) as out:
        out.write(text.encode("ascii"))
    tied = "" if file.server else "; without --base-url nothing ties it to a server"
    click.echo(f"Saved {output}: {machine.name}, {len(file.facts)} facts{tied}")
    return errors.EXIT_OK
