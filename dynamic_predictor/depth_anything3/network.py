"""The networks of Depth Anything 3: any-view, monocular, and nested (an any-view with a metric network)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dynamic_predictor.depth_anything3.backbone import Backbone, BackboneOutput
from dynamic_predictor.depth_anything3.cameras import CameraDecoder, CameraEncoder, decode_cameras
from dynamic_predictor.depth_anything3.gaussians import Gaussians, gaussians_from_pixels
from dynamic_predictor.depth_anything3.heads import DepthMaps, DepthRayHead, DepthSkyHead, GaussianHead, by_chunks
from dynamic_predictor.depth_anything3.metric_alignment import align_to_metric, fill_sky, metric_depth
from dynamic_predictor.depth_anything3.official import OURS, Conventions
from dynamic_predictor.depth_anything3.ray_pose import cameras_from_rays
from dynamic_predictor.depth_anything3.settings import NestedSettings, NetworkSettings, ReferenceStrategy


@dataclass(frozen=True)
class ForwardOptions:
    """Options of a forward pass."""

    #: also return the ray maps
    rays: bool = False
    #: cameras from the ray maps by RANSAC, whose random samples `seed` determines, instead of the camera decoder
    cameras_from_rays: bool = False
    gaussians: bool = False
    reference_strategy: ReferenceStrategy = "saddle_balanced"
    #: blocks of the backbone whose tokens are returned
    feature_layers: Collection[int] = ()
    conventions: Conventions = OURS
    seed: int = 0
    #: number of views that the heads process at a time
    views_per_chunk: int = 8


@dataclass
class NetworkOutput:
    """Results for B scenes of S views each, float32; None for outputs that the network does not have.

    `depth`, `confidence` (at least 1), `sky` (at least 0): (B, S, H, W); depth along the camera's z axis.
    `camera_from_world` (B, S, 3, 4), OpenCV axes, approximately in the frame of the reference view; `intrinsics`
    (B, S, 3, 3) in pixels of the input. `ray` (B, S, h, w, 6): directions and origins, in the world, of the rays
    through the image's cells, `ray_confidence` (B, S, h, w). `features`: block -> (B, S, rows, columns, C).
    `scale` (B,) float64: the factors by which the nested model was scaled to meters.
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


class DepthNetwork(nn.Module):
    """Base of any-view and monocular networks. The backbone computes in `precision`, the heads always in float32."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.precision = torch.float32
        self.backbone = nn.ModuleDict({"pretrained": Backbone(settings.backbone)})  # its name in the checkpoints

    def _tokens(self, images: Tensor, camera_tokens: Tensor | None, options: ForwardOptions) -> BackboneOutput:
        reduced = self.precision != torch.float32
        with torch.autocast(images.device.type, dtype=self.precision if reduced else torch.bfloat16, enabled=reduced):
            return self.backbone["pretrained"](
                images,
                camera_tokens=camera_tokens,
                reference_strategy=options.reference_strategy,
                feature_layers=options.feature_layers,
                conventions=options.conventions,
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
        """Predicts from normalized images (B, S, 3, H, W), H and W multiples of 14. Known cameras, `camera_from_world`
        (B, S, 4, 4) with `intrinsics` (B, S, 3, 3) in pixels, condition the network, which still predicts cameras."""
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
                output.ray, output.ray_confidence, size, seed=options.seed, conventions=options.conventions
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
        views_of_all = images.flatten(0, 1)
        parts = []
        for first in range(0, len(views_of_all), options.views_per_chunk):
            part = slice(first, first + options.views_per_chunk)
            parts.append(self.gs_head([layer[part] for layer in tokens], views_of_all[part]))
        raw, opacity = (torch.cat(part).unflatten(0, (batch, views)) for part in zip(*parts, strict=True))
        return gaussians_from_pixels(
            raw, opacity, output.depth, output.camera_from_world, output.intrinsics, known_cameras=known_cameras
        )


class MonocularNetwork(DepthNetwork):
    """Depth and sky of single images; only the depth of sky is computed from all views of a scene."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__(settings)
        self.head = DepthSkyHead(settings.backbone.token_width, settings.head)

    def forward(
        self,
        images: Tensor,
        options: ForwardOptions = ForwardOptions(),  # noqa: B008 (frozen)
    ) -> NetworkOutput:
        """Predicts from normalized images (B, S, 3, H, W), H and W multiples of 14."""
        size = (images.shape[-2], images.shape[-1])
        single_views = images.flatten(0, 1).unsqueeze(1)
        features: list[dict[int, Tensor]] = []

        def run(part: slice) -> DepthMaps:
            tokens = self._tokens(single_views[part], None, options)
            features.append(tokens.features)
            return self.head([layer[:, 0].float() for layer in tokens.patches], size)

        maps = by_chunks(run, len(single_views), options.views_per_chunk)
        joined = {layer: torch.cat([part[layer] for part in features]) for layer in features[0]}
        output = _output(
            maps, {layer: values[:, 0].unflatten(0, images.shape[:2]) for layer, values in joined.items()}, images
        )
        assert output.sky is not None
        output.depth = torch.stack([fill_sky(*scene) for scene in zip(output.depth, output.sky, strict=True)])
        return output


class NestedNetwork(nn.Module):
    """An any-view network scaled to meters by a metric network, which also detects sky."""

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
        """As `AnyViewNetwork.forward`, with depth, cameras, rays and Gaussians in meters, and `scale`."""
        output = self.da3(images, options, camera_from_world=camera_from_world, intrinsics=intrinsics)
        metric = self.da3_metric(images, ForwardOptions(views_per_chunk=options.views_per_chunk))
        assert output.confidence is not None and output.camera_from_world is not None and metric.sky is not None
        assert output.intrinsics is not None
        in_meters = metric_depth(metric.depth, output.intrinsics)
        scenes = zip(output.depth, output.confidence, output.camera_from_world, in_meters, metric.sky, strict=True)
        aligned = [align_to_metric(*scene, conventions=options.conventions) for scene in scenes]
        output.depth = torch.stack([scene.depth for scene in aligned])
        output.confidence = torch.stack([scene.confidence for scene in aligned])
        output.camera_from_world = torch.stack([scene.camera_from_world for scene in aligned])
        output.scale = output.depth.new_tensor([scene.scale for scene in aligned], dtype=torch.float64)
        if options.conventions.scales_gaussians_and_rays:
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
    """The network with these settings, not yet trained, in evaluation mode."""
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
