// Cost and normal equations of one camera whose points are known.
#pragma once
#include <math.h>
#include <string.h>

#include "geometry.h"
#include "products.h"

namespace {

// What a block of points is in a camera: x / z, y / z, 1 / z, and the errors in pixels; 0 behind the camera.
struct SeenPoints {
  enum { BLOCK = 64 };
  alignas(64) double a[BLOCK], b[BLOCK], inverse_z[BLOCK], in_front[BLOCK], u[BLOCK], v[BLOCK];

  void project(const Points& points, const Camera& camera, int64_t first, int64_t width) {
    const double* row[6];
    for (int k = 0; k < 6; k++) row[k] = points.rows + k * stride(points.count) + first;
    const double *r = camera.rotation, *t = camera.translation;
    for (int64_t i = 0; i < width; i++) {
      const double x = row[0][i], y = row[1][i], w = row[3][i];
      const double z = r[6] * x + r[7] * y + r[8] * row[2][i] + t[2] * w;
      in_front[i] = z > NEAREST ? 1.0 : 0.0;
      inverse_z[i] = 1.0 / (z > NEAREST ? z : NEAREST);
      a[i] = (r[0] * x + r[1] * y + r[2] * row[2][i] + t[0] * w) * inverse_z[i];
      b[i] = (r[3] * x + r[4] * y + r[5] * row[2][i] + t[1] * w) * inverse_z[i];
      u[i] = camera.focal * a[i] + camera.center_x - row[4][i];
      v[i] = camera.focal * b[i] + camera.center_y - row[5][i];
    }
  }
};

// The weighted mean of log(1 + r^2 / square).
double resection_cost(const Points* points, const Camera* camera, double square) {
  SeenPoints at;
  const double* weights = points->rows + 6 * stride(points->count);
  double total = 0.0, weight = 0.0;
  for (int64_t first = 0; first < points->count; first += SeenPoints::BLOCK) {
    const int64_t count = std::min<int64_t>(SeenPoints::BLOCK, points->count - first);
    at.project(*points, *camera, first, stride(count));
    for (int64_t i = 0; i < count; i++) {
      total += weights[first + i] * log1p((at.u[i] * at.u[i] + at.v[i] * at.v[i]) / square);
      weight += weights[first + i];
    }
  }
  return total / weight;
}

// Matrix (6, 6) and gradient (6) of that loss for a motion, applied from the left: translation and rotation vector.
void resection_equations(const Points* points, const Camera* camera, double square, double* matrix, double* gradient) {
  enum { BLOCK = SeenPoints::BLOCK, ROWS = 7 };
  SeenPoints at;
  alignas(64) double value[ROWS][2 * BLOCK];
  double product[ROWS * ROWS] = {};
  const double *scales = points->rows + 3 * stride(points->count), *weights = points->rows + 6 * stride(points->count);
  for (int64_t first = 0; first < points->count; first += BLOCK) {
    const int64_t width = stride(std::min<int64_t>(BLOCK, points->count - first));
    at.project(*points, *camera, first, width);
    for (int64_t i = 0; i < width; i++) {
      const double a = at.a[i], b = at.b[i], u = at.u[i], v = at.v[i];
      const double root = sqrt(weights[first + i] * at.in_front[i] / (1.0 + (u * u + v * v) / square));
      const double f = root * camera->focal, s = f * at.inverse_z[i] * scales[first + i], ab = f * a * b;
      value[0][i] = s, value[0][width + i] = 0.0;
      value[1][i] = 0.0, value[1][width + i] = s;
      value[2][i] = -s * a, value[2][width + i] = -s * b;
      value[3][i] = -ab, value[3][width + i] = -f * (1.0 + b * b);
      value[4][i] = f * (1.0 + a * a), value[4][width + i] = ab;
      value[5][i] = -f * b, value[5][width + i] = f * a;
      value[6][i] = root * u, value[6][width + i] = root * v;
    }
    add_symmetric_products(ROWS, value[0], 2 * BLOCK, value[0], 2 * BLOCK, 2 * width, product, ROWS);
  }
  for (int i = 0; i < 6; i++) {
    for (int j = 0; j <= i; j++) matrix[i * 6 + j] = matrix[j * 6 + i] = product[i * ROWS + j];
    gradient[i] = product[6 * ROWS + i];
  }
}

}  // namespace
