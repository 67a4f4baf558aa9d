"""Training state: the counters of a run, and the decisions that follow from them alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from s2s.config import TrainingConfig


@dataclass
class TrainingState:
    """Counters of a run. With weights and optimiser they determine the rest of the run; field names are JSON keys."""

    step: int = 0  # updates done
    epoch: int = 0  # from 0
    position: int = 0  # next micro-batch of the epoch
    tokens: int = 0  # target tokens processed
    seconds: float = 0.0  # training time, without validation and saving
    waited: float = 0.0  # seconds of it spent waiting for data
    window: dict[str, float] = field(default_factory=dict)  # sums since the last log line
    schedule: dict[str, int] = field(default_factory=dict)
    validated: int = 0  # step of the last validation
    unimproved: int = 0  # validations since the best one
    best_step: int = 0  # 0: no validation yet
    best_score: float = 0.0  # larger is better; a loss is stored negated
    kept: dict[int, float] = field(default_factory=dict)  # step -> score of the files training/weights-*
    average: list[int] = field(default_factory=list)  # steps whose mean is exported; empty until the run is finished
    average_score: float = 0.0
    stopped_by: str = ""  # max_steps, max_epochs or patience; "" while the run goes on
    metrics_lines: int = 0

    @property
    def exported(self) -> list[int]:
        """Steps whose mean weights `model.safetensors` holds; empty before the first validation."""
        return self.average or ([self.best_step] if self.best_step else [])

    @property
    def epoch_number(self) -> int:
        """Epoch of the last update, from 1."""
        return self.epoch + (self.position > 0 or self.step == 0)

    def limit(self, config: TrainingConfig) -> str:
        """Returns the name of the limit that is reached, or ""."""
        counts = {"max_steps": self.step, "max_epochs": self.epoch, "patience": self.unimproved}
        limits = ((name, getattr(config, name), count) for name, count in counts.items())
        return next((name for name, limit, count in limits if limit is not None and count >= limit), "")

    def total_steps(self, config: TrainingConfig, num_batches: int) -> int | None:
        """Returns the updates of the whole run as far as its limits determine them, with `num_batches` an epoch."""
        limits = [] if config.max_steps is None else [config.max_steps]
        if config.max_epochs is not None:
            per_epoch = -(-num_batches // config.accumulate)
            done = -(-self.position // config.accumulate)
            limits.append(self.step - done + per_epoch * max(0, config.max_epochs - self.epoch))
        return min(limits, default=None)

    def validation_due(self, config: TrainingConfig) -> bool:
        """Whether the weights of this step are still to be validated."""
        return self.step > self.validated and (self.step % config.validate_every == 0 or self.limit(config) != "")

    def averaged_steps(self, config: TrainingConfig) -> list[int]:
        """Returns the steps of the kept checkpoints that the average includes."""
        scores, count = self.kept, config.average_checkpoints
        if config.average == "last":
            return sorted(scores)[-count:]
        return sorted(sorted(scores, key=lambda step: (-scores[step], step))[:count])
