"""The kinds of genes, each a file of its own; here they are registered, in the order of a space."""

from hardware.ir.gene_kinds.activation_bits import A_BITS
from hardware.ir.gene_kinds.prune import PRUNE
from hardware.ir.gene_kinds.pruner import PRUNER
from hardware.ir.gene_kinds.rank import RANK
from hardware.ir.gene_kinds.registry import (
    GeneKind,
    Place,
    gene_kinds,
    kind_of,
    register,
    unregister,
)
from hardware.ir.gene_kinds.sparsity import SPARSITY
from hardware.ir.gene_kinds.weight_bits import W_BITS
from hardware.ir.gene_kinds.weight_scheme import W_SCHEME

__all__ = [
    "A_BITS",
    "PRUNE",
    "PRUNER",
    "RANK",
    "SPARSITY",
    "W_BITS",
    "W_SCHEME",
    "GeneKind",
    "Place",
    "gene_kinds",
    "kind_of",
    "register",
    "unregister",
]

for _kind in (PRUNER, PRUNE, W_BITS, A_BITS, W_SCHEME, SPARSITY, RANK):
    register(_kind)
