"""The published weights of SAM 2.1. The registry has no checksums of them: no public source that could be read here
states them."""

from dynamic_predictor.weights.entry import WeightsFile


def _sam2(size: str) -> WeightsFile:
    return WeightsFile(
        name=f"sam2.1-hiera-{size}",
        system="SAM 2",
        purpose="shapes of what moves (--refine-masks sam2)",
        license="Apache-2.0",
        file="model.safetensors",
        repository=f"facebook/sam2.1-hiera-{size}",
    )


#: by the size that --refine-masks names, the smallest first
SAM2 = {size: _sam2(size) for size in ("tiny", "small", "base-plus", "large")}
