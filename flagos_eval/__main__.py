"""``python -m flagos_eval``."""

from .cli import main

main()
