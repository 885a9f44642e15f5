"""Hidden Markov trees: flooded or dry, given what each pixel looks like and that water runs down.

A node is flooded only if all its parents, the lower pixels that lead to it, are: p(flooded | all parents flooded) is
1 - epsilon, p(flooded | not all) is 0; a node without parents is flooded with the prior (Xie, Jiang and Sainju 2018;
Jiang and Sainju 2019). Each message is one number, the log-odds of dry against flooded, so that nothing underflows in
trees of any depth; the sum over the states of p parents, of which only "all flooded" counts, takes p steps instead
of 2 ** p. Both passes are linear in the number of nodes, and exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.core.errors import InputError, WorkError
from headwater.flood.trees import Tree

LIMIT = 1e-6
"""Epsilon and the prior stay this far from 0 and 1: a class that shrinks in learning would end in NaN."""
_CHUNK = 1_000_000
FLOODED, DRY, UNKNOWN = 1, 0, -1
"""Labels."""


@dataclass(frozen=True)
class Parameters:
    """What a hidden Markov tree has learned. Class 0 is dry, class 1 flooded."""

    epsilon: float
    """Probability that a node whose parents are all flooded is dry."""
    prior: float
    """Probability that a node without parents is flooded."""
    mean: NDArray[np.float64]
    """(2, d) of the features."""
    covariance: NDArray[np.float64]
    """(2, d, d)"""


def posterior(
    tree: Tree, dry_odds: NDArray[np.float64], *, epsilon: float, prior: float
) -> tuple[NDArray[np.float64], float, float]:
    """Return how probable flood is at each node, by sum-product.

    Parameters
    ----------
    tree : Tree
        Of n nodes.
    dry_odds : (n,) float64
        log p(features | dry) - log p(features | flooded); 0 where there are no features.
    epsilon, prior : float
        See `Parameters`.

    Returns
    -------
    flooded : (n,) float64
        Marginal probabilities; NaN for nodes that are in no tree.
    epsilon, prior : float
        Their new estimates: expected share of dry nodes among those whose parents are all flooded, mean of `flooded`
        over nodes without parents.

    Raises
    ------
    InputError
        Epsilon or the prior is not between 0 and 1, or the odds are not finite.
    """
    _check(tree, dry_odds, epsilon, prior)
    odds, dry_below_flooded, flooded_below_flooded, heads, flooded_heads = _sum_product(
        tree.sequence, tree.toward, tree.is_child, dry_odds, epsilon, prior
    )
    flooded = np.full(len(odds), np.nan)
    flooded[tree.sequence] = _expit(-odds[tree.sequence])
    together = dry_below_flooded + flooded_below_flooded
    new_epsilon = dry_below_flooded / together if together > 0 else epsilon
    return flooded, _inside(new_epsilon), _inside(flooded_heads / heads)


def best_labels(tree: Tree, dry_odds: NDArray[np.float64], *, epsilon: float, prior: float) -> NDArray[np.int8]:
    """Return the jointly most probable labels, by max-product; of equally probable ones, flood at the root.

    Parameters
    ----------
    tree, dry_odds, epsilon, prior
        See `posterior`.

    Returns
    -------
    (n,) int8
        FLOODED, DRY, or UNKNOWN for nodes that are in no tree. No node is flooded whose parents are not.

    Raises
    ------
    InputError
        See `posterior`.
    """
    _check(tree, dry_odds, epsilon, prior)
    labels: NDArray[np.int8] = _max_product(tree.sequence, tree.toward, tree.is_child, dry_odds, epsilon, prior)
    return labels


def fit(
    tree: Tree,
    features: NDArray[np.floating[Any]],
    start: Parameters,
    *,
    node: NDArray[np.int32] | None = None,
    max_iterations: int = 10,
    tolerance: float = 1e-3,
    report: Callable[[int, float], None] | None = None,
) -> Parameters:
    """Learn the parameters from an image without labels, by expectation and maximization.

    Parameters
    ----------
    tree : Tree
        Of the pixels, or of their groups (`headwater.flood.trees.collapse`).
    features : (d, n) float
        Bands of each pixel; NaN in any band means that the pixel has none.
    start : Parameters
        Such as those of `from_labels`.
    node : (n,) int32, optional
        Group of each pixel, -1 for none; each pixel is its own if not given.
    max_iterations : int
        At most so many.
    tolerance : float
        Ends where no parameter changes by more than this share of its size.
    report : callable, optional
        Gets the number of each iteration and its largest change.

    Raises
    ------
    WorkError
        A parameter is not finite.
    """
    now = start
    for iteration in range(1, max_iterations + 1):
        odds = node_odds(features, now, tree, node)
        flooded, epsilon, prior = posterior(tree, odds, epsilon=now.epsilon, prior=now.prior)
        weights = flooded if node is None else np.where(node >= 0, flooded[node], np.nan)
        mean, covariance = _weighted_moments(features, weights)
        new = Parameters(epsilon, prior, mean, covariance)
        if not all(np.isfinite(value).all() for value in (mean, covariance)):
            raise WorkError(
                f"Learning ended in numbers that are not finite, in iteration {iteration}.",
                "Give more labels of both classes, or fewer iterations.",
            )
        change = _largest_change(now, new)
        now = new
        if report is not None:
            report(iteration, change)
        if change < tolerance:
            break
    return now


def from_labels(
    features: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    *,
    epsilon: float,
    prior: float,
) -> Parameters:
    """Return the parameters to start from: mean and covariance of the labeled pixels of each class.

    Parameters
    ----------
    features : (d, n) float
        Bands of each pixel, NaN where missing.
    labels : (n,) int
        FLOODED, DRY or UNKNOWN.
    epsilon, prior : float
        See `Parameters`.

    Raises
    ------
    InputError
        A class has no labeled pixel with features.
    """
    known = np.isfinite(features).all(axis=0)
    moments = []
    for label, name in ((DRY, "dry"), (FLOODED, "flooded")):
        chosen = features[:, known & (labels == label)].astype(np.float64)
        if chosen.shape[1] == 0:
            raise InputError(
                f"No pixel with features is labeled {name}.", "Label some pixels of both classes: 1 flood, 0 dry."
            )
        mean = chosen.mean(axis=1)
        moments.append((mean, _with_ridge(np.cov(chosen, bias=True).reshape(len(mean), len(mean)))))
    return Parameters(epsilon, prior, *(np.array(part) for part in zip(*moments, strict=True)))


def node_odds(
    features: NDArray[np.floating[Any]], parameters: Parameters, tree: Tree, node: NDArray[np.int32] | None = None
) -> NDArray[np.float64]:
    """Return log p(features | dry) - log p(features | flooded) of each node, the sum over its pixels.

    Parameters
    ----------
    features : (d, n) float
        Bands of each pixel; a pixel that lacks one says nothing.
    parameters : Parameters
        Normal distributions of both classes, with full covariance.
    tree, node
        See `fit`.
    """
    odds = np.zeros(features.shape[1])
    factors = [np.linalg.cholesky(each) for each in parameters.covariance]
    constant = sum(sign * 2 * np.log(np.diag(factor)).sum() for sign, factor in zip((-0.5, 0.5), factors, strict=True))
    for first in range(0, len(odds), _CHUNK):
        part = features[:, first : first + _CHUNK].astype(np.float64)
        known = np.isfinite(part).all(axis=0)
        distance = [
            (np.linalg.solve(factor, part[:, known] - mean[:, np.newaxis]) ** 2).sum(axis=0)
            for factor, mean in zip(factors, parameters.mean, strict=True)
        ]
        odds[first : first + _CHUNK][known] = constant - 0.5 * distance[0] + 0.5 * distance[1]
    if node is None:
        return odds
    inside = node >= 0
    return np.bincount(node[inside], weights=odds[inside], minlength=len(tree.toward)).astype(np.float64)


def classifier_odds(
    probability: NDArray[np.floating[Any]], *, prior: float, clip: float = LIMIT, temperature: float = 1.0
) -> NDArray[np.float64]:
    """Return the odds that a classifier's probability of flood stands for, by Bayes: log p(z | x) - log p(z).

    Parameters
    ----------
    probability : (...,) float
        0 to 1; NaN where the classifier says nothing, which then has no weight at all.
    prior : float
        Share of flood that the classifier assumes: 0.5 leaves its odds as they are.
    clip : float
        Probabilities nearer to 0 or 1 are moved there: a network that is too sure would win against the terrain.
    temperature : float
        Odds are divided by it.

    Raises
    ------
    InputError
        A probability is not between 0 and 1, or a number is out of range.
    """
    if not 0 < clip < 0.5 or not 0 < prior < 1 or not temperature > 0:
        raise InputError(
            f"Clip {clip}, prior {prior} or temperature {temperature} is out of range.",
            "Give a clip between 0 and 0.5, a prior between 0 and 1 and a temperature above 0.",
        )
    values = np.asarray(probability, dtype=np.float64)
    known = np.isfinite(values)
    if ((values[known] < 0) | (values[known] > 1)).any():
        raise InputError("Probabilities are not between 0 and 1.", "Divide percent by 100 and 8 bits by 255 first.")
    clipped = np.clip(np.where(known, values, 0.5), clip, 1 - clip)
    odds = (np.log1p(-clipped) - np.log(clipped)) / temperature - (math.log1p(-prior) - math.log(prior))
    return np.where(known, odds, 0.0)


def _check(tree: Tree, dry_odds: NDArray[np.float64], epsilon: float, prior: float) -> None:
    for name, value in (("epsilon", epsilon), ("prior", prior)):
        if not 0 < value < 1:
            raise InputError(f"The {name} is {value}.", "Give a number between 0 and 1.")
    if dry_odds.shape != tree.toward.shape or not np.isfinite(dry_odds[tree.sequence]).all():
        raise InputError(
            f"The odds of {dry_odds.shape} nodes are not finite numbers of a tree of {len(tree.toward)}.",
            "Give one finite number for each node.",
        )


def _inside(value: float) -> float:
    return min(max(float(value), LIMIT), 1 - LIMIT)


def _expit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1 / (1 + small), small / (1 + small)))


def _with_ridge(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add to the diagonal, so that a class of few or equal pixels has a distribution."""
    size = float(np.trace(covariance)) / len(covariance)
    return covariance + np.eye(len(covariance)) * max(1e-6 * size, 1e-9)


