"""Sanity checks of maps: order of deletion, weights randomised layer by layer, rank correlation."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage, stats
from torch import nn

from volseg.attribution.baseline import neutral_image
from volseg.attribution.differentiable import differentiable
from volseg.attribution.explaining import FUNCTIONS
from volseg.attribution.layers import chosen_layer
from volseg.attribution.occlusion import automatic_side, occlusion_maps
from volseg.attribution.region_means import RegionMeans

#: Shares of the tissue that are deleted, finer at the start.
SHARES = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)


def maps_of(options, targets):
    """Map (I, J, K) of each target, on the grid of the image."""
    if options.method == "occlusion":
        side_mm = options.box_mm or automatic_side(targets)
        return list(occlusion_maps(targets, side_mm).maps)
    found = []
    for target in targets:
        network = target.model.network
        layer = chosen_layer(target.model, None).name if options.method == "grad-cam" else None
        with differentiable(network, layer):
            found.append(FUNCTIONS[options.method](target, options).sum(axis=0))
    return found


def with_network(target, network):
    """The same target, image and mask for another network."""
    return replace(target, model=replace(target.model, network=network))


def deletion_curve(target, order, shares=SHARES):
    """Mean probability of the mask when the first voxels of an order are made neutral.

    Args:
        target: The region and its mask.
        order: (I, J, K); the tissue with the highest values is deleted first.
        shares: Shares of the tissue to delete.
    """
    means, neutral = RegionMeans([target]), neutral_image(target)
    # Equal values, such as 0 where the map has nothing, are deleted in random order.
    ties = np.random.default_rng(0).permutation(order.size)
    ranked = np.lexsort((ties, -order.ravel()))
    ranked = ranked[target.tissue.ravel()[ranked]]
    curve = []
    for share in shares:
        deleted = np.zeros(order.size, bool)
        deleted[ranked[: round(share * ranked.size)]] = True
        mask = torch.from_numpy(deleted.reshape(order.shape))
        curve.append(float(means.of(torch.where(mask, neutral, target.image))[0]))
    return curve


def area(curve, shares=SHARES):
    """Area under a deletion curve as a share of the largest possible."""
    return float(np.trapezoid(curve, shares) / (shares[-1] - shares[0]))


def random_order(target, seed, smooth=0.0):
    """A random order of voxels; with `smooth`, of blobs of about so many voxels."""
    noise = np.random.default_rng(seed).standard_normal(target.mask.shape)
    if not smooth:
        return noise
    sizes = (smooth, smooth, 0) if target.model.config.by_slice else smooth
    return ndimage.gaussian_filter(noise, sizes)


def layers_in_order(network, image):
    """Leaf modules with weights, in the order in which they compute."""
    leaves = [m for m in network.modules() if list(m.parameters(recurse=False))]
    order, hooks = [], []
    for leaf in leaves:
        hooks.append(leaf.register_forward_hook(lambda module, *_: order.append(module)))
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys(order))


def randomised(network, image, share, seed=0):
    """A copy of a network whose last layers have random weights.

    Args:
        network: The network.
        image: Images (B, C, *) that it accepts.
        share: Share of its layers, from the last to the first; above 0: at least one.
        seed: Seed of the weights.
    """
    network = copy.deepcopy(network)
    layers = layers_in_order(network, image)
    last = layers[-max(1, round(share * len(layers))) :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in last:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
            else:
                for weight in layer.parameters(recurse=False):
                    nn.init.normal_(weight, std=0.02)
    return network


def rank_correlation(one, other, where):
    """Spearman correlation of two maps, of their absolute values, within a mask."""
    values = [np.abs(each[where]) for each in (one, other)]
    if any(np.ptp(each) == 0 for each in values):
        return 0.0
    return float(stats.spearmanr(*values).statistic)


def near(mask, voxels, by_slice):
    """A mask and what lies within so many voxels of it; within its slices for a stack."""
    ball = ndimage.generate_binary_structure(3, 1)
    if by_slice:
        ball[:, :, [0, 2]] = False
    return ndimage.binary_dilation(mask, ball, iterations=voxels)
