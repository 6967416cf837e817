"""Vision transformers of timm, with weights from the hub or from a file."""

from __future__ import annotations

import difflib
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from spectral_graph.errors import ModelError, WeightsError
from spectral_graph.features.attention import AttentionTap
from spectral_graph.features.checkpoint import fill, in_timm_names, read_checkpoint, sha256_of
from spectral_graph.features.hub import fetch
from spectral_graph.features.model import DEFAULT_MODEL, LayerInfo, WeightsInfo
from spectral_graph.features.vit import VisionTransformerFeatures

_TOLERANCE = 2e-3
_PLAIN = "choose a model with plain attention, such as a DINO, DINOv2, DINOv3, DeiT, MAE, CLIP, SigLIP or EVA-02 ViT"


class TimmFeatures(VisionTransformerFeatures):
    """A vision transformer of timm; layer ``blocks.N`` is the attention module of block N.

    On construction every layer is proven: on a small image, its output must follow from the tapped q, k and v. So a
    model whose attention does something else (adds a term to its output, for instance) is refused.
    """

    def __init__(self, model: nn.Module, *, name: str, **options: Any) -> None:
        """Wrap a model that timm created, and prove its layers.

        Args:
            model: the timm module with its weights.
            name: name on the command line.
            **options: `mean`, `std`, `weights`, `note`, `device` and `dtype` of `VisionTransformerFeatures`.

        Raises:
            ModelError: it is no vision transformer, or its attention cannot be read.
            WeightsError: its weights give NaN or infinity.
        """
        modules = attention_modules(model, name)
        for module in modules:
            module.fused_attn = True  # off where TIMM_FUSED_ATTN=0 is set; q, k and v are read at the fused kernel
        embed: Any = model.patch_embed
        super().__init__(
            model,
            {f"blocks.{index}": module for index, module in enumerate(modules)},
            name=name,
            patch=embed.feat_ratio() if hasattr(embed, "feat_ratio") else embed.patch_size,
            width=int(cast(Any, model).num_features),
            **options,
        )

    def _final_tokens(self, images: Tensor) -> Tensor:
        tokens: Tensor = self._model.forward_features(images)
        # Models that pool by the average keep their final norm behind the pooling, as fc_norm.
        if isinstance(getattr(self._model, "norm", None), nn.Identity) and isinstance(
            getattr(self._model, "fc_norm", None), nn.Module
        ):
            tokens = self._model.fc_norm(tokens)
        return tokens

    def _find_layers(self) -> tuple[int, tuple[LayerInfo, ...]]:
        """Find the layers, and compare each one's output with the output that follows from its q, k and v."""
        prefix, layers = super()._find_layers()
        proven: dict[str, bool] = {}
        with torch.inference_mode(), AttentionTap(self._modules) as tap, ExitStack() as stack:

            def prove(name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                found = reproduce(module, inputs[0], **tap.only_call(name, self.name).values)
                same_shape = found.shape == output.shape
                proven[name] = same_shape and bool((found - output).abs().max() <= _TOLERANCE * output.abs().max())

            for name, module in self._modules.items():
                stack.callback(module.register_forward_hook(partial(prove, name)).remove)
            self._tokens_of(self._test_image())
        for name, module in self._modules.items():
            if not proven.get(name):
                raise ModelError(
                    f"model {self.name}, layer {name}: the output of its attention ({type(module).__name__}) does not "
                    f"follow from softmax(q k^T) v alone, so its q, k and v would be read wrongly; {_PLAIN}"
                )
        return prefix, layers


def reproduce(module: nn.Module, inputs: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute the output of an attention module of timm from its tapped q, k and v.

    It is proj(norm(softmax(q k^T / sqrt(head_dim)) v) * sigmoid(gate(inputs))); few modules have `norm` and `gate`. It
    equals the module's own output if and only if q, k and v are those that it used, and it does nothing else.

    Args:
        module: the attention module.
        inputs: (B, tokens, D), its input.
        q: (B, tokens, heads * head_dim) float32, all tokens.
        k: as `q`.
        v: as `q`.

    Returns:
        (B, tokens, D) float32.
    """
    attention: Any = module
    queries, keys, values = (t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in (q, k, v))
    weights = (queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5).softmax(dim=-1)
    merged = (weights @ values).transpose(1, 2).flatten(2)
    if getattr(attention, "norm", None) is not None:
        merged = attention.norm(merged)
    if getattr(attention, "gate", None) is not None:
        merged = merged * attention.gate(inputs).sigmoid()
    result: Tensor = attention.proj(merged)
    return result


def attention_modules(model: nn.Module, name: str) -> list[Any]:
    """Return the attention module of each block of a timm vision transformer, first to last.

    Args:
        model: a module that timm created with ``dynamic_img_size=True``.
        name: its name, for messages.

    Raises:
        ModelError: it is no plain vision transformer, or a block has no attention module like timm's own.
    """
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    # Other classes may not order their tokens row by row (Qwen3's encoder does not).
    if not isinstance(model, VisionTransformer | Eva) or not model.dynamic_img_size:
        raise _not_a_vit(name, f"it is a {type(model).__name__}")
    modules = []
    for index, block in enumerate(model.blocks):
        module = getattr(block, "attn", None)
        if module is None:
            raise _not_a_vit(name, f"blocks.{index}, a {type(block).__name__}, has no attention module")
        missing = [part for part in ("num_heads", "fused_attn", "proj") if not hasattr(module, part)]
        if missing:
            raise ModelError(
                f"model {name}, layer blocks.{index}: attention module {type(module).__name__} is not like timm's own "
                f"(it lacks {', '.join(missing)}); {_PLAIN}"
            )
        modules.append(module)
    return modules


def load_timm(
    name: str,
    weights: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TimmFeatures:
    """Load a vision transformer by timm's name; arguments and errors are those of `load_model`."""
    config = _config(name)
    with torch.device("meta"):  # a model that cannot be read is refused before its weights are fetched
        attention_modules(create(name), name)
    if weights is None:
        path = _from_hub(name, config)
        # The cache keeps a file under snapshots/<commit>/.
        info = WeightsInfo(f"{config.hf_hub_id} on the Hugging Face hub", sha256_of(path), path.parent.name)
        state = read_checkpoint(path)
    else:
        path = weights
        state = read_checkpoint(path)
        info = WeightsInfo(f"file {path.name}", sha256_of(path))
    model = create(name)
    heads = config.classifier or ()
    fill(model, in_timm_names(name, model, state, path), str(path), (heads,) if isinstance(heads, str) else heads)
    return wrap(model, name, info, device=device, dtype=dtype)


def create(name: str) -> nn.Module:
    """Create a timm vision transformer by timm's name, with random weights, without a head, for images of any size.

    Raises:
        ModelError: timm has no such model, or it is no vision transformer.
    """
    import timm

    _config(name)
    try:
        model: nn.Module = timm.create_model(name, num_classes=0, dynamic_img_size=True)
    except TypeError:
        raise _not_a_vit(name, "it takes no dynamic_img_size") from None
    return model


def wrap(
    model: nn.Module,
    name: str,
    weights: WeightsInfo,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TimmFeatures:
    """Make a `VisionModel` of what `create` returned, with the channel statistics that timm has for it."""
    config = _config(name)
    mean, std = tuple(config.mean), tuple(config.std)
    return TimmFeatures(model, name=name, mean=mean, std=std, weights=weights, device=device, dtype=dtype)


def _not_a_vit(name: str, reason: str) -> ModelError:
    return ModelError(
        f"model {name} is no plain vision transformer of timm ({reason}); choose one, such as focus_vits14, "
        "vit_small_patch14_dinov2.lvd142m or vit_base_patch16_224.dino"
    )


def _config(name: str) -> Any:
    """Return timm's description of a model's pre-trained weights."""
    import timm
    from timm.models import get_pretrained_cfg

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture) or set(name) & set("/\\:"):
        known = [DEFAULT_MODEL, *timm.list_models()]
        close = difflib.get_close_matches(architecture, known, n=5, cutoff=0.5)
        hint = f"; close names: {', '.join(close)}" if close else ""
        raise ModelError(
            f"model {name}: neither {DEFAULT_MODEL} nor a model of timm {timm.__version__}{hint}; "
            f"list all with: python -c \"import timm; print(timm.list_models('*vit*'))\""
        )
    try:
        return get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
        offer = f"it has: {', '.join(tags)}" if tags else "it has none"
        raise ModelError(f"model {name}: {architecture} has no weights tagged {tag!r}; {offer}") from None


def _from_hub(name: str, config: Any) -> Path:
    if config.hf_hub_id:
        return fetch(name, config.hf_hub_id, config.hf_hub_filename)
    cure = f"give a local file with `weights=FILE`, or use `model={DEFAULT_MODEL}`, which needs no download"
    if config.url:
        raise WeightsError(f"model {name}: its weights are not on the hub but at {config.url}; {cure}")
    raise WeightsError(f"model {name}: timm knows no pre-trained weights for it; {cure}")
