"""How learning rates, image sizes and spherical harmonics change over a run; `done` is the completed share of it."""

from dataclasses import dataclass


def exponential(start: float, end: float, done: float) -> float:
    """Interpolates from `start` to `end`, linearly in the logarithm."""
    return start * (end / start) ** min(max(done, 0.0), 1.0)


@dataclass(frozen=True)
class Schedules:
    """Learning rates (at the start, at the end) and the shares of the run at which things begin.

    Learning rates are per Adam step. Those of positions and poses are in pixels of the full-size image at the typical
    depth of the scene, so that they suit any focal length and any unit of length.
    """

    means: tuple[float, float] = (0.3, 0.01)
    log_scales: tuple[float, float] = (2e-2, 2e-3)
    rotations: tuple[float, float] = (4e-3, 5e-4)
    logit_opacities: tuple[float, float] = (5e-2, 1.5e-2)
    sh_coefficients: tuple[float, float] = (5e-3, 1e-3)
    pose: tuple[float, float] = (0.15, 0.005)
    log_focal: tuple[float, float] = (1e-4, 3e-6)
    exposure: tuple[float, float] = (2e-3, 2e-4)
    #: share of the run after which cameras, exposures and static weights are learned
    pose_start: float = 0.05
    exposure_start: float = 0.05
    staticness_start: float = 0.15
    #: share of the run after which images have half and full size; before that, a quarter
    half_size: float = 0.08
    full_size: float = 0.4
    #: share of the run after which spherical harmonics of degree 1, 2 and 3 are used
    sh_starts: tuple[float, float, float] = (0.3, 0.5, 0.65)

    def learning_rates(self, done: float, pixel_length: float) -> dict[str, float]:
        """By the names of the tensors of `Gaussians`; `pixel_length`: scene units per pixel at the typical depth."""
        return {
            "means": exponential(*self.means, done) * pixel_length,
            "log_scales": exponential(*self.log_scales, done),
            "rotations": exponential(*self.rotations, done),
            "logit_opacities": exponential(*self.logit_opacities, done),
            "sh_coefficients": exponential(*self.sh_coefficients, done),
        }

    def resolution_factor(self, done: float) -> int:
        """The whole number that image sizes are divided by."""
        return 4 if done < self.half_size else 2 if done < self.full_size else 1

    def active_sh_degree(self, done: float, highest: int) -> int:
        """The degree of the spherical harmonics in use."""
        return min(highest, sum(done >= start for start in self.sh_starts))
