"""The drop-in interface, used as 3DGS code uses it."""

import math

import numpy as np
import pytest
import torch
from diff_gaussian_rasterization import GaussianRasterizationSettings, GaussianRasterizer, rasterize

from tests.paths import DATA
from tests.submodules.diff_gaussian_rasterization.drop_in_view import pose_matrix, projection_matrix
from tests.submodules.diff_gaussian_rasterization.splatting_oracle import quaternion_to_matrix

WIDTH, HEIGHT, TAN_X, TAN_Y = 64, 36, 0.8, 0.45


def settings(pose, **changes):
    values = {
        "image_height": HEIGHT,
        "image_width": WIDTH,
        "tanfovx": TAN_X,
        "tanfovy": TAN_Y,
        "bg": torch.tensor([0.1, 0.2, 0.3]),
        "scale_modifier": 1.0,
        "viewmatrix": pose.T,
        "projmatrix": pose.T @ projection_matrix(TAN_X, TAN_Y).T,
        "sh_degree": 3,
        "campos": pose.inverse()[:3, 3],
        "prefiltered": False,
        "debug": False,
    }
    return GaussianRasterizationSettings(**(values | changes))


def gaussians(count=200):
    random = torch.Generator().manual_seed(5)
    return {
        "means": torch.randn(count, 3, generator=random) + torch.tensor([0.0, 0.0, 3.0]),
        "rotations": torch.nn.functional.normalize(torch.randn(count, 4, generator=random)),
        "scales": torch.rand(count, 3, generator=random) * 0.2 + 0.02,
        "opacities": torch.rand(count, 1, generator=random),
        "sh": torch.randn(count, 16, 3, generator=random) * 0.2,
    }


def test_same_as_our_own_interface():
    pose, values = pose_matrix(), gaussians()
    output_gradient = torch.randn(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))

    theirs = {name: value.clone().requires_grad_() for name, value in values.items()}
    points_2d = torch.zeros_like(theirs["means"], requires_grad=True) + 0
    points_2d.retain_grad()
    image, radii = GaussianRasterizer(raster_settings=settings(pose))(
        means3D=theirs["means"],
        means2D=points_2d,
        shs=theirs["sh"],
        colors_precomp=None,
        opacities=theirs["opacities"],
        scales=theirs["scales"],
        rotations=theirs["rotations"],
        cov3D_precomp=None,
    )
    (image * output_gradient).sum().backward()

    ours = {name: value.clone().requires_grad_() for name, value in values.items()}
    screen_means = torch.zeros(200, 2, requires_grad=True)
    rendering = rasterize(
        ours["means"],
        ours["rotations"],
        ours["scales"],
        ours["opacities"],
        sh_coefficients=ours["sh"],
        camera_from_world=pose,
        intrinsics=(WIDTH / (2 * TAN_X), HEIGHT / (2 * TAN_Y), WIDTH / 2, HEIGHT / 2),
        width=WIDTH,
        height=HEIGHT,
        background=(0.1, 0.2, 0.3),
        screen_means=screen_means,
    )
    (rendering.image * output_gradient).sum().backward()

    torch.testing.assert_close(image, rendering.image, rtol=1e-5, atol=1e-5)
    assert torch.equal(radii, rendering.radii) and radii.dtype == torch.int32
    for name in values:
        scale = ours[name].grad.abs().max()
        assert (theirs[name].grad - ours[name].grad).abs().max() < 1e-4 * scale, name
    # densification code thresholds gradients in units of half the image
    in_ndc = screen_means.grad * torch.tensor([WIDTH / 2, HEIGHT / 2])
    torch.testing.assert_close(points_2d.grad[:, :2], in_ndc, rtol=1e-3, atol=1e-4 * in_ndc.abs().max().item())
    assert (points_2d.grad[:, 2] == 0).all()


def test_values_of_means_2d_do_not_matter():
    pose, values = pose_matrix(), gaussians()

    def image(points_2d):
        return GaussianRasterizer(settings(pose))(
            values["means"],
            points_2d,
            values["opacities"],
            values["sh"],
            None,
            values["scales"],
            values["rotations"],
        )[0]

    assert torch.equal(image(torch.zeros(200, 3)), image(torch.randn(200, 3)))


def test_precomputed_colors_and_covariances():
    pose, values = pose_matrix(), gaussians()
    colors = torch.rand(200, 3)
    m = quaternion_to_matrix(values["rotations"]) * values["scales"][:, None]
    rows, columns = torch.triu_indices(3, 3)
    covariances = (m @ m.transpose(1, 2))[:, rows, columns]
    handle = torch.zeros(200, 3)
    rasterizer = GaussianRasterizer(settings(pose))
    expected, _ = rasterizer(
        values["means"],
        handle,
        values["opacities"],
        colors_precomp=colors,
        scales=values["scales"],
        rotations=values["rotations"],
    )
    image, _ = rasterizer(
        values["means"], handle, values["opacities"], colors_precomp=colors, cov3D_precomp=covariances
    )
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-4)


