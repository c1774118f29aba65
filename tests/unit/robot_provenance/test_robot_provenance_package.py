from lib import robot_provenance


def test_the_package_names_its_paper() -> None:
    assert "2605.29973" in str(robot_provenance.__doc__)
