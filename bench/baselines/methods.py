"""The training of the comparison methods in plain PyTorch, built from a description of their models and losses.

Parameters have the published names, so that the weights of a file that soundspot wrote load by name. Each method is a
module: `features` is the forward pass of a batch, `terms` gives its losses by soundspot's names, `weights` their weights
in the total. Image tokens are [B, N, D] and audio vectors [B, D], both of length 1 along D.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from reference import Block, read_safetensors

DIM = 512


class Trunk(nn.Module):
    """ResNet-18 without pooling and classifier: [B, 512, h, w]."""

    def __init__(self, channels, stem="conv1", last_stride=2):
        super().__init__()
        self.stem = stem
        setattr(self, stem, nn.Conv2d(channels, 64, 7, 2, 3, bias=False))
        self.bn1 = nn.BatchNorm2d(64)
        width = 64
        for stage, stride in enumerate((1, 2, 2, last_stride)):
            wider = 64 << stage
            setattr(self, f"layer{stage + 1}", nn.Sequential(Block(width, wider, stride), Block(wider, wider, 1)))
            width = wider

    def forward(self, x):
        x = F.relu(self.bn1(getattr(self, self.stem)(x)), inplace=True)
        x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return x


def tokens(features):
    """[B, D, h, w] as [B, h·w, D] in float32."""
    return features.flatten(2).transpose(1, 2).float()


def unit(vectors):
    return F.normalize(vectors.float(), dim=-1)


def own_similarity(image, audio):
    """Cosine of an image's tokens with its own audio: [B, N]."""
    return (image * audio.unsqueeze(1)).sum(2)


def symmetric(similarity):
    """Cross-entropy of similarities [B, B] in both directions, pairs on the diagonal."""
    labels = torch.arange(len(similarity))
    return F.cross_entropy(similarity, labels) + F.cross_entropy(similarity.T, labels)


def nearest_token(image, audio):
    """Cosine of each image's nearest token with each audio: [B, B], rows images."""
    return (image @ audio.T).amax(1)


def max_similarity(image, audio, temperature=0.03):
    return symmetric(nearest_token(image, audio) / temperature)


def tri_map(image, audio, temperature=0.07):
    """LVS: soft masks of where the audio is and of the background; a pair's own column is multiplied by −99."""
    positive, negative, softness = 0.65, 0.4, 0.03
    pairs = image @ audio.T  # [B, N, B]
    own = pairs.diagonal(dim1=0, dim2=2).T  # [B, N]

    def mean(weights, values):
        return (weights * values).sum(1) / weights.sum(1)

    among = mean(torch.sigmoid((pairs - positive) / softness), pairs)
    among = among - 100 * torch.diag(among.diagonal())
    source = mean(torch.sigmoid((own - positive) / softness), own)
    background = mean(1 - torch.sigmoid((own - negative) / softness), own)
    logits = torch.cat([source.unsqueeze(1), among, background.unsqueeze(1)], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


def two_heads(own, target, temperature=0.03):
    """SLAVC, of dictionaries with `image`, `audio`, `where_image` and `where_audio`. Both directions are over audio."""

    def evidence(image, audio):
        which = (image["image"] @ audio["audio"].T / temperature).log_softmax(2)
        where = (image["where_image"] @ audio["where_audio"].T / temperature).log_softmax(1)
        return (which + where).logsumexp(1)

    labels = torch.arange(len(own["audio"]))
    return F.cross_entropy(evidence(target, own), labels) + F.cross_entropy(evidence(own, target), labels)


def false_negative_terms(image, audio, temperature=0.03):
    """FNAC: similarities within a modality guide those between the modalities."""

    def within(vectors):
        return (vectors @ vectors.T / temperature).softmax(1)

    with torch.no_grad():
        own = own_similarity(image, audio) / temperature
        least, greatest = own.amin(1, keepdim=True), own.amax(1, keepdim=True)
        foreground = (own - least) / (greatest - least + 1e-5) > 0.6
    foregrounds = (image * foreground.unsqueeze(2)).mean(1)
    among_audio, between = within(audio), (nearest_token(image, audio) / temperature).softmax(1)
    return {
        "audioSuppression": F.l1_loss(among_audio, between),
        "imageSuppression": F.l1_loss(within(image.mean(1)), between),
        "foregroundSeparation": F.l1_loss(among_audio, within(foregrounds)),
    }


def over_views(images, audio, similarity, temperature=0.07):
    """Alignment: half the symmetric contrast, summed over the pairs of an image's view and an audio's."""
    return sum(symmetric(similarity(i, a) / temperature) / 2 for i in images for a in audio)


class Transform:
    """SSL-TIE's: a rotation by degrees for each sample, counter-clockwise, a scale and a flip of the whole batch."""

    def __init__(self, angles, scale, flip):
        self.angles, self.scale, self.flip = torch.as_tensor(angles, dtype=torch.float32), scale, flip

    @classmethod
    def drawn(cls, count, most, small):
        angles = torch.randint(-most, most + 1, (count,))
        scale, flip = (torch.rand(2) < 0.5).tolist()
        return cls(angles, 1 if scale else small, flip)

    def __call__(self, x, frame):
        """[B, C, h, h] → [B, C, scale · h, scale · h], moved in a frame of that many pixels a side."""
        side = round(self.scale * x.shape[2])

        def resized(x, size):
            return x if x.shape[2] == size else F.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)

        x = resized(x, frame)
        radians = self.angles * (math.pi / 180)
        cosine, sine = radians.cos() / self.scale, radians.sin() / self.scale
        back = torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 2, 2)  # from the result to its source
        # The centre is the corner that the four middle pixels share: half a pixel behind the middle of the grid.
        half = (frame - 1) / 2
        shift = (back - torch.eye(2)).sum(2, keepdim=True) * ((half - frame / 2) / half)
        grid = F.affine_grid(torch.cat([back, shift], 2), list(x.shape), align_corners=True)
        x = F.grid_sample(x, grid.to(x.dtype), mode="bilinear", padding_mode="zeros", align_corners=True)
        x = resized(x, side)
        return x.flip(3) if self.flip else x


