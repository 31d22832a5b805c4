"""The seed document's two code samples, as they stand there but for the line that installs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fast_timesformer

CLASSIFIER = """\
import torch
from fast_timesformer.model import FastTimeSformer

b, f, c, h, w = 16, 5, 3, 512, 512
x = torch.randn(b, f, c, h, w)
model = FastTimeSformer(f, c, h, w, num_classes = 2, attn_mechanism = 'fastformer')

model(x)
"""

LAYERS = """\
from fast_timesformer.model import FastAttention, RegularAttention

b, n, d = 16, 32, 64
x = torch.randn(b, n, d) 
fast_attn = FastAttention(dim = d)
reg_attn = RegularAttention(dim = d)
 
attended_fastformer = fast_attn(x)
attended_regular = reg_attn(x)
"""  # noqa: W291, W293 - their spaces

SAMPLE_MEMORY_BYTES = 16 * 10**9


def test_the_classifier_sample_at_a_smaller_size() -> None:
    smaller = CLASSIFIER.replace("16, 5, 3, 512, 512", "2, 5, 3, 64, 64")
    assert smaller != CLASSIFIER
    names: dict[str, object] = {}
    exec(smaller, names)
    model, x = names["model"], names["x"]
    assert isinstance(model, fast_timesformer.FastTimeSformer)
    assert isinstance(x, torch.Tensor)
    logits = model(x)
    assert logits.shape == (2, 2)
    assert logits.requires_grad


def test_the_layers_sample() -> None:
    # In the document it continues the first sample, which imports torch.
    names: dict[str, object] = {"torch": torch}
    exec(LAYERS, names)
    for name in ("attended_fastformer", "attended_regular"):
        attended = names[name]
        assert isinstance(attended, torch.Tensor)
        assert attended.shape == (16, 32, 64)


@pytest.mark.long
@pytest.mark.full_size
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_both_samples_unchanged_fit_in_16_gb() -> None:
    """With autograd on, in training mode, in a process of their own whose peak memory is read at the end."""
    source = Path(fast_timesformer.__file__).parents[1]
    report = "print(open('/proc/self/status').read(), torch.is_grad_enabled(), model.training)"
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(source)!r})\n{CLASSIFIER}\n{LAYERS}\n{report}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[-2:] == ["True", "True"], "autograd on, training mode"
    peak = re.search(r"VmHWM:\s+(\d+) kB", run.stdout)
    assert peak is not None
    assert int(peak[1]) * 1024 < SAMPLE_MEMORY_BYTES
