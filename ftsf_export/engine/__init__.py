"""ONNX to engine: targets, the choice of a builder, the build in its own process, and what the compiler made."""
