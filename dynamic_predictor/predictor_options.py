"""The options that predictors have of their own: the fields of their settings types that are declared as options.

Commands offer those of all predictors; the driver refuses those that the chosen one does not have.
"""

from collections.abc import Callable, Iterable
from dataclasses import Field, dataclass, fields

from dynamic_predictor.predictor_spec import PredictorSpec
from dynamic_predictor.specs import specs
from scene.option import KEY


@dataclass(frozen=True)
class PredictorOption:
    """A declared field, and the names of the predictors that have it."""

    field: Field
    predictors: tuple[str, ...]

    @property
    def flag(self) -> str:
        """How it is spelled on the command line."""
        flags = self.field.metadata[KEY].flags
        return flags[0] if flags else "--" + self.field.name.replace("_", "-")


def predictor_options(wanted: Callable[[PredictorSpec], bool] = lambda spec: True) -> dict[str, PredictorOption]:
    """The options of the predictors that are `wanted`, by the name of the field. Two that share one have it from one
    declaration or declare it alike."""
    found: dict[str, PredictorOption] = {}
    for spec in specs().values():
        for item in fields(spec.settings_type()) if wanted(spec) else ():
            if KEY not in item.metadata:
                continue
            known = found.get(item.name)
            if known is not None and known.field.metadata[KEY] != item.metadata[KEY]:
                raise ValueError(f"{spec.name} and {known.predictors[0]} declare the option {item.name} differently")
            found[item.name] = PredictorOption(item, (*(known.predictors if known else ()), spec.name))
    return found


def option_flags(names: Iterable[str]) -> str:
    """The options of these fields of settings, joined by commas, for messages."""
    known = predictor_options()
    return ", ".join(known[name].flag if name in known else "--" + name.replace("_", "-") for name in names)


def title_of(option: PredictorOption) -> str:
    """The heading in the help: the predictors that have it, those of one family by their common beginning."""
    families = dict.fromkeys(name.split("-")[0] for name in option.predictors)
    return f"of {', '.join(families)}"
