"""Measures of objects: do the found ones split, merge or miss the true ones? Additive counts per image. No torch.

Objects are numbered 1, 2, ... in an integer image; 0 is no object (in electron microscopy, membrane).
"""

import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.measure import label
from skimage.metrics import adapted_rand_error, variation_of_information
from skimage.segmentation import watershed

from spatial_reduction.data.labels import IGNORED
from spatial_reduction.metrics.overlap import ratio
from spatial_reduction.metrics.warping_error import warping_differences

# The order in which the counts of an image stand; the file of counts states it.
OBJECT_MEASURES = ("rand_error", "variation_of_information", "vi_split", "vi_merge")
OBJECT_MEASURES += ("rand_error_thinned", "variation_of_information_thinned")
OBJECT_MEASURES += ("warping_error", "pixel_error", "seg", "object_f1", "mean_object_f1")
THRESHOLDS = np.arange(50, 100, 5) / 100  # of the intersection over union, of `mean_object_f1`


def object_counts(
    labels: np.ndarray,
    predictions: np.ndarray,
    instances: np.ndarray | None,
    index: int,
    connectivity: int,
    minimum_size: int,
) -> np.ndarray:
    """Return a numerator and a denominator of each measure for each image: sum by sum they give that of any set.

    The found objects are the connected components of the predicted pixels of one class. The true ones are those of the
    same class in the labels; with `instances`, those of each instance, so that instances that touch are apart. What has
    another label (the class of borders between objects, for example, or none) belongs to neither, so a prediction that
    equals the labels is perfect unless instances touch. The measures, in the order of `OBJECT_MEASURES`:

    * rand_error, variation_of_information, vi_split, vi_merge: the image's value and 1, see `rand_error` and
      `information`; 0 and 0 in an image without true objects. So the measure of a set is the mean over its images.
    * rand_error_thinned, variation_of_information_thinned: the same two after `thin_borders` of the found objects.
    * warping_error: pixels that differ after `warping_error.warp`, and labelled pixels. True objects that touch are set
      apart by one pixel.
    * pixel_error: labelled pixels whose class, of all classes, is wrong, and labelled pixels.
    * seg, object_f1, mean_object_f1: see `match_counts`.

    Args:
        labels: uint8 (N, H, W), 255 is ignored.
        predictions: integer (N, H, W), class indices.
        instances: integer (N, H, W), 0 where there is no object; None if the labels tell objects apart.
        index: class of the objects.
        connectivity: 1, pixels hang together by edges, or 2, by edges and corners.
        minimum_size: smaller components, in pixels, are no objects, found or true.

    Returns:
        float64 (N, M, 2).
    """
    is_labelled = labels != IGNORED
    counts = np.zeros((len(labels), len(OBJECT_MEASURES), 2))
    for image, valid in enumerate(is_labelled):
        found = find_objects((predictions[image] == index) & valid, connectivity, minimum_size)
        of_class = labels[image] == index
        true = find_objects(of_class if instances is None else instances[image] * of_class, connectivity, minimum_size)
        counts[image, :4] = _partition_counts(true, found)
        counts[image, 4:6] = _partition_counts(true, thin_borders(found, valid, connectivity))[:2]
        warped = warping_differences(_set_apart(true), np.where(valid, found > 0, _set_apart(true)))
        counts[image, 6] = warped, valid.sum()
        counts[image, 7] = (predictions[image] != labels[image])[valid].sum(), valid.sum()
        counts[image, 8:] = match_counts(true, found)
    return counts


def find_objects(values: np.ndarray, connectivity: int, minimum_size: int) -> np.ndarray:
    """Number the components of equal value other than 0 of at least `minimum_size` pixels.

    Bool or integer (H, W) -> int64 (H, W), 0 elsewhere.
    """
    components = label(values, background=0, connectivity=connectivity)
    sizes = np.bincount(components.reshape(-1))
    is_object = sizes >= minimum_size
    is_object[0] = False
    return np.where(is_object, np.cumsum(is_object), 0)[components]


