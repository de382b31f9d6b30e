"""The command line: parse, call one function, print, exit. No logic lives here.

Every command is a file of this package with a ``command``. Importing one must stay cheap: what a
command needs is imported when it runs, so that ``--help`` answers at once."""

from __future__ import annotations

import importlib
import keyword
import logging
import os
import signal
import sys
import threading
import traceback
from typing import NoReturn

import click

from .. import __version__, errors

COMMANDS = {
    "demo": "See all of it work with an embedded model: no GPU, no download, no key.",
    "fetch": "Download benchmarks ahead of a run, and check that they are whole.",
    "plan": "Before a run: what its comparison can show, and whether a true port would pass.",
    "doctor": "Check a machine before hours are spent on it.",
    "facts": "State what a server's machine is, for runs that ask it from elsewhere.",
    "run": "Ask a server the questions of benchmarks, and save what it answered.",
    "arms": "Ask several servers the same, one after the other, and compare them pair by pair.",
    "merge": "Put the shards of a run together.",
    "compare": "Put two runs side by side, answer by answer.",
    "report": "Write a comparison to a file: an HTML page, Markdown, a release card, ...",
    "show": "Look at a run: its results, one answer, or what changed against another run.",
    "score": "Score the stored responses of a run again, without a server.",
    "sign": "Record somebody's decision on a comparison, with the hashes it rests on.",
    "verify": "Compute every number of a file again, and say what does not match.",
    "spot-check": "Ask a sample of a run's requests again: are the answers the same?",
    "import": "Turn the results of another tool into a run file.",
    "pack": "Bundle a run and all that belongs to it into one file that moves.",
    "ls": "List tasks, runs, launchers, platforms, report formats or formats to import.",
}

EPILOG = """\b
Exit codes
   0  done, or consistent       5  incomplete: run the same command to resume
   1  drift, and nothing else  70  internal error
   2  usage                    74  a file or an address cannot be read or written
   3  no verdict              130  interrupted: run the same command to resume
   4  not comparable, or invalid
Of several outcomes the first of 4, 5, 1, 3, 0 counts."""


class _Lazy(click.Group):
    """Commands whose modules are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        suffix = "_" if keyword.iskeyword(cmd_name) else ""
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f"{__name__}.{name}{suffix}")
        found = module.command
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from ..catalog import unknown

        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise unknown("command", name, COMMANDS, hint="flagos-eval --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Lazy,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "FLAGOS_EVAL"},
)
@click.version_option(__version__, prog_name="flagos-eval")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Does a model answer the same on your chip as on the reference?

    Run the benchmarks on both, and compare them answer by answer.
    """


class _Record(logging.LogRecord):
    """A line of anybody's log: libraries quote addresses, in which a login may be."""

    def getMessage(self) -> str:
        from ..redact import redact

        return redact(super().getMessage())


def main() -> NoReturn:
    """Run the command line and exit with one of the documented codes."""
    logging.setLogRecordFactory(_Record)
    # The retry library logs each retry; they are in the records, with their errors.
    logging.getLogger("stamina").addHandler(logging.NullHandler())
    code = _guarded()
    # All is said and saved: one more Ctrl-C while Python ends must not change the exit code.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit, without waiting for a task that nobody waits for any more: a download that was given up
    goes on in threads that Python would join, and a thread within Arrow can abort the process while
    Python ends."""
    loading = sys.modules.get("flagos_eval.loading")  # imported by what loads, which takes long
    if loading and any(thread.name == loading.THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _guarded() -> int:
    try:
        outcome = cli.main(prog_name="flagos-eval", standalone_mode=False)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else errors.EXIT_OK
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # click 8.2 and later
            error.show()
            return errors.EXIT_USAGE
        usage = error.ctx.command_path if error.ctx else "flagos-eval"
        return _fail(error.format_message(), f"{usage} --help", errors.EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", None, errors.EXIT_INTERRUPTED)
    except errors.FlagosEvalError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone, as ``| head`` does. Nothing is left to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.EXIT_IO
    except (OSError, click.FileError) as error:
        return _fail(str(error), None, errors.EXIT_IO)
    except Exception as error:
        _print_traceback()
        return _fail(
            f"internal error: {type(error).__name__}: {error}",
            "this is a defect of flagos-eval: please report it with the lines above",
            errors.EXIT_INTERNAL,
        )


def _fail(message: str, hint: str | None, code: int) -> int:
    if "--debug" in sys.argv:
        _print_traceback()
    colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    label = click.style("error: ", fg="red", bold=True)
    click.echo(label + _shown(message), err=True, color=colour)
    if hint:
        click.echo(f"  try: {_shown(hint)}", err=True)
    return code


def _print_traceback() -> None:
    click.echo(_shown(traceback.format_exc()), err=True, nl=False)


def _shown(text: str) -> str:
    """A text that may quote a file, a server or an exception: no keys, nothing that acts on a
    terminal."""
    from ..inert import inert_lines
    from ..redact import redact

    return inert_lines(redact(text))
