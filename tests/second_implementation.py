"""The method written a second time, by its description alone: nothing of the library is imported.

Plain PyTorch, NumPy, SciPy and scikit-learn, a picture and a pixel at a time where that is clearer. Every published
constant stands here as a number.
"""

import math
from fractions import Fraction
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from scipy import ndimage, special
from sklearn.metrics import confusion_matrix
from torch import nn
from torch.nn import functional

IGNORED = 255


class PlainUNet(nn.Module):
    """A padded U-Net of two resolutions or more; its parameters have the names of the project's model files."""

    def __init__(self, channels, classes, widths, dropout=0.0):
        super().__init__()
        self.rate = dropout
        down = list(zip([channels, *widths[:-1]], widths, strict=True))
        up = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.encoders = nn.ModuleList(self.block(a, b) for a, b in down)
        self.upsamplers = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in up)
        self.decoders = nn.ModuleList(self.block(2 * b, b) for _, b in up)
        self.head = nn.Conv2d(widths[0], classes, 1)

    @staticmethod
    def block(a, b):
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU())

    def forward(self, x):
        skips = []
        for depth, encoder in enumerate(self.encoders):
            x = encoder(x)
            if self.rate and depth >= len(self.encoders) - 2:
                x = functional.dropout(x, self.rate, self.training)
            if depth < len(self.encoders) - 1:
                skips.append(x)
                x = functional.max_pool2d(x, 2)
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            x = decoder(torch.cat([skips.pop(), upsampler(x)], dim=1))
        return self.head(x)


def as_input(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def logits_of(network, images):
    network.eval()
    with torch.no_grad():
        return network(as_input(images)).double().numpy()


def train(network, images, labels, validation, settings, seed, epochs_before):
    """Train with Adam on images that may be reduced already; return rows (train loss, validation loss and mean IoU)."""
    optimizer = torch.optim.Adam(network.parameters(), lr=settings["learning_rate"])
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=5)
    rows = []
    for epoch in range(1, settings["epochs"] + 1):
        whole = epochs_before + epoch
        torch.manual_seed(int(np.random.SeedSequence((seed, whole)).generate_state(1)[0]))
        order = np.random.default_rng((seed, whole)).permutation(len(images))
        network.train()
        losses = []
        for start in range(0, len(order), settings["batch_size"]):
            chosen = order[start : start + settings["batch_size"]]
            pictures, targets = images[chosen].copy(), labels[chosen].copy()
            if settings["flip"]:
                for index in range(len(chosen)):
                    if torch.rand(1) < 0.5:
                        pictures[index], targets[index] = pictures[index][:, ::-1], targets[index][:, ::-1]
            loss = mean_cross_entropy(network(as_input(pictures)), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        network.eval()
        with torch.no_grad():
            scores = network(as_input(validation[0]))
            loss = mean_cross_entropy(scores, validation[1]).item()
        matrix = confusion(validation[1], scores.argmax(1).numpy(), settings["classes"]).sum(axis=0)
        rows.append((np.mean(losses), loss, np.nanmean(overlaps(matrix))))
        plateau.step(loss)
    return rows


def mean_cross_entropy(logits, labels):
    return functional.cross_entropy(logits, torch.from_numpy(labels).long(), ignore_index=IGNORED)


def log_odds(logits, interest):
    """Log-odds of the classes of interest, from logits (N, C, H, W)."""
    others = [index for index in range(logits.shape[1]) if index not in interest]
    return special.logsumexp(logits[:, interest], axis=1) - special.logsumexp(logits[:, others], axis=1)


def signed_distance(inside):
    """Distance of each pixel to the other side, positive inside; 0 where there is one side only."""
    if inside.all() or not inside.any():
        return np.zeros(inside.shape)
    return ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)


def kept_number(pixels, threshold, reductions):
    for _ in range(reductions):
        pixels -= math.floor(Fraction(pixels) * (100 - Fraction(threshold)) / 100)
    return pixels


def shrink(scores, kept, count):
    """Keep the `count` best pixels of those kept so far in each image; of equal scores the first."""
    shrunk = np.zeros_like(kept)
    for image in range(len(kept)):
        places = np.flatnonzero(kept[image])
        best = sorted(places, key=lambda place: (-scores[image].flat[place], place))[:count]
        shrunk[image].flat[best] = True
    return shrunk


