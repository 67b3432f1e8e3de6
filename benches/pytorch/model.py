"""The models that are timed, as one writes them in PyTorch: fused attention, one pass of the encoder, no copies that
can be avoided. Parameters have the published names."""

import torch
import torch.nn.functional as F
from torch import nn

SEMSEG_STRIDE = 4


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


def norm(width):
    return nn.LayerNorm(width, eps=1e-6)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*qkv.unbind(0))
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, width))


class CrossAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x, context):
        batch, tokens, width = x.shape
        head = width // self.heads
        q = self.q(x).view(batch, tokens, self.heads, head).transpose(1, 2)
        k, v = self.kv(context).view(batch, -1, 2, self.heads, head).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = norm(width)
        self.attn = Attention(width, heads)
        self.norm2 = norm(width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def table(width, grid):
    """A position table; its values come with the weights."""
    return nn.Parameter(torch.zeros(1, width, *grid), requires_grad=False)


class PatchedInput(nn.Module):
    def __init__(self, channels, width, patch, grid):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)
        self.pos_emb = table(width, grid)

    def forward(self, x):
        return (self.proj(x) + self.pos_emb).flatten(2).transpose(1, 2)


class LabelInput(nn.Module):
    def __init__(self, classes, class_width, width, patch, grid):
        super().__init__()
        self.class_emb = nn.Embedding(classes, class_width)
        self.proj = nn.Conv2d(class_width, width, patch, stride=patch)
        self.pos_emb = table(width, grid)

    def forward(self, labels):
        x = self.class_emb(labels).permute(0, 3, 1, 2)
        return (self.proj(x) + self.pos_emb).flatten(2).transpose(1, 2)