def _weighted_moments(
    features: NDArray[np.floating[Any]], flooded: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and covariance of both classes, of pixels that belong to the flooded one with a probability."""
    bands = len(features)
    count, total, square = np.zeros(2), np.zeros((2, bands)), np.zeros((2, bands, bands))
    known_any = np.isfinite(features[0]) & np.isfinite(flooded)
    center = features[:, known_any][:, :_CHUNK].astype(np.float64).mean(axis=1, keepdims=True)
    for first in range(0, features.shape[1], _CHUNK):
        part = features[:, first : first + _CHUNK].astype(np.float64) - center
        weight = flooded[first : first + _CHUNK]
        known = np.isfinite(part).all(axis=0) & np.isfinite(weight)
        part, weight = part[:, known], weight[known]
        for label, of_class in ((0, 1 - weight), (1, weight)):
            count[label] += of_class.sum()
            total[label] += part @ of_class
            square[label] += (part * of_class) @ part.T
    count = np.maximum(count, 1e-12)
    mean = total / count[:, np.newaxis]
    covariance = square / count[:, np.newaxis, np.newaxis] - mean[:, :, np.newaxis] * mean[:, np.newaxis, :]
    return mean + center.T, np.array([_with_ridge(each) for each in covariance])


def _largest_change(before: Parameters, after: Parameters) -> float:
    pairs = [(before.epsilon, after.epsilon), (before.prior, after.prior)]
    pairs += [(before.mean, after.mean), (before.covariance, after.covariance)]  # type: ignore[list-item]
    return max(float(np.max(np.abs(np.subtract(b, a)) / np.maximum(np.abs(a), 1e-12))) for a, b in pairs)


@njit(cache=True)
def _softplus(value: float) -> float:
    return value + math.log1p(math.exp(-value)) if value > 0 else math.log1p(math.exp(value))


@njit(cache=True)
def _log_of_dry(epsilon: float, spread: float) -> float:
    """Return log(epsilon + expm1(spread)): dry although all parents are flooded, or because not all are."""
    if spread > 1:
        return spread + math.log1p((epsilon - 1) * math.exp(-spread))
    return math.log(epsilon + math.expm1(spread))


@njit(cache=True)
def _to_parent(epsilon: float, spread: float, own: float) -> float:
    """Return the message from a node to one of its parents; `spread` is of the others, `own` of the node's odds."""
    dry = own + _log_of_dry(epsilon, spread)
    wet = math.log1p(-epsilon)
    high = max(dry, wet)
    return spread + own - (high + math.log1p(math.exp(min(dry, wet) - high)))


@njit(cache=True)
def _sum_product(sequence: Any, toward: Any, is_child: Any, dry_odds: Any, epsilon: float, prior: float) -> Any:
    """Return the odds of dry against flooded of each node, and the sums that epsilon and the prior come from.

    Of the messages of a node's parents only the sum of softplus is kept (`spread`): with messages scaled to 1 for
    flooded, exp(spread) is the sum over all states of the parents, of which one is "all flooded".
    """
    size = len(toward)
    spread, of_children, sent = np.zeros(size), np.zeros(size), np.zeros(size)
    has_parents = np.zeros(size, np.bool_)
    for node in sequence:
        if toward[node] >= 0:
            has_parents[node if is_child[node] else toward[node]] = True
    head = math.log1p(-prior) - math.log(prior)
    stay = math.log1p(-epsilon)
    # Leaves inward.
    for node in sequence:
        near, own = toward[node], dry_odds[node] + of_children[node]
        if near < 0:
            continue
        if is_child[node]:
            sent[node] = _to_parent(epsilon, spread[node], own)
            of_children[near] += sent[node]
        else:
            sent[node] = own + (_log_of_dry(epsilon, spread[node]) - stay if has_parents[node] else head)
            spread[near] += _softplus(sent[node])
    # Root outward.
    odds = np.zeros(size)
    dry_below, wet_below, heads, wet_heads = 0.0, 0.0, 0, 0.0
    for place in range(len(sequence) - 1, -1, -1):
        node = sequence[place]
        near = toward[node]
        if near >= 0 and is_child[node]:
            spread[node] += _softplus(odds[near] - sent[node])
        elif near >= 0:
            others = max(spread[near] - _softplus(sent[node]), 0.0)
            of_children[node] += _to_parent(epsilon, others, dry_odds[near] + of_children[near])
        own = dry_odds[node] + of_children[node]
        odds[node] = own + (_log_of_dry(epsilon, spread[node]) - stay if has_parents[node] else head)
        flooded = math.exp(-_softplus(odds[node]))
        if has_parents[node]:
            wet_below += flooded
            # Dry below flooded parents: the share of epsilon in epsilon + expm1(spread) of what is dry.
            dry_below += math.exp(-_softplus(-odds[node]) + math.log(epsilon) - _log_of_dry(epsilon, spread[node]))
        else:
            heads += 1
            wet_heads += flooded
    return odds, dry_below, wet_below, heads, wet_heads


_ALL, _FREE, _ALL_BUT_ONE = 0, 1, 2


@njit(cache=True)
def _not_all(best: float, cheapest: float) -> float:
    """Return the best odds of parents that are not all flooded: each as it likes, or one against its liking."""
    return best if best > 0 else cheapest


@njit(cache=True)
def _max_product(sequence: Any, toward: Any, is_child: Any, dry_odds: Any, epsilon: float, prior: float) -> Any:
    """Return the most probable labels: maxima inward to the roots, and the choices that led to them outward."""
    size = len(toward)
    # Of the messages of a node's parents: the sum of those above 0, the largest, and whose that is.
    best, cheapest, of_children, sent = np.zeros(size), np.full(size, -np.inf), np.zeros(size), np.zeros(size)
    whose = np.full(size, -1, np.int32)
    has_parents = np.zeros(size, np.bool_)
    for node in sequence:
        if toward[node] >= 0:
            has_parents[node if is_child[node] else toward[node]] = True
    head = math.log1p(-prior) - math.log(prior)
    stay, leave = math.log1p(-epsilon), math.log(epsilon)
    for node in sequence:
        near, own = toward[node], dry_odds[node] + of_children[node]
        if near < 0:
            continue
        others = _not_all(best[node], cheapest[node])
        if is_child[node]:
            wet = max(max(stay, leave + own), others + own)
            sent[node] = own + max(0.0, others) - wet
            of_children[near] += sent[node]
        else:
            sent[node] = own + (max(leave, others) - stay if has_parents[node] else head)
            if sent[node] > 0:
                best[near] += sent[node]
            if sent[node] > cheapest[near]:
                cheapest[near], whose[near] = sent[node], node
    labels = np.full(size, -1, np.int8)
    choice = np.zeros(size, np.int8)
    for place in range(len(sequence) - 1, -1, -1):
        node = sequence[place]
        near, own = toward[node], dry_odds[node] + of_children[node]
        others = _not_all(best[node], cheapest[node])
        parent_is_wet = True
        if near >= 0 and not is_child[node]:
            like = 1 if sent[node] <= 0 else 0
            labels[node] = 1 if choice[near] == _ALL else like
            if choice[near] == _ALL_BUT_ONE:
                labels[node] = 0 if whose[near] == node else 1
        elif near >= 0:
            parent_is_wet = labels[near] == 1
            labels[node] = 1 if parent_is_wet and stay >= own + max(leave, others) else 0
        else:
            labels[node] = 1 if own + (max(leave, others) - stay if has_parents[node] else head) <= 0 else 0
        # How the parents that are farther from the root than this node are chosen.
        if labels[node] == 1:
            choice[node] = _ALL
        elif near >= 0 and is_child[node] and not parent_is_wet:
            choice[node] = _FREE
        elif leave >= others:
            choice[node] = _ALL
        else:
            choice[node] = _FREE if best[node] > 0 else _ALL_BUT_ONE
    return labels
