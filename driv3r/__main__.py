"""`python -m driv3r` is `driv3r`."""

from driv3r.cli.app import main

main()
