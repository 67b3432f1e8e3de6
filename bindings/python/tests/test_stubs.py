"""The stub file speaks of the compiled module, name by name and parameter by parameter."""

import ast
import inspect
from pathlib import Path

import multimae
from multimae import _multimae as module

STUB = ast.parse(Path(multimae.__file__).with_name("_multimae.pyi").read_text(encoding="utf-8"))
# Methods that every object or every class of PyO3 has; the constructor is compared as __init__.
OBJECT = set(dir(object)) | {"__module__", "__weakref__", "__dict__", "__new__"}


def is_public(name):
    return not name.startswith("_") or name == "__version__"


def of_stub(function):
    """Names and defaults of the parameters of a function in the stub."""
    arguments = function.args
    positional = [a.arg for a in arguments.posonlyargs + arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + arguments.defaults
    texts = [None if value is None else ast.literal_eval(value) for value in defaults]
    given = [value is not None for value in defaults]
    parameters = zip(positional, given, texts)
    return [parameter for parameter in parameters if parameter[0] != "self"]


def of_module(function):
    parameters = inspect.signature(function).parameters.values()
    given = [p for p in parameters if p.name != "self"]
    empty = inspect.Parameter.empty
    return [(p.name, p.default is not empty, None if p.default is empty else p.default) for p in given]


def names_of(body):
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id, node


def test_the_module_has_the_names_of_the_stub():
    stub = {name for name, _ in names_of(STUB.body) if is_public(name)}
    assert stub == {name for name in dir(module) if is_public(name)}


def test_functions_have_the_parameters_of_the_stub():
    for name, node in names_of(STUB.body):
        if isinstance(node, ast.FunctionDef):
            assert of_module(getattr(module, name)) == of_stub(node), name
            assert getattr(module, name).__doc__, name


def test_classes_have_the_members_of_the_stub():
    for name, node in names_of(STUB.body):
        if not isinstance(node, ast.ClassDef) or name == "Error":
            continue
        kind = getattr(module, name)
        assert kind.__doc__ and kind.__module__ == "multimae", name
        members = dict(names_of(node.body))
        own = {key for key in vars(kind) if key not in OBJECT}
        assert own == set(members) - {"__init__"}, name
        for member, function in members.items():
            properties = [d.id for d in function.decorator_list if isinstance(d, ast.Name)]
            if member == "__init__":
                assert of_module(kind) == of_stub(function), name
            elif "property" in properties:
                assert inspect.isgetsetdescriptor(vars(kind)[member]), member
                assert vars(kind)[member].__doc__, member
            elif not member.startswith("__"):
                assert of_module(getattr(kind, member)) == of_stub(function), member
                assert getattr(kind, member).__doc__, member


def test_public_names_are_exported():
    assert set(multimae.__all__) <= set(dir(multimae))
    assert set(multimae.metrics.__all__) <= set(dir(multimae.metrics))
    assert Path(multimae.__file__).with_name("py.typed").exists()
    assert multimae.Error.__module__ == "multimae" and multimae.Error.__doc__
