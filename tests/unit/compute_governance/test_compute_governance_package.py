from lib import compute_governance


def test_the_package_names_its_paper() -> None:
    assert "2605.29359" in str(compute_governance.__doc__)
