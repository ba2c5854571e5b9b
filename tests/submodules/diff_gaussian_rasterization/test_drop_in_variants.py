"""The variants of the drop-in interface, with minimal training loops as users of each variant write them."""

import math
import os
import subprocess
import sys

import diff_gaussian_rasterization as package
import pytest
import torch
from diff_gaussian_rasterization import GaussianRasterizationSettings, GaussianRasterizer, SparseGaussianAdam

from tests.submodules.diff_gaussian_rasterization.drop_in_view import pose_matrix, projection_matrix
from tests.submodules.diff_gaussian_rasterization.splatting_oracle import render

WIDTH, HEIGHT, TAN_X, TAN_Y = 48, 28, 0.8, 0.47


def twelve_fields(pose, degree=1):
    """The settings that all variants have."""
    return {
        "image_height": HEIGHT,
        "image_width": WIDTH,
        "tanfovx": TAN_X,
        "tanfovy": TAN_Y,
        "bg": torch.zeros(3),
        "scale_modifier": 1.0,
        "viewmatrix": pose.T,
        "projmatrix": pose.T @ projection_matrix(TAN_X, TAN_Y).T,
        "sh_degree": degree,
        "campos": pose.inverse()[:3, 3],
        "prefiltered": False,
        "debug": False,
    }


class Scene:
    """Gaussians with the names of a 3DGS trainer, and an image and inverse depth as targets."""

    def __init__(self, count=150):
        random = torch.Generator().manual_seed(5)
        self.pose = pose_matrix()
        spread = torch.rand(count, 3, generator=random) - 0.5
        in_camera = spread * torch.tensor([5.0, 3.0, 1.0]) + torch.tensor([0.0, 0.0, 3.0])
        self.xyz = ((in_camera - self.pose[:3, 3]) @ self.pose[:3, :3]).requires_grad_()
        self.scaling = (torch.rand(count, 3, generator=random) + math.log(0.12)).requires_grad_()
        self.rotation = torch.randn(count, 4, generator=random).requires_grad_()
        self.opacity = torch.zeros(count, 1).requires_grad_()
        self.features_dc = torch.zeros(count, 1, 3).requires_grad_()
        self.features_rest = torch.zeros(count, 3, 3).requires_grad_()
        rows, columns = torch.meshgrid(torch.linspace(0, 1, HEIGHT), torch.linspace(0, 1, WIDTH), indexing="ij")
        self.target = torch.stack([rows, columns, (rows * 6).sin().abs()])
        self.inverse_depth = (0.25 + 0.2 * columns)[None]

    def parameters(self):
        return [self.xyz, self.scaling, self.rotation, self.opacity, self.features_dc, self.features_rest]

    def features(self):
        return torch.cat((self.features_dc, self.features_rest), dim=1)

    def screenspace_points(self):
        points = torch.zeros_like(self.xyz, dtype=self.xyz.dtype, requires_grad=True) + 0
        points.retain_grad()
        return points

    def arguments(self):
        return {
            "means3D": self.xyz,
            "shs": self.features(),
            "colors_precomp": None,
            "opacities": torch.sigmoid(self.opacity),
            "scales": torch.exp(self.scaling),
            "rotations": torch.nn.functional.normalize(self.rotation),
            "cov3D_precomp": None,
        }


def assert_learns(step, steps=40, factor=0.4):
    losses = [step() for _ in range(steps)]
    assert losses[-1] < factor * losses[0], f"from {losses[0]:.4f} to {losses[-1]:.4f}"


@pytest.fixture
def returns():
    yield package.set_returns
    package.set_returns(None)


SHAPES = {
    "color": (3, HEIGHT, WIDTH),
    "radii": (150,),
    "depth": (1, HEIGHT, WIDTH),
    "alpha": (1, HEIGHT, WIDTH),
    "opacity": (1, HEIGHT, WIDTH),
    "invdepth": (1, HEIGHT, WIDTH),
    "n_touched": (150,),
}


