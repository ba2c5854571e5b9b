"""Writes small folders in the layouts of Depth Anything 3's benchmark, with images of a simulated room."""

from pathlib import Path

import cv2
import numpy as np
import pycolmap
from plyfile import PlyData, PlyElement
from scipy.io import savemat

from scene.images import write_png
from scene.rotations import quaternion_from_rotation
from tests.simulated_stream import SimulatedWalk

HALF = np.array([4.0, 1.5, 3.0])  # of the simulated room


WALK = SimulatedWalk(24, lap=24, width=96, height=64)


def write_box(path: Path) -> None:
    """The walls of the simulated room as a mesh."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * HALF
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [(q[0], q[1], q[2]) for q in quads] + [(q[0], q[2], q[3]) for q in quads]
    vertices = np.array([tuple(corner) for corner in corners], dtype=[("x", "f4"), ("y", "f4"), ("z", "f4")])
    triangles = np.zeros(len(faces), dtype=[("vertex_indices", "i4", (3,))])
    triangles["vertex_indices"] = faces
    path.parent.mkdir(parents=True, exist_ok=True)
    PlyData([PlyElement.describe(vertices, "vertex"), PlyElement.describe(triangles, "face")]).write(str(path))


def make_seven_scenes(root: Path) -> None:
    frames = root / "7scenes" / "7Scenes" / "chess" / "seq-01"
    frames.mkdir(parents=True)
    for index in range(24):
        write_png(frames / f"frame-{index:06d}.color.png", WALK.image(index))
        np.savetxt(frames / f"frame-{index:06d}.pose.txt", WALK.world_from_camera(index))
        depth = (1000 * WALK.z_depth(index)).astype(np.uint16)
        depth[:4] = 65535
        (frames / f"frame-{index:06d}.depth.png").write_bytes(cv2.imencode(".png", depth)[1].tobytes())
    write_box(root / "7scenes" / "7Scenes" / "meshes" / "chess.ply")


def make_eth3d(root: Path) -> None:
    scene = root / "eth3d" / "relief"
    (scene / "images").mkdir(parents=True)
    (scene / "dslr_calibration_jpg").mkdir()
    fx, cx, cy = WALK.intrinsics[0, 0], WALK.intrinsics[0, 2], WALK.intrinsics[1, 2]
    (scene / "dslr_calibration_jpg" / "cameras.txt").write_text(
        f"# list\n# of\n# cameras\n0 THIN_PRISM_FISHEYE 96 64 {fx} {fx} {cx} {cy} 0 0 0 0 0 0 0 0\n"
    )
    lines = ["# list", "# of", "# images", "# all"]
    for index in range(24):
        name = f"dslr_images/DSC_0{410 + index}.JPG"
        pose = np.linalg.inv(WALK.world_from_camera(index))
        q = quaternion_from_rotation(pose[:3, :3])
        lines += [" ".join(map(str, [index, *q, *pose[:3, 3], 0, name])), "1.0 2.0 -1"]
        (scene / "images" / "dslr_images").mkdir(exist_ok=True)
        write_png(scene / "images" / name.replace(".JPG", ".png"), WALK.image(index))
        (scene / "images" / name.replace(".JPG", ".png")).rename(scene / "images" / name)
    (scene / "dslr_calibration_jpg" / "images.txt").write_text("\n".join(lines) + "\n")
    truth = scene / "ground_truth_depth" / "dslr_images"
    truth.mkdir(parents=True)
    depth = WALK.z_depth(0).astype(np.float32)
    depth[0] = np.inf
    depth.tofile(truth / "DSC_0410.JPG")
    write_box(scene / "combined_mesh.ply")


def make_hiroom(root: Path) -> None:
    scene = root / "hiroom" / "data" / "a" / "b" / "c"
    for name in ("image", "pose", "depth", "aliasing_mask"):
        (scene / name).mkdir(parents=True)
    np.save(scene / "cam_K.npy", WALK.intrinsics)
    for index in range(24):
        write_png(scene / "image" / f"{index:03d}.png", WALK.image(index))
        np.save(scene / "pose" / f"{index:03d}.npy", np.linalg.inv(WALK.world_from_camera(index)))
        depth = (1000 * WALK.z_depth(index)).astype(np.uint16)
        (scene / "depth" / f"{index:03d}.png").write_bytes(cv2.imencode(".png", depth)[1].tobytes())
        mask = np.zeros((64, 96), np.uint8)
        mask[:, :5] = 255
        write_png(scene / "aliasing_mask" / f"{index:03d}.png", mask)
    write_box(root / "hiroom" / "fused_pcd" / "a-b-c.ply")


def make_scannetpp(root: Path) -> None:
    base = root / "scannetpp" / "09c1414f1b" / "merge_dslr_iphone"
    (base / "images" / "iphone").mkdir(parents=True)
    model = base / "colmap" / "sparse_render_rgb"
    model.mkdir(parents=True)
    fx, cx, cy = WALK.intrinsics[0, 0], WALK.intrinsics[0, 2], WALK.intrinsics[1, 2]
    (model / "cameras.txt").write_text(f"1 OPENCV 96 64 {fx} {fx} {cx} {cy} 0 0 0 0\n")
    lines = []
    for index in range(24):
        pose = np.linalg.inv(WALK.world_from_camera(index))
        q = quaternion_from_rotation(pose[:3, :3])
        name = f"iphone/frame_{index:06d}.png"
        lines += [" ".join(map(str, [index + 1, *q, *pose[:3, 3], 1, name])), ""]
        write_png(base / "images" / name, WALK.image(index))
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    (model / "points3D.txt").write_text("")
    assert len(pycolmap.Reconstruction(str(model)).images) == 24
    write_box(root / "scannetpp" / "09c1414f1b" / "scans" / "mesh_aligned_0.05.ply")


def make_dtu64(root: Path) -> None:
    (root / "dtu64" / "scan24" / "image").mkdir(parents=True)
    (root / "dtu64" / "Cameras").mkdir()
    for index in range(40):
        write_png(root / "dtu64" / "scan24" / "image" / f"{index:08d}.png", WALK.image(index))
        pose = np.linalg.inv(WALK.world_from_camera(index))
        rows = ["extrinsic", *(" ".join(map(str, row)) for row in pose), "", "intrinsic"]
        rows += [" ".join(map(str, row)) for row in WALK.intrinsics] + ["", "425 2.5"]
        (root / "dtu64" / "Cameras" / f"{index:08d}_cam.txt").write_text("\n".join(rows) + "\n")


def make_dtu(root: Path) -> None:
    """The simulated room at 1 mm per unit, with its ceiling above the table plane at y = 0."""
    base = root / "dtu"
    for name in ("Rectified/scan1", "Cameras", "depth_raw/Depths/scan1", "SampleSet/mvs_data/ObsMask"):
        (base / name).mkdir(parents=True)
    for index in range(24):
        write_png(base / "Rectified" / "scan1" / f"rect_{index + 1:03d}_3_r5000.png", WALK.image(index))
        rows = ["extrinsic", *(" ".join(map(str, row)) for row in np.linalg.inv(WALK.world_from_camera(index)))]
        rows += ["", "intrinsic", *(" ".join(map(str, row)) for row in WALK.intrinsics)]
        (base / "Cameras" / f"{index:08d}_cam.txt").write_text("\n".join(rows) + "\n")
        mask = np.full((64, 96), 200, np.uint8)
        mask[:3] = 5
        write_png(base / "depth_raw" / "Depths" / "scan1" / f"depth_visual_{index:04d}.png", mask)
    write_box(base / "Points" / "stl" / "stl001_total.ply")
    masks = base / "SampleSet" / "mvs_data" / "ObsMask"
    box = np.stack([-HALF - 1, HALF + 1])
    cells = np.ceil((box[1] - box[0]) / 0.5).astype(int) + 1
    savemat(masks / "ObsMask1_10.mat", {"ObsMask": np.ones(cells, np.uint8), "BB": box, "Res": 0.5})
    savemat(masks / "Plane1.mat", {"P": np.array([[0.0], [1.0], [0.0], [0.0]])})


MADE = {
    "dtu": (make_dtu, "scan1", 24),
    "7scenes": (make_seven_scenes, "chess", 24),
    "eth3d": (make_eth3d, "relief", 17),  # 427 to 433 are left out
    "hiroom": (make_hiroom, "a/b/c", 24),
    "scannetpp": (make_scannetpp, "09c1414f1b", 24),
    "dtu64": (make_dtu64, "scan24", 40),
}
