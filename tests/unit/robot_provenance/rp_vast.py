"""Writes a file of concrete scenarios, for tests to read back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from lib.robot_provenance.campaign import Scenario


def dump_vast(scenarios: Iterable[Scenario], scenario_file: str = "") -> str:
    """Return the text of a file of concrete scenarios that `load_vast` reads back.

    Parameters
    ----------
    scenarios : iterable of Scenario
    scenario_file : str
        The abstract scenario that they are instances of, relative to the file.
    """
    content: dict[str, Any] = {"version": 1}
    if scenario_file:
        content["scenario_file"] = scenario_file
    content["configuration"] = [_dumped(one) for one in scenarios]
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


def _dumped(scenario: Scenario) -> dict[str, Any]:
    def pose(x: float, y: float, yaw: float) -> dict[str, Any]:
        return {"orientation": {"yaw": yaw}, "position": {"x": x, "y": y}}

    boxes = [
        {
            "entity_name": f"obstacle{i}",
            "spawn_pose": pose(box.x, box.y, box.yaw),
            "xacro_arguments": f"width:={box.width!r}, length:={box.length!r}, height:=1.0",
        }
        for i, box in enumerate(scenario.boxes)
    ]
    parameters: list[dict[str, Any]] = [
        {"map_file": scenario.map_file},
        {"start_pose": pose(scenario.start.x, scenario.start.y, scenario.start.yaw)},
        {"goal_poses": [pose(goal.x, goal.y, goal.yaw) for goal in scenario.goals]},
        {"static_objects": boxes},
        {"laserscan_gaussian_noise_std_deviation": scenario.noise_std},
        {"laserscan_random_drop_percentage": round(scenario.drop_rate * 100, 9)},
    ]
    if scenario.mesh_file:
        parameters.append({"mesh_file": scenario.mesh_file})
    return {"name": scenario.name, "parameters": parameters}
