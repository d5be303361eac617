"""Saliency: how relevant a model, or a control, finds each pixel. One module per source.

`base` calls them by name; `batched` and `interest` are what those that ask a model have in common.

Each source module has one function of one signature::

    def stream_scores(blocks, context) -> Iterator[np.ndarray]

`blocks` yields (images uint8 (n, H, W, C), labels uint8 (n, H, W)); the function yields float32 scores (n, H, W)
for each, higher = more relevant. `context` is a `base.Context`. A source that needs the true labels says so by
`USES_LABELS = True`: images whose labels are unknown cannot be masked by it. A new source is a new module of this
package.
"""