@pytest.mark.parametrize(
    ("more", "less", "expected"),
    [
        ({}, (), "color radii"),
        ({"antialiasing": False}, (), "color radii invdepth"),
        ({"antialiasing": True}, (), "color radii invdepth"),
        ({}, ("debug",), "color radii depth"),
        ({"projmatrix_raw": projection_matrix(TAN_X, TAN_Y).T}, (), "color radii depth opacity n_touched"),
    ],
)
def test_the_fields_determine_what_is_returned(more, less, expected):
    scene = Scene()
    values = {name: value for name, value in (twelve_fields(scene.pose) | more).items() if name not in less}
    result = GaussianRasterizer(raster_settings=GaussianRasterizationSettings(**values))(
        means2D=scene.screenspace_points(), **scene.arguments()
    )
    assert [tuple(value.shape) for value in result] == [SHAPES[name] for name in expected.split()]
    for name, value in zip(expected.split(), result, strict=True):
        assert value.dtype == (torch.int32 if name in ("radii", "n_touched") else torch.float32)
        assert value.requires_grad == value.dtype.is_floating_point, name
        assert (value != 0).any(), name


def test_settings_by_position():
    scene = Scene()
    twelve = GaussianRasterizationSettings(*twelve_fields(scene.pose).values())
    assert all(getattr(twelve, name) is value for name, value in zip(twelve_fields(scene.pose), twelve, strict=False))
    thirteen = GaussianRasterizationSettings(*twelve_fields(scene.pose).values(), True)
    means2D = scene.screenspace_points()
    assert len(GaussianRasterizer(twelve)(means2D=means2D, **scene.arguments())) == 2
    assert len(GaussianRasterizer(thirteen)(means2D=means2D, **scene.arguments())) == 3


def test_chosen_values_and_their_order(returns):
    scene = Scene()
    rasterizer = GaussianRasterizer(GaussianRasterizationSettings(**twelve_fields(scene.pose)))
    returns("color depth alpha radii")
    color, depth, alpha, radii = rasterizer(means2D=None, **scene.arguments())
    ours = rasterizer.render(means2D=None, **scene.arguments())
    assert torch.equal(color, ours.image) and torch.equal(depth[0], ours.depth)
    assert torch.equal(alpha[0], ours.alpha) and torch.equal(radii, ours.radii)
    for names in ("color normals", ""):
        with pytest.raises(ValueError, match="a rendering can return color, radii"):
            returns(names)


def test_environment_variable_chooses_values():
    code = "import diff_gaussian_rasterization.drop_in as d; print(d._returns)"
    environment = os.environ | {"STILLSPLAT_RETURNS": "color, radii, depth, alpha"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "('color', 'radii', 'depth', 'alpha')"


GEOMETRY = ("xyz", "scaling", "rotation", "opacity")


def oracle(values, pose, **appearance):
    """The float64 oracle's rendering of Gaussians with the names of a trainer."""
    return render(
        values["xyz"],
        values["rotation"],
        values["scaling"].exp(),
        values["opacity"][:, 0].sigmoid(),
        camera_from_world=pose,
        intrinsics=torch.tensor([WIDTH / (2 * TAN_X), HEIGHT / (2 * TAN_Y), WIDTH / 2, HEIGHT / 2]).double(),
        width=WIDTH,
        height=HEIGHT,
        **appearance,
    )


@pytest.mark.parametrize("antialiasing", [False, True])
def test_inverse_depth_and_its_gradients(antialiasing):
    scene, pose = Scene(), pose_matrix().double()
    output_gradient = torch.randn(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2))
    settings = GaussianRasterizationSettings(**twelve_fields(scene.pose), antialiasing=antialiasing)
    _, _, inverse_depth = GaussianRasterizer(settings)(means2D=None, **scene.arguments())
    (inverse_depth[0] * output_gradient).sum().backward()
    values = {name: getattr(scene, name).detach().double().requires_grad_() for name in GEOMETRY}

    def true_inverse_depth(values):
        z = values["xyz"] @ pose[2, :3] + pose[2, 3]
        return oracle(values, pose, colors=(1 / z)[:, None].expand(-1, 3), antialiased=antialiasing)[0][0]

    expected = true_inverse_depth(values)
    torch.testing.assert_close(inverse_depth[0].double(), expected, rtol=1e-5, atol=2e-5)
    (expected * output_gradient).sum().backward()
    for name in GEOMETRY:
        truth, ours = values[name].grad, getattr(scene, name).grad.double()
        assert (ours - truth).abs().max() <= 1e-3 * truth.abs().max(), name
        # and finite differences of the oracle, which do not depend on autograd
        step = 1e-8 * ours / ours.norm()
        with torch.no_grad():
            ahead, behind = (true_inverse_depth(values | {name: values[name] + sign * step}) for sign in (1, -1))
        assert ((ahead - behind) * output_gradient).sum().item() / 2e-8 == pytest.approx(
            ours.norm().item(), rel=1e-3
        ), name


