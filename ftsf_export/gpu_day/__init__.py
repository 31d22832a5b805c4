"""The first hour on a machine with a GPU: all that only a GPU can show, in one page and one file of data."""
