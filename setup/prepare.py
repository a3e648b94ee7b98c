"""`python3 setup/prepare.py COMMAND`: the way in. Any Python can read this file, and an old one is told so."""

import sys

if sys.version_info < (3, 10):
    sys.exit(
        "Python 3.10 or newer is needed, found " + sys.version.split()[0] + " (" + sys.executable + ").\n"
        "  Debian/Ubuntu: sudo apt install python3 python3-venv     macOS: brew install python\n"
        "  Another one already installed? Name it: make PYTHON=python3.12 run"
    )

import tasks

if __name__ == "__main__":
    sys.exit(tasks.main())
