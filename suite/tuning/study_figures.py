"""The figures of a study: Optuna's own, in one style, as PNG."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from suite.evaluation.metrics import METRICS
from suite.tuning.study_plan import StudyPlan

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna import Study as OptunaStudy
    from optuna.trial import FrozenTrial

_DPI = 120
_INCHES = 1.9
"""Side of one panel of a contour plot."""


def draw(plan: StudyPlan, study: "OptunaStudy") -> tuple[dict[str, bytes], list[str]]:
    """Draw a study.

    Returns:
        PNG files by name (``history``, ``importance``, ``slice``, ``contour``, ``parallel`` or, with several
        objectives, ``pareto`` and one of each for every objective), and why any is missing.
    """
    from optuna.visualization import matplotlib as plots

    files: dict[str, bytes] = {}
    missing: list[str] = []
    several = len(plan.study.objectives) > 1
    wanted: list[tuple[str, Callable[[], Any], tuple[float, float]]] = []
    if several:
        wanted.append(("pareto", lambda: plots.plot_pareto_front(study), (8.0, 5.0)))
    panels = len(plan.study.space)
    for index, objective in enumerate(plan.study.objectives):
        end = f"_{objective.metric}" if several else ""
        named: dict[str, Any] = {"target_name": _label(objective.metric)}
        if several:
            named["target"] = _nth(index)
        wide = max(6.0, 3.0 * panels)
        side = max(5.0, _INCHES * panels + 1.5)
        wanted += [
            (f"history{end}", _call(plots.plot_optimization_history, study, named), (8.0, 4.5)),
            (
                f"importance{end}",
                _call(plots.plot_param_importances, study, named),
                (8.0, 1.2 + 0.5 * panels),
            ),
            (f"slice{end}", _call(plots.plot_slice, study, named), (wide, 4.0)),
            (f"contour{end}", _call(plots.plot_contour, study, named), (side + 1.5, side)),
            (
                f"parallel{end}",
                _call(plots.plot_parallel_coordinate, study, named),
                (max(7.0, 2.2 * panels), 4.5),
            ),
        ]
    for name, plot, size in wanted:
        if name.startswith("contour") and panels < 2:
            missing.append(f"{name}: a contour needs two parameters.")
            continue
        try:
            files[f"{name}.png"] = _png(plot, size, outer=name.startswith("contour"))
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            missing.append(f"{name}: {str(error).splitlines()[0] if str(error) else 'nothing to draw'}")
    return files, missing


def _label(metric: str) -> str:
    return f"{metric} ({METRICS[metric].unit})"


def _nth(index: int) -> "Callable[[FrozenTrial], float]":
    return lambda trial: float(trial.values[index])


def _call(plot: Callable[..., Any], study: "OptunaStudy", named: dict[str, Any]) -> Callable[[], Any]:
    return lambda: plot(study, **named)


def _png(plot: Callable[[], Any], size: tuple[float, float], outer: bool) -> bytes:
    """A plot of Optuna's at a size of our own: it makes a figure and sets no size."""
    from matplotlib import pyplot

    with _style(size):
        made = plot()
        axes: Axes = next(iter(made.flat)) if hasattr(made, "flat") else made
        figure: Any = axes.figure
        if figure is None or not any(one.has_data() for one in figure.axes):
            pyplot.close("all")
            raise ValueError("no finished trial to draw.")
        figure.set_size_inches(*size)
        _tidy(figure, outer)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=_DPI, bbox_inches="tight", metadata={"Software": None})
        pyplot.close("all")
    return content.getvalue()


def _tidy(figure: Any, outer: bool) -> None:
    """Plain numbers on logarithmic axes, no title (the page has a caption); labels at the outside only."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure.suptitle("")
    for axes in figure.axes:
        for side in ("left", "center"):
            axes.set_title("", loc=side)
        if any(
            len(label.get_text().strip("'")) > 4 and label.get_text().strip("'").isidentifier()
            for label in axes.get_xticklabels()
        ):  # names of choices beside each other
            axes.tick_params(axis="x", labelrotation=20)
        if outer and axes.get_label() != "<colorbar>":
            axes.label_outer()
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() == "log":
                axis.set_major_locator(LogLocator(subs=(1.0, 3.0), numticks=12))
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axis.set_minor_formatter(NullFormatter())
        if axes.spines["right"].get_visible() and not axes.spines["top"].get_visible():
            for label in axes.get_yticklabels():  # lines of a parallel plot run behind them
                label.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.5})


@contextlib.contextmanager
def _style(size: tuple[float, float]) -> Iterator[None]:
    """Optuna's plots in black on white, without its notice that they are experimental."""
    import matplotlib
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)
        matplotlib.use("agg")
        matplotlib.rcParams.update({"figure.figsize": size, "font.size": 10})
        yield
