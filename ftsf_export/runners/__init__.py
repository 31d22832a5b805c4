"""Backends behind one protocol: eager PyTorch, ONNX Runtime, TensorRT. One a file, each loaded when asked for.

A runner is a Polygraphy ``BaseRunner``, so that ``Comparator.run`` drives all of them alike. It takes
``{"clip": array}`` and gives an OrderedDict: the outputs ("logits", "features") first, then the taps in the
order asked for.
"""
