"""Orders the stages and hands their values on; no maths."""
