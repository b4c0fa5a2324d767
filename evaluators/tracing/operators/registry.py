"""The register of operators: one entry says all that the project knows of an ATen operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from evaluators.tracing import channel_producers as made
from evaluators.tracing import channel_products as products
from evaluators.tracing import channel_rules as passed
from evaluators.tracing.channel_labels import Rule as ChannelRule
from evaluators.tracing.operators import (
    attention,
    elementwise,
    movement,
    pooling,
    recurrent,
    weighted,
)
from evaluators.tracing.operators.reading import Reading
from evaluators.tracing.program import Operation

Rule = Callable[[Reading, Operation], None]
"""Adds the layers of an operation to a reading, or folds it into what it reads."""


@dataclass(frozen=True)
class Operator:
    """What is known of some ATen operators that are alike.

    Attributes:
        kinds: their names, without overload and underscore.
        rule: what it is at run time.
        channels: how channels pass, or are read and made anew.
        cost: in words, for the reference page.
    """

    kinds: tuple[str, ...]
    rule: Rule
    channels: ChannelRule
    cost: str

    @property
    def in_integers(self) -> tuple[str, ...]:
        """Those of its names that the integer network, and so the C export, can compute."""
        return tuple(kind for kind in self.kinds if kind in _IN_INTEGERS)

    @property
    def not_in_onnx(self) -> tuple[str, ...]:
        """Those of its names that have no form in ONNX."""
        return tuple(kind for kind in self.kinds if kind in NOT_IN_ONNX)


_IN_INTEGERS = frozenset({
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "add", "alias", "alpha_dropout", "amax", "avg_pool1d", "avg_pool2d", "batch_norm", "cat",
    "clamp", "clamp_max", "clamp_min", "clone", "concat", "concatenate", "constant_pad_nd",
    "contiguous", "conv1d", "conv2d", "detach", "dropout", "feature_alpha_dropout",
    "feature_dropout", "flatten", "gru", "hardtanh", "lift_fresh_copy", "linear", "log_softmax",
    "lstm", "max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices",
    "mean", "pad", "permute", "relu", "relu6", "reshape", "select", "softmax", "squeeze",
    "transpose", "unflatten", "unsqueeze", "view",
})  # fmt: skip
"""See `evaluators.export.graph_operators`, which refuses some forms of them by name."""

NOT_IN_ONNX = frozenset({
    "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "addcdiv", "bilinear", "block_diag", "complex", "copysign",
    "count_nonzero", "cummax", "cummin", "cumprod", "fft_fft", "fft_fft2", "fft_fftn",
    "fft_ifft", "fft_ifft2", "fft_ifftn", "fft_irfft", "fft_irfft2", "fft_rfft", "fft_rfft2",
    "fmax", "fmin", "fractional_max_pool2d", "hypot", "istft", "kthvalue", "logcumsumexp",
    "max_unpool2d", "max_unpool3d", "median", "nanmean", "rot90", "searchsorted",
    "select_scatter", "slice_scatter", "take_along_dim", "trunc", "view_as_complex",
    "view_as_real",
})  # fmt: skip
"""Torch's exporter has no form for them, and neither has `evaluators.export.onnx_operators`."""


