"""The program: finds the command, runs it, and turns errors into messages and exit statuses.

Commands are listed without importing them; each lives in a file of its own.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from plugtune import __version__
from plugtune.errors import PlugtuneError, did_you_mean

COMMANDS = {
    "list": "Installed capabilities by kind",
    "show": "Everything about one capability",
    "plugins": "Installed plugins and how they fared",
    "doctor": "Check this installation and this machine",
    "train": "Fine-tune a model",
    "export": "Merge or convert a trained model",
    "chat": "Chat with a model in the terminal",
    "eval": "Loss, generated answers and multiple choice, scored",
    "estimate": "Memory of a run by part, before anything is loaded",
    "data": "Preview, check, convert and register data sets",
    "template": "Render and check chat templates",
    "new": "Write the folder of a new plugin",
    "testkit": "Hold a plugin against the conformance kit",
}
"""Core's commands → one line; each is `plugtune.cli.NAME:command`."""


class LazyGroup(click.Group):
    """A group that imports a command when it is called, core's and plugins' alike."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *(name for name in _plugin_commands() if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command: click.Command = importlib.import_module(f"plugtune.cli.{cmd_name}").command
            return command
        found = _plugin_commands().get(cmd_name)
        if found is not None:
            from plugtune.capabilities import load_ref

            loaded: click.Command = load_ref(found["target"])
            return loaded
        return None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from plugtune.catalog import official_provider

            provider = official_provider("command", name)
            hint = f"pip install {provider}" if provider else did_you_mean(name, self.list_commands(ctx))
            raise click.UsageError(f"no such command {name!r}" + (f"; {hint}" if hint else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        plugins = {name: row["summary"] for name, row in _plugin_commands().items()}
        with formatter.section("Commands"):
            formatter.write_dl(list({**COMMANDS, **plugins}.items()))


def _plugin_commands() -> dict[str, dict[str, Any]]:
    from plugtune.plugins.index import read_index

    return {row["name"]: row for row in read_index().rows("command")}


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="plugtune")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("--trace-hooks", is_flag=True, help="Show which plugin's hook is called when, and how long it takes.")
def program(debug: bool, trace_hooks: bool) -> None:
    """plugtune: fine-tune large language models with plugins."""
    if debug:
        os.environ["PLUGTUNE_DEBUG"] = "1"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program and exit with its status."""
    sys.exit(run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns the exit status (0 done, 1 failed, 2 wrong request, 130 interrupted)."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args or os.environ.get("PLUGTUNE_DEBUG", "") not in ("", "0")
    if "--trace-hooks" in args:
        os.environ["PLUGTUNE_TRACE_HOOKS"] = "1"
    args = [arg for arg in args if arg not in ("--debug", "--trace-hooks")]
    try:
        # Outside its stand-alone mode click returns what a command ends with (`ctx.exit(1)`) instead of raising it.
        status = program.main(args=args, prog_name="plugtune", standalone_mode=False)
    except PlugtuneError as error:
        if debug:
            raise
        _tell(error, f"{error}")
        return error.exit_code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.Abort):
        return 130
    except Exception as error:
        if debug:
            raise
        lines = str(error).strip().splitlines() or [""]
        fix = "    fix: this is a defect of plugtune or a plugin; --debug shows where"
        _tell(error, f"{type(error).__name__}: {lines[0]}\n{fix}")
        return 1
    return status if isinstance(status, int) else 0


def _tell(error: Exception, text: str) -> None:
    """One message for the user. Of several processes of a run only the first that fails has something to say."""
    if getattr(error, "plugtune_quiet", False):
        return
    rank = os.environ.get("RANK", "")
    who = f" in process {rank}" if rank not in ("", "0") else ""
    print(f"error{who}: {text}", file=sys.stderr, flush=True)
