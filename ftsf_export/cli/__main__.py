"""``python -m ftsf_export.cli`` is ``ftsf``."""

from ftsf_export.cli.main import main

main()
