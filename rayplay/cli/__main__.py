"""`python -m rayplay.cli` is the same as `rayplay`."""

from rayplay.cli import main

main()
