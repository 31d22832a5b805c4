"""``python -m ftsf_export.cli`` is ``ftsf``."""

from ftsf_export.cli.entry import main

main()
