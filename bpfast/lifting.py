"""What in a rule depends on numbers of the step alone is computed once a step: in double precision, outside the loop.

``1 - beta2**step`` in the text of a rule for every number of a parameter becomes one more coefficient of the step.  So
do the factors and divisors of this kind in a product: ``lr * (m / c) / d`` becomes ``m * (lr / c) / d``.
"""

import __future__

import ast
import copy

from .ops.rewire import definition_of, surroundings

PRODUCT = ast.Mult, ast.Div
TURNED = {ast.Mult: ast.Div(), ast.Div: ast.Mult()}
NUMBERS = ast.BinOp, ast.UnaryOp, ast.Call  # expressions worth lifting; a truth is none
MAKES_NAMES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.FunctionDef, ast.NamedExpr,
               ast.MatchAs)


def lifted(function, scalars, most):
    """-> rule, prepare: prepare(*scalars) makes numbers that the rule takes behind the function's own parameters.

    ``scalars`` are names of its last parameters; together there may be ``most``.  Where the source is missing, or
    nothing can be lifted: function, None.
    """
    tree = definition_of(function)
    if tree is None or any(isinstance(node, MAKES_NAMES) for statement in tree.body for node in ast.walk(statement)):
        return function, None
    tree.args.args, tree.args.kwonlyargs, tree.args.kw_defaults = tree.args.args + tree.args.kwonlyargs, [], []
    lifting = _Lifting(tree, set(scalars))
    rule = lifting.visit(tree)
    if not 0 < len(lifting.found) <= most - len(scalars):
        return function, None
    rule.args.args += [ast.arg(name) for name in lifting.found]
    rule.args.defaults = [ast.Constant(float(default)) for default in function.__defaults__ or ()]
    rule.args.defaults += [ast.Constant(0.0) for _ in lifting.found] if rule.args.defaults else []
    rule.decorator_list = []
    prepare = ast.FunctionDef(
        name="prepare", args=ast.arguments([], [ast.arg(name) for name in scalars], None, [], [], None, []),
        body=[ast.Return(ast.Tuple(list(lifting.found.values()), ast.Load()))], decorator_list=[], type_params=[])
    scope = {**surroundings(function), "__name__": function.__module__}
    module = ast.fix_missing_locations(ast.Module([rule, prepare], []))
    exec(compile(module, function.__code__.co_filename, "exec", __future__.annotations.compiler_flag), scope)
    return scope[rule.name], scope["prepare"]


class _Lifting(ast.NodeTransformer):
    """Replaces the largest expressions of scalars by names; ``found``: name -> expression."""

    def __init__(self, tree, scalars):
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        stored = [node.id for node in names if not isinstance(node.ctx, ast.Load)]
        self.scalars, self.found, self.known = scalars - set(stored), {}, {}
        self.local = {argument.arg for argument in tree.args.args} | set(stored)
        self.once = {name for name in stored if stored.count(name) == 1}
        self.top = set(map(id, tree.body))

    def visit(self, node):
        if isinstance(node, NUMBERS) and self.is_scalar(node):
            return self.lift(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, PRODUCT):
            return self.visit_product(node)
        return self.generic_visit(node)

    def lift(self, node):
        """An expression of scalars -> the name that stands for it."""
        name = f"step_{len(self.found)}"
        self.found[name] = _Known(self.known).visit(node)
        return ast.copy_location(ast.Name(name, ast.Load()), node)

    def visit_product(self, node):
        """Factors and divisors, of which those that are scalars become one factor."""
        parts = [*_factors(node, ast.Mult())]
        known = [(part, op) for part, op in parts if self.is_scalar(part) or isinstance(part, ast.Constant)]
        is_name = len(known) == 1 and isinstance(known[0][0], ast.Name) and isinstance(known[0][1], ast.Mult)
        if is_name or not any(self.is_scalar(part) for part, _ in known):
            return self.generic_visit(node)
        others = [(self.visit(part), op) for part, op in parts if (part, op) not in known]
        place = next((k for k, (_, op) in enumerate(others) if isinstance(op, ast.Div)), len(others))
        others.insert(place, (self.lift(_product(known)), ast.Mult()))
        return ast.copy_location(_product(others), node)

    def generic_visit(self, node):
        if isinstance(node, ast.Assign) and id(node) in self.top and len(node.targets) == 1:
            (target,) = node.targets
            if isinstance(target, ast.Name) and target.id in self.once and self.is_scalar(node.value):
                self.known[target.id] = _Known(self.known).visit(copy.deepcopy(node.value))
        return super().generic_visit(node)

    def is_scalar(self, node):
        """Whether an expression depends on scalars, and on nothing else that changes."""
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} & self.local
        return bool(names) and names <= self.scalars | set(self.known)


def _factors(node, op):
    """The parts of a product, each with the operator that it comes by; a divisor's factors are divisors."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, PRODUCT):
        yield node, op
        return
    yield from _factors(node.left, op)
    yield from _factors(node.right, node.op if isinstance(op, ast.Mult) else TURNED[type(node.op)])


def _product(parts):
    """Factors and divisors, one after the other."""
    (first, op), *others = parts
    whole = first if isinstance(op, ast.Mult) else ast.BinOp(ast.Constant(1.0), op, first)
    for part, op in others:
        whole = ast.BinOp(whole, op, part)
    return whole


class _Known(ast.NodeTransformer):
    """Puts in what local names stand for."""

    def __init__(self, known):
        self.known = known

    def visit_Name(self, node):
        return self.known.get(node.id, node)
