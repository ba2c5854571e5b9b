"""Writes miniature raw downloads in the structure of their publishers, out of the exact scene."""

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from tests.dynamic_predictor.training.datasets.exact_scene import (
    HEIGHT,
    WIDTH,
    View,
    cast,
    intrinsics,
    pinhole_rays,
    pose_of,
    render,
    view,
)

COUNT = 5
#: with pixel centers at +0.5 and at integers
K, K0 = intrinsics(), intrinsics(centers=0)


def _image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.ndim == 3 else pixels
    cv2.imwrite(str(path), values, [cv2.IMWRITE_JPEG_QUALITY, 98] if path.suffix.lower() == ".jpg" else [])


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _rows(path: Path, rows: np.ndarray, header: str = "") -> None:
    lines = [" ".join(f"{value:.10g}" for value in row) for row in np.atleast_2d(rows)]
    _text(path, "\n".join([*([header] if header else []), *lines]) + "\n")


def _exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    import OpenEXR

    path.parent.mkdir(parents=True, exist_ok=True)
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels).write(str(path))


def _hdf5(path: Path, **arrays: np.ndarray) -> None:
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def _millimeters(shown: View) -> np.ndarray:
    return np.rint(shown.known() * 1000).astype(np.uint16)


def co3d(raw: Path) -> None:
    category, sequence = "apple", "110_13051_23361"
    listed, annotations = [], []
    signs, half = np.array([-1.0, -1.0, 1.0]), np.array([WIDTH, HEIGHT]) / 2
    for number in range(COUNT):
        shown, image = view(number), f"{category}/{sequence}/images/frame{number + 1:06d}.jpg"
        depth = f"{category}/{sequence}/depths/frame{number + 1:06d}.jpg.geometric.png"
        _image(raw / image, shown.rgb)
        _image(raw / depth, shown.known().astype(np.float16).view(np.uint16))
        _image(raw / image.replace("images", "masks").replace(".jpg", ".png"), np.full(shown.sky.shape, 255, np.uint8))
        camera_from_world = np.linalg.inv(shown.world_from_camera)
        viewpoint = {
            "R": (signs[:, None] * camera_from_world[:3, :3]).T.tolist(),
            "T": (signs * camera_from_world[:3, 3]).tolist(),
            "focal_length": (K[[0, 1], [0, 1]] / half.min()).tolist(),
            "principal_point": ((half - K[:2, 2]) / half.min()).tolist(),
        }
        annotations.append(
            {
                "sequence_name": sequence,
                "frame_number": number,
                "image": {"path": image, "size": [HEIGHT, WIDTH]},
                "depth": {"path": depth, "scale_adjustment": 1.0},
                "viewpoint": viewpoint,
            }
        )
        listed.append([sequence, number, image])
    _text(raw / category / "set_lists" / "set_lists_fewview_train.json", json.dumps({"train": listed, "val": []}))
    quality = [{"sequence_name": sequence, "viewpoint_quality_score": 0.9}]
    for name, content in (("frame", annotations), ("sequence", quality)):
        (raw / category / f"{name}_annotations.jgz").write_bytes(gzip.compress(json.dumps(content).encode()))


def wildrgbd(raw: Path) -> None:
    folder = raw / "apple" / "scenes" / "scene_000"
    for number in range(COUNT):
        shown = view(number)
        _image(folder / "rgb" / f"{number:05d}.png", shown.rgb)
        _image(folder / "depth" / f"{number:05d}.png", _millimeters(shown))
        _image(folder / "masks" / f"{number:05d}.png", np.full(shown.sky.shape, 255, np.uint8))
    _text(folder / "metadata", json.dumps({"K": K0.T.reshape(-1).tolist(), "w": WIDTH, "h": HEIGHT}))
    _rows(folder / "cam_poses.txt", np.array([[n, *pose_of(n).reshape(-1)] for n in range(COUNT)]))
    for name in ("camera_eval_list", "nvs_list"):
        _text(raw / "apple" / f"{name}.json", json.dumps({"train": ["scenes/scene_000"], "val": []}))


