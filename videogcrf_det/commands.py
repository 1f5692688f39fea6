"""The command ``videogcrf``: each script of tools/ under a name of its own."""

import argparse
import ast
import sys
import types
from dataclasses import dataclass
from pathlib import Path

from videogcrf_det import __version__
from videogcrf_det.files import shipped_folder

# names other than the script's own
NAMES = {"fit_video": "fit", "run_ablation": "ablation", "train_net": "train"}
EPILOG = """
`videogcrf COMMAND --help` explains a command. Configs are found by name, as in
`videogcrf train --config-file DAVIS-Person/video_gcrf_R_50_FPN_4f`.
"""


@dataclass
class Command:
    """A script, the words that come before those of the user, and one line for the list."""

    script: Path
    words: tuple[str, ...]
    summary: str


def find_commands() -> dict[str, Command]:
    """All commands by name."""
    commands = {}
    for script in sorted(shipped_folder("tools").glob("*.py")):
        docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
        name = NAMES.get(script.stem, script.stem.replace("_", "-"))
        commands[name] = Command(script, (), docstring.partition("\n")[0])
    commands["evaluate"] = Command(
        commands["train"].script, ("--eval-only",), "Evaluate a trained detector on videos."
    )
    return dict(sorted(commands.items()))


def main() -> None:
    """Run the script that the first word of the command line names, with the other words."""
    commands = find_commands()
    width = max(map(len, commands))
    listed = [f"  {name:{width}s}  {command.summary}" for name, command in commands.items()]
    parser = argparse.ArgumentParser(
        prog="videogcrf",
        usage="videogcrf COMMAND ...",
        description="Deep spatio-temporal random fields for detectron2.",
        epilog="\n".join(["commands:", *listed]) + "\n" + EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=commands, help="one of those below")
    name = parser.parse_args(sys.argv[1:2]).command
    command = commands[name]
    run_script(command.script, [f"videogcrf {name}", *command.words, *sys.argv[2:]])


def called_as() -> list[str]:
    """The words before the arguments of the running tool, for people who want it again."""
    script = sys.argv[0]
    return script.split() if script.startswith("videogcrf ") else ["python", script]


def run_script(path: Path, words: list[str]) -> None:
    """Run a script with a command line, as runpy does but for ``words[0]``, its name in the help.

    It becomes the main module, where the processes that it starts look for their functions.
    """
    module = types.ModuleType("__main__")
    module.__file__ = str(path)
    before = sys.modules["__main__"], sys.argv
    sys.modules["__main__"], sys.argv = module, words
    try:
        exec(compile(path.read_bytes(), path, "exec"), module.__dict__)
    finally:
        sys.modules["__main__"], sys.argv = before
