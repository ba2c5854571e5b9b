// Real spherical harmonics up to degree 3, with the signs of 3DGS files, and their derivatives with respect to the
// direction. The CPU kernels (a vector of Gaussians) and the CUDA kernels (one Gaussian) both include this file and define
// before it: SH_FUNCTION (function qualifiers), Real (a number per Gaussian), Vec3 (three of them) and `Real real(float)`.
#pragma once

// Y[0] to Y[(degree + 1)^2 - 1] at the unit direction d.
SH_FUNCTION void sh_basis(int degree, Vec3 d, Real* Y) {
  const Real x = d.x, y = d.y, z = d.z;
  Y[0] = real(0.28209479177387814f);
  if (degree < 1) return;
  Y[1] = -0.4886025119029199f * y;
  Y[2] = 0.4886025119029199f * z;
  Y[3] = -0.4886025119029199f * x;
  if (degree < 2) return;
  const Real xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
  Y[4] = 1.0925484305920792f * xy;
  Y[5] = -1.0925484305920792f * yz;
  Y[6] = 0.31539156525252005f * (2.0f * zz - xx - yy);
  Y[7] = -1.0925484305920792f * xz;
  Y[8] = 0.5462742152960396f * (xx - yy);
  if (degree < 3) return;
  Y[9] = -0.5900435899266435f * y * (3.0f * xx - yy);
  Y[10] = 2.890611442640554f * xy * z;
  Y[11] = -0.4570457994644658f * y * (4.0f * zz - xx - yy);
  Y[12] = 0.3731763325901154f * z * (2.0f * zz - 3.0f * xx - 3.0f * yy);
  Y[13] = -0.4570457994644658f * x * (4.0f * zz - xx - yy);
  Y[14] = 1.445305721320277f * z * (xx - yy);
  Y[15] = -0.5900435899266435f * x * (xx - 3.0f * yy);
}

// Sum over k of a[k] dY[k] / dd.
SH_FUNCTION Vec3 sh_direction_gradient(int degree, Vec3 d, const Real* a) {
  const Real x = d.x, y = d.y, z = d.z;
  Vec3 g = {real(0.0f), real(0.0f), real(0.0f)};
  if (degree < 1) return g;
  const float c1 = 0.4886025119029199f;
  g.x -= c1 * a[3];
  g.y -= c1 * a[1];
  g.z += c1 * a[2];
  if (degree < 2) return g;
  const float c2 = 1.0925484305920792f, c20 = 0.31539156525252005f, c22 = 0.5462742152960396f;
  g.x += c2 * y * a[4] - 2.0f * c20 * x * a[6] - c2 * z * a[7] + 2.0f * c22 * x * a[8];
  g.y += c2 * x * a[4] - c2 * z * a[5] - 2.0f * c20 * y * a[6] - 2.0f * c22 * y * a[8];
  g.z += -c2 * y * a[5] + 4.0f * c20 * z * a[6] - c2 * x * a[7];
  if (degree < 3) return g;
  const float c30 = 0.5900435899266435f, c31 = 2.890611442640554f, c32 = 0.4570457994644658f,
              c33 = 0.3731763325901154f, c35 = 1.445305721320277f;
  const Real xx = x * x, yy = y * y, zz = z * z, xy = x * y, yz = y * z, xz = x * z;
  g.x += -6.0f * c30 * xy * a[9] + c31 * yz * a[10] + 2.0f * c32 * xy * a[11] - 6.0f * c33 * xz * a[12] -
         c32 * (4.0f * zz - 3.0f * xx - yy) * a[13] + 2.0f * c35 * xz * a[14] - 3.0f * c30 * (xx - yy) * a[15];
  g.y += -3.0f * c30 * (xx - yy) * a[9] + c31 * xz * a[10] - c32 * (4.0f * zz - xx - 3.0f * yy) * a[11] -
         6.0f * c33 * yz * a[12] + 2.0f * c32 * xy * a[13] - 2.0f * c35 * yz * a[14] + 6.0f * c30 * xy * a[15];
  g.z += c31 * xy * a[10] - 8.0f * c32 * yz * a[11] + 3.0f * c33 * (2.0f * zz - xx - yy) * a[12] -
         8.0f * c32 * xz * a[13] + c35 * (xx - yy) * a[14];
  return g;
}
