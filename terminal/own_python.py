"""Imported first by commands that people start with any Python: goes on with the one of .venv where that one lacks what
is needed, or says in one sentence what to do. This file must be readable for every Python 3."""

import importlib.util
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: a package that everything needs and no other program brings along
NEEDED = "plyfile"
LEAST = (3, 10)


def go_on_with_own_python():
    """Replaces this process by the same command under .venv/bin/python, where that is there and is needed.

    Ends with status 2 and a sentence where there is none. Does nothing where the present Python has everything.
    """
    is_new = sys.version_info[:2] >= LEAST
    if is_new and importlib.util.find_spec(NEEDED) is not None:
        return
    own = os.path.join(ROOT, ".venv", "bin", "python")
    is_own = os.path.realpath(sys.prefix) == os.path.realpath(os.path.join(ROOT, ".venv"))
    if os.path.exists(own) and not is_own:
        sys.stdout.flush()
        os.execv(own, [own, *_command()])
    setup = "bash " + os.path.join(ROOT, "scripts", "setup.sh")
    if not is_new:
        found = ".".join(str(number) for number in sys.version_info[:2])
        sentence = "Python 3.10 or newer is needed and this is " + found + "; install it and run: " + setup
    else:
        sentence = "This Python (" + sys.executable + ") lacks the packages that are needed; run: " + setup
    sys.stderr.write(sentence + "\n")
    sys.exit(2)


def _command():
    """The arguments of Python: a script and its own ones, or `-m PACKAGE`."""
    folder, name = os.path.split(sys.argv[0])
    return (["-m", os.path.basename(folder)] if name == "__main__.py" else sys.argv[:1]) + sys.argv[1:]


go_on_with_own_python()
