"""Which candidates are the same one."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from ga.messages import Messages
from ga.problem.search_space import Genome, Params, SearchSpace

Phenotype = Callable[[Params], Hashable]


class Duplicates:
    """Tells candidates apart, by what becomes of them or else by their genomes.

    Args:
        space: the search space.
        phenotype: params -> hashable; equal means the same network. None: the genome decides.
        messages: where trouble with the function is said.

    Attributes:
        seen: keys of all candidates so far.
    """

    def __init__(self, space: SearchSpace, phenotype: Phenotype | None, messages: Messages) -> None:
        self._space, self._phenotype, self._messages = space, phenotype, messages
        self.seen: set[Hashable] = set()

    def is_new(self, genome: Genome) -> bool:
        """Whether no candidate so far is the same."""
        if self._phenotype is None:
            return self._space.key(genome) not in self.seen
        return self.key(genome, self._space.decode(genome)) not in self.seen

    def key(self, genome: Genome, params: Params) -> Hashable:
        """Equal for candidates that are the same.

        Args:
            genome: of the candidate.
            params: what it decodes to.
        """
        if self._phenotype is None:
            return self._space.key(genome)
        try:
            return self._phenotype(params)
        except Exception as error:  # the user's code: the plain genome serves as well
            self._messages.once(
                f"phenotype {type(error).__name__}",
                f"the phenotype function failed ({error}); candidates are told apart by their "
                "parameters instead",
            )
            return self._space.key(genome)