def test_depth_and_inverse_depth_together(returns):
    """Together they take a second rendering, and each equals what is returned without the other."""
    scene = Scene()
    rasterizer = GaussianRasterizer(GaussianRasterizationSettings(**twelve_fields(scene.pose)))
    together, alone = {}, {}
    for names, found in (("depth invdepth", together), ("depth", alone), ("invdepth", alone)):
        returns(names)
        found |= dict(zip(names.split(), rasterizer(means2D=None, **scene.arguments()), strict=True))
    assert torch.equal(together["depth"], alone["depth"])
    torch.testing.assert_close(together["invdepth"], alone["invdepth"], rtol=1e-5, atol=1e-6)
    assert (alone["depth"] - alone["invdepth"]).abs().max() > 0.1


def test_gaussians_behind_the_camera_do_not_affect_the_inverse_depth():
    scene = Scene()
    with torch.no_grad():
        scene.xyz[:3] = (torch.tensor([[0, 0, -1.0], [0, 0, 0], [0, 0, 0.005]]) - scene.pose[:3, 3]) @ scene.pose[
            :3, :3
        ]
    settings = GaussianRasterizationSettings(**twelve_fields(scene.pose), antialiasing=False)
    GaussianRasterizer(settings)(means2D=None, **scene.arguments())[2].sum().backward()
    assert all(value.grad.isfinite().all() for value in (scene.xyz, scene.scaling, scene.opacity))
    assert (scene.xyz.grad[:3] == 0).all() and (scene.xyz.grad[3:] != 0).any()


def exponential(tangent):
    """SE(3), (4, 4), of [rho, theta]."""
    x, y, z = tangent[3:]
    generator = torch.zeros(4, 4, dtype=tangent.dtype)
    generator[0, 1], generator[0, 2], generator[1, 2] = -z, y, -x
    generator[:3, :3] -= generator[:3, :3].T.clone()
    generator[:3, 3] = tangent[:3]
    return torch.linalg.matrix_exp(generator)


def with_pose_gradients(pose, degree=0):
    fields = twelve_fields(pose, degree) | {"projmatrix_raw": projection_matrix(TAN_X, TAN_Y).T}
    return GaussianRasterizationSettings(**fields)


def test_pose_gradients_by_finite_differences():
    """The camera center moves with the pose, which also changes the colors of spherical harmonics."""
    scene = Scene()
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        scene.features_rest.normal_(generator=random)
    theta, rho = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    output_gradients = [torch.randn(*shape, HEIGHT, WIDTH, generator=random) for shape in ((3,), (1,), (1,))]
    color, _, depth, opacity, _ = GaussianRasterizer(raster_settings=with_pose_gradients(scene.pose, degree=1))(
        means2D=scene.screenspace_points(), theta=theta, rho=rho, **scene.arguments()
    )
    sum(
        (value * output_gradient).sum()
        for value, output_gradient in zip((color, depth, opacity), output_gradients, strict=True)
    ).backward()
    values = {name: getattr(scene, name).detach().double() for name in GEOMETRY}
    sh = scene.features().detach().double()

    def weighted(tangent):
        pose = exponential(tangent) @ scene.pose.double()
        image, alpha, depth, _ = oracle(values, pose, colors=None, sh_coefficients=sh)
        return sum(
            (value * output_gradient).sum()
            for value, output_gradient in zip((image, depth, alpha), output_gradients, strict=True)
        )

    steps = 1e-8 * torch.eye(6, dtype=torch.float64)
    measured = torch.stack([(weighted(step) - weighted(-step)) / 2e-8 for step in steps])
    ours = torch.cat([rho.grad, theta.grad]).double()
    assert (ours - measured).abs().max() <= 1e-3 * measured.abs().max()


def test_n_touched_is_the_sum_of_weights():
    scene = Scene()
    arguments = scene.arguments()
    touched = GaussianRasterizer(with_pose_gradients(scene.pose))(means2D=None, **arguments)[4]
    values = {name: getattr(scene, name).detach().double() for name in GEOMETRY}
    colors = torch.ones(150, 3, dtype=torch.float64, requires_grad=True)
    image = oracle(values, scene.pose.double(), colors=colors)[0]
    image[0].sum().backward()
    weights = colors.grad[:, 0]
    assert ((touched - weights).abs() < 0.501).all() and touched.max() > 5