def _of(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_OPERATORS = (
    Operator(
        _of("conv1d conv2d conv3d convolution conv_transpose1d conv_transpose2d "
            "conv_transpose3d"),
        weighted.convolution, made.convolution, "MACs of its kernel; packed weights",
    ),
    Operator(
        _of("linear"),
        weighted.linear, made.linear, "MACs; packed weights",
    ),
    Operator(
        _of("matmul mm bmm addmm baddbmm"),
        weighted.product, made.matrix_product, "MACs; with a parameter as a linear layer",
    ),
    Operator(
        _of("mv dot addmv addbmm"),
        weighted.product, passed.opaque, "MACs; with a parameter as a linear layer",
    ),
    Operator(
        _of("einsum"),
        weighted.einsum, products.einsum, "MACs of the summed axes",
    ),
    Operator(
        _of("scaled_dot_product_attention"),
        attention.attention, products.attention, "MACs of both products, softmax, scores in RAM",
    ),
    Operator(
        _of("lstm gru rnn_tanh rnn_relu"),
        recurrent.recurrent, made.recurrent, "MACs of all gates for each time step; packed weights",
    ),
    Operator(
        _of("embedding"),
        recurrent.embedding, made.embedding, "packed table; a copy of its rows",
    ),
    Operator(
        _of("_native_batch_norm_legit_no_training batch_norm"),
        weighted.batch_norm, made.channel_norm,
        "folded into the layer before it, else a factor and a shift",
    ),
    Operator(
        _of("cudnn_batch_norm native_batch_norm"),
        weighted.batch_norm, passed.opaque,
        "folded into the layer before it, else a factor and a shift",
    ),
    Operator(
        _of("layer_norm rms_norm native_layer_norm"),
        elementwise.norm, made.layer_norm, "two passes over its input; affine part in flash",
    ),
    Operator(
        _of("group_norm native_group_norm"),
        elementwise.norm, made.group_norm, "two passes over its input; affine part in flash",
    ),
    Operator(
        _of("instance_norm"),
        elementwise.norm, made.channel_norm, "two passes over its input; affine part in flash",
    ),
    Operator(
        _of("max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d "
            "max_pool2d_with_indices max_pool3d_with_indices max_pool1d_with_indices"),
        pooling.pool, passed.spatial, "each entry of each window",
    ),
    Operator(
        _of("adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
            "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"),
        pooling.adaptive_pool, passed.spatial, "each entry of its input",
    ),
    Operator(
        _of("mean sum amax amin max min prod std var std_mean var_mean norm "
            "linalg_vector_norm logsumexp argmax argmin any all"),
        pooling.reduction, passed.reduction, "each entry of its input",
    ),
    Operator(
        _of("median nanmean count_nonzero aminmax"),
        pooling.reduction, passed.opaque, "each entry of its input",
    ),
    Operator(
        _of("add sub rsub mul div maximum minimum multiply true_divide subtract "
            "floor_divide remainder fmod pow atan2 eq ne lt le gt ge where masked_fill "
            "logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor lerp "
            "addcmul addcdiv fmax fmin clamp_min clamp_max hypot copysign"),
        elementwise.meeting, passed.elementwise, "each entry of its output",
    ),
    Operator(
        _of("relu relu6 hardtanh hardswish hardsigmoid gelu silu sigmoid tanh "
            "leaky_relu elu celu selu mish softplus softshrink hardshrink threshold "
            "log_sigmoid rrelu clamp neg abs exp exp2 expm1 log log2 log10 log1p sqrt "
            "rsqrt reciprocal square sin cos tan asin acos atan sinh cosh asinh acosh "
            "atanh erf erfc floor ceil round trunc frac sign sgn isnan isinf isfinite "
            "logical_not bitwise_not nan_to_num logit positive fill bernoulli"),
        elementwise.activation, passed.elementwise,
        "a table of 256 entries; nothing behind a layer that it fuses with",
    ),
    Operator(
        _of("prelu"),
        elementwise.activation, made.channel_norm,
        "a table of 256 entries; nothing behind a layer that it fuses with",
    ),
    Operator(
        _of("softmax log_softmax _softmax _log_softmax"),
        elementwise.softmax, passed.over_axis, "three passes over its input",
    ),
    Operator(
        _of("dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout "
            "clone contiguous detach alias to _to_copy type_as _conj resolve_conj "
            "resolve_neg"),
        movement.identity, passed.elementwise, "nothing",
    ),
    Operator(
        _of("lift_fresh_copy"),
        movement.identity, passed.nothing, "nothing",
    ),
    Operator(
        _of("view reshape flatten squeeze unsqueeze unflatten expand expand_as view_as "
            "broadcast_to ravel _reshape_alias _unsafe_view reshape_as"),
        movement.view, passed.movement, "nothing: the same bytes",
    ),
    Operator(
        _of("atleast_2d atleast_3d view_as_real view_as_complex"),
        movement.view, passed.opaque, "nothing: the same bytes",
    ),
    Operator(
        _of("permute transpose t swapaxes swapdims movedim moveaxis adjoint numpy_T"),
        movement.permute, passed.movement, "a copy of each entry",
    ),
    Operator(
        _of("slice narrow"),
        movement.part, passed.cut_out, "a copy of each piece that is read",
    ),
    Operator(
        _of("select split split_with_sizes chunk unbind tensor_split unsafe_split "
            "unsafe_chunk"),
        movement.part, passed.parts, "a copy of each piece that is read",
    ),
    Operator(
        _of("hsplit vsplit dsplit diagonal"),
        movement.part, passed.opaque, "a copy of each piece that is read",
    ),
    Operator(
        _of("cat concat concatenate stack"),
        movement.concat, passed.concatenation, "a copy of each entry",
    ),
    Operator(
        _of("hstack vstack dstack column_stack"),
        movement.concat, passed.opaque, "a copy of each entry",
    ),
    Operator(
        _of("pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d "
            "replication_pad1d replication_pad2d replication_pad3d"),
        movement.pad, passed.spatial, "a copy; zeros before convolutions are theirs",
    ),
    Operator(
        _of("_pad_circular"),
        movement.pad, passed.opaque, "a copy; zeros before convolutions are theirs",
    ),
    Operator(
        _of("upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d "
            "upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d "
            "_upsample_nearest_exact1d _upsample_nearest_exact2d "
            "_upsample_bilinear2d_aa _upsample_bicubic2d_aa"),
        movement.resize, passed.spatial, "a copy of each entry of its output",
    ),
    Operator(
        _of("pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle roll "
            "flip rot90 repeat repeat_interleave tile unfold im2col col2im "
            "slice_scatter select_scatter"),
        movement.copy, passed.movement, "a copy of each entry of its output",
    ),
    Operator(
        _of("meshgrid tril triu as_strided block_diag"),
        movement.copy, passed.opaque, "a copy of each entry of its output",
    ),
    Operator(
        _of("copy"),
        movement.copy, passed.elementwise, "a copy of each entry of its output",
    ),
    Operator(
        _of("gather take take_along_dim index_put index_add scatter scatter_add "
            "index_copy masked_select index_fill scatter_reduce masked_scatter one_hot "
            "nonzero bucketize searchsorted"),
        movement.copy, passed.opaque, "a copy of each entry of its output",
    ),
    Operator(
        _of("index index_select"),
        movement.copy, passed.movement, "a copy of each entry of its output",
    ),
    Operator(
        _of("cumsum cumprod topk sort argsort"),
        elementwise.scan, passed.over_axis, "each entry of its input and output",
    ),
    Operator(
        _of("cummax cummin logcumsumexp diff kthvalue"),
        elementwise.scan, passed.opaque, "each entry of its input and output",
    ),
    Operator(
        _of("glu"),
        elementwise.scan, passed.halves, "each entry of its input and output",
    ),
    Operator(
        _of("grid_sampler grid_sampler_2d grid_sampler_3d affine_grid_generator cdist "
            "cosine_similarity bilinear max_unpool2d max_unpool3d fractional_max_pool2d "
            "fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 "
            "fft_irfft2 fft_fftn fft_ifftn stft istft complex real imag"),
        elementwise.unfollowed, passed.opaque, "each entry of its input and output",
    ),
    Operator(
        _of("sinc _conj_physical"),
        elementwise.activation, passed.elementwise, "a table of 256 entries",
    ),
    Operator(
        _of("zeros ones full empty arange linspace eye scalar_tensor zeros_like ones_like "
            "full_like new_zeros new_ones new_full _assert_tensor_metadata"),
        elementwise.fallback, passed.nothing, "nothing where it depends on no input",
    ),
)  # fmt: skip

_BY_KIND = {kind: operator for operator in _OPERATORS for kind in operator.kinds}

UNKNOWN = Operator((), elementwise.fallback, passed.opaque, "each entry of its input and output")
"""What is supposed of an operator without an entry."""


def operator_of(kind: str) -> Operator:
    """Returns the entry of an ATen operator; `UNKNOWN` where there is none."""
    return _BY_KIND.get(kind, UNKNOWN)


def operators() -> Iterable[Operator]:
    """Returns all entries."""
    return _OPERATORS
