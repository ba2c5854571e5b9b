"""Settings of the weight-free predictor."""

from dataclasses import dataclass

from scene.option import option


@dataclass(frozen=True)
class GeometricSettings:
    """Settings of `GeometricPredictor`."""

    #: fewer when the masks change the cameras by less than could be seen in the flow
    rounds: int = option(
        2, "how often cameras, depth and motion are estimated at most, each time with the masks of before", metavar="N"
    )
    #: optical flow, a name of `optical_flow.specs`
    flow: str = "dis"
