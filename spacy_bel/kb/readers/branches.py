"""Semantic groups of an ontology: the branches right below its roots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence


def top_branches(parents: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """The branches that each term lies under.

    parents: parent codes of each term; parents that are no term themselves are ignored.

    A branch is a child of a root. A root stands for itself, and a term that no root reaches
    (a cycle) has no branch.
    """
    children: dict[str, list[str]] = defaultdict(list)
    roots = []
    for code, above in parents.items():
        known = [parent for parent in above if parent in parents and parent != code]
        for parent in known:
            children[parent].append(code)
        if not known:
            roots.append(code)
    branches: dict[str, set[str]] = {code: set() for code in parents}
    for root in roots:
        branches[root].add(root)
    for branch in dict.fromkeys(child for root in roots for child in children[root]):
        stack = [branch]
        while stack:
            code = stack.pop()
            if branch not in branches[code]:
                branches[code].add(branch)
                stack.extend(children[code])
    return branches
