"""Tables from another library's names of tensors to ours: patterns, what they are called here, what is done to them.

A table is YAML, one rule a line; the first whose pattern fits a whole name counts, and `/` in a name is read as `.`:

    about: Caffe's VGG
    rules:
      - conv{stage}_{unit}.{kind} -> stages.{stage-1}.{unit-1}.conv.{kind}
      - {from: "fc6.weight", to: "fc.0.weight", reshape: [0, -1, 7, 7], optional: true}
      - leave: "fc8.{kind}"

`{word}` stands for some characters without a dot, `{word*}` for any; `{word+1}` and `{word-1}` count. A word that `words:`
lists stands for the keys of its list, and becomes what they say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor

from toolkit.errors import CheckpointError, ConfigError, Problem, did_you_mean

STEPS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "permute": lambda tensor, order: tensor.permute(*order),
    "reshape": lambda tensor, shape: tensor.reshape([side or tensor.shape[at] for at, side in enumerate(shape)]),
    "flip": lambda tensor, dim: tensor.flip(dim),
    "roll": lambda tensor, rows: tensor.roll(rows, 0),
    "scale": lambda tensor, factors: tensor * torch.tensor(factors).view(1, -1, *[1] * (tensor.ndim - 2)),
}
"""What a rule may do to a tensor, in the order it says: exchange dimensions; another shape of the same numbers (0 keeps a
side, -1 is what is left); turn one dimension round (1: red and blue of a first kernel); move rows down, the last ones to
the top (a background class that comes last elsewhere); multiply each input channel by its factor."""

_KEYS = {"from", "to", "leave", "optional", *STEPS}
_WORD = re.compile(r"\{(\w+)(\*|[+-]\d+)?\}")


class Rule(NamedTuple):
    """One line of a table.

    Args:
        pattern: what a whole name must match, with a group for each word.
        target: what it is called here, with words in braces; "" leaves the tensor out.
        steps: names of `STEPS` with their values, in order.
        optional: whether a net may lack the target, so that the tensor is left then.
        text: the rule as it is written, for messages.
    """

    pattern: re.Pattern[str]
    target: str
    steps: tuple[tuple[str, Any], ...]
    optional: bool
    text: str


class Naming(NamedTuple):
    """A table.

    Args:
        about: whose names these are, in words for a message.
        rules: in the order in which they are tried.
        words: for some words, what each of their values becomes.
        known_by: names that a file of this kind has; none where a table is only for one backbone.
    """

    about: str
    rules: tuple[Rule, ...] = ()
    words: Mapping[str, Mapping[str, str]] = {}
    known_by: tuple[str, ...] = ()

    def find(self, name: str) -> tuple[str, Rule] | None:
        """What a tensor is called here ("" is left out) and by which rule; None where no rule speaks of it."""
        dotted = name.replace("/", ".")
        matches = ((rule, rule.pattern.fullmatch(dotted)) for rule in self.rules)
        return next(((self._filled(rule.target, match), rule) for rule, match in matches if match), None)

    def _filled(self, target: str, match: re.Match[str]) -> str:
        return _WORD.sub(lambda word: self._value(word, match), target)

    def _value(self, word: re.Match[str], match: re.Match[str]) -> str:
        text, change = match[word[1]], word[2]
        text = self.words.get(word[1], {}).get(text, text)
        return text if change in (None, "*") else str(int(text) + int(change))


OWN = Naming("this backbone's own names")
"""No rules: names that are ours already."""


UNKNOWN = "no rule speaks of it"


class Renamed(NamedTuple):
    """A state dict under other names.

    Args:
        tensors: the tensors by their new names.
        sources: the old name of each.
        reshaped: by new names, what was done to a tensor, in words.
        left: by old names, why a tensor has no new one.
        optional: new names that a net may lack.
    """

    tensors: dict[str, Tensor]
    sources: dict[str, str]
    reshaped: dict[str, str]
    left: dict[str, str]
    optional: set[str]


def rename(state: Mapping[str, Tensor], naming: Naming, prefix: str = "") -> Renamed:
    """The state dict under the names that a table gives, its tensors changed as the table says.

    Raises CheckpointError for a step that a tensor does not allow, and for two tensors of one name.

    Args:
        state: tensors by the other library's names.
        naming: the table; a name that it does not speak of is kept by `OWN` and left by any other.
        prefix: beginning that names lose before they are looked up; tensors without it are left.
    """
    result = Renamed({}, {}, {}, {}, set())
    for name, tensor in state.items():
        if not name.startswith(prefix):
            result.left[name] = f"outside '{prefix}'"
            continue
        bare = name[len(prefix) :]
        found = (bare, None) if not naming.rules else naming.find(bare)
        if found is None or not found[0]:
            result.left[name] = UNKNOWN if found is None else "left out by a rule"
            continue
        new, rule = found
        if new in result.sources:
            message = f"{result.sources[new]} and {name} would both become {new}"
            raise CheckpointError(Problem(naming.about, message, "make one of the rules narrower"))
        result.tensors[new], result.sources[new] = _changed(tensor, rule, name, naming), name
        if rule is not None and rule.optional:
            result.optional.add(new)
        if rule is not None and rule.steps:
            result.reshaped[new] = ", ".join(f"{step} {value}" for step, value in rule.steps)
    return result


def _changed(tensor: Tensor, rule: Rule | None, name: str, naming: Naming) -> Tensor:
    for step, value in rule.steps if rule is not None else ():
        tensor = _step(tensor, step, value, name, naming)
    return tensor.contiguous()


def _step(tensor: Tensor, step: str, value: Any, name: str, naming: Naming) -> Tensor:
    try:
        return STEPS[step](tensor, value)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        message = f"{name} is {tuple(tensor.shape)}, which '{step}: {value}' does not fit"
        raise CheckpointError(Problem(naming.about, message, "change the step, or leave the tensor")) from error


@cache
def namings_of(name: str) -> tuple[Naming, ...]:
    """The tables of a backbone, or of whole nets, that ship with the package: `names/NAME.yaml`; () without a file."""
    file = files("toolkit.weights") / "names" / f"{name}.yaml"
    if not file.is_file():
        return ()
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return tuple(naming_of(one, f"{name}.yaml") for one in (content if isinstance(content, list) else [content]))


def naming_of(content: Any, where: str) -> Naming:
    """A table from its YAML, read already.

    Raises ConfigError with everything that is wrong with it.

    Args:
        content: what the YAML says: {about, rules, words, known_by}.
        where: the file that messages begin with.
    """
    if not isinstance(content, dict) or not isinstance(content.get("rules"), list):
        message = "is no table of names: it should be a mapping with the key `rules`, a list"
        raise ConfigError(Problem(where, message, "rules: ['their.{name*} -> our.{name}']"))
    unknown = [str(key) for key in content if key not in ("about", "rules", "words", "known_by", "source")]
    problems = [
        Problem(where, f"has no key '{key}'", did_you_mean(key, ["about", "rules", "words"])) for key in unknown
    ]
    lists = content.get("words") or {}
    if not isinstance(lists, dict) or not all(isinstance(values, dict) for values in lists.values()):
        remedy = "words: {stage: {2a: 1, 2b: 2}}"
        raise ConfigError([*problems, Problem(where, "words: should say for each word what its values become", remedy)])
    words = {str(word): {str(key): str(value) for key, value in values.items()} for word, values in lists.items()}
    read = [_rule_or_problem(one, words, f"rules[{number}]", where) for number, one in enumerate(content["rules"])]
    problems += [one for one in read if isinstance(one, Problem)]
    rules = [one for one in read if isinstance(one, Rule)]
    if problems:
        raise ConfigError(problems)
    about = str(content.get("about") or where)
    return Naming(about, tuple(rules), words, tuple(str(name) for name in content.get("known_by") or ()))


def _rule_or_problem(one: Any, words: Mapping[str, Mapping[str, str]], place: str, where: str) -> Rule | Problem:
    try:
        return _rule(one, words)
    except ValueError as error:
        return Problem(where, f"{place}: {error}", "PATTERN -> NAME, or {from: ..., to: ...}")


def _rule(one: Any, words: Mapping[str, Mapping[str, str]]) -> Rule:
    """Raises ValueError, in words, for what is no rule."""
    if isinstance(one, str):
        old, arrow, new = (part.strip() for part in one.partition("->"))
        if not arrow or not old or not new:
            raise ValueError(f"'{one}' has no '->' between two names")
        one = {"from": old, "to": new}
    if not isinstance(one, dict) or not all(isinstance(key, str) for key in one):
        raise ValueError(f"{one!r} is no rule")
    unknown = [key for key in one if key not in _KEYS]
    if unknown:
        raise ValueError(f"a rule has no key '{unknown[0]}'; {did_you_mean(unknown[0], _KEYS) or 'see the docs'}")
    if "leave" in one:
        return Rule(_pattern(str(one["leave"]), "", words), "", (), True, f"leave: {one['leave']}")
    if "from" not in one or "to" not in one:
        raise ValueError(f"{one!r} lacks `from` or `to`")
    old, new = str(one["from"]), str(one["to"])
    said = {match[1] for match in _WORD.finditer(old)}
    strange = [match[1] for match in _WORD.finditer(new) if match[1] not in said]
    if strange:
        raise ValueError(f"'{new}' uses {{{strange[0]}}}, which '{old}' does not have")
    steps = tuple((key, one[key]) for key in one if key in STEPS)
    return Rule(_pattern(old, new, words), new, steps, bool(one.get("optional")), f"{old} -> {new}")


def _pattern(old: str, new: str, words: Mapping[str, Mapping[str, str]]) -> re.Pattern[str]:
    """A regular expression for whole names: words that count are digits, those of a list its keys."""
    counted = {match[1] for match in _WORD.finditer(new) if (match[2] or "")[:1] in ("+", "-")}
    old = old.replace("/", ".")
    text, at, seen = "", 0, set[str]()
    for match in _WORD.finditer(old):
        text += re.escape(old[at : match.start()])
        at, word = match.end(), match[1]
        if word in seen:
            text += f"(?P={word})"
            continue
        seen.add(word)
        keys = sorted(words.get(word, {}), key=len, reverse=True)
        inside = (
            "|".join(map(re.escape, keys))
            if keys
            else ".+"
            if match[2] == "*"
            else r"\d+"
            if word in counted
            else "[^.]+?"
        )
        text += f"(?P<{word}>{inside})"
    return re.compile(text + re.escape(old[at:]))


def recognised(state: Mapping[str, Tensor], namings: Sequence[Naming]) -> Naming | None:
    """The first table whose `known_by` names are all in a state dict."""
    return next((one for one in namings if one.known_by and all(name in state for name in one.known_by)), None)
