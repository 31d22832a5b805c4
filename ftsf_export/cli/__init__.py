"""The command line: one command a file, each from options to one call to an exit code."""
