"""Classification at run time: cross-entropy, distillation and the fraction of wrong answers."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from nas.data._augmentation import Augmentation
from nas.data._images import Splits
from nas.tasks._loaded import LoadedTask


class LoadedClassification(LoadedTask):
    """One class per image; the network's outputs are logits, one per class."""

    def __init__(self, splits: Splits, augmentation: Augmentation, label_smoothing: float) -> None:
        super().__init__(splits, splits.classes, augmentation)
        self.label_smoothing = label_smoothing

    def loss(self, logits: Float[Tensor, "b k"], targets: Int[Tensor, "b"]) -> Float[Tensor, ""]:
        """Cross-entropy in nats against smoothed labels (Szegedy et al. 2016, section 7)."""
        return functional.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)

    def distillation_loss(
        self, student_logits: Float[Tensor, "b k"], teacher_logits: Float[Tensor, "b k"]
    ) -> Float[Tensor, ""]:
        """Cross-entropy in nats against the teacher's probabilities at temperature 1 (Hinton et al. 2015).

        Sandwich training uses it in place, the largest network of the step being the teacher (Yu and Huang 2019).
        It differs from the Kullback-Leibler divergence by the teacher's entropy, which has no gradient here.
        """
        return functional.cross_entropy(student_logits, teacher_logits.detach().softmax(dim=1))

    def error(self, logits: Float[Tensor, "b k"], targets: Int[Tensor, "b"]) -> float:
        """The fraction of images whose largest logit is not their class's; a logit that is not a number is wrong."""
        right = (logits.argmax(dim=1) == targets) & ~logits.isnan().any(dim=1)
        return 1.0 - right.sum().item() / len(targets)
