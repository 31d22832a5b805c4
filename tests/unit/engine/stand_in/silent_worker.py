"""A worker that ends well and says nothing of an engine."""
