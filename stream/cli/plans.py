"""The plans that this machine would run, for people and for programs."""

from __future__ import annotations

from rich.table import Table

from stream.pipeline.plan import Plan
from stream.recipes import CaptureSettings, plan_capture

USES = {
    "live, with a window": ("mesh",),
    "live, published": ("mesh", "surface", "expression"),
    "serve, all sessions": ("face", "surface", "expression"),
}
"""What may be wanted in each use; the last shares its depth network between sessions."""


def machine_plans(settings: CaptureSettings | None = None) -> dict[str, Plan]:
    """The plan of each of `USES` here.

    :raises BackendError: something that a use needs cannot be worked out here; the message says why.
    """
    settings = settings or CaptureSettings()
    return {
        use: plan_capture(wanted, settings, shared=use.startswith("serve")) for use, wanted in USES.items()
    }


def plan_table(plan: Plan, title: str) -> Table:
    """A plan's steps in their order, then what was left out."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("node", "runs on", "after", "gives", "why"):
        table.add_column(heading, overflow="fold")
    for step in plan.steps:
        where = " ".join(part for part in (step.backend, step.model) if part)
        after = ", ".join(step.after) or "the source"
        table.add_row(step.name, f"{step.place}: {where}", after, ", ".join(step.gives), step.why)
    table.add_section()
    for node in plan.left_out:
        table.add_row(node.name, "not used", "", "", node.why)
    return table
