"""Small random networks of the architectures of transformers.

The architectures: those that were tried by hand before this sweep, and the encoders and decoders
that the package's task guides for text, images and sound name beside them. All are of two blocks
(stages where an architecture has them), 64 wide, with 4 heads: what is tested is the graph.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

_TEXT: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 64,
    "num_labels": 10,
    "pad_token_id": 0,
}
_IMAGE: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "num_labels": 10,
}
_STAGES: dict[str, Any] = {
    "hidden_sizes": [16, 32, 48, 64],
    "depths": [1, 1, 1, 1],
    "num_labels": 10,
}
_TS: dict[str, Any] = {
    "num_input_channels": 3,
    "context_length": 32,
    "prediction_length": 8,
    "patch_length": 8,
    "patch_stride": 8,
    "d_model": 32,
}
_SOUND: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "num_labels": 10,
    "conv_dim": [32] * 3,
    "conv_stride": [5, 2, 2],
    "conv_kernel": [10, 3, 3],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 32,
    "apply_spec_augment": False,
}

TOKENS, PICTURE = (16,), (3, 32, 32)
LARGER = (3, 64, 64)

ARCHITECTURES: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "BertForSequenceClassification": ("BertConfig", _TEXT, TOKENS),
    "DistilBertForSequenceClassification": (
        "DistilBertConfig",
        _TEXT | {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
        TOKENS,
    ),
    "RobertaForSequenceClassification": ("RobertaConfig", _TEXT, TOKENS),
    "AlbertForSequenceClassification": ("AlbertConfig", _TEXT | {"embedding_size": 32}, TOKENS),
    "ElectraForSequenceClassification": ("ElectraConfig", _TEXT | {"embedding_size": 32}, TOKENS),
    "MobileBertForSequenceClassification": (
        "MobileBertConfig",
        _TEXT | {"embedding_size": 32, "intra_bottleneck_size": 32},
        TOKENS,
    ),
    "GPT2LMHeadModel": (
        "GPT2Config",
        {"vocab_size": 128, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
        | {"bos_token_id": 1, "eos_token_id": 1},
        TOKENS,
    ),
    "LlamaForCausalLM": ("LlamaConfig", _TEXT | {"num_key_value_heads": 2}, TOKENS),
    "Qwen2ForCausalLM": ("Qwen2Config", _TEXT | {"num_key_value_heads": 2}, TOKENS),
    "T5EncoderModel": (
        "T5Config",
        {
            "vocab_size": 128,
            "d_model": 64,
            "d_kv": 16,
            "d_ff": 128,
            "num_layers": 2,
            "num_heads": 4,
        },
        TOKENS,
    ),
    "ViTForImageClassification": ("ViTConfig", _IMAGE, PICTURE),
    "DeiTForImageClassification": ("DeiTConfig", _IMAGE, PICTURE),
    "Dinov2ForImageClassification": ("Dinov2Config", _IMAGE | {"mlp_ratio": 2}, PICTURE),
    "SwinForImageClassification": (
        "SwinConfig",
        {
            "image_size": 32,
            "patch_size": 2,
            "embed_dim": 32,
            "depths": [1, 1],
            "num_heads": [2, 4],
            "window_size": 4,
            "num_labels": 10,
        },
        PICTURE,
    ),
    "ResNetForImageClassification": ("ResNetConfig", _STAGES | {"embedding_size": 16}, LARGER),
    "RegNetForImageClassification": (
        "RegNetConfig",
        _STAGES | {"embedding_size": 16, "groups_width": 8},
        LARGER,
    ),
    "ConvNextForImageClassification": ("ConvNextConfig", _STAGES, LARGER),
    "MobileNetV2ForImageClassification": (
        "MobileNetV2Config",
        {"image_size": 64, "depth_multiplier": 0.35, "num_labels": 10},
        LARGER,
    ),
    "MobileViTForImageClassification": (
        "MobileViTConfig",
        {
            "image_size": 64,
            "hidden_sizes": [32, 48, 64],
            "neck_hidden_sizes": [8, 16, 24, 32, 48, 64, 96],
            "num_labels": 10,
        },
        LARGER,
    ),
    "SegformerForSemanticSegmentation": (
        "SegformerConfig",
        {
            "hidden_sizes": [16, 32, 48, 64],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 3, 4],
            "decoder_hidden_size": 32,
            "num_labels": 10,
        },
        LARGER,
    ),
    "PoolFormerForImageClassification": (
        "PoolFormerConfig",
        {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1], "num_labels": 10},
        LARGER,
    ),
    "Wav2Vec2ForSequenceClassification": ("Wav2Vec2Config", _SOUND, (1600,)),
    "ASTForAudioClassification": (
        "ASTConfig",
        _IMAGE | {"max_length": 64, "num_mel_bins": 32, "patch_size": 16},
        (64, 32),
    ),
    "PatchTSTForPrediction": (
        "PatchTSTConfig",
        _TS | {"num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 64},
        (32, 3),
    ),
    "PatchTSMixerForPrediction": (
        "PatchTSMixerConfig",
        _TS | {"num_layers": 2},
        (32, 3),
    ),
}
"""Class of the network, class of its configuration and what differs there, shape of an input."""


def build(architecture: str) -> nn.Module:
    """A small network with random weights, no cache of keys and values, and no dropout to speak of.

    Raises:
        KeyError: an architecture that `ARCHITECTURES` does not name.
    """
    package: Any = import_module("transformers")
    config_class, options, _ = ARCHITECTURES[architecture]
    config = getattr(package, config_class)(**options)
    config.use_cache = False
    model: nn.Module = getattr(package, architecture)(config)
    return model
