"""Rows of sets of videos in which things move."""

from dynamic_predictor.training.datasets.spec import CameraFiles, DepthFiles, Scenes, SequenceRule, TrainingSetSpec

_NUMBERED_CAMERAS = CameraFiles("{frame}_cam.npz", intrinsics="camera_intrinsics", pose="camera_pose")


def _always_video(longest_interval: int) -> SequenceRule:
    return SequenceRule(longest_interval, video=1.0, equal_intervals=1.0)


DYNAMIC_SETS = (
    TrainingSetSpec(
        name="waymo",
        title="Waymo Open Dataset",
        folder="processed_waymo",
        page="https://github.com/waymo-research/waymo-open-dataset",
        license="own license, no commercial use",
        metric=True,
        dynamic=True,
        image="{frame}_{run}.jpg",
        depth=DepthFiles("{frame}_{run}.exr"),
        cameras=CameraFiles("{frame}_{run}.npz", pose="cam2world"),
        # camera 5 looks to the right side, camera 4 to the left side
        scenes=Scenes(excluded_runs=("5",), invalid="invalid_files.h5"),
        sequence=SequenceRule(8, video=0.9, equal_intervals=0.9, block=16, slow_runs=("4",)),
        input_kinds=(0.85, 0.1, 0.05),
        loss_quantile=0.98,
    ),
    TrainingSetSpec(
        name="vkitti2",
        title="Virtual KITTI 2",
        folder="processed_vkitti",
        page="https://europe.naverlabs.com/research/computer-vision/proxy-virtual-worlds-vkitti-2/",
        license="CC BY-NC-SA 3.0",
        metric=True,
        dynamic=True,
        image="{frame}_rgb.jpg",
        depth=DepthFiles("{frame}_depth.png", divisor=100, sky_from=655),
        cameras=_NUMBERED_CAMERAS,
        scenes=Scenes("*/*/Camera_[01]"),
        sequence=SequenceRule(5, video=1.0, equal_intervals=0.9),
        input_kinds=(0.85, 0.1, 0.05),
    ),
    TrainingSetSpec(
        name="tartanair",
        title="TartanAir",
        folder="processed_tartanair",
        page="https://theairlab.org/tartanair-dataset/",
        license="CC BY 4.0",
        metric=True,
        dynamic=True,
        image="{frame}_rgb.png",
        depth=DepthFiles("{frame}_depth.npy", quantile=0.98, sky_from=1000),
        cameras=_NUMBERED_CAMERAS,
        scenes=Scenes("*/[EH]a[sr][yd]/*"),
        sequence=SequenceRule(20, video=0.8, equal_intervals=0.8, block=16),
        input_kinds=(0.75, 0.2, 0.05),
    ),
    TrainingSetSpec(
        name="cop3d",
        title="COP3D",
        folder="processed_cop3d",
        page="https://github.com/facebookresearch/cop3d",
        license="CC BY-NC 4.0",
        metric=False,
        dynamic=True,
        image="images/{frame}.jpg",
        depth=None,
        cameras=CameraFiles("images/{frame}.npz", intrinsics="camera_intrinsics", pose="camera_pose"),
        scenes=Scenes(listed_by="selected", number="frame{:06d}"),
        sequence=SequenceRule(5, video=1.0, equal_intervals=0.9),
        loss_quantile=0.96,
    ),
    TrainingSetSpec(
        name="dynamic_replica",
        title="Dynamic Replica",
        folder="processed_dynamic_replica",
        page="https://github.com/facebookresearch/dynamic_stereo",
        license="CC BY-NC 4.0",
        metric=True,
        dynamic=True,
        scenes=Scenes("train/*/left"),
        sequence=_always_video(16),
        input_kinds=(0.85, 0.1, 0.05),
    ),
    TrainingSetSpec(
        name="spring",
        title="Spring",
        folder="processed_spring",
        page="https://spring-benchmark.org/",
        license="CC BY 4.0",
        metric=True,
        dynamic=True,
        sequence=_always_video(16),
        input_kinds=(0.85, 0.1, 0.05),
    ),
    TrainingSetSpec(
        name="bedlam",
        title="BEDLAM",
        folder="processed_bedlam",
        page="https://bedlam.is.tue.mpg.de/",
        license="own license, no commercial use",
        metric=True,
        dynamic=True,
        depth=DepthFiles("depth/{frame}.npy", largest=200),
        # close-ups, and scenes whose background is a picture without depth
        scenes=Scenes(
            excluded=(
                "*closeup*",
                "20221010_3_1000_batch01hand*",
                "20221017_3_1000_batch01hand*",
                "20221018_3-8_250_batch01hand*",
                "20221019_3_250_highbmihand*",
            )
        ),
        sequence=_always_video(4),
        input_kinds=(0.85, 0.1, 0.05),
    ),
    TrainingSetSpec(
        name="mvs_synth",
        title="MVS-Synth",
        folder="processed_mvs_synth",
        page="https://phuang17.github.io/DeepMVS/mvs-synth.html",
        license="see page",
        metric=False,
        dynamic=True,
        image="rgb/{frame}.jpg",
        depth=DepthFiles("depth/{frame}.npy", largest=1000, quantile=0.98),
        sequence=_always_video(4),
    ),
    TrainingSetSpec(
        name="point_odyssey",
        title="PointOdyssey",
        folder="processed_point_odyssey",
        page="https://pointodyssey.com/",
        license="MIT, as its page on the hub states",
        metric=True,
        dynamic=True,
        image="rgb/{frame}.jpg",
        depth=DepthFiles("depth/{frame}.npy", largest=1000),
        # the scenes that CUT3R is trained on
        scenes=Scenes(
            "train/*",
            included=tuple(
                f"train/{name}"
                for name in (
                    "cnb_dlab_02[12]5_*",
                    "dancing",
                    "dancingroom0_3rd",
                    "footlab_*",
                    "girl*",
                    "human_*",
                    "kg*",
                    "kitchen_gfloor*",
                    "scene_carb_h_tables*",
                    "scene_j716_*",
                    "scene_recording_20210910_S05_S06_0_*",
                    "scene1_0129*",
                    "seminar_h52_*",
                )
            ),
        ),
        sequence=_always_video(4),
        input_kinds=(0.9, 0.05, 0.05),
    ),
)
