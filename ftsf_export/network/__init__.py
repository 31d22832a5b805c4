"""The address book: places in the network and names of gates, built here and taken apart nowhere else."""
