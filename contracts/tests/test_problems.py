"""Problems cross the bus and come back as what they were (RFC 9457)."""

from collections.abc import Iterator

import pytest

from dominie_contracts import Problem, ProblemDetails, Unavailable, problems
from dominie_contracts.problems import PROBLEM_BASE, problem_from


def kinds(kind: type[Problem] = Problem) -> Iterator[type[Problem]]:
    """The contracts' own; a service's special one crosses the bus as what it is a case of."""
    for child in kind.__subclasses__():
        if child.__module__ != problems.__name__:
            continue
        yield child
        yield from kinds(child)


KINDS = sorted(kinds(), key=lambda kind: kind.type)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
def test_a_problem_comes_back_as_what_it_was(kind: type[Problem]) -> None:
    raised = kind("why", retry_after_s=1.5, instance="acme.tool.x", action="x")
    details = ProblemDetails.model_validate_json(raised.details.model_dump_json())
    back = problem_from(details)
    assert type(back) is kind
    assert (back.detail, back.retry_after_s, back.instance, back.extra) == (
        "why",
        1.5,
        "acme.tool.x",
        {"action": "x"},
    )
    assert details.type == PROBLEM_BASE + kind.type


def test_each_type_is_used_once() -> None:
    assert len({kind.type for kind in KINDS}) == len(KINDS)


def test_an_unknown_type_is_unavailable() -> None:
    details = ProblemDetails(type="urn:dominie:problem:newer", title="New", status=418, detail="why")
    assert type(problem_from(details)) is Unavailable


def test_the_tree_of_the_documentation_is_the_tree_of_the_code() -> None:
    drawn = [line.split("── ")[1].split()[0] for line in (problems.__doc__ or "").splitlines() if "── " in line]
    assert sorted(drawn) == sorted(kind.__name__ for kind in KINDS)
