"""Suites as they are declared: files of YAML that say which data, which protocol and which baselines.

A suite of the project is known by its name; any other is a folder with a `suite.yaml` beside its data, or
that file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import AfterValidator, Field, ValidationError, model_validator

from bench.baselines import RecboleModel, RectoolsModel
from kgdistill.config import SearchConfig, SearchTransformerConfig
from kgdistill.declared import Part, fault, parse_yaml, read_text, validation_fault
from kgdistill.errors import InputError
from kgdistill.nearest import nearest
from kgdistill.tasks.match import Setting
from kgdistill.tasks.protocol import DiscoveryProtocol

HERE = Path(__file__).parent
FILE = "suite.yaml"

BASELINES = (
    "popularity", "recent_popularity", "ease", "als", "bpr", "item_knn", "rp3beta", "lightgcn", "text_knn",
    "brand_knn", "category_popularity", "metadata_knn",
)  # fmt: skip
"""Those that a suite of discovery may name."""


def _metric(value: str) -> str:
    name, _, depth = value.partition("@")
    if name not in ("ndcg", "recall", "mrr") or not depth.isdigit() or int(depth) < 1:
        raise fault(f"is {value!r}, but should be ndcg, recall or mrr at a depth, such as ndcg@20")
    return value


Metric: TypeAlias = Annotated[str, AfterValidator(_metric)]


class GivenSplit(Part):
    """A file that says of each row where it belongs, where the times alone would not split so.

    Rows of `early` at or after the first row of `test` are placed just before it; nothing else may be.
    """

    source: str = Field(description="The mapping's source that the file is.")
    file: str = Field(description="A CSV file below the folder.")
    time: str = Field(description="The column of times: numbers, or dates.")
    split: str = Field(description="The column that says where a row belongs.")
    early: str = Field(description="What stands there for validation.")
    test: str = Field(description="What stands there for the test.")


class Joined(Part):
    """Columns of JSON lines that become one text."""

    source: str = Field(description="The mapping's source that the file is.")
    file: str = Field(description="JSON lines below the folder, packed by gzip or plain.")
    prefix: str = Field(min_length=1, description="Of the columns' names.")
    label: str = Field(default="Product", description="Whose nodes get the text.")
    property: str = Field(default="attributes", description="The property that it becomes.")


class Data(Part):
    """Where the data lie and how they become a graph."""

    folder: str = Field(
        default=".", description="Beside this file; of the project's own suites, below --data."
    )
    package: str | None = Field(default=None, description="A Python package that holds the folder.")
    card: str = Field(default="", description="The page that says how to get the data.")
    mapping: str = Field(description="A data set that the project knows, or a mapping file in the folder.")
    without: tuple[str, ...] = Field(default=(), description="Sources of the mapping that are not read.")
    given_split: GivenSplit | None = None
    joined: Joined | None = None


class Blend(Part):
    """A tuned blend of baselines."""

    title: str
    of: tuple[str, ...] = Field(min_length=2, description="The baselines.")


class Repeat(Part):
    """Purchases again and again, judged as a setting of its own."""

    file: str = Field(description="Every purchase: Parquet or CSV below the folder.")
    user: str = Field(description="The column of users' keys.")
    item: str = Field(description="The column of items' keys.")
    time: str = Field(description="The column of times.")
    quantity: str | None = Field(default=None, description="Rows where it is not above 0 are left out.")


class _Suite(Part):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$", description="Of the files it writes.")
    data: Data
    encoder: str = Field(default="", description="The text teacher's folder; the packaged one if left out.")


class DiscoverySuite(_Suite):
    """New items for users, under a protocol."""

    kind: Literal["discovery"]
    protocol: DiscoveryProtocol
    choose: dict[Setting, tuple[Setting, Metric]] = Field(
        min_length=1, description="By judged setting, that of validation, and its metric, to choose by."
    )
    headline: dict[str, Metric] = Field(
        default_factory=dict, description="By setting, the metric shown first."
    )
    baselines: tuple[str, ...] = Field(default=BASELINES, description="In their order.")
    purchases_alone: tuple[Setting, ...] = Field(
        min_length=1, description="The settings in which a model that knows purchases alone is judged."
    )
    text_grid: bool = Field(default=False, description="Choose how text kNN weighs a history.")
    blends: dict[str, Blend] = Field(default_factory=dict)
    recbole: tuple[RecboleModel, ...] = Field(default=(), description="Models of RecBole.")
    rectools: tuple[RectoolsModel, ...] = Field(default=(), description="Sequential models of RecTools.")
    against: tuple[str, ...] = Field(default=(), description="Baselines that the student is compared with.")
    repeat: Repeat | None = None
    decoys: int = Field(
        default=0,
        ge=0,
        le=99,
        description="Unsold items in the graph for each new one that sells in the test.",
    )
    config: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Sections of a run's configuration over its defaults."
    )

    @model_validator(mode="before")
    @classmethod
    def _protocol_keys(cls, raw: Any) -> Any:
        protocol = raw.get("protocol") if isinstance(raw, dict) else None
        known = list(DiscoveryProtocol.model_fields)
        for key in protocol if isinstance(protocol, dict) else ():
            if key not in known:
                hint = f"{nearest(str(key), known)}it can be: {', '.join(known)}"
                raise fault("is not a key of a protocol", f"protocol.{key}", hint)
        return raw

    @model_validator(mode="after")
    def _names_are_known(self) -> DiscoverySuite:
        protocol, settings = self.protocol, self.protocol.settings
        shown = [*settings, *(["repeat"] if self.repeat is not None else [])]
        arms = [*self.baselines, *self.blends, *(f"recbole_{model.lower()}" for model in self.recbole)]
        arms += [f"rectools_{model.lower()}" for model in self.rectools]
        # What is wrong is told before hours of training, not after.
        for key, what, names, known in (
            ("choose", "setting of the protocol", self.choose, settings),
            ("headline", "setting of the protocol", self.headline, shown),
            ("purchases_alone", "setting of the protocol", self.purchases_alone, settings),
            ("baselines", "baseline", self.baselines, BASELINES),
            ("blends", "baseline", [n for blend in self.blends.values() for n in blend.of], self.baselines),
            ("against", "baseline of this suite", self.against, arms),
        ):
            for name in names:
                if name not in known:
                    hint = f"{nearest(name, known)}there are: {', '.join(known)}"
                    raise fault(f"there is no {what} {name!r}", key, hint)
        missing = [setting for setting in settings if setting not in self.choose]
        if missing:
            raise fault(f"says nothing of the setting {missing[0]!r}", "choose")
        depths = {protocol.k, *protocol.ks}
        for setting, metric in self.headline.items():
            if int(metric.partition("@")[2]) not in depths and setting != "repeat":
                hint = f"the protocol's k and ks are {', '.join(map(str, sorted(depths)))}"
                raise fault(f"{metric} is not judged", f"headline.{setting}", hint)
        return self


class SearchSuite(_Suite):
    """Products for queries, against the graph's judged pairs, on which nothing is trained."""

    kind: Literal["search"]
    task: str = Field(default="search", description="A task by its name or file: what the graph judges.")
    encoder_title: str = Field(default="text teacher", description="What readers call the text teacher.")
    search: SearchConfig = Field(
        default_factory=SearchConfig, description="As in a run: made-up queries, the teacher, the student."
    )
    transformer: SearchTransformerConfig = Field(
        default_factory=SearchTransformerConfig, description="How the transformer students are trained."
    )
    transformers: int = Field(default=1, ge=0, description="Of how many seeds, the first ones.")


