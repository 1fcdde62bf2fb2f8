"""Examples of Python, in pages and docstrings, run and give what they show; what takes too long is called rightly."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest
from support import page_kit

import defacedask as dd

RUNNING = [path for path in page_kit.PAGES if ">>>" in path.read_text(encoding="utf-8")]
SHOWN = [
    pytest.param(body, id=f"{path.stem}-{number}")
    for path in page_kit.PAGES
    for number, body in enumerate(page_kit.blocks(path.read_text(encoding="utf-8"), "python"))
]
PACKAGE = Path(inspect.getfile(dd)).parent
#: Modules with examples in their docstrings.
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.M)
]
#: What takes minutes: the call is looked at, and not made.
LONG = {"study", "attack", "report"}


def calls(source):
    """Calls of the public door: name, number of arguments, names of arguments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("dd."):
            yield (
                ast.unparse(node.func)[3:],
                len(node.args),
                [one.arg for one in node.keywords if one.arg is not None],
            )


def bind(source):
    """See that each call of the public door is one that it takes."""
    for name, count, names in calls(source):
        inspect.signature(getattr(dd, name)).bind(*[None] * count, **dict.fromkeys(names))


def run(examples, name, names):
    """Run examples, but for what takes minutes; gives what doctest tells of failures."""
    told = []
    kept = [one for one in examples if not LONG & {name for name, *_ in calls(one.source)}]
    test = doctest.DocTest(kept, dict(names), name, name, 0, None)
    doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    return "".join(told)


def examples_of(text):
    return doctest.DocTestParser().get_examples(text)


@pytest.fixture
def place(virtual_patients, tmp_path, monkeypatch, plans_forgotten):
    """The current folder holds virtual patients, under the names that the examples use."""
    (tmp_path / "patients").symlink_to(virtual_patients)
    (tmp_path / "folder").symlink_to(virtual_patients / "VP-0001")
    monkeypatch.chdir(tmp_path)


def test_an_example_that_gives_something_else_is_found():
    assert "Expected" in run(examples_of(">>> 1 + 1\n3\n"), "page", {})
    assert run(examples_of(">>> 1 + 1\n2\n"), "page", {}) == ""


@pytest.mark.parametrize("wrong", ["dd.study()", "dd.deface('a', 'b')", "dd.attack('a', 'b', 'c', faces=1)"])
def test_a_call_that_is_wrong_is_found(wrong):
    with pytest.raises(TypeError):
        bind(wrong)
    with pytest.raises(AttributeError):
        bind("dd.face()")


@pytest.mark.parametrize("source", SHOWN)
def test_code_that_is_shown_and_not_run_is_called_rightly(source):
    bind(source)


@pytest.mark.parametrize("path", RUNNING, ids=lambda path: path.stem)
def test_every_prompt_stands_in_a_block_that_is_run(path):
    text = path.read_text(encoding="utf-8")
    assert text.count(">>> ") == sum(body.count(">>> ") for body in page_kit.blocks(text, "pycon"))


@pytest.mark.slow
@pytest.mark.parametrize("path", RUNNING, ids=lambda path: path.stem)
def test_the_examples_of_a_page(path, place):
    text = path.read_text(encoding="utf-8")
    examples = examples_of("\n".join(page_kit.blocks(text, "pycon")))
    assert examples
    told = run(examples, path.name, {"__name__": "__main__"})
    assert not told, told


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_docstrings(module, place):
    import matplotlib as mpl

    mpl.use("agg")
    found = importlib.import_module(module)
    names = {"case": dd.scan("patients").cases[0], **vars(found)}
    tests = [test for test in doctest.DocTestFinder().find(found, module) if test.examples]
    assert tests
    for test in tests:
        for one in test.examples:
            bind(one.source)
        told = run(test.examples, test.name, names)
        assert not told, told