#: the world of ARKitScenes, whose z points up
ARKIT_FROM_WORLD = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def arkitscenes(depth_folder: str, quarters: int) -> Callable[[Path], None]:
    """The device is held so that its images have to be turned by `quarters` counterclockwise."""

    def write(raw: Path) -> None:
        folder, scene = raw / "Training" / "40753679", "40753679"
        turn = np.linalg.matrix_power(np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), quarters)
        for number in range(COUNT):
            shown, seconds = view(number), f"{6791.1 + number:.3f}"
            rgb, depth = (np.rot90(values, -quarters) for values in (shown.rgb, _millimeters(shown)))
            _image(folder / "vga_wide" / f"{scene}_{seconds}.png", np.ascontiguousarray(rgb))
            if depth_folder == "highres_depth":
                depth = depth.repeat(2, axis=0).repeat(2, axis=1)
            _image(folder / depth_folder / f"{scene}_{seconds}.png", np.ascontiguousarray(depth))
            (fx, fy), (cx, cy) = K0[[0, 1], [0, 1]], K0[:2, 2]
            width, height = WIDTH, HEIGHT
            for _ in range(quarters):  # clockwise: a pixel (x, y) comes to (height - 1 - y, x)
                fx, fy, cx, cy, width, height = fy, fx, height - 1 - cy, cx, height, width
            name = f"{scene}_{float(seconds) + 0.001:.3f}.pincam"
            _rows(folder / "vga_wide_intrinsics" / name, np.array([width, height, fx, fy, cx, cy]))
        rows = []
        for moment in np.arange(-0.9, COUNT, 0.25):
            camera_from_world = turn @ np.linalg.inv(ARKIT_FROM_WORLD @ pose_of(moment))
            rotation = Rotation.from_matrix(camera_from_world[:3, :3]).as_rotvec()
            rows.append([6791.1 + moment, *rotation, *camera_from_world[:3, 3]])
        _rows(folder / "lowres_wide.traj", np.array(rows))

    return write


def _fisheye_rays(coefficients: np.ndarray) -> np.ndarray:
    """Rays of COLMAP's OPENCV_FISHEYE with the matrix of the exact scene."""
    plane = pinhole_rays(K)[..., :2]
    distorted = np.linalg.norm(plane, axis=-1)
    angle = distorted.copy()
    for _ in range(50):
        powers = sum(value * angle ** (2 * power) for power, value in enumerate(coefficients, start=1))
        angle = distorted / (1 + powers)
    rays = plane * (np.tan(angle) / np.maximum(distorted, 1e-12))[..., None]
    return np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1)


def _radial_rays(coefficients: np.ndarray) -> np.ndarray:
    """Rays of COLMAP's OPENCV with k1, k2 and no tangential distortion."""
    plane = pinhole_rays(K)[..., :2]
    straight = plane.copy()
    for _ in range(50):
        square = (straight**2).sum(axis=-1, keepdims=True)
        straight = plane / (1 + coefficients[0] * square + coefficients[1] * square**2)
    return np.concatenate([straight, np.ones_like(straight[..., :1])], axis=-1)


