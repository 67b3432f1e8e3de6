# %% [markdown]
# # multimae from Python
#
# Run the cells in an editor that knows `# %%`, or the whole file:
#
#     multimae synth --out rooms --count 400
#     multimae pretrain --config recipes/pretrain/rooms_tiny.yaml --data rooms --out runs/rooms
#     multimae finetune --config recipes/finetune/rooms_tiny.yaml --data rooms --out runs/rooms-joint \
#       --set finetune=runs/rooms
#     python quickstart.py rooms runs/rooms-joint runs/rooms

# %%
import sys

import numpy as np

import multimae

data, tuned, pretrained = (sys.argv[1:] + ["rooms", "runs/rooms-joint", "runs/rooms"][len(sys.argv) - 1 :])

# %% [markdown]
# ## Data
# A sample is a dictionary of arrays. Depth is in metres, NaN where it is not known.

# %%
dataset = multimae.Dataset(data, split="val")
sample = dataset[0]
for name, value in sample.items():
    print(name, getattr(value, "dtype", ""), getattr(value, "shape", value))

# %% [markdown]
# ## Prediction
# Results have the size of the input.

# %%
model = multimae.load(tuned)
prediction = model.predict({"rgb": sample["rgb"]})
print(f"depth from {prediction['depth'].min():.2f} to {prediction['depth'].max():.2f} m")
print("classes", np.unique(prediction["semseg"]))

# %% [markdown]
# ## Scores
# By the rules of the model's own training run. Targets are given as files store them.

# %%
scorers = {"depth": model.scorer("depth"), "semseg": model.scorer("semseg")}
for sample in dataset:
    prediction = model.predict({"rgb": sample["rgb"]})
    scorers["depth"].update(prediction["depth"], sample["depth"])
    scorers["semseg"].update(prediction["semseg"], sample["label40"])
for task, scorer in scorers.items():
    print(task, {name: round(score, 4) for name, score in scorer.compute().items()})

# %% [markdown]
# ## Features
# Maps of the last four blocks, as timm's `forward_intermediates` gives them.

# %%
for layer in model.features({"rgb": sample["rgb"]}, indices=4):
    print(layer["rgb"].shape)

# %% [markdown]
# ## Reconstruction
# Every fourth patch of RGB is visible, and nothing of the other modalities.

# %%
model = multimae.load(pretrained)
rows, columns = model.grid
reconstruction = model.reconstruct(
    {"rgb": sample["rgb"]}, visible={"rgb": list(range(0, rows * columns, 4))}
)
for task, values in reconstruction.items():
    print(task, values.shape)
