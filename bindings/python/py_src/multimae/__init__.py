"""Multi-modal masked autoencoders over NumPy arrays.

`load` opens a model, `Dataset` reads folders and packs, `metrics` scores predictions:

    import multimae

    model = multimae.load("runs/nyuv2")
    depth = model.predict({"rgb": picture})["depth"]
"""

from multimae import metrics
from multimae._multimae import Dataset, Error, Model, __version__, load

__all__ = ["Dataset", "Error", "Model", "__version__", "load", "metrics"]