class Method(nn.Module):
    """What a training step needs of each."""

    weights = {}
    decay = 0.0  # coupled: a part of the gradient

    def begin_step(self):
        """Before the forward pass."""

    def load(self, path):
        """@raises RuntimeError when a parameter is missing. Tensors that nothing uses are left out."""
        missing, _ = self.load_state_dict(read_safetensors(path), strict=False)
        if missing:
            raise RuntimeError(f"The weights lack {', '.join(missing)}.")
        return self


class Unprojected(Method):
    """The encoders of LVS, Alignment and SSL-TIE: the last stage keeps its stride, and its features are the tokens."""

    def __init__(self):
        super().__init__()
        self.imgnet, self.audnet = Trunk(3, last_stride=1), Trunk(1, "conv1_a", last_stride=1)

    def image_tokens(self, images):
        return tokens(self.imgnet(images))

    def audio_vectors(self, spectrograms):
        return self.audnet(spectrograms).amax((2, 3)).float()


class Lvs(Unprojected):
    weights = {"triMap": 1}
    decay = 1e-4

    def features(self, batch):
        return unit(self.image_tokens(batch["images"])), unit(self.audio_vectors(batch["spectrograms"]))

    def terms(self, features):
        return {"triMap": tri_map(*features)}


class SslTie(Unprojected):
    weights = {"triMap": 0.5, "triMapTransformed": 0.5, "equivariance": 1}
    decay = 1e-4

    def __init__(self, max_angle=30, small_scale=0.5, transforms=()):
        super().__init__()
        self.max_angle, self.small_scale = max_angle, small_scale
        self.transforms = iter([Transform(*given) for given in transforms])  # of the first steps; then drawn

    def features(self, batch):
        images, spectrograms = batch["images"], batch["spectrograms"]
        transform = next(self.transforms, None) or Transform.drawn(len(images), self.max_angle, self.small_scale)
        frame = images.shape[2]
        moved = transform(images, frame).contiguous(memory_format=torch.channels_last)
        pairs = [(unit(self.image_tokens(x)), unit(self.audio_vectors(spectrograms))) for x in (images, moved)]
        own, of_moved = (own_similarity(*pair) for pair in pairs)
        side = math.isqrt(own.shape[1])
        return *pairs, of_moved, transform(own.view(-1, 1, side, side), frame).flatten(1)

    def terms(self, features):
        pairs, moved, of_moved, moved_map = features
        return {
            "triMap": tri_map(*pairs),
            "triMapTransformed": tri_map(*moved),
            "equivariance": F.mse_loss(of_moved, moved_map),
        }


class Alignment(Unprojected):
    weights = {"viewLocalization": 1, "viewAlignment": 1}

    def __init__(self):
        super().__init__()
        self.alignment = nn.ModuleDict({"image": nn.Linear(DIM, DIM), "audio": nn.Linear(DIM, DIM)})

    def features(self, batch):
        images = [self.image_tokens(batch[f"{view}images"]) for view in ("", "neighbour.", "augmented.")]
        audio = [self.audio_vectors(batch[f"{view}spectrograms"]) for view in ("", "augmented.")]
        pooled = [unit(self.alignment["image"](x.amax(1))) for x in images]
        projected = [unit(self.alignment["audio"](x)) for x in audio]
        return [unit(x) for x in images], [unit(x) for x in audio], pooled, projected

    def terms(self, features):
        images, audio, pooled, projected = features
        return {
            "viewLocalization": over_views(images, audio, nearest_token),
            "viewAlignment": over_views(pooled, projected, lambda image, audio: image @ audio.T),
        }


