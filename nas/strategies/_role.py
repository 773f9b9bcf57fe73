"""Strategy: which architectures a search evaluates next."""

from __future__ import annotations

from abc import abstractmethod

from pydantic import Field

from nas.archive import Archive
from nas.problem import Genes, Problem
from searchspaces.part import Part


class Strategy(Part):
    """Proposes candidates from nothing but the problem, the archive and a seed.

    So a search that was killed at any point repeats the uninterrupted one exactly.
    """

    evaluations: int = Field(ge=1)
    """How many architectures the search evaluates."""

    @abstractmethod
    def ask(self, problem: Problem, archive: Archive, seed: int) -> Genes:
        """The next candidates [k, decisions], to be evaluated and archived in this order.

        Canonical, distinct, not in the archive, within the bounds on costs. The candidates after any first part of them
        are what `ask` returns once that part is archived. Empty when no new candidate can be found.

        Raises:
            InfeasibleError: the archive is empty and no candidate within the bounds was found.
        """