def thin_borders(found: np.ndarray, valid: np.ndarray, connectivity: int) -> np.ndarray:
    """Grow the found objects until lines of one pixel part them: what is between them becomes as thin as can be.

    The ISBI challenge of 2012 scores so since 2015 (Arganda-Carreras et al., Front. Neuroanat. 9:142): otherwise the
    measure is of how thick borders are drawn. That paper thins the borders, which leaves the same objects with, where a
    border ends inside of an object, a line of single pixels in it. Here each pixel goes to the nearest object
    (watershed of the distance to them), so there is no such line.

    Args:
        found: integer (H, W), 0 where there is no object.
        valid: bool (H, W), pixels that objects may grow over.
        connectivity: of the objects; the lines part objects in its sense.

    Returns:
        The grown objects, integer (H, W).
    """
    if not found.any():
        return found
    distance = distance_transform_edt(found == 0)
    return watershed(distance, found, connectivity=connectivity, mask=valid, watershed_line=True)


def rand_error(true: np.ndarray, found: np.ndarray) -> float:
    """Adapted Rand error in [0, 1]: 1 minus the F-score of the pairs of pixels that are in one object; (H, W) each.

    Arganda-Carreras et al. 2015 (Front. Neuroanat. 9:142), by scikit-image. Pixels of no true object are left out, as
    by the ISBI challenge of 2012. Each pixel of no found object is an object of its own, as in the SNEMI3D challenge
    (from memory): scikit-image alone takes them for one object, and to find nothing would be perfect where there is
    one true object. NaN without true objects. The challenges took the best of many thresholds of the predicted
    probability, this is at the most probable class.
    """
    if not true.any():
        return float("nan")
    with np.errstate(invalid="ignore"):  # single pixels have no pairs
        return float(adapted_rand_error(true, _split_rest(found))[0])


def information(true: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Variation of information in bits, its two parts: H(found | true), of splits, and H(true | found), of merges.

    Meila 2007 (J. Multivariate Analysis 98:873), by scikit-image; their sum is the variation of information. Pixels of
    no object are treated as in `rand_error`. (NaN, NaN) without true objects.
    """
    if not true.any():
        return float("nan"), float("nan")
    split, merge = variation_of_information(true, _split_rest(found), ignore_labels=(0,))
    return float(split), float(merge)


def match_counts(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return numerator and denominator of three measures of matched objects.

    * seg, of the Cell Tracking Challenge (Maska et al. 2014, Bioinformatics 30:1609): the sum over true objects of the
      Jaccard index with the found object that covers more than half of it, 0 without one; and the number of true ones.
    * object_f1: 2 TP and 2 TP + FP + FN, a true and a found object of Jaccard index above .5 being a match.
    * mean_object_f1: the same, 2 TP averaged over the thresholds .5, .55, .. .95.

    Args:
        true, found: integer (H, W).

    Returns:
        float64 (3, 2).
    """
    sizes_true, sizes_found = np.bincount(true.reshape(-1)), np.bincount(found.reshape(-1))
    both = (true > 0) & (found > 0)
    pairs, shared = np.unique(true[both].astype(np.int64) * len(sizes_found) + found[both], return_counts=True)
    of_true, of_found = sizes_true[pairs // len(sizes_found)], sizes_found[pairs % len(sizes_found)]
    jaccard = ratio(shared, of_true + of_found - shared)
    objects_true, objects_found = np.count_nonzero(sizes_true[1:]), np.count_nonzero(sizes_found[1:])
    matched = (jaccard[:, None] > THRESHOLDS).sum(axis=0)
    total = objects_true + objects_found
    return np.array(
        [(jaccard[2 * shared > of_true].sum(), objects_true), (2 * matched[0], total), (2 * matched.mean(), total)]
    )


def _partition_counts(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return value and 1 of the Rand error, the variation of information and its parts; 0 and 0 if not defined."""
    split, merge = information(true, found)
    values = np.array([rand_error(true, found), split + merge, split, merge])
    return np.stack([np.nan_to_num(values), ~np.isnan(values)], axis=-1)


def _split_rest(found: np.ndarray) -> np.ndarray:
    """Make each pixel of no object an object of its own; int64 (H, W)."""
    return np.where(found > 0, found, found.max() + 1 + np.arange(found.size).reshape(found.shape))


def _set_apart(objects: np.ndarray) -> np.ndarray:
    """Return the pixels of objects without those to whose right or below them another object begins; bool (H, W)."""
    apart = objects > 0
    for axis in (0, 1):
        here, there = (np.take(objects, range(start, objects.shape[axis] - 1 + start), axis) for start in (0, 1))
        touches = (here > 0) & (there > 0) & (here != there)
        apart &= ~np.pad(touches, [(0, int(a == axis)) for a in (0, 1)])
    return apart
