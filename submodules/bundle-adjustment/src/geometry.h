// Relative poses, the lens, and the rays of the tracks of a host.
#pragma once
#include <math.h>
#include <stdint.h>

#include <algorithm>
#include <vector>

#include "problem.h"

namespace {

// Smallest ratio of a point's z depth in a view to that in its host.
const double NEAREST = 1e-3;

// View from host.
struct RelativePose {
  double rotation[3][3], translation[3];

  RelativePose(const Cameras& cameras, int64_t view, int64_t host) {
    const double *of_view = cameras.rotations + 9 * view, *of_host = cameras.rotations + 9 * host;
    const double *view_translation = cameras.translations + 3 * view, *host_translation = cameras.translations + 3 * host;
    for (int r = 0; r < 3; r++) {
      for (int c = 0; c < 3; c++) {
        rotation[r][c] = 0.0;
        for (int i = 0; i < 3; i++) rotation[r][c] += of_view[3 * r + i] * of_host[3 * c + i];
      }
      translation[r] = view_translation[r];
      for (int i = 0; i < 3; i++) translation[r] -= rotation[r][i] * host_translation[i];
    }
  }
};

// The distortion of pinhole points x, D(x) = g(|x|^2) x: g, and its derivatives by the squared distance and by the
// coefficient of the lens.
struct Distortion {
  double factor, by_square, by_coefficient;
};

inline Distortion distortion(const Cameras& cameras, double square) {
  const double k = cameras.coefficient;
  square = std::min(square, cameras.largest_square);
  if (cameras.lens == PERSPECTIVE) return {1.0 + k * square, k, square};
  double ratio = 1.0 - square / 3.0, angle_square = square, ratio_slope = -1.0 / 3.0, angle_square_slope = 1.0;
  if (square >= 1e-6) {
    const double distance = sqrt(square), angle = atan(distance);
    ratio = angle / distance;
    angle_square = angle * angle;
    ratio_slope = (1.0 / (1.0 + square) - ratio) / (2.0 * square);
    angle_square_slope = ratio / (1.0 + square);
  }
  const double bent = 1.0 + k * angle_square;
  return {ratio * bent, ratio_slope * bent + ratio * k * angle_square_slope, ratio * angle_square};
}

// The factor from a point of the lens at `distance` from the center to that of the pinhole camera. The radial function
// t (1 + k t^2) is inverted by Newton's method, which converges from one side.
inline double ideal_factor(const Cameras& cameras, double distance) {
  if (distance <= 1e-9) return 1.0;
  const double k = cameras.coefficient, limit = cameras.limit, most_steep = 1e-9;
  double tangent = sqrt(cameras.largest_square);  // a point that the lens does not see is put at its limit
  if (distance <= limit * (1.0 + k * limit * limit)) {
    double value = std::min(distance, limit);
    for (int iteration = 0; iteration < 50; iteration++) {
      const double slope = std::max(1.0 + 3.0 * k * value * value, most_steep);
      const double next = std::min(std::max(value - (value * (1.0 + k * value * value) - distance) / slope, 0.0), limit);
      const bool converged = fabs(next - value) <= 1e-15 * limit;
      value = next;
      if (converged) break;
    }
    tangent = cameras.lens == PERSPECTIVE ? value : tan(std::min(value, 1.55));
  }
  return tangent / distance;
}

// What the views need of the tracks of a host, in rows of `stride(tracks)` entries: rays (x, y, 1), their derivatives by
// the logarithm of the focal length with a minus sign and by the coefficient of the lens, inverse depths and weights. The
// entries beyond the last track have no weight.
struct HostRays {
  std::vector<double> memory;
  double *x, *y, *focal_x, *focal_y, *lens_x, *lens_y, *inverse_depth, *weight;

  void set(const Host& host, const Cameras& cameras, const double* inverse_depths) {
    const int64_t width = stride(host.tracks);
    memory.assign(8 * width, 0.0);
    double** rows[] = {&x, &y, &focal_x, &focal_y, &lens_x, &lens_y, &inverse_depth, &weight};
    for (int r = 0; r < 8; r++) *rows[r] = memory.data() + r * width;
    const double inverse_focal = 1.0 / cameras.focals[host.frame];
    for (int64_t t = 0; t < host.tracks; t++) {
      x[t] = focal_x[t] = (host.host_pixels[2 * t] - cameras.center_x) * inverse_focal;
      y[t] = focal_y[t] = (host.host_pixels[2 * t + 1] - cameras.center_y) * inverse_focal;
      inverse_depth[t] = inverse_depths[t];
      weight[t] = host.weights[t];
    }
    for (int64_t t = host.tracks; t < width; t++) inverse_depth[t] = 1.0;
    if (cameras.lens == PINHOLE) return;
    for (int64_t t = 0; t < host.tracks; t++) {
      const double factor = ideal_factor(cameras, hypot(x[t], y[t]));
      x[t] *= factor;
      y[t] *= factor;
      const double square = x[t] * x[t] + y[t] * y[t];
      const Distortion d = distortion(cameras, square);
      // the inverse of the derivative of D, by Sherman and Morrison's formula; both changes lie along the point
      const double along = (1.0 - 2.0 * d.by_square * square / (d.factor + 2.0 * d.by_square * square)) / d.factor;
      focal_x[t] = along * d.factor * x[t];
      focal_y[t] = along * d.factor * y[t];
      lens_x[t] = along * d.by_coefficient * x[t];
      lens_y[t] = along * d.by_coefficient * y[t];
    }
  }
};

// The observations of some tracks in a view, relative to the center, and whether they are visible (1 or 0).
inline void read_observations(const Host& host, const Cameras& cameras, int64_t view, int64_t first, int64_t count,
                              int64_t width, double* u, double* v, double* visible) {
  const double* pixels = host.pixels + 2 * (view * host.tracks + first);
  const uint8_t* seen = host.visible + view * host.tracks + first;
  for (int64_t i = 0; i < count; i++) {
    u[i] = seen[i] ? pixels[2 * i] - cameras.center_x : 0.0;
    v[i] = seen[i] ? pixels[2 * i + 1] - cameras.center_y : 0.0;
    visible[i] = seen[i] ? 1.0 : 0.0;
  }
  for (int64_t i = count; i < width; i++) u[i] = v[i] = visible[i] = 0.0;
}

// The median of numbers; that of an even number is the mean of the middle ones.
inline double median(const double* values, int64_t count, std::vector<double>& scratch) {
  if (count == 0) return 0.0;
  scratch.assign(values, values + count);
  auto middle = scratch.begin() + count / 2;
  std::nth_element(scratch.begin(), middle, scratch.end());
  if (count % 2) return *middle;
  return 0.5 * (*middle + *std::max_element(scratch.begin(), middle));
}

}  // namespace
