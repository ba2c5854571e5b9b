"""The networks of Depth Anything 3: any-view, monocular, and the nested pair of both."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dynamic_predictor.depth_anything3.backbone import Backbone, BackboneOutput
from dynamic_predictor.depth_anything3.cameras import CameraDecoder, CameraEncoder, decode_cameras
from dynamic_predictor.depth_anything3.gaussians import Gaussians, gaussians_from_pixels
from dynamic_predictor.depth_anything3.heads import DepthMaps, DepthRayHead, DepthSkyHead, GaussianHead, by_chunks
from dynamic_predictor.depth_anything3.metric_alignment import align_to_metric, fill_sky, metric_depth
from dynamic_predictor.depth_anything3.ray_pose import cameras_from_rays
from dynamic_predictor.depth_anything3.reference_view import ReferenceStrategy
from dynamic_predictor.depth_anything3.settings import NestedSettings, NetworkSettings


@dataclass(frozen=True)
class ForwardOptions:
    """What a forward pass is asked for.

    `rays`: also the ray maps. `cameras_from_rays`: cameras come from the ray maps, by random samples fixed by `seed`,
    instead of the camera decoder. `feature_layers`: blocks of the backbone whose tokens go out. `strict_official`: what
    the official code gets wrong is wrong here too. `views_per_chunk`: how many views the heads take at a time.
    """

    rays: bool = False
    cameras_from_rays: bool = False
    gaussians: bool = False
    reference_strategy: ReferenceStrategy = "saddle_balanced"
    feature_layers: Collection[int] = ()
    strict_official: bool = False
    seed: int = 0
    views_per_chunk: int = 8


@dataclass
class NetworkOutput:
    """Results of B scenes of S views each, float32.

    `depth`, `confidence` (at least 1), `sky` (at least 0): (B, S, H, W); depth along the camera's z, except for the
    Gaussians, which take it along their rays. `camera_from_world` (B, S, 3, 4), OpenCV axes, roughly in the frame of
    the reference view; `intrinsics` (B, S, 3, 3) in pixels of the input. `ray` (B, S, h, w, 6): direction and origin of
    the rays of the image's cells, `ray_confidence` (B, S, h, w). `features`: block -> (B, S, rows, columns, C).
    `scale` (B,) float64: the factors that took the nested model to metres. What a network does not have is None.
    """

    depth: Tensor
    confidence: Tensor | None = None
    sky: Tensor | None = None
    camera_from_world: Tensor | None = None
    intrinsics: Tensor | None = None
    ray: Tensor | None = None
    ray_confidence: Tensor | None = None
    gaussians: Gaussians | None = None
    features: dict[int, Tensor] = field(default_factory=dict)
    scale: Tensor | None = None


class _BackboneHolder(nn.Module):
    """The checkpoints keep the transformer as `backbone.pretrained`."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.pretrained = Backbone(settings.backbone)


class DepthNetwork(nn.Module):
    """What any-view and monocular networks share. `precision` is the type that the backbone computes in; the heads
    always compute in float32."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.precision = torch.float32
        self.backbone = _BackboneHolder(settings)

    def _tokens(self, images: Tensor, camera_tokens: Tensor | None, options: ForwardOptions) -> BackboneOutput:
        reduced = self.precision != torch.float32
        with torch.autocast(images.device.type, dtype=self.precision if reduced else torch.bfloat16, enabled=reduced):
            return self.backbone.pretrained(
                images,
                camera_tokens=camera_tokens,
                reference_strategy=options.reference_strategy,
                feature_layers=options.feature_layers,
                strict_official=options.strict_official,
            )


class AnyViewNetwork(DepthNetwork):
    """Depth, rays and cameras of any number of views of one scene."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__(settings)
        backbone = settings.backbone
        self.head = DepthRayHead(backbone.token_width, settings.head)
        self.cam_dec = CameraDecoder(backbone.token_width)
        self.cam_enc = CameraEncoder(backbone.width)
        if settings.gaussians:
            self.gs_head = GaussianHead(backbone.token_width, settings.head)

    def forward(
        self,
        images: Tensor,
        options: ForwardOptions = ForwardOptions(),  # noqa: B008 (frozen)
        *,
        camera_from_world: Tensor | None = None,
        intrinsics: Tensor | None = None,
    ) -> NetworkOutput:
        """Normalized images (B, S, 3, H, W), H and W multiples of 14. Known cameras, `camera_from_world` (B, S, 4, 4)
        with `intrinsics` (B, S, 3, 3) in pixels, condition the network; it predicts cameras all the same."""
        size = (images.shape[-2], images.shape[-1])
        known = None
        if camera_from_world is not None:
            assert intrinsics is not None
            known = self.cam_enc(camera_from_world.to(images), intrinsics.to(images), size)
        tokens = self._tokens(images, known, options)
        flat = [layer.flatten(0, 1).float() for layer in tokens.patches]
        rays = options.rays or options.cameras_from_rays
        maps = by_chunks(
            lambda part: self.head([layer[part] for layer in flat], size, rays=rays),
            len(flat[0]),
            options.views_per_chunk,
        )
        output = _output(maps, tokens.features, images)
        if options.cameras_from_rays:
            assert output.ray is not None and output.ray_confidence is not None
            output.camera_from_world, output.intrinsics = cameras_from_rays(
                output.ray, output.ray_confidence, size, seed=options.seed, strict_official=options.strict_official
            )
        else:
            encoding = self.cam_dec(tokens.camera_token.float())
            output.camera_from_world, output.intrinsics = decode_cameras(encoding, size)
        if options.gaussians:
            output.gaussians = self._gaussians(images, flat, output, camera_from_world, options)
        return output

    def _gaussians(
        self,
        images: Tensor,
        tokens: Sequence[Tensor],
        output: NetworkOutput,
        known_cameras: Tensor | None,
        options: ForwardOptions,
    ) -> Gaussians:
        assert output.camera_from_world is not None and output.intrinsics is not None
        batch, views = images.shape[:2]
        pictures = images.flatten(0, 1)
        parts = []
        for first in range(0, len(pictures), options.views_per_chunk):
            part = slice(first, first + options.views_per_chunk)
            parts.append(self.gs_head([layer[part] for layer in tokens], pictures[part]))
        raw, opacity = (torch.cat(part).unflatten(0, (batch, views)) for part in zip(*parts, strict=True))
        return gaussians_from_pixels(
            raw, opacity, output.depth, output.camera_from_world, output.intrinsics, known_cameras=known_cameras
        )


