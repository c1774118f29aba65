from lib import semantic_ids


def test_the_package_names_its_paper() -> None:
    assert "2606.00324" in str(semantic_ids.__doc__)
