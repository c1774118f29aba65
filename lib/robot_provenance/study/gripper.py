"""Another robot, recorded: a gripper's trials, run by a workflow in Julia (both simulated here).

This is the worked example of the page *Use it on your own pipeline*: none of its terms is one of
ours, its quantities are forces, voltages and angles, and its numbers are numpy's. What would be
done by the reader's own programs is done here by a few lines of arithmetic.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from lib.robot_provenance.record import Recorder

OWN = "https://example.org/gripper#"
TERMS = {
    "GraspTrials": OWN + "GraspTrials",
    "GraspExecution": OWN + "GraspExecution",
    "PointCloud": OWN + "PointCloud",
    "GraspResult": OWN + "GraspResult",
    "cloud": OWN + "cloud",
    "N": "unit:N",
    "V": "unit:V",
    "deg": "unit:DEG",
}
"""What the pipeline's own words mean: kinds, a role, and units of QUDT."""

ABOUT = {
    "title": "Grasp trials",
    "description": "Six grasps of a block, with the provenance of every file.",
    "license": "https://creativecommons.org/licenses/by/4.0/",
    "creators": [{"kind": "Person", "name": "Ada Grasp", "iri": "https://example.org/ada"}],
}
SCRIPT = "for trial in 1:6\n    grasp(trial)\nend\n"

QUESTION = """
SELECT ?trial ?force WHERE {
  ?a a <https://example.org/gripper#GraspExecution> ; rp:trial ?trial ; rp:slipped true ;
     rp:force ?q .
  ?q qudt:hasUnit unit:N ; qudt:numericValue ?force .
}"""
"""Which grasps slipped, and with which force in newtons?"""


def record_trials(folder: Path, seed: int) -> None:
    """Grasp a block of 0.4 kg six times, and record it while it happens.

    Parameters
    ----------
    folder : Path
        Empty or not there yet.
    seed : int
        Of the points seen and of the forces.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "trials.jl"
    script.write_text(SCRIPT, encoding="utf-8")
    with Recorder(folder, campaign="grasp trials", about=ABOUT, terms=TERMS) as recorder:
        ada = recorder.agent("Ada Grasp", kind="Person", iri="https://example.org/ada")
        julia = recorder.agent("Julia", version="1.11", url="https://julialang.org/")
        driver = recorder.agent(
            "gripper driver", version="2.0", url="https://example.org/driver", acts_for=ada
        )
        plan = recorder.file(script, kind="Workflow", attributes={"language": "Julia"})
        with recorder.activity("GraspTrials", "six grasps", plan=plan, agent=julia) as whole:
            whole.used(plan, role="plan")
            for trial in range(6):
                cloud, result = folder / f"cloud-{trial}.csv", folder / f"grasp-{trial}.json"
                with recorder.activity("GraspExecution", f"grasp {trial}", agent=driver) as step:
                    step.informed_by(whole.iri)
                    points = rng.normal(0, 0.02, (50, 3)).round(4)
                    np.savetxt(cloud, points, delimiter=",", fmt="%.4f")
                    seen = step.generated(cloud, kind="PointCloud", role="cloud")
                    force = rng.uniform(2, 8)
                    slipped = 2 * 0.5 * force < 0.4 * 9.81
                    step.attribute(trial=np.int64(trial), slipped=np.bool_(slipped))
                    step.quantity("force", force, "N")
                    step.quantity("voltage", 1.5 * force, "V")
                    step.quantity("opening", rng.uniform(20, 60), "deg")
                    told = {"trial": trial, "slipped": bool(slipped)}
                    result.write_text(json.dumps(told), encoding="utf-8")
                    step.generated(result, kind="GraspResult", role="result", derived_from=[seen])