class MonocularNetwork(DepthNetwork):
    """Depth and sky of single images. Views do not see each other, but sky takes its depth from all views of its
    scene."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__(settings)
        self.head = DepthSkyHead(settings.backbone.token_width, settings.head)

    def forward(
        self,
        images: Tensor,
        options: ForwardOptions = ForwardOptions(),  # noqa: B008 (frozen)
    ) -> NetworkOutput:
        """Normalized images (B, S, 3, H, W), H and W multiples of 14."""
        size = (images.shape[-2], images.shape[-1])
        pictures = images.flatten(0, 1).unsqueeze(1)
        features: list[dict[int, Tensor]] = []

        def run(part: slice) -> DepthMaps:
            tokens = self._tokens(pictures[part], None, options)
            features.append(tokens.features)
            return self.head([layer[:, 0].float() for layer in tokens.patches], size)

        maps = by_chunks(run, len(pictures), options.views_per_chunk)
        joined = {layer: torch.cat([part[layer] for part in features]) for layer in features[0]}
        output = _output(
            maps, {layer: values[:, 0].unflatten(0, images.shape[:2]) for layer, values in joined.items()}, images
        )
        assert output.sky is not None
        output.depth = torch.stack([fill_sky(*scene) for scene in zip(output.depth, output.sky, strict=True)])
        return output


class NestedNetwork(nn.Module):
    """An any-view network in metres: its scale and its sky come from a metric network."""

    def __init__(self, settings: NestedSettings) -> None:
        super().__init__()
        self.settings = settings
        self.da3 = AnyViewNetwork(settings.any_view)
        self.da3_metric = MonocularNetwork(settings.metric)

    @property
    def precision(self) -> torch.dtype:
        return self.da3.precision

    @precision.setter
    def precision(self, value: torch.dtype) -> None:
        self.da3.precision = self.da3_metric.precision = value

    def forward(
        self,
        images: Tensor,
        options: ForwardOptions = ForwardOptions(),  # noqa: B008 (frozen)
        *,
        camera_from_world: Tensor | None = None,
        intrinsics: Tensor | None = None,
    ) -> NetworkOutput:
        """As `AnyViewNetwork.forward`; depth, cameras and Gaussians in metres, `scale` set. With
        `options.strict_official` the Gaussians keep the scale of the any-view network."""
        output = self.da3(images, options, camera_from_world=camera_from_world, intrinsics=intrinsics)
        quiet = ForwardOptions(views_per_chunk=options.views_per_chunk)
        metric = self.da3_metric(images, quiet)
        assert output.confidence is not None and output.camera_from_world is not None and metric.sky is not None
        assert output.intrinsics is not None
        in_metres = metric_depth(metric.depth, output.intrinsics)
        scenes = zip(output.depth, output.confidence, output.camera_from_world, in_metres, metric.sky, strict=True)
        aligned = [align_to_metric(*scene, strict_official=options.strict_official) for scene in scenes]
        output.depth = torch.stack([scene.depth for scene in aligned])
        output.confidence = torch.stack([scene.confidence for scene in aligned])
        output.camera_from_world = torch.stack([scene.camera_from_world for scene in aligned])
        output.scale = output.depth.new_tensor([scene.scale for scene in aligned], dtype=torch.float64)
        if not options.strict_official:
            output.sky = metric.sky
            factors = output.scale.to(output.depth)
            if output.gaussians is not None:
                output.gaussians = output.gaussians.scaled(factors)
            if output.ray is not None:
                origins = output.ray[..., 3:] * factors[:, None, None, None, None]
                output.ray = torch.cat([output.ray[..., :3], origins], dim=-1)
        return output


Network = AnyViewNetwork | MonocularNetwork | NestedNetwork


def build_network(settings: NetworkSettings | NestedSettings) -> Network:
    """The network of these settings, with made-up weights, in evaluation mode."""
    if isinstance(settings, NestedSettings):
        return NestedNetwork(settings).eval()
    if settings.backbone.alternating_from is None:
        return MonocularNetwork(settings).eval()
    return AnyViewNetwork(settings).eval()


def _output(maps: DepthMaps, features: dict[int, Tensor], images: Tensor) -> NetworkOutput:
    views = images.shape[:2]

    def split(values: Tensor | None) -> Tensor | None:
        return None if values is None else values.unflatten(0, views)

    grid = (images.shape[-2] // Backbone.patch_size, images.shape[-1] // Backbone.patch_size)
    return NetworkOutput(
        depth=maps.depth.unflatten(0, views),
        confidence=split(maps.confidence),
        sky=split(maps.sky),
        ray=split(maps.ray),
        ray_confidence=split(maps.ray_confidence),
        features={layer: values.unflatten(2, grid).float() for layer, values in features.items()},
    )
