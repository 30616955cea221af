"""The model in plain PyTorch, built from the method's description (docs/method.md) with the published names.

The benchmarks compare soundspot with it: `Localizer` gives the maps of both queries on the image's tokens, and
`losses` the training loss. Weights come from a safetensors file that soundspot wrote.
"""

import json
import struct

import torch
from torch import nn
from torch.nn import functional as F


def read_safetensors(path):
    """Tensors by name, float32 and int64 alone: soundspot writes no other types for a model."""
    types = {"F32": torch.float32, "I64": torch.int64}
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        data = torch.frombuffer(body[start:end], dtype=types[entry["dtype"]])
        tensors[name] = data.reshape(entry["shape"]).clone()
    return tensors


class Block(nn.Module):
    def __init__(self, width_in, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if width_in != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)) + shortcut, inplace=True)


class Encoder(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.image = channels == 3
        stem = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        setattr(self, "conv1" if self.image else "conv1_1", stem)
        self.bn1 = nn.BatchNorm2d(64)
        widths = [64, 64, 128, 256, 512]
        for stage in range(1, 5):
            stride = 1 if stage == 1 else 2
            blocks = [Block(widths[stage - 1], widths[stage], stride), Block(widths[stage], widths[stage], 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        projection = nn.Conv2d(512, 512, 1)
        self.proj = projection if self.image else nn.Sequential(projection)

    def forward(self, x):
        stem = self.conv1 if self.image else self.conv1_1
        x = F.max_pool2d(F.relu(self.bn1(stem(x)), inplace=True), 3, 2, 1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        x = self.proj(x)
        x = x.flatten(2) if self.image else x.amax(2)
        return x.transpose(1, 2).float()


def attend(queries, keys, sharpening=1.0):
    logits = queries @ keys.transpose(1, 2) * (sharpening * queries.shape[-1] ** -0.5)
    attention = logits.softmax(1) + 1e-8
    return attention / attention.sum(2, keepdim=True)


class JointSlotAttention(nn.Module):
    def __init__(self, dim=512, slots=2, iterations=5):
        super().__init__()
        self.iterations = iterations
        self.slots = nn.Parameter(torch.randn(1, slots, dim))
        for modality in ("img", "aud"):
            setattr(self, f"mask_token_{modality}", nn.Parameter(torch.randn(1, 1, dim)))
            for name in ("to_q", "to_k", "to_v"):
                setattr(self, f"{modality}_{name}", nn.Linear(dim, dim))
            setattr(self, f"{modality}_gru", nn.GRUCell(dim, dim))
            mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(inplace=True), nn.Linear(2 * dim, dim))
            setattr(self, f"{modality}_mlp", mlp)
            for name in ("norm_input", "norm_slots", "norm_pre_ff"):
                setattr(self, f"{modality}_{name}", nn.LayerNorm(dim))

    def iterate(self, modality, tokens):
        part = lambda name: getattr(self, f"{modality}_{name}")
        tokens = part("norm_input")(tokens)
        keys, values = part("to_k")(tokens), part("to_v")(tokens)
        batch, _, dim = tokens.shape
        slots = self.slots.expand(batch, -1, -1)
        queries = None
        for _ in range(self.iterations):
            queries = part("to_q")(part("norm_slots")(slots))
            updates = attend(queries, keys) @ values
            slots = part("gru")(updates.reshape(-1, dim), slots.reshape(-1, dim)).view(batch, -1, dim)
            slots = slots + part("mlp")(part("norm_pre_ff")(slots))
        return slots, queries, keys

    def forward(self, image, audio, sharpening=1.0):
        image_slots, image_queries, image_keys = self.iterate("img", image)
        audio_slots, audio_queries, audio_keys = self.iterate("aud", audio)
        return {
            "image_slots": image_slots,
            "audio_slots": audio_slots,
            "image_on_image": attend(image_queries, image_keys, sharpening),
            "audio_on_image": attend(audio_queries, image_keys, sharpening),
            "audio_on_audio": attend(audio_queries, audio_keys, sharpening),
            "image_on_audio": attend(image_queries, audio_keys, sharpening),
        }


class PositionEmbedding(nn.Module):
    def __init__(self, rows, columns, dim):
        super().__init__()
        self.row_embed = nn.Embedding(rows, dim // 2)
        self.col_embed = nn.Embedding(columns, dim // 2)

    def forward(self):
        rows, columns = self.row_embed.weight, self.col_embed.weight
        shape = (len(rows), len(columns), -1)
        both = torch.cat([columns[None].expand(shape), rows[:, None].expand(shape)], 2)
        return both.flatten(0, 1)


class Decoder(nn.Module):
    def __init__(self, rows, columns, dim=512):
        super().__init__()
        self.pos_emb = PositionEmbedding(rows, columns, dim)
        layers = []
        for _ in range(3):
            layers += [nn.Linear(dim, dim), nn.ReLU(inplace=True)]
        self.mlp = nn.Sequential(*layers, nn.Linear(dim, dim + 1))

    def forward(self, slots):
        x = self.mlp(slots.unsqueeze(2) + self.pos_emb()).float()
        return (x[..., :-1] * x[..., -1:].softmax(1)).sum(1)


class Localizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.imgnet, self.audnet = Encoder(3), Encoder(1)
        self.slot_attn = JointSlotAttention()
        self.img_decoder, self.aud_decoder = Decoder(7, 7), Decoder(1, 16)

    def load(self, path):
        self.load_state_dict(read_safetensors(path), strict=True)
        return self

    def forward(self, image, audio, sharpening=0.1):
        """Attention of the audio and of the image queries on the image, [B, 2, 49]."""
        out = self.slot_attn(self.imgnet(image), self.audnet(audio), sharpening)
        return out["audio_on_image"].float(), out["image_on_image"].float()


def mask(tokens, token, probability=0.1):
    return torch.where(torch.rand(*tokens.shape[:2], 1, device=tokens.device) < probability, token, tokens)


def excluded(image, audio, k):
    """Pairs that are among each other's k nearest in both modalities."""
    reciprocal = torch.ones(len(image), len(image), dtype=torch.bool, device=image.device)
    for slots in (image, audio):
        slots = F.normalize(slots, dim=1)
        nearest = (slots @ slots.T).topk(min(k, len(slots)), 1).indices
        near = torch.zeros_like(reciprocal).scatter_(1, nearest, True)
        reciprocal &= near & near.T
    return reciprocal.fill_diagonal_(False)


def loss_of(model, image, audio):
    """The total loss (docs/method.md, "Losses", Eq. 11) of one batch, with the paper's weights."""
    image_tokens, audio_tokens = model.imgnet(image), model.audnet(audio)
    attention = model.slot_attn
    out = attention(mask(image_tokens, attention.mask_token_img), mask(audio_tokens, attention.mask_token_aud))
    image_slots, audio_slots = out["image_slots"], out["audio_slots"]
    with torch.no_grad():
        left_out = excluded(image_slots[:, 0].float(), audio_slots[:, 0].float(), 20)
    image_targets, audio_targets = (F.normalize(s[:, 0].float(), dim=1) for s in (image_slots, audio_slots))
    similarity = (image_targets @ audio_targets.T / 0.03).masked_fill(left_out, float("-inf"))
    labels = torch.arange(len(similarity), device=similarity.device)
    total = F.cross_entropy(similarity, labels) + F.cross_entropy(similarity.T, labels)
    total = total + 100 * F.mse_loss(out["audio_on_image"][:, 0], out["image_on_image"][:, 0].detach())
    total = total + 100 * F.mse_loss(out["image_on_audio"][:, 0], out["audio_on_audio"][:, 0].detach())
    for slots in (image_slots, audio_slots):
        slots = F.normalize(slots.float(), dim=2)
        total = total + 0.1 * F.relu((slots[:, 0] * slots[:, 1]).sum(1)).mean()
    total = total + 0.1 * F.mse_loss(model.img_decoder(image_slots), image_tokens.detach())
    total = total + 0.1 * F.mse_loss(model.aud_decoder(audio_slots), audio_tokens.detach())
    return total