# ------------------------------------------------------------------------- loops as their authors write them


def test_loop_of_the_original():
    scene = Scene()
    optimizer = torch.optim.Adam(scene.parameters(), lr=0.03, eps=1e-15)

    def step():
        raster_settings = GaussianRasterizationSettings(**twelve_fields(scene.pose))
        rasterizer = GaussianRasterizer(raster_settings=raster_settings)
        screenspace_points = scene.screenspace_points()
        rendered_image, radii = rasterizer(means2D=screenspace_points, **scene.arguments())
        loss = torch.abs(rendered_image - scene.target).mean()
        loss.backward()
        assert screenspace_points.grad[radii > 0, :2].norm(dim=-1, keepdim=True).shape == ((radii > 0).sum(), 1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    assert_learns(step)


def test_loop_with_antialiasing_and_a_depth_prior():
    scene = Scene()
    optimizer = torch.optim.Adam(scene.parameters(), lr=0.03, eps=1e-15)
    depths = []

    def step():
        raster_settings = GaussianRasterizationSettings(**twelve_fields(scene.pose), antialiasing=True)
        rendered_image, radii, depth_image = GaussianRasterizer(raster_settings=raster_settings)(
            means2D=scene.screenspace_points(), **scene.arguments()
        )
        depth_loss = torch.abs(depth_image - scene.inverse_depth).mean()
        loss = torch.abs(rendered_image - scene.target).mean() + depth_loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        depths.append(depth_loss.item())
        return loss.item()

    assert_learns(step)
    assert depths[-1] < 0.5 * depths[0]


def test_loop_with_sparse_adam_and_separate_sh_coefficients():
    fused_ssim = pytest.importorskip("fused_ssim", reason="NOT CHECKED: submodules/fused-ssim is not installed")
    scene = Scene()
    with torch.no_grad():  # an invisible one
        scene.xyz[7] = (torch.tensor([0.0, 0.0, -4.0]) - scene.pose[:3, 3]) @ scene.pose[:3, :3]
    hidden = [parameter[7].detach().clone() for parameter in scene.parameters()]
    groups = [{"params": [p], "lr": 0.01, "name": str(k)} for k, p in enumerate(scene.parameters())]
    optimizer = SparseGaussianAdam(groups, lr=0.0, eps=1e-15)

    def step():
        raster_settings = GaussianRasterizationSettings(**twelve_fields(scene.pose), antialiasing=False)
        arguments = scene.arguments() | {"dc": scene.features_dc, "shs": scene.features_rest}
        image, radii, _ = GaussianRasterizer(raster_settings=raster_settings)(
            means2D=scene.screenspace_points(), **arguments
        )
        ssim_value = fused_ssim.fused_ssim(image.unsqueeze(0), scene.target.unsqueeze(0))
        loss = 0.8 * torch.abs(image - scene.target).mean() + 0.2 * (1.0 - ssim_value)
        loss.backward()
        visible = radii > 0
        optimizer.step(visible, radii.shape[0])
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    assert_learns(step, factor=0.6)
    for parameter, before in zip(scene.parameters(), hidden, strict=True):
        assert torch.equal(parameter[7], before)
        assert (optimizer.state[parameter]["exp_avg"][7] == 0).all()


def test_loop_with_depth_and_alpha(returns):
    returns("color radii depth alpha")
    scene = Scene()
    optimizer = torch.optim.Adam(scene.parameters(), lr=0.03, eps=1e-15)

    def step():
        rasterizer = GaussianRasterizer(GaussianRasterizationSettings(**twelve_fields(scene.pose)))
        rendered_image, radii, rendered_depth, rendered_alpha = rasterizer(
            means2D=scene.screenspace_points(), **scene.arguments()
        )
        expected_depth = rendered_depth / rendered_alpha.clamp(min=1e-3)
        loss = torch.abs(rendered_image - scene.target).mean() + (1 - rendered_alpha).mean()
        loss = loss + 0.1 * torch.abs(expected_depth - 3).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    assert_learns(step)


def test_loop_with_depth_that_renders_from_a_dictionary():
    from diff_gaussian_rasterization import GaussianRasterizationSettings as Camera
    from diff_gaussian_rasterization import GaussianRasterizer as Renderer

    scene = Scene()
    rgb = torch.zeros(150, 3).requires_grad_()
    optimizer = torch.optim.Adam([scene.xyz, scene.scaling, scene.rotation, scene.opacity, rgb], lr=0.03, eps=1e-15)
    w2c = scene.pose.unsqueeze(0).transpose(1, 2)
    camera = Camera(
        image_height=HEIGHT,
        image_width=WIDTH,
        tanfovx=TAN_X,
        tanfovy=TAN_Y,
        bg=torch.tensor([0, 0, 0], dtype=torch.float32),
        scale_modifier=1.0,
        viewmatrix=w2c,
        projmatrix=w2c.bmm(projection_matrix(TAN_X, TAN_Y).unsqueeze(0).transpose(1, 2)),
        sh_degree=0,
        campos=torch.inverse(scene.pose)[:3, 3],
        prefiltered=False,
    )

    def step():
        variables = {
            "means3D": scene.xyz,
            "colors_precomp": torch.sigmoid(rgb),
            "rotations": torch.nn.functional.normalize(scene.rotation),
            "opacities": torch.sigmoid(scene.opacity),
            "scales": torch.exp(scene.scaling),
            "means2D": torch.zeros_like(scene.xyz, requires_grad=True) + 0,
        }
        variables["means2D"].retain_grad()
        image, radius, depth = Renderer(raster_settings=camera)(**variables)
        loss = torch.abs(image - scene.target).mean()
        loss.backward()
        assert depth.shape == (1, HEIGHT, WIDTH) and radius.max() > 0 and (variables["means2D"].grad != 0).any()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    assert_learns(step)


def test_tracking_loop_finds_the_camera():
    scene = Scene()
    with torch.no_grad():
        scene.features_dc.normal_(generator=torch.Generator().manual_seed(6))
        true_image = GaussianRasterizer(with_pose_gradients(scene.pose))(means2D=None, **scene.arguments())[0]
    start = torch.tensor([0.05, -0.04, 0.06, 0.02, -0.03, 0.02])
    pose = exponential(start) @ scene.pose
    cam_rot_delta, cam_trans_delta = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([{"params": [cam_rot_delta], "lr": 0.002}, {"params": [cam_trans_delta], "lr": 0.003}])
    for _ in range(100):
        image, _, _, _, n_touched = GaussianRasterizer(raster_settings=with_pose_gradients(pose))(
            means2D=scene.screenspace_points(),
            theta=cam_rot_delta,
            rho=cam_trans_delta,
            **{name: None if value is None else value.detach() for name, value in scene.arguments().items()},
        )
        optimizer.zero_grad()
        torch.abs(image - true_image).mean().backward()
        with torch.no_grad():
            optimizer.step()
            pose = exponential(torch.cat([cam_trans_delta, cam_rot_delta])) @ pose
            cam_rot_delta.fill_(0)
            cam_trans_delta.fill_(0)
    error = (pose @ scene.pose.inverse() - torch.eye(4)).abs().max()
    assert error < 0.2 * start.abs().max() and (n_touched > 0).any()


# ------------------------------------------------------------------------------------------- smaller pieces


def test_functions_of_the_compiled_module():
    from diff_gaussian_rasterization import _C, rasterize_gaussians

    scene = Scene()
    settings = GaussianRasterizationSettings(**twelve_fields(scene.pose))
    visible = _C.mark_visible(scene.xyz, settings.viewmatrix, settings.projmatrix)
    assert torch.equal(visible, GaussianRasterizer(settings).markVisible(scene.xyz))
    empty, values = torch.Tensor([]), scene.arguments()
    expected = GaussianRasterizer(settings)(means2D=None, **values)[0]
    image, _ = rasterize_gaussians(
        values["means3D"], scene.screenspace_points(), values["shs"], empty, values["opacities"], values["scales"],
        values["rotations"], empty, settings,
    )  # fmt: skip
    assert torch.equal(image, expected)
    with pytest.raises(AttributeError, match="call GaussianRasterizer instead"):
        _ = _C.rasterize_gaussians_backward


def test_screen_gradients_may_have_more_columns():
    scene = Scene()
    gradients = []
    for columns in (3, 4):
        points = torch.zeros(150, columns, requires_grad=True)
        settings = GaussianRasterizationSettings(**twelve_fields(scene.pose))
        GaussianRasterizer(settings)(means2D=points, **scene.arguments())[0].square().sum().backward()
        gradients.append(points.grad)
    assert torch.equal(gradients[0][:, :2], gradients[1][:, :2]) and (gradients[1][:, 2:] == 0).all()