def _mesh(path: Path) -> None:
    """The surfaces of the exact scene as triangles of about half a meter."""
    import trimesh

    x, z = np.meshgrid(np.linspace(-8, 8, 33), np.linspace(-2, 9, 23))
    floor = np.stack([x, np.ones_like(x), z], axis=-1)
    x, y = np.meshgrid(np.linspace(-8, 8, 33), np.linspace(-1, 1, 5))
    wall = np.stack([x, y, 5 + 0.3 * x], axis=-1)
    vertices, faces = [], []
    for grid in (floor, wall):
        rows, columns = grid.shape[:2]
        index = np.arange(rows * columns).reshape(rows, columns) + sum(len(part) for part in vertices)
        corners = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
        faces += [
            np.stack([corners[0], corners[1], corners[2]], -1),
            np.stack([corners[0], corners[2], corners[3]], -1),
        ]
        vertices.append(grid.reshape(-1, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    joined = np.concatenate([part.reshape(-1, 3) for part in faces])
    trimesh.Trimesh(np.concatenate(vertices), joined, process=False).export(path)


def _colmap(folder: Path, camera: str, poses: dict[str, np.ndarray]) -> None:
    _text(folder / "cameras.txt", f"# one\n# two\n# three\n1 {camera}\n")
    lines = ["# one", "# two", "# three", "# four"]
    for number, (name, pose) in enumerate(poses.items(), start=1):
        camera_from_world = np.linalg.inv(pose)
        x, y, z, w = Rotation.from_matrix(camera_from_world[:3, :3]).as_quat()
        values = [w, x, y, z, *camera_from_world[:3, 3]]
        lines += [
            f"{number} {' '.join(f'{value:.12g}' for value in values)} 1 {name}",
            "1.0 2.0 -1" if number % 2 else "",
        ]
    _text(folder / "images.txt", "\n".join(lines) + "\n")


def scannetpp(raw: Path) -> None:
    folder = raw / "data" / "0a5c013435"
    _mesh(folder / "scans" / "mesh_aligned_0.05.ply")
    numbers = " ".join(str(value) for value in (*K[[0, 1], [0, 1]], *K[:2, 2]))
    fisheye, radial = np.array([0.03, -0.01, 0.0, 0.0]), np.array([0.05, -0.02, 0.0, 0.0])
    devices = (
        ("dslr", "resized_images", "resized_anon_masks", "DSC{:05d}.JPG", "OPENCV_FISHEYE", fisheye),
        ("iphone", "rgb", "rgb_masks", "frame_{:06d}.jpg", "OPENCV", radial),
    )
    for device, images, masks, form, model, coefficients in devices:
        rays, poses = (_fisheye_rays if device == "dslr" else _radial_rays)(coefficients), {}
        for number in range(3):
            name = form.format(10 * number)
            poses[name] = pose_of(number)
            _image(folder / device / images / name, render(poses[name], rays).rgb)
            mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
            mask[38:, 48:] = 0
            _image(folder / device / masks / f"{Path(name).stem}.png", mask)
        camera = f"{model} {WIDTH} {HEIGHT} {numbers} {' '.join(map(str, coefficients))}"
        _colmap(folder / device / "colmap", camera, poses)


#: the color camera of ScanNet has twice the size and another field of view
_COLOR = np.array([[121.0, 0, 66.0], [0, 123.0, 47.5], [0, 0, 1]])


def scannet(raw: Path) -> None:
    """One scene extracted, one as .sens file; a frame of each has no pose."""
    folder = raw / "scans_train" / "scene0000_00"
    at_integers = _COLOR - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    sens = [struct.pack("<IQ", 4, 3), b"cam"]
    for matrix in (at_integers, np.eye(3), K0, np.eye(3)):
        whole = np.eye(4)
        whole[:3, :3] = matrix
        sens.append(whole.astype("<f4").tobytes())
    sens.append(struct.pack("<2i4If", 2, 1, 2 * WIDTH, 2 * HEIGHT, WIDTH, HEIGHT, 1000.0) + struct.pack("<Q", COUNT))
    for kind, matrix in (("color", at_integers), ("depth", K0)):
        whole = np.eye(4)
        whole[:3, :3] = matrix
        _rows(folder / "intrinsic" / f"intrinsic_{kind}.txt", whole)
    for number in range(COUNT):
        pose = np.full((4, 4), -np.inf) if number == 2 else pose_of(number)
        shown = view(number)
        color = render(pose_of(number), pinhole_rays(_COLOR, 2 * WIDTH, 2 * HEIGHT)).rgb
        _image(folder / "color" / f"{number}.jpg", color)
        _image(folder / "depth" / f"{number}.png", _millimeters(shown))
        _rows(folder / "pose" / f"{number}.txt", pose)
        encoded = cv2.imencode(".jpg", color[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
        packed = zlib.compress(_millimeters(shown).astype("<u2").tobytes())
        sens += [pose.astype("<f4").tobytes(), struct.pack("<4Q", 0, 0, len(encoded), len(packed)), encoded, packed]
    other = raw / "scans_train" / "scene0001_00"
    other.mkdir(parents=True)
    (other / "scene0001_00.sens").write_bytes(b"".join(sens))


def hypersim(raw: Path) -> None:
    folder, scale = raw / "ai_001_001", 0.5
    names = ["scene_name", "settings_output_img_width", "settings_output_img_height"]
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[0, 2] = 2 * K[0, 0] / WIDTH, 1 - 2 * K[0, 2] / WIDTH
    matrix[1, 1], matrix[1, 2] = 2 * K[1, 1] / HEIGHT, 2 * K[1, 2] / HEIGHT - 1
    names += [f"M_proj_{i}{j}" for i in range(4) for j in range(4)]
    values = ["ai_001_001", WIDTH, HEIGHT, *matrix.reshape(-1)]
    _text(raw / "metadata_camera_parameters.csv", f"{','.join(names)}\n{','.join(map(str, values))}\n")
    _text(folder / "_detail" / "metadata_scene.csv", f"parameter_name,parameter_value\nmeters_per_asset_unit,{scale}\n")
    poses = np.stack([pose_of(number) for number in range(COUNT)])
    detail = folder / "_detail" / "cam_00"
    _hdf5(detail / "camera_keyframe_positions.hdf5", dataset=poses[:, :3, 3] / scale)
    _hdf5(detail / "camera_keyframe_orientations.hdf5", dataset=poses[:, :3, :3] @ np.diag([1.0, -1, -1]))
    lengths = np.linalg.norm(pinhole_rays(K), axis=-1)
    for number in range(COUNT):
        shown, stem = view(number), f"frame.{number:04d}"
        distance = np.where(shown.sky, np.nan, shown.z_depth * lengths).astype(np.float32)
        images = folder / "images"
        _hdf5(images / "scene_cam_00_final_hdf5" / f"{stem}.color.hdf5", dataset=(shown.rgb / 255.0).astype(np.float16))
        geometry = images / "scene_cam_00_geometry_hdf5"
        _hdf5(geometry / f"{stem}.depth_meters.hdf5", dataset=distance)
        _hdf5(geometry / f"{stem}.render_entity_id.hdf5", dataset=np.where(shown.sky, -1, 7).astype(np.int16))


def blendedmvs(raw: Path) -> None:
    folder = raw / "5a3ca9cb270f0e3f14d0eddb"
    for number in range(COUNT):
        shown = view(number)
        _image(folder / "blended_images" / f"{number:08d}.jpg", shown.rgb)
        pfm = folder / "rendered_depth_maps" / f"{number:08d}.pfm"
        pfm.parent.mkdir(parents=True, exist_ok=True)
        pfm.write_bytes(f"Pf\n{WIDTH} {HEIGHT}\n-1.0\n".encode() + shown.known()[::-1].astype("<f4").tobytes())
        matrices = [np.linalg.inv(shown.world_from_camera), K0]
        text = ["\n".join(" ".join(f"{value:.10g}" for value in row) for row in matrix) for matrix in matrices]
        camera = f"extrinsic\n{text[0]}\n\nintrinsic\n{text[1]}\n\n1.0 0.1 128 10.0\n"
        _text(folder / "cams" / f"{number:08d}_cam.txt", camera)
    _text(folder / "cams" / "pair.txt", "0\n")


#: of cameras whose principal point is in the middle
CENTERED = np.array([[60.0, 0, WIDTH / 2], [0, 60.0, HEIGHT / 2], [0, 0, 1]])


def megadepth(raw: Path) -> None:
    folder, poses = raw / "0001", {}
    for number in range(COUNT):
        name = f"{number}_o.jpg"
        poses[name] = pose_of(number)
        shown = render(poses[name], pinhole_rays(CENTERED))
        _image(folder / "dense0" / "imgs" / name, shown.rgb)
        _hdf5(folder / "dense0" / "depths" / f"{number}_o.h5", depth=shown.known(-1.0))
    poses["not_there.jpg"] = np.eye(4)
    camera = f"SIMPLE_RADIAL {WIDTH} {HEIGHT} 60.0 {WIDTH / 2} {HEIGHT / 2} 0.0"
    _colmap(folder / "sparse" / "manhattan" / "0", camera, poses)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    content = bytearray()
    while value > 0x7F:
        content.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*content, value])


def _field(number: int, value: int | bytes | list[float]) -> bytes:
    """A field of a message: an integer, content, or doubles one by one."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, bytes):
        return _varint(number << 3 | 2) + _varint(len(value)) + value
    return b"".join(_varint(number << 3 | 1) + struct.pack("<d", item) for item in value)


def _compressed(values: np.ndarray) -> bytes:
    if values.dtype.kind == "f":
        packed = values.astype("<f4").tobytes()
    else:
        packed = b"".join(_varint(int(value)) for value in values.reshape(-1))
    shape = b"".join(_field(1, int(side)) for side in values.shape)
    return zlib.compress(_field(1, packed) + _field(2, shape))


def waymo(raw: Path) -> None:
    """Two cameras and two lidars on a vehicle that looks along the world's z."""
    raw.mkdir(parents=True, exist_ok=True)
    camera_axes = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    records = []
    for number in range(COUNT):
        vehicle = np.eye(4)
        vehicle[:3, :3] = pose_of(number)[:3, :3] @ np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
        vehicle[:3, 3] = pose_of(number)[:3, 3]
        calibrations, images, poses = b"", b"", {}
        for camera in (1, 4):
            poses[camera] = pose_of(number + 0.5 * (camera == 4))
            extrinsic = np.linalg.inv(vehicle) @ poses[camera] @ np.linalg.inv(camera_axes)
            calibration = _field(1, camera) + _field(2, [*K0[[0, 1], [0, 1]], *K0[:2, 2], 0, 0, 0, 0, 0])
            calibration += _field(3, _field(1, extrinsic.reshape(-1).tolist())) + _field(4, WIDTH) + _field(5, HEIGHT)
            calibrations += _field(2, calibration)
            rgb = render(poses[camera], pinhole_rays(K)).rgb
            encoded = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
            images += _field(
                4, _field(1, camera) + _field(2, encoded) + _field(3, _field(1, vehicle.reshape(-1).tolist()))
            )
        lasers = b""
        for laser, (height, width) in ((1, (40, 600)), (2, (20, 300))):
            extrinsic = np.eye(4)
            extrinsic[:3, :3] = Rotation.from_euler("z", 30.0 * laser, degrees=True).as_matrix()
            extrinsic[:3, 3] = [0.1, 0.05 * laser, 0.1]
            low, high = -0.45, 0.2
            beams = low + (np.arange(height) + 0.5) / height * (high - low)
            azimuth = np.pi * (1 - 2 * (np.arange(width) + 0.5) / width)  # in the frame of the vehicle
            rays = np.stack(
                [
                    np.cos(beams[::-1, None]) * np.cos(azimuth),
                    np.cos(beams[::-1, None]) * np.sin(azimuth),
                    np.broadcast_to(np.sin(beams[::-1, None]), (height, width)),
                ],
                axis=-1,
            )
            origin = (vehicle @ extrinsic)[:3, 3]
            world_rays = rays @ vehicle[:3, :3].T
            distance = cast(origin, world_rays)
            points = origin + np.where(np.isinf(distance), 0, distance)[..., None] * world_rays
            seen = np.zeros((height, width, 6), int)
            for camera, pose in poses.items():
                local = (points - pose[:3, 3]) @ pose[:3, :3]
                with np.errstate(divide="ignore", invalid="ignore"):
                    pixels = local[..., :2] / local[..., 2:] * K[[0, 1], [0, 1]] + K[:2, 2]
                inside = (local[..., 2] > 0) & (pixels >= 0).all(-1) & (pixels < [WIDTH, HEIGHT]).all(-1)
                new = inside & (seen[..., 0] == 0) & ~np.isinf(distance)
                seen[new] = np.concatenate([np.full((*new.shape, 1), camera), np.nan_to_num(pixels)], -1)[new].astype(
                    int
                )[:, [0, 1, 2, 0, 0, 0]] * [1, 1, 1, 0, 0, 0]
            stored = np.zeros((height, width, 4), np.float32)
            stored[..., 0] = np.where(np.isinf(distance), -1, distance)
            image = _field(2, _compressed(stored)) + _field(3, _compressed(seen))
            context = _field(1, laser)
            if laser == 1:
                yaw, pitch, roll = Rotation.from_matrix(vehicle[:3, :3]).as_euler("ZYX")
                motion = np.broadcast_to(np.array([roll, pitch, yaw, *vehicle[:3, 3]]), (height, width, 6))
                image += _field(4, _compressed(motion.astype(np.float32)))
                context += _field(2, beams.tolist())
            else:
                context += _field(3, [low]) + _field(4, [high])
            calibrations += _field(3, context + _field(5, _field(1, extrinsic.reshape(-1).tolist())))
            lasers += _field(5, _field(1, laser) + _field(2, image))
        frame = _field(1, _field(1, b"segment") + calibrations) + _field(2, 1_500_000_000_000_000)
        frame += _field(3, _field(1, vehicle.reshape(-1).tolist())) + images + lasers
        records.append(struct.pack("<QI", len(frame), 0) + frame + struct.pack("<I", 0))
    (raw / "segment-1_with_camera_labels.tfrecord").write_bytes(b"".join(records))


def vkitti2(raw: Path) -> None:
    folder = raw / "Scene01" / "clone"
    focal, poses = [], []
    for number in range(COUNT):
        for camera in (0, 1):
            shown, stem = view(number, camera), folder / "frames"
            _image(stem / "rgb" / f"Camera_{camera}" / f"rgb_{number:05d}.jpg", shown.rgb)
            stored = np.rint(shown.known(655.35) * 100).astype(np.uint16)
            _image(stem / "depth" / f"Camera_{camera}" / f"depth_{number:05d}.png", stored)
            focal.append([number, camera, *K0[[0, 1], [0, 1]], *K0[:2, 2]])
            poses.append([number, camera, *np.linalg.inv(shown.world_from_camera).reshape(-1)])
    _rows(folder / "intrinsic.txt", np.array(focal), "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]")
    _rows(folder / "extrinsic.txt", np.array(poses), "frame cameraID r1,1 r1,2 r1,3 t1 ...")


def omniobject3d(raw: Path) -> None:
    folder, frames = raw / "anise_001" / "render", []
    for number in range(COUNT):
        shown = render(pose_of(number), pinhole_rays(CENTERED))
        alpha = np.where(shown.sky, 0, 255).astype(np.uint8)[..., None]
        _image(folder / "images" / f"r_{number}.png", np.concatenate([shown.rgb, alpha], axis=-1))
        z_depth = shown.known(65504.0)
        _exr(folder / "depths" / f"r_{number}_depth.exr", {name: z_depth for name in "RGB"})
        pose = shown.world_from_camera @ np.diag([1.0, -1, -1, 1])
        frames.append({"file_path": f"r_{number}", "transform_matrix": pose.tolist()})
    angle = 2 * np.arctan(WIDTH / 2 / 60.0)
    _text(folder / "transforms.json", json.dumps({"camera_angle_x": angle, "frames": frames}))


def spring(raw: Path) -> None:
    folder = raw / "0001"
    for number in range(COUNT):
        shown = view(number)
        _image(folder / "frame_left" / f"frame_left_{number + 1:04d}.png", shown.rgb)
        disparity = np.where(shown.sky, 0, K0[0, 0] * 0.065 / shown.z_depth)
        large = disparity.repeat(2, axis=0).repeat(2, axis=1).astype(np.float32)
        _hdf5(folder / "disp1_left" / f"disp1_left_{number + 1:04d}.dsp5", disparity=large)
    camera = np.array([*K0[[0, 1], [0, 1]], *K0[:2, 2]])
    _rows(folder / "cam_data" / "intrinsics.txt", np.stack([camera] * COUNT))
    poses = np.stack([np.linalg.inv(pose_of(number)).reshape(-1) for number in range(COUNT)])
    _rows(folder / "cam_data" / "extrinsics.txt", poses)


def mvs_synth(raw: Path) -> None:
    swap = np.eye(4)[[1, 0, 2, 3]]
    for number in range(COUNT):
        shown, folder = view(number), raw / "0000"
        _image(folder / "images" / f"{number:04d}.png", shown.rgb)
        _exr(folder / "depths" / f"{number:04d}.exr", {"Y": shown.z_depth})
        camera = {"f_x": K0[0, 0], "f_y": K0[1, 1], "c_x": K0[0, 2], "c_y": K0[1, 2]}
        camera["extrinsic"] = np.linalg.inv(swap @ shown.world_from_camera).tolist()
        _text(folder / "poses" / f"{number:04d}.json", json.dumps(camera))


def point_odyssey(raw: Path) -> None:
    folder = raw / "train" / "kg"
    for number in range(COUNT):
        shown = view(number)
        _image(folder / "rgbs" / f"rgb_{number:05d}.jpg", shown.rgb)
        stored = np.rint(shown.known(1000.0) / 1000 * 65535).astype(np.uint16)
        _image(folder / "depths" / f"depth_{number:05d}.png", stored)
    poses = np.stack([np.linalg.inv(pose_of(number)) for number in range(COUNT)])
    np.savez(folder / "anno.npz", intrinsics=np.stack([K0] * COUNT), extrinsics=poses, trajs_3d=np.zeros((COUNT, 2, 3)))


WRITERS: dict[str, Callable[[Path], None]] = {
    "co3d": co3d,
    "wildrgbd": wildrgbd,
    "arkitscenes": arkitscenes("lowres_depth", 1),
    "arkitscenes_highres": arkitscenes("highres_depth", 0),
    "scannetpp": scannetpp,
    "scannet": scannet,
    "hypersim": hypersim,
    "blendedmvs": blendedmvs,
    "megadepth": megadepth,
    "waymo": waymo,
    "vkitti2": vkitti2,
    "omniobject3d": omniobject3d,
    "spring": spring,
    "mvs_synth": mvs_synth,
    "point_odyssey": point_odyssey,
}
#: optional packages that raw files or the processed layout need
NEEDS = {
    "hypersim": ("h5py",),
    "blendedmvs": ("OpenEXR", "h5py"),
    "megadepth": ("OpenEXR", "h5py"),
    "waymo": ("OpenEXR",),
    "omniobject3d": ("OpenEXR",),
    "spring": ("h5py",),
    "mvs_synth": ("OpenEXR",),
}