def input_adapters(case):
    """By modality, from the sizes in `case.json`."""
    grid = [side // case["patch"] for side in case["image"]]
    adapters = {}
    for name in case["in_domains"]:
        if name == "semseg":
            patch = case["patch"] // SEMSEG_STRIDE
            adapters[name] = LabelInput(case["classes"], case["dim_class_emb"], case["dim"], patch, grid)
        else:
            channels = 1 if name == "depth" else 3
            adapters[name] = PatchedInput(channels, case["dim"], case["patch"], grid)
    return nn.ModuleDict(adapters)


class Decoder(nn.Module):
    """From the visible tokens of all modalities to the patches of one."""

    def __init__(self, case, channels, patch):
        super().__init__()
        width, heads = case["dec_dim"], case["dec_heads"]
        self.grid = [side // case["patch"] for side in case["image"]]
        self.channels, self.patch = channels, patch
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_emb = table(width, self.grid)
        self.task_embeddings = nn.ParameterDict(
            {name: nn.Parameter(torch.zeros(1, 1, width)) for name in case["in_domains"]}
        )
        self.proj_context = nn.Linear(case["dim"], width)
        self.context_norm, self.query_norm, self.out_norm = norm(width), norm(width), norm(width)
        self.decoder = CrossAttention(width, heads)
        self.mlp = Mlp(width, 4 * width)
        self.decoder_transformer = nn.Sequential(*[Block(width, heads) for _ in range(case["dec_depth"])])
        self.out_proj = nn.Linear(width, channels * patch * patch)

    def forward(self, tokens, task, names, keep, restore):
        """`keep` are the positions of the visible tokens, `restore` the places of all tokens among the visible and,
        behind them, the hidden ones."""
        batch, visible = keep.shape
        projected = self.proj_context(tokens)
        positions = self.pos_emb.flatten(2).transpose(1, 2)
        embeddings = torch.cat([positions + self.task_embeddings[name] for name in names], 1)
        count = positions.shape[1]
        if task in names:
            start = names.index(task) * count
            places = restore[:, start : start + count].clamp(max=visible)
            source = torch.cat([projected[:, :visible], self.mask_token.expand(batch, 1, -1).to(projected.dtype)], 1)
            queries = source.gather(1, places.unsqueeze(-1).expand(-1, -1, source.shape[-1]))
            queries = queries + positions + self.task_embeddings[task]
        else:
            queries = (self.mask_token + positions).expand(batch, -1, -1)
        context = projected[:, :visible] + embeddings[0][keep]
        context = torch.cat([context, projected[:, visible:]], 1)
        x = self.decoder(self.query_norm(queries), self.context_norm(context))
        x = x + self.mlp(self.out_norm(x))
        x = self.out_proj(self.decoder_transformer(x))
        (rows, columns), patch = self.grid, self.patch
        x = x.view(batch, rows, columns, self.channels, patch, patch).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(batch, self.channels, rows * patch, columns * patch)


class MultiMAE(nn.Module):
    """Masked pre-training: RGB, depth and labels, and RGB with normalised patches."""

    def __init__(self, case):
        super().__init__()
        self.input_adapters = input_adapters(case)
        self.global_tokens = nn.Parameter(torch.zeros(1, case["global_tokens"], case["dim"]))
        self.encoder = nn.Sequential(*[Block(case["dim"], case["heads"]) for _ in range(case["depth"])])
        patch = case["patch"]
        outputs = {"rgb": (3, patch), "depth": (1, patch), "semseg": (case["classes"], patch // SEMSEG_STRIDE)}
        outputs = {name: outputs[name] for name in case["in_domains"]} | {"norm_rgb": (3, patch)}
        self.output_adapters = nn.ModuleDict({name: Decoder(case, *sizes) for name, sizes in outputs.items()})

    def forward(self, inputs, mask):
        """`mask` (B, tokens of all modalities): 1 where a token is hidden; as many in every sample."""
        names = list(self.input_adapters)
        tokens = torch.cat([self.input_adapters[name](inputs[name]) for name in names], 1)
        order = mask.argsort(dim=1, stable=True)
        keep = order[:, : int((mask[0] == 0).sum())]
        x = tokens.gather(1, keep.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
        x = torch.cat([x, self.global_tokens.expand(len(x), -1, -1).to(x.dtype)], 1)
        x = self.encoder(x)
        restore = order.argsort(1)
        return {
            task: decoder(x, task.removeprefix("norm_") if task == "norm_rgb" else task, names, keep, restore)
            for task, decoder in self.output_adapters.items()
        }


class ResidualUnit(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


def double(x):
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class Fusion(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.out_conv = nn.Conv2d(channels, channels, 1)
        self.resConfUnit1 = ResidualUnit(channels)
        self.resConfUnit2 = ResidualUnit(channels)

    def forward(self, coarse, finer=None):
        if finer is not None:
            coarse = coarse + self.resConfUnit1(finer)
        return self.out_conv(double(self.resConfUnit2(coarse)))


class Scratch(nn.Module):
    def __init__(self, dims, channels):
        super().__init__()
        layers = [nn.Conv2d(dim, channels, 3, padding=1, bias=False) for dim in dims]
        self.layer1_rn, self.layer2_rn, self.layer3_rn, self.layer4_rn = layers
        # The published state dict has them twice.
        self.layer_rn = nn.ModuleList(layers)
        self.refinenet1, self.refinenet2, self.refinenet3, self.refinenet4 = [Fusion(channels) for _ in range(4)]

    def forward(self, x1, x2, x3, x4):
        x = self.refinenet4(self.layer4_rn(x4))
        x = self.refinenet3(x, self.layer3_rn(x3))
        x = self.refinenet2(x, self.layer2_rn(x2))
        return self.refinenet1(x, self.layer1_rn(x1))


class DptHead(nn.Module):
    def __init__(self, case):
        super().__init__()
        dims, channels, self.hooks = case["layer_dims"], case["feature_dim"], case["hooks"]
        point = [nn.Conv2d(case["dim"] * len(case["in_domains"]), dim, 1) for dim in dims]
        up = [nn.ConvTranspose2d(dims[0], dims[0], 4, stride=4), nn.ConvTranspose2d(dims[1], dims[1], 2, stride=2)]
        down = nn.Conv2d(dims[3], dims[3], 3, stride=2, padding=1)
        self.act_1_postprocess = nn.Sequential(point[0], up[0])
        self.act_2_postprocess = nn.Sequential(point[1], up[1])
        self.act_3_postprocess = nn.Sequential(point[2])
        self.act_4_postprocess = nn.Sequential(point[3], down)
        self.act_postprocess = nn.ModuleList(
            [self.act_1_postprocess, self.act_2_postprocess, self.act_3_postprocess, self.act_4_postprocess]
        )
        self.scratch = Scratch(dims, channels)
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1),
            nn.Identity(),
            nn.Conv2d(channels // 2, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 1, 1),
        )

    def forward(self, layers, maps):
        layers = [process(maps(layers[hook])) for process, hook in zip(self.act_postprocess, self.hooks)]
        x = double(self.head[0](self.scratch(*layers)))
        return self.head[4](F.relu(self.head[2](x)))


class ConvNeXtBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = norm(channels)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x):
        y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        return x + self.pwconv2(F.gelu(self.pwconv1(y))).permute(0, 3, 1, 2)


class ConvNeXtHead(nn.Module):
    def __init__(self, case):
        super().__init__()
        self.side = int(case["preds_per_patch"] ** 0.5)
        self.channels = case["head_dim"] // case["preds_per_patch"]
        self.grid = [side // case["patch"] for side in case["image"]]
        self.image = case["image"]
        self.proj_dec = nn.Linear(case["dim"] * len(case["in_domains"]), case["head_dim"])
        self.blocks = nn.Sequential(*[ConvNeXtBlock(self.channels) for _ in range(case["head_depth"])])
        self.final_layer = nn.Conv2d(self.channels, case["num_classes"], 1)

    def forward(self, layers, maps):
        tokens = maps(layers[-1]).flatten(2).transpose(1, 2)
        (rows, columns), side = self.grid, self.side
        x = self.proj_dec(tokens).view(len(tokens), rows, columns, side, side, self.channels)
        x = x.permute(0, 5, 1, 3, 2, 4).reshape(len(tokens), self.channels, rows * side, columns * side)
        x = self.final_layer(self.blocks(x))
        return F.interpolate(x, size=self.image, mode="bilinear", align_corners=False)


class MultiViT(nn.Module):
    """Whole inputs to depth and labels, with deep prompts if there are any."""

    def __init__(self, case):
        super().__init__()
        self.input_adapters = input_adapters(case)
        self.global_tokens = nn.Parameter(torch.zeros(1, case["global_tokens"], case["dim"]))
        self.encoder = nn.Sequential(*[Block(case["dim"], case["heads"]) for _ in range(case["depth"])])
        self.output_adapters = nn.ModuleDict({"depth": DptHead(case), "semseg": ConvNeXtHead(case)})
        if case.get("prompt_length"):
            self.prompts = nn.ParameterDict(
                {"tokens": nn.Parameter(torch.zeros(case["depth"], case["prompt_length"], case["dim"]))}
            )
        self.grid = [side // case["patch"] for side in case["image"]]
        self.depth = case["depth"]

    def embed(self, inputs):
        x = torch.cat([adapter(inputs[name]) for name, adapter in self.input_adapters.items()], 1)
        return torch.cat([x, self.global_tokens.expand(len(x), -1, -1).to(x.dtype)], 1)

    def layers(self, inputs):
        x = self.embed(inputs)
        tokens, outputs = x.shape[1], []
        for index, block in enumerate(self.encoder):
            if hasattr(self, "prompts"):
                prompts = self.prompts["tokens"][index].expand(len(x), -1, -1).to(x.dtype)
                x = torch.cat([x[:, :tokens], prompts], 1)
            x = block(x)
            outputs.append(x)
        return outputs

    def maps(self, tokens):
        """The tokens of all modalities side by side in the channels."""
        count = self.grid[0] * self.grid[1]
        parts = [tokens[:, at * count : (at + 1) * count] for at in range(len(self.input_adapters))]
        x = parts[0] if len(parts) == 1 else torch.cat(parts, 2)
        return x.transpose(1, 2).unflatten(2, self.grid)

    def heads(self, layers):
        return {name: head(layers, self.maps) for name, head in self.output_adapters.items()}

    def forward(self, inputs):
        return self.heads(self.layers(inputs))
