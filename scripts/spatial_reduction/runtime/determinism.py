"""The same bits again on a GPU: PyTorch's deterministic algorithms, on request.

What the networks, the loss and the sources of saliency call was held against PyTorch's list of operations that differ
from run to run on CUDA (`torch.use_deterministic_algorithms`, 2.15):

convolutions and their gradients: cuDNN has deterministic ones, which the mode selects;
`index_select`, `index_put`, `index_add` and their gradients (mirrored borders, batches, windows): deterministic in the
    mode;
cross-entropy of images (`nll_loss2d`): its kernel adds up with atomics for the reductions `sum` and `mean`, and raises
    in the mode; for the reduction `none` it does not (aten/src/ATen/native/cuda/NLLLoss2d.cu), which
    `trainer.segmentation_loss` then takes and sums up itself;
bilinear and bicubic enlarging, `grid_sample`, `adaptive_avg_pool2d` and reflection padding: their gradients differ, but
    only their values are used (augmentation, class activation maps, glimpses);
max-pooling: its gradient gathers, without atomics (aten/src/ATen/native/cuda/DilatedMaxPool2d.cu);
`bincount` without weights and `scatter_add` of ones count integers, in any order the same; logarithms, sums and fused
    optimisers have a fixed order.

On the CPU a run repeats itself bit by bit with and without the mode, for the same number of threads.
"""

import os

WORKSPACE = ":4096:8"  # or ":16:8"; without either cuBLAS may compute in several streams, whose order varies


def set_determinism(is_wanted: bool) -> None:
    """Let every operation of this process have a deterministic algorithm, or fail; if not wanted, change nothing.

    It is for the whole process, a job; cuBLAS reads its setting when CUDA starts, so call it before.
    """
    if not is_wanted:
        return
    import torch  # here: a job whose source of saliency asks no model does without

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
