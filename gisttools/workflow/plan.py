"""What would run, and what is done already: the plan of `gisttools run --dry-run`. Nothing is run or written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gisttools.common import MissingError
from gisttools.workflow.execute import Rerun
from gisttools.workflow.param_model import Params
from gisttools.workflow.params import check_params
from gisttools.workflow.parents import parents_of
from gisttools.workflow.recipe import Step, fill, references
from gisttools.workflow.runs import find_finished
from gisttools.workflow.spec import spec_hash


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What would become of a step.

    `done`: the finished run whose manifest is `run` answers it. `to run`: after those in `after`, to run too.
    `refused`: by the rerun policy. `params` are those it would run with; `$name` is the run of a step that is to run.
    """

    step: Step
    state: Literal["done", "to run", "refused"]
    params: Params
    run: dict[str, Any] | None = None
    after: tuple[str, ...] = ()
    note: str = ""

    def lines(self) -> list[str]:
        """The step in words; of one that is to run also the parameters that are not the defaults."""
        told = f"{self.state}, {self.run['headline']} ({self.run['run_id']})" if self.run else self.state
        told += f" after {', '.join(self.after)}" if self.after else ""
        first = f"{self.step.name}: {told}" + (f" ({self.note})" if self.note else "")
        if self.state == "done":
            return [first]
        given = self.params.changed()
        width = max(map(len, given), default=0)
        return [first, *(f"    {k:{width}}  {json.dumps(v, ensure_ascii=False)}" for k, v in given.items())]


def plan(steps: Sequence[Step], *, rerun: Rerun = "only-missing") -> list[Planned]:
    """What would become of steps that refer to one another, in their order.

    Raises:
        ParameterError, DataError: parameters are wrong, or name a run that failed.
    """
    planned: dict[str, Planned] = {}
    for step in steps:
        planned[step.name] = _planned(step, planned, rerun)
    return list(planned.values())


def _planned(step: Step, before: dict[str, Planned], rerun: Rerun) -> Planned:
    runs = {name: p.run["run_id"] if p.run and p.state == "done" else f"${name}" for name, p in before.items()}
    params = check_params(step.verb, fill(step, runs))
    after = tuple(name for name in dict.fromkeys(references(step)) if runs[name].startswith("$"))
    done, note = None, ""
    if not after:
        try:
            parents_of(params)  # they must be there and whole, as when it is run
            done = find_finished(spec_hash(step.verb, params), step.verb)
        except MissingError as error:  # not fetched yet, or left by an earlier step that is to run
            note = str(error).splitlines()[0]
    told = {"step": step, "params": params, "after": after, "note": note}
    if rerun == "only-cache" and done is None:
        return Planned(state="refused", **told | {"note": "no finished run, and rerun is 'only-cache'"})
    if rerun == "never" and done:
        return Planned(state="refused", run=done, **told | {"note": "it has run before, and rerun is 'never'"})
    if done and rerun != "always":
        return Planned(state="done", run=done, **told)
    return Planned(state="to run", **told)
