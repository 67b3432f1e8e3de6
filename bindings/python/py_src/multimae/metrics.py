"""Scores of predictions, accumulated over frames by the rules of named protocols.

    scorer = multimae.metrics.depth("nyuv2-depth")
    for sample in dataset:
        scorer.update(model.predict({"rgb": sample["rgb"]})["depth"], sample["depth"])
    print(scorer.compute()["rmse"])
"""

from multimae._multimae import Scorer, depth, labels, normals, protocols, values

__all__ = ["Scorer", "depth", "labels", "normals", "protocols", "values"]