def test_rotations_follow_the_golden_of_the_reference():
    golden = np.load(DATA / "das3r_gs_math.npz")
    quaternions, matrices = torch.from_numpy(golden["q2"]), torch.from_numpy(golden["rot"])
    count = len(quaternions)
    random = torch.Generator().manual_seed(2)
    means = torch.randn(count, 3, generator=random) * 0.5 + torch.tensor([0.0, 0.0, 3.0])
    scales = torch.rand(count, 3, generator=random) * 0.5
    m = matrices * scales[:, None]
    shared = {
        "opacities": torch.full((count,), 0.7),
        "colors": torch.rand(count, 3, generator=random),
        "camera_from_world": torch.eye(4),
        "intrinsics": (50.0, 50.0, 32.0, 18.0),
        "width": WIDTH,
        "height": HEIGHT,
    }
    image = rasterize(means, quaternions, scales, **shared).image
    expected = rasterize(means, covariances=m @ m.transpose(1, 2), **shared).image
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-5)


def test_projection_matrix_of_the_reference_gives_its_field_of_view():
    golden = np.load(DATA / "das3r_gs_math.npz")
    projection, pose = torch.from_numpy(golden["proj"]), torch.from_numpy(golden["w2c"])
    tan_x, tan_y = (1 / projection[0, 0]).item(), (1 / projection[1, 1]).item()
    point = pose.inverse() @ torch.tensor([0.3, -0.2, 2.0, 1.0])  # in front of the camera
    view = settings(
        pose,
        tanfovx=tan_x,
        tanfovy=tan_y,
        projmatrix=pose.T @ projection.T,
        campos=pose.inverse()[:3, 3],
        bg=torch.zeros(3),
    )
    image, _ = GaussianRasterizer(view)(
        point[None, :3],
        torch.zeros(1, 3),
        torch.full((1, 1), 0.9),
        colors_precomp=torch.ones(1, 3),
        scales=torch.full((1, 3), 0.02),
        rotations=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
    )
    row, column = divmod(image[0].argmax().item(), WIDTH)
    assert column == math.floor((0.15 / tan_x + 1) * WIDTH / 2)
    assert row == math.floor((-0.1 / tan_y + 1) * HEIGHT / 2)


def test_mark_visible():
    pose = pose_matrix()
    in_camera = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 0.02], [0.0, 0.0, 0.005], [0.0, 0.0, -1.0]])
    points = (in_camera - pose[:3, 3]) @ pose[:3, :3]
    assert GaussianRasterizer(settings(pose)).markVisible(points).tolist() == [True, True, False, False]
    nearer = settings(pose, near_plane=0.001)
    assert GaussianRasterizer(nearer).markVisible(points).tolist() == [True, True, True, False]


def test_ambiguous_arguments_are_refused():
    values, rasterizer = gaussians(), GaussianRasterizer(settings(pose_matrix()))
    with pytest.raises(ValueError, match="exactly one of SHs"):
        rasterizer(
            values["means"],
            values["means"],
            values["opacities"],
            scales=values["scales"],
            rotations=values["rotations"],
        )
    with pytest.raises(ValueError, match="exactly one of a scale/rotation"):
        rasterizer(values["means"], values["means"], values["opacities"], values["sh"], scales=values["scales"])


def test_a_loop_written_for_3dgs_learns():
    """Overfits one small image with the usual activations, Adam and densification statistics."""
    torch.manual_seed(0)
    pose, count = torch.eye(4), 400
    pose[2, 3] = 4.0
    rows, columns = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
    target = torch.stack([rows, columns, ((rows * 6).sin() * (columns * 9).cos()).abs()])
    xyz = (torch.rand(count, 3) * torch.tensor([6.0, 3.5, 1.0]) - torch.tensor([3.0, 1.75, 0.5])).requires_grad_()
    scaling = torch.full((count, 3), math.log(0.15)).requires_grad_()
    rotation = torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1).requires_grad_()
    opacity = torch.zeros(count, 1).requires_grad_()
    features = torch.zeros(count, 4, 3).requires_grad_()
    optimizer = torch.optim.Adam([xyz, scaling, rotation, opacity, features], lr=0.02, eps=1e-15)
    accumulated, losses = torch.zeros(count, 1), []
    for _ in range(60):
        screenspace_points = torch.zeros_like(xyz, requires_grad=True) + 0
        screenspace_points.retain_grad()
        image, radii = GaussianRasterizer(raster_settings=settings(pose, sh_degree=1, bg=torch.zeros(3)))(
            means3D=xyz,
            means2D=screenspace_points,
            shs=features,
            colors_precomp=None,
            opacities=torch.sigmoid(opacity),
            scales=torch.exp(scaling),
            rotations=torch.nn.functional.normalize(rotation),
            cov3D_precomp=None,
        )
        loss = (image - target).abs().mean()
        loss.backward()
        seen = radii > 0
        accumulated[seen] += screenspace_points.grad[seen, :2].norm(dim=-1, keepdim=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]
    assert accumulated.max() > 0