def blacken(images, kept):
    return images * kept[..., None].astype(np.uint8)


def mask_table(kept, before, labels, classes):
    """The rows of kept_pixels.csv: {(measure, class): value}."""
    rows = {
        ("kept_share", "all"): 100 * kept.mean(),
        ("overlap_iou", "all"): 100 * (kept & before).sum() / (kept | before).sum(),
        ("components", "all"): np.mean([ndimage.label(each, np.ones((3, 3)))[1] for each in kept]),
    }
    for index, name in enumerate(classes):
        rows["recall", name] = 100 * kept[labels == index].mean()
        rows["share_of_kept", name] = 100 * (labels[kept] == index).mean()
    return rows


def confusion(labels, predictions, classes):
    """A matrix per image, rows true, columns predicted."""
    matrices = []
    for truth, found in zip(labels, predictions, strict=True):
        known = truth != IGNORED
        matrices.append(confusion_matrix(truth[known], found[known], labels=range(classes)))
    return np.array(matrices)


def overlaps(matrix, dice=False):
    """IoU, or Dice, of each class; NaN where neither side has it."""
    values = []
    for index in range(len(matrix)):
        hit, sides = matrix[index, index], matrix[index].sum() + matrix[:, index].sum()
        whole = sides if dice else sides - hit
        values.append((2 if dice else 1) * hit / whole if whole else np.nan)
    return np.array(values)


def average(values):
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else np.nan


def score_table(labels, predictions, classes, groups, front):
    """The rows of metrics.csv that every protocol has: {(measure, class): value}."""
    matrices = confusion(labels, predictions, len(classes))
    rows = {}
    for prefix, chosen in (("", [matrices.sum(axis=0)]), ("image_", list(matrices))):
        for name, is_dice in (("iou", False), ("dice", True)):
            table = [overlaps(matrix, is_dice) for matrix in chosen]
            for index, each in enumerate(classes):
                rows[prefix + name, each] = average([values[index] for values in table])
            for group, members in {"all": classes, **groups}.items():
                places = [classes.index(member) for member in members]
                rows[f"{prefix}mean_{name}", group] = average([average(values[places]) for values in table])
        merged = []
        for matrix in chosen:
            inside = [classes.index(name) for name in front]
            outside = [index for index in range(len(classes)) if index not in inside]
            hit = matrix[np.ix_(inside, inside)].sum()
            wrong = matrix[np.ix_(inside, outside)].sum() + matrix[np.ix_(outside, inside)].sum()
            merged.append(hit / (hit + wrong) if hit + wrong else np.nan)
        rows[f"{prefix}binary_iou", "foreground"] = average(merged)
        rows[f"{prefix}pixel_accuracy", "all"] = average([np.trace(m) / m.sum() if m.sum() else np.nan for m in chosen])
    for index, each in enumerate(classes):
        absent = [matrix[index].sum() + matrix[:, index].sum() == 0 for matrix in matrices]
        rows["absent_images", each] = sum(absent)
    return rows


def boundary_table(labels, predictions, classes, groups):
    """Boundary IoU of each class and its means, pooled over the images."""
    width = max(1, round(0.02 * math.hypot(*labels.shape[1:])))
    square = np.ones((2 * width + 1, 2 * width + 1))

    def band(mask):
        return mask & ~ndimage.binary_erosion(mask, square, border_value=0)

    values = {}
    for index, name in enumerate(classes):
        both = either = 0
        for truth, found in zip(labels, predictions, strict=True):
            true, seen = band(truth == index), band((found == index) & (truth != IGNORED))
            both, either = both + (true & seen).sum(), either + (true | seen).sum()
        values[name] = both / either if either else np.nan
    rows = {("boundary_iou", name): value for name, value in values.items()}
    for group, members in {"all": classes, **groups}.items():
        rows["mean_boundary_iou", group] = average([values[name] for name in members])
    return rows


def calibration_table(labels, logits):
    """Expected calibration error with 15 bins, and the mean negative log-likelihood, of the labelled pixels."""
    known = labels != IGNORED
    logs = special.log_softmax(logits, axis=1)
    confidence, right = np.exp(logs.max(axis=1))[known], (logs.argmax(axis=1) == labels)[known]
    bins = np.minimum(np.ceil(confidence * 15).astype(int) - 1, 14)
    gaps = [abs(right[bins == b].sum() - confidence[bins == b].sum()) for b in range(15)]
    images, rows, columns = np.nonzero(known)
    likelihood = -logs[images, labels[known], rows, columns].mean()
    return {("ece", "all"): sum(gaps) / known.sum(), ("nll", "all"): likelihood}


