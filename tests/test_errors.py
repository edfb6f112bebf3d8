from rsagent import errors


def _all(root: type[errors.RSAgentError]) -> list[type[errors.RSAgentError]]:
    """The classes of the module; other rooms may have narrower ones of their own."""
    own = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    return [root, *(leaf for child in own for leaf in _all(child))]


def test_every_error_is_drawn_with_its_status_and_code() -> None:
    drawing = errors.__doc__ or ""
    for error in _all(errors.RSAgentError):
        line = next(line for line in drawing.splitlines() if f" {error.__name__} " in line)
        assert f" {error.status} " in line
        assert f" {error.code}" in line


def test_codes_are_unique() -> None:
    codes = [error.code for error in _all(errors.RSAgentError)]
    assert len(codes) == len(set(codes))