class EzVsl(Method):
    """Its encoders are those of SLAVC and FNAC too: audio pooled before the projection, and a 1 × 1 convolution of the
    image's features."""

    weights = {"maxSimilarity": 1}

    def __init__(self, image_dropout=0.0):
        super().__init__()
        self.dropout = image_dropout
        self.imgnet, self.audnet = Trunk(3), Trunk(1)
        self.img_proj, self.aud_proj = nn.Conv2d(DIM, DIM, 1), nn.Linear(DIM, DIM)

    def features(self, batch):
        image = F.dropout(self.imgnet(batch["images"]), self.dropout, self.training)
        audio = self.audnet(batch["spectrograms"]).amax((2, 3))
        return unit(tokens(self.img_proj(image))), unit(self.aud_proj(audio))

    def terms(self, features):
        return {"maxSimilarity": max_similarity(*features)}


class Fnac(EzVsl):
    """After its warm-up."""

    weights = {"maxSimilarity": 1, "audioSuppression": 100, "imageSuppression": 100, "foregroundSeparation": 100}
    decay = 1e-4

    def __init__(self, image_dropout=0.9):
        super().__init__(image_dropout)

    def terms(self, features):
        return {**super().terms(features), **false_negative_terms(*features)}


class Slavc(Method):
    weights = {"twoHeads": 1}

    def __init__(self, image_dropout=0.9, momentum=0.999):
        super().__init__()
        self.dropout, self.momentum = image_dropout, momentum
        for prefix in ("", "momentum_"):
            self.add_module(f"{prefix}imgnet", Trunk(3))
            self.add_module(f"{prefix}audnet", Trunk(1))
            for head in (1, 2):
                self.add_module(f"{prefix}img_proj{head}", nn.Conv2d(DIM, DIM, 1))
                self.add_module(f"{prefix}aud_proj{head}", nn.Linear(DIM, DIM))
        all_parameters = dict(self.named_parameters())
        self.copies = [(all_parameters[f"momentum_{name}"], value) for name, value in all_parameters.items()
                       if not name.startswith("momentum_")]
        for copy, _ in self.copies:
            copy.requires_grad_(False)

    @torch.no_grad()
    def begin_step(self):
        """Parameters move; the statistics of batch norm are the copies' own."""
        for copy, value in self.copies:
            copy.lerp_(value, 1 - self.momentum)

    def encode(self, batch, prefix):
        part = lambda name: getattr(self, f"{prefix}{name}")
        image = F.dropout(part("imgnet")(batch["images"]), self.dropout, self.training)
        audio = part("audnet")(batch["spectrograms"]).amax((2, 3))
        return {
            "image": unit(tokens(part("img_proj1")(image))),
            "audio": unit(part("aud_proj1")(audio)),
            "where_image": unit(tokens(part("img_proj2")(image))),
            "where_audio": unit(part("aud_proj2")(audio)),
        }

    def features(self, batch):
        own = self.encode(batch, "")
        with torch.no_grad():
            return own, self.encode(batch, "momentum_")

    def terms(self, features):
        return {"twoHeads": two_heads(*features)}


METHODS = {
    "lvs": Lvs,
    "ez-vsl": EzVsl,
    "slavc": Slavc,
    "fnac": Fnac,
    "alignment": Alignment,
    "ssl-tie": SslTie,
}


class TrainingStep:
    """A step on one batch, again and again: forward, losses, backward, Adam."""

    def __init__(self, name, weights, inputs, options, type="float32"):
        self.model = METHODS[name](**options).load(weights).train().to(memory_format=torch.channels_last)
        self.type = type
        self.batch = {
            name: value.contiguous(memory_format=torch.channels_last)
            for name, value in read_safetensors(inputs).items()
        }
        self.trained = {name: value for name, value in self.model.named_parameters() if value.requires_grad}
        decay = self.model.decay
        self.optimizer = torch.optim.Adam(self.trained.values(), lr=1e-4, weight_decay=decay, fused=True)

    def __call__(self):
        """@returns the losses by name, and `total`"""
        self.optimizer.zero_grad(set_to_none=True)
        self.model.begin_step()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.type == "bfloat16"):
            features = self.model.features(self.batch)
        terms = self.model.terms(features)
        total = sum(self.model.weights[name] * term for name, term in terms.items())
        total.backward()
        self.optimizer.step()
        return {**{name: term.item() for name, term in terms.items()}, "total": total.item()}

    def differences(self, path):
        """Of the last step's gradients from those of a file, by name: length of the difference over that of ours."""
        given = read_safetensors(path)
        if given.keys() != self.trained.keys():
            raise RuntimeError(f"Gradients of one side alone: {sorted(given.keys() ^ self.trained.keys())}")
        return {
            name: ((value.grad - given[name]).norm() / value.grad.norm().clamp_min(1e-12)).item()
            for name, value in self.trained.items()
        }