# Hendrycks and Dietterich 2019, the set for CIFAR-10 (pictures below 64 pixels), severities 1, 3, 5.
NOISE, BLUR, BRIGHTNESS = (0.04, 0.08, 0.10), (0.4, 0.7, 1.0), (0.05, 0.15, 0.3)
CONTRAST, JPEG, OCCLUSION = (0.75, 0.4, 0.15), (80, 58, 40), (0.25, 0.375, 0.5)


def corrupted(images):
    """Yield (protocol, corrupted images) of all six families and three severities."""
    side = images.shape[1]
    for level in range(3):
        for family in ("noise", "blur", "brightness", "contrast", "jpeg", "occlusion"):
            changed = [_corrupt(family, level, image, place, side) for place, image in enumerate(images)]
            yield f"{family}_{level + 1}", np.stack(changed)


def _corrupt(family, level, image, place, side):
    values, rng = image.astype(np.float32), np.random.default_rng((0, place))
    if family == "noise":
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        return to_bytes(values + np.float32(255 * NOISE[level]) * noise)
    if family == "blur":
        sigma = max(0.4, BLUR[level] * side / 32)
        return to_bytes(ndimage.gaussian_filter(values, (sigma, sigma, 0), mode="mirror"))
    if family == "brightness":
        top = values.max(axis=2, keepdims=True)
        raised = np.minimum(top + np.float32(255 * BRIGHTNESS[level]), 255)
        return to_bytes(np.where(top > 0, image * (raised / np.maximum(top, 1)), raised))  # order: rounding to bytes
    if family == "contrast":
        mean = values.mean(axis=(0, 1), keepdims=True)
        return to_bytes(mean + CONTRAST[level] * (values - mean))
    if family == "jpeg":
        coded = BytesIO()
        Image.fromarray(image).save(coded, "JPEG", quality=JPEG[level])
        return np.asarray(Image.open(coded))
    covered, length = image.copy(), round(OCCLUSION[level] * side)
    top, left = (int(rng.integers(0, size - length + 1)) for size in image.shape[:2])
    covered[top : top + length, left : left + length] = 128
    return covered


def to_bytes(values):
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def spread_background(image, is_background):
    """The background blurred from its own pixels alone, over the whole picture."""
    sigma = 0.1 * image.shape[0]
    weights = is_background.astype(np.float32)[..., None]
    known = image * weights
    mean = known.sum(axis=(0, 1)) / max(1, weights.sum())
    blurred, near = (ndimage.gaussian_filter(each, (sigma, sigma, 0), mode="constant") for each in (known, weights))
    return np.rint((blurred + 1e-3 * mean) / (near + 1e-3)).astype(np.uint8)


def on_other_backgrounds(images, labels, front, classes):
    """Every foreground on the background of another picture, and the labels that belong to it."""
    order = np.random.default_rng(0).permutation(len(images))
    donors = dict(zip(order.tolist(), np.roll(order, -1).tolist(), strict=True))
    others = [index for index in range(classes) if index not in front]
    pictures, truths = [], []
    for place in range(len(images)):
        lent, lent_labels = images[donors[place]], labels[donors[place]]
        is_background = ~np.isin(lent_labels, [*front, IGNORED])
        scene = np.where(is_background[..., None], lent, spread_background(lent, is_background))
        scene_labels = np.where(is_background, lent_labels, others[0] if len(others) == 1 else IGNORED)
        is_front = np.isin(labels[place], front)
        pictures.append(np.where(is_front[..., None], images[place], scene))
        truths.append(np.where(is_front, labels[place], scene_labels))
    return np.stack(pictures), np.stack(truths)


def on_blurred_backgrounds(images, labels, front):
    pictures = []
    for image, truth in zip(images, labels, strict=True):
        is_background = ~np.isin(truth, [*front, IGNORED])
        pictures.append(np.where(is_background[..., None], spread_background(image, is_background), image))
    return np.stack(pictures)
