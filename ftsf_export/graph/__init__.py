"""nn.Module -> ONNX: forms that export well, exact rewrites, trace, check, precision, emulation."""
