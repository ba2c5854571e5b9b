"""The table of preparations: the 14 sets of StreamVGGT (Zhuo et al., 2025), ARKitScenes in two resolutions."""

from dynamic_predictor.preparation import (
    arkitscenes,
    objects,
    reconstructions,
    scannet,
    scans,
    videos,
    waymo,
)
from dynamic_predictor.preparation.running import Preparation

PREPARATIONS: dict[str, Preparation] = {
    "co3d": Preparation(
        "CATEGORY/frame_annotations.jgz, set_lists, and SEQUENCE/images, depths, masks",
        objects.co3d_scenes,
        objects.co3d_frames,
        objects.write_selected,
    ),
    "wildrgbd": Preparation(
        "CATEGORY/scenes/scene_000/rgb, depth, masks, metadata, cam_poses.txt, and the category's lists",
        objects.wildrgbd_scenes,
        objects.wildrgbd_frames,
        objects.write_selected,
    ),
    "arkitscenes": Preparation(
        "Training/SCENE/vga_wide, vga_wide_intrinsics, lowres_depth, lowres_wide.traj",
        arkitscenes.arkitscenes_scenes,
        arkitscenes.arkitscenes_frames,
        listed_suffix=".png",
    ),
    "arkitscenes_highres": Preparation(
        "Training/SCENE/vga_wide, vga_wide_intrinsics, highres_depth, lowres_wide.traj",
        arkitscenes.arkitscenes_highres_scenes,
        arkitscenes.arkitscenes_highres_frames,
        listed_suffix=".png",
    ),
    "scannetpp": Preparation(
        "data/SCENE/dslr, iphone (COLMAP models, images, masks), scans/mesh_aligned_0.05.ply",
        scans.scannetpp_scenes,
        scans.scannetpp_frames,
    ),
    "scannet": Preparation(
        "scans/SCENE/SCENE.sens, or scans_train/SCENE/color, depth, pose, intrinsic",
        scannet.scannet_scenes,
        scannet.scannet_frames,
    ),
    "hypersim": Preparation(
        "metadata_camera_parameters.csv, SCENE/_detail, SCENE/images/scene_cam_00_final_hdf5 and _geometry_hdf5",
        scans.hypersim_scenes,
        scans.hypersim_frames,
    ),
    "blendedmvs": Preparation(
        "SCENE/blended_images, rendered_depth_maps, cams",
        reconstructions.blendedmvs_scenes,
        reconstructions.blendedmvs_frames,
        reconstructions.write_overlaps,
    ),
    "megadepth": Preparation(
        "SCENE/dense0/imgs, depths, and SCENE/sparse/manhattan/0",
        reconstructions.megadepth_scenes,
        reconstructions.megadepth_frames,
        reconstructions.write_sets,
    ),
    "waymo": Preparation("SEGMENT.tfrecord files (perception, version 1)", waymo.waymo_scenes, waymo.waymo_frames),
    "vkitti2": Preparation(
        "Scene01/clone/frames/rgb, frames/depth, intrinsic.txt, extrinsic.txt (the three archives in one folder)",
        videos.vkitti2_scenes,
        videos.vkitti2_frames,
    ),
    "omniobject3d": Preparation(
        "OBJECT/render/images, depths, transforms.json; scale.json of CUT3R if there",
        objects.omniobject3d_scenes,
        objects.omniobject3d_frames,
        objects.write_scales,
    ),
    "spring": Preparation(
        "0001/frame_left, disp1_left, cam_data (its folder train)", videos.spring_scenes, videos.spring_frames
    ),
    "mvs_synth": Preparation("0000/images, depths, poses", videos.mvs_synth_scenes, videos.mvs_synth_frames),
    "point_odyssey": Preparation(
        "train/CLIP/rgbs, depths, anno.npz", videos.point_odyssey_scenes, videos.point_odyssey_frames
    ),
}
