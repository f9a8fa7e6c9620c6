"""A run of which everything is known before anything of it is written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.data.dataset import Dataset
from suite.files import read_json, write_atomically, write_json
from suite.runs.directory import RunDirectory
from suite.runs.identity import Identity, changed_modules, identify
from suite.runs.resolve import config_source, resolve
from suite.runs.resources import Resources
from suite.runs.spec import RunSpec
from suite.runs.weights import WeightStore


@dataclass(frozen=True)
class ResolvedRun:
    """A spec with what follows from it.

    Attributes:
        spec: What is asked for.
        run_id: Its identity.
        identity: What the identity rests on.
        config: The resolved config.
        directory: Where the run is or will be.
        resources: What it is given of a machine.
        adopted: Where a detector comes from that was not trained here; empty for one that is.
    """

    spec: RunSpec
    run_id: str
    identity: Identity
    config: dict[str, Any]
    directory: RunDirectory
    resources: Resources
    adopted: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @property
    def problem(self) -> str | None:
        """Why the run is not complete, or None if it is, and was evaluated as it would be now."""
        return self.directory.result_problem() or self._evaluation_problem()

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to do."""
        return self.problem is None

    def _evaluation_problem(self) -> str | None:
        """The result says itself by which code it was made, so no other file can make it look newer."""
        made_by = read_json(self.directory.result_file).get("evaluation")
        if not isinstance(made_by, Mapping):
            return "an earlier version of the suite evaluated it"
        return "; ".join(changed_modules(self.identity.evaluation, made_by)) or None

    def as_spec_json(self, dataset: Dataset) -> dict[str, Any]:
        """The content of ``spec.json``; ``adopted`` of a checkpoint that was not trained here says whose."""
        return {
            "run_id": self.run_id,
            "method": self.spec.method,
            "preset": self.spec.preset,
            "options": dict(self.spec.options),
            "adjustments": self.spec.adjustments.as_dict(),
            "seed": self.spec.seed,
            "dataset": {
                "name": dataset.name,
                "kind": dataset.kind,
                "root": str(dataset.root.resolve()),
                "fingerprint": dataset.fingerprint,
            },
            "identity": self.identity.as_dict(),
            **({"adopted": dict(self.adopted)} if self.adopted else {}),
        }

    def write(self, dataset: Dataset, weights: WeightStore | None = None) -> None:
        """Write ``spec.json`` and ``config.py``, before the run is started.

        Args:
            dataset: What the run trains and is evaluated on.
            weights: Whose files ``config.py`` names in place of known weights; None leaves their names.

        A result that is there stays, for whoever else may have finished the run meanwhile. One that does not
        count goes when its worker, who holds the run's lock, evaluates again.
        """
        write_json(self.directory.spec_file, self.as_spec_json(dataset))
        config = {**self.config, "work_dir": str(self.directory.path.resolve())}
        config = config if weights is None else weights.localised(config)
        write_atomically(self.directory.config_file, config_source(config))


def resolve_run(spec: RunSpec, dataset: Dataset, resources: Resources, runs: Path) -> ResolvedRun:
    """Resolve a spec, identify it, and name its directory below ``runs``; writes nothing.

    Raises:
        SuiteError: A name in the spec is unknown, or the preset cannot train it.
    """
    config = resolve(spec, dataset)
    run_id, identity = identify(spec, config, dataset, resources)
    return ResolvedRun(spec, run_id, identity, config, RunDirectory(runs / run_id), resources)
