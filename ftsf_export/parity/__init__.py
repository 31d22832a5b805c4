"""Are two implementations of one network the same? Distances, the comparison, the judgement, and where they depart."""
