"""Backends behind one protocol: eager PyTorch, ONNX Runtime, TensorRT. One a file, each loaded when asked for."""