Suite: TypeAlias = DiscoverySuite | SearchSuite
_KINDS: dict[str, type[DiscoverySuite] | type[SearchSuite]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in (DiscoverySuite, SearchSuite)
}


def suite_names() -> list[str]:
    """The project's own suites."""
    return sorted(file.stem for file in HERE.glob("*.yaml"))


def suite_file(name_or_path: str | Path) -> Path:
    """The file of a suite: by the name of one of the project's own, by its folder, or by itself.

    Raises:
        InputError: there is none; the message names the nearest.
    """
    path = Path(name_or_path)
    if str(name_or_path) in suite_names():
        return HERE / f"{name_or_path}.yaml"
    if path.is_dir():
        if (path / FILE).is_file():
            return path / FILE
        raise InputError(f"has no {FILE}", where=str(path), hint=f"{HERE / 'office.yaml'} is an example")
    if path.is_file():
        return path
    known = suite_names()
    raise InputError(
        f"no suite is called {str(name_or_path)!r}",
        hint=f"{nearest(str(name_or_path), known)}there are: {', '.join(known)}; or a folder with {FILE}",
    )


def load_suite(name_or_path: str | Path) -> Suite:
    """Reads a suite.

    Raises:
        InputError: there is none, it is not YAML, or it has an unknown key or a bad value; the message names
            the line, the key path and the nearest valid key.
    """
    file = suite_file(name_or_path)
    text = read_text(file)
    raw: Any = parse_yaml(text, where=str(file))
    kind = raw.get("kind") if isinstance(raw, dict) else None
    if kind not in _KINDS:
        raise InputError(
            f"the key `kind` is {kind!r}, but should be {' or '.join(_KINDS)}" if kind else "has no `kind`",
            where=str(file),
            hint=nearest(str(kind), _KINDS),
        )
    try:
        return _KINDS[kind].model_validate(raw)
    except ValidationError as error:
        raise validation_fault(error, str(file), text) from error


def data_root(file: Path) -> Path | None:
    """Where `data.folder` of a suite is looked for: beside the file; None for the project's own suites."""
    return None if file.parent == HERE else file.parent
