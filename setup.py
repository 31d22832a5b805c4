"""Packaging: three import packages from three source roots, and the extras that each machine needs."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.editable_wheel import EditableStrategy, _StaticPth, editable_wheel

ROOT = Path(__file__).parent

# What a device needs to verify and run a bundle. Neither torch nor ONNX Runtime.
CORE = [
    "numpy>=1.26",
    "attrs>=24.3",
    "cattrs>=25.2",
    "click>=8.4",
    "rich>=13.8",
    "packaging>=24.2",
    "polygraphy>=0.49.26",
]

# One of the two, never both: they install the same files. The GPU wheel also runs with no GPU.
_GPU_WHEEL = (
    "(sys_platform == 'linux' or sys_platform == 'win32')"
    " and (platform_machine == 'x86_64' or platform_machine == 'AMD64')"
)
ONNXRUNTIME = [
    f"onnxruntime-gpu>=1.20; {_GPU_WHEEL}",
    "onnxruntime>=1.20; (sys_platform != 'linux' and sys_platform != 'win32')"
    " or (platform_machine != 'x86_64' and platform_machine != 'AMD64')",
]

ONNX = ["onnx>=1.19", "onnx-ir>=0.1.15", "ml_dtypes>=0.5"]
EXPORT = ["torch>=2.10", "safetensors>=0.5", "onnxscript>=0.5.7", "jinja2>=3.1", *ONNX, *ONNXRUNTIME]
VIDEO = ["av>=15,<19", "pillow>=10"]
_X86 = "platform_machine == 'x86_64' or platform_machine == 'AMD64'"
# The CUDA runtime, which measuring and comparing engines need: a driver does not bring it. On a Jetson JetPack does.
CUDART = [f"nvidia-cuda-runtime>=13; {_X86}"]
RTX = [f"tensorrt-rtx-cu13>=1.7; {_X86}", *CUDART]
NVML = ["nvidia-ml-py>=12"]
# Compiles the kernels of the plugins, for any GPU and without one. It has wheels for Linux alone.
PLUGINS = ["triton>=3.6; sys_platform == 'linux'"]
# Checkpoints by their id on the Hugging Face hub, and Hugging Face's own model as a second opinion.
HUB = ["huggingface_hub>=1.5", "tqdm>=4.60", "transformers>=5.4"]
DOCS = ["mkdocs>=1.6", "mkdocs-material>=9.6", "mkdocstrings-python>=1.16"]
# The Python part of TensorRT's plugin interface; its libraries do not come with it.
BINDINGS = ["tensorrt-cu13-bindings>=11.4; sys_platform == 'linux' and platform_machine == 'x86_64'"]
PYTEST = [
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    "jsonschema>=4.20",
    "psutil>=5.9",
]
CHECKS = [
    *PYTEST,
    "mypy>=1.13",
    "pyright>=1.1.390",
    "ruff>=0.8",
    "import-linter>=2.1",
    "build>=1.2",
    "setuptools>=77",
    "uv>=0.13",
]
PEERS = ["performer-pytorch>=1.1.4", "fast-transformer-pytorch>=0.0.4", "rotary-embedding-torch>=0.8"]

EXTRAS = {
    "export": EXPORT,
    "onnx": [*ONNX, *ONNXRUNTIME],
    "rtx": RTX,
    "tensorrt": ["tensorrt>=10.3", *CUDART],
    "video": VIDEO,
    "nvml": NVML,
    "plugins": PLUGINS,
    "hub": HUB,
    "docs": DOCS,
    "demo": [*EXPORT, *VIDEO, *RTX, "scikit-video==1.1.11"],
    "test": [*EXPORT, *VIDEO, *RTX, *NVML, *PLUGINS, *HUB, *DOCS, *BINDINGS, *CHECKS, *PEERS, "scikit-video==1.1.11"],
}


class PathEditableWheel(editable_wheel):
    """``pip install -e .`` by three lines in a ``.pth`` file, which type checkers and editors follow. What setuptools
    does by itself for several source roots is a finder that runs, which they do not."""

    def _select_strategy(self, name: str, _tag: str, _build_lib: str) -> EditableStrategy:
        return _StaticPth(self.distribution, name, [ROOT, ROOT / "model", ROOT / "plugins"])


setup(
    cmdclass={"editable_wheel": PathEditableWheel},
    name="ftsf-export",
    version="0.1.0",
    description="Export, verify and deploy video transformers (FastTimeSformer, TimeSformer) with ONNX and TensorRT",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=[
        *find_packages(".", include=["ftsf_export", "ftsf_export.*"]),
        *find_packages("model", include=["fast_timesformer", "fast_timesformer.*"]),
        *find_packages("plugins", include=["ftsf_plugins", "ftsf_plugins.*"]),
    ],
    package_dir={"fast_timesformer": "model/fast_timesformer", "ftsf_plugins": "plugins/ftsf_plugins"},
    package_data={
        "ftsf_export": ["py.typed", "report/templates/*"],
        "fast_timesformer": ["py.typed"],
        "ftsf_plugins": ["py.typed"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "ftsf = ftsf_export.cli.entry:main",
            "ftsf-export = ftsf_export.cli.entry:export_main",
        ]
    },
)
